"""What command line arguments mean: which pictures, in which order, and where each one's results go."""

from __future__ import annotations

import os
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dptkit.cli import inputs
from dptkit.cli.inputs import BadInput, Input, find_inputs
from dptkit.image_io import (
    DEPTH_SUFFIXES,
    SEGMENT_SUFFIXES,
    write_depth,
    write_labels,
    write_overlay,
    write_scores,
    write_segments_json,
)
from dptkit.outputs import DepthMap, Provenance, SegmentationMap

Make = Callable[..., None]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Make empty files, in a folder of the test's own that is the working directory."""
    monkeypatch.chdir(tmp_path)

    def touch(*names: str) -> None:
        for name in names:
            Path(name).parent.mkdir(parents=True, exist_ok=True)
            Path(name).touch()

    return touch


def write_results(stem: str) -> None:
    """Every file that the verbs write for one picture."""
    origin = Provenance("tiny", "0")
    depth = DepthMap(np.eye(4, dtype=np.float32), "inverse_depth", np.ones((4, 4), bool), origin)
    classes = SegmentationMap(
        np.zeros((4, 4), np.uint8), ("sky",), ((1, 2, 3),), origin, scores=np.ones((4, 4), np.float32)
    )
    for format, ending in DEPTH_SUFFIXES.items():
        write_depth(stem + ending, depth, format)
    write_labels(stem + SEGMENT_SUFFIXES["labels"], classes)
    write_overlay(stem + SEGMENT_SUFFIXES["overlay"], np.zeros((4, 4, 3), np.uint8), classes)
    write_segments_json(stem + SEGMENT_SUFFIXES["json"], classes)
    write_scores(stem + SEGMENT_SUFFIXES["scores"], classes)


def targets(*arguments: str, recursive: bool = False) -> dict[str, str]:
    """Name of each picture as found -> where its results go."""
    found = list(find_inputs(arguments, recursive))
    assert all(isinstance(entry, Input) for entry in found), found
    return {entry.name: entry.target.as_posix() for entry in found if isinstance(entry, Input)}


def assert_no_shared_result(*arguments: str, recursive: bool = False) -> None:
    """Two files never share a result. (One file that is meant twice may write its result twice.)"""
    owner: dict[str, str] = {}
    for entry in find_inputs(arguments, recursive):
        assert isinstance(entry, Input)
        file = "standard input" if entry.path is None else os.path.realpath(entry.path)
        assert owner.setdefault(entry.target.as_posix(), file) == file, f"{entry.target} is of two pictures"


def test_a_file_a_folder_a_pattern_and_standard_input(make: Make) -> None:
    make("one.jpg", "folder/two.png", "folder/notes.txt", "others/three.webp", "others/four.avif")
    assert targets("one.jpg", "folder", "others/t*", "-") == {
        "one.jpg": "one",
        "folder/two.png": "folder/two",
        "others/three.webp": "others/three",
        "standard input": "stdin",
    }


def test_results_mirror_the_folders_below_what_the_inputs_share(make: Make) -> None:
    make("set/day/a.jpg", "set/night/a.jpg")
    assert targets("set/day/a.jpg") == {"set/day/a.jpg": "a"}
    assert set(targets("set", recursive=True).values()) == {"day/a", "night/a"}
    assert set(targets("set/day", "set/night").values()) == {"day/a", "night/a"}
    assert set(targets("set/*/a.jpg").values()) == {"day/a", "night/a"}
    assert set(targets("**/*.jpg").values()) == {"set/day/a", "set/night/a"}


@pytest.mark.parametrize(
    ("files", "arguments"),
    [
        (["a.jpg", "a.png"], ["."]),
        (["a.jpg", "a.png"], ["a.jpg", "a.png"]),
        (["a.jpg", "a.png"], ["*"]),
        (["a.jpg", "a.png"], ["a.jpg", "*.png"]),
        (["a.jpg", "a.JPG", "A.jpg"], ["."]),
        (["x/a.jpg", "y/a.jpg"], ["x", "y"]),
        (["x/a.jpg", "a.jpg"], ["x", "a.jpg"]),
        (["a", "a.jpg"], ["a", "a.jpg"]),
        (["a.b.jpg", "a.c.jpg", "a.jpg"], ["."]),
        (["a.tif", "a.tiff", "a.jp2"], ["."]),
        (["a.jpg", "a.jpg.png"], ["."]),
    ],
)
def test_no_two_pictures_share_a_result(make: Make, files: list[str], arguments: list[str]) -> None:
    make(*files)
    assert len(targets(*arguments)) == len(files)
    assert_no_shared_result(*arguments)


