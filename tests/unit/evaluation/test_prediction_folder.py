"""Folders of predictions: other tools' files by independent writers, our own to the bit, and what is refused."""

from __future__ import annotations

import json
import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import hypothesis.extra.numpy as arrays
import numpy as np
import numpy.typing as npt
import OpenEXR
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from dptkit.errors import ConfigError, DataError, OutputWriteError
from dptkit.evaluation.kept_prediction import write_prediction
from dptkit.evaluation.prediction_folder import PredictionFolder
from dptkit.evaluation.subject import StoredPredictions
from dptkit.image_io import write_depth, write_labels
from dptkit.outputs import DepthMap, Provenance, SegmentationMap

Floats = npt.NDArray[np.float32]
BY = Provenance("some-model", "1.2", "ab" * 32, "torch", "bfloat16", (2, 3))
VALUES = np.array([[0.5, 1.25, 2.0], [3.0, 60.0, 7.5]], np.float32)
NAMES = ("road", "sky", "tree")
LABELS = np.array([[0, 1, 2], [255, 1, 0]], np.uint8)


def depth_of(folder: PredictionFolder, name: str = "a") -> DepthMap:
    result = folder.read(name)
    assert isinstance(result, DepthMap)
    return result


def depth_map(values: Floats = VALUES, quantity: Any = "depth_m", valid: Any = None) -> DepthMap:
    return DepthMap(values, quantity, np.ones(values.shape, bool) if valid is None else valid, BY)


def label_map(labels: npt.NDArray[np.uint8] = LABELS) -> SegmentationMap:
    return SegmentationMap(labels, NAMES, ((1, 2, 3), (4, 5, 6), (7, 8, 9)), BY)


def write_pfm(path: Path, values: Floats, order: str = ">") -> None:
    """As Middlebury's: rows from below, the scale's sign gives the byte order."""
    height, width = values.shape
    sign = "" if order == ">" else "-"
    path.write_bytes(f"Pf\n{width} {height}\n{sign}1.0\n".encode() + values[::-1].astype(f"{order}f4").tobytes())


WRITERS: dict[str, Any] = {
    "a.npy": np.save,
    "a.npz": lambda path, values: np.savez_compressed(path, depth=values),
    "a.pfm": write_pfm,
    "a_depth.pfm": lambda path, values: write_pfm(path, values, "<"),
    "a.tif": lambda path, values: Image.fromarray(values).save(path),
    "a_depth.tiff": tifffile.imwrite,
    "a.exr": lambda path, values: OpenEXR.File({}, {"Y": values}).write(str(path)),
}


@pytest.mark.parametrize("file", WRITERS)
def test_floats_of_other_tools_are_read_to_the_bit(tmp_path: Path, file: str) -> None:
    WRITERS[file](tmp_path / file, VALUES)
    folder = PredictionFolder(tmp_path, quantity="inverse_depth")
    assert isinstance(folder, StoredPredictions)
    result = depth_of(folder)
    np.testing.assert_array_equal(result.values, VALUES)
    assert result.valid.all()
    assert (result.quantity, result.provenance.model) == ("inverse_depth", tmp_path.name)
    np.testing.assert_array_equal(depth_of(PredictionFolder(tmp_path, quantity="depth_m", scale=2)).values, 2 * VALUES)


@pytest.mark.parametrize("file", ["a.png", "a_depth.png", "a.tif"])
def test_sixteen_bits_times_the_scale(tmp_path: Path, file: str) -> None:
    codes = np.array([[0, 1, 256], [1000, 40000, 65535]], np.uint16)
    assert cv2.imwrite(str(tmp_path / file), codes)
    kitti = depth_of(PredictionFolder(tmp_path, quantity="depth_m", scale=1 / 256))
    np.testing.assert_array_equal(kitti.values, codes / 256)
    assert kitti.valid.tolist() == [[False, True, True], [True, True, True]]  # 0 m is no depth
    millimetres = depth_of(PredictionFolder(tmp_path, quantity="depth_m", scale=0.001))
    np.testing.assert_array_equal(millimetres.values, (codes.astype(np.float64) / 1000).astype(np.float32))
    assert depth_of(PredictionFolder(tmp_path, quantity="inverse_depth")).valid.all()  # 0 is far there


