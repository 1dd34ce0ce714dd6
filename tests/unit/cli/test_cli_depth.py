"""`dpt depth`, in process: what is written, what is said, and that one bad picture is not the end."""

from __future__ import annotations

import errno
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from cli_runner import dpt, files_below, save_picture
from PIL import Image

from dptkit import image_io, load, read_depth
from dptkit.errors import ImageReadError, NonFiniteOutputError, OutputWriteError
from dptkit.image_io import read_metadata
from dptkit.outputs import DepthMap
from dptkit.predictor import Predictor
from dptkit.runtime.torch_backend import TorchBackend
from dptkit.version import __version__
from dptkit.weights.tensor_file import write_tensors
from miniatures import build_miniature, miniature_spec

SMALL = ("--size", "32", "--device", "cpu", "--engine", "torch")
EVERY_FORMAT = "png16,color,npy,pfm,tiff,exr"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in range(3):
        save_picture(tmp_path / "in" / f"{number}.png", seed=number)
    return tmp_path / "in"


def test_by_default_a_16_bit_png_and_a_colour_picture(tmp_path: Path) -> None:
    path = save_picture(tmp_path / "street.png")
    ran = dpt("depth", path, "-o", tmp_path / "out", *SMALL)
    assert ran.code == 0
    assert ran.lines == [f"{path} -> {tmp_path}/out/street_depth.png, {tmp_path}/out/street_depth_color.png"]
    assert ran.errors == [f"dpt: 1 of 1 done; results in {tmp_path}/out"]
    assert files_below(tmp_path / "out") == {"street_depth.png", "street_depth_color.png"}
    with Image.open(tmp_path / "out" / "street_depth.png") as image:
        assert image.mode.startswith("I;16")
        assert image.size == (40, 30)
    with Image.open(tmp_path / "out" / "street_depth_color.png") as image:
        assert (image.mode, image.size) == ("RGB", (40, 30))


def test_default_output_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    save_picture(Path("a.png"))
    assert dpt("depth", "a.png", *SMALL).code == 0
    assert "a_depth.png" in files_below(tmp_path / "dpt_output")


def test_every_format_gives_back_the_prediction_and_says_what_it_holds(tmp_path: Path) -> None:
    path = save_picture(tmp_path / "a.png")
    ran = dpt("depth", path, "-o", tmp_path, "--format", EVERY_FORMAT, "--json", *SMALL)
    (record,) = ran.records
    wanted = load("dpt-lite", size=32, engine="torch", device="cpu").predict(path)
    assert isinstance(wanted, DepthMap)
    assert set(record["outputs"]) == set(EVERY_FORMAT.split(","))
    for name, file in record["outputs"].items():
        written = read_metadata(file)
        assert (written["quantity"], written["unit"]) == ("inverse_depth", "relative")
        assert written["provenance"]["model"] == "dpt-lite"
        assert written["provenance"]["version"] == __version__
        assert {"scale", "offset", "meaning"} <= set(written)
        if name == "color":
            continue
        back = read_depth(file)
        assert back.provenance == wanted.provenance
        # Half a step of 16 bit, and float32's rounding on top; the others are exact.
        step = (wanted.values.max() - wanted.values.min()) / 65534 if name == "png16" else 0
        np.testing.assert_allclose(back.values, wanted.values, rtol=1e-6, atol=0.5 * step)


def test_metric_models_write_millimetres(tmp_path: Path) -> None:
    model = tmp_path / "metric.safetensors"
    network, spec = build_miniature("dpt-hybrid-nyu"), miniature_spec("dpt-hybrid-nyu")
    network.head.conv3.bias.data.fill_(1500.0)  # 1 / (0.000305 * 1500 + 0.1378) = 1.68 m
    write_tensors(model, network.state_dict(), spec)
    path = save_picture(tmp_path / "room.png")
    ran = dpt("depth", path, "-o", tmp_path, "--model", model, "--json", *SMALL)
    (record,) = ran.records
    wanted = load(model, size=32, engine="torch", device="cpu").predict(path)
    assert isinstance(wanted, DepthMap)
    assert (record["quantity"], record["unit"]) == ("depth_m", "m")
    assert 1 < record["min"] <= record["max"] < 3
    with Image.open(tmp_path / "room_depth.png") as image:
        np.testing.assert_allclose(np.asarray(image) / 1000, wanted.values, rtol=0, atol=0.0005 + 1e-6)
    back = read_depth(tmp_path / "room_depth.png")
    assert back.quantity == "depth_m"
    np.testing.assert_allclose(back.values, wanted.values, rtol=0, atol=0.0005 + 1e-6)


