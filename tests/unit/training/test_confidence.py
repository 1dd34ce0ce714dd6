"""Confidence from agreement of views, by hand, and what must not change it."""

from __future__ import annotations

import math

import pytest
import torch

from dptkit.training.confidence import align_view, view_confidence

# One row of 3x3 blocks, so that the middle of a block has its own value in all of its neighbourhood.
VALUES = torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0])


def blocks(values: torch.Tensor) -> torch.Tensor:
    """[10] -> [1, 3, 30], each value three by three times."""
    return values.repeat_interleave(3).expand(1, 3, 30).clone()


def middles(confidence: torch.Tensor) -> torch.Tensor:
    """[1, 3, 30] -> [10], the middle of each block."""
    return confidence[0, 1, 1::3]


def test_confidence_by_hand() -> None:
    # Median 5 (the lower middle one), s = (4+3+2+1+0+1+2+3+4+5)/10 = 2.5. The view is 2 d + 3, but for one block that
    # is 2 * 8.6 + 3 instead of 2 * 8 + 3: aligned by the nine others, it is 0.6 off, u = 0.6 / 2.5 = 0.24.
    reference, view = blocks(VALUES), 2 * blocks(VALUES) + 3
    view[:, :, 21:24] += 1.2
    confidence = middles(view_confidence(reference, [view], tolerance=0.4))
    expected = torch.ones(10)
    expected[7] = math.exp(-0.24 / 0.4)
    torch.testing.assert_close(confidence, expected, rtol=0, atol=1e-5)


def test_the_worst_view_counts() -> None:
    reference, other = blocks(VALUES), blocks(VALUES)
    other[:, :, 21:24] += 0.6
    third = blocks(VALUES)
    third[:, :, 21:24] -= 1.0
    confidence = middles(view_confidence(reference, [other, third], tolerance=1.0))
    assert confidence[7] == pytest.approx(math.exp(-1.0 / 2.5), abs=1e-5)


def test_an_edge_displaced_by_a_pixel_is_agreement_and_by_two_is_none() -> None:
    reference = torch.zeros(1, 12, 20)
    reference[:, :, 10:] = 1.0
    reference[:, 6:] += 3.0
    for pixels, sure in ((1, True), (2, False)):
        view = reference.clone()
        view[:, :, 10 : 10 + pixels] -= 1.0
        assert bool((view_confidence(reference, [view], tolerance=0.1) > 0.9).all()) is sure


def test_threshold_and_quantile_mask() -> None:
    reference, view = blocks(VALUES), blocks(VALUES)
    view[:, :, 3:6] += 0.5  # u = 0.2
    view[:, :, 21:24] -= 1.0  # u = 0.4
    plain = view_confidence(reference, [view], tolerance=0.2)
    assert middles(plain)[1] == pytest.approx(math.exp(-1), abs=1e-5)
    assert middles(plain)[7] == pytest.approx(math.exp(-2), abs=1e-5)
    masked = view_confidence(reference, [view], tolerance=0.2, threshold=0.2)
    # A block's column beside the neighbour that the view leans to is within its 3x3 range, so 6 of 9 pixels disagree.
    assert torch.equal(masked == 0, plain < 0.2)
    assert int((masked == 0).sum()) == 6
    # Of 90 pixels in order, 6 have e^-2 and 6 have e^-1; the 10% quantile is the ninth, and those below it go.
    least = view_confidence(reference, [view], tolerance=0.2, quantile=0.1)
    assert torch.equal(least == 0, plain < 0.2)


def test_scale_and_shift_of_any_view_change_nothing() -> None:
    generator = torch.Generator().manual_seed(0)
    reference = torch.linspace(0, 10, 24)[None, :, None] + torch.linspace(0, 3, 32) + torch.zeros(2, 1, 1)
    view = reference + 4 * torch.rand(2, 24, 32, generator=generator)
    plain = view_confidence(reference, [view], tolerance=0.3)
    assert 0.2 < float(plain.mean()) < 0.95
    moved = view_confidence(50 * reference - 7, [0.02 * view + 4], tolerance=0.3)
    # Float32 of numbers around 600 whose deviations are around 150: rounding of 1e-5 of the map.
    torch.testing.assert_close(moved, plain, rtol=0, atol=2e-4)


def test_alignment_ignores_a_fifth_of_wrong_pixels() -> None:
    generator = torch.Generator().manual_seed(1)
    reference = torch.rand(1, 20, 20, generator=generator)
    view = 3 * reference - 1
    view[:, :4] += torch.rand(1, 4, 20, generator=generator)
    aligned = align_view(view, reference)
    # What least squares over all pixels makes of it is 0.1 off.
    torch.testing.assert_close(aligned[:, 4:], reference[:, 4:], rtol=0, atol=2e-3)


def test_maps_that_say_nothing_are_not_believed() -> None:
    good = torch.rand(1, 8, 8, generator=torch.Generator().manual_seed(2))
    broken = good.clone()
    broken[0, 3, 3] = torch.nan
    overflown = good.clone()
    overflown[0, 3, 3] = torch.inf
    flat = torch.full((1, 8, 8), 0.7)
    for reference, view in ((broken, good), (good, broken), (overflown, good), (good, overflown), (flat, flat)):
        assert not view_confidence(reference, [view], tolerance=0.3).any()
    # A flat view, or one upside down, agrees with a ramp nowhere but near the mean: s is a quarter of the ramp's
    # height, so that u < 0.1 is less than one of its 40 rows, to which 3x3 pixels add one on either side.
    ramp = torch.linspace(0, 1, 40)[None, :, None].expand(1, 40, 8).contiguous()
    for view in (torch.full_like(ramp, 0.7), 1 - ramp):
        assert int((view_confidence(ramp, [view], tolerance=0.1)[0, :, 4] > math.exp(-1)).sum()) <= 4