@settings(max_examples=40, deadline=None)
@given(
    values=arrays.arrays(
        st.sampled_from([np.float32, np.float64, np.float16]),
        arrays.array_shapes(min_dims=2, max_dims=2, max_side=6),
        elements=st.floats(width=16),
    ),
    ending=st.sampled_from(["npy", "npz"]),
)
def test_numbers_that_are_none_are_invalid(values: npt.NDArray[Any], ending: str) -> None:
    with tempfile.TemporaryDirectory() as root:
        path = Path(root, f"a.{ending}")
        np.save(path, values) if ending == "npy" else np.savez(path, values)
        relative = depth_of(PredictionFolder(root, quantity="inverse_depth"))
        metric = depth_of(PredictionFolder(root, quantity="depth_m"))
    np.testing.assert_array_equal(relative.valid, np.isfinite(values))
    np.testing.assert_array_equal(metric.valid, np.isfinite(values) & (values > 0))
    np.testing.assert_array_equal(relative.values, values.astype(np.float32))


def test_values_beyond_float32_are_invalid(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([[1.0, 1e300]]))
    write_pfm(tmp_path / "b.pfm", np.array([[3e38, 1.0]], np.float32))
    assert depth_of(PredictionFolder(tmp_path, quantity="depth_m")).valid.tolist() == [[True, False]]
    assert depth_of(PredictionFolder(tmp_path, quantity="depth_m", scale=10), "b").valid.tolist() == [[False, True]]


def test_labels_of_other_tools(tmp_path: Path) -> None:
    Image.fromarray(LABELS).save(tmp_path / "a.png")
    palette = Image.fromarray(LABELS).convert("P")
    palette.putpalette(list(range(256)) * 3)
    indexed = Image.frombytes("P", palette.size, LABELS.tobytes())
    indexed.putpalette(list(range(256)) * 3)
    indexed.save(tmp_path / "b_labels.png")
    folder = PredictionFolder(tmp_path, quantity="labels", classes=NAMES)
    for name in ("a", "b"):
        result = folder.read(name)
        assert isinstance(result, SegmentationMap)
        np.testing.assert_array_equal(result.labels, LABELS)
        assert result.class_names == NAMES


def test_nested_names_and_flat_files(tmp_path: Path) -> None:
    for number, file in enumerate(["x/b.npy", "y/b_depth.npy", "c.npy", "d.e.npy", "b.npy"]):
        (tmp_path / file).parent.mkdir(exist_ok=True)
        np.save(tmp_path / file, np.full((1, 1), number, np.float32))
    folder = PredictionFolder(tmp_path, quantity="inverse_depth")
    found = [int(depth_of(folder, name).values[0, 0]) for name in ("x/b", "y/b", "z/c", "z/d.e", "b")]
    assert found == [0, 1, 2, 3, 4]


