"""transformers' models as subjects, against direct calls of tiny random ones."""

from __future__ import annotations

import json
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image
from torch.nn.functional import interpolate
from transformers import DPTConfig, DPTForDepthEstimation, DPTForSemanticSegmentation

from dptkit.errors import ConfigError, NonFiniteOutputError
from dptkit.evaluation.subject import ImagePredictor
from dptkit.evaluation.transformers_model import TransformersModel
from dptkit.outputs import DepthMap, SegmentationMap

SIDE, NAMES = 64, {0: "road", 1: "sky", 2: "tree"}
SIZE = (40, 56)


@dataclass
class Size:
    """As transformers' SizeDict."""

    height: int = SIDE
    width: int = SIDE
    longest_edge: int | None = None


class SquareProcessor:
    """What AutoImageProcessor would give, without torchvision: squashed to a square, as Intel/dpt-large's does."""

    size = Size()
    resample = Image.Resampling.BICUBIC
    do_pad = False

    def __call__(self, images: Image.Image, return_tensors: str) -> dict[str, torch.Tensor]:
        assert return_tensors == "pt"
        assert images.mode == "RGB"
        pixels = np.asarray(images.resize((SIDE, SIDE), self.resample), np.float32) / 127.5 - 1
        return {"pixel_values": torch.from_numpy(pixels).permute(2, 0, 1)[None]}


def build(kind: type[Any], seed: int = 0) -> Any:
    torch.manual_seed(seed)
    config = DPTConfig(
        hidden_size=32, num_hidden_layers=4, num_attention_heads=2, intermediate_size=64, image_size=SIDE,
        backbone_out_indices=[0, 1, 2, 3], neck_hidden_sizes=[8, 12, 16, 20], fusion_hidden_size=16,
        num_labels=len(NAMES), id2label=NAMES,
    )  # fmt: skip
    model = kind(config).eval()
    with torch.no_grad():
        for tensor in model.parameters():
            if tensor.ndim > 1:  # its own initial weights give nearly the same everywhere
                tensor.normal_(0, tensor[0].numel() ** -0.5)
    return model


@pytest.fixture(scope="module")
def depth_model() -> Any:
    model = build(DPTForDepthEstimation)
    with torch.no_grad():
        model.head.head[4].bias.fill_(0.5)  # off the final ReLU's zero
    return model


@pytest.fixture(scope="module")
def class_model() -> Any:
    model = build(DPTForSemanticSegmentation)
    with torch.no_grad():
        logits = direct(model).logits
        model.head.head[4].bias.sub_(logits.mean(dim=(0, 2, 3)))  # so that no class wins everywhere
    return model


@pytest.fixture
def picture() -> npt.NDArray[np.uint8]:
    return image()


def image() -> npt.NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (*SIZE, 3), dtype=np.uint8)


@torch.no_grad()
def direct(model: Any) -> Any:
    return model(**SquareProcessor()(Image.fromarray(image()), "pt"))


@pytest.mark.parametrize("quantity", ["inverse_depth", "depth_m"])
def test_depth_is_the_model_s_own_at_its_size(depth_model: Any, picture: Any, quantity: Any) -> None:
    subject = TransformersModel(depth_model, SquareProcessor(), quantity)
    assert isinstance(subject, ImagePredictor)
    result = subject.predict(picture)
    assert isinstance(result, DepthMap)
    np.testing.assert_array_equal(result.values, direct(depth_model).predicted_depth[0].numpy())
    assert (result.quantity, result.size, result.provenance.network_size) == (quantity, (SIDE, SIDE), (SIDE, SIDE))


def test_classes_are_those_of_the_logits_resized_to_the_picture(class_model: Any, picture: Any) -> None:
    result = TransformersModel(class_model, SquareProcessor(), "labels").predict(picture)
    assert isinstance(result, SegmentationMap)
    logits = interpolate(direct(class_model).logits, SIZE, mode="bicubic", align_corners=False)[0]
    best = logits.topk(2, dim=0).values
    clear = (best[0] - best[1] > 1e-4).numpy()  # OpenCV's and torch's bicubic differ by rounding
    assert clear.mean() > 0.9
    assert len(np.unique(result.labels)) > 1
    np.testing.assert_array_equal(result.labels[clear], logits.argmax(dim=0).numpy()[clear])
    assert result.class_names == ("road", "sky", "tree")


def test_depth_that_is_not_positive_is_no_depth(picture: Any) -> None:
    model = stub(predicted_depth=torch.tensor([[[0.0, -1.0, 2.0]]]))
    metric = TransformersModel(model, SquareProcessor(), "depth_m").predict(picture)
    relative = TransformersModel(model, SquareProcessor(), "inverse_depth").predict(picture)
    assert isinstance(metric, DepthMap)
    assert isinstance(relative, DepthMap)
    assert metric.valid.tolist() == [[False, False, True]]
    assert relative.valid.all()


