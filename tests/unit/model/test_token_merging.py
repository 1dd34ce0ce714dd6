"""Merging by hand on small grids, the way back, and what no merging may change."""

from __future__ import annotations

import pytest
import torch

from dptkit.errors import ConfigError
from dptkit.model.encoders.token_merging import merge, take, unmerge
from dptkit.model.encoders.transformer import Transformer
from miniatures import build_miniature, random_image

GRIDS = [(1, 1), (1, 2), (2, 2), (3, 5), (6, 4), (7, 9)]
RATIOS = [0.001, 0.25, 0.4, 0.75, 0.751, 0.899]


def random_patches(grid: tuple[int, int], seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(2, grid[0] * grid[1], 6, generator=generator, dtype=torch.float64)


def by_hand(patches: torch.Tensor, grid: tuple[int, int], ratio: float) -> tuple[list[set[int]], torch.Tensor]:
    """One picture [N, D], token by token: the groups in any order, and each token's mean of its group."""
    side = 2 if ratio <= 0.75 else 4
    numbers = range(grid[0] * grid[1])
    destinations = [n for n in numbers if n // grid[1] % side == 0 and n % grid[1] % side == 0]
    centred = patches - patches.mean(0)
    found = []
    for source in (n for n in numbers if n not in destinations):
        cosines = [float(torch.cosine_similarity(centred[source], centred[d], dim=0)) for d in destinations]
        found.append((max(cosines), source, destinations[cosines.index(max(cosines))]))
    groups = {n: {n} for n in numbers}
    for _, source, destination in sorted(found, reverse=True)[: int(round(1000 * ratio) * len(numbers) // 1000)]:
        groups[destination] |= groups.pop(source)
    means = torch.empty_like(patches)
    for members in groups.values():
        means[list(members)] = patches[list(members)].mean(0)
    return list(groups.values()), means


def test_two_pairs_of_a_two_by_two_grid_written_out() -> None:
    # Token 0 is the only destination; half of 4 tokens are 2: those of its direction, not the opposite one.
    patches = torch.tensor([[[3.0, 0.0], [5.0, 1.0], [-9.0, 0.0], [1.0, -1.0]]])
    merged = merge(patches, (2, 2), 0.5)
    torch.testing.assert_close(merged.tokens, torch.tensor([[[3.0, 0.0], [-9.0, 0.0]]]))
    assert merged.places.tolist() == [[0, 0, 1, 0]]
    changed = unmerge(patches, merged, merged.tokens + torch.tensor([[[10.0, 0.0], [0.0, 7.0]]]))
    assert changed.tolist() == [[[13.0, 0.0], [15.0, 1.0], [-9.0, 7.0], [11.0, -1.0]]]


@pytest.mark.parametrize("ratio", RATIOS)
@pytest.mark.parametrize("grid", GRIDS)
def test_groups_are_those_found_token_by_token(grid: tuple[int, int], ratio: float) -> None:
    patches = random_patches(grid)
    merged = merge(patches, grid, ratio)
    for picture in range(2):
        groups, means = by_hand(patches[picture], grid, ratio)
        places = merged.places[picture].tolist()
        assert set(places) == set(range(merged.tokens.shape[1]))
        found = {frozenset(n for n, place in enumerate(places) if place == token) for token in set(places)}
        assert found == {frozenset(group) for group in groups}
        torch.testing.assert_close(take(merged.tokens, merged.places)[picture], means)


@pytest.mark.parametrize("grid", GRIDS)
def test_unmerging_what_no_block_changed_gives_it_back(grid: tuple[int, int]) -> None:
    patches = random_patches(grid)
    merged = merge(patches, grid, 0.6)
    assert torch.equal(unmerge(patches, merged, merged.tokens), patches)


@pytest.mark.parametrize("ratio", RATIOS)
@pytest.mark.parametrize("grid", GRIDS)
def test_tokens_all_equal_stay_so(grid: tuple[int, int], ratio: float) -> None:
    patches = torch.full((1, grid[0] * grid[1], 6), 0.7)
    merged = merge(patches, grid, ratio)
    # One rounding of a mean of at most 61 equal numbers.
    torch.testing.assert_close(merged.tokens, torch.full_like(merged.tokens, 0.7), rtol=1e-5, atol=0)
    assert unmerge(patches, merged, 2 * merged.tokens).unique().numel() <= 4


def a_transformer(**changes: object) -> Transformer:
    torch.manual_seed(0)
    settings = {
        "width": 12,
        "depth": 3,
        "heads": 3,
        "out_indices": (0, 2),
        "position_grid": (4, 6),
        "prefix_tokens": 2,
        "layer_norm_eps": 1e-3,
    }
    return Transformer(**settings | changes).double().eval()


def test_readout_tokens_are_never_merged() -> None:
    transformer = a_transformer()
    transformer.token_merging = 0.7
    lengths = []
    for block in transformer.blocks:
        block.register_forward_pre_hook(lambda _, given: lengths.append(given[0].shape[1]))
    maps, prefixes = transformer(torch.randn(2, 12, 4, 6, dtype=torch.float64))
    assert lengths == [2 + 24, 2 + 24 - 16, 2 + 24 - 16]
    assert [tuple(tensor.shape) for tensor in (*maps, *prefixes)] == [(2, 12, 4, 6)] * 2 + [(2, 2, 12)] * 2


def test_pictures_of_a_batch_do_not_touch_each_other() -> None:
    transformer = a_transformer()
    transformer.token_merging = 0.5
    images = torch.randn(3, 12, 5, 3, dtype=torch.float64)
    together = transformer(images)[0][1]
    for index in range(3):
        torch.testing.assert_close(together[index], transformer(images[index : index + 1])[0][1][0])


@pytest.mark.parametrize("name", ["dpt-base", "dpt-large", "dpt-hybrid", "dpt-lite", "dpt-lite-street"])
def test_ratio_zero_changes_no_bit_and_can_be_gone_back_to(name: str) -> None:
    network, picture = build_miniature(name), random_image(2, 3, 64, 96)
    with torch.no_grad():
        before = network(picture)
        network.set_token_merging(0.5)
        merged = network(picture)
        network.set_token_merging(0.0)
        assert torch.equal(network(picture), before)
    assert merged.shape == before.shape
    assert not torch.equal(merged, before)
    assert torch.isfinite(merged).all()


def test_a_constant_picture_stays_as_smooth() -> None:
    """Equal patches, told apart by their positions only, which the way back must keep."""
    network = build_miniature("dpt-large")
    picture = torch.full((1, 3, 128, 128), 0.3)
    with torch.no_grad():
        whole = network(picture)
        network.set_token_merging(0.4)
        merged = network(picture)
    assert (merged - whole).abs().max() < 0.5 * (whole.max() - whole.min())


def test_an_encoder_without_a_transformer_says_so() -> None:
    network = build_miniature("dpt-lite")
    network.encoder.transformer = torch.nn.Identity()
    network.set_token_merging(0.0)
    with pytest.raises(ConfigError, match="has no transformer, and so no tokens"):
        network.set_token_merging(0.4)


def test_gradients_reach_every_token() -> None:
    patches = random_patches((3, 4)).requires_grad_()
    merged = merge(patches, (3, 4), 0.5)
    unmerge(patches, merged, 2 * merged.tokens).sum().backward()
    assert patches.grad is not None
    assert (patches.grad != 0).all()


def test_changes_reach_each_token_through_the_one_it_was_merged_into() -> None:
    """Among equal tokens attention is their mean, so that merging must change nothing."""
    transformer = a_transformer()
    transformer.position_embedding.weight.data[:] = 0
    transformer.prefix_tokens.data[:] = 0.3
    tile = torch.full((1, 12, 4, 6), 0.3, dtype=torch.float64)
    wanted_maps, wanted_prefixes = transformer(tile)
    transformer.token_merging = 0.7
    maps, prefixes = transformer(tile)
    for found, wanted in zip([*maps, *prefixes], [*wanted_maps, *wanted_prefixes], strict=True):
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-12)  # rounding
    assert (maps[1] - tile).abs().max() > 0.01, "the blocks do something"
