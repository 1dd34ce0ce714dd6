"""A journal keeps whole lines, drops torn ones, and refuses what is not its own."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dptkit.errors import DataError, OutputWriteError
from dptkit.evaluation.journal import Entry, open_journal
from dptkit.evaluation.result import ImageResult

HEADER = {"protocol": {"name": "nyu-eigen", "range": (0.001, 10.0)}, "subject": {"name": "dpt-lite"}}


def entry(index: int, value: float | None = 0.1, state: str = "scored") -> Entry:
    image = ImageResult(f"a/{index}", "s", "g", state, {"abs_rel": value}, 9, {"abs_rel": [9.0, 0.9]})  # type: ignore[arg-type]
    return Entry(index, image, {"reading": 0.25})


def write(path: Path, *entries: Entry) -> None:
    with open_journal(path, HEADER) as journal:
        for one in entries:
            journal.add(one)


def read(path: Path) -> dict[int, Entry]:
    with open_journal(path, HEADER) as journal:
        return journal.entries


def test_what_was_added_comes_back_exactly(tmp_path: Path) -> None:
    path = tmp_path / "new" / "out.json.partial"
    added = [entry(3, 0.1 + 0.2), entry(0, None), entry(7, 5e-324), entry(8, math.pi * 1e300)]
    write(path, *added)
    assert read(path) == {one.index: one for one in added}
    assert sorted(path.parent.iterdir()) == [path]  # no lock is left behind


def test_names_that_no_encoding_takes(tmp_path: Path) -> None:
    odd = Entry(0, ImageResult("caf\udce9\n日本語", "s", "", "scored", {}), {})
    write(tmp_path / "j", odd)
    assert read(tmp_path / "j") == {0: odd}


@settings(max_examples=60, deadline=None)
@given(cut=st.integers(0, 10_000))
def test_a_journal_cut_off_anywhere_goes_on_with_its_whole_lines(
    tmp_path_factory: pytest.TempPathFactory, cut: int
) -> None:
    path = tmp_path_factory.mktemp("cut") / "j"
    write(path, *(entry(k) for k in range(4)))
    content = path.read_bytes()
    path.write_bytes(content[: cut % (len(content) + 1)])
    whole = max(0, path.read_bytes().count(b"\n") - 1)
    with open_journal(path, HEADER) as journal:
        assert sorted(journal.entries) == list(range(whole))
        for k in range(whole, 4):
            journal.add(entry(k))
    assert path.read_bytes() == content  # nothing of the torn line is left


def test_skipped_pictures_are_tried_again(tmp_path: Path) -> None:
    write(tmp_path / "j", entry(0), entry(1, None, "skipped"))
    assert sorted(read(tmp_path / "j")) == [0]
    write(tmp_path / "j", entry(1))
    assert sorted(read(tmp_path / "j")) == [0, 1]


def test_another_header_is_refused_and_says_what_differs(tmp_path: Path) -> None:
    path = tmp_path / "j"
    write(path, entry(0))
    before = path.read_bytes()
    other = {"protocol": {"name": "nyu-eigen", "range": [0.001, 80.0]}, "subject": {"name": "dpt-lite"}}
    with pytest.raises(DataError) as caught, open_journal(path, other):
        pass
    message = str(caught.value)
    assert "protocol.range was [0.001, 10.0], now [0.001, 80.0]" in message
    assert "remove the file" in message
    assert "subject" not in message
    assert path.read_bytes() == before


def test_a_damaged_line_in_the_middle_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "j"
    write(path, *(entry(k) for k in range(3)))
    lines = path.read_text().splitlines(keepends=True)
    for damaged in ('{"index":1\n', "\n", json.dumps({"index": 1, "image": {}, "seconds": {}}) + "\n", "[]\n"):
        path.write_text("".join([*lines[:2], damaged, *lines[3:]]))
        with pytest.raises(DataError, match="line 3 is damaged"), open_journal(path, HEADER):
            pass
    path.write_bytes(b"\xff\xfe\x00\n")
    with pytest.raises(DataError, match="line 1 is damaged"), open_journal(path, HEADER):
        pass


def test_two_runs_cannot_write_one_journal(tmp_path: Path) -> None:
    path = tmp_path / "j"
    with open_journal(path, HEADER), pytest.raises(OutputWriteError, match="another run"), open_journal(path, HEADER):
        pass
    assert read(path) == {}


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputWriteError, match="cannot write"), open_journal(tmp_path / "file" / "j", HEADER):
        pass


def test_errors_of_the_block_pass_unchanged(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), open_journal(tmp_path / "j", HEADER):
        (tmp_path / "not there").read_bytes()
    assert (tmp_path / "j").exists()