def test_vmin_vmax_and_colormap_take_effect(tmp_path: Path) -> None:
    path = save_picture(tmp_path / "a.png")
    for name, options in (("plain", ()), ("bounded", ("--vmin", "-1", "--vmax", "1")), ("jet", ("--colormap", "jet"))):
        assert dpt("depth", path, "-o", tmp_path / name, *options, *SMALL).code == 0
    bounded = read_metadata(tmp_path / "bounded" / "a_depth.png")
    assert (bounded["vmin"], bounded["vmax"]) == (-1, 1)
    assert np.nanmax(np.abs(read_depth(tmp_path / "bounded" / "a_depth.png").values)) <= 1 + 1e-6
    colours = [(tmp_path / name / "a_depth_color.png").read_bytes() for name in ("plain", "bounded", "jet")]
    assert len(set(colours)) == 3


def test_json_is_one_object_a_picture_and_nothing_else(folder: Path) -> None:
    (folder / "bad.jpg").write_text("no picture")
    ran = dpt("depth", folder, "-o", folder / "out", "--json", *SMALL)
    assert ran.code == 1
    by_input = {record["input"]: record for record in ran.records}
    assert len(ran.lines) == len(by_input) == 4
    assert "not a picture" in by_input[f"{folder}/bad.jpg"]["error"]
    good = by_input[f"{folder}/0.png"]
    assert (good["width"], good["height"]) == (40, 30)
    assert good["model"] == "dpt-lite"
    assert {"quantity", "unit", "min", "max", "valid_share", "engine", "precision", "seconds"} <= set(good)
    assert all(Path(file).is_file() for file in good["outputs"].values())
    again = dpt("depth", folder, "-o", folder / "out", "--json", "--skip-existing", *SMALL)
    assert sorted(record.get("skipped", False) for record in again.records) == [False, True, True, True]


def test_numbers_of_json_are_those_of_the_files(tmp_path: Path) -> None:
    path = save_picture(tmp_path / "a.png")
    (record,) = dpt("depth", path, "-o", tmp_path, "--format", "npy", "--json", *SMALL).records
    values = np.load(record["outputs"]["npy"])
    assert (record["min"], record["max"]) == (values.min(), values.max())


@pytest.mark.parametrize("name", ["new\nline.png", "tab\t.png"])
def test_json_names_the_file_exactly(tmp_path: Path, name: str) -> None:
    path = save_picture(tmp_path / name)
    (record,) = dpt("depth", path, "-o", tmp_path / "out", "--json", *SMALL).records
    assert record["input"] == str(path)


def test_plain_output_is_one_line_a_picture_whatever_its_name(tmp_path: Path) -> None:
    path = save_picture(tmp_path / "new\nline.png")
    assert len(dpt("depth", path, "-o", tmp_path / "out", *SMALL).lines) == 1


def test_bad_pictures_are_named_and_the_rest_goes_on(folder: Path) -> None:
    whole = save_picture(folder / "whole.jpg", (200, 200)).read_bytes()
    (folder / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "empty.png").touch()
    (folder / "text.gif").write_text("hello")
    Image.new("1", (30000, 20000)).save(folder / "bomb.png")
    (folder / "nothing").mkdir()
    out = folder.parent / "out"
    ran = dpt("depth", folder, folder / "nothing", folder / "missing.jpg", "-o", out, *SMALL)
    assert ran.code == 1
    causes = {
        "cut.jpg": "cut short",
        "empty.png": "the file is empty",
        "text.gif": "not a picture",
        "bomb.png": "megapixels",
        "nothing": "no pictures in this folder",
        "missing.jpg": "no such file",
    }
    *errors, summary = ran.errors
    assert len(errors) == len(causes)
    for name, cause in causes.items():
        (line,) = [line for line in errors if f"/{name}:" in line]
        assert line.startswith("dpt: ")
        assert cause in line
    assert summary == f"dpt: 4 of 10 done, 6 failed; results in {out}"
    assert len(files_below(out)) == 8


