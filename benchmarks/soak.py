"""Commands that are ended at random instants and gone on with, for long: do they end in time, and with the same bytes?

    python benchmarks/soak.py --minutes 20     # kill sweeps up to four times each
    python benchmarks/soak.py --signals 1000   # SIGINT and SIGTERM to sweeps and babysitters, six at once

A command that was ended is gone on with as its user would; then its files must be the bytes of the same command left
alone. One that got a signal must end within 15 s, with the exit code and the lines that are promised for it, and its
log must be the beginning of the log of the one left alone. Prints one JSON object; exit code 1 if anything failed.
"""

import argparse
import collections
import concurrent.futures
import dataclasses
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

WITHIN = 15  # seconds from a signal to the end
BEST = ("best/arrays.safetensors", "best/best.json")
STARTS = (
    "popjax: ",
    "stopping after this ",
    "stopped: ",
    "go on: ",
    "compiling ",
    "trained ",
    "rung ",
)  # lines of stderr


@dataclasses.dataclass(frozen=True)
class Ended:
    """How a process ended: exit code, what it wrote, seconds since its start, and since the signal."""

    code: int
    out: str
    err: str
    seconds: float
    late: float = 0.0


class Sweep:
    """A search, gone on with by `--resume`."""

    files = ("trials.parquet", "curves.parquet", *BEST)

    def __init__(self, *options: str) -> None:
        self.arguments = ["popjax.sweep", "--dataset", "wine", *options]

    def begin(self, out: Path) -> tuple[list[str], str]:
        """The command line, and what is typed."""
        return [*self.arguments, "--out", str(out), "--resume"], ""

    def go_on(self, out: Path, alone: Path) -> tuple[list[str], str]:
        """The same command line: it begins anew where nothing stands."""
        return self.begin(out)


class Babysitter:
    """A model steered by piped commands, one a decision; gone on with where its log ends."""

    files = ("curves.parquet", *BEST)
    commands = (
        *["go 1"] * 12,
        "learning_rate*=0.5",
        *["go 1"] * 12,
        "back 4",
        "momentum=0.95",
        *["go 1"] * 16,
        "save",
    )

    def begin(self, out: Path) -> tuple[list[str], str]:
        """The command line, and what is typed."""
        return ["popjax.babysit", "--dataset", "wine", "--out", str(out)], "\n".join(self.commands)

    def go_on(self, out: Path, alone: Path) -> tuple[list[str], str]:
        """The rest of the commands for the directory, or all of them where it holds no session."""
        log = out / "decisions.jsonl"
        if not log.exists() or b"\n" not in log.read_bytes():
            return self.begin(out)
        rest = self.commands[self.obeyed(decisions(log), decisions(alone / "decisions.jsonl")) :]
        return ["popjax.babysit", "--resume", str(out)], "\n".join(rest) or "watch"

    def obeyed(self, lines: list[dict], whole: list[dict]) -> int:
        """How many commands a log has obeyed; AssertionError if it is not the beginning of the whole one."""
        if len(lines) > 3 and lines[-1] == {"back": 1}:  # an epoch that had not begun is taken back
            lines = lines[:-2]
        assert lines == whole[: len(lines)], f"another log: {lines[-3:]}"
        return len(lines) - 1  # the first one adds the model


def decisions(path: Path) -> list[dict]:
    """The lines of a log without their digests; one that is still being written is no line."""
    lines = path.read_text().split("\n")[:-1]
    return [{name: value for name, value in json.loads(line).items() if name != "check"} for line in lines]


def start(command: list[str], typed: str) -> subprocess.Popen:
    """A command at work, with what is typed already in its pipe."""
    kwargs = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen([sys.executable, "-m", *command], **kwargs)
    process.stdin.write(typed)
    process.stdin.close()
    process.stdin = None
    return process


def left_alone(command: list[str], typed: str) -> Ended:
    """Run a command to its end."""
    begin = time.monotonic()
    process = start(command, typed)
    out, err = process.communicate(timeout=600)
    return Ended(process.returncode, out, err, time.monotonic() - begin)


def interrupted(command: list[str], typed: str, number: int, after: float) -> Ended:
    """Send a signal after so many seconds; the process is killed if it does not end in four times its time."""
    begin = time.monotonic()
    process = start(command, typed)
    try:
        out, err = process.communicate(timeout=after)
        return Ended(process.returncode, out, err, time.monotonic() - begin)
    except subprocess.TimeoutExpired:
        process.send_signal(number)
    sent = time.monotonic()
    try:
        out, err = process.communicate(timeout=4 * WITHIN)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
    now = time.monotonic()
    return Ended(process.returncode, out, err, now - begin, now - sent)


def fault(ended: Ended, number: int) -> str | None:
    """What a command that got SIGINT or SIGTERM did against the promise; None: nothing."""
    if ended.late > WITHIN:
        return f"it ended after {ended.late:.1f} s, with {ended.code}"
    if strange := [line for line in ended.err.splitlines() if line and not line.startswith(STARTS)]:
        return f"exit {ended.code} with {strange[:1] + strange[-3:]}"
    if ended.code == 0:  # it was at its end
        return None
    if number == signal.SIGTERM:
        expected = 143 if at_work(ended) else -signal.SIGTERM
        return None if ended.code in (143, expected) else f"exit {ended.code} at SIGTERM"
    if ended.code != 130:
        return f"exit {ended.code} at SIGINT"
    told = ended.err.rstrip().endswith("popjax: interrupted") or "\ngo on: " in ended.out + ended.err
    return None if told else f"it does not say how to go on: {ended.err[-200:]!r}"


