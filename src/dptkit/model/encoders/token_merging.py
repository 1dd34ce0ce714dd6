"""Token merging: like patch tokens become one, blocks run on fewer tokens, maps come back on the full grid.

B batch · N patch tokens · gh gw token grid · S sources · R destinations · K merged sources · M = N - K · D width

After ToMe (Bolya et al., "Token Merging: Your ViT But Faster", ICLR 2023: bipartite matching by cosine similarity) and
ToMe for Stable Diffusion (Bolya and Hoffman 2023, arXiv 2303.17604: a destination in each cell of a regular grid,
unmerging for dense outputs). Departures: tokens are merged once, not in each block, which costs less; they are compared
by themselves, not by their keys; keys are not weighted by sizes (ToMe's proportional attention), which costs a mask in
every attention and did not help dpt-lite; and unmerging adds to every token what the blocks have added to the token
that it was merged into, instead of copying that token, so that what made it differ is kept.

Only counts that follow from the shape, slices, sorts, gathers and products: a trace keeps height and width free.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from dptkit.shapes import Float, Int


class MergedTokens(NamedTuple):
    """Tokens after merging, and the way back.

    tokens: [B, M, D], destinations first.
    places: [B, N], for each token of the grid, in reading order, its place among `tokens`.
    """

    tokens: Float[Tensor, "B M D"]
    places: Int[Tensor, "B N"]


def merge(patches: Float[Tensor, "B N D"], grid: tuple[int, int], ratio: float) -> MergedTokens:
    """Average the floor(ratio * N) sources that are most like a destination into it, or all where there are fewer.

    The upper left token of each cell is a destination, the others are sources. Cells are 2 x 2, of whose tokens three
    in four can be merged; above a ratio of 0.75 they are 4 x 4. The ratio counts to a thousandth.
    """
    batch, count, _ = patches.shape
    destinations, sources = _divide(grid, 2 if ratio <= 0.75 else 4, patches.device)
    # Of what tokens differ in from their mean: else all cosines are near 1, where bfloat16 is coarse.
    alike = F.normalize(patches - patches.mean(1, keepdim=True), dim=2)
    cosines = alike.index_select(1, sources) @ alike.index_select(1, destinations).transpose(1, 2)
    similarity, nearest = cosines.max(2)
    order = similarity.argsort(dim=1, descending=True)
    merged = count * round(1000 * ratio) // 1000  # whole numbers only, as shapes are in a trace
    away, kept = order[:, :merged], order[:, merged:]

    source_tokens, destination_tokens = patches.index_select(1, sources), patches.index_select(1, destinations)
    # A sum by a product with zeros and ones: quick, and in the same order each time, which scatters on GPUs are not.
    number = torch.arange(destinations.shape[0], device=patches.device)
    joined = (number[:, None] == nearest.gather(1, away)[:, None]).to(patches.dtype)
    sizes = 1 + joined.sum(2)
    averages = (destination_tokens + joined @ take(source_tokens, away)) / sizes[..., None]
    tokens = torch.cat([averages, take(source_tokens, kept)], 1)

    rank = order.argsort(dim=1)
    source_places = torch.where(rank < merged, nearest, rank - merged + destinations.shape[0])
    places = torch.cat([number.expand(batch, -1), source_places], 1)
    return MergedTokens(tokens, places.index_select(1, torch.cat([destinations, sources]).argsort()))


def unmerge(
    patches: Float[Tensor, "B N D"], merged: MergedTokens, tokens: Float[Tensor, "B M D"]
) -> Float[Tensor, "B N D"]:
    """The grid's tokens, with what has changed since merging: patches + (tokens - merged.tokens), each at its place."""
    return patches + take(tokens - merged.tokens, merged.places)


def take(tokens: Float[Tensor, "B N D"], indices: Int[Tensor, "B K"]) -> Float[Tensor, "B K D"]:
    """Other tokens of each picture. By whole rows of the flattened batch, which engines copy quickest."""
    batch, count, _ = tokens.shape
    first = torch.arange(batch, device=tokens.device)[:, None] * count
    rows = tokens.flatten(0, 1).index_select(0, (indices + first).flatten())
    return rows.reshape(batch, -1, tokens.shape[2])


def _divide(grid: tuple[int, int], side: int, device: torch.device) -> tuple[Int[Tensor, " R"], Int[Tensor, " S"]]:
    """The grid's tokens, numbered in reading order: the upper left one of each cell, and the others."""
    numbers = torch.arange(grid[0] * grid[1], device=device).reshape(grid)
    others = [numbers[row::side].flatten() for row in range(1, side)]
    others += [numbers[::side, column::side].flatten() for column in range(1, side)]
    return numbers[::side, ::side].flatten(), torch.cat(others)