def test_a_bad_picture_does_not_spoil_its_batch(folder: Path) -> None:
    (folder / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\n junk")
    out = folder.parent / "out"
    assert dpt("depth", folder, "-o", out, "--format", "npy", "--batch-size", "4", *SMALL).code == 1
    singly = load("dpt-lite", size=32, engine="torch", device="cpu")
    for number in range(3):
        wanted = singly.predict(folder / f"{number}.png")
        assert isinstance(wanted, DepthMap)
        # Sums in another order in a batch.
        np.testing.assert_allclose(read_depth(out / f"{number}_depth.npy").values, wanted.values, rtol=0, atol=1e-4)


def test_a_picture_that_the_network_fails_on_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    predict = Predictor.predict_batch
    black = save_picture(folder / "black.png")
    Image.new("RGB", (40, 30)).save(black)

    def overflow(self: Predictor, sources: list[np.ndarray], *, scores: bool = False) -> list[object]:
        if any(not source.any() for source in sources):
            raise NonFiniteOutputError("the output is not finite")
        return list(predict(self, sources, scores=scores))

    monkeypatch.setattr(Predictor, "predict_batch", overflow)
    ran = dpt("depth", folder, "-o", folder.parent / "out", "--batch-size", "4", *SMALL)
    assert ran.code == 1
    assert ran.errors[0] == f"dpt: {black}: the output is not finite"
    assert "3 of 4 done, 1 failed" in ran.errors[-1]


def test_fail_fast_stops_at_the_first_failure(folder: Path) -> None:
    ran = dpt("depth", folder / "missing.jpg", folder, "-o", folder.parent / "out", "--fail-fast", *SMALL)
    assert ran.code == 1
    assert "0 of 4 done, 1 failed" in ran.errors[-1]
    assert not (folder.parent / "out").exists()


def test_skip_existing_does_what_is_missing_only(folder: Path) -> None:
    out = folder.parent / "out"
    dpt("depth", folder, "-o", out, *SMALL)
    (out / "1_depth.png").unlink()
    before = (out / "0_depth.png").stat().st_mtime_ns
    ran = dpt("depth", folder, "-o", out, "--skip-existing", *SMALL)
    assert ran.code == 0
    assert ran.errors == [f"dpt: 1 of 3 done, 2 skipped; results in {out}"]
    assert (out / "1_depth.png").is_file()
    assert (out / "0_depth.png").stat().st_mtime_ns == before


def test_skip_existing_looks_for_the_formats_that_are_wanted(folder: Path) -> None:
    out = folder.parent / "out"
    dpt("depth", folder, "-o", out, *SMALL)
    ran = dpt("depth", folder, "-o", out, "--skip-existing", "--format", "npy", *SMALL)
    assert "3 of 3 done;" in ran.errors[-1]


def test_skip_existing_wants_the_sidecar_too(folder: Path) -> None:
    out = folder.parent / "out"
    dpt("depth", folder, "-o", out, "--format", "npy", *SMALL)
    (out / "0_depth.npy.json").unlink()
    dpt("depth", folder, "-o", out, "--format", "npy", "--skip-existing", *SMALL)
    read_depth(out / "0_depth.npy")


def test_output_folder_may_be_the_input_folder(folder: Path) -> None:
    first = dpt("depth", folder, "-o", folder, "--recursive", "--format", EVERY_FORMAT, *SMALL)
    second = dpt("depth", folder, "-o", folder, "--recursive", "--format", EVERY_FORMAT, *SMALL)
    assert (first.code, second.code) == (0, 0)
    assert "3 of 3 done" in second.errors[-1]


def test_pictures_of_one_stem_keep_their_endings(tmp_path: Path) -> None:
    for name in ("x/a.jpg", "x/a.png", "y/a.jpg"):
        save_picture(tmp_path / name)
    dpt("depth", tmp_path / "x", tmp_path / "y", "-o", tmp_path / "out", "--format", "png16", *SMALL)
    assert files_below(tmp_path / "out") == {"x/a.jpg_depth.png", "x/a.png_depth.png", "y/a_depth.png"}


@pytest.mark.parametrize(
    ("mode", "name"),
    [
        ("L", "a.png"),
        ("LA", "a.png"),
        ("P", "a.png"),
        ("RGBA", "a.png"),
        ("CMYK", "a.jpg"),
        ("RGB", "a.webp"),
        ("RGB", "a.avif"),
        ("RGB", "a.tiff"),
        ("P", "a.gif"),
        ("1", "a.bmp"),
    ],
)
def test_pictures_of_every_kind(tmp_path: Path, mode: str, name: str) -> None:
    path = tmp_path / name
    with Image.open(save_picture(tmp_path / "rgb.png", (33, 47))) as image:
        image.convert(mode).save(path)
    (record,) = dpt("depth", path, "-o", tmp_path / "out", "--json", *SMALL).records
    assert (record["width"], record["height"]) == (33, 47)


def test_exif_orientation_turns_the_result(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    path = save_picture(tmp_path / "a.jpg", (40, 20), exif=exif)
    (record,) = dpt("depth", path, "-o", tmp_path / "out", "--json", *SMALL).records
    assert (record["width"], record["height"]) == (20, 40)


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (40000, 2)])
def test_pictures_of_any_shape(tmp_path: Path, size: tuple[int, int]) -> None:
    path = save_picture(tmp_path / "a.png", size)
    ran = dpt("depth", path, "-o", tmp_path / "out", *SMALL)
    assert ran.code == 0
    assert read_depth(tmp_path / "out" / "a_depth.png").size == size[::-1]


