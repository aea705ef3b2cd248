"""A directory from a stranger runs nothing and leads nowhere; the cache of programs is the user's own."""

import ast
import hashlib
import json
import os
import random
import stat
import struct
from pathlib import Path

import pytest

import popjax as pj
from popjax.core.storage import Corrupt
from popjax.store.files import read_json, write_json

PACKAGE = Path(pj.__file__).parent
SOURCES = sorted(PACKAGE.rglob("*.py"))
BANNED_CALLS = {"eval", "exec", "compile", "__import__", "system", "popen"}
BANNED_MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "yaml", "marshal", "shelve", "subprocess"}
ALLOWED = {
    "engine/backends/work.py": {"cloudpickle"},  # units, to workers and from them: never on a disk
}
# --task, which the user types; the public names; the commands, of which there is a list; what is imported ahead
IMPORTS_BY_NAME = {
    "commands/experiment.py": 1,
    "commands/completion.py": 1,
    "__init__.py": 1,
    "commands/entry.py": 1,
    "commands/named_commands.py": 1,
    "core/imports.py": 1,
}


def calls(tree):
    """The names of what is called: of a function, or of the last attribute."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            function = node.func
            if isinstance(function, ast.Name):
                yield function.id, node
            elif isinstance(function, ast.Attribute):
                yield function.attr, node


def imported(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.partition(".")[0]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_nothing_in_the_library_runs_what_a_file_says(path):
    tree = ast.parse(path.read_text())
    assert BANNED_MODULES & set(imported(tree)) == ALLOWED.get(path.relative_to(PACKAGE).as_posix(), set())
    by_name = 0
    for name, node in calls(tree):
        builtin = isinstance(node.func, ast.Name)
        assert not (builtin and name in BANNED_CALLS), f"{path.name}:{node.lineno} calls {name}"
        by_name += name == "import_module"
        for keyword in node.keywords:
            pickles = keyword.arg == "allow_pickle" and getattr(keyword.value, "value", None) is not False
            assert not pickles, f"{path.name}:{node.lineno} allows pickles"
    assert by_name == IMPORTS_BY_NAME.get(path.relative_to(PACKAGE).as_posix(), 0)


def test_the_ban_bans():
    tree = ast.parse("import pickle.x\nfrom yaml import load\neval('1')\nimport importlib\nimportlib.import_module(n)")
    assert BANNED_MODULES & set(imported(tree)) == {"pickle", "yaml"}
    assert [name for name, _ in calls(tree)] == ["eval", "import_module"]


@pytest.fixture
def run(rows, tmp_path):
    pj.search(
        pj.supervised(rows), {"learning_rate": pj.log_uniform(1e-3, 1e-1)}, trials=3, epochs=1, out=tmp_path / "run"
    )
    return tmp_path / "run"


def safetensors(header, body=b""):
    """A file with any header at all."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


