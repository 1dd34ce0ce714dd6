"""The predictor: every kind of source agrees, batches equal single pictures, streams are lazy, threads agree."""

from __future__ import annotations

import itertools
import threading
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image

from dptkit import Predictor, load
from dptkit.errors import ConfigError, ImageReadError, NonFiniteOutputError, UnknownModelError, WeightsError
from dptkit.outputs import DepthMap, SegmentationMap
from dptkit.presets import PRESETS, Preset
from dptkit.runtime.backend import Precision
from dptkit.runtime.torch_backend import TorchBackend
from dptkit.weights.convert import convert_from_ours
from dptkit.weights.layouts import Layout
from dptkit.weights.tensor_file import write_tensors
from miniatures import build_miniature, miniature_spec

Picture = npt.NDArray[np.uint8]

ROUNDING = 1e-5
"""Of the result's range or size: float32 sums taken in another order, as in a larger batch. Seen: below 1e-6."""


def picture(height: int = 48, width: int = 64, seed: int = 0) -> Picture:
    """Smooth and coloured, so that a swap of channels or sides shows."""
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 256, (5, 6, 3), dtype=np.uint8))
    return np.array(small.resize((width, height), Image.Resampling.BICUBIC))


@pytest.fixture(scope="module")
def lite() -> Predictor:
    return load("dpt-lite", size=64, engine="torch", device="cpu")


def predictor_of(name: str, precision: Precision = "float32", head_bias: float | None = None) -> Predictor:
    network = build_miniature(name)
    if head_bias is not None:
        network.head.conv3.bias.data.fill_(head_bias)
    return Predictor(miniature_spec(name), TorchBackend(network, "cpu", precision))


def depth(predictor: Predictor, source: object) -> npt.NDArray[np.float32]:
    result = predictor.predict(source)
    assert isinstance(result, DepthMap)
    return result.values


def assert_close(found: npt.NDArray[np.float32], wanted: npt.NDArray[np.float32]) -> None:
    scale = max(float(np.ptp(wanted)), float(np.abs(wanted).max()))  # one pixel has no range
    np.testing.assert_allclose(found, wanted, rtol=0, atol=ROUNDING * scale)


def test_path_bytes_pil_array_and_tensor_agree_to_the_bit(lite: Predictor, tmp_path: Path) -> None:
    image = picture()
    path = tmp_path / "日本語.png"
    Image.fromarray(image).save(path)
    channels_first = torch.from_numpy(image).permute(2, 0, 1)
    wanted = depth(lite, image)
    assert wanted.shape == image.shape[:2]
    for source in (path, str(path), path.read_bytes(), Image.open(path), channels_first, channels_first / 255):
        np.testing.assert_array_equal(depth(lite, source), wanted)
    with path.open("rb") as file:
        np.testing.assert_array_equal(depth(lite, file), wanted)


def test_channel_order_and_sides_matter(lite: Predictor) -> None:
    """Otherwise the agreement above would say little."""
    image = picture()
    wanted = depth(lite, image)
    tolerance = 100 * ROUNDING * np.ptp(wanted)
    assert np.abs(depth(lite, image[:, :, ::-1]) - wanted).max() > tolerance
    assert np.abs(depth(lite, image[:, ::-1])[:, ::-1] - wanted).max() > tolerance


def test_sources_are_left_alone(lite: Predictor) -> None:
    image = picture()
    before = image.copy()
    result = lite.predict(image)
    assert isinstance(result, DepthMap)
    result.values[:] = 0
    np.testing.assert_array_equal(image, before)


def test_background_shows_through(tmp_path: Path) -> None:
    alpha = np.dstack([picture(), np.zeros((48, 64), np.uint8)])
    black = load("dpt-lite", size=64, engine="torch", device="cpu", background=(0, 0, 0))
    np.testing.assert_array_equal(depth(black, alpha), depth(black, np.zeros((48, 64, 3), np.uint8)))


def test_result_says_where_it_comes_from(lite: Predictor) -> None:
    origin = lite.predict(picture(48, 96)).provenance
    assert (origin.model, origin.engine, origin.precision) == ("dpt-lite", "torch", "float32")
    assert origin.network_size == (64, 128)
    assert origin.weights_sha256 is not None
    assert len(origin.weights_sha256) == 64


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (500, 1), (7, 3)])
def test_tiny_and_thin_pictures(lite: Predictor, size: tuple[int, int]) -> None:
    assert depth(lite, np.full((*size, 3), 99, np.uint8)).shape == size