def test_a_hundred_megapixels(tmp_path: Path) -> None:
    Image.new("RGB", (10_000, 10_000), (30, 90, 200)).save(tmp_path / "a.png", compress_level=1)
    ran = dpt("depth", tmp_path / "a.png", "-o", tmp_path / "out", "--format", "png16", "--json", *SMALL)
    assert ran.code == 0
    assert ran.records[0]["width"] == 10_000


def test_names_in_any_script(tmp_path: Path) -> None:
    names = ["日本語 ünïcode \N{GRINNING FACE}", "مرحبا", "[brackets] *star?", "-dash", "a.b.c"]
    for name in names:
        save_picture(tmp_path / "in" / f"{name}.png")
    ran = dpt("depth", tmp_path / "in", "-o", tmp_path / "out", "--format", "png16", "--json", *SMALL)
    assert ran.code == 0
    assert files_below(tmp_path / "out") == {f"{name}_depth.png" for name in names}
    assert {Path(record["input"]).stem for record in ran.records} == set(names)


def test_standard_input(tmp_path: Path) -> None:
    data = save_picture(tmp_path / "a.png").read_bytes()
    ran = dpt("depth", "-", "-o", tmp_path / "out", "--format", "npy", "--json", *SMALL, stdin=data)
    assert ran.records[0]["input"] == "standard input"
    dpt("depth", tmp_path / "a.png", "-o", tmp_path / "out", "--format", "npy", *SMALL)
    np.testing.assert_array_equal(np.load(tmp_path / "out/stdin_depth.npy"), np.load(tmp_path / "out/a_depth.npy"))
    empty = dpt("depth", "-", "-o", tmp_path / "out", *SMALL)
    assert empty.code == 1
    assert empty.errors[0].endswith("the file is empty")


def test_background_shows_through(tmp_path: Path) -> None:
    Image.new("RGBA", (40, 30), (0, 0, 0, 0)).save(tmp_path / "clear.png")
    Image.new("RGB", (40, 30), (16, 32, 64)).save(tmp_path / "opaque.png")
    dpt("depth", tmp_path, "-o", tmp_path / "o", "--format", "npy", "--background", "#102040", *SMALL)
    np.testing.assert_array_equal(np.load(tmp_path / "o/clear_depth.npy"), np.load(tmp_path / "o/opaque_depth.npy"))


