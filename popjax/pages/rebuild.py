"""The end of the report: how to reproduce its run, and how to use its files. No JAX here."""

import html
from collections.abc import Collection, Mapping
from typing import Any

from popjax.pages.markup import section
from popjax.space.samplers import SAMPLERS
from popjax.store.results import Results
from popjax.tuning.proposals import BATCH, BESIDE, LEARNING, PRUNED, default_ends
from popjax.tuning.schedulers.named_schedulers import SCHEDULERS
from popjax.tuning.search_options import SearchOptions

USUAL = SearchOptions().written()  # the defaults, as in run.json
ALWAYS = ("trials", "epochs", "seed")  # shown even at their defaults


def rebuild_section(results: Results, alone: bool = False) -> str:
    """HTML section with the command that made the run and, if not `alone`, how to use its files."""
    what = "command" if results.run.get("command") else "task and call"
    caption = reproduced(results, what)
    line = str(results.run.get("command") or "") or as_code(results)
    body = f"<pre tabindex=0>{html.escape(line)}</pre>\n" if line else ""
    if alone:
        saving = '<p><code>results.save("DIR")</code> writes the tables and the winner\'s arrays.</p>'
        return section("How to rebuild this", f"{caption}.", body + saving)
    caption += "; the lines below it go where this page lies."
    if results.best is not None and results.winner is not None:
        code = 'import popjax as pj\n\nwinner = pj.load_best(".")\nwinner.predict(rows)  # raw rows'
    else:
        code = 'import popjax as pj\n\nresults = pj.Results.load(".")\nresults.trials  # a pyarrow table'
    files = (
        "Beside this page: <code>run.json</code> (what determines the results), <code>trials.parquet</code> (a row a "
        "trial), <code>curves.parquet</code> (a row an epoch), <code>summary.json</code> (the figures at the top)"
    )
    best = ", <code>best/</code> (the winner's arrays)" if results.best is not None else ""
    again = "; <code>python -m popjax.report DIR</code> draws this page again from them."
    return section(
        "How to rebuild this", caption, f"{body}<pre tabindex=0>{html.escape(code)}</pre>\n<p>{files}{best}{again}</p>"
    )


def reproduced(results: Results, what: str) -> str:
    """How far the same command, or the same task and call, gives the same results."""
    run = results.run
    if results.cut_short:
        return f"The run was stopped before its end; the same {what} goes on to it"
    if results.steered is not None:
        return f"The same {what} gives the same results but for what was changed by hand, which decisions.jsonl tells"
    usual = {default_ends(run["trials"], size) for size in (BATCH, BESIDE, PRUNED)} if "ends" in run else set()
    if usual and tuple(run["ends"]) not in usual:
        return f"The run was resumed to more trials in rounds of its own; the same {what} has other rounds"
    known = {"sampler": [*SAMPLERS, *LEARNING], "scheduler": SCHEDULERS}
    own = [name for name, names in known.items() if own_name(run, name, names)]
    beside = f", with the {' and the '.join(own)} of your own" if own else ""
    return f"The same {what}{beside} gives the same results"


def own_name(run: Mapping[str, Any], name: str, known: Collection[str]) -> bool:
    """True if what a run's record names is none of popjax's."""
    return run.get(name) is not None and str(run[name]).partition("(")[0] not in known


def as_code(results: Results) -> str:
    """The `popjax.search` call of a run, without the task, which has no recorded code; empty without seed or space."""
    run = results.run
    if "seed" not in run or "space" not in run:
        return ""
    entries = "".join(f"    {name!r}: {text!r},\n" for name, text in run["space"].items())
    trials, epochs = len(results.diverged), results.members[results.metric].shape[-1]
    asked = {name: run.get(name, usual) for name, usual in USUAL.items()}
    asked |= {"trials": trials, "epochs": epochs, "rank": None, "scheduler": scheduled(run)}
    given = {name: said for name, said in asked.items() if name in ALWAYS or said != USUAL[name]}
    arguments = ", ".join(f"{name}={said!r}" for name, said in given.items()) + f", rank=pj.{results.rule!r}"
    plan = run.get("plan", "auto")
    arguments += "" if plan == "auto" else f", backend=pj.Local(plan={plan!r})"
    return f"space = pj.Space.from_dict({{\n{entries}}})\nresults = pj.search(task, space, {arguments})"


def scheduled(run: Mapping[str, Any]) -> str | None:
    """The name of a run's scheduler, in its rounds if these are not the default ones of a learning sampler."""
    inner, rounds = run.get("scheduler"), run.get("rounds_in_all", 1)
    if run.get("beside"):
        return str(inner)
    named = f"rounds({', '.join(filter(None, (str(rounds), inner)))})"
    return inner if rounds == 1 or "ends" in run else named
