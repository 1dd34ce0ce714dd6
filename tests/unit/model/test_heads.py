"""Heads in numpy. float64: 1e-12 is rounding only."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy_reference import array, batch_norm, bilinear, conv, relu

from dptkit.model.heads import AuxiliaryHead, DepthHead, SegmentationHead


@pytest.fixture
def fused() -> torch.Tensor:
    torch.manual_seed(0)
    return torch.randn(1, 4, 3, 5, dtype=torch.float64)


def segmentation_head(kind: type[SegmentationHead], align_corners: bool = True, dropout: float = 0.5):
    torch.manual_seed(1)
    head = kind(4, 6, dropout=dropout, align_corners=align_corners).double().eval()
    head.norm.running_mean.normal_()
    head.norm.running_var.uniform_(0.5, 1.5)
    head.norm.bias.data.normal_()
    return head


@pytest.mark.parametrize("align_corners", [True, False])
@pytest.mark.parametrize("non_negative", [True, False])
def test_depth_head_has_no_relu_after_its_first_convolution(
    fused: torch.Tensor, non_negative: bool, align_corners: bool
) -> None:
    torch.manual_seed(2)
    head = DepthHead(4, 3, non_negative=non_negative, align_corners=align_corners).double()
    first = conv(array(fused)[0], array(head.conv1.weight), array(head.conv1.bias), padding=1)
    assert (first < 0).any(), "the case must tell a ReLU there from none"
    upsampled = bilinear(first, (6, 10), align_corners)
    second = relu(conv(upsampled, array(head.conv2.weight), array(head.conv2.bias), padding=1))
    raw = conv(second, array(head.conv3.weight), array(head.conv3.bias))
    raw -= np.median(raw)  # half of the raw outputs are negative
    head.conv3.bias.data -= float(np.median(conv(second, array(head.conv3.weight), array(head.conv3.bias))))
    result = array(head(fused))
    assert result.shape == (1, 1, 6, 10)
    np.testing.assert_allclose(result[0], relu(raw) if non_negative else raw, atol=1e-12)
    assert (result.min() < 0) is np.bool_(not non_negative)


@pytest.mark.parametrize("align_corners", [True, False])
def test_segmentation_head_upsamples_logits_last(fused: torch.Tensor, align_corners: bool) -> None:
    head = segmentation_head(SegmentationHead, align_corners)
    hidden = relu(batch_norm(conv(array(fused)[0], array(head.conv.weight), padding=1), head.norm))
    logits = conv(hidden, array(head.classifier.weight), array(head.classifier.bias))
    np.testing.assert_allclose(array(head(fused))[0], bilinear(logits, (6, 10), align_corners), atol=1e-12)


def test_auxiliary_head_stays_at_its_maps_resolution(fused: torch.Tensor) -> None:
    head = segmentation_head(AuxiliaryHead)
    hidden = relu(batch_norm(conv(array(fused)[0], array(head.conv.weight), padding=1), head.norm))
    logits = conv(hidden, array(head.classifier.weight), array(head.classifier.bias))
    np.testing.assert_allclose(array(head(fused))[0], logits, atol=1e-12)


def test_dropout_only_in_training(fused: torch.Tensor) -> None:
    head = segmentation_head(SegmentationHead)
    assert torch.equal(head(fused), head(fused))
    head.train()
    head.norm.eval()  # batch statistics aside, only the dropout is left to differ
    torch.manual_seed(3)
    assert not torch.equal(head(fused), head(fused))
