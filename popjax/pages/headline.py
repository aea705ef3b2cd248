"""The top of the report: the search, the winner with both its values, the cost. No JAX here."""

import html
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from popjax.core.text import plural, short, tell
from popjax.data.doubts import doubt_of_counts
from popjax.pages.axes import Axis
from popjax.pages.drawing import shown
from popjax.rules.checking import why_of
from popjax.space.values import present
from popjax.store.results import Results

DESIGNS = {"sobol": "Sobol", "tpe": "TPE", "cmaes": "CMA-ES", "gp": "Gaussian process"}  # others by their names


NAMED = 20  # trials that are named one by one
MATTER = 5  # columns that are named
NAMES = 6  # hyperparameters that a title names
FIRST_RUNG, FEW, MANY = 2, 16, 20_000  # epochs; range of trials for which halving is simulated


def title(results: Results) -> str:
    """What was searched, as text."""
    recorded = results.run.get("arguments")
    arguments = recorded if isinstance(recorded, Mapping) else {}
    names = list(results.points)
    more = f" and {len(names) - NAMES} more" if len(names) > NAMES else ""
    source = arguments.get("task") or arguments.get("dataset") or ", ".join(names[:NAMES]) + more
    sampler = str(results.run.get("sampler", "random"))
    design = DESIGNS.get(sampler, sampler)
    by = f", {str(scheduler).partition('(')[0]}" if (scheduler := results.run.get("scheduler")) else ""
    return f"{source}: {design} search over {plural(len(results.diverged), 'trial')}{by}"


def head(results: Results, axes: Sequence[Axis]) -> str:
    """HTML of the title, the winner with both its values, and the cost of the search."""
    lost = int(results.diverged.sum())
    count = len(results.diverged)
    pruned = int(results.pruned.sum())
    cards = [(f"{count:,}", f"trials, {lost:,} diverged" + (f", {pruned:,} pruned" if pruned else ""), "")]
    cards.append((f"{results.members[results.metric].shape[-1]:,}", epochs_text(results), ""))
    seconds = results.summary.get("wall_seconds")
    if isinstance(seconds, int | float):
        cards.append((f"{seconds:.1f} s", seconds_text(results.summary), ""))
    if results.best is None:
        advised = diverged_advice(results) + card_grid(cards)
        return heading(results) + advised + steered_text(results) + machine(results)
    best = results.best
    value, *error = value_text(results, best.trial).split(" ", 1)
    value += f" <small>{error[0]}</small>" if error else ""
    first = (value, f"{shown(results.metric)} of the winner, {optimism(results)}", "winner")
    known = scores_shown(results) if results.summary.get("test_value") is not None else {}
    unseen = lambda name: f"{shown(name)}, on rows that no trial saw"
    scored = [(metric_text(score), unseen(name), "winner") for name, score in known.items()]
    winner = f"<p>Winner: <b>trial {best.trial}</b>, {hparams_line(axes, best.trial)}{at_best(results)}.</p>"
    less = halved(results)
    lines = f'<p class="small">{shown(less[0].upper() + less[1:])}.</p>' if less else ""
    beside = compared(results)
    lines = (f"<p>On the test rows: {shown(beside)}.</p>" if beside else "") + lines
    limited = [line[:1].upper() + line[1:] for line in (results.cut_short, results.infeasible) if line]
    said = [*limited, *overlooked(results), *(results.summary.get("tied") or ())]
    warnings = "".join(f'<p class="warning">{shown(line)}.</p>' for line in said)
    outcome = winner + card_grid([first, *scored, *cards]) + warnings + lines
    return heading(results) + outcome + steered_text(results) + machine(results)


def at_best(results: Results) -> str:
    """The winner's best epoch, in words; empty if the last one counts."""
    if results.best_epochs is None or results.best is None:
        return ""
    epochs = sorted(set(results.best_epochs[results.best.trial].ravel().tolist()))
    first, last = epochs[0], epochs[-1]
    return f"; its best epoch is {first}" if first == last else f"; its best epochs are {first} to {last}"


def steered_text(results: Results) -> str:
    """HTML paragraph with the trials that a person changed or stopped; empty if there are none."""
    if results.steered is None:
        return ""
    trials = np.flatnonzero(results.steered).tolist()
    more = f" and {len(trials) - NAMED:,} more" if len(trials) > NAMED else ""
    noun = "trial" if len(trials) == 1 else "trials"
    return f"<p>Steered by hand: {noun} {', '.join(map(str, trials[:NAMED]))}{more}.</p>"