ATTACKS = {
    "a header of 2**62 bytes": struct.pack("<Q", 2**62) + b"{}",
    "no header": b"",
    "a shape of 2**60": safetensors({"a": {"dtype": "F32", "shape": [2**60], "data_offsets": [0, 8]}}, bytes(8)),
    "overlapping arrays": safetensors(
        {name: {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]} for name in ("a", "b")}, bytes(8)
    ),
    "a hole": safetensors({"a": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}}, bytes(8)),
    "more than there is": safetensors({"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}, bytes(8)),
    "an object": safetensors({"a": {"dtype": "O", "shape": [1], "data_offsets": [0, 8]}}, bytes(8)),
    "no JSON": safetensors(b"{" * 100),
    "negative": safetensors({"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 8]}}, bytes(8)),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_arrays_that_lie_are_refused_in_one_line(run, attack):
    """The ideas of what was found in safetensors' audit: sizes are checked before anything is allocated."""
    (run / "best" / "arrays.safetensors").write_bytes(ATTACKS[attack])
    description = read_json(run / "best" / "best.json")
    description["sha256"] = hashlib.sha256(ATTACKS[attack]).hexdigest()
    write_json(run / "best" / "best.json", description)
    with pytest.raises(ValueError, match=r"arrays\.safetensors") as refused:
        pj.load_best(run)
    assert "\n" not in str(refused.value)


@pytest.mark.soak
def test_a_flipped_weight_is_found(run):
    path = run / "best" / "arrays.safetensors"
    whole = path.read_bytes()
    rng = random.Random(0)
    for at in [*range(40), *(rng.randrange(len(whole)) for _ in range(60))]:
        flipped = bytearray(whole)
        flipped[at] ^= 1 << rng.randrange(8)
        path.write_bytes(flipped)
        with pytest.raises(Corrupt, match=r"not those that were written"):
            pj.load_best(run)


@pytest.mark.parametrize("name", ["run.json", "summary.json", "best/best.json"])
def test_a_flipped_byte_of_a_json_file_changes_nothing_unseen(run, name):
    """It is found, or it lies in the layout, where nothing is said: also a digit that leaves valid JSON."""
    path, rng = run / name, random.Random(2)
    whole, told = path.read_bytes(), read_json(path)
    digits = [at for at, byte in enumerate(whole) if chr(byte).isdigit()]
    found = 0
    for at in [*rng.sample(digits, 60), *rng.sample(range(len(whole)), 140)]:
        flipped = bytearray(whole)
        flipped[at] ^= 1 << (rng.randrange(3) if at in digits else rng.randrange(8))
        path.write_bytes(flipped)
        try:
            now = read_json(path)
        except Corrupt as error:
            assert "\n" not in str(error)
            found += 1
            continue
        assert {key: now[key] for key in told} == told
    path.write_bytes(whole)
    assert found > 120


@pytest.mark.soak
@pytest.mark.parametrize("name", ["trials.parquet", "curves.parquet"])
def test_a_flipped_byte_of_a_table_is_found(run, name):
    """Also in Parquet's footer, which no page checksum covers."""
    path = run / name
    whole = path.read_bytes()
    rng = random.Random(0)
    for at in [*range(40), *(rng.randrange(len(whole)) for _ in range(100))]:
        flipped = bytearray(whole)
        flipped[at] ^= 1 << rng.randrange(8)
        path.write_bytes(flipped)
        with pytest.raises(Corrupt, match=name):
            pj.Results.load(run)


@pytest.mark.soak
@pytest.mark.parametrize("name", ["run.json", "summary.json", "trials.parquet", "curves.parquet"])
@pytest.mark.parametrize(
    "content", [b"", b"\0" * 64, b"[" * 100_000, b'{"format": 1e999999}', b"PAR1" + b"\xff" * 64 + b"PAR1"]
)
def test_files_that_are_no_files_are_refused_in_one_line(run, name, content):
    if (name, content[:1]) == ("summary.json", b"{"):
        content = b"{"  # any object is a summary
    (run / name).write_bytes(content)
    with pytest.raises(ValueError) as refused:
        pj.Results.load(run)
    assert "\n" not in str(refused.value)


@pytest.mark.soak
def test_the_cache_is_the_users_own_and_a_torn_entry_only_recompiles(command, environment, tmp_path):
    environment["JAX_COMPILATION_CACHE_DIR"] = str(tmp_path / "cache" / "programs")
    arguments = ["sweep", "--dataset", "wine", "--trials", "2", "--epochs", "1", "--json"]
    first = command(*arguments, "--out", "first")
    assert first.returncode == 0, first.stderr
    cache = tmp_path / "cache" / "programs"
    assert stat.S_IMODE(os.stat(cache).st_mode) == 0o700
    entries = [path for path in cache.iterdir() if path.name.endswith("-cache")]
    assert entries
    for path in entries:
        path.write_bytes(path.read_bytes()[:100])
    second = command(*arguments, "--out", "second")
    assert second.returncode == 0, second.stderr
    assert json.loads(second.stdout)["best"] == json.loads(first.stdout)["best"]


def test_a_page_from_a_stranger_shows_names_and_runs_none(run):
    path = run / "run.json"
    record = read_json(path)
    record["data"] = {"columns": ["</script><script>alert(1)</script>"], "classes": None, "inputs": [1]}
    record["arguments"] = {"dataset": "<img src=x onerror=alert(1)>"}
    write_json(path, record)
    from popjax.pages.page import write_report

    write_report(pj.Results.load(run), run)
    page = (run / "report.html").read_text()
    assert "<img src=x" not in page
    assert "<script>alert(1)" not in page
