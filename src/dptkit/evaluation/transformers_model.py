"""Models of the transformers library as subjects. The caller brings the objects; nothing of it is imported here."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, is_dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

from dptkit.config import SegmentationDecoding
from dptkit.errors import ConfigError, NonFiniteOutputError
from dptkit.evaluation.subject import Prediction, SubjectIdentity
from dptkit.label_sets import voc_palette
from dptkit.outputs import IGNORE_LABEL, DepthMap, Provenance, SegmentationMap
from dptkit.postprocess import decode_segmentation
from dptkit.version import __version__

Decode = Callable[[Any, tuple[int, int]], Any]
"""(the model's output, the picture's (height, width)) -> [H, W]: the quantity, or class ids. An array or a tensor."""

_OUTPUTS = {"inverse_depth": "predicted_depth", "depth_m": "predicted_depth", "labels": "logits"}


class TransformersModel:
    """A depth-estimation or semantic-segmentation model with its image processor.

    model, processor: used as `model(**processor(images=picture, return_tensors="pt"))`; the output's
        `predicted_depth` [1, h, w] is taken as it is and at its size, its `logits` [1, K, h, w] are resized to the
        picture bicubically before the largest is taken.
    quantity: what the numbers are, which a model does not say: "inverse_depth" (DPT, Depth Anything), "depth_m"
        (metric Depth Anything, DPT with a DINOv2 encoder, ZoeDepth), or "labels".
    decode: for models whose output is not the quantity of the whole picture and no more: Depth Pro's is no metres yet,
        ZoeDepth's and DINOv2's are of a padded picture. The first two come with
        `processor.post_process_depth_estimation`; DPT's processor (transformers 5) leaves DINOv2's padding in.

    Class names are those of `model.config.id2label`. Neither object is changed: move the model to its device and call
    `.eval()` before. May be called from several threads if the two objects may.
    """

    def __init__(
        self,
        model: Any,
        processor: Any,
        quantity: Literal["inverse_depth", "depth_m", "labels"],
        *,
        decode: Decode | None = None,
    ) -> None:
        """Raises ConfigError for an unknown quantity, a model in training mode, or a processor that pads or crops."""
        self._name = str(getattr(model.config, "_name_or_path", "") or type(model).__name__)
        if quantity not in _OUTPUTS:
            raise ConfigError(f"quantity must be one of {', '.join(_OUTPUTS)}, not {quantity!r}")
        if getattr(model, "training", False):
            raise ConfigError(f"{self._name} is in training mode: call model.eval() first")
        changes = [name for name in ("do_pad", "do_center_crop") if getattr(processor, name, None)]
        if changes and decode is None:
            raise ConfigError(
                f"{self._name}: its processor has {changes[0]}=True, so that its output is not of the whole picture "
                "alone: pass decode="
            )
        self._model = model
        self._processor = processor
        self._quantity: Literal["inverse_depth", "depth_m", "labels"] = quantity
        self._decode = decode

    @property
    def identity(self) -> SubjectIdentity:
        """The name it was loaded by; classes of both objects, precision, device, sizes of the processor."""
        parameter = next(self._model.parameters())
        details: dict[str, Any] = {
            "engine": "transformers",
            "model": type(self._model).__name__,
            "processor": type(self._processor).__name__,
            "quantity": self._quantity,
            "decode": "caller's" if self._decode else "none",
            "precision": _precision(parameter),
            "device": str(parameter.device),
        }
        with suppress(PackageNotFoundError):
            details["transformers"] = version("transformers")
        for name in ("size", "do_resize", "resample", "keep_aspect_ratio", "ensure_multiple_of"):
            value = getattr(self._processor, name, None)
            if value is not None:
                details[f"processor_{name}"] = _plain(value)
        return SubjectIdentity(self._name, details=details)

    def predict(self, image: npt.NDArray[np.uint8], /) -> Prediction:
        """uint8 RGB [H, W, 3] -> DepthMap of the output's size, or SegmentationMap [H, W].

        Raises ConfigError where the output is not what `quantity` needs, NonFiniteOutputError for NaN or infinity.
        """
        import torch

        parameter = next(self._model.parameters())
        # As a PIL image: arrays of three rows or columns could be taken for channels.
        inputs = dict(self._processor(images=Image.fromarray(image), return_tensors="pt").items())
        for name, value in inputs.items():
            if isinstance(value, torch.Tensor):
                inputs[name] = value.to(parameter.device, parameter.dtype if value.is_floating_point() else None)
        size = (image.shape[0], image.shape[1])
        with torch.inference_mode():
            output = self._model(**inputs)
            result = self._decode(output, size) if self._decode else self._take(output)
        if isinstance(result, torch.Tensor):
            result = result.detach().float().cpu().numpy()
        network = inputs["pixel_values"].shape[-2:] if "pixel_values" in inputs else None
        provenance = Provenance(
            self._name,
            __version__,
            engine="transformers",
            precision=_precision(parameter),
            network_size=None if network is None else (int(network[0]), int(network[1])),
        )
        return self._wrap(np.asarray(result, np.float32), size, provenance)

    def _take(self, output: Any) -> Any:
        attribute = _OUTPUTS[self._quantity]
        value = getattr(output, attribute, None)
        if value is None:
            raise ConfigError(f"{self._name}: its output has no {attribute}, which quantity {self._quantity!r} needs")
        return value[0]

    def _wrap(self, result: npt.NDArray[np.float32], size: tuple[int, int], provenance: Provenance) -> Prediction:
        if not np.isfinite(result).all():
            raise NonFiniteOutputError(f"{self._name}: the output is not finite in {provenance.precision}")
        if self._quantity == "labels" and self._decode is None:
            names = self._class_names(result.shape[0])
            return decode_segmentation(result, size, SegmentationDecoding(names, voc_palette(len(names))), provenance)
        if result.ndim == 3 and result.shape[0] == 1:
            result = result[0]
        if result.ndim != 2:
            raise ConfigError(f"{self._name}: one map [H, W] is needed, not {list(result.shape)}")
        if self._quantity == "labels":
            names = self._class_names(None)
            labels = result.astype(np.int64)
            if not ((labels == result) & (labels >= 0) & ((labels < len(names)) | (labels == IGNORE_LABEL))).all():
                raise ConfigError(f"{self._name}: decode= gave values that are no class ids (0 to {len(names) - 1})")
            return SegmentationMap(labels.astype(np.uint8), names, voc_palette(len(names)), provenance)
        valid = result > 0 if self._quantity == "depth_m" else np.ones(result.shape, np.bool_)
        return DepthMap(np.ascontiguousarray(result), self._quantity, valid, provenance)

    def _class_names(self, count: int | None) -> tuple[str, ...]:
        names = {int(index): str(name) for index, name in self._model.config.id2label.items()}
        count = len(names) if count is None else count
        if set(names) != set(range(count)) or count > IGNORE_LABEL:
            raise ConfigError(
                f"{self._name}: {count} classes and {len(names)} names in config.id2label do not fit; "
                f"ids must be 0 to {min(count, IGNORE_LABEL) - 1}"
            )
        return tuple(names[index] for index in range(count))


def _precision(parameter: Any) -> str:
    return str(parameter.dtype).removeprefix("torch.")


def _plain(value: Any) -> Any:
    """Settings of processors as JSON has them: numbers, and mappings of numbers such as sizes."""
    if isinstance(value, bool | float):
        return value
    if isinstance(value, int):
        return int(value)  # also of PIL's enumeration of filters
    if is_dataclass(value) and not isinstance(value, type):  # sizes, since transformers 5
        value = asdict(value)
    return (
        {str(key): item for key, item in value.items() if item is not None} if hasattr(value, "items") else str(value)
    )