def test_precision_is_recorded(tmp_path: Path) -> None:
    path = save_picture(tmp_path / "a.png")
    ran = dpt("depth", path, "-o", tmp_path, "--precision", "bfloat16", "--json", *SMALL)
    assert ran.records[0]["precision"] == "bfloat16"
    assert read_depth(tmp_path / "a_depth.png").provenance.precision == "bfloat16"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--model", "dpt-larg"], "did you mean dpt-large?"),
        (["--model", "dpt-hybrid-ade20k"], "use dpt segment"),
        (["--model", "missing.safetensors"], "no such model file"),
        (["--device", "gpu"], "'gpu' is not available"),
        (["--precision", "float8"], "'float8' is none of auto, float32, bfloat16, float16"),
        (["--size", "100"], "100 is not a positive multiple of 32"),
        (["--format", "png16,pgn"], "'pgn' is none of png16"),
        (["--colormap", "infrno"], "did you mean inferno?"),
        (["--vmin", "3", "--vmax", "1"], "must be below"),
        (["--batch-size", "0"], "--batch-size"),
        (["--background", "blu"], "'blu' is not a colour"),
        (["--jsn"], "--json"),
    ],
)
def test_wrong_usage_is_exit_code_2_and_writes_nothing(tmp_path: Path, options: list[str], said: str) -> None:
    path = save_picture(tmp_path / "a.png")
    ran = dpt("depth", path, "-o", tmp_path / "out", *options)
    assert ran.code == 2
    assert said in ran.errors[-1]
    assert ran.lines == []
    assert not (tmp_path / "out").exists()


def test_no_inputs_is_exit_code_2() -> None:
    assert dpt("depth").code == 2


@pytest.mark.parametrize("options", [["--vmin", "nan"], ["--vmax", "inf"], ["--precision", "x"], ["--model", "x"]])
def test_wrong_usage_is_seen_before_any_picture(tmp_path: Path, options: list[str]) -> None:
    assert dpt("depth", tmp_path, "-o", tmp_path / "out", *options).code == 2


def test_missing_or_broken_weights_are_one_line(tmp_path: Path) -> None:
    path = save_picture(tmp_path / "a.png")
    (tmp_path / "junk.safetensors").write_bytes(b"junk")
    for options in (["--weights", "missing.pt"], ["--weights", f"{tmp_path}/junk.safetensors"]):
        ran = dpt("depth", path, "-o", tmp_path / "out", *options)
        assert ran.code in (1, 2)
        assert len(ran.errors) == 1
        assert options[1] in ran.errors[0]


