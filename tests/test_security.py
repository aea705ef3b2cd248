"""A directory from a stranger runs nothing and leads nowhere; the cache of programs is the user's own."""

import hashlib
import json
import os
import random
import stat
import struct

import pytest
from conftest import refused
from stopping import edit

import popjax as pj


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
    digest = hashlib.sha256(ATTACKS[attack]).hexdigest()
    edit(run / "best" / "best.json", lambda known: known.update(sha256=digest))
    with refused("arrays.safetensors"):
        pj.load_best(run)


def loaded(directory):
    """All that a run's files say."""
    results, winner = pj.Results.load(directory), pj.load_best(directory)
    columns = [*results.points.values(), *results.members.values(), *winner.arrays.values()]
    return repr((results.run, results.summary, winner.hparams)), [column.tobytes() for column in columns]


@pytest.mark.parametrize(
    "name",
    ["run.json", "summary.json", "best/best.json", "best/arrays.safetensors", "trials.parquet", "curves.parquet"],
)
def test_a_flipped_byte_changes_nothing_unseen(run, name):
    """It is found, in one line, or nothing is said where it lies: also a digit that leaves valid JSON."""
    path, rng = run / name, random.Random(2)
    whole, told = path.read_bytes(), loaded(run)
    digits = [at for at, byte in enumerate(whole) if chr(byte).isdigit()]
    found = 0
    places = [*range(20), *rng.sample(digits, min(len(digits), 30)), *rng.sample(range(len(whole)), 50)]
    for at in places:
        flipped = bytearray(whole)
        flipped[at] ^= 1 << (rng.randrange(3) if at in digits else rng.randrange(8))
        path.write_bytes(flipped)
        try:
            now = loaded(run)
        except Exception as error:
            assert isinstance(error, ValueError | OSError), error
            assert "\n" not in str(error)
            found += 1
            continue
        assert now == told, at
    assert found > 0.6 * len(places)
    assert found == len(places) or path.suffix == ".json", "no layout of arrays and tables says nothing"


NO_FILES = (b"", b"\0" * 64, b"[" * 100_000, b"{", b"PAR1" + b"\xff" * 64 + b"PAR1")


@pytest.mark.parametrize("name", ["run.json", "summary.json", "trials.parquet", "curves.parquet"])
def test_files_that_are_no_files_are_refused_in_one_line(run, name):
    for content in NO_FILES:
        (run / name).write_bytes(content)
        with refused(name):
            pj.Results.load(run)


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


def test_a_page_from_a_stranger_shows_names_and_runs_none(run, tmp_path):
    columns = {"columns": ["</script><script>alert(1)</script>"], "classes": None, "inputs": [1]}
    strange = {"data": columns, "arguments": {"dataset": "<img src=x onerror=alert(1)>"}}
    edit(run / "run.json", lambda known: known.update(strange))
    page = pj.Results.load(run).report(tmp_path / "report.html").read_text()
    assert "<img src=x" not in page
    assert "<script>alert(1)" not in page
