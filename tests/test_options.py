"""Each option stands once: what takes it, what writes it and what compares it follow from its dataclass."""

import dataclasses
import inspect
import re

import pytest

import popjax as pj
from popjax.commands.arguments import APART, Arguments
from popjax.commands.experiment import Experiment
from popjax.core.options import FREE
from popjax.pages.rebuild import USUAL
from popjax.store.files import read_json
from popjax.supervision.options import ProblemOptions
from popjax.tuning.options import BackendOptions, SearchOptions

SEARCH = SearchOptions.usual() | BackendOptions.usual()
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
    assert defaults(pj.search) == SEARCH | others | {"stop": None, "about": None}


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
    assert given["executor"] == "threads"
    assert given | {"executor": None} == given | {
        name: default for name, default in SEARCH.items() if name not in ("rank", "every")
    }
    free = [field.name for kind in (SearchOptions, BackendOptions) for field in dataclasses.fields(kind)]
    free = {name for name in free if name not in SearchOptions().written() | BackendOptions().written()}
    assert free - {"every"} <= set(APART)
    assert {name for name in APART if name in SEARCH} <= free


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
    """With defaults for a table of a few thousand rows, and scikit-learn's names for seed and progress."""
    given = defaults(pj.PopulationClassifier.__init__)
    own = {"trials": 64, "epochs": 30, "folds": 5, "optimizer": "adamw", "random_state": 0}
    own |= {"space": None, "verbose": False, "input_transform": None}
    options = SEARCH | ProblemOptions.usual()
    assert given == {name: options[name] for name in given.keys() - own.keys()} | own


@pytest.mark.parametrize(
    "documented", [pj.search, pj.supervised, pj.Session, pj.PopulationClassifier, pj.best, pj.pareto, pj.ensemble]
)
def test_each_option_is_documented_and_none_that_there_is_not(documented):
    text = re.search(r"^ *Args:\n(.*?)^ *$", inspect.getdoc(documented) + "\n\n", re.DOTALL | re.MULTILINE)[1]
    named = re.findall(r"^    (\w[\w, ]*):", text, re.MULTILINE)
    taken = inspect.signature(documented).parameters.values()
    kinds = [one.name for one in taken if one.kind is not one.VAR_KEYWORD]
    assert sorted(name for names in named for name in names.split(", ")) == sorted(kinds)


def test_the_report_leaves_out_what_is_usual():
    assert {name: value for name, value in USUAL.items() if value != SEARCH[name]} == {"rounds": 1}


def test_run_json_has_each_option_on_which_results_depend(tmp_path):
    asked = {"trials": 6, "epochs": 3, "seed": 2, "sampler": "sobol", "repeats": 2}
    asked |= {
        "rank": pj.one_se("val_loss", "min", keep=2),
        "scheduler": "halving(min_epochs=1)",
        "rounds": 2,
        "lanes": 4,
    }
    pj.search(TASK, SPACE, **asked, plan="one", every=1, minutes=60, out=tmp_path / "run")
    run = read_json(tmp_path / "run" / "run.json")
    options = SearchOptions(**{name: value for name, value in asked.items() if name != "lanes"}).checked()
    written = options.written() | {"lanes": 4, "plan": "one"}
    assert run["rounds_in_all"] == written.pop("rounds")
    assert {name: run[name] for name in written} == written


ANOTHER = {
    "trials": 5,
    "epochs": 2,
    "seed": 1,
    "sampler": "sobol",
    "repeats": 2,
    "folds": 2,
    "rank": pj.together(2, metric="val_loss", mode="max"),
    "rounds": 2,
    "scheduler": "halving(min_epochs=1)",
    "lanes": 5,
    "plan": "buckets",
}
OTHERS = {"every": 1, "minutes": 60, "executor": "threads", "retries": 5, "mixed": True}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    out = tmp_path_factory.mktemp("options") / "run"
    pj.search(TASK, SPACE, trials=6, epochs=3, plan="one", lanes=4, rank=pj.best(keep=1), out=out)
    return out


@pytest.mark.parametrize("name", {**SearchOptions().written(), **BackendOptions().written()})
def test_a_resumed_run_is_asked_the_same(run, name):
    asked = {"trials": 6, "epochs": 3} | {name: ANOTHER[name]}
    with pytest.raises(ValueError, match=f"cannot be resumed so: (.*; )?{name}(:| was) .*, now "):
        pj.search(TASK, SPACE, **asked, out=run, resume=True)


@pytest.mark.parametrize("name", [name for name in SEARCH if name not in ANOTHER])
def test_a_resumed_run_may_be_asked_otherwise_where_no_result_depends_on_it(run, name):
    before = (run / "curves.parquet").read_bytes()
    pj.search(TASK, SPACE, trials=6, epochs=3, **{name: OTHERS[name]}, out=run, resume=True)
    assert (run / "curves.parquet").read_bytes() == before


def test_a_field_that_is_free_is_written_nowhere():
    assert {field.name for field in dataclasses.fields(BackendOptions) if field.metadata == FREE} == {
        *("executor", "retries", "mixed"),
    }
