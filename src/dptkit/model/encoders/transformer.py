"""The transformer that all our encoders share: tokens, position embedding, pre-norm blocks.

B batch · N patch tokens · P prefix tokens · T = P + N · D width · gh gw token grid
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from dptkit.model.encoders.token_merging import merge, unmerge
from dptkit.shapes import Float


class Attention(nn.Module):
    """Multi-head self-attention with one fused query-key-value projection, through PyTorch's fused kernel.

    kept: how many of the `heads` heads of width / heads channels there still are; None: all.
    """

    def __init__(self, width: int, heads: int, kept: int | None = None) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"width {width} is not divisible by {heads} heads")
        self.heads = heads if kept is None else kept
        inner = width // heads * self.heads
        self.qkv = nn.Linear(width, 3 * inner)
        self.projection = nn.Linear(inner, width)

    def forward(self, tokens: Float[Tensor, "B T D"]) -> Float[Tensor, "B T D"]:
        # Split, then one transposition each: OpenVINO takes these into its attention kernel. One of five dimensions
        # before the split is the same numbers, but copies the tokens three times at every block.
        query, key, value = (
            part.unflatten(2, (self.heads, -1)).transpose(1, 2) for part in self.qkv(tokens).chunk(3, dim=2)
        )
        mixed = F.scaled_dot_product_attention(query, key, value)
        return self.projection(mixed.transpose(1, 2).flatten(2))


class MLP(nn.Module):
    """Linear, exact (erf) GELU, Linear."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, tokens: Float[Tensor, "B T D"]) -> Float[Tensor, "B T D"]:
        return self.fc2(F.gelu(self.fc1(tokens)))


class Block(nn.Module):
    """Pre-norm transformer block (Dosovitskiy et al. 2021, eq. 2 and 3).

    kept: heads and MLP neurons that there still are of a pruned block; None: all, 4 * width neurons.
    """

    def __init__(self, width: int, heads: int, layer_norm_eps: float, kept: tuple[int, int] | None = None) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=layer_norm_eps)
        kept_heads, hidden = (heads, 4 * width) if kept is None else kept
        self.attention = Attention(width, heads, kept_heads)
        self.norm2 = nn.LayerNorm(width, eps=layer_norm_eps)
        self.mlp = MLP(width, hidden)

    def forward(self, tokens: Float[Tensor, "B T D"]) -> Float[Tensor, "B T D"]:
        tokens = tokens + self.attention(self.norm1(tokens))
        return tokens + self.mlp(self.norm2(tokens))


class PositionEmbedding(nn.Module):
    """Learned position embedding, resized to any grid.

    As isl-org/DPT (`dpt/vit.py`, `_resize_pos_embed`): the patch part is resized bilinearly without antialiasing or
    aligned corners, the prefix part is untouched.

    After `keep_resized(True)` the resized embedding is kept per grid. Only for weights that no longer change: no key
    can tell that a parameter was written through `.data`. Training mode, loading and casting forget what was kept.
    """

    KEPT_GRIDS = 16

    def __init__(self, width: int, grid: tuple[int, int], prefix_tokens: int) -> None:
        super().__init__()
        self.grid = grid
        self.prefix_tokens = prefix_tokens
        self.weight = nn.Parameter(torch.zeros(1, prefix_tokens + grid[0] * grid[1], width))
        self._kept: dict[tuple[int, int], Tensor] | None = None

    def keep_resized(self, keep: bool) -> None:
        """Keep resized embeddings from now on, or forget them and make each anew."""
        self._kept = {} if keep else None

    def forward(self, grid: tuple[int, int]) -> Float[Tensor, "1 T D"]:
        if self._kept is None or torch.compiler.is_compiling() or torch.is_grad_enabled() or self._in_cuda_graph():
            return self._resize(grid)
        resized = self._kept.get(grid)
        if resized is None:
            resized = self._resize(grid)
            # A new dict each time: other threads keep reading the old one.
            self._kept = {**dict(list(self._kept.items())[1 - self.KEPT_GRIDS :]), grid: resized}
        return resized

    def train(self, mode: bool = True) -> PositionEmbedding:
        if mode:
            self.keep_resized(False)
        return super().train(mode)

    def _apply(self, *args: Any, **options: Any) -> PositionEmbedding:
        self._forget()
        return super()._apply(*args, **options)

    def _load_from_state_dict(self, *args: Any, **options: Any) -> None:
        self._forget()
        super()._load_from_state_dict(*args, **options)

    def _in_cuda_graph(self) -> bool:
        """While a CUDA graph is captured. It must not read what may be let go of before its replay, nor keep what is
        computed only then."""
        return self.weight.is_cuda and torch.cuda.is_current_stream_capturing()

    def _forget(self) -> None:
        self.keep_resized(self._kept is not None)

    def _resize(self, grid: tuple[int, int]) -> Float[Tensor, "1 T D"]:
        # An exported program must not ask which grid it is: resizing to the same one changes nothing.
        if not torch.compiler.is_compiling() and grid == self.grid:
            return self.weight
        prefix, patches = self.weight.split([self.prefix_tokens, self.grid[0] * self.grid[1]], dim=1)
        image_like = patches.transpose(1, 2).unflatten(2, self.grid)
        resized = F.interpolate(image_like, size=grid, mode="bilinear", align_corners=False)
        return torch.cat([prefix, resized.flatten(2).transpose(1, 2)], dim=1)


