"""Our models as subjects: what the network is given, what test-time augmentation averages, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch.nn.functional import interpolate

from dptkit import Predictor
from dptkit.config import ModelSpec, PreprocessConfig, SegmentationDecoding
from dptkit.errors import ConfigError
from dptkit.evaluation.own_model import OwnModel
from dptkit.evaluation.protocol import DepthProtocol, NetworkInput, OrdinalProtocol, Protocol, SegmentationProtocol
from dptkit.evaluation.subject import ImagePredictor
from dptkit.outputs import DepthMap, SegmentationMap
from dptkit.postprocess import resize_map
from dptkit.preprocess import preprocess
from dptkit.runtime.backend import Backend
from dptkit.runtime.torch_backend import TorchBackend
from dptkit.tta import Views
from miniatures import CLASSES, build_miniature, miniature_spec

Floats = npt.NDArray[np.float32]
DEPTH = DepthProtocol("any depth", "here", (), "test", "inverse_least_squares", ("abs_rel",))
STREET = miniature_spec("dpt-lite-street")
NAMES = STREET.decoding.class_names if isinstance(STREET.decoding, SegmentationDecoding) else ()
CLASSES_OF_STREET = SegmentationProtocol("any street", "here", (), "test", NAMES)
SQUARE = NetworkInput((64, 64), "minimal")

ROUNDING = 1e-5
"""Of the range: OpenCV's interpolation weights are float32 and do not mirror to the bit. Seen: 3e-6."""


def picture(height: int, width: int, seed: int = 0) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def small(spec: ModelSpec, **changes: Any) -> ModelSpec:
    return replace(spec, preprocess=replace(spec.preprocess, size=(64, 64), **changes))


def miniature(name: str) -> Predictor:
    """Random weights. Classes are balanced, and metres spread, since a constant result mirrors by itself."""
    spec = small(miniature_spec(name))
    backend: Backend = TorchBackend(build_miniature(name), "cpu")
    if isinstance(spec.decoding, SegmentationDecoding):
        mean = backend.predict(preprocess(picture(64, 64, seed=9), spec.preprocess)[None]).mean(axis=(2, 3))
        backend = FixedBackend(lambda images, engine=backend: 20 * (engine.predict(images) - mean[:, :, None, None]))
    elif spec.decoding.quantity == "depth_m":
        spec = replace(spec, decoding=replace(spec.decoding, scale=1.0, shift=0.1))
    return Predictor(spec, backend, "0" * 64)


class FixedBackend:
    """Answers with `answer(images)`, and keeps what it was asked."""

    engine, precision, device = "fixed", "float32", "cpu"

    def __init__(self, answer: Callable[[Floats], Floats]) -> None:
        self.answer = answer
        self.asked: list[Floats] = []

    def predict(self, images: Floats) -> Floats:
        self.asked.append(images.copy())
        return np.asarray(self.answer(images), np.float32)


def fixed(name: str, raw: Any) -> Predictor:
    """A model whose raw output is always `raw` [K, h, w], for pictures of that size."""
    array = np.asarray(raw, np.float32)
    spec = miniature_spec(name)
    config = PreprocessConfig(size=(array.shape[1], array.shape[2]), multiple_of=1)
    return Predictor(replace(spec, preprocess=config), FixedBackend(lambda _: array[None]))


def depth(subject: OwnModel, image: npt.NDArray[np.uint8]) -> DepthMap:
    result = subject.predict(image)
    assert isinstance(result, DepthMap)
    return result


