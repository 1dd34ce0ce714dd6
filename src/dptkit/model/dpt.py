"""READ FIRST. The dense prediction transformer, as figure 1 of the paper draws it.

B batch · H W network resolution, multiples of the encoder's stride · K output channels (1 for depth)

    image -> encoder -> reassemble -> fusion -> head -> raw output

Source: Ranftl, Bochkovskiy, Koltun, "Vision Transformers for Dense Prediction", ICCV 2021; isl-org/DPT cd3fe90.
Departures, each the same function up to float rounding: Read's linear layer works on its two halves
(`reassemble.py`), the fusion blocks' 1x1 convolution comes before the upsampling (`fusion.py`), stored but unused
weights are not built. Metric inversion and resizing to the picture are not here but in `postprocess.py`.
"""

from __future__ import annotations

from torch import Tensor, nn

from dptkit.errors import ConfigError
from dptkit.model.encoders.base import Encoder
from dptkit.model.encoders.transformer import PositionEmbedding, Transformer
from dptkit.model.fusion import Fusion
from dptkit.model.heads import AuxiliaryHead, DepthHead, SegmentationHead
from dptkit.model.reassemble import Reassemble
from dptkit.shapes import Float


class DPT(nn.Module):
    """The network of parts handed in; `dptkit.model.build.build_model` makes it from a configuration.

    encoder: image [B, 3, H, W] -> EncoderFeatures (four stages).
    reassemble: EncoderFeatures -> maps at 1/4, 1/8, 1/16, 1/32 of the image.
    fusion: those maps -> fused maps, coarse to fine, at 1/16, 1/8, 1/4, 1/2.
    head: the finest fused map -> raw output [B, K, H, W].
    auxiliary_head: the penultimate fused map -> logits at 1/4, in training only.
    """

    def __init__(
        self,
        encoder: Encoder,
        reassemble: Reassemble,
        fusion: Fusion,
        head: DepthHead | SegmentationHead,
        auxiliary_head: AuxiliaryHead | None = None,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.reassemble = reassemble
        self.fusion = fusion
        self.head = head
        self.auxiliary_head = auxiliary_head

    def forward(self, image: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B K H W"]:
        """Normalised image -> the head's raw output at network resolution.

        Depth: relative inverse depth, or what `postprocess` turns into metres. Segmentation: logits.
        Raises ValueError if the encoder's stride does not divide H and W.
        """
        return self.head(self._fuse(image)[-1])

    def forward_auxiliary(
        self, image: Float[Tensor, "B 3 H W"]
    ) -> tuple[Float[Tensor, "B K H W"], Float[Tensor, "B K h w"]]:
        """Raw output and the auxiliary head's logits at a quarter of the resolution, for training."""
        if self.auxiliary_head is None:
            raise ValueError("this network was built without an auxiliary head")
        fused = self._fuse(image)
        return self.head(fused[-1]), self.auxiliary_head(fused[-2])

    def set_gradient_checkpointing(self, enabled: bool) -> None:
        """Recompute transformer blocks in the backward pass: less memory, about a third more time."""
        for module in self.modules():
            if isinstance(module, Transformer):
                module.gradient_checkpointing = enabled

    def set_token_merging(self, ratio: float) -> None:
        """Merge so many of the patch tokens, see `encoders/token_merging.py`; 0 merges none. No retraining needed.

        Raises ConfigError where the encoder has no transformer, and a ratio is given.
        """
        transformers = [module for module in self.modules() if isinstance(module, Transformer)]
        if ratio and not transformers:
            raise ConfigError("tokens cannot be merged: this model's encoder has no transformer, and so no tokens")
        for transformer in transformers:
            transformer.token_merging = ratio

    def freeze(self) -> DPT:
        """Ready for prediction: evaluation mode, no gradients, resized position embeddings kept per grid.

        The weights must not be changed afterwards; `train()` undoes what is kept.
        """
        self.eval().requires_grad_(False)
        for module in self.modules():
            if isinstance(module, PositionEmbedding):
                module.keep_resized(True)
        return self

    def _fuse(self, image: Tensor) -> list[Tensor]:
        stride = self.encoder.stride
        height, width = image.shape[2:]
        if height % stride or width % stride:
            raise ValueError(f"image size {height}x{width} must be a multiple of {stride} in both directions")
        return self.fusion(self.reassemble(self.encoder(image)))
