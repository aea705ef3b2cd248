"""What all tests share: rank promotion raises, warnings are errors (pyproject), float64 on request.

`pytest` leaves out the slow proofs, whose marks are below; `pytest --all` runs them too, and so does a test's own name.
`pytest --part 7` runs a part of them, another one with each number: all of them take more time than `.ci/run` has.
"""

import contextlib
import functools
import gc
import pkgutil
import re
import shutil
import signal
import warnings
import zlib
from collections import OrderedDict

import hypothesis
import jax
import numpy as np
import pytest
import warm

from popjax.core.doubt import DataWarning
from popjax.engine.compiler import COMPILER
from popjax.engine.cost import Machine

collect_ignore = ["right_strangers.py"]  # importing it writes into the registries
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
QUIET = ("--no-sandbox", "--disable-background-networking", "--disable-component-update", "--disable-sync")

PROOFS = {
    "kill": "processes are killed or interrupted, and go on",
    "browser": "a page is opened in Chromium",
    "notebook": "cells run in a kernel",
    "engine": "workers of another process or of a cluster train",
    "soak": "many searches, plans or files, or one long search",
}
REGISTRIES = {  # where the author of an extension adds its line
    "executor": "popjax.executors.named_executors:EXECUTORS",
    "figure": "popjax.pages.figures.named_figures:FIGURES",
    "kind": "popjax.supervision.kinds.named_kinds:KINDS",
    "learning sampler": "popjax.tuning.proposals:LEARNING",
    "model": "popjax.models.built_in:MODELS",
    "optimizer": "popjax.supervision.optimizers:OPTIMIZERS",
    "rule": "popjax.rules.named_rules:RULES",
    "sampler": "popjax.space.samplers:SAMPLERS",
    "scheduler": "popjax.tuning.schedulers.named_schedulers:SCHEDULERS",
    "tracker": "popjax.tracking.named_trackers:TRACKERS",
    "transform": "popjax.data.transforms.named_transforms:TRANSFORMS",
}
PARTS = {"soak": 16, "notebook": 1}  # of how many parts `--part` runs one; of 5 where none is named

signal.signal(signal.SIGINT, signal.default_int_handler)  # which a background job of a shell ignores
hypothesis.settings.register_profile("any machine", deadline=None)  # an example may wait for the others' programs
hypothesis.settings.load_profile("any machine")
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_compilation_cache_dir", warm.CACHE["JAX_COMPILATION_CACHE_DIR"])  # shared by all processes
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


@contextlib.contextmanager
def refused(*names, error=ValueError):
    """The block raises such an error, whose one line names each of these: the value, and the remedy's word."""
    with pytest.raises(error) as caught:
        yield caught
    line = str(caught.value)
    assert "\n" not in line
    assert [name for name in map(str, names) if name not in line] == [], line


@contextlib.contextmanager
def compilations():
    """The names of the programs that XLA compiles meanwhile."""
    names = []

    def listen(event, duration, **details):
        if event == "/jax/core/compile/backend_compile_duration":
            names.append(details.get("fun_name", "?"))

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        yield names
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)


def soaked(values, quick=1):
    """The parameters of a test, of which all but the first `quick` are slow proofs."""
    values = [value if isinstance(value, tuple) else (value,) for value in values]
    slow = [pytest.param(*value, marks=pytest.mark.soak) for value in values[quick:]]
    return [*(pytest.param(*value) for value in values[:quick]), *slow]


def in_part(item, number):
    """Whether a slow proof runs in this part: the same in every process, and about as many in each."""
    parts = max(PARTS.get(name, 5) for name in PROOFS if item.get_closest_marker(name))
    return zlib.crc32(item.nodeid.encode()) % parts == number % parts


def pytest_addoption(parser):
    parser.addoption("--all", action="store_true", help=f"also run the slow proofs: {', '.join(PROOFS)}")
    parser.addoption("--part", type=int, help="also run a part of the slow proofs: any whole number")


def pytest_make_parametrize_id(config, val, argname):
    """Objects by their text without its address; sets, whose order differs in each worker, by their argument's name."""
    if isinstance(val, str | int | float | set | frozenset) or hasattr(val, "__name__"):
        return None
    return re.sub(r" at 0x[0-9a-f]+", "", str(val))[:80]


def pytest_configure(config):
    for name, what in PROOFS.items():
        config.addinivalue_line("markers", f"{name}: {what} (with --all)")


def pytest_collection_modifyitems(config, items):
    for item in items:
        if "browser" in getattr(item, "fixturenames", ()):
            item.add_marker("browser")
    slow = {item for item in items if any(item.get_closest_marker(name) for name in PROOFS)}
    number = config.getoption("--part")
    left_out = slow if number is None else {item for item in slow if not in_part(item, number)}
    if config.getoption("--all") or config.option.markexpr:
        left_out = set()
    if not any("::" in argument for argument in config.invocation_params.args):
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


