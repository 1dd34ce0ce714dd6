"""Attention, blocks, taps and the position embedding in numpy. float64: 1e-12 is rounding only."""

from __future__ import annotations

import copy
import math
import pickle

import numpy as np
import pytest
import torch
from numpy_reference import Array, array, bilinear, gelu, layer_norm

from dptkit.model.encoders.transformer import Attention, Block, PositionEmbedding, Transformer

WIDTH, HEADS, TOKENS = 12, 3, 7


def linear(x: Array, layer: torch.nn.Linear) -> Array:
    return x @ array(layer.weight).T + array(layer.bias)


def attention_reference(x: Array, layer: Attention) -> Array:
    """[T, D] -> [T, D], one head and one query token at a time."""
    qkv = linear(x, layer.qkv)
    size = WIDTH // HEADS
    mixed = np.zeros_like(x)
    for head in range(HEADS):
        channels = slice(head * size, (head + 1) * size)
        query, key, value = (qkv[:, part * WIDTH : (part + 1) * WIDTH][:, channels] for part in range(3))
        for token in range(len(x)):
            scores = key @ query[token] / math.sqrt(size)
            scores = np.exp(scores - scores.max())
            mixed[token, channels] = (scores / scores.sum()) @ value
    return linear(mixed, layer.projection)


def block_reference(x: Array, block: Block, eps: float) -> Array:
    x = x + attention_reference(layer_norm(x, array(block.norm1.weight), array(block.norm1.bias), eps), block.attention)
    inner = layer_norm(x, array(block.norm2.weight), array(block.norm2.bias), eps)
    return x + linear(gelu(linear(inner, block.mlp.fc1)), block.mlp.fc2)


def a_transformer(**changes: object) -> Transformer:
    torch.manual_seed(0)
    settings = {
        "width": WIDTH,
        "depth": 3,
        "heads": HEADS,
        "out_indices": (0, 2),
        "position_grid": (2, 3),
        "prefix_tokens": 2,
        "layer_norm_eps": 1e-3,
    }
    return Transformer(**settings | changes).double()


@pytest.mark.parametrize("gain", [1.0, 30.0], ids=["even", "peaked"])
def test_attention(gain: float) -> None:
    torch.manual_seed(0)
    layer = Attention(WIDTH, HEADS).double()
    x = gain * torch.randn(2, TOKENS, WIDTH, dtype=torch.float64)
    for ours, tokens in zip(array(layer(x)), array(x), strict=True):
        np.testing.assert_allclose(ours, attention_reference(tokens, layer), atol=gain * 1e-12)


def test_block_is_pre_norm_with_an_exact_gelu() -> None:
    torch.manual_seed(1)
    block = Block(WIDTH, HEADS, layer_norm_eps=0.1).double()  # so large that a wrong place for it shows
    for norm in (block.norm1, block.norm2):
        norm.weight.data.normal_()
        norm.bias.data.normal_()
    x = torch.randn(1, TOKENS, WIDTH, dtype=torch.float64)
    np.testing.assert_allclose(array(block(x))[0], block_reference(array(x)[0], block, 0.1), atol=1e-12)


def test_taps_are_block_outputs_split_into_prefix_and_patches() -> None:
    transformer = a_transformer()
    patches = torch.randn(1, WIDTH, 2, 3, dtype=torch.float64)
    maps, prefixes = transformer(patches)
    tokens = np.concatenate([array(transformer.prefix_tokens)[0], array(patches)[0].reshape(WIDTH, 6).T])
    tokens = tokens + array(transformer.position_embedding.weight)[0]
    outputs = []
    for block in transformer.blocks:
        tokens = block_reference(tokens, block, 1e-3)
        outputs.append(tokens)
    for ours, prefix, expected in zip(maps, prefixes, (outputs[0], outputs[2]), strict=True):
        np.testing.assert_allclose(array(prefix)[0], expected[:2], atol=1e-12)
        # Patches run along rows: a transposed grid would pass on a square one only.
        np.testing.assert_allclose(array(ours)[0], expected[2:].T.reshape(WIDTH, 2, 3), atol=1e-12)


def test_blocks_after_the_last_tap_are_not_built() -> None:
    assert len(a_transformer(depth=9).blocks) == 3


@pytest.mark.parametrize("out_indices", [(2, 0), (1, 1), (0, 3), (-1, 2)])
def test_taps_must_rise_within_the_blocks(out_indices: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="out_indices"):
        a_transformer(out_indices=out_indices)


def test_heads_must_divide_the_width() -> None:
    with pytest.raises(ValueError, match="width 12 is not divisible by 5 heads"):
        a_transformer(heads=5)


@pytest.mark.parametrize("grid", [(4, 6), (8, 12), (7, 5), (2, 3), (3, 9), (1, 1), (4, 3)])
@pytest.mark.parametrize("prefix_tokens", [1, 2])
def test_position_embedding_is_bilinear_with_half_pixel_centres(grid: tuple[int, int], prefix_tokens: int) -> None:
    torch.manual_seed(2)
    embedding = PositionEmbedding(5, (4, 6), prefix_tokens).double()
    torch.nn.init.normal_(embedding.weight)
    weight = array(embedding.weight)[0]
    result = array(embedding(grid))[0]
    np.testing.assert_array_equal(result[:prefix_tokens], weight[:prefix_tokens])
    expected = bilinear(weight[prefix_tokens:].T.reshape(5, 4, 6), grid, align_corners=False)
    np.testing.assert_allclose(result[prefix_tokens:], expected.reshape(5, -1).T, atol=1e-12)