def test_more_than_one_answer_is_none(tmp_path: Path) -> None:
    np.save(tmp_path / "b.npy", VALUES)
    folder = PredictionFolder(tmp_path, quantity="depth_m")
    depth_of(folder, "x/b")
    depth_of(folder, "x/b")
    with pytest.raises(DataError, match=r"b.npy: would be the prediction of both x/b and y/b"):
        folder.read("y/b")
    write_pfm(tmp_path / "b_depth.pfm", VALUES + 1)
    with pytest.raises(DataError, match=r"2 files could be the prediction of b .*name the suffix"):
        PredictionFolder(tmp_path, quantity="depth_m").read("b")
    one = PredictionFolder(tmp_path, quantity="depth_m", suffix="_depth.pfm")
    np.testing.assert_array_equal(depth_of(one, "b").values, VALUES + 1)
    assert one.identity.details["suffix"] == "_depth.pfm"


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", VALUES)
    with pytest.raises(DataError, match=r"no prediction of x/b \(x/b\.\* or x/b_depth\.\*\)"):
        PredictionFolder(tmp_path, quantity="depth_m").read("x/b")
    np.save(tmp_path / "a_p.npy", VALUES)
    with pytest.raises(DataError, match=r"no prediction of b \(b_p\.npy\)"):
        PredictionFolder(tmp_path, quantity="depth_m", suffix="_p.npy").read("b")
    folder = PredictionFolder(tmp_path, quantity="depth_m")
    (tmp_path / "a.npy").unlink()
    with pytest.raises(DataError, match=r"a\.npy: no such file"):
        folder.read("a")
    with pytest.raises(DataError, match="gone: no such folder"):
        PredictionFolder(tmp_path / "gone", quantity="depth_m")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"empty: no predictions \(\.png\) in it"):
        PredictionFolder(tmp_path / "empty", quantity="labels")


@pytest.mark.parametrize("name", ["../a", "/a", "", ".", "x/../../a", "x\\a"])
def test_names_stay_in_the_folder(tmp_path: Path, name: str) -> None:
    (tmp_path / "in").mkdir()
    np.save(tmp_path / "in" / "a.npy", VALUES)
    with pytest.raises(DataError, match="not a name that a prediction can have"):
        PredictionFolder(tmp_path / "in", quantity="depth_m").read(name)
    with pytest.raises(DataError, match="not a name that a prediction can have"):
        write_prediction(tmp_path / "in", name, depth_map())


@pytest.mark.parametrize("format", ["png16", "npy", "pfm", "tiff", "exr"])
def test_files_of_ours_say_what_they_hold(tmp_path: Path, format: Any) -> None:
    path = tmp_path / f"a_depth.{format.replace('png16', 'png')}"
    write_depth(path, depth_map(), format)
    for quantity in (None, "depth_m"):
        result = depth_of(PredictionFolder(tmp_path, quantity=quantity))
        np.testing.assert_allclose(result.values, VALUES, rtol=0, atol=0.0005 if format == "png16" else 0)
        assert (result.quantity, result.provenance) == ("depth_m", BY)
    with pytest.raises(DataError, match=r"a_depth.*: its record says depth_m, which is not the stated inverse_depth"):
        PredictionFolder(tmp_path, quantity="inverse_depth").read("a")
    with pytest.raises(DataError, match=r"a_depth.*: its record gives its unit; a scale of 0.001 contradicts it"):
        PredictionFolder(tmp_path, quantity="depth_m", scale=0.001).read("a")


def test_labels_of_ours_bring_their_classes(tmp_path: Path) -> None:
    write_labels(tmp_path / "a_labels.png", label_map())
    for quantity in (None, "labels"):
        result = PredictionFolder(tmp_path, quantity=quantity, classes=("other",)).read("a")
        assert isinstance(result, SegmentationMap)
        np.testing.assert_array_equal(result.labels, LABELS)
        assert (result.class_names, result.provenance) == (NAMES, BY)
    shutil.move(tmp_path / "a_labels.png", tmp_path / "a_depth.png")
    with pytest.raises(DataError, match="its record says labels, which is not the stated depth_m"):
        PredictionFolder(tmp_path, quantity="depth_m").read("a")


def test_unmarked_files_without_a_stated_quantity_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", VALUES)
    Image.fromarray(LABELS).save(tmp_path / "b.png")
    np.savez(tmp_path / "c.npz", VALUES)
    with pytest.raises(ConfigError, match="dptkit wrote none of its 3 files: state their quantity"):
        PredictionFolder(tmp_path, quantity=None)
    write_depth(tmp_path / "z_depth.png", depth_map())  # one of ours among them
    folder = PredictionFolder(tmp_path, quantity=None)
    for name in ("a", "b", "c"):
        with pytest.raises(DataError, match=rf"{name}\.np.*|{name}\.png: not written by dptkit: state its quantity"):
            folder.read(name)


