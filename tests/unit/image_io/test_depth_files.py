"""write_depth and read_depth: what comes back is what went in, and other programs can read it."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from dptkit.errors import ConfigError, ImageReadError, OutputWriteError
from dptkit.image_io import (
    DEPTH_SUFFIXES,
    DepthFormat,
    read_depth,
    read_metadata,
    sidecar_path,
    write_depth,
)
from dptkit.outputs import DepthMap, Provenance, Quantity

PROVENANCE = Provenance("dpt-深", "0.1.0", "ab" * 32, "onnxruntime", "float16", (384, 672))
EXACT: list[DepthFormat] = ["npy", "pfm", "tiff", "exr"]
READABLE: list[DepthFormat] = ["png16", *EXACT]


def depth_map(values: Any, quantity: Quantity = "inverse_depth", valid: Any = None) -> DepthMap:
    array = np.asarray(values, np.float32)
    mask = np.ones(array.shape, bool) if valid is None else np.asarray(valid, bool)
    return DepthMap(array, quantity, mask, PROVENANCE)


def example(quantity: Quantity = "inverse_depth") -> DepthMap:
    values = np.random.default_rng(0).uniform(0.5, 60, (7, 11)).astype(np.float32)
    valid = np.ones((7, 11), bool)
    valid[2, 3:6] = False
    values[2, 3] = np.nan
    return depth_map(values, quantity, valid)


@st.composite
def depth_maps(draw: st.DrawFn) -> DepthMap:
    shape = draw(hnp.array_shapes(min_dims=2, max_dims=2, max_side=9))
    scale = draw(st.sampled_from([1e-45, 1e-38, 1e-6, 1.0, 1e3, 1e30, 3e38]))
    shift = draw(st.sampled_from([0.0, 1.0, -1.0, 1e6]))
    unit = draw(hnp.arrays(np.float64, shape, elements=st.floats(-1, 1) | st.sampled_from([0.0, 1.0, -1.0])))
    values = np.clip(unit * scale + shift, -3.4e38, 3.4e38).astype(np.float32)
    if draw(st.booleans()):
        values[:] = values.flat[0]
    valid = draw(st.one_of(st.just(np.ones(shape, bool)), st.just(np.zeros(shape, bool)), hnp.arrays(bool, shape)))
    values[~valid] = draw(st.sampled_from([np.nan, np.inf, -np.inf, 5.0]))
    return depth_map(values, draw(st.sampled_from(["inverse_depth", "depth_m"])), valid)


def round_trip(depth: DepthMap, format: DepthFormat, **options: Any) -> tuple[DepthMap, Any]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"x{DEPTH_SUFFIXES[format]}"
        written = write_depth(path, depth, **options)
        assert written.path == path
        back = read_depth(path)
    assert back.quantity == depth.quantity
    assert back.provenance == depth.provenance
    np.testing.assert_array_equal(back.valid, depth.valid)
    assert np.isnan(back.values[~back.valid]).all()
    return back, written


@pytest.mark.parametrize("format", EXACT)
@settings(max_examples=60, deadline=None)
@given(depth=depth_maps())
def test_float_formats_keep_every_bit(format: DepthFormat, depth: DepthMap) -> None:
    if format == "exr":
        pytest.importorskip("OpenEXR")
    back, written = round_trip(depth, format)
    kept = depth.valid
    np.testing.assert_array_equal(back.values[kept].view(np.uint32), depth.values[kept].view(np.uint32))
    assert (written.clipped, written.scale, written.offset) == (0, 1.0, 0.0)


def step_error(depth: DepthMap, back: DepthMap, scale: float) -> None:
    """Half a step of the format, and half a unit of float32, to which the value read is rounded."""
    true, read = (m.values[depth.valid].astype(np.float64) for m in (depth, back))
    rounding = np.spacing(np.maximum(np.abs(true), np.abs(read)).astype(np.float32)).astype(np.float64) / 2
    # 1e-9: float64 arithmetic on codes up to 2**16 with an offset up to 1e6 times the range.
    assert (np.abs(read - true) <= scale / 2 * (1 + 1e-9) + rounding).all()


@settings(max_examples=200, deadline=None)
@given(depth_maps().filter(lambda depth: depth.quantity == "inverse_depth"))
def test_png16_of_inverse_depth_is_within_half_a_step(depth: DepthMap) -> None:
    back, written = round_trip(depth, "png16")
    assert written.clipped == 0
    values = depth.values[depth.valid].astype(np.float64)
    if values.size and values.max() > values.min():
        assert written.scale == (values.max() - values.min()) / 65534
    elif values.size:
        np.testing.assert_array_equal(back.values[depth.valid], depth.values[depth.valid])
    step_error(depth, back, written.scale)


@settings(max_examples=100, deadline=None)
@given(
    depth_maps().filter(lambda depth: depth.quantity == "inverse_depth"),
    st.floats(-10, 10),
    st.floats(0.01, 10),
)
def test_png16_with_given_bounds_clips_and_counts(depth: DepthMap, vmin: float, span: float) -> None:
    vmax = vmin + span
    back, written = round_trip(depth, "png16", vmin=vmin, vmax=vmax)
    values = depth.values[depth.valid].astype(np.float64)
    half = written.scale / 2
    # A value closer to a bound than half a step is held by the code of that bound, hence not clipped.
    assert np.count_nonzero((values < vmin - 1.01 * half) | (values > vmax + 1.01 * half)) <= written.clipped
    assert written.clipped <= np.count_nonzero((values < vmin - 0.99 * half) | (values > vmax + 0.99 * half))
    bounded = depth_map(np.clip(np.where(depth.valid, depth.values, 0), vmin, vmax), valid=depth.valid)
    step_error(bounded, back, written.scale * (1 + 1e-6))


@settings(max_examples=100, deadline=None)
@given(hnp.arrays(np.float32, (3, 4), elements=st.floats(-1, 80, width=32)))
def test_png16_of_metres_is_whole_millimetres(values: np.ndarray) -> None:
    depth = depth_map(values, "depth_m")
    back, written = round_trip(depth, "png16")
    assert (written.scale, written.offset) == (0.001, 0.0)
    millimetres = np.rint(values.astype(np.float64) * 1000)
    assert written.clipped == np.count_nonzero((millimetres < 1) | (millimetres > 65535))
    expected = (np.clip(millimetres, 1, 65535) * 0.001).astype(np.float32)
    np.testing.assert_array_equal(back.values, expected)


def test_png16_of_metres_by_hand(tmp_path: Path) -> None:
    values = [[0.0, 0.0004, 0.001, 1.2344, 65.535, 65.6, 1e30, -3.0, 9.0]]
    valid = [[True] * 8 + [False]]
    path = tmp_path / "a_depth.png"
    written = write_depth(path, depth_map(values, "depth_m", valid))
    with Image.open(path) as image:
        assert np.asarray(image).tolist() == [[1, 1, 1, 1234, 65535, 65535, 65535, 1, 0]]
        assert image.mode.startswith("I;16")
    assert written.clipped == 5
    record = read_metadata(path)
    assert (record["clipped"], record["invalid"], record["range"]) == (5, 1, "fixed")


def test_png16_of_inverse_depth_by_hand(tmp_path: Path) -> None:
    path = tmp_path / "a_depth.png"
    written = write_depth(path, depth_map([[-1, 0, 32767, 65534, 70000]]), vmin=0, vmax=65534)
    with Image.open(path) as image:
        assert np.asarray(image).tolist() == [[1, 1, 32768, 65535, 65535]]
    assert (written.scale, written.offset, written.clipped) == (1.0, -1.0, 2)
    assert read_metadata(path)["range"] == "given"
    write_depth(path, depth_map([[0, 5]]), vmin=2)
    record = read_metadata(path)
    assert (record["range"], record["vmin"], record["vmax"], record["clipped"]) == ("per-picture", 2, 5, 1)


def test_picture_wholly_beyond_one_given_bound(tmp_path: Path) -> None:
    path = tmp_path / "a_depth.png"
    assert write_depth(path, depth_map([[1, 2]]), vmin=5).clipped == 2
    assert read_depth(path).values.tolist() == [[5, 5]]
    assert write_depth(path, depth_map([[7, 8]]), vmax=5).clipped == 2
    assert read_depth(path).values.tolist() == [[5, 5]]


def stated(record: dict[str, Any], depth: DepthMap, format: str) -> None:
    """Every file says all of this."""
    assert record["format"] == format
    assert (record["quantity"], record["unit"]) == (depth.quantity, depth.unit)
    assert (record["height"], record["width"]) == depth.size
    assert record["invalid"] == 3
    assert record["clipped"] >= 0
    assert record["range"] in ("fixed", "given", "per-picture", "none")
    assert {"scale", "offset", "vmin", "vmax"} <= record.keys()
    assert record["provenance"] == {
        "model": "dpt-深",
        "version": "0.1.0",
        "weights_sha256": "ab" * 32,
        "engine": "onnxruntime",
        "precision": "float16",
        "network_size": [384, 672],
    }
    assert record["extra"] == {"source": "фото\n.jpg"}
    sentence = {"inverse_depth": "larger is nearer, known only up to scale and shift", "depth_m": "metres"}
    assert sentence[depth.quantity] in record["meaning"]


@pytest.mark.parametrize("quantity", ["inverse_depth", "depth_m"])
@pytest.mark.parametrize("format", get_args(DepthFormat))
def test_every_file_says_what_it_is(tmp_path: Path, format: DepthFormat, quantity: Quantity) -> None:
    if format == "exr":
        pytest.importorskip("OpenEXR")
    depth = example(quantity)
    path = tmp_path / f"x{DEPTH_SUFFIXES[format]}"
    written = write_depth(path, depth, extra={"source": "фото\n.jpg"})
    record = read_metadata(path)
    stated(record, depth, format)
    assert (record["clipped"], record["scale"], record["offset"]) == (
        written.clipped,
        written.scale,
        written.offset,
    )
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(
        {path.name} | ({path.name + ".json"} if format in ("npy", "pfm") else set())
    )


@pytest.mark.parametrize("quantity", ["inverse_depth", "depth_m"])
def test_png_texts_and_numbers_with_pillow_alone(tmp_path: Path, quantity: Quantity) -> None:
    depth = example(quantity)
    write_depth(tmp_path / "x.png", depth, extra={"source": "фото\n.jpg"})
    with Image.open(tmp_path / "x.png") as image:
        codes = np.array(image).astype(np.float64)
        text = dict(image.text)  # type: ignore[attr-defined]
    record = json.loads(text["dptkit"])
    stated(record, depth, "png16")
    assert text["Description"] == record["meaning"]
    assert "value = stored * " in text["Description"]
    assert text["Software"] == "dptkit 0.1.0"
    assert ((codes == 0) == ~depth.valid).all()
    values = codes * record["scale"] + record["offset"]
    error = np.abs(values - depth.values)[depth.valid].max()
    assert error <= record["scale"] / 2 * (1 + 1e-9)  # float64 rounding


def test_tiff_with_tifffile(tmp_path: Path) -> None:
    tifffile = pytest.importorskip("tifffile")
    depth = example("depth_m")
    write_depth(tmp_path / "x.tiff", depth, extra={"source": "фото\n.jpg"})
    with tifffile.TiffFile(tmp_path / "x.tiff") as file:
        page = file.pages[0]
        values = page.asarray()
        assert page.compression.name == "ADOBE_DEFLATE"
        assert page.samplesperpixel == 1
        stated(json.loads(page.tags["ImageDescription"].value), depth, "tiff")
        assert page.tags["Software"].value == "dptkit 0.1.0"
    assert values.dtype == np.float32
    np.testing.assert_array_equal(values, np.where(depth.valid, depth.values, np.nan))


@pytest.mark.parametrize(("quantity", "channel"), [("depth_m", "Z"), ("inverse_depth", "Y")])
def test_exr_with_openexr(tmp_path: Path, quantity: Quantity, channel: str) -> None:
    openexr = pytest.importorskip("OpenEXR")
    depth = example(quantity)
    write_depth(tmp_path / "x.exr", depth, extra={"source": "фото\n.jpg"})
    with openexr.File(str(tmp_path / "x.exr")) as file:
        header, channels = file.header(), file.channels()
        assert list(channels) == [channel]
        values = np.array(channels[channel].pixels)
        assert header["compression"] == openexr.ZIP_COMPRESSION
        record = json.loads(header["dptkit"])
        assert header["comments"] == record["meaning"]
    stated(record, depth, "exr")
    assert values.dtype == np.float32
    np.testing.assert_array_equal(values, np.where(depth.valid, depth.values, np.nan))


def test_pfm_by_its_specification(tmp_path: Path) -> None:
    depth = depth_map([[1, 2, 3], [4, 5, 6]], valid=[[True, True, False], [True, True, True]])
    write_depth(tmp_path / "x.pfm", depth)
    data = (tmp_path / "x.pfm").read_bytes()
    header, pixels = data[: -6 * 4], data[-6 * 4 :]
    assert header == b"Pf\n3 2\n-1.0\n"  # width, height; negative: little-endian
    assert np.frombuffer(pixels, "<f4").tolist() == [4, 5, 6, 1, 2, np.inf]  # bottom row first


def test_npy_with_numpy_alone(tmp_path: Path) -> None:
    depth = example()
    written = write_depth(tmp_path / "x.npy", depth, extra={"source": "фото\n.jpg"})
    assert written.sidecar == tmp_path / "x.npy.json" == sidecar_path(tmp_path / "x.npy")
    np.testing.assert_array_equal(np.load(tmp_path / "x.npy"), np.where(depth.valid, depth.values, np.nan))
    stated(json.loads(written.sidecar.read_text("utf-8")), depth, "npy")


@pytest.mark.parametrize("format", ["npy", "pfm"])
def test_data_and_sidecar_must_fit(tmp_path: Path, format: str) -> None:
    path, other = tmp_path / f"a.{format}", tmp_path / f"b.{format}"
    write_depth(path, depth_map([[1, 2]]))
    write_depth(other, depth_map([[1, 3]]))
    other.replace(path)  # as after a crash between the two files
    with pytest.raises(ImageReadError, match=rf"a\.{format}: it does not fit its sidecar .*sha256 differs"):
        read_depth(path)
    sidecar_path(path).unlink()
    with pytest.raises(ImageReadError, match=rf"its sidecar a\.{format}\.json is missing"):
        read_depth(path)
    sidecar_path(path).write_text("{nonsense")
    with pytest.raises(ImageReadError, match="not written by dptkit"):
        read_depth(path)


def test_colour_picture_says_so_and_is_not_read_as_depth(tmp_path: Path) -> None:
    path = tmp_path / f"x{DEPTH_SUFFIXES['color']}"
    written = write_depth(path, example("depth_m"), colormap="magma")
    assert (written.scale, written.offset) == (None, None)
    record = read_metadata(path)
    assert (record["content"], record["colormap"], record["range"]) == (
        "depth_colour",
        "magma",
        "per-picture",
    )
    assert "normalised per picture" in record["meaning"]
    assert 0.5 <= record["vmin"] < record["vmax"] <= 60
    with Image.open(path) as image:
        assert image.mode == "RGB"
        assert json.loads(image.text["dptkit"]) == record  # type: ignore[attr-defined]
    with pytest.raises(ImageReadError, match="a colour picture shows depth but does not hold it"):
        read_depth(path)
    write_depth(path, example("depth_m"), vmin=1, vmax=10)
    assert read_metadata(path)["range"] == "given"
    assert "normalised per picture" not in read_metadata(path)["meaning"]


def test_colour_of_nothing_valid(tmp_path: Path) -> None:
    path = tmp_path / "x_color.png"
    write_depth(path, depth_map([[np.nan]], valid=[[False]]))
    assert (read_metadata(path)["vmin"], read_metadata(path)["vmax"]) == (None, None)


def test_foreign_files_are_refused(tmp_path: Path) -> None:
    codes = np.array([[1, 2]], np.uint16)
    Image.fromarray(codes).save(tmp_path / "a.png")
    Image.fromarray(codes.astype(np.float32)).save(tmp_path / "a.tiff")
    np.save(tmp_path / "a.npy", codes)
    (tmp_path / "a.npy.json").write_text("{}")
    (tmp_path / "a.txt").write_text("depth: 3")
    (tmp_path / "empty.png").write_bytes(b"")
    for name, reason in {
        "a.png": "not written by dptkit",
        "a.tiff": "not written by dptkit",
        "a.npy": "not written by dptkit",
        "a.txt": "not a depth file",
        "empty.png": "the file is empty",
        "none.png": "no such file",
        ".": "is a directory",
    }.items():
        with pytest.raises(ImageReadError, match=reason) as caught:
            read_depth(tmp_path / name)
        assert str(caught.value).startswith(f"{tmp_path / name}: ")


@pytest.mark.parametrize("format", READABLE)
def test_truncation_is_one_line(tmp_path: Path, format: DepthFormat) -> None:
    if format == "exr":
        pytest.importorskip("OpenEXR")
    path = tmp_path / f"x{DEPTH_SUFFIXES[format]}"
    write_depth(path, example())
    data = path.read_bytes()
    for length in (0, 1, 5, 20, len(data) // 3, len(data) // 2, len(data) - 30):
        path.write_bytes(data[:length])
        with pytest.raises(ImageReadError) as caught:
            read_depth(path)
        assert "\n" not in str(caught.value)


def test_converted_file_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    write_depth(path, example())
    with Image.open(path) as image:
        image.load()
        from PIL.PngImagePlugin import PngInfo

        info = PngInfo()
        info.add_text("dptkit", image.text["dptkit"])  # type: ignore[attr-defined]
        image.resize((5, 4)).save(tmp_path / "small.png", pnginfo=info)
        Image.new("L", image.size).save(tmp_path / "eight.png", pnginfo=info)
    with pytest.raises(ImageReadError, match="another size; was it resized"):
        read_depth(tmp_path / "small.png")
    with pytest.raises(ImageReadError, match="its pixels are L; was it converted"):
        read_depth(tmp_path / "eight.png")


@pytest.mark.parametrize("name", ["深度.npy", "глубина.tif", "a b.exr", "line\nbreak.png", "\udcff.exr", "\udcff.pfm"])
def test_any_name(tmp_path: Path, name: str) -> None:
    if name.endswith("exr"):
        pytest.importorskip("OpenEXR")
    depth = example()
    write_depth(tmp_path / name, depth)
    np.testing.assert_array_equal(read_depth(tmp_path / name).valid, depth.valid)


def test_bad_requests(tmp_path: Path) -> None:
    depth = example()
    with pytest.raises(OutputWriteError, match=r"x\.jpg: its ending names no depth format \(png16, "):
        write_depth(tmp_path / "x.jpg", depth)
    with pytest.raises(OutputWriteError, match="unknown format 'bmp'"):
        write_depth(tmp_path / "x.bmp", depth, "bmp")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="must be less than"):
        write_depth(tmp_path / "x.png", depth, vmin=2, vmax=1)
    with pytest.raises(ConfigError, match="did you mean 'turbo'"):
        write_depth(tmp_path / "x.png", depth, "color", colormap="turbi")
    (tmp_path / "file").write_bytes(b"")
    for format in READABLE:
        with pytest.raises(OutputWriteError, match=r"Not a directory$"):
            write_depth(tmp_path / "file" / "x", depth, format)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_missing_openexr_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "OpenEXR", None)
    with pytest.raises(OutputWriteError, match=r"x\.exr: EXR files need OpenEXR .*'dptkit\[exr\]'"):
        write_depth(tmp_path / "x.exr", example())
    (tmp_path / "x.exr").write_bytes(b"\x76\x2f\x31\x01\x02\0\0\0")
    with pytest.raises(ImageReadError, match=r"'dptkit\[exr\]'"):
        read_depth(tmp_path / "x.exr")


def test_suffixes_and_endings_agree(tmp_path: Path) -> None:
    pytest.importorskip("OpenEXR")
    assert set(DEPTH_SUFFIXES) == set(get_args(DepthFormat))
    for format, suffix in DEPTH_SUFFIXES.items():
        path = tmp_path / f"x{suffix}"
        write_depth(path, example())
        assert read_metadata(path)["format"] == format
