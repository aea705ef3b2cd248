"""`pj.search` that a flag may stop, as it stops that of a command."""

import signal

import popjax as pj
from popjax.engine.trainer import Timer
from popjax.executors.backend import backend_of
from popjax.scheduler import NONE
from popjax.study.request import SearchRequest
from popjax.study.run import Search
from popjax.tuning.search_options import SearchOptions


def search(task, space=None, *, stop=None, **given):
    """Once `stop` is set, it ends with the results so far."""
    return pj.search(task, space, **given) if stop is None else stopped(task, space, stop, **given)


def stopped(task, space, stop, out=None, resume=False, backend=None, callbacks=(), live=None, **options):
    backend = backend_of(backend)
    request = SearchRequest.of(task, space, SearchOptions(**options), backend)
    return Search(request, backend.made, Timer(stop), callbacks, live).run(out, NONE, resume)


DIES = """
import os, signal, sys
import popjax.engine.checkpoint
popjax.engine.checkpoint.EVERY, popjax.engine.checkpoint.SHARE = 0.0, float("inf")
left, replace = int(sys.argv.pop()), os.replace
def counting(source, target):
    global left
    left -= os.path.abspath(target).startswith(os.getcwd())  # not the programs, which are kept beside all runs
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    replace(source, target)
os.replace = counting
"""
"""The beginning of a program that is killed before its n-th rename in its directory; n, its last argument; 0: never."""

SWEEP = (
    DIES
    + """
from popjax.commands.sweep import main
sys.exit(main(sys.argv[1:]))
"""
)


def killed(python, command, asked, kills):
    """`popjax sweep` in the directory "run", killed so often, each time before so many renames, and then resumed."""
    for number, kill_at in enumerate(kills):
        died = python(SWEEP, *asked, "--out", "run", *(["--resume"] if number else []), kill_at)
        assert died.returncode == -signal.SIGKILL, died.stderr
    resumed = command("resume", "run")
    assert resumed.returncode == 0, resumed.stderr
