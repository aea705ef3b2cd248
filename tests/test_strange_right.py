"""Right extensions of strangers are not refused: killed and resumed, and read in another process."""

import signal

import pytest

# in other processes: right_strangers writes into the registries
TRAIN = "import sys, right_strangers; right_strangers.train(sys.argv[1], sys.argv[2], int(sys.argv[3]))"
CHECK = "import sys, right_strangers; right_strangers.check(sys.argv[1], sys.argv[2])"
FILES = ("trials.parquet", "curves.parquet", "decisions.jsonl")


@pytest.mark.kill
@pytest.mark.parametrize("name", ["regression", "counts", "classes"])
def test_right_extensions_train_go_on_after_a_kill_and_predict_as_scored(name, python, tmp_path):
    """Killed in the middle and resumed, the files are the bytes of a run left alone; another process predicts alike."""
    died = python(TRAIN, name, "run", 5)
    assert died.returncode == -signal.SIGKILL, died.stderr
    for code, out in ((TRAIN, "run"), (CHECK, "run"), (TRAIN, "whole")):
        ended = python(code, name, out, 0)
        assert ended.returncode == 0, ended.stderr
        assert not ended.stderr, ended.stderr
    for file in FILES:
        assert (tmp_path / "run" / file).read_bytes() == (tmp_path / "whole" / file).read_bytes()
