"""`dpt data check` and `dpt data shard`, called as functions: what they print, write and return."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from data_trees import CODES, TREES, grey, picture
from dptkit.cli.data_check import check
from dptkit.cli.data_shard import shard
from dptkit.data.checking import check_dataset
from dptkit.data.contact_sheet import draw_contact_sheet
from dptkit.data.folder import open_labels, open_manifest
from dptkit.data.shards import open_shards
from dptkit.errors import ConfigError, DataError
from dptkit.image_io import read_image

SHARED = Path(__file__).parents[4] / "shared" / "data"


def test_a_whole_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    TREES["manifest"](tmp_path)
    assert check([tmp_path]) == 0
    out = capsys.readouterr().out
    assert "(manifest), split train: 2 samples, 0 broken" in out
    assert "split val: 1 samples, 0 broken" in out
    assert "6x4 (2)" in out
    assert "depth_m [m], 1 samples: 0.1 to 2.3" in out
    assert "inverse_depth [relative], 1 samples: 1 to 23" in out
    assert "groups: 2" in out


def test_a_public_data_set_needs_no_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    TREES["diode"](tmp_path)
    assert check([tmp_path]) == 1
    out = capsys.readouterr().out
    assert "(diode), split val: 2 samples, 0 broken" in out
    assert "depth_m [m], 2 samples: 12.5 to 287.5" in out
    assert "  count    diode: split val has 2 samples here, officially 771" in out


def test_json_has_it_all(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    TREES["manifest"](tmp_path)
    assert check([tmp_path], split=["train"], json=True) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["samples"] == 2
    assert report["sizes"] == {"6x4": 2}
    assert report["valid_mean"] == pytest.approx(23 / 24)
    assert report["values"][0]["greatest"] == pytest.approx(2.3)


def test_broken_and_missing_files_are_named_and_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    TREES["labels"](tmp_path)
    (tmp_path / "train/images/a.jpg").write_bytes(b"no picture")
    (tmp_path / "train/labels/b.png").unlink()
    picture(tmp_path / "train/images/c.jpg")
    grey(tmp_path / "train/labels/c.png", np.zeros((4, 6), np.uint8))
    assert check([tmp_path], sheet=tmp_path / "sheet.png") == 1
    out = capsys.readouterr().out
    assert "3 samples, 2 broken" in out
    assert "broken   " in out
    assert "train/images/a.jpg: not a picture" in out
    assert "train/labels/b.png: no such file" in out
    assert "class 0 100.0%" in out
    assert read_image(tmp_path / "sheet.png")[0, 0].tolist() == [160, 0, 0]


def test_a_missing_file_changes_neither_the_splits_nor_the_unit(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in "abcd":
        picture(tmp_path / f"images/{name}.png")
        grey(tmp_path / f"depth/{name}.png", CODES)
    (tmp_path / "depth/b.png").unlink()
    assert check([tmp_path], "folder") == 1
    out = capsys.readouterr().out
    assert "split train: 3 samples, 1 broken" in out
    assert "split val: 1 samples, 0 broken" in out
    assert "depth_m [m], 2 samples: 0.1 to 2.3" in out  # PNG is millimetres


def test_a_folder_that_is_none_does_not_stop_the_next(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    TREES["redweb"](tmp_path / "redweb")
    assert check([tmp_path / "none", tmp_path / "redweb"]) == 1
    found = capsys.readouterr()
    assert found.err.count("\n") == 1
    assert "is not a folder" in found.err
    assert "2 samples, 0 broken" in found.out


def test_a_split_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    TREES["redweb"](tmp_path)
    assert check([tmp_path], split=["val"]) == 1
    assert "no split 'val'; there is train" in capsys.readouterr().err


def test_what_is_wrong_with_all_splits_is_said_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check([tmp_path], dataset="nyuv2") == 1
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_options_of_the_reader(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    TREES["pairs"](tmp_path)
    assert check([tmp_path], "pairs", ["train"], ["kind=depth", "scale=0.5"]) == 0
    assert "depth_m [m], 2 samples: 50 to 1150" in capsys.readouterr().out
    with pytest.raises(ConfigError, match="'kind' is not KEY=VALUE"):
        check([tmp_path], "pairs", ["train"], ["kind"])


def test_sheets_of_several_splits(tmp_path: Path) -> None:
    TREES["manifest"](tmp_path / "data")
    check([tmp_path / "data"], sheet=tmp_path / "sheet.png")
    assert sorted(path.name for path in tmp_path.glob("*.png")) == ["sheet_train.png", "sheet_val.png"]
    check([tmp_path / "data"], split=["val"], sheet=tmp_path / "one.png")
    assert read_image(tmp_path / "one.png").shape == (174, 320, 3)


def test_wholly_invalid_samples_are_counted_and_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    TREES["manifest"](tmp_path)
    grey(tmp_path / "src/two.png", np.zeros_like(CODES))
    report = check_dataset(open_manifest(tmp_path, "train"), "train")
    assert report.wholly_invalid == ("src/two",)
    assert report.valid_least == 0
    assert report.broken == ()
    assert draw_contact_sheet(open_manifest(tmp_path, "train")).shape == (174, 640, 3)
    assert check([tmp_path], split=["train"]) == 0
    assert "  wholly invalid  src/two\n" in capsys.readouterr().out


def test_pictures_without_ground_truth_are_not_named_one_by_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in "abc":
        picture(tmp_path / f"{name}.jpg")
    assert check([tmp_path], "pictures") == 0
    out = capsys.readouterr().out
    assert out.count("wholly invalid") == 1
    assert "  wholly invalid  all 3\n" in out
    assert "nan" not in out


def test_class_shares_add_up(tmp_path: Path) -> None:
    TREES["labels"](tmp_path)
    report = check_dataset(open_labels(tmp_path, "train"), "train")
    assert sum(report.class_shares.values()) == pytest.approx(1)
    assert report.class_shares["class 11"] == 0


def test_shard_and_check_the_shards(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    TREES["manifest"](tmp_path / "data")
    with pytest.raises(ConfigError, match="--split: say which one of train, val"):
        shard(tmp_path / "data", tmp_path / "out")
    assert shard(tmp_path / "data", tmp_path / "out", split="train", size=1) == 0
    assert "2 samples in 2 shards" in capsys.readouterr().out
    assert len(open_shards(tmp_path / "out")) == 2
    assert check([tmp_path / "out"]) == 0
    (tmp_path / "out/shard-000001.tar").unlink()
    assert check([tmp_path / "out"]) == 1
    assert "1 of 2 shards are missing" in capsys.readouterr().err


def test_sharding_a_half_present_folder_is_an_error(tmp_path: Path) -> None:
    TREES["redweb"](tmp_path / "data")
    (tmp_path / "data/RDs/a.png").unlink()
    with pytest.raises(DataError, match=r"RDs/a\.png"):
        shard(tmp_path / "data", tmp_path / "out")


@pytest.mark.skipif(not SHARED.is_dir(), reason="the folder shared/data beside the project is absent")
def test_the_shared_pictures_are_whole(capsys: pytest.CaptureFixture[str]) -> None:
    assert check([SHARED / "depth"], split=["val"], json=True) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["samples"] == 84
    assert report["sources"]["middlebury"] == 8