@pytest.fixture(scope="module")
def browser():
    """One browser for all pages."""
    if CHROMIUM is None:
        pytest.skip("no chromium: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(QUIET))
        yield browser
        browser.close()


@pytest.fixture
def accessible():
    """Fail for anything on a page that axe finds serious or critical."""
    from axe_playwright_python.sync_playwright import Axe

    def check(page):
        found = Axe().run(page).response["violations"]
        grave = [rule for rule in found if rule["impact"] in ("serious", "critical")]
        assert not grave, [(rule["id"], [node["html"][:120] for node in rule["nodes"][:3]]) for rule in grave]

    return check


@pytest.fixture
def opened(browser, tmp_path):
    """Open the page of results; at the end nothing was asked of the network, and nothing was complained of."""
    from popjax.pages.page import write_report

    troubles, pages = [], []

    def open_page(results, width=1280, errors=False, scheme="light"):
        path = write_report(results, tmp_path)
        page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        pages.append(page)
        page.on("console", lambda message: troubles.append(message.text))
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on("dialog", lambda dialog: (troubles.append(dialog.message), dialog.dismiss()))
        asked = lambda request: request.url.startswith("data:") or request.url == path.as_uri()
        page.on("request", lambda request: None if asked(request) else troubles.append(request.url))
        page.goto(path.as_uri())
        page.wait_for_selector("body[data-drawn]", state="attached")
        if not errors and page.locator("#errors:checked").count():
            page.uncheck("#errors")
            page.wait_for_selector("body[data-drawn]", state="attached")
        return page

    yield open_page
    for page in pages:
        page.close()
    assert troubles == []


@pytest.fixture
def x64():
    """Everything in float64, where equality of two ways to compute is meant to 1e-9.

    LLVM optimizes less then, which compiles in half the time; XLA's own passes are the user's.
    """
    jax.config.update("jax_disable_most_optimizations", True)
    with jax.enable_x64(True):
        yield
    jax.config.update("jax_disable_most_optimizations", False)


@pytest.fixture
def cheaply_compiled():
    """LLVM optimizes less, which compiles in half the time, where only what is computed matters."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


@pytest.fixture
def register(monkeypatch):
    """Name an extension for one test: register("rule", "mine", Mine)."""
    return lambda what, name, given: monkeypatch.setitem(pkgutil.resolve_name(REGISTRIES[what]), name, given)


class Doubted:
    """The warnings about data that a test made so far."""

    def __init__(self, caught):
        self.caught = caught

    @property
    def lines(self):
        return [str(each.message) for each in self.caught if isinstance(each.message, DataWarning)]

    @property
    def text(self):
        return "\n".join(self.lines)


@pytest.fixture
def doubted():
    """The warnings about data, which are not shown."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", DataWarning)
        yield Doubted(caught)


@pytest.fixture(scope="session")
def rows():
    """A small classification: (x, y), 170 rows, 5 features, 3 classes."""
    rng = np.random.default_rng(7)
    x = rng.normal(size=(170, 5)) * [1, 2, 0.5, 3, 1] + [0, 1, -1, 5, 0]
    y = (x[:, 0] + 0.5 * x[:, 1] > 0).astype(int) + (x[:, 3] > 6)
    return x, y


@pytest.fixture
def nothing_compiled(monkeypatch):
    """No program is there yet: else equal tasks of other tests share theirs."""
    monkeypatch.setattr(COMPILER, "_programs", OrderedDict())


@pytest.fixture
def cheap_programs(monkeypatch):
    """Arithmetic is slow and compiling fast, so width caps pay for small models too."""
    monkeypatch.setattr("popjax.engine.plan.CPU", Machine(flops=2e9, launch=5e-7, program=0.2, branch=0.0))


@pytest.fixture
def environment(tmp_path):
    """The environment of a command: an empty HOME, and the programs that other tests have compiled."""
    (tmp_path / "home").mkdir()
    return {"HOME": str(tmp_path / "home"), "UV": "", **warm.CACHE}


@pytest.fixture(scope="module", autouse=True)
def let_go():
    """Programs and results of a file are not kept for the next one."""
    yield
    COMPILER._programs.clear()
    jax.clear_caches()
    gc.collect()


@pytest.fixture(scope="session", autouse=True)
def one_epoch_a_call():
    """A run that a test stops on its way is stopped between two epochs, however fast the machine."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("popjax.engine.backends.local.SPAN", 0.0)
        yield


@pytest.fixture
def python(tmp_path, environment):
    """Run code in an empty directory with an empty HOME; gives the finished process."""
    return functools.partial(warm.python, cwd=tmp_path, environment=environment)


@pytest.fixture
def command(tmp_path, environment):
    """Run a popjax command in an empty directory with an empty HOME; gives the finished process."""
    return functools.partial(warm.command, cwd=tmp_path, environment=environment)


@pytest.fixture
def refused_in_one_line(command):
    """Run a command on bad input: exit code 2, if no other is named, and one line that holds all of these texts."""

    def check(name, *arguments, says, code=2, **where):
        process = command(name, *arguments, timeout=60, **where)
        assert process.returncode == code, process.stdout + process.stderr
        (line,) = process.stderr.splitlines()
        for text in says:
            assert text in line
        assert "Traceback" not in line

    return check