def labels(subject: OwnModel, image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    result = subject.predict(image)
    assert isinstance(result, SegmentationMap)
    return result.labels


@pytest.mark.parametrize("name", ["dpt-lite", "dpt-hybrid-kitti"])
def test_without_augmentation_depth_is_that_of_predict_before_its_last_resize(name: str) -> None:
    predictor, image = miniature(name), picture(50, 80)
    result = depth(OwnModel(predictor, DEPTH), image)
    wanted = predictor.predict(image)
    assert isinstance(wanted, DepthMap)
    assert result.size == result.provenance.network_size == wanted.provenance.network_size != (50, 80)
    np.testing.assert_array_equal(resize_map(result.values, (50, 80)), wanted.values)
    assert (result.quantity, result.provenance) == (wanted.quantity, wanted.provenance)


def test_without_augmentation_classes_are_those_of_predict() -> None:
    predictor, image = miniature("dpt-lite-street"), picture(50, 80)
    result, wanted = OwnModel(predictor, CLASSES_OF_STREET).predict(image), predictor.predict(image)
    assert isinstance(result, SegmentationMap)
    assert isinstance(wanted, SegmentationMap)
    assert len(np.unique(result.labels)) > 1
    np.testing.assert_array_equal(result.labels, wanted.labels)
    assert (result.class_names, result.palette, result.provenance) == (NAMES, wanted.palette, wanted.provenance)


@pytest.mark.parametrize(
    ("name", "tta", "scales"),
    [
        ("dpt-lite", "flip", (1.0,)),
        ("dpt-lite", "ms-flip", (0.5, 1.5)),  # with 1.0 the detail would be that of the picture as it is
        ("dpt-hybrid-kitti", "flip", (1.0,)),
        ("dpt-hybrid-kitti", "ms-flip", (0.5, 1.0, 1.5)),
    ],
)
def test_a_mirrored_picture_gives_the_mirrored_depth(name: str, tta: Any, scales: tuple[float, ...]) -> None:
    predictor, image = miniature(name), picture(50, 80)
    subject = OwnModel(predictor, replace(DEPTH, tta=tta, scales=scales))
    one, other = depth(subject, image), depth(subject, image[:, ::-1].copy())
    atol = ROUNDING * np.ptp(one.values)
    np.testing.assert_allclose(other.values, one.values[:, ::-1], rtol=0, atol=atol)
    plain = OwnModel(predictor, DEPTH)
    assert np.abs(depth(plain, image[:, ::-1].copy()).values - depth(plain, image).values[:, ::-1]).max() > 100 * atol


@pytest.mark.parametrize("name", ["dpt-lite", "dpt-lite-street"])
def test_mirroring_is_exact_where_nothing_is_resized(name: str) -> None:
    protocol: Protocol = DEPTH if name == "dpt-lite" else CLASSES_OF_STREET
    subject = OwnModel(miniature(name), replace(protocol, tta="flip", network_input=SQUARE))
    image = picture(64, 64)
    one, other = subject.predict(image), subject.predict(image[:, ::-1].copy())
    arrays = [m.values if isinstance(m, DepthMap) else m.labels for m in (one, other)]
    assert len(np.unique(arrays[0])) > 1
    np.testing.assert_array_equal(arrays[1], arrays[0][:, ::-1])


def test_flip_averages_metres_of_a_metric_model_by_hand() -> None:
    # 1 / raw: 2 and 4 metres in the two columns; mirrored back 4 and 2; the mean is 3 in both, not 1 / 0.375 = 2.67.
    predictor = fixed("dpt-hybrid-nyu", [[[0.5, 0.25, 0.0625], [0.5, 0.25, 0.25]]])
    decoding = replace(predictor.spec.decoding, scale=1.0, shift=0.0, cap_m=8.0)
    predictor.spec = replace(predictor.spec, decoding=decoding)
    result = depth(OwnModel(predictor, replace(DEPTH, tta="flip")), picture(2, 3))
    np.testing.assert_array_equal(result.values, np.array([[9, 4, 9], [3, 4, 3]], np.float32))
    np.testing.assert_array_equal(result.valid, [[False, True, False], [True, True, True]])  # beyond the cap of 8 m
    assert result.quantity == "depth_m"


def test_flip_averages_raw_outputs_of_a_relative_model_by_hand() -> None:
    result = depth(OwnModel(fixed("dpt-large", [[[0.5, 0.25]]]), replace(DEPTH, tta="flip")), picture(1, 2))
    np.testing.assert_array_equal(result.values, np.array([[0.375, 0.375]], np.float32))
    assert result.valid.all()
    assert result.quantity == "inverse_depth"


def test_flip_mirrors_the_network_input() -> None:
    predictor = fixed("dpt-large", [[[0.5, 0.25, 0.75]]])
    image = picture(1, 3)
    OwnModel(predictor, replace(DEPTH, tta="flip")).predict(image)
    backend = predictor.backend
    assert isinstance(backend, FixedBackend)
    wanted = preprocess(image, predictor.spec.preprocess)[None]
    np.testing.assert_array_equal(backend.asked[0], wanted)
    np.testing.assert_array_equal(backend.asked[1], wanted[..., ::-1])
    assert len(backend.asked) == 2


def test_scales_multiply_the_network_size_and_depth_is_their_mean() -> None:
    # The policy "minimal" chooses another side to fit for another size, so a larger size would not scale the input.
    predictor = miniature("dpt-large")  # minimal, 64x64: a picture of 80x110 fits by height, 64x88, rounded to 64x96
    backend = FixedBackend(lambda images: np.full((1, 1, *images.shape[2:]), images.shape[3], np.float32))
    predictor.backend = backend
    subject = OwnModel(predictor, replace(DEPTH, tta="ms-flip", scales=(0.1, 1.0, 1.75)))
    result = depth(subject, picture(80, 110))
    sizes = [asked.shape[2:] for asked in backend.asked]
    assert sizes == [(32, 32), (32, 32), (64, 96), (64, 96), (128, 160), (128, 160)]  # 3.5 multiples: 4
    assert result.size == (64, 96)
    np.testing.assert_allclose(result.values, (32 + 96 + 160) / 3, rtol=1e-6)  # float32 of a third


def test_probabilities_not_logits_are_averaged_by_hand() -> None:
    # Means of probabilities: 0.4505, 0.30, 0.2495. Logits would choose class 1: 0.9 * 0.001 < 0.1 * 0.5.
    one, other = (0.9, 0.0999, 0.0001), (0.001, 0.5, 0.499)
    spec = miniature_spec("dpt-lite-street")
    assert isinstance(spec.decoding, SegmentationDecoding)
    raw = np.full((CLASSES, 1, 2), -50.0)
    raw[:3] = np.log([one, other]).T[:, None] + [7.0, -3.0]  # softmax forgets what is added
    subject = OwnModel(fixed("dpt-lite-street", raw), replace(CLASSES_OF_STREET, tta="flip"))
    np.testing.assert_array_equal(labels(subject, picture(1, 2)), [[0, 0]])
    assert (raw + raw[..., ::-1]).argmax(axis=0).tolist() == [[1, 1]]


def test_multi_scale_classes_agree_with_torch() -> None:
    predictor, image, scales = miniature("dpt-lite-street"), picture(50, 80), (0.5, 1.0, 1.5)
    subject = OwnModel(predictor, replace(CLASSES_OF_STREET, tta="ms-flip", scales=scales))
    total = torch.zeros(CLASSES, 50, 80)
    for height, width in ((32, 32), (32, 64), (64, 96)):  # 50x80 fits by width: 40x64, rounded to 32x64
        tensor = preprocess(image, predictor.spec.preprocess, (height, width))
        for mirrored in (False, True):
            view = np.ascontiguousarray(tensor[:, :, ::-1]) if mirrored else tensor
            raw = torch.from_numpy(predictor.backend.predict(view[None]))
            raw = interpolate(raw.flip(3) if mirrored else raw, (50, 80), mode="bicubic", align_corners=False)
            total += raw.softmax(dim=1)[0] / 6
    found = labels(subject, image)
    wanted = total.argmax(dim=0).numpy()
    best = total.topk(2, dim=0).values
    clear = (best[0] - best[1]).numpy() > 1e-4  # OpenCV's and torch's bicubic differ by 1e-5 of logits of order 1
    assert clear.mean() > 0.99
    np.testing.assert_array_equal(found[clear], wanted[clear])


def test_the_protocol_sets_size_and_policy_and_the_model_the_rest() -> None:
    spec = small(miniature_spec("dpt-lite"), long_side_limit=64)
    backend = FixedBackend(lambda images: images[:, :1])
    given = NetworkInput((96, 96), "lower_bound")
    subject = OwnModel(Predictor(spec, backend), replace(DEPTH, network_input=given))
    image = picture(50, 200)
    assert depth(subject, image).size == (96, 384)
    config = replace(spec.preprocess, size=(96, 96), policy="lower_bound", long_side_limit=None)
    np.testing.assert_array_equal(backend.asked[0][0], preprocess(image, config))
    assert config.mean == (0.485, 0.456, 0.406)
    assert subject.identity.details["network_input"] == {
        "size": [96, 96], "policy": "lower_bound", "multiple_of": 32, "interpolation": "area", "set_by": "protocol",
    }  # fmt: skip


def test_identity_tells_subjects_apart_and_is_json() -> None:
    predictor = miniature("dpt-lite")
    plain = OwnModel(predictor, DEPTH)
    assert isinstance(plain, ImagePredictor)
    assert plain.identity.name == "dpt-lite"
    assert plain.identity.weights_sha256 == "0" * 64
    assert plain.identity.details["network_input"]["set_by"] == "model"
    others = [replace(DEPTH, tta="flip"), replace(DEPTH, network_input=SQUARE)]
    texts = {json.dumps(OwnModel(predictor, protocol).identity.details) for protocol in (DEPTH, *others)}
    assert len(texts) == 3
    assert {"engine", "precision", "device", "tta", "scales"} <= set(plain.identity.details)


def test_a_model_of_the_wrong_task_is_refused() -> None:
    ordinal = OrdinalProtocol("pairs", "here", (), "test", ("whdr",))
    with pytest.raises(ConfigError, match="dpt-lite-street predicts classes, but protocol any depth scores depth"):
        OwnModel(miniature("dpt-lite-street"), DEPTH)
    with pytest.raises(ConfigError, match="dpt-lite predicts depth, but protocol any street scores classes: use a seg"):
        OwnModel(miniature("dpt-lite"), CLASSES_OF_STREET)
    with pytest.raises(ConfigError, match="predicts classes, but protocol pairs scores which of two points is nearer"):
        OwnModel(miniature("dpt-lite-street"), ordinal)
    assert OwnModel(miniature("dpt-lite"), ordinal).protocol is ordinal


def test_other_classes_are_refused_by_the_first_that_differs() -> None:
    names = list(NAMES)
    names[2:4] = names[3], names[2]
    with pytest.raises(ConfigError, match=f"class 2 is {NAMES[2]!r}, in protocol any street it is {NAMES[3]!r}"):
        OwnModel(miniature("dpt-lite-street"), replace(CLASSES_OF_STREET, classes=tuple(names)))
    for classes, one in ((NAMES[:4], f"4: class 4, {NAMES[4]!r}"), ((*NAMES, "fence"), "6: class 5, 'fence'")):
        with pytest.raises(ConfigError, match=f"has 5 classes, protocol any street {one}, is in one of them only"):
            OwnModel(miniature("dpt-lite-street"), replace(CLASSES_OF_STREET, classes=classes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"scales": (0.5, 1.0)}, "scales are for tta 'ms-flip', not 'none'"),
        ({"tta": "flip", "scales": (0.5,)}, "not 'flip'"),
        ({"tta": "ms-flip", "scales": ()}, "positive numbers"),
        ({"tta": "ms-flip", "scales": (1.0, 0.0)}, "positive numbers"),
        ({"tta": "ms-flip", "scales": (1.0, float("nan"))}, "positive numbers"),
        ({"network_input": NetworkInput((0, 64), "minimal")}, "is empty"),
    ],
)
def test_augmentation_without_sense_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        OwnModel(miniature("dpt-lite"), replace(DEPTH, **changes))


def test_two_threads_agree_with_one() -> None:
    subject = OwnModel(miniature("dpt-lite"), replace(DEPTH, tta="flip"))
    pictures = [picture(50, 60 + 10 * number, number) for number in range(6)]
    wanted = [depth(subject, image).values for image in pictures]
    with ThreadPoolExecutor(2) as pool:
        for found, one in zip(pool.map(lambda image: depth(subject, image).values, pictures), wanted, strict=True):
            np.testing.assert_array_equal(found, one)


def test_a_predictor_with_an_augmentation_of_its_own_is_refused() -> None:
    plain = miniature("dpt-lite")
    with pytest.raises(ConfigError, match="loaded with tta 'flip': load it without, and set the protocol's tta"):
        OwnModel(Predictor(plain.spec, plain.backend, views=Views("flip")), DEPTH)
