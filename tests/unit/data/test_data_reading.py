"""Files of data sets that are not quite what their ending says: read right, or refused in one line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data_trees import CODES, NEEDED, TREES, H, W, grey, picture, text
from dptkit.data.folder import open_manifest
from dptkit.data.reading import read_codes, read_json, read_lines, read_npy, read_pfm
from dptkit.data.registry import open_dataset
from dptkit.errors import DataError


@pytest.mark.parametrize("ending", ["png", "tif"])
@pytest.mark.parametrize("channels", [3, 4])
def test_grey_stored_as_16_bit_colour_keeps_all_its_bits(tmp_path: Path, ending: str, channels: int) -> None:
    grey(tmp_path / f"a.{ending}", np.repeat(CODES[:, :, None], channels, axis=2))
    codes = read_codes(tmp_path / f"a.{ending}")
    assert codes.dtype == np.uint16
    np.testing.assert_array_equal(codes, CODES)


def test_16_bit_colours_that_are_no_grey_are_refused(tmp_path: Path) -> None:
    colours = np.repeat(CODES[:, :, None], 3, axis=2)
    colours[1, 1, 2] += 1  # in the lower byte
    grey(tmp_path / "a.png", colours)
    with pytest.raises(DataError, match="one channel of whole numbers is needed, not a picture of mode RGB"):
        read_codes(tmp_path / "a.png")


def test_an_archive_or_a_broken_head_is_no_array(tmp_path: Path) -> None:
    with (tmp_path / "a.npy").open("wb") as file:
        np.savez(file, depth=np.zeros((H, W)))
    with pytest.raises(DataError, match=r"a\.npy: an \.npz archive, not an \.npy file"):
        read_npy(tmp_path / "a.npy")
    np.save(tmp_path / "b.npy", np.zeros((H, W)))
    whole = (tmp_path / "b.npy").read_bytes()
    (tmp_path / "b.npy").write_bytes(whole.replace(b"{'descr'", b"{{descr'"))
    with pytest.raises(DataError, match=r"b\.npy: cannot be read"):
        read_npy(tmp_path / "b.npy")


@pytest.mark.parametrize("side", ["999999", "99999999999999999999"])
def test_a_pfm_that_claims_to_be_huge(tmp_path: Path, side: str) -> None:
    (tmp_path / "a.pfm").write_bytes(f"Pf\n{side} {side}\n-1.0\n".encode() + bytes(96))
    with pytest.raises(DataError, match=r"a\.pfm: cannot be read"):
        read_pfm(tmp_path / "a.pfm")


def test_a_byte_order_mark_belongs_to_no_text(tmp_path: Path) -> None:
    picture(tmp_path / "s/a.jpg")
    grey(tmp_path / "s/a.png", CODES)
    text(tmp_path / "manifest.csv", "\ufeffsource,split,name,kind,scale\ns,train,a,depth,0.001\n")
    assert open_manifest(tmp_path, "train")[0].name == "s/a"
    text(tmp_path / "classes.txt", "\ufeffroad\nsky\n")
    assert read_lines(tmp_path / "classes.txt") == ["road", "sky"]
    text(tmp_path / "a.json", '\ufeff{"a": 1}')
    assert read_json(tmp_path / "a.json") == {"a": 1}


@pytest.mark.parametrize("name", ["ade20k", "pascal_context", "megadepth"])
def test_pictures_whose_ground_truth_is_of_stored_pixels_are_not_turned(name: str, tmp_path: Path) -> None:
    """Their labels and depth are of the stored pixels; a half turn by EXIF leaves the size right."""
    if name in NEEDED:
        pytest.importorskip(NEEDED[name])
    tree = TREES[name](tmp_path)
    exif = Image.Exif()
    exif[0x0112] = 3
    Image.fromarray(picture(tmp_path / tree.image)).save(tmp_path / tree.image, exif=exif)
    with Image.open(tmp_path / tree.image) as stored:
        np.testing.assert_array_equal(open_dataset(tree.name, tmp_path, tree.split)[0].image, np.array(stored))