def test_batch_of_mixed_sizes_equals_single_pictures_in_order(lite: Predictor) -> None:
    # Two that share a network size with a third of other size between them, and two whose network size is one
    # although their own sizes differ.
    images = [picture(48, 64, 1), picture(96, 40, 2), picture(48, 64, 3), picture(60, 80, 4), picture(1, 1, 5)]
    batch = lite.predict_batch(images)
    assert [result.size for result in batch] == [image.shape[:2] for image in images]
    for image, result in zip(images, batch, strict=True):
        assert isinstance(result, DepthMap)
        assert_close(result.values, depth(lite, image))


def test_batch_of_segmentations_equals_single_pictures() -> None:
    predictor = predictor_of("dpt-hybrid-ade20k")
    images = [picture(48, 64, 1), picture(64, 48, 2), picture(48, 64, 3)]
    for image, result in zip(images, predictor.predict_batch(images, scores=True), strict=True):
        single = predictor.predict(image, scores=True)
        assert isinstance(result, SegmentationMap)
        assert isinstance(single, SegmentationMap)
        assert result.scores is not None
        assert single.scores is not None
        np.testing.assert_allclose(result.scores, single.scores, rtol=0, atol=1e-4)
        # Two classes may be level within rounding at a border between them.
        assert np.mean(result.labels != single.labels) < 0.001


def test_no_pictures(lite: Predictor) -> None:
    assert lite.predict_batch([]) == []
    assert list(lite.predict_stream([])) == []


def test_a_bad_picture_in_a_batch_is_named(lite: Predictor, tmp_path: Path) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no picture")
    with pytest.raises(ImageReadError, match=r"broken\.jpg: "):
        lite.predict_batch([picture(), broken])


