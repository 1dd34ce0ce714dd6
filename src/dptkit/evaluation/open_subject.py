"""From what a user names to something that can be scored."""

from __future__ import annotations

from pathlib import Path

from dptkit.errors import ConfigError, UnknownModelError
from dptkit.evaluation.baselines import Constant, MajorityClass, VerticalRamp
from dptkit.evaluation.eligibility import check_task
from dptkit.evaluation.own_model import OwnModel
from dptkit.evaluation.prediction_folder import PredictionFolder, StoredQuantity
from dptkit.evaluation.protocol import Protocol, SegmentationProtocol
from dptkit.evaluation.subject import Subject
from dptkit.image_io.names import printable
from dptkit.predictor import load
from dptkit.presets import PRESETS, find_preset
from dptkit.runtime.backend import EngineChoice, PrecisionChoice
from dptkit.weights.published import model_file


def open_subject(
    text: str,
    protocol: Protocol,
    *,
    engine: EngineChoice = "auto",
    device: str = "auto",
    precision: PrecisionChoice = "float32",
    token_merge: float = 0.0,
    quantity: StoredQuantity | None = None,
    scale: float = 1.0,
    suffix: str | None = None,
) -> Subject:
    """What `text` names, ready to be scored under `protocol`.

    "ramp": `VerticalRamp`. "constant": `Constant`; "constant:VALUE" with quantity "depth_m" is a wall at so many
    metres; for segmentation "constant:CLASS", a name or an id, is `MajorityClass`. A model's name or a weight file:
    `OwnModel`. A folder: `PredictionFolder`, of dptkit's own files unless `quantity` says what the files hold; `scale`
    and `suffix` as there; with a segmentation protocol other tools' files are label ids of its classes.
    token_merge: as in `load`, of a model only.
    Words win over files: write ./ramp for a folder called ramp.

    Raises ConfigError for options that do not fit what is named or a subject that does not fit the protocol;
    UnknownModelError for a name that is neither; DataError, WeightsError and DownloadError as `PredictionFolder` and
    `load` do.
    """
    word, separator, argument = text.partition(":")
    given = text not in ("ramp", *PRESETS) and Path(text).is_dir()
    if token_merge and (given or word in ("ramp", "constant")):
        raise ConfigError(f"{printable(text)}: token_merge is for models, this has no tokens")
    if word == "constant":
        if scale != 1 or suffix is not None:
            raise ConfigError("constant: scale and suffix are for a folder of predictions")
        return _constant(argument if separator else None, quantity, protocol)
    if given:
        if quantity is None and isinstance(protocol, SegmentationProtocol):
            quantity = "labels"
        if quantity is not None:
            check_task(f"a folder of {quantity}", "segmentation" if quantity == "labels" else "depth", protocol)
        classes = protocol.classes if isinstance(protocol, SegmentationProtocol) else ()
        return PredictionFolder(text, quantity=quantity, scale=scale, suffix=suffix, classes=classes)
    if quantity is not None or scale != 1 or suffix is not None:
        raise ConfigError(f"{printable(text)}: quantity, scale and suffix are for a folder of predictions")
    if text == "ramp":
        check_task("ramp", "depth", protocol)
        return VerticalRamp()
    if text not in PRESETS and not Path(text).exists() and len(Path(text).parts) > 1:
        raise UnknownModelError(f"{printable(text)}: neither a weight file nor a folder of predictions is there")
    predictor = load(text, engine=engine, device=device, precision=precision, token_merge=token_merge)
    return OwnModel(predictor, protocol)


def check_subject(
    text: str,
    protocol: Protocol,
    *,
    quantity: StoredQuantity | None = None,
    scale: float = 1.0,
    suffix: str | None = None,
) -> None:
    """Raises what `open_subject` would, as far as it can be told before weights are loaded and data is opened."""
    word = text.partition(":")[0]
    is_folder = text not in ("ramp", *PRESETS) and Path(text).is_dir()
    if word == "constant" and isinstance(protocol, SegmentationProtocol) and not protocol.classes:
        return  # the data set's classes
    if word == "constant" or text == "ramp" or is_folder:
        open_subject(text, protocol, quantity=quantity, scale=scale, suffix=suffix)
        return
    if quantity is not None or scale != 1 or suffix is not None:
        raise ConfigError(f"{printable(text)}: quantity, scale and suffix are for a folder of predictions")
    if model_file(text) is None:
        if len(Path(text).parts) > 1:
            raise UnknownModelError(f"{printable(text)}: neither a weight file nor a folder of predictions is there")
        spec = find_preset(text).spec
        check_task(text, spec.task, protocol)


def predicts(text: str) -> bool:
    """Whether `text` names a model, which runs, and not a baseline or a folder of predictions."""
    return text.partition(":")[0] not in ("ramp", "constant") and (text in PRESETS or not Path(text).is_dir())


def _constant(argument: str | None, quantity: StoredQuantity | None, protocol: Protocol) -> Constant | MajorityClass:
    if quantity is not None:
        check_task(f"constant {quantity}", "segmentation" if quantity == "labels" else "depth", protocol)
    if isinstance(protocol, SegmentationProtocol):
        if not argument:
            raise ConfigError(f"constant: name the class too, as in constant:{protocol.classes[0]}")
        return MajorityClass(argument, protocol.classes)
    try:
        value = 1.0 if argument is None else float(argument)
    except ValueError:
        raise ConfigError(f"constant:{argument}: not a number") from None
    return Constant(value, "depth_m" if quantity == "depth_m" else "inverse_depth")
