"""Where the time of the default command goes, stage by stage, in one fresh process.

`--cold` compiles without the cache of earlier runs.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def stage(name: str, seconds: dict[str, float]) -> Iterator[None]:
    """Add the time spent inside to a stage."""
    begin = time.perf_counter()
    yield
    seconds[name] = round(time.perf_counter() - begin, 3)


def stages(trials: int, epochs: int, cold: bool) -> dict[str, float]:
    """Seconds of every stage."""
    seconds: dict[str, float] = {}
    with stage("import jax and popjax", seconds):
        import jax

        import popjax as pj
        from popjax.core.clock import Clock
        from popjax.data.dataset import load
        from popjax.engine.roster import Roster
        from popjax.engine.traced_task import Config, TracedTask
        from popjax.pages.page import write_report
        from popjax.supervision.spaces import default_space
    if cold:
        jax.config.update("jax_enable_compilation_cache", False)
    with stage("load the data", seconds):
        dataset = load("digits")
    with stage("split and standardize", seconds):
        task = pj.supervised(dataset)
    with stage("sample", seconds):
        points = default_space().sample(trials)
    with stage("trace and plan", seconds):
        config = Config(epochs, 0, pj.Rule(task.metric, task.mode))
        roster = Roster(TracedTask(task, default_space(), config), points)
    with stage("lower", seconds):
        programs = roster.programs(0, roster.lanes(0), Clock())
    with stage("compile (what training waits for)", seconds):
        programs.init.result(), programs.epoch.result()
    with stage("train, validate, score the winner (traced and planned again)", seconds):
        results = pj.search(task, default_space(), trials=trials, epochs=epochs)
    with tempfile.TemporaryDirectory() as out:
        with stage("write the tables", seconds):
            results.save(out)
        with stage("write the report", seconds):
            write_report(results, out)
    return seconds


def main() -> None:
    """Print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="16 trials, 2 epochs")
    parser.add_argument("--cold", action="store_true", help="compile everything")
    options = parser.parse_args()
    trials, epochs = (16, 2) if options.quick else (512, 20)
    seconds = stages(trials, epochs, options.cold)
    print(json.dumps({"seconds": seconds, "total": round(sum(seconds.values()), 2)}))


if __name__ == "__main__":
    main()