@pytest.mark.parametrize(
    "error",
    [torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 16 MiB.\nSee more"), MemoryError("too little")],
)
def test_a_model_that_does_not_fit_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(TorchBackend, "__init__", fail)
    ran = dpt("depth", save_picture(tmp_path / "a.png"), "-o", tmp_path / "out", *SMALL)
    assert (ran.code, ran.lines) == (1, [])
    assert ran.errors == [f"dpt: not enough memory ({str(error).splitlines()[0]})"]


def test_a_picture_as_model_is_called_what_it_is(tmp_path: Path) -> None:
    path = save_picture(tmp_path / "a.png")
    (line,) = dpt("depth", path, "--model", path).errors
    assert "run code" not in line


def test_an_unwritable_folder_is_named_for_each_picture(folder: Path) -> None:
    (folder.parent / "file").touch()
    ran = dpt("depth", folder, "-o", folder.parent / "file", *SMALL)
    assert ran.code == 1
    assert len(ran.errors) == 4
    assert all("cannot write" in line and "Not a directory" in line for line in ran.errors[:3])


def test_summary_of_nothing_written_points_to_no_folder(tmp_path: Path) -> None:
    ran = dpt("depth", tmp_path / "missing.jpg", "-o", tmp_path / "out", *SMALL)
    assert ran.errors[-1] == "dpt: 0 of 1 done, 1 failed"


def test_a_write_that_fails_leaves_the_other_pictures(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_depth = image_io.write_depth

    def full(path: Path, *rest: Any, **options: Any) -> image_io.WrittenDepth:
        if path.name == "1_depth_color.png":
            raise OutputWriteError(f"cannot write {path}: No space left on device")
        return write_depth(path, *rest, **options)

    monkeypatch.setattr(image_io, "write_depth", full)
    out = folder.parent / "out"
    ran = dpt("depth", folder, "-o", out, *SMALL)
    assert ran.code == 1
    assert ran.errors[0] == f"dpt: cannot write {out}/1_depth_color.png: No space left on device"
    assert "2 of 3 done, 1 failed" in ran.errors[1]
    assert "1_depth_color.png" not in files_below(out)


def test_colour_files_are_not_mistaken_for_depth(tmp_path: Path) -> None:
    dpt("depth", save_picture(tmp_path / "a.png"), "-o", tmp_path, *SMALL)
    with pytest.raises(ImageReadError, match="shows depth but does not hold it"):
        read_depth(tmp_path / "a_depth_color.png")


@pytest.fixture
def many(tmp_path: Path) -> list[Path]:
    """Nine pictures of several sizes and one that is broken, in the order in which they are given."""
    paths = [save_picture(tmp_path / "in" / f"{n}.png", (40 + 150 * (n % 3), 30), n) for n in (5, 2, 8, 0, 7, 1, 9, 3)]
    bad = tmp_path / "in" / "bad.png"
    bad.write_bytes(b"no picture")
    return [*paths[:4], bad, *paths[4:]]


@pytest.mark.parametrize("batch", ["1", "2"])
def test_pictures_side_by_side_are_those_of_one_at_a_time_in_the_order_given(
    many: list[Path], tmp_path: Path, batch: str
) -> None:
    options = ("--format", "npy,png16", "--batch-size", batch, *SMALL)
    ran = dpt("depth", *many, "-o", tmp_path / "together", "--json", *options)
    assert [record["input"] for record in ran.records] == [str(path) for path in many]
    for number in range(0, len(many), int(batch)):
        dpt("depth", *many[number : number + int(batch)], "-o", tmp_path / "alone", *options)
    written = files_below(tmp_path / "together")
    assert written == files_below(tmp_path / "alone")
    assert len(written) == 8 * 3
    for name in written:
        assert (tmp_path / "together" / name).read_bytes() == (tmp_path / "alone" / name).read_bytes(), name


def test_a_full_disk_ends_the_run_in_one_line(
    many: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_depth = image_io.write_depth

    def full(path: Path, *rest: Any, **options: Any) -> image_io.WrittenDepth:
        if path.name in ("5_depth.png", "2_depth.png"):
            return write_depth(path, *rest, **options)
        cause = OSError(errno.ENOSPC, "No space left on device")
        raise OutputWriteError(f"cannot write {path}: No space left on device") from cause

    monkeypatch.setattr(image_io, "write_depth", full)
    ran = dpt("depth", *many, "-o", tmp_path / "out", "--format", "png16", *SMALL)
    assert ran.code == 1
    full_disk = [line for line in ran.errors if "No space" in line]
    assert full_disk == [f"dpt: cannot write {tmp_path}/out/8_depth.png: No space left on device"]
    assert ran.errors[-1].startswith("dpt: 2 of 9 done, ")
    assert files_below(tmp_path / "out") == {"5_depth.png", "2_depth.png"}


def test_a_picture_that_found_no_memory_beside_others_is_done_alone(
    many: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    predict, lock = Predictor.predict_batch, threading.Lock()

    def crowded(self: Predictor, sources: list[np.ndarray], *, scores: bool = False) -> list[Any]:
        if threading.current_thread() is not threading.main_thread() and sources[0].shape[1] > 300:
            raise MemoryError
        with lock:
            return list(predict(self, sources, scores=scores))

    monkeypatch.setattr(Predictor, "predict_batch", crowded)
    ran = dpt("depth", *many, "-o", tmp_path / "out", "--json", *SMALL)
    assert [record["input"] for record in ran.records] == [str(path) for path in many]
    assert ran.errors[-1].startswith("dpt: 8 of 9 done, 1 failed")