def spoil_sidecar(root: Path) -> None:
    write_depth(root / "a.npy", depth_map())
    np.save(root / "a.npy", VALUES + 1)


def spoil_record(root: Path) -> None:
    path = write_prediction(root, "a", depth_map())
    with np.load(path) as stored:
        parts = dict(stored)
    np.savez(path, **{**parts, "values": parts["values"][:1]})


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda root: (root / "a.npy").write_bytes(b"\x93NUMPY"), r"a\.npy: cannot be read"),
        (lambda root: (root / "a.npz").write_bytes(b"PK\x03\x04 cut"), r"a\.npz: cannot be read"),
        (lambda root: (root / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n"), r"a\.png: the "),
        (lambda root: (root / "a.pfm").write_bytes(b"Pf\n9 9\n-1\n1234"), r"a\.pfm: cannot be read"),
        (lambda root: (root / "a.npy").write_bytes(b""), r"a\.npy: the file is empty"),
        (lambda root: np.save(root / "a.npy", np.ones((2, 2, 3))), r"a\.npy: numbers \[H, W\] are needed"),
        (lambda root: np.save(root / "a.npy", np.ones((0, 4))), r"a\.npy: the map is empty"),
        (lambda root: np.savez(root / "a.npz", x=VALUES, y=VALUES), r"a\.npz: one array is needed, it has x, y"),
        (lambda root: np.savez(root / "a.npz", x=np.array(["a"])), r"a\.npz: numbers \[H, W\] are needed"),
        (lambda root: np.savez(root / "a.npz", x=np.array([[None]])), r"a\.npz: cannot be read"),
        (lambda root: Image.fromarray(LABELS).save(root / "a.png"), r"a\.png: 8 bits are a picture for the eye"),
        (lambda root: Image.new("RGB", (2, 2), (1, 2, 3)).save(root / "a.png"), r"a\.png: one channel of whole numb"),
        (lambda root: write_depth(root / "a.png", depth_map(), "color"), r"a\.png: a colour picture shows depth but"),
        (spoil_sidecar, r"a\.npy: it does not fit its sidecar a\.npy\.json"),
        (spoil_record, r"a\.npz: its record does not fit its data"),
    ],
)
def test_broken_files_are_named(tmp_path: Path, write: Any, message: str) -> None:
    write(tmp_path)
    with pytest.raises(DataError, match=message):
        PredictionFolder(tmp_path, quantity="depth_m").read("a")


def test_labels_that_are_none_are_refused(tmp_path: Path) -> None:
    Image.fromarray(LABELS.astype(np.uint16)).save(tmp_path / "a.png")
    Image.fromarray(LABELS + np.uint8(1)).save(tmp_path / "b.png")
    folder = PredictionFolder(tmp_path, quantity="labels", classes=NAMES)
    with pytest.raises(DataError, match=r"a\.png: labels must be an 8-bit PNG, not uint16"):
        folder.read("a")
    with pytest.raises(DataError, match=r"b\.png: label 3 has no name: there are 3 classes"):
        folder.read("b")
    with pytest.raises(DataError, match=r"b\.png: does not name its classes, and no classes were given"):
        PredictionFolder(tmp_path, quantity="labels").read("b")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"quantity": "metres"}, "not 'metres'"),
        ({"quantity": "depth_m", "scale": 0}, "scale must be a positive number"),
        ({"quantity": "depth_m", "scale": float("nan")}, "scale must be a positive number"),
        ({"quantity": "labels", "scale": 2}, "scale is for files of depth"),
        ({"quantity": None, "scale": 2}, "scale is for files of depth"),
        ({"quantity": "depth_m", "suffix": ".jpg"}, "suffix '.jpg' must end in one of"),
        ({"quantity": "labels", "suffix": ".npy"}, "must end in one of .png"),
    ],
)
def test_options_without_sense_are_refused(tmp_path: Path, options: Any, message: str) -> None:
    np.save(tmp_path / "a.npy", VALUES)
    with pytest.raises(ConfigError, match=message):
        PredictionFolder(tmp_path, **options)


