"""Reassemble against equations 2 to 5 of the paper, written out in numpy. float64: 1e-12 is rounding only."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy_reference import array, conv, gelu, transposed_conv
from torch import nn

from dptkit.model.encoders.base import EncoderFeatures
from dptkit.model.reassemble import (
    ReadAdd,
    ReadIgnore,
    ReadProject,
    Reassemble,
    ReassembleTokens,
    build_read,
    build_resample,
)

WIDTH, GRID = 6, (3, 2)


@pytest.fixture
def patches() -> torch.Tensor:
    torch.manual_seed(0)
    return torch.randn(2, WIDTH, *GRID, dtype=torch.float64)


@pytest.fixture
def prefix() -> torch.Tensor:
    """A readout and a distillation token."""
    torch.manual_seed(1)
    return torch.randn(2, 2, WIDTH, dtype=torch.float64)


def test_ignore_drops_the_readout_token(patches: torch.Tensor, prefix: torch.Tensor) -> None:
    assert torch.equal(ReadIgnore()(patches, prefix), patches)


def test_add_adds_the_readout_token_to_every_patch(patches: torch.Tensor, prefix: torch.Tensor) -> None:
    read = array(ReadAdd()(patches, prefix[:, :1]))
    for picture in range(2):
        for row, column in np.ndindex(GRID):
            expected = array(patches)[picture, :, row, column] + array(prefix)[picture, 0]
            np.testing.assert_allclose(read[picture, :, row, column], expected, rtol=1e-12)


def test_add_takes_the_mean_of_readout_and_distillation_token(patches: torch.Tensor, prefix: torch.Tensor) -> None:
    mean = (array(prefix)[:, 0] + array(prefix)[:, 1]) / 2
    np.testing.assert_allclose(array(ReadAdd()(patches, prefix)), array(patches) + mean[:, :, None, None], rtol=1e-12)


def test_project_is_a_linear_layer_on_patch_then_readout_and_an_exact_gelu(
    patches: torch.Tensor, prefix: torch.Tensor
) -> None:
    read = ReadProject(WIDTH).double()
    weight, bias = array(read.project.weight), array(read.project.bias)
    result = array(read(patches, prefix[:, :1]))
    for picture in range(2):
        for row, column in np.ndindex(GRID):
            both = np.concatenate([array(patches)[picture, :, row, column], array(prefix)[picture, 0]])
            np.testing.assert_allclose(result[picture, :, row, column], gelu(weight @ both + bias), atol=1e-12)


def test_project_reads_only_the_first_prefix_token(patches: torch.Tensor, prefix: torch.Tensor) -> None:
    read = ReadProject(WIDTH).double()
    other = torch.stack([prefix[:, 0], prefix[:, 1] + 100], dim=1)
    assert torch.equal(read(patches, prefix), read(patches, other))
    assert torch.equal(read(patches, prefix), read(patches, prefix[:, :1]))


@pytest.mark.parametrize(("readout", "kind"), [("ignore", ReadIgnore), ("add", ReadAdd), ("project", ReadProject)])
def test_reads_by_name(readout: str, kind: type) -> None:
    assert type(build_read(readout, WIDTH)) is kind


@pytest.mark.parametrize(("scale", "factor"), [(4, 4), (8, 2)])
def test_resample_up_is_a_transposed_convolution_without_overlap(scale: int, factor: int) -> None:
    torch.manual_seed(2)
    resample = build_resample(scale, 5).double()
    features = torch.randn(1, 5, 3, 2, dtype=torch.float64)
    expected = transposed_conv(array(features)[0], array(resample.weight), array(resample.bias), factor)
    np.testing.assert_allclose(array(resample(features))[0], expected, atol=1e-12)


def test_resample_16_is_the_token_grid_itself() -> None:
    features = torch.randn(1, 5, 3, 2)
    assert build_resample(16, 5)(features) is features


@pytest.mark.parametrize("grid", [(4, 6), (3, 5), (1, 1)])
def test_resample_32_is_a_strided_convolution_also_on_odd_grids(grid: tuple[int, int]) -> None:
    torch.manual_seed(3)
    resample = build_resample(32, 5).double()
    features = torch.randn(1, 5, *grid, dtype=torch.float64)
    expected = conv(array(features)[0], array(resample.weight), array(resample.bias), stride=2, padding=1)
    assert expected.shape[1:] == ((grid[0] + 1) // 2, (grid[1] + 1) // 2)
    np.testing.assert_allclose(array(resample(features))[0], expected, atol=1e-12)


def test_a_stage_reads_then_projects_then_resamples(patches: torch.Tensor, prefix: torch.Tensor) -> None:
    torch.manual_seed(4)
    projection, resample = nn.Conv2d(WIDTH, 4, 1).double(), build_resample(8, 4).double()
    result = array(ReassembleTokens(ReadAdd(), projection, resample)(patches, prefix[:, :1]))
    for picture in range(2):
        read = array(patches)[picture] + array(prefix)[picture, 0][:, None, None]
        projected = conv(read, array(projection.weight), array(projection.bias))
        expected = transposed_conv(projected, array(resample.weight), array(resample.bias), 2)
        np.testing.assert_allclose(result[picture], expected, atol=1e-12)


def test_convolutional_stages_pass_through_and_order_is_kept(patches: torch.Tensor, prefix: torch.Tensor) -> None:
    quarter, eighth = torch.randn(2, 3, 12, 8), torch.randn(2, 3, 6, 4)
    stages = [None, None] + [ReassembleTokens(ReadAdd(), nn.Identity(), build_resample(16, WIDTH)) for _ in range(2)]
    features = EncoderFeatures((quarter, eighth, patches, 2 * patches), (None, None, prefix, prefix))
    maps = Reassemble(stages)(features)
    assert maps[0] is quarter
    assert maps[1] is eighth
    assert torch.equal(maps[3] - maps[2], 2 * patches + prefix.mean(1)[..., None, None] - maps[2])