@pytest.mark.parametrize(
    ("files", "arguments"),
    [
        pytest.param(["a.jpg", "a.png"], ["a.jpg", "./a.png"], id="spelled differently"),
        pytest.param(["d/a.jpg", "d/a.png"], ["d/a.jpg", "d/../d/a.png"], id="a detour"),
        pytest.param(["a.Jpg", "a.Png"], ["."], id="mixed case endings"),
        pytest.param(["a.jpg", "a.png", "a.jpg.png"], ["."], id="a stem that looks like a kept ending"),
        pytest.param(["stdin.jpg"], ["-", "stdin.jpg"], id="a file called stdin"),
    ],
)
def test_no_two_pictures_share_a_result_by_trickery(make: Make, files: list[str], arguments: list[str]) -> None:
    make(*files)
    assert_no_shared_result(*arguments)


def test_a_later_call_does_not_replace_the_result_of_a_twin(make: Make) -> None:
    make("a.jpg", "a.png")
    assert targets("a.jpg")["a.jpg"] != targets("a.png")["a.png"]


def test_the_same_argument_twice_is_one_picture(make: Make) -> None:
    make("a.jpg")
    assert [entry.name for entry in find_inputs(["a.jpg", "a.jpg", "-", "-"], False)] == ["a.jpg", "standard input"]


@pytest.mark.parametrize(
    "name",
    [
        "日本語 ünïcode \N{GRINNING FACE}.png",
        "مرحبا.jpg",
        "[brackets] *star? {x}.png",
        "-dash.png",
        "new\nline.png",
        "latin\udce9.png",
        "very.many.dots.in.it.jpg",
        " space .png",
        "n" * 200 + ".jpg",
    ],
)
def test_names_in_any_script_are_literal(make: Make, name: str) -> None:
    try:
        make(name, "other.png")
    except OSError:
        pytest.skip("this file system does not take the name")
    stem = Path(name).stem
    assert targets(f"./{name}") == {f"./{name}": stem}
    assert targets(".")[f"./{name}"] == stem


def test_a_file_whose_name_is_a_pattern_comes_before_the_pattern(make: Make) -> None:
    make("[a].jpg", "a.jpg")
    assert targets("[a].jpg") == {"[a].jpg": "[a]"}


def test_folders_leave_out_what_is_hidden_and_what_is_no_picture(make: Make) -> None:
    make("f/a.jpg", "f/.hidden.jpg", "f/.a_depth.png.1-2.part", "f/notes.txt", "f/.git/b.jpg", "f/c.jpg/in.jpg")
    assert set(targets("f")) == {"f/a.jpg"}
    assert set(targets("f", recursive=True)) == {"f/a.jpg", "f/c.jpg/in.jpg"}


def test_endings_in_capitals_count(make: Make) -> None:
    make("f/A.JPG", "f/b.Jpeg", "f/c.HEIC")
    assert set(targets("f")) == {"f/A.JPG", "f/b.Jpeg", "f/c.HEIC"}


@pytest.mark.parametrize("argument", ["f", "f/*", "."])
def test_results_of_earlier_runs_are_no_inputs(make: Make, argument: str) -> None:
    make("f/a.jpg", "f/out/unrelated.txt")
    for stem in ("f/a", "f/out/a.jpg"):
        write_results(stem)
    assert len(targets(argument, recursive=True)) == 1


def test_results_that_appear_while_the_folder_is_read_are_no_inputs(make: Make) -> None:
    make(*(f"f/{number}.jpg" for number in range(60)))
    seen = []
    for entry in find_inputs(["f"], True):
        assert isinstance(entry, Input)
        seen.append(entry.name)
        write_results(f"f/{entry.target}")
    assert sorted(seen) == sorted(f"f/{number}.jpg" for number in range(60))


def test_a_picture_named_like_a_result_can_be_asked_for_by_name(make: Make) -> None:
    make("f/a_depth.png")
    assert targets("f/a_depth.png") == {"f/a_depth.png": "a_depth"}


