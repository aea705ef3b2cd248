"""Deliberate defects, one a row of what is promised about crashes: each must fail its tests.

Not part of the suite: `python tests/mutants.py` copies the tree for each, breaks the copy and
runs the tests named there. Exits 1 if they still pass.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent


class Mutant(NamedTuple):
    """In `module` the text `old` becomes `new`, and `tests` must notice."""

    name: str
    module: str
    old: str
    new: str
    tests: str


MUTANTS = [
    Mutant(
        "programs kept until XLA aborts",
        "engine/compiler",
        "executable_bytes.cache_clear()",
        "pass",
        "test_compilations.py -k memory_maps",
    ),
    Mutant(
        "a tracker's process that fails without a word",
        "tracking/apart",
        "if error:",
        "if False:",
        "test_tracking.py -k process",
    ),
    Mutant(
        "a tracker whose failure is not said",
        "tracking/tracker",
        "except Exception as error:",
        "except RecursionError as error:",
        "test_tracking.py -k outlives",
    ),
    Mutant(
        "a page without the linear model",
        "study/run",
        '    return [Linear(task, before.get("linear"))]',
        "    return []",
        "test_baselines.py -k directory",
    ),
    Mutant(
        "the linear model is fitted again",
        "tuning/callbacks/linear",
        "        if self.scores is not None:\n            return\n",
        "",
        "test_baselines.py -k directory",
    ),
    Mutant(
        "a warm-up is not said",
        "tuning/callbacks/progress",
        '"rungs" in notes:\n',
        "False:\n",
        "test_halving.py -k warm_up",
    ),
    Mutant(
        "hyperband's warm-up is not said",
        "tuning/schedulers/hyperband",
        'next((note["notes"] for note in notes if note and "notes" in note), [])',
        "[]",
        "test_halving.py -k warm_up",
    ),
    Mutant(
        "a refusal is the browser's error",
        "live/app",
        'JSONResponse({"refused": str(error)}, headers=PAGE)',
        'JSONResponse({"refused": str(error)}, 400, headers=PAGE)',
        "test_live.py -k in_vain",
    ),
    Mutant(
        "an interrupted epoch stays",
        "study/course",
        "        except BaseException:\n            self._interrupted()\n",
        "        except BaseException:\n",
        "test_session.py -k interrupted_is_none",
    ),
    Mutant("any code", "engine/identity", "and one != other", "and False", "test_notebook.py -k code_was"),
    Mutant(
        "another task is replayed",
        "study/replay",
        '    check_same(results.run, task, f"replay of trial {trial}")\n',
        "",
        "test_notebook.py -k another_task",
    ),
    Mutant(
        "changed but not settled",
        "engine/population",
        "self.checkpoint.settle_waiting(set(decision.set) - set(decision.copy))",
        "pass",
        "test_checkpoint.py -k as_it_stood",
    ),
    Mutant(
        "rest not committed",
        "engine/checkpoint",
        "        self.settle_waiting()\n        self.commits.kept",
        "        self.commits.kept",
        "test_checkpoint.py -k from_any_commit",
    ),
    Mutant(
        "a session that is behind",
        "study/course",
        "                if number >= applied - 1:\n                    self._carry_out(number)\n",
        "                if number >= applied:\n                    self._carry_out(number)\n",
        "test_session.py",
    ),
    Mutant(
        "back is not decided",
        "study/course",
        "        self.log.write(moment.step)\n        self._return_by(len",
        "        self._return_by(len",
        "test_session.py",
    ),
    Mutant("no fsync", "core/storage", "            os.fsync(file.fileno())\n", "", "test_commits.py"),
    Mutant(
        "written in place",
        "core/storage",
        "os.replace(temporary, path)",
        "path.write_bytes(content)",
        "test_commits.py",
    ),
    Mutant("litter stays", "core/storage", "        os.unlink(temporary)\n        if", "        if", "test_commits.py"),
    Mutant("no lock", "core/storage", "fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)", "pass", "test_commits.py"),
    Mutant(
        "manifest first",
        "store/commits",
        '        standing = f"standing-{number}.safetensors"\n',
        '        standing = f"standing-{number}.safetensors"\n'
        "        write_atomic(self.directory / f'commit-{number}.json', b'{}')\n",
        "test_commits.py",
    ),
    Mutant(
        "no digest",
        "store/commits",
        "sha256(file_bytes(path)) == digest\n",
        "sha256(file_bytes(path)) != ''\n",
        "test_commits.py",
    ),
    Mutant("manifest unchecked", "store/commits", "if said != digest_of_json(content) or", "if", "test_commits.py"),
    Mutant(
        "JSON unchecked",
        "store/files",
        "digest != digest_of_json(content):",
        "not content:",
        "test_security.py -k json",
    ),
    Mutant(
        "bomb unpacked",
        "data/npz_table",
        "if stored[name].file_size > MAX_BYTES:",
        "if False:",
        "test_data.py -k unpack",
    ),
    Mutant("one commit kept", "store/commits", "KEPT = 2", "KEPT = 1", "test_commits.py"),
    Mutant("links followed", "store/files", "if path.is_symlink():", "if False:", "test_commits.py"),
    Mutant("any path", "store/commits", "if not FILE.fullmatch(name):", "if False:", "test_commits.py"),
    Mutant("a link for a lock", "core/storage", "if (directory / LOCK).is_symlink():", "if False:", "test_commits.py"),
    Mutant(
        "decisions forgotten",
        "store/decisions",
        "            append(self.path, line_of(line_content(line)))\n        self.lines",
        "            pass\n        self.lines",
        "test_schedulers.py -k torn_line",
    ),
    Mutant(
        "decided again",
        "tuning/driver",
        "step = self.log.read(number) or self.decide(trials)",
        "step = self.decide(trials)",
        "test_resume.py -k sampled",
    ),
    Mutant(
        "acts before it is written",
        "tuning/driver",
        "            if number == len(self.log.steps):\n                self.log.write(step)\n            goes_on",
        "            self.population.advance(number, step.decision)\n"
        "            if number == len(self.log.steps):\n                self.log.write(step)\n            goes_on",
        "test_schedulers.py -k killed",
    ),
    Mutant(
        "torn lines are read",
        "store/decisions",
        'whole = line.endswith(b"\\n") and',
        "whole =",
        "test_schedulers.py -k torn_line",
    ),
    Mutant(
        "applied twice",
        "engine/population",
        "if number >= self.applied:",
        "if True:",
        "test_schedulers.py -k killed",
    ),
    Mutant(
        "copies are crossed",
        "engine/waiting",
        "members=targets[at])",
        "members=targets[at[::-1]])",
        "test_schedulers.py -k everything",
    ),
    Mutant(
        "fresh keys are old",
        "engine/fresh",
        "        if is_key(aval) and not",
        "        if False and not",
        "test_schedulers.py -k everything",
    ),
    Mutant(
        "a note is a decision",
        "store/decisions",
        "    if verb is not None and not isinstance(content[verb], list):",
        "    if False:",
        "test_schedulers.py -k torn_line",
    ),
    Mutant("pruned is ok", "store/results", " & ~self.pruned)", ")", "test_schedulers.py -k everything"),
    Mutant(
        "unchecked decisions",
        "tuning/driver",
        "        step = self.cut(step, trials)\n        self.population.check(step.decision)\n",
        "        step = self.cut(step, trials)\n",
        "test_schedulers.py -k cannot_be",
    ),
    Mutant(
        "what may be set is not known at first",
        "tuning/driver",
        "stopped=stopped.copy(), settable=settable)",
        "stopped=stopped.copy())",
        "test_schedulers.py -k what_may_be_set",
    ),
    Mutant(
        "a callback ends the run",
        "tuning/callbacks/callback",
        "if listener.essential:",
        "if True:",
        "test_schedulers.py -k callback",
    ),
    Mutant("no merging", "store/commits", "while files and (more", "while False and (more", "test_commits.py"),
    Mutant(
        "resume from scratch",
        "store/commits",
        "        numbers = sorted(commit_numbers(directory), reverse=True)\n",
        "        numbers = []\n",
        "test_resume.py -k twice",
    ),
    Mutant(
        "any configuration",
        "study/directory",
        "        if other := differences(then, now):\n",
        "        if False:\n",
        "test_resume.py -k configuration",
    ),
    Mutant("caps by the rule of now", "study/directory", ", caps=caps)", ")", "test_resume.py -k caps_are"),
    Mutant(
        "any dataset",
        "study/directory",
        "self._refuse(then, now)\n        if other_code",
        "if other_code",
        "test_resume.py -k dataset",
    ),
    Mutant(
        "any array",
        "engine/identity",
        "digest_of_tree(jax.tree.map(as_trained, task.data))",
        "{}",
        "test_resume.py -k ones_own",
    ),
    Mutant("no warning", "study/directory", "if there[name] != value:", "if False:", "test_resume.py -k version"),
    Mutant(
        "worst wins",
        "task",
        'in ((LESS, "min"), (MORE',
        'in ((LESS, "max"), (MORE',
        "test_selection.py -k own_dir",
    ),
    Mutant(
        "nothing given back",
        "engine/backends/local",
        "            with contextlib.suppress(Exception):",
        "            if True:",
        "test_devices.py -k give_back",
    ),
    Mutant(
        "folds of a part",
        "engine/kept",
        "if all(member in self.states for member in own)",
        "",
        "test_resume.py -k lost_in_part",
    ),
    Mutant(
        "nameless lock", "core/storage", "if not keeps_name(", "if False and keeps_name(", "test_commits.py -k name"
    ),
    Mutant(
        "scored often",
        "study/run",
        "test = score(population.roster, best.trial, states[best.trial], self.timer.compiling)",
        "test = [score(population.roster, best.trial, states[best.trial], self.timer.compiling) for _ in range(2)][0]",
        "test_selection.py -k once",
    ),
    Mutant(
        "stopped is ok",
        "store/results",
        "(~self.diverged & ~self.stopped &",
        "(~self.diverged &",
        "test_resume.py -k means",
    ),
    Mutant("a stop is not committed", "study/run", "            population.commit()\n", "", "test_resume.py -k twice"),
    Mutant(
        "never due", "engine/backends/local", "(long or time.monotonic() >= request.due)", "long", "test_checkpoint.py"
    ),
    Mutant(
        "long epochs forgotten",
        "engine/backends/local",
        "(long or time.monotonic() >=",
        "(time.monotonic() >=",
        "test_checkpoint.py",
    ),
    Mutant("long epochs wait", "engine/checkpoint", "if self._long or (", "if (", "test_checkpoint.py"),
    Mutant(
        "answers without end", "engine/backends/local", "answered < request.number and (", "(", "test_checkpoint.py"
    ),
    Mutant(
        "nothing is waited for",
        "engine/checkpoint",
        "(all(self._answered.values()) or",
        "(True or",
        "test_checkpoint.py",
    ),
    Mutant(
        "two sessions write",
        "study/session_directory",
        "if OPEN.get(self.path) is not self:",
        "if False:",
        "test_session.py -k opened_last",
    ),
    Mutant(
        "SIGTERM kills",
        "commands/cli",
        "(signal.SIGINT, signal.SIGTERM) if",
        "(signal.SIGINT,) if",
        "test_resume.py -k signals",
    ),
    Mutant(
        "never out at once",
        "commands/cli",
        "            leave_now()\n        stop.code",
        "            return\n        stop.code",
        "test_resume.py -k second",
    ),
    Mutant(
        "in use is bad input",
        "commands/cli",
        "fail(str(error), IN_USE)",
        "fail(str(error))",
        "test_resume.py -k in_use",
    ),
    Mutant(
        "out of memory is the end",
        "engine/population",
        "self.roster.plan.lanes.narrow(error.needed)",
        "raise",
        "test_devices.py -k memory",
    ),
    Mutant(
        "bytes unsaid",
        "engine/backends/local",
        "OutOfMemory(refused_bytes(error))",
        "OutOfMemory()",
        "test_devices.py -k named",
    ),
    Mutant(
        "too large is bad input",
        "engine/plan",
        'raise MemoryError(f"one',
        'raise ValueError(f"one',
        "test_sweep.py -k fit",
    ),
    Mutant(
        "a stop is missed",
        "engine/population",
        "            if self.timer.stop.is_set():\n                return False\n",
        "            if self.timer.stop.is_set():\n                break\n",
        "test_schedulers.py -k stop_while",
    ),
    Mutant(
        "trained again from nothing",
        "engine/backends/local",
        "if self.epoch >= origin.epoch:",
        "if True:",
        "test_schedulers.py -k stop_while",
    ),
    Mutant(
        "one trial fewer goes on",
        "tuning/schedulers/halving",
        "math.ceil(reached / reduction_factor)",
        "reached // reduction_factor",
        "test_halving.py -k plain_loop",
    ),
    Mutant(
        "a diverged trial goes on",
        "scheduler",
        "& np.isfinite(trials.loss))\n    at",
        ")\n    at",
        "test_halving.py -k plain_loop",
    ),
    Mutant(
        "brackets mixed up",
        "tuning/schedulers/hyperband",
        "return halving(reduction_factor, rungs[bracket])(part)",
        "return halving(reduction_factor, rungs[0])(part)",
        "test_halving.py -k brackets",
    ),
    Mutant(
        "copied across buckets",
        "tuning/schedulers/pbt",
        "here & (trials.bucket == bucket)",
        "here",
        "test_pbt.py -k plain_loop",
    ),
    Mutant(
        "a copy's keys are its source's",
        "tuning/schedulers/pbt",
        "fresh=tuple(copy)",
        "fresh=()",
        "test_pbt.py -k plain_loop",
    ),
    Mutant(
        "the diverged stay",
        "tuning/schedulers/pbt",
        "len(sources)) :] + diverged",
        "len(sources)) :]",
        "test_pbt.py -k plain_loop",
    ),
    Mutant(
        "a size is set without its weights",
        "engine/roster",
        "*(member.sizes - free)]",
        "]",
        "test_pbt.py -k plain_loop",
    ),
    Mutant(
        "replayed without its ancestors",
        "study/replay",
        "copy = {here: before} if here != before else {}",
        "copy = {}",
        "test_pbt.py -k ancestors",
    ),
    Mutant(
        "copies are not committed",
        "engine/population",
        "            if self.checkpoint is not None:\n                self.checkpoint.settle(cohort)",
        "            pass",
        "test_checkpoint.py -k as_it_stood",
    ),
    Mutant(
        "a child of an inactive parent",
        "space/space",
        "*(found[p] for p in condition if p in found)",
        "",
        "test_conditions.py -k sampled",
    ),
    Mutant(
        "absent is zero",
        "store/trial_columns",
        "values = [None if absent(value) else value for value in column.tolist()]\n    if None",
        "values = [0 if absent(value) else value for value in column.tolist()]\n    if None",
        "test_conditions.py -k goes_on",
    ),
    Mutant(
        "predicts without what it held",
        "supervision/trained",
        "return given | {name: self.space[name].inactive for name in elsewhere}",
        "return given",
        "test_conditions.py -k predict",
    ),
    Mutant(
        "told of what is not",
        "space/space",
        "                found[name] = clauses(condition)\n",
        "                pass\n",
        "test_conditions.py -k reading_it",
    ),
    Mutant(
        "the zoom forgets conditions",
        "tuning/zoom",
        "return Zoom(space.replace(**scales), notes)",
        "return Zoom(Space(**{**dict(space), **scales}), notes)",
        "test_conditions.py -k zoom",
    ),
    Mutant(
        "equal scores count whole",
        "supervision/metrics",
        'jnp.searchsorted(others, scores, side="left")',
        'jnp.searchsorted(others, scores, side="right")',
        "test_metrics.py -k equal_scores",
    ),
    Mutant(
        "metrics of standardized values",
        "supervision/fit",
        "* unit + zero",
        "* unit",
        "test_metrics.py -k own_units",
    ),
    Mutant(
        "a score whose sign is not turned",
        "study/estimators",
        'sign = 1 if results.metric.mode == "max" else -1',
        "sign = 1",
        "test_estimators.py -k sign_turned",
    ),
    Mutant(
        "a pickle with the rows",
        "study/estimators",
        'dataclasses.replace(state["results_"], task=None)',
        'state["results_"]',
        "test_estimators.py -k holds_no_rows",
    ),
    Mutant(
        "the last part is lost",
        "supervision/stack",
        "range(0, max(rows, 1), most)",
        "range(0, max(1, rows - most), most)",
        "test_estimators.py -k in_parts",
    ),
    Mutant(
        "weights of other rows",
        "supervision/fit",
        "aligned(losses, data.weight[rows])",
        "aligned(losses, data.weight[: len(losses)])",
        "test_weights.py -k twice",
    ),
    Mutant(
        "a group in two parts",
        "data/splits",
        "& ~np.isin(groups, part)) for part in parts]",
        ") for part in parts]",
        "test_parts.py -k no_group",
    ),
    Mutant(
        "numbers of the rows that are left",
        "data/splits",
        "return kept - np.searchsorted(dataset.dropped, kept)",
        "return kept",
        "test_parts.py -k numbers_of_rows",
    ),
    Mutant(
        "later rows train",
        "data/splits",
        "rest[start - first : start] for start in starts",
        "rest[:first] for start in starts",
        "test_parts.py -k comes_later",
    ),
    Mutant(
        "any model will do",
        "supervision/predictor",
        "if needed.get(path) != stored.get(path):",
        "if False:",
        "test_export.py -k another_model",
    ),
    Mutant(
        "longer runs from anything",
        "study/directory",
        'if any("epochs" in functions.reads for functions in roster.buckets):',
        "if False:",
        "test_resume.py -k horizon",
    ),
    Mutant(
        "only the innermost group",
        "engine/memory",
        "for place in (inner, *inner.parents) if",
        "for place in (inner,) if",
        "test_package.py -k control",
    ),
    Mutant(
        "the best of all epochs",
        "tuning/callbacks/progress",
        "if self.run.rule.improvement is not None:",
        "if True:",
        "test_schedulers.py -k progress",
    ),
    Mutant(
        "every seed asks alike",
        "tuning/proposals",
        "np.random.SeedSequence([seed, len(trials.epochs)])",
        "np.random.SeedSequence([len(trials.epochs)])",
        "test_proposals.py -k another_seed",
    ),
    Mutant(
        "points of a round that crowd",
        "space/parzen",
        "np.concatenate([others, points[:row]])",
        "others",
        "test_parzen.py -k point_taken",
    ),
    Mutant(
        "good trials that are not the best",
        "tuning/tpe",
        "np.lexsort((loss, -far))",
        "np.lexsort((-far, loss))",
        "test_parzen.py -k good_trials_are",
    ),
    Mutant(
        "weights forgotten",
        "supervision/predictor",
        "total += weight * self._in_units",
        "total += self._in_units",
        "test_ensemble.py -k greedy_takes",
    ),
    Mutant(
        "no limit on new rows",
        "data/transforms/affine",
        "return np.clip((x - self.mean) / self.scale, -self.limit, self.limit)",
        "return (x - self.mean) / self.scale",
        "test_transforms.py -k nearly_constant_column_ends",
    ),
    Mutant(
        "an output in the units of the first",
        "supervision/kinds/regression",
        "squared, absolute = ((error * units) ** 2).mean(0)",
        "squared, absolute = ((error * units[:, :1]) ** 2).mean(0)",
        "test_kinds.py -k plain_loop",
    ),
    Mutant(
        "a label is told by its probability of not being",
        "supervision/kinds/multilabel",
        "return predicted > THRESHOLD",
        "return predicted < THRESHOLD",
        "test_kinds.py -k estimator",
    ),
    Mutant(
        "an autoencoder learns raw features",
        "supervision/fit",
        "return Rows(rows.x, rows.x) if self.mirrored else rows",
        "return Rows(rows.x, 0 * rows.x) if self.mirrored else rows",
        "test_kinds.py -k plain_loop",
    ),
    Mutant(
        "tokens become numbers",
        "data/checks",
        'return x if whole and x.dtype.kind in "biu" else x.astype(float, copy=False)',
        "return x.astype(float, copy=False)",
        "test_kinds.py -k plain_loop",
    ),
    Mutant(
        "the weights of labels count for rows",
        "supervision/fit",
        "return losses, weight if losses.ndim == weight.ndim else weight[:, None]",
        "return losses, weight[..., :1] if losses.ndim == weight.ndim else weight[:, None]",
        "test_kinds.py -k weights",
    ),
    Mutant(
        "an output goes by another's name",
        "data/table",
        "for name in outputs[1:])]",
        "for name in outputs[:0:-1])]",
        "test_kinds.py -k frame_of_targets",
    ),
    Mutant(
        "one transform for all folds",
        "supervision/preprocessing",
        "taken(x, rows), columns) for rows in split.train)",
        "taken(x, split.train[0]), columns) for rows in split.train)",
        "test_kinds.py -k plain_loop",
    ),
    Mutant(
        "a built-in table is one's own",
        "supervision/baselines",
        " and dataset.name not in BUILT_IN",
        "",
        "test_baselines.py -k says_nothing_of_columns",
    ),
    Mutant(
        "the width of outputs is left out",
        "supervision/stack",
        "rows_at_once(models * self.width)",
        "rows_at_once(models)",
        "test_ensemble.py -k wide_outputs",
    ),
    Mutant(
        "a column is judged by the models that trained on the rows",
        "supervision/permuted",
        "predictor.of_fold(x, fold)[0]",
        "predictor.of_fold(x, 0)[0]",
        "test_baselines.py -k worth",
    ),
    Mutant(
        "rows that test give a column its indicator",
        "supervision/preprocessing",
        "np.delete(np.arange(len(dataset)), split.test))",
        "np.arange(len(dataset)))",
        "test_tabular.py -k nowhere",
    ),
    Mutant(
        "models of weighted rows are chosen by the unweighted loss",
        "study/effort",
        'rule = together(KEPT, "mean", "val_loss")',
        "pass",
        "test_tabular.py -k undo",
    ),
    Mutant(
        "all columns are permuted",
        "supervision/permuted",
        "changed[:, column] =",
        "changed[:, :] = changed[:, [column]]; changed[:, column] =",
        "test_baselines.py -k worth",
    ),
    Mutant(
        "numbers out of use are inputs",
        "models/periodic",
        " * (1 if mask is None else mask[:, None, None])",
        "",
        "test_tabular.py -k plain_flax",
    ),
    Mutant(
        "a slower scale",
        "models/tabular",
        "FASTER = 6.0",
        "FASTER = 5.0",
        "test_tabular.py -k plain_flax",
    ),
    Mutant(
        "no indicator",
        "data/transforms/filled",
        "(np.isnan(x) & self.trained)",
        "(np.isnan(x) & False)",
        "test_tabular.py -k each_folds_median",
    ),
    Mutant(
        "an indicator that no row trained",
        "data/transforms/filled",
        "(np.isnan(x) & self.trained)",
        "np.isnan(x)",
        "test_tabular.py -k no_training_row",
    ),
    Mutant(
        "a text that no row trained",
        "data/transforms/known",
        "np.where(np.stack(occurs, 1), x, 0)",
        "x",
        "test_tabular.py -k no_training_row",
    ),
    Mutant(
        "a class of one row has trees",
        "supervision/kinds/classification",
        "counts[counts > 0].min() < 2",
        "False",
        "test_baselines.py -k class_of_one_row",
    ),
    Mutant(
        "a missing text is the first level",
        "data/columns",
        "coded[:, at] = np.nan_to_num(coded[:, at] + 1)",
        "coded[:, at] = np.nan_to_num(coded[:, at])",
        "test_tabular.py -k each_folds_median",
    ),
    Mutant(
        "the same folds of any table",
        "study/effort",
        "if epoch * math.prod(one) <= OPERATIONS",
        "if math.prod(one) <= OPERATIONS",
        "test_tabular.py -k effort_follows",
    ),
    Mutant(
        "a code of the level before",
        "data/columns",
        "np.nan_to_num(coded[:, texts] + 1)",
        "np.nan_to_num(coded[:, texts])",
        "test_guides.py -k new_model",
    ),
    Mutant(
        "missing cells that a transform takes are refused",
        "supervision/encoding",
        "if not lost.any() or (fill is None and recipe.keeps):",
        "if not lost.any():",
        "test_transforms.py -k missing_cells",
    ),
    Mutant(
        "each fold reads the rows of the first",
        "supervision/fit",
        "numbers + fold.number * len(rows.y)",
        "numbers",
        "test_transforms.py -k each_predicts_from",
    ),
    Mutant(
        "quartiles whose ends are not bent",
        "data/transforms/robust",
        "z / np.sqrt(1 + (z / BEND) ** 2)",
        "z",
        "test_transforms.py -k robust_is",
    ),
    Mutant(
        "an outlier's own noise",
        "data/transforms/quantile",
        "self.noise * spread(flat) * drawn",
        "self.noise * flat.std(0) * drawn",
        "test_transforms.py -k outlier",
    ),
    Mutant(
        "narrower from scratch",
        "engine/backends/local",
        "return self.cohort().on_host()",
        "return dataclasses.replace(origin, state=None)",
        "test_devices.py -k nothing",
    ),
    Mutant(
        "a late answer counts",
        "engine/backends/remote",
        "            del self.under_way[future]\n            future.cancel()\n",
        "            future.cancel()\n",
        "test_executors.py -k unreliable",
    ),
    Mutant(
        "a lost state is where it was",
        "engine/backends/remote",
        "            epoch=stands.epoch,\n",
        "            epoch=assignment.origin.epoch,\n",
        "test_executors.py -k unreliable",
    ),
    Mutant(
        "a broken pool charges all",
        "engine/backends/remote",
        "            charged &= not self.under_way and delivery.executor is remote.door.executor\n",
        "            charged = True\n",
        "test_executors.py -k breaks_its_pool",
    ),
    Mutant(
        "a worker of any kind",
        "engine/backends/work",
        "if unit.kin is not None and unit.kin != kin():",
        "if False:",
        "test_work.py",
    ),
    Mutant(
        "JAX's settings stay", "engine/backends/work", "with under(unit.settings):", "with ExitStack():", "test_work.py"
    ),
    Mutant(
        "programs of other settings",
        "engine/backends/work",
        "unit.lanes.capacity, unit.settings\n",
        "unit.lanes.capacity\n",
        "test_work.py",
    ),
    Mutant(
        "orphans stay",
        "executors/processes",
        "    os._exit(1)\n",
        "    return\n",
        "test_executors.py -k killed_run",
    ),
    Mutant(
        "workers outlive the search",
        "executors/processes",
        "one.shutdown(wait=wait, kill_workers=True)",
        "one.shutdown(wait=False)",
        "test_executors.py -k is_over",
    ),
    Mutant(
        "the scheduler wins",
        "tuning/person",
        'if change.verb != "lift" and trial not in mine:',
        "if False:",
        "test_person.py -k person_wins",
    ),
    Mutant(
        "a stop is forgotten",
        "store/decisions",
        '        "stopped": [int(trial) for trial in step.stopped],\n',
        "",
        "test_person.py -k holds_until",
    ),
    Mutant(
        "a decision without its person",
        "tuning/person",
        '"by": "user", "changes"',
        '"by": "program", "changes"',
        "test_person.py -k persons_decisions",
    ),
    Mutant(
        "the last ones are not written down",
        "tuning/driver",
        "if not step.decision.until and not changes_of(step.decision):",
        "if not step.decision.until:",
        "test_person.py -k stopping_the_last",
    ),
    Mutant(
        "a changed run grows longer",
        "study/directory",
        "            if changed:\n                why",
        "            if False:\n                why",
        "test_person.py -k no_more_epochs",
    ),
    Mutant("any host", "live/guard", "host_name(host) not in self.names", "False", "test_live.py -k forged_request_is"),
    Mutant(
        "any origin",
        "live/guard",
        'list(origins) != [f"http://{host}"]',
        "False",
        "test_live.py -k forged_request_is",
    ),
    Mutant(
        "any host name",
        "live/guard",
        "if not (known or (entering and equal(asking.token, self.token))):",
        "if False:",
        "test_live.py -k forged_request_is",
    ),
    Mutant(
        "a form may ask",
        "live/guard",
        "if asking.header(OURS[0]) != OURS[1]:",
        "if False:",
        "test_live.py -k forged_request_is",
    ),
    Mutant(
        "large messages", "live/board", "VALUES, PIECE = 6000, 2", "VALUES, PIECE = 60_000, 2", "test_live.py -k few"
    ),
    Mutant(
        "a tab is told twice",
        "live/board",
        "        sent[place] = end\n",
        "        sent[place] = first\n",
        "test_live.py -k few",
    ),
    Mutant(
        "commits as often as ever",
        "engine/checkpoint",
        "self.request.put_off(min((time.monotonic() - begun) / SHARE, LONGEST))",
        "self.request.put_off()",
        "test_checkpoint.py",
    ),
    Mutant(
        "old states stay",
        "store/commits",
        "self._new = [one for one in self._new if self._live(one.cohort).any()] + [record]",
        "self._new.append(record)",
        "test_commits.py -k superseded",
    ),
    Mutant(
        "a copy's best epoch gets fresh keys",
        "engine/fresh",
        ' and not name.startswith("best."):',
        ":",
        "test_pbt.py -k counter",
    ),
    Mutant(
        "the last epoch is kept as the best",
        "engine/best_epoch",
        "Overwrite(better, new.state)",
        "Overwrite(new.alive, new.state)",
        "test_best_epoch.py -k given",
    ),
    Mutant(
        "an equal epoch is a better one",
        "rule",
        "(one[1] < other[1])",
        "(one[1] <= other[1])",
        "test_best_epoch.py -k given",
    ),
    Mutant(
        "what rests trains on in its program",
        "engine/best_epoch",
        "new.alive & (since < member.wanted.patience)",
        "new.alive",
        "test_best_epoch.py -k plain_loop",
    ),
    Mutant(
        "what rests stays in the population",
        "engine/trial_table",
        "np.where(self.curves.resting.ravel(), 0, goals.repeat(self.numbering.each))",
        "goals.repeat(self.numbering.each)",
        "test_best_epoch.py -k smaller",
    ),
    Mutant(
        "a state that rests is given up",
        "engine/trial_table",
        " or self.curves.rests(cohort.members).any()))",
        "))",
        "test_best_epoch.py -k killed",
    ),
    Mutant(
        "what rested before a kill lags behind",
        "engine/population",
        "restore(self.checkpoint, buckets, self.roster.abstract))\n        self.table.fulfil()",
        "restore(self.checkpoint, buckets, self.roster.abstract))",
        "test_best_epoch.py -k sees",
    ),
    Mutant(
        "a fold that rests is lost with its file",
        "engine/checkpoint",
        "lost = ~over & resting[cohort.members] & (cohort.state is None)",
        "lost = over & False",
        "test_best_epoch.py -k no_state",
    ),
    Mutant(
        "a copy counts its own patience",
        "engine/curves",
        "self.so_far.copy(self.numbering.members(targets), self.numbering.members(sources))",
        "pass",
        "test_pbt.py -k counter",
    ),
    Mutant(
        "copies of one epoch predict twice",
        "store/counted",
        "return rows[np.sort(first)]",
        "return rows",
        "test_pbt.py -k counter",
    ),
    Mutant(
        "rungs compare the present",
        "scheduler",
        "trials.curves if present else trials.values",
        "trials.curves",
        "test_best_epoch.py -k rung",
    ),
    Mutant(
        "another patience ranks",
        "store/results",
        '    check_patience("ranked", results.rule, rule)\n',
        "",
        "test_best_epoch.py -k finished",
    ),
    Mutant(
        "weights of another epoch predict",
        "store/results",
        "for trial, state in results.states.items() if same[trial]}",
        "for trial, state in results.states.items()}",
        "test_best_epoch.py -k finished",
    ),
    Mutant(
        "what rested within a segment is not kept",
        "engine/checkpoint",
        "            table.kept.offer(done, table.curves, table.costs)\n",
        "",
        "test_best_epoch.py -k kept_states",
    ),
    Mutant(
        "a copy of a fold that rests loses records",
        "engine/trial_table",
        "            self.waiting.pass_by(np.where(behind, epochs, 0).ravel())\n",
        "            pass\n",
        "test_best_epoch.py -k copies_come",
    ),
    Mutant(
        "an epoch heard twice counts twice",
        "engine/curves",
        "            self.cut(members, epoch)\n            self.recount()\n",
        "            pass\n",
        "test_best_epoch.py -k twice",
    ),
]


def survives(mutant: Mutant) -> bool:
    """Whether the tests pass on a broken copy."""
    with tempfile.TemporaryDirectory() as place:
        for name in ("popjax", "tests", "pyproject.toml", "README.md"):
            copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
            copy(ROOT / name, Path(place) / name)
        path = Path(place) / "popjax" / f"{mutant.module}.py"
        text = path.read_text()
        if text.count(mutant.old) != 1:
            raise SystemExit(f"{mutant.name}: {mutant.old!r} stands {text.count(mutant.old)} times in {path.name}")
        path.write_text(text.replace(mutant.old, mutant.new))
        file, *selection = mutant.tests.split(maxsplit=2)
        options = ["--all", "-x", "-q", "-n", "2", "-p", "no:cacheprovider", f"tests/{file}", *selection]
        command = [sys.executable, "-m", "pytest", *options]
        environment = {**os.environ, "PYTHONPATH": place}
        done = subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True)
        if done.returncode and "\nFAILED " not in done.stdout:
            raise SystemExit(f"{mutant.name}: the tests cannot run, so nothing was tested: {mutant.tests}")
        return done.returncode == 0


def main() -> int:
    """Print a row a mutant; returns 1 if one survives."""
    alive = 0
    for mutant in MUTANTS:
        lives = survives(mutant)
        alive += lives
        print(f"{'SURVIVES' if lives else 'caught':9} {mutant.name:28} {mutant.tests}", flush=True)
    return int(alive > 0)


if __name__ == "__main__":
    raise SystemExit(main())
