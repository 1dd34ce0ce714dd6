"""Fusion against the original's order of operations, in numpy. float64: 1e-12 is rounding only."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy_reference import Array, array, batch_norm, bilinear, conv, relu

from dptkit.model.fusion import Fusion, FusionBlock, ResidualConvUnit

CHANNELS = 3


def random_norms(module: torch.nn.Module) -> None:
    """Running statistics and scales off their telling zeros and ones."""
    for part in module.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            for tensor in (part.weight.data, part.running_var):
                tensor.uniform_(0.5, 1.5)
            for tensor in (part.bias.data, part.running_mean):
                tensor.normal_()


def unit_reference(x: Array, unit: ResidualConvUnit) -> Array:
    inner = x
    for convolution, norm in ((unit.conv1, unit.norm1), (unit.conv2, unit.norm2)):
        bias = None if convolution.bias is None else array(convolution.bias)
        inner = conv(relu(inner), array(convolution.weight), bias, padding=1)
        if isinstance(norm, torch.nn.BatchNorm2d):
            inner = batch_norm(inner, norm)
    return x + inner


def block_reference(x: Array, skip: Array | None, block: FusionBlock, size: tuple[int, int]) -> Array:
    """In the original's order: the 1x1 convolution comes after the upsampling."""
    if skip is not None:
        x = x + unit_reference(skip, block.unit1)
    upsampled = bilinear(unit_reference(x, block.unit2), size, block.align_corners)
    return conv(upsampled, array(block.projection.weight), array(block.projection.bias))


@pytest.mark.parametrize("with_norm", [False, True])
def test_residual_unit(with_norm: bool) -> None:
    torch.manual_seed(0)
    unit = ResidualConvUnit(CHANNELS, with_norm).double().eval()
    random_norms(unit)
    x = torch.randn(1, CHANNELS, 4, 5, dtype=torch.float64)
    np.testing.assert_allclose(array(unit(x))[0], unit_reference(array(x)[0], unit), atol=1e-12)


def test_batch_norm_takes_the_place_of_the_biases() -> None:
    assert ResidualConvUnit(CHANNELS, True).conv1.bias is None
    assert ResidualConvUnit(CHANNELS, True).conv2.bias is None
    assert ResidualConvUnit(CHANNELS, False).conv2.bias is not None


def test_negative_inputs_survive_the_residual_unit() -> None:
    """MiDaS 2.1 had the ReLU in place, which turns the sum's first term into relu(x)."""
    unit = ResidualConvUnit(CHANNELS, False)
    for parameter in unit.parameters():
        parameter.data.zero_()
    x = torch.randn(1, CHANNELS, 4, 4)
    before = x.clone()
    assert torch.equal(unit(x), before)
    assert torch.equal(x, before), "the caller's tensor was changed"


@pytest.mark.parametrize("align_corners", [True, False])
@pytest.mark.parametrize("with_norm", [False, True])
@pytest.mark.parametrize("size", [(6, 8), (5, 7)], ids=["doubled", "odd"])
def test_block_with_skip(size: tuple[int, int], with_norm: bool, align_corners: bool) -> None:
    torch.manual_seed(1)
    block = FusionBlock(CHANNELS, skip=True, batch_norm=with_norm, align_corners=align_corners).double().eval()
    random_norms(block)
    x, skip = torch.randn(2, 1, CHANNELS, 3, 4, dtype=torch.float64)
    expected = block_reference(array(x)[0], array(skip)[0], block, size)
    np.testing.assert_allclose(array(block(x, skip, size))[0], expected, atol=1e-12)


@pytest.mark.parametrize("align_corners", [True, False])
def test_block_without_skip_runs_only_its_second_unit(align_corners: bool) -> None:
    torch.manual_seed(2)
    block = FusionBlock(CHANNELS, skip=False, batch_norm=False, align_corners=align_corners).double()
    assert block.unit1 is None
    x = torch.randn(1, CHANNELS, 3, 4, dtype=torch.float64)
    expected = block_reference(array(x)[0], None, block, (6, 8))
    np.testing.assert_allclose(array(block(x, None, (6, 8)))[0], expected, atol=1e-12)


@pytest.mark.parametrize("coarsest", [(2, 3), (1, 2)])
@pytest.mark.parametrize("odd", [False, True])
def test_fusion_goes_from_coarse_to_fine(coarsest: tuple[int, int], odd: bool) -> None:
    """`odd`: the map at 1/16 has odd sides, as at network sizes that 16 divides and 32 does not."""
    torch.manual_seed(3)
    inputs = (2, 3, 4, 5)
    fusion = Fusion(inputs, CHANNELS, batch_norm=False, align_corners=True).double()
    sixteenth = tuple(2 * side - odd for side in coarsest)
    sizes = [tuple(4 * s for s in sixteenth), tuple(2 * s for s in sixteenth), sixteenth, coarsest]
    maps = [torch.randn(1, c, *size, dtype=torch.float64) for c, size in zip(inputs, sizes, strict=True)]

    skips = [conv(array(m)[0], array(c.weight), padding=1) for m, c in zip(maps, fusion.inputs, strict=True)]
    fused = block_reference(skips[3], None, fusion.blocks[0], sizes[2])
    expected = [fused]
    for block, skip, size in zip(
        fusion.blocks[1:], skips[2::-1], [sizes[1], sizes[0], tuple(8 * s for s in sixteenth)], strict=True
    ):
        fused = block_reference(fused, skip, block, size)
        expected.append(fused)

    for ours, theirs in zip(fusion(maps), expected, strict=True):
        np.testing.assert_allclose(array(ours)[0], theirs, atol=1e-12)


def test_common_width_convolutions_have_no_bias() -> None:
    """`scratch.layer*_rn` of the original have none; a bias would be left without a stored value."""
    fusion = Fusion((2, 3, 4, 5), CHANNELS, batch_norm=False, align_corners=True)
    assert all(convolution.bias is None for convolution in fusion.inputs)