class Transformer(nn.Module):
    """Prefix tokens and positions are added, then the blocks run; tapped blocks' outputs are returned.

    The final LayerNorm of a classifier is not here: DPT taps blocks before it (isl-org/DPT `dpt/vit.py`).
    Blocks after the last tap are not built, since nothing would read them.
    block_sizes: of a pruned transformer, each built block's heads and MLP neurons.
    """

    def __init__(
        self,
        *,
        width: int,
        depth: int,
        heads: int,
        out_indices: Sequence[int],
        position_grid: tuple[int, int],
        prefix_tokens: int,
        layer_norm_eps: float,
        block_sizes: Sequence[tuple[int, int]] | None = None,
    ) -> None:
        super().__init__()
        if list(out_indices) != sorted(set(out_indices)) or not 0 <= out_indices[0] <= out_indices[-1] < depth:
            raise ValueError(f"out_indices {tuple(out_indices)} must rise within 0 and {depth - 1}")
        self.out_indices = tuple(out_indices)
        self.gradient_checkpointing = False
        self.token_merging = 0.0
        self.merge_before = 1  # the first block sees all tokens, and so do taps of it
        self.prefix_tokens = nn.Parameter(torch.zeros(1, prefix_tokens, width))
        self.position_embedding = PositionEmbedding(width, position_grid, prefix_tokens)
        sizes: Sequence[tuple[int, int] | None] = [None] * (out_indices[-1] + 1) if block_sizes is None else block_sizes
        if len(sizes) != out_indices[-1] + 1:
            raise ValueError(f"{len(sizes)} block sizes for {out_indices[-1] + 1} blocks")
        self.blocks = nn.ModuleList(Block(width, heads, layer_norm_eps, kept) for kept in sizes)
        nn.init.trunc_normal_(self.prefix_tokens, std=0.02)
        nn.init.trunc_normal_(self.position_embedding.weight, std=0.02)

    def forward(
        self, patches: Float[Tensor, "B D gh gw"]
    ) -> tuple[list[Float[Tensor, "B D gh gw"]], list[Float[Tensor, "B P D"]]]:
        """Patch embeddings as an image -> tapped patch tokens as images, and their prefix tokens."""
        batch, width, *grid = patches.shape
        prefix = self.prefix_tokens.expand(batch, -1, -1)
        tokens = torch.cat([prefix, patches.flatten(2).transpose(1, 2)], dim=1)
        tokens = tokens + self.position_embedding((grid[0], grid[1]))
        maps, prefixes = [], []
        first_patch = self.prefix_tokens.shape[1]
        full = merged = None
        for index, block in enumerate(self.blocks):
            if self.token_merging and index == self.merge_before:
                full = tokens[:, first_patch:]
                merged = merge(full, (grid[0], grid[1]), self.token_merging)
                tokens = torch.cat([tokens[:, :first_patch], merged.tokens], dim=1)
            if self.gradient_checkpointing and self.training:
                tokens = checkpoint(block, tokens, use_reentrant=False)
            else:
                tokens = block(tokens)
            if index in self.out_indices:
                prefixes.append(tokens[:, :first_patch])
                tapped = tokens[:, first_patch:]
                if full is not None and merged is not None:
                    tapped = unmerge(full, merged, tapped)
                # As tokens lie, channels last: engines spare both transpositions where Read wants tokens again. Not
                # unflatten, which would fix the grid in a traced graph.
                maps.append(tapped.reshape(batch, *grid, width).permute(0, 3, 1, 2))
        return maps, prefixes