class TestKeptPositionEmbeddings:
    """What is kept per grid must never outlive the parameter that it was made of."""

    GRID = (20, 30)

    @pytest.fixture(autouse=True)
    def no_gradients(self):
        with torch.no_grad():
            yield

    @pytest.fixture
    def embedding(self) -> PositionEmbedding:
        embedding = PositionEmbedding(768, (24, 24), 1)  # as large as the real one: allocators reuse such addresses
        torch.nn.init.normal_(embedding.weight)
        return embedding

    def expected(self, weight: torch.Tensor) -> torch.Tensor:
        image_like = weight[:, 1:].transpose(1, 2).unflatten(2, (24, 24))
        resized = torch.nn.functional.interpolate(image_like, size=self.GRID, mode="bilinear")
        return torch.cat([weight[:, :1], resized.flatten(2).transpose(1, 2)], dim=1)

    def assert_fresh(self, embedding: PositionEmbedding) -> None:
        fresh = torch.equal(embedding(self.GRID), self.expected(embedding.weight))
        assert fresh, "made of weights that are gone"

    def test_refreshed_after_a_change_in_place(self, embedding: PositionEmbedding) -> None:
        self.assert_fresh(embedding)
        embedding.weight.mul_(2)
        self.assert_fresh(embedding)

    def test_refreshed_after_load_state_dict(self, embedding: PositionEmbedding) -> None:
        self.assert_fresh(embedding)
        embedding.load_state_dict({"weight": torch.randn(1, 577, 768)})
        self.assert_fresh(embedding)

    def test_refreshed_after_an_optimiser_step(self, embedding: PositionEmbedding) -> None:
        self.assert_fresh(embedding)
        embedding.weight.grad = torch.ones_like(embedding.weight)
        torch.optim.SGD(embedding.parameters(), lr=1.0).step()
        self.assert_fresh(embedding)

    def test_refreshed_after_a_change_of_type(self, embedding: PositionEmbedding) -> None:
        self.assert_fresh(embedding)
        assert embedding.to(torch.bfloat16)(self.GRID).dtype == torch.bfloat16
        for _ in range(10):
            embedding.to(torch.float32)
            self.assert_fresh(embedding)
            torch.nn.init.normal_(embedding.weight)
            self.assert_fresh(embedding)
            embedding.to(torch.bfloat16)
            embedding(self.GRID)

    # Again and again: a new tensor often lies where a freed one lay.
    def test_refreshed_after_load_state_dict_by_assignment(self, embedding: PositionEmbedding) -> None:
        for _ in range(10):
            embedding.load_state_dict({"weight": torch.randn(1, 577, 768)}, assign=True)
            self.assert_fresh(embedding)

    def test_refreshed_after_new_data(self, embedding: PositionEmbedding) -> None:
        for _ in range(10):
            embedding.weight.data = torch.randn(1, 577, 768)
            self.assert_fresh(embedding)

    def test_refreshed_after_a_change_in_place_through_data(self, embedding: PositionEmbedding) -> None:
        """As many moving averages of weights are written; such changes do not count up a tensor's version."""
        self.assert_fresh(embedding)
        embedding.weight.data.mul_(2)
        self.assert_fresh(embedding)

    def test_functional_calls_use_the_weights_handed_in(self, embedding: PositionEmbedding) -> None:
        for _ in range(10):
            weight = torch.randn(1, 577, 768)
            result = torch.func.functional_call(embedding, {"weight": weight}, (self.GRID,))
            assert torch.equal(result, self.expected(weight))

    def test_gradients_flow_after_use_without(self, embedding: PositionEmbedding) -> None:
        embedding(self.GRID)
        with torch.enable_grad():
            embedding(self.GRID).sum().backward()
        assert embedding.weight.grad is not None

    def test_usable_in_training_after_inference_mode(self, embedding: PositionEmbedding) -> None:
        with torch.inference_mode():
            embedding(self.GRID)
        tokens = embedding(self.GRID) + 0  # without gradients
        with torch.enable_grad():
            (embedding(self.GRID) + tokens).sum().backward()

    def test_memory_is_bounded_over_any_number_of_grids(self) -> None:
        embedding = PositionEmbedding(4, (2, 2), 1)
        sizes = []
        for side in range(1, 60):
            embedding((side, 3))
            sizes.append(len(pickle.dumps(embedding)))
        # 16 embeddings of at most 59 x 3 + 1 tokens of 4 floats, and their keys; all 59 would be four times that.
        assert max(sizes) < 80_000

    def test_not_in_the_state_dict_and_lost_on_no_copy(self, embedding: PositionEmbedding) -> None:
        before = embedding(self.GRID)
        assert list(embedding.state_dict()) == ["weight"]
        for twin in (copy.deepcopy(embedding), pickle.loads(pickle.dumps(embedding))):
            assert torch.equal(twin(self.GRID), before)
            twin.weight.mul_(3)
            self.assert_fresh(twin)
            self.assert_fresh(embedding)