def test_a_foreign_picture_named_like_a_result_is_not_left_out_silently(make: Make) -> None:
    make("f/a.jpg")
    Image.new("RGB", (4, 4)).save("f/ocean_depth.png")
    assert set(targets("f")) == {"f/a.jpg", "f/ocean_depth.png"}


def test_links_to_pictures_count_and_links_to_folders_do_not_make_circles(make: Make) -> None:
    make("f/a.jpg", "elsewhere/b.jpg")
    try:
        Path("f/link.jpg").symlink_to(Path("elsewhere/b.jpg").resolve())
        Path("f/circle").symlink_to(Path("f").resolve())
    except OSError:
        pytest.skip("no symbolic links here")
    assert set(targets("f", recursive=True)) == {"f/a.jpg", "f/link.jpg"}


def test_a_folder_or_pattern_without_pictures_is_said(make: Make) -> None:
    make("empty/notes.txt", "deep/er/a.jpg")
    found = list(find_inputs(["empty", "deep", "*.bmp"], False))
    assert all(isinstance(entry, BadInput) for entry in found)
    assert [entry.name for entry in found] == ["empty", "deep", "*.bmp"]
    assert "--recursive" in found[1].problem  # type: ignore[union-attr]
    assert len(targets("deep", recursive=True)) == 1


def test_one_bad_argument_does_not_stop_the_others(make: Make) -> None:
    make("empty/notes.txt", "a.jpg")
    assert [type(entry) for entry in find_inputs(["empty", "a.jpg"], False)] == [BadInput, Input]


@pytest.mark.parametrize("argument", ["nosuchfolder/", ""])
def test_a_missing_folder_with_a_slash_and_an_empty_argument(make: Make, argument: str) -> None:
    make("a.jpg")
    assert [entry.name for entry in find_inputs([argument], False)] == [argument]


def test_a_pattern_that_matches_folders_means_their_pictures(make: Make) -> None:
    make("day1/a.jpg", "day2/a.jpg")
    assert set(targets("day*").values()) == set(targets("day1", "day2").values())


def test_a_folder_that_may_not_be_read_is_one_bad_input(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    # By patching, since root may read everything.
    make("f/a.jpg", "f/locked/b.jpg", "f/open/c.jpg")
    scandir = os.scandir

    def refuse(folder: str) -> Iterator[os.DirEntry[str]]:
        if Path(folder).name == "locked":
            raise PermissionError(13, "Permission denied", folder)
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", refuse)
    found = list(find_inputs(["f"], True))
    assert {entry.name for entry in found if isinstance(entry, Input)} == {"f/a.jpg", "f/open/c.jpg"}
    assert [entry.name for entry in found if isinstance(entry, BadInput)] == ["f/locked"]


def peak_of(folder: Path, count: int) -> int:
    tracemalloc.start()
    try:
        assert sum(1 for _ in find_inputs([str(folder)], True)) == count
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_large_folder_needs_no_more_memory_than_a_small_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small, large = 400, 2_400
    monkeypatch.setattr(inputs, "NAMES_AT_ONCE", small)
    for folder, count in ((tmp_path / "small", small), (tmp_path / "large", large)):
        folder.mkdir()
        for number in range(count):
            (folder / f"{number:0240}.jpg").touch()
    small_peak = peak_of(tmp_path / "small", small)
    # A listing holds at least the names, 293 bytes for each of these. Of two readings the smaller: pathlib interns the
    # parts of paths, and Python's table of interned strings, of several MB, is now and then made anew meanwhile.
    assert min(peak_of(tmp_path / "large", large) for _ in range(2)) < small_peak + 250 * large


@pytest.mark.parametrize("at_once", [1, 3, 100])
def test_pictures_come_in_the_order_in_which_people_count(
    make: Make, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    monkeypatch.setattr(inputs, "NAMES_AT_ONCE", at_once)
    first = ["9.jpg", "10.jpg", "a1b2.jpg", "a1b10.png", "a02.jpg", "a2.jpg", "a10.jpg", "b.jpg"]
    expected = [f"f/{name}" for name in first] + ["f/day2/z.jpg", "f/day10/a.jpg"]
    make(*np.random.default_rng(0).permutation(expected).tolist())
    assert [entry.name for entry in find_inputs(["f"], True)] == expected
    assert [entry.name for entry in find_inputs(["f/*"], False)] == sorted(expected, key=inputs.natural_order)
    assert inputs.count_inputs(["f"], True) == len(expected)