def halved(results: Results) -> str:
    """What successive halving would have found and saved, in words; empty if not all trials were trained to the end."""
    plain = results.run.get("scheduler") is None and results.run.get("rounds_in_all") == 1
    epochs = results.members[results.metric].shape[-1]
    whole = not (results.stopped | results.pruned).any() and results.steered is None
    if not (plain and whole and epochs > FIRST_RUNG and FEW <= len(results.diverged) <= MANY):
        return ""
    from popjax.tuning.schedulers.halving import halving
    from popjax.tuning.simulate import simulate

    would = simulate(halving(min_epochs=FIRST_RUNG), results)
    if would.best is None:
        return ""
    times = results.trained.sum() / would.spent
    winner = f"trial {would.best}, {results.metric} {metric_text(results.values[results.metric][would.best])}"
    equal = "; but a cut falls among equal trials" if would.notes else ""
    return f"successive halving would have found {winner}, in {times:.1f} times fewer epochs{equal}"


def compared(results: Results) -> str:
    """The test score's interval, and the scores of a constant, a linear model and boosted trees, in words."""
    summary, name = results.summary, results.metric.on("test")
    said = []
    if isinstance(interval := summary.get("test_interval"), list):
        if_so = ", were the rows independent" if summary.get("dependent") else ""
        said.append(f"between {metric_text(interval[0])} and {metric_text(interval[1])} with 95% confidence{if_so}")
    constant = summary.get("constant") or {}
    guess = str(summary.get("guess") or "a constant")
    for key, words in (("constant", guess), ("linear", "a linear model"), ("trees", "boosted trees")):
        score = (summary.get(key) or {}).get(name)
        said += [f"{words} {metric_text(score)}"] if isinstance(score, int | float) else []
    if "test_r2" in constant and name != "test_r2":
        own, linear = ((summary.get(key) or {}).get("test_r2") for key in ("test", "linear"))
        said += [f"R² {metric_text(own)}"] if isinstance(own, int | float) else []
        said += [f"a linear model's {metric_text(linear)}"] if isinstance(linear, int | float) else []
    return "; ".join([*said, *better_baseline(results)])


def overlooked(results: Results) -> list[str]:
    """What is said of classes that the winner, or the ensemble, predicts for no test row, and of a column that may only
    name the rows; empty if there are none.
    """
    known = ("the winner", results.summary), ("the ensemble", results.summary.get("ensemble") or {})
    remedy = "rank by --metric val_auc or val_balanced_accuracy, and train with --class-weight balanced"
    said = []
    for which, summary in known:
        if lacking := summary.get("unpredicted"):
            names = ", ".join(short(name) for name in lacking[:MATTER]) + (" ..." if len(lacking) > MATTER else "")
            said.append(f"{which} never predicts {names}, which test rows have; {remedy}")
    if name := results.summary.get("row_names"):
        why = "has another whole number in each row, and is worth more to the winner than all others"
        said.append(doubt_of_counts(name, why))
    return said


def scores_shown(results: Results) -> dict[str, float]:
    """Metric -> score on the test rows: that of the metric that ranks, or all; the balanced accuracy beside one that is
    not, where classes are uneven.
    """
    every, own = results.summary.get("test") or {}, results.metric.on("test")
    value = results.summary.get("test_value")
    scores = dict(every) if value is None else {own: value}
    balanced = "test_balanced_accuracy"
    if results.summary.get("uneven") and "test_accuracy" in scores and balanced in every:
        scores[balanced] = every[balanced]
    return {name: value for name, value in scores.items() if isinstance(value, int | float)}


def columns_that_matter(results: Results) -> str:
    """The columns whose permuted cells make the winner worst, in words; empty if not known."""
    worths = column_worths(results)
    said = ", ".join(f"{short(name)} {rise:.3g}" for name, rise in worths[:MATTER])
    return f"by how much the winner's {worse_text(results)} if a column's cells are permuted: {said}" if said else ""


def worse_text(results: Results) -> str:
    """What gets worse where a column's cells are permuted: "loss rises", or "val_auc falls"."""
    by = results.summary.get("columns_by")
    return f"{by} {'falls' if results.metric.mode == 'max' else 'rises'}" if by == results.metric else "loss rises"


def column_worths(results: Results) -> list[tuple[str, float]]:
    """(column, by how much the winner is worse where its cells are permuted), greatest first; empty if not known."""
    known = results.summary.get("columns")
    pairs = known.items() if isinstance(known, dict) else ()
    return [(str(name), rise) for name, rise in pairs if isinstance(rise, int | float)]


def better_baseline(results: Results) -> list[str]:
    """What to use instead of the network: a baseline beyond the ensemble, and beyond the test score by chance.

    By chance the score reaches as far as the longer side of its interval. Of an accuracy the shorter one ends before 1,
    so that a perfect baseline of few rows would always be beyond.
    """
    summary, name = results.summary, results.metric.on("test")
    sign = 1 if results.metric.mode == "max" else -1
    score, interval = scores_shown(results).get(name), summary.get("test_interval")
    if score is None or not interval:
        return []
    together = ((summary.get("ensemble") or {}).get("test") or {}).get(name)
    reach = sign * score + max(abs(end - score) for end in interval)
    own = max(reach, sign * together) if isinstance(together, int | float) else reach
    remedies = []
    for key, words in (("linear", "a linear model does"), ("trees", "boosted trees do")):
        score = (summary.get(key) or {}).get(name)
        if isinstance(score, int | float) and sign * score > own:
            remedies.append(f"{words} better here than the network: use that")
    return remedies