def stub(training: bool = False, names: dict[int, str] = NAMES, dtype: torch.dtype = torch.float32, **out: Any) -> Any:
    class Stub(torch.nn.Linear):
        config = SimpleNamespace(_name_or_path="lab/stub", id2label=names)

        def forward(self, pixel_values: torch.Tensor, ids: torch.Tensor | None = None) -> Any:
            assert pixel_values.dtype == dtype
            assert ids is None or ids.dtype == torch.int64
            return SimpleNamespace(**out)

    return Stub(1, 1).to(dtype).train(training)


def test_inputs_take_the_model_s_precision_but_whole_numbers_stay(picture: Any) -> None:
    class WithIds(SquareProcessor):
        def __call__(self, images: Image.Image, return_tensors: str) -> dict[str, Any]:
            return super().__call__(images, return_tensors) | {"ids": torch.tensor([1])}

    model = stub(dtype=torch.bfloat16, predicted_depth=torch.ones(1, 1, 2, 3, dtype=torch.bfloat16))
    subject = TransformersModel(model, WithIds(), "inverse_depth")
    result = subject.predict(picture)
    assert isinstance(result, DepthMap)
    assert (result.size, result.values.dtype) == ((2, 3), np.float32)
    assert result.provenance.precision == subject.identity.details["precision"] == "bfloat16"


def test_identity_says_what_ran_and_is_json() -> None:
    identity = TransformersModel(stub(), SquareProcessor(), "depth_m").identity
    assert identity.name == "lab/stub"
    assert {"transformers", "model", "processor", "device"} <= set(json.loads(json.dumps(identity.details)))
    assert identity.details["processor_size"] == {"height": SIDE, "width": SIDE}
    assert identity.details["processor_resample"] == int(Image.Resampling.BICUBIC)


def test_processors_that_pad_need_a_decoder(picture: Any) -> None:
    class Padding(SquareProcessor):
        do_pad = True

    padded = torch.arange(12.0).reshape(1, 3, 4)
    model = stub(predicted_depth=padded)
    with pytest.raises(ConfigError, match=r"lab/stub: its processor has do_pad=True.*pass decode="):
        TransformersModel(model, Padding(), "inverse_depth")

    def decode(output: Any, size: tuple[int, int]) -> Any:
        assert size == SIZE
        return output.predicted_depth[0, :2, :3]

    result = TransformersModel(model, Padding(), "inverse_depth", decode=decode).predict(picture)
    assert isinstance(result, DepthMap)
    assert result.values.tolist() == [[0, 1, 2], [4, 5, 6]]


def test_a_decoder_of_labels(picture: Any) -> None:
    model = stub()
    ids = [[0, 1, 2, 255]]
    result = TransformersModel(model, SquareProcessor(), "labels", decode=lambda *_: ids).predict(picture)
    assert isinstance(result, SegmentationMap)
    assert result.labels.tolist() == ids
    for wrong in ([[3]], [[-1]], [[0.5]], [[256]]):
        with pytest.raises(ConfigError, match=r"no class ids \(0 to 2\)"):
            TransformersModel(model, SquareProcessor(), "labels", decode=lambda *_, ids=wrong: ids).predict(picture)


@pytest.mark.parametrize(
    ("model", "quantity", "message"),
    [
        (stub(), "metres", "quantity must be one of inverse_depth, depth_m, labels, not 'metres'"),
        (stub(training=True), "depth_m", r"lab/stub is in training mode: call model.eval\(\) first"),
        (
            stub(predicted_depth=torch.ones(1, 2, 2)),
            "labels",
            "its output has no logits, which quantity 'labels' needs",
        ),
        (stub(logits=torch.ones(1, 3, 2, 2)), "depth_m", "its output has no predicted_depth"),
        (stub(logits=torch.ones(1, 4, 2, 2)), "labels", "4 classes and 3 names"),
        (stub(logits=torch.ones(1, 3, 2, 2), names={1: "a", 2: "b", 3: "c"}), "labels", "ids must be 0 to 2"),
        (stub(predicted_depth=torch.ones(1, 2, 2, 2)), "depth_m", r"one map \[H, W\] is needed, not \[2, 2, 2\]"),
    ],
)
def test_what_does_not_fit_is_refused(model: Any, quantity: Any, message: str, picture: Any) -> None:
    with pytest.raises(ConfigError, match=message):
        TransformersModel(model, SquareProcessor(), quantity).predict(picture)


def test_an_output_that_overflowed_is_an_error(picture: Any) -> None:
    model = stub(predicted_depth=torch.tensor([[[1.0, float("nan")]]]))
    with pytest.raises(NonFiniteOutputError, match="lab/stub: the output is not finite in float32"):
        TransformersModel(model, SquareProcessor(), "depth_m").predict(picture)
