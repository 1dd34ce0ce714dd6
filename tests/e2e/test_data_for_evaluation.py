"""`dpt data check` and `dpt data shard` as processes, on data sets of pairs of points."""

from __future__ import annotations

from pathlib import Path

from dpt_process import dpt

from data_trees import text
from data_trees_zero_shot import diw


def test_check_of_a_broken_list_is_one_line(tmp_path: Path) -> None:
    diw(tmp_path)
    done = dpt("data", "check", tmp_path, "--split", "test")
    assert (done.returncode, done.stderr) == (1, "")  # for it has not the 74,441 pictures of DIW
    assert "pairs    2: A is nearer in 1, B is nearer in 1" in done.stdout
    text(tmp_path / "DIW_test.csv", "./DIW_test/00a1.thumb\n1,2,4,60,<,6,4\n")
    done = dpt("data", "check", tmp_path, "--split", "test")
    assert done.returncode == 1
    assert "00a1.thumb: DIW_test/00a1: a point lies outside the picture" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    text(tmp_path / "DIW_test.csv", "nothing\n")
    done = dpt("data", "check", tmp_path, "--split", "test")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"dpt: {tmp_path}/DIW_test.csv: cut short: 1 lines, but a picture has two\n"


def test_sharding_pairs_of_points_is_refused_in_one_line(tmp_path: Path) -> None:
    diw(tmp_path / "data")
    done = dpt("data", "shard", tmp_path / "data", tmp_path / "out", "--split", "test")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == ("dpt: diw says only which of two points is nearer: it is for evaluation, not for training\n")
    assert not (tmp_path / "out").exists()