def test_identity_changes_with_names_and_contents_and_with_what_is_stated(tmp_path: Path) -> None:
    root = tmp_path / "run"
    root.mkdir()
    np.save(root / "a.npy", VALUES)
    first = PredictionFolder(root, quantity="depth_m").identity
    assert first.name == "run"
    json.dumps(first.details)
    assert PredictionFolder(root, quantity="depth_m").identity == first
    moved = shutil.copytree(root, tmp_path / "else" / "run")
    assert PredictionFolder(moved, quantity="depth_m").identity == first
    seen = [first, PredictionFolder(root, quantity="depth_m", scale=2).identity]
    for change, values in (
        ("b.npy", VALUES),
        ("a.npy", VALUES[:1]),
        ("a.npy", VALUES[:1] + 1),
    ):  # the last, of one size
        np.save(root / change, values)
        seen.append(PredictionFolder(root, quantity="depth_m").identity)
    assert all(one != other for number, one in enumerate(seen) for other in seen[:number])


@settings(max_examples=40, deadline=None)
@given(
    data=st.data(),
    name=st.sampled_from(["a", "x/b", "x/y/ü 1.5"]),
    quantity=st.sampled_from(["inverse_depth", "depth_m"]),
)
def test_kept_depth_comes_back_to_the_bit(data: st.DataObject, name: str, quantity: Any) -> None:
    shape = data.draw(arrays.array_shapes(min_dims=2, max_dims=2, max_side=5))
    values = data.draw(arrays.arrays(np.float32, shape, elements=st.floats(width=32)))
    valid = data.draw(arrays.arrays(np.bool_, shape)) & np.isfinite(values)
    kept = depth_map(values, quantity, valid)
    with tempfile.TemporaryDirectory() as root:
        path = write_prediction(Path(root), name, kept)
        assert path == Path(root, f"{name}.npz")
        first = path.read_bytes()
        for stated in (None, quantity):
            found = depth_of(PredictionFolder(root, quantity=stated), name)
            assert found.values.tobytes() == values.tobytes()  # also of invalid pixels, NaN and -0
            np.testing.assert_array_equal(found.valid, valid)
            assert (found.quantity, found.provenance) == (quantity, BY)
        write_prediction(Path(root), name, kept)
        assert path.read_bytes() == first


@settings(max_examples=20, deadline=None)
@given(
    labels=arrays.arrays(
        np.uint8, arrays.array_shapes(min_dims=2, max_dims=2), elements=st.sampled_from([0, 1, 2, 255])
    )
)
def test_kept_labels_come_back_to_the_bit(labels: npt.NDArray[np.uint8]) -> None:
    with tempfile.TemporaryDirectory() as root:
        write_prediction(Path(root), "x/a", replace(label_map(), labels=labels))
        found = PredictionFolder(root, quantity="labels").read("x/a")
    assert isinstance(found, SegmentationMap)
    np.testing.assert_array_equal(found.labels, labels)
    assert (found.class_names, found.palette, found.provenance) == (NAMES, label_map().palette, BY)


def test_a_failed_write_leaves_the_older_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_prediction(tmp_path, "a", depth_map())
    before = path.read_bytes()

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device", None)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OutputWriteError, match=r"a\.npz: No space left"):
        write_prediction(tmp_path, "a", depth_map(VALUES + 1))
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["a.npz"]


def test_two_threads_read_what_one_does(tmp_path: Path) -> None:
    for number in range(20):
        np.save(tmp_path / f"{number}.npy", np.full((3, 3), number + 1, np.float32))
    folder = PredictionFolder(tmp_path, quantity="depth_m")
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda number: float(depth_of(folder, str(number)).values[0, 0]), range(20)))
    assert found == [number + 1 for number in range(20)]
