"""DIW and DA-2K: where the points are, which is nearer, and what is wrong with a folder or a list."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data_trees import H, W, text
from data_trees_zero_shot import ORDINAL_TREES, da2k, diw
from dptkit.cli.data_check import check
from dptkit.cli.data_shard import shard
from dptkit.data.contact_sheet import draw_pairs
from dptkit.data.da2k import open_da2k
from dptkit.data.diw import open_diw
from dptkit.data.pairs import MissingFilesError
from dptkit.data.reading import read_rgb
from dptkit.data.registry import open_ordinal_dataset
from dptkit.data.sample import OrdinalSample
from dptkit.errors import DataError
from dptkit.image_io import read_image


def test_diw_counts_from_one_down_before_right_and_compares_depths(tmp_path: Path) -> None:
    diw(tmp_path)
    dataset = open_diw(tmp_path, "test")
    first, second = dataset[0], dataset[1]
    assert (dataset.name, len(dataset), first.source, first.name) == ("diw", 2, "diw", "DIW_test/00a1")
    assert first.points.tolist() == [[[0, 1], [3, 5]]]
    assert first.nearer.tolist() == [1]
    assert second.points.tolist() == [[[2, 0], [1, 4]]]
    assert second.nearer.tolist() == [-1]
    np.testing.assert_array_equal(first.image, read_rgb(tmp_path / "DIW_test/00a1.thumb"))


def test_diw_lists_in_their_own_folder_and_absolute_paths(tmp_path: Path) -> None:
    diw(tmp_path)
    lines = (tmp_path / "DIW_test.csv").read_text().replace("./", f"{tmp_path}/")
    (tmp_path / "DIW_test.csv").unlink()
    (tmp_path / "DIW_Annotations").mkdir()
    text(tmp_path / "DIW_Annotations/DIW_test.csv", lines)
    assert open_diw(tmp_path, "test")[1].nearer.tolist() == [-1]


def test_diw_takes_no_other_split(tmp_path: Path) -> None:
    diw(tmp_path)
    with pytest.raises(DataError, match=r"has no DIW_val\.csv: it is in DIW_Annotations_splitted"):
        open_diw(tmp_path, "val")


def test_diw_twice_the_same_picture_is_one_sample(tmp_path: Path) -> None:
    diw(tmp_path)
    with (tmp_path / "DIW_test.csv").open("a") as file:
        file.write(f"./DIW_test/00a1.thumb\n4,6,1,1,>,{W},{H}\n")
    dataset = open_diw(tmp_path, "test")
    assert len(dataset) == 2
    assert dataset[0].points.tolist() == [[[0, 1], [3, 5]], [[3, 5], [0, 0]]]
    assert dataset[0].nearer.tolist() == [1, -1]


def test_diw_pictures_stay_as_stored(tmp_path: Path) -> None:
    """A half turn by EXIF would leave the size right and put every point somewhere else."""
    diw(tmp_path)
    path = tmp_path / "DIW_test/00a1.thumb"
    plain = read_rgb(path)
    exif = Image.Exif()
    exif[0x0112] = 3
    Image.fromarray(plain).save(path, "PNG", exif=exif)
    np.testing.assert_array_equal(read_rgb(path), plain[::-1, ::-1])
    np.testing.assert_array_equal(open_diw(tmp_path, "test")[0].image, plain)


@pytest.mark.parametrize(
    ("annotation", "message"),
    [
        ("1,2,4,6,=,6,4", "a pair must be y_A,x_A"),
        ("1,2,4,<,6,4", "a pair must be y_A,x_A"),
        ("1,2,4,six,<,6,4", "a pair must be y_A,x_A"),
    ],
)
def test_diw_broken_lines(annotation: str, message: str, tmp_path: Path) -> None:
    diw(tmp_path)
    text(tmp_path / "DIW_test.csv", f"./DIW_test/00a1.thumb\n{annotation}\n")
    with pytest.raises(DataError, match=rf"DIW_test\.csv: {message}"):
        open_diw(tmp_path, "test")


def test_diw_cut_short(tmp_path: Path) -> None:
    diw(tmp_path)
    text(tmp_path / "DIW_test.csv", (tmp_path / "DIW_test.csv").read_text() + "./DIW_test/00c3.thumb\n")
    with pytest.raises(DataError, match="cut short: 5 lines"):
        open_diw(tmp_path, "test")


@pytest.mark.parametrize("annotation", ["5,2,4,6,<,6,4", "1,2,4,7,<,6,4", "0,2,4,6,<,6,4", "1,0,4,6,<,6,4"])
def test_diw_points_outside_the_picture(annotation: str, tmp_path: Path) -> None:
    diw(tmp_path)
    text(tmp_path / "DIW_test.csv", f"./DIW_test/00a1.thumb\n{annotation}\n")
    with pytest.raises(DataError, match=r"00a1\.thumb: .*a point lies outside the picture"):
        open_diw(tmp_path, "test")[0]


def test_diw_of_another_size(tmp_path: Path) -> None:
    diw(tmp_path)
    text(tmp_path / "DIW_test.csv", "./DIW_test/00a1.thumb\n1,2,4,6,<,12,8\n")
    with pytest.raises(DataError, match=r"00a1\.thumb: 6x4 pixels, but the annotation is of 12x8"):
        open_diw(tmp_path, "test")[0]


def test_da2k_pairs_and_scene_types(tmp_path: Path) -> None:
    da2k(tmp_path)
    dataset = open_da2k(tmp_path, "test")
    first, second = dataset[0], dataset[1]
    assert (first.name, first.group, second.name) == ("indoor/a", "indoor", "transparent_reflective/b")
    assert first.points.tolist() == [[[0, 1], [3, 5]], [[2, 2], [1, 0]]]
    assert first.nearer.tolist() == [1, -1]
    np.testing.assert_array_equal(second.image, read_rgb(tmp_path / "images/transparent_reflective/b.png"))
    chosen = open_ordinal_dataset("da-2k", tmp_path, "test", scene_types=["transparent_reflective"])
    assert [chosen[0].name, len(chosen)] == ["transparent_reflective/b", 1]
    with pytest.raises(DataError, match="no scene type 'sea'; there are indoor, transparent_reflective"):
        open_da2k(tmp_path, "test", scene_types=["sea"])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[", "not JSON"),
        ("[]", "not an object"),
        ('{"images/indoor/a.jpg": []}', "images/indoor/a.jpg: needs a list of pairs"),
        ('{"images/indoor/a.jpg": 1}', "needs a list of pairs"),
        ('{"images/indoor/a.jpg": [{"point1": [0, 1], "point2": [3, 5]}]}', "needs a list of pairs"),
        ('{"images/indoor/a.jpg": [{"point1": [0], "point2": [3, 5], "closer_point": "point1"}]}', "needs a list"),
        ('{"images/indoor/a.jpg": [{"point1": [0, 0.5], "point2": [3, 5], "closer_point": "point1"}]}', "needs a list"),
        ('{"images/indoor/a.jpg": [{"point1": [0, 1], "point2": [3, 5], "closer_point": "point3"}]}', "needs a list"),
        ("{}", "no pairs of points"),
    ],
)
def test_da2k_broken_annotations(content: str, message: str, tmp_path: Path) -> None:
    da2k(tmp_path)
    text(tmp_path / "annotations.json", content)
    with pytest.raises(DataError, match=message) as caught:
        open_da2k(tmp_path, "test")
    assert "\n" not in str(caught.value)


def test_da2k_points_outside_the_picture(tmp_path: Path) -> None:
    """Right before down, as many write points, would put this one outside: the reader must not swap them."""
    da2k(tmp_path)
    pair = {"point1": [5, 1], "point2": [3, 3], "closer_point": "point1"}
    text(tmp_path / "annotations.json", json.dumps({"images/indoor/a.jpg": [pair]}))
    with pytest.raises(DataError, match=r"a\.jpg: .*a point lies outside the picture"):
        open_da2k(tmp_path, "test")[0]


@pytest.mark.parametrize("name", ORDINAL_TREES)
def test_missing_and_broken_pictures(name: str, tmp_path: Path) -> None:
    ORDINAL_TREES[name](tmp_path)
    dataset = pickle.loads(pickle.dumps(open_ordinal_dataset(name, tmp_path, "test")))
    first, second = dataset.image_path(0), dataset.image_path(1)
    second.write_bytes(second.read_bytes()[:9])
    with pytest.raises(DataError, match=second.name):
        dataset[1]
    first.unlink()
    with pytest.raises(MissingFilesError, match=f"1 files of split 'test' are missing in .*{first.name}") as caught:
        open_ordinal_dataset(name, tmp_path, "test")
    with pytest.raises(DataError, match="no such file"):
        pickle.loads(pickle.dumps(caught.value)).dataset[0]


@pytest.mark.parametrize("name", ORDINAL_TREES)
def test_nothing_there(name: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is not a folder"):
        open_ordinal_dataset(name, tmp_path / "none", "test")
    with pytest.raises(DataError, match="has no "):
        open_ordinal_dataset(name, tmp_path, "test")


def test_data_check_counts_pairs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    da2k(tmp_path)
    assert check([tmp_path], sheet=tmp_path / "sheet.png") == 0
    out = capsys.readouterr().out
    assert "(da-2k), split test: 2 samples, 0 broken" in out
    assert "pairs    3: A is nearer in 2, B is nearer in 1" in out
    assert "nan" not in out
    assert read_image(tmp_path / "sheet.png").shape == (174, 640, 3)
    assert check([tmp_path], json=True) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["pairs"] == {"A": 2, "B": 1, "neither": 0}
    assert report["groups"] == 2


def test_data_check_names_what_is_broken(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    diw(tmp_path)
    (tmp_path / "DIW_test/00b2.thumb").unlink()
    assert check([tmp_path], split=["test"]) == 1
    out = capsys.readouterr().out
    assert "2 samples, 1 broken" in out
    assert "00b2.thumb: no such file" in out


def test_pairs_of_points_do_not_go_into_shards(tmp_path: Path) -> None:
    diw(tmp_path / "data")
    with pytest.raises(DataError, match="diw says only which of two points is nearer"):
        shard(tmp_path / "data", tmp_path / "out", split="test")
    assert not (tmp_path / "out").exists()


def test_the_nearer_point_is_yellow() -> None:
    points = np.array([[[10, 20], [70, 140]]], np.int64)
    image = np.zeros((79, 158, 3), np.uint8)
    for nearer, near, far in ((1, (10, 20), (70, 140)), (-1, (70, 140), (10, 20))):
        drawn = draw_pairs(OrdinalSample(image, points, np.array([nearer], np.int8), "s", "n"))
        assert drawn.shape == image.shape  # it fits as it is: one pixel stays one pixel
        assert drawn[near].tolist() == [255, 220, 0]
        assert drawn[far].tolist() == [60, 90, 255]
