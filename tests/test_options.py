"""Each option stands once: what takes it, what writes it and what compares it follow from its dataclass."""

import dataclasses
import inspect
import re

import pytest

import popjax as pj
from popjax.commands.arguments import NO_RESULT, Arguments
from popjax.commands.experiment import Experiment
from popjax.core.options import FREE
from popjax.executors.backend import Local, Remote
from popjax.store.files import read_json
from popjax.supervision.problem_options import ProblemOptions
from popjax.tuning.search_options import SearchOptions

SEARCH = SearchOptions.usual()
BACKENDS = Local.usual() | {name: usual for name, usual in Remote.usual().items() if name != "executor"}
TASK = pj.Task(
    lambda key, hparams, data: hparams["x"],
    lambda x, hparams, data: (x * 0.5, {"loss": x, "val_loss": 2 * x}),
    (),
    metric="loss",
)
SPACE = {"x": pj.uniform(0, 1)}


def defaults(function):
    """Name -> default of a function's parameters, but for those without one."""
    parameters = inspect.signature(function).parameters.values()
    return {one.name: one.default for one in parameters if one.default is not one.empty and one.name != "self"}


def fields(kind):
    return {field.name: field.default for field in dataclasses.fields(kind)}


def test_the_search_takes_each_option_and_what_is_of_the_call_alone():
    others = {"space": None, "out": None, "resume": False, "progress": False, "live": False, "callbacks": ()}
    assert defaults(pj.search) == SEARCH | others | {"backend": None}


def test_supervised_takes_each_option_of_a_problem():
    assert defaults(pj.supervised) == ProblemOptions.usual()


def test_the_command_line_takes_each_option():
    """But how often the scheduler looks; the rule is made of three."""
    given = fields(Arguments)
    assert {name: given[name] for name in ("metric", "mode", "choose")} == {
        "metric": None,
        "mode": None,
        "choose": "best",
    }
    assert (given["executor"], given["rounds"]) == ("threads", None)
    options = SEARCH | BACKENDS
    assert given == given | {name: default for name, default in options.items() if name not in ("rank", "every")}
    free = {field.name for kind in (SearchOptions, Remote) for field in dataclasses.fields(kind)}
    free -= SearchOptions().written().keys() | Local().written().keys()
    assert free - {"every"} <= set(NO_RESULT)
    assert {name for name in NO_RESULT if name in options} <= free


def test_the_commands_say_of_rows_what_supervised_takes():
    """Files in the place of rows, names with commas in the place of a list, and --ordered."""
    given, usual = fields(Experiment), ProblemOptions.usual()
    spelled = {"metrics": None, "validation": None, "test": None}
    same = given.keys() & usual.keys() - spelled.keys()
    assert usual.keys() - given.keys() == {"loss", "sample_weight", "shuffle"}
    assert {name: given[name] for name in same} == {name: usual[name] for name in same}
    assert {name: given[name] for name in spelled} == spelled
    assert given["ordered"] is (not usual["shuffle"])


def test_the_estimators_take_options_under_their_names():
    """With defaults by the table's rows, and scikit-learn's names for seed and progress."""
    given = defaults(pj.PopulationClassifier.__init__)
    own = {"trials": None, "epochs": None, "folds": None, "scheduler": "auto"}  # by the rows
    own |= {"model": "tabular", "optimizer": "adamw", "random_state": 0}
    own |= {"space": None, "verbose": False, "importances": False, "input_transform": None, "refit": None}
    options = SEARCH | ProblemOptions.usual()
    assert given == {name: options[name] for name in given.keys() - own.keys()} | own


@pytest.mark.parametrize(
    "documented",
    [
        pj.search,
        pj.supervised,
        pj.Local,
        pj.Remote,
        pj.Session,
        pj.PopulationClassifier,
        pj.best,
        pj.pareto,
        pj.ensemble,
    ],
)
def test_each_option_is_documented_and_none_that_there_is_not(documented):
    text = re.search(r"^ *Args:\n(.*?)^ *$", inspect.getdoc(documented) + "\n\n", re.DOTALL | re.MULTILINE)[1]
    named = re.findall(r"^    (\w[\w, ]*):", text, re.MULTILINE)
    taken = inspect.signature(documented).parameters.values()
    kinds = [one.name for one in taken if one.kind is not one.VAR_KEYWORD]
    assert sorted(name for names in named for name in names.split(", ")) == sorted(kinds)