def heading(results: Results) -> str:
    """The title as HTML."""
    return f"<h1>{shown(title(results))}</h1>"


def optimism(results: Results) -> str:
    """Why the winner won, and that its value is optimistic, in words."""
    count, first = len(results.order if results.cut_short else results.diverged), int(results.order[0])
    if count == 1:
        return "the only trial" + (" that ranks" if len(results.diverged) > 1 else "")
    another = results.best is not None and results.best.trial != first
    try:
        return why_of(results.rule, count, f"trial {first}, {value_text(results, first)}" if another else None)
    except ValueError as error:
        tell(f"popjax: {error}")
        return f"chosen by the rule {results.rule.name} of {count:,}"


def card_grid(cards: list[tuple[str, str, str]]) -> str:
    """HTML of (number, text, class) as cards."""
    boxes = [f'<div class="card {kind}"><b>{figure}</b><span>{text}</span></div>' for figure, text, kind in cards]
    return f'<div class="cards">{"".join(boxes)}</div>'


def epochs_text(results: Results) -> str:
    """Epochs, folds and repeats, and the share trained with patience, in words."""
    _, folds, repeats, epochs = results.members[results.metric].shape
    many = [plural(count, noun) for count, noun in ((folds, "fold"), (repeats, "repeat")) if count > 1]
    word = "epoch" if epochs == 1 else "epochs"
    said = word + (f" in each of {' × '.join(many)}" if many else "")
    if results.rule.patience is None:
        return said
    return f"{said}, {results.trained.sum() / results.trained.size / epochs:.0%} of them trained"


def seconds_text(summary: Mapping[str, Any]) -> str:
    """Seconds of compiling and training, in words, which may overlap; and of what came after, from a second on."""
    known = [(name, summary.get(f"{key}_seconds")) for name, key in (("compiling", "compile"), ("training", "train"))]
    parts = [(name, took) for name, took in known if isinstance(took, int | float)]
    together = sum(took for _, took in parts) > float(summary.get("wall_seconds") or np.inf)
    said = [f"{name} {took:.1f} s" for name, took in parts]
    after = summary.get("afterwards_seconds") or 0
    then = f"; then {after:.1f} s to combine models and compare with others" if after >= 1 else ""
    lost = " since it was resumed" if summary.get("seconds_lost") else ""
    return ((" beside " if together else ", ").join(said) or "in all") + lost + then


def machine(results: Results) -> str:
    """HTML paragraph with device and versions."""
    versions = results.run.get("versions") or {}
    names = [results.run.get("device"), *(f"{name} {version}" for name, version in versions.items())]
    parts = " · ".join(f'<span class="whole">{shown(name)}</span>' for name in filter(None, names))
    return f'<p class="small">{parts}</p>'


def advice(results: Results) -> tuple[str, str]:
    """Advice if all trials diverged: in words, and as arguments with learning rates below those tried, or ""."""
    rates = results.points.get("learning_rate")
    if rates is None:
        return "narrow the ranges that make training unstable", ""
    high = min(0.01, float(np.min(rates[present(rates)].astype(float), initial=0.01)))
    return "try smaller learning rates, such as", f"--set 'learning_rate=log_uniform({high / 1e4:.3g},{high:.3g})'"


def diverged_advice(results: Results) -> str:
    """HTML on why there is no winner, and what to do about it."""
    why = results.no_winner[0].upper() + results.no_winner[1:]
    if (results.stopped | results.pruned).any():
        return f"<p><b>There is no winner.</b> {why}.</p>"
    words, again = advice(results)
    said = f"<p><b>There is no winner.</b> {why}; {words}"
    return f"{said}</p>\n<pre tabindex=0>{html.escape(again)}</pre>" if again else f"{said}.</p>"


def hparams_line(axes: Sequence[Axis], trial: int) -> str:
    """A trial's active hyperparameters on one line, as HTML."""
    there = [axis for axis in axes if axis.values[trial] is not None]
    return ", ".join(f"{shown(axis.name)} {shown(axis.label(trial))}" for axis in there)


def value_text(results: Results, trial: int) -> str:
    """A trial's metric, and its standard error if there are folds or repeats, as text."""
    error = f" ± {metric_text(results.errors[results.metric][trial])}" if results.errors else ""
    return metric_text(results.values[results.metric][trial]) + error


def metric_text(value: float) -> str:
    """A value of a metric, as text.

    >>> metric_text(0.98333333), metric_text(3611.7373)
    ('0.9833', '3611.74')
    """
    if 0.01 <= abs(value) < 100 or value == 0:
        return f"{value:.4f}"
    return f"{value:.6g}" if abs(value) > 1 else f"{value:.3g}"