@pytest.mark.parametrize("batch_size", [1, 3])
def test_stream_of_endless_pictures_reads_no_further_than_its_batch(lite: Predictor, batch_size: int) -> None:
    taken = 0

    def endless() -> Iterator[Picture]:
        nonlocal taken
        for seed in itertools.count():
            taken += 1
            yield picture(seed=seed)

    stream = lite.predict_stream(endless(), batch_size=batch_size)
    assert taken == 0
    for number, result in enumerate(itertools.islice(stream, 7)):
        assert taken == (number // batch_size + 1) * batch_size
        assert isinstance(result, DepthMap)
        assert_close(result.values, depth(lite, picture(seed=number)))
    stream.close()  # type: ignore[attr-defined]


def held_by_stream(predictor: Predictor, batch_size: int, count: int) -> list[int]:
    """How many earlier pictures are still in memory whenever the stream asks for another, and after each result."""
    made: list[weakref.ref[Picture]] = []
    held: list[int] = []

    def alive() -> int:
        return sum(reference() is not None for reference in made)

    def source() -> Iterator[Picture]:
        for seed in range(count):
            image = picture(seed=seed)
            made.append(weakref.ref(image))
            held.append(alive())
            yield image
            del image

    for result in predictor.predict_stream(source(), batch_size=batch_size):
        del result
        held.append(alive())
    return held


def test_stream_holds_no_more_however_long_it_is(lite: Predictor) -> None:
    assert max(held_by_stream(lite, 2, 12)) == max(held_by_stream(lite, 2, 6))


@pytest.mark.parametrize("batch_size", [1, 4])
def test_stream_holds_no_more_than_its_batch(lite: Predictor, batch_size: int) -> None:
    assert max(held_by_stream(lite, batch_size, 3 * batch_size)) <= batch_size


def test_stream_goes_through_a_batch_that_is_not_full(lite: Predictor) -> None:
    assert len(list(lite.predict_stream([picture(seed=seed) for seed in range(5)], batch_size=3))) == 5


def test_stream_refuses_an_impossible_batch(lite: Predictor) -> None:
    with pytest.raises(ValueError, match="batch_size must be at least 1"):
        next(iter(lite.predict_stream([picture()], batch_size=0)))


def test_threads_on_one_predictor_give_the_serial_results(lite: Predictor) -> None:
    images = [picture(48, 48 + 16 * (seed % 4), seed) for seed in range(24)]
    serial = [depth(lite, image) for image in images]
    start = threading.Barrier(6)

    def work(worker: int) -> list[npt.NDArray[np.float32]]:
        start.wait(timeout=30)
        return [depth(lite, image) for image in images[worker::6]]

    with ThreadPoolExecutor(6) as pool:
        parts = list(pool.map(work, range(6)))
    for worker, part in enumerate(parts):
        for found, wanted in zip(part, serial[worker::6], strict=True):
            assert_close(found, wanted)


def test_threads_on_two_models_do_not_disturb_each_other(lite: Predictor) -> None:
    metric = predictor_of("dpt-hybrid-nyu")
    image = picture()
    wanted = {predictor.spec.name: depth(predictor, image) for predictor in (lite, metric)}
    with ThreadPoolExecutor(4) as pool:
        jobs = [(predictor, pool.submit(depth, predictor, image)) for predictor in (lite, metric) * 6]
        for predictor, job in jobs:
            assert_close(job.result(timeout=60), wanted[predictor.spec.name])


def test_bfloat16_is_near_float32(lite: Predictor) -> None:
    low = load("dpt-lite", size=64, engine="torch", device="cpu", precision="bfloat16").predict(picture())
    assert isinstance(low, DepthMap)
    assert low.values.dtype == np.float32
    assert low.provenance.precision == "bfloat16"
    wanted = depth(lite, picture())
    # bfloat16 keeps 8 bits: an error of 1/256 a layer, which grows through some tens of layers. Seen: 0.014.
    assert np.abs(low.values - wanted).max() < 0.1 * np.ptp(wanted)
    assert not np.array_equal(low.values, wanted)


@pytest.mark.parametrize(
    ("precision", "value"),
    [
        ("float16", 1e5),  # the largest float16 is 65504
        ("bfloat16", 3.4e38),  # the largest bfloat16 is 3.3895e38, the largest float32 3.4028e38
        ("float32", float("nan")),
        ("float32", float("inf")),
    ],
)
def test_overflow_is_an_error_not_a_picture(precision: Precision, value: float) -> None:
    image = picture(384, 384)  # the network's own size: no interpolation afterwards
    with pytest.raises(NonFiniteOutputError, match=f"not finite in {precision}") as caught:
        predictor_of("dpt-large", precision, value).predict(image)
    assert "\n" not in str(caught.value)
    if np.isfinite(value):
        assert "use precision float32" in str(caught.value)
        assert np.isfinite(depth(predictor_of("dpt-large", "float32", value), image)).all()


class Stripes:
    """An engine whose finite output overflows when it is interpolated."""

    engine, precision, device = "torch", "float32", "cpu"

    def predict(self, images: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        batch, _, height, width = images.shape
        stripes = np.float32(3.4e38) * (np.arange(width) // 8 % 2 == 0)
        return np.broadcast_to(stripes, (batch, 1, height, width)).astype(np.float32)


def test_overflow_between_pixels_is_an_error_of_ours() -> None:
    with pytest.raises(NonFiniteOutputError):
        Predictor(miniature_spec("dpt-large"), Stripes()).predict(picture(700, 700))


@pytest.mark.parametrize("device", ["gpu", "cuda:99", "mps:7", "meta", "", "cpu:foo"])
def test_a_device_that_is_not_there_is_one_line(device: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load("dpt-lite", device=device)
    assert repr(device) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_unknown_precision_is_one_line() -> None:
    with pytest.raises(ConfigError, match=r"float8.*float32, bfloat16, float16"):
        load("dpt-lite", precision="float8")  # type: ignore[arg-type]


@pytest.mark.parametrize("size", [0, -32, 100, 31])
def test_a_size_that_does_not_fit_is_one_line(size: int) -> None:
    with pytest.raises(ConfigError, match=f"{size} is not a positive multiple of 32"):
        load("dpt-lite", engine="torch", size=size)


def test_an_unknown_model_names_the_nearest() -> None:
    with pytest.raises(UnknownModelError, match=r"dpt-hybird: .*did you mean dpt-hybrid\?"):
        load("dpt-hybird")


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> dict[str, Preset]:
    """dpt-hybrid and dpt-hybrid-nyu in miniature, in the place of the real ones."""
    small = {name: Preset(miniature_spec(name), 0) for name in ("dpt-hybrid", "dpt-hybrid-nyu", "dpt-large")}
    for name, preset in small.items():
        monkeypatch.setitem(PRESETS, name, preset)
    return small


@pytest.mark.parametrize(
    ("layout", "suffix"), [("dptkit", ".safetensors"), ("isl", ".pt"), ("isl", ".safetensors"), ("hf", ".safetensors")]
)
def test_own_weights_in_any_layout(
    published: dict[str, Preset], tmp_path: Path, layout: Layout | str, suffix: str
) -> None:
    network = build_miniature("dpt-hybrid", seed=7)
    spec = published["dpt-hybrid"].spec
    tensors = network.state_dict()
    file = tmp_path / f"mine{suffix}"
    write_tensors(file, tensors if layout == "dptkit" else convert_from_ours(tensors, spec.model, layout))  # type: ignore[arg-type]
    wanted = depth(Predictor(spec, TorchBackend(network, "cpu")), picture())
    assert_close(depth(load("dpt-hybrid", weights=file, engine="torch", device="cpu"), picture()), wanted)
    # The architecture is one, but the meaning is the preset's: the same file under a metric name gives metres.
    metric = load("dpt-hybrid-nyu", weights=str(file), engine="torch", device="cpu").predict(picture())
    assert isinstance(metric, DepthMap)
    assert metric.quantity == "depth_m"


def test_own_model_loads_by_path_without_a_preset(tmp_path: Path) -> None:
    network, spec = build_miniature("dpt-hybrid-kitti", seed=3), miniature_spec("dpt-hybrid-kitti")
    file = tmp_path / "my model.safetensors"
    write_tensors(file, network.state_dict(), spec)
    wanted = depth(Predictor(spec, TorchBackend(network, "cpu")), picture())
    for model in (file, str(file)):
        predictor = load(model, engine="torch", device="cpu")
        assert predictor.spec == spec
        assert_close(depth(predictor, picture()), wanted)


def test_weights_that_do_not_fit_are_one_line(published: dict[str, Preset], tmp_path: Path) -> None:
    large = tmp_path / "large.safetensors"
    write_tensors(large, build_miniature("dpt-large").state_dict())
    whole = tmp_path / "whole.safetensors"
    write_tensors(whole, build_miniature("dpt-large").state_dict(), published["dpt-large"].spec)
    junk = tmp_path / "junk.safetensors"
    junk.write_bytes(b"junk")
    empty = tmp_path / "empty.pt"
    empty.touch()
    for file in (large, whole, junk, empty, tmp_path / "missing.pt"):
        with pytest.raises(WeightsError) as caught:
            load("dpt-hybrid", weights=file)
        assert file.name in str(caught.value)
        assert "\n" not in str(caught.value)
    with pytest.raises(WeightsError, match="does not say which network"):
        load(large)
    with pytest.raises(WeightsError, match="whole model already"):
        load(whole, weights=large)


@pytest.mark.parametrize("batch_size", [1, 3])
def test_stream_by_threads_gives_the_same_in_the_same_order(lite: Predictor, batch_size: int) -> None:
    images = [picture(48, 48 + 16 * (seed % 4), seed) for seed in range(10)]
    serial = list(lite.predict_stream(images, batch_size=batch_size))
    side_by_side = list(lite.predict_stream(iter(images), batch_size=batch_size, workers=3))
    for found, wanted in zip(side_by_side, serial, strict=True):
        assert isinstance(found, DepthMap)
        assert isinstance(wanted, DepthMap)
        np.testing.assert_array_equal(found.values, wanted.values)


def test_stream_by_threads_is_bounded_and_ends_with_its_consumer(lite: Predictor, tmp_path: Path) -> None:
    taken = 0

    def endless() -> Iterator[Picture]:
        nonlocal taken
        for seed in itertools.count():
            taken += 1
            yield picture(seed=seed)

    stream = lite.predict_stream(endless(), workers=2)
    for _ in itertools.islice(stream, 5):
        pass
    assert taken <= 5 + 2 + 2 + 1  # given; at work; finished; in hand
    stream.close()  # type: ignore[attr-defined]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("dptkit-picture")]
    with pytest.raises(ImageReadError, match=r"no\.jpg"):
        list(lite.predict_stream([picture(), tmp_path / "no.jpg"], workers=2))