def test_run_json_has_each_option_on_which_results_depend(tmp_path):
    asked = {"trials": 6, "epochs": 3, "seed": 2, "sampler": "sobol", "repeats": 2}
    asked |= {"rank": pj.one_se("val_loss", "min", keep=2), "scheduler": "rounds(2, halving(min_epochs=1))"}
    backend = pj.Local(lanes=4, plan="one")
    pj.search(TASK, SPACE, **asked, backend=backend, every=1, minutes=60, out=tmp_path / "run")
    run = read_json(tmp_path / "run" / "run.json")
    written = SearchOptions(**asked).checked().written() | backend.written()
    assert (run["rounds_in_all"], run["scheduler"]) == (2, "halving(reduction_factor=2, min_epochs=1)")
    assert {name: run[name] for name in written} == written


ANOTHER = {
    "trials": 5,
    "epochs": 2,
    "seed": 1,
    "sampler": "sobol",
    "repeats": 2,
    "folds": 2,
    "rank": pj.together(2, metric="val_loss", mode="max"),
    "rounds": ("scheduler", pj.rounds(2)),
    "scheduler": "halving(min_epochs=1)",
    "start": [{"x": 0.5}],
    "lanes": ("backend", pj.Local(lanes=5)),
    "plan": ("backend", pj.Local(plan="buckets")),
}
OTHERS = {"every": 1, "minutes": 60}
REMOTE = [pj.Remote("processes:1", retries=5, mixed=True), "processes:1"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    out = tmp_path_factory.mktemp("options") / "run"
    pj.search(TASK, SPACE, trials=6, epochs=3, backend=pj.Local(plan="one", lanes=4), rank=pj.best(keep=1), out=out)
    return out


@pytest.mark.parametrize("name", [*SearchOptions().written(), "rounds", *Local().written()])
def test_a_resumed_run_is_asked_the_same(run, name):
    argument, value = ANOTHER[name] if isinstance(ANOTHER[name], tuple) else (name, ANOTHER[name])
    asked = {"trials": 6, "epochs": 3} | {argument: value}
    with pytest.raises(ValueError, match=f"cannot be resumed so: (.*; )?{name}(:| was) .*, now "):
        pj.search(TASK, SPACE, **asked, out=run, resume=True)


@pytest.mark.parametrize(
    ("name", "value"),
    [*((name, OTHERS[name]) for name in SEARCH if name not in ANOTHER), *(("backend", value) for value in REMOTE)],
)
def test_a_resumed_run_may_be_asked_otherwise_where_no_result_depends_on_it(run, name, value):
    before = (run / "curves.parquet").read_bytes()
    pj.search(TASK, SPACE, trials=6, epochs=3, **{name: value}, out=run, resume=True)
    assert (run / "curves.parquet").read_bytes() == before


def test_a_field_that_is_free_is_written_nowhere():
    free = {field.name for field in dataclasses.fields(Remote) if field.metadata == FREE}
    assert free == {"executor", "retries", "mixed"}
    assert Remote("processes:1").written() == Local().written()


@pytest.mark.parametrize(
    ("backend", "says"),
    [
        (3, "backend is a int; give popjax.Local(), an executor with submit(fn, *args), a function that makes one"),
        (pj.Local, "backend is the class Local; call it: popjax.Local(...)"),
        ("proceses:4", "unknown executor 'proceses:4'; there are threads, processes, dask, ray, slurm, as processes:4"),
    ],
)
def test_what_is_no_backend_is_refused_in_a_line(backend, says):
    with pytest.raises(ValueError, match=re.escape(says)):
        pj.search(TASK, SPACE, trials=2, backend=backend)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: pj.Local(lanes=0), "lanes=0: give a whole number of at least 1"),
        (lambda: pj.Remote("threads"), "executor 'threads' is this process; give popjax.Local()"),
        (lambda: pj.Remote("processes:4", retries=0), "retries=0: give a whole number of at least 1"),
        (lambda: pj.rounds(2, "halving"), "inner is a str; give a scheduler such as popjax.halving()"),
        (lambda: pj.Remote(lambda count: None), "the executor cannot be called with ()"),
        (lambda: pj.Remote(5), "backend is a int; give popjax.Local()"),
        (
            lambda: SearchOptions(scheduler=pj.rounds(2, pj.halving)).checked(),
            "function halving; call it: popjax.halving()",
        ),
        (lambda: pj.Remote("slurmm"), "unknown executor 'slurmm'"),
    ],
)
def test_what_cannot_be_is_refused_where_it_is_made(make, says):
    with pytest.raises(ValueError, match=re.escape(says)):
        make()
