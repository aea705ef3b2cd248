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
    Mutant("no fsync", "storage", "            os.fsync(file.fileno())\n", "", "test_commits.py"),
    Mutant(
        "written in place", "storage", "os.replace(temporary, path)", "path.write_bytes(content)", "test_commits.py"
    ),
    Mutant("litter stays", "storage", "        os.unlink(temporary)\n", "", "test_commits.py"),
    Mutant("no lock", "storage", "fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)", "pass", "test_commits.py"),
    Mutant(
        "manifest first",
        "commits",
        "        finished = self._merged()\n",
        "        write_atomic(self.directory / f'commit-{number}.json', b'{}')\n        finished = self._merged()\n",
        "test_commits.py",
    ),
    Mutant("no digest", "commits", ".hexdigest() == digest\n", ".hexdigest() != ''\n", "test_commits.py"),
    Mutant("manifest unchecked", "commits", "if said != digest_of(content) or", "if", "test_commits.py"),
    Mutant("JSON unchecked", "files", "digest != digest_of(content):", "not content:", "test_security.py -k json"),
    Mutant("bomb unpacked", "data", "if stored[name].file_size > MAX_BYTES:", "if False:", "test_data.py -k unpack"),
    Mutant("one commit kept", "commits", "KEPT = 2", "KEPT = 1", "test_commits.py"),
    Mutant("links followed", "commits", "if path.is_symlink():", "if False:", "test_commits.py"),
    Mutant("any path", "commits", "if not FILE.fullmatch(name):", "if False:", "test_commits.py"),
    Mutant("a link for a lock", "storage", "if (directory / LOCK).is_symlink():", "if False:", "test_commits.py"),
    Mutant(
        "later rounds resampled", "driver", "self.saved.points(sampled, first)", "sampled", "test_resume.py -k sampled"
    ),
    Mutant("later rounds forgotten", "saved", '"rounds": rounds, ', "", "test_resume.py -k later_round"),
    Mutant("no merging", "commits", "while finished and len(", "while False and len(", "test_commits.py"),
    Mutant(
        "resume from scratch",
        "commits",
        "        numbers = sorted(numbered(directory), reverse=True)\n",
        "        numbers = []\n",
        "test_resume.py -k twice",
    ),
    Mutant("resampled", "saved", "points[name][row] = value", "pass", "test_resume.py -k sampled"),
    Mutant(
        "any configuration", "saved", "        if other:\n", "        if False:\n", "test_resume.py -k configuration"
    ),
    Mutant("caps by the rule of now", "saved", ", caps=caps)", ")", "test_resume.py -k caps_are"),
    Mutant("any dataset", "saved", "self._refuse(then, now)\n        width", "width", "test_resume.py -k dataset"),
    Mutant("any array", "run", '{"arrays": digest(self.data)}', "{}", "test_resume.py -k ones_own"),
    Mutant("no warning", "saved", "if there[name] != value:", "if False:", "test_resume.py -k version"),
    Mutant(
        "worst wins", "task", 'in ((LESS, "min"), (MORE', 'in ((LESS, "max"), (MORE', "test_selection.py -k own_dir"
    ),
    Mutant(
        "nothing given back",
        "executor",
        "                stand = part.stand",
        "                return",
        "test_devices.py -k give_back",
    ),
    Mutant("folds of a part", "collect", " if len(members) == each", "", "test_resume.py -k lost_in_part"),
    Mutant("nameless lock", "storage", "if not keeps_name(", "if False and keeps_name(", "test_commits.py -k name"),
    Mutant(
        "scored often",
        "driver",
        "test = its.score(row, states[best.trial], watch)",
        "test = [its.score(row, states[best.trial], watch) for _ in range(2)][0]",
        "test_selection.py -k once",
    ),
    Mutant(
        "stopped is ok", "results", "(~self.diverged & ~self.stopped)", "(~self.diverged)", "test_resume.py -k means"
    ),
    Mutant(
        "a stop is not committed",
        "run",
        "            saver.commit(collector)\n",
        "            pass\n",
        "test_resume.py -k twice",
    ),
    Mutant("never due", "executor", "(long or time.monotonic() >= calls.due)", "long", "test_checkpoint.py"),
    Mutant(
        "long epochs forgotten",
        "executor",
        "(long or time.monotonic() >=",
        "(time.monotonic() >=",
        "test_checkpoint.py",
    ),
    Mutant("long epochs wait", "checkpoint", "if self._long or (", "if (", "test_checkpoint.py"),
    Mutant("answers without end", "executor", "answered < calls.number and (", "(", "test_checkpoint.py"),
    Mutant("nobody is waited for", "checkpoint", "(all(self._roll.values()) or", "(True or", "test_checkpoint.py"),
    Mutant(
        "SIGTERM kills", "cli", "(signal.SIGINT, signal.SIGTERM) if", "(signal.SIGINT,) if", "test_resume.py -k signals"
    ),
    Mutant(
        "never out at once",
        "cli",
        "            interrupt()\n        stop.code",
        "            return\n        stop.code",
        "test_resume.py -k second",
    ),
    Mutant("in use is bad input", "cli", "fail(str(error), IN_USE)", "fail(str(error))", "test_resume.py -k in_use"),
    Mutant(
        "out of memory is the end", "run", "self.plan.width.narrow(error.needed)", "raise", "test_devices.py -k memory"
    ),
    Mutant("bytes unsaid", "executor", "OutOfMemory(refused(error))", "OutOfMemory()", "test_devices.py -k named"),
    Mutant(
        "too large is bad input", "plan", 'raise MemoryError(f"one', 'raise ValueError(f"one', "test_sweep.py -k fit"
    ),
    Mutant(
        "narrower from scratch",
        "executor",
        "return Stand(part.stand.bucket, part.index, epoch, host)",
        "return part.stand",
        "test_devices.py -k nothing",
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
        options = ["-x", "-q", "-n", "2", "-p", "no:cacheprovider", f"tests/{file}", *selection]
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