def at_work(ended: Ended) -> bool:
    """Whether it had begun to train, and was not yet at its last lines, so that it answers for SIGTERM itself."""
    said = ended.out + ended.err
    return (
        ("\nepoch " in ended.out or "trained " in ended.err) and "\nresults: " not in said and "\ngo on: " not in said
    )


def python_began(ended: Ended) -> bool:
    """Whether Python was still starting, or importing what sets popjax's handler: SIGINT ends it, or is lost there."""
    lost = "Exception ignored in" in ended.err and "KeyboardInterrupt" in ended.err
    asked = ended.code == -signal.SIGINT or (ended.code == 1 and "KeyboardInterrupt" in ended.err) or lost
    return asked and "enter(" not in ended.err


def different(work: Sweep | Babysitter, alone: Path, other: Path) -> list[str]:
    """The files of two directories whose bytes differ."""
    return [name for name in work.files if content(alone / name) != content(other / name)]


def content(path: Path) -> bytes | None:
    """The bytes of a file, if there is one."""
    return path.read_bytes() if path.exists() else None


def signals(options: argparse.Namespace, place: Path) -> collections.Counter:
    """Signals to many commands at once."""
    size = ["--trials", "12", "--epochs", "30"]
    works = [Sweep(*size), Babysitter(), Sweep(*size, "--scheduler", "halving"), Babysitter()]
    begun = [left_alone(*work.begin(place / f"alone-{index}")) for index, work in enumerate(works)]
    counts: collections.Counter = collections.Counter()
    counts["failed alone"] = sum(ended.code != 0 for ended in begun)

    def one(index: int) -> None:
        rng = random.Random(options.seed + index)
        kind = index % len(works)
        work, alone, out = works[kind], place / f"alone-{kind}", place / f"run-{index}"
        number = rng.choice([signal.SIGINT, signal.SIGTERM])
        after = rng.uniform(0, 0.6 * options.at_once * begun[kind].seconds)
        ended = interrupted(*work.begin(out), number, after)
        if python_began(ended):
            counts["before popjax"] += 1
        elif said := fault(ended, number):
            counts["faults"] += 1
            print(f"{index}: {number!r} after {after:.3f} s: {said}", file=sys.stderr, flush=True)
        counts[f"exit {ended.code}"] += 1
        counts["slowest"] = max(counts["slowest"], ended.late)
        again = left_alone(*work.go_on(out, alone))
        if again.code or (names := different(work, alone, out)):
            counts["different"] += 1
            said = again.err[-300:] if again.code else names
            print(f"{index}: gone on with: exit {again.code}, {said}", file=sys.stderr, flush=True)

    with concurrent.futures.ThreadPoolExecutor(options.at_once) as pool:
        futures = [pool.submit(one, index) for index in range(options.signals)]
        for done, future in enumerate(concurrent.futures.as_completed(futures), 1):
            future.result()
            counts["commands"] = done
            if done % 25 == 0:
                print(json.dumps(counts), file=sys.stderr, flush=True)
    return counts


def kills(options: argparse.Namespace, place: Path) -> collections.Counter:
    """Sweeps that are killed up to four times each."""
    end = time.monotonic() + 60 * (0.5 if options.quick else options.minutes)
    rng = random.Random(options.seed)
    counts = collections.Counter(sweeps=0, kills=0, different=0, faults=0)
    while time.monotonic() < end:
        work = Sweep("--trials", "96", "--epochs", "60", "--seed", str(counts["sweeps"]), "--quiet")
        alone, killed = place / f"alone-{counts['sweeps']}", place / f"killed-{counts['sweeps']}"
        begun = left_alone(*work.begin(alone))
        for _ in range(rng.randrange(1, 5)):
            ended = interrupted(*work.begin(killed), signal.SIGKILL, rng.uniform(0.3, 1.0) * begun.seconds)
            counts["kills"] += ended.code == -signal.SIGKILL
        again = left_alone(*work.go_on(killed, alone))
        counts["faults"] += (begun.code != 0) + (again.code != 0)
        counts["different"] += bool(different(work, alone, killed))
        counts["sweeps"] += 1
        print(json.dumps(counts), file=sys.stderr, flush=True)
    return counts


def main() -> int:
    """Print the counts; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=20, help="how long sweeps are killed")
    parser.add_argument("--signals", type=int, default=0, help="how many commands get a signal, in the place of kills")
    parser.add_argument("--at-once", type=int, default=6, help="commands at work: the load")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="half a minute")
    options = parser.parse_args()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # also where a shell's background job ignores it
    with tempfile.TemporaryDirectory() as place:
        counts = (signals if options.signals else kills)(options, Path(place))
    print(json.dumps(counts))
    return int(any(counts[name] for name in ("failed alone", "faults", "different")))


if __name__ == "__main__":
    sys.exit(main())
