"""Depth losses against values by hand and plain numpy loops; what must not change them; degenerate inputs.

Float64 throughout unless precision is the subject: 1e-9 relative is then rounding, with room for divisions by small
deviations in random draws.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from beartype import BeartypeConf, beartype
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import jaxtyped
from torch import Tensor

from dptkit.training import losses, residuals
from dptkit.training.config import DepthLoss

Array = npt.NDArray[Any]
Loss = Callable[[Tensor, Tensor, Tensor], Tensor]
# An int where a float is due is no mistake.
check = jaxtyped(typechecker=beartype(conf=BeartypeConf(is_pep484_tower=True)))

trimmed = check(losses.scale_shift_invariant_loss)
mse = check(losses.scale_shift_invariant_mse)
align = check(losses.align_scale_shift)
gradient_matching = check(losses.gradient_matching_loss)
log_loss = check(losses.scale_invariant_log_loss)
distillation = check(losses.affine_invariant_distillation_loss)
anchor = check(losses.output_scale_anchor)
matching_least_squares = partial(gradient_matching, alignment="least_squares")

MEDIAN_LOSSES: list[Loss] = [trimmed, gradient_matching, distillation]
SCALE_FREE: list[Loss] = [*MEDIAN_LOSSES, mse, matching_least_squares]
ALL: list[Loss] = [*SCALE_FREE, log_loss]
many = settings(deadline=None, max_examples=25)
seeds = st.integers(0, 2**32 - 1)

# Median 0 and mean deviation 1, so normalisation leaves it alone; and the same numbers elsewhere.
TARGET = torch.tensor([[-2.0, -2, -2, -2], [0, 0, 0, 0], [0, 0, 0, 0], [2, 2, 2, 2]])[None]
SHUFFLED = torch.tensor([[-2.0, -2, -2, -2], [0, 0, 0, 2], [0, 0, 2, 0], [2, 2, 0, 0]])[None]
RESIDUAL = SHUFFLED - TARGET
EVERYWHERE = torch.ones(1, 4, 4, dtype=torch.bool)


def batch(seed: int, size: tuple[int, int, int] = (3, 5, 7)) -> tuple[Tensor, Tensor, Tensor]:
    """Positive maps that resemble each other; about two thirds valid, the last image of the batch not at all."""
    rng = np.random.default_rng(seed)
    target = rng.uniform(0.5, 4, size)
    prediction = target * rng.uniform(0.7, 1.4, size) + 0.1
    valid = rng.random(size) < 0.65
    valid[:, 0, :4] = True
    valid[-1] = False
    return torch.from_numpy(prediction), torch.from_numpy(target), torch.from_numpy(valid)


def gradient(loss: Loss, prediction: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    p = prediction.detach().clone().requires_grad_()
    (result,) = torch.autograd.grad(loss(p, target, valid), p)
    return result


# By hand.


def test_trimmed_loss_by_hand() -> None:
    """Target: median 2 (lower of 2 and 3), deviations 2 1 0 1 2 3, mean 3/2. Prediction: the same, mean 5/2.

    So residuals are x (2/5 - 2/3) for x = -2 .. 2, that is 8/15, 4/15, 0, 4/15, 8/15, and 9 * 2/5 - 2 = 8/5. U = 4.
    """
    target = torch.tensor([[[0.0, 1, 2], [3, 4, 5]]])
    prediction = torch.tensor([[[0.0, 1, 2], [3, 4, 11]]])
    valid = torch.ones(1, 2, 3, dtype=torch.bool)
    assert trimmed(prediction, target, valid).item() == pytest.approx((8 + 4 + 4) / 15 / 12, rel=1e-6)
    assert trimmed(prediction, target, valid, trim=0).item() == pytest.approx(48 / 15 / 12, rel=1e-6)
    assert trimmed(prediction, target, valid, trim=1).item() == 0
    # Normalised target limited to 1: -1 -2/3 0 2/3 1 1 against -4/5 -2/5 0 2/5 4/5 18/5.
    clipped = (3 + 4 + 0 + 4 + 3 + 39) / 15 / 12
    assert trimmed(prediction, target, valid, trim=0, clip=1).item() == pytest.approx(clipped, rel=1e-6)


def test_trim_counts_pixels_exactly() -> None:
    """1 - 0.9 is 0.0999..., but a tenth of ten pixels is one."""
    residual = torch.arange(1.0, 11).reshape(1, 2, 5)
    for share, kept in ((1 - 0.9, 1), (1 - 0.3, 7), (1 - 0.2, 8), (0.79, 7)):
        ((values, _),) = residuals.smallest(residual, torch.ones(1, 2, 5, dtype=torch.bool), share)
        assert sorted(values.tolist()) == list(range(1, kept + 1))


def test_least_squares_by_hand() -> None:
    """cov = 1, var = 2/3: scale 3/2, shift -1/2; residuals -1/2, 1, -1/2 in both rows."""
    prediction = torch.tensor([[[0.0, 1, 2], [0, 1, 2]]])
    target = torch.tensor([[[0.0, 0, 3], [0, 0, 3]]])
    valid = torch.ones(1, 2, 3, dtype=torch.bool)
    scale, shift = align(prediction, target, valid)
    assert (scale.item(), shift.item()) == pytest.approx((1.5, -0.5), rel=1e-6)
    assert mse(prediction, target, valid).item() == pytest.approx(3 / 12, rel=1e-6)


@pytest.mark.parametrize(("scales", "expected"), [(1, 20 / 16), (2, 20 / 16 + 4 / 4), (4, 20 / 16 + 4 / 4)])
def test_gradient_matching_by_hand(scales: int, expected: float) -> None:
    """R: rows 0, 0 0 0 2, 0 0 2 0, 0 0 -2 -2. Along x 2 + 4 + 2, along y 6 + 6. Every second: 0 0, 0 2. Then one."""
    assert gradient_matching(SHUFFLED, TARGET, EVERYWHERE, scales=scales).item() == pytest.approx(expected, rel=1e-6)


def test_gradient_matching_skips_pairs_with_an_invalid_pixel() -> None:
    """A target of 0 and a prediction of 2 fall away: medians stay 0, mean deviations become 16/15 and 14/15."""
    valid = EVERYWHERE.clone()
    valid[0, 1, 3] = False
    # Lost: x (1, 2)-(1, 3); y (0, 3)-(1, 3) and (1, 3)-(2, 3). The prediction loses a 2, the target a 0.
    p, d = SHUFFLED / (14 / 15), TARGET / (16 / 15)
    r = (p - d)[0]
    x = (r[:, 1:] - r[:, :-1]).abs()
    y = (r[1:] - r[:-1]).abs()
    expected = (x.sum() - x[1, 2] + y.sum() - y[0, 3] - y[1, 3]) / 15
    assert gradient_matching(SHUFFLED, TARGET, valid, scales=1).item() == pytest.approx(expected.item(), rel=1e-6)


def test_log_loss_by_hand() -> None:
    """g = 1 and 3: mean 2, mean square 5."""
    target = torch.tensor([[[2.0, 0.5, 7.0, 0.0]]])
    prediction = target * torch.tensor([1.0, 3.0, 5.0, 1.0]).exp()
    valid = torch.tensor([[[True, True, False, True]]])  # 0 m cannot have been measured
    assert log_loss(prediction, target, valid).item() == pytest.approx(10 * 1.6**0.5, rel=1e-6)
    eigen = log_loss(prediction, target, valid, variance_focus=0.5, weight=1.0).item()
    assert eigen == pytest.approx(3**0.5, rel=1e-6)


def test_distillation_by_hand() -> None:
    """Four residuals of 2 among sixteen. A tenth, rounded up, is two of them."""
    assert distillation(SHUFFLED, TARGET, ignore_share=0).item() == pytest.approx(8 / 16, rel=1e-6)
    assert distillation(SHUFFLED, TARGET).item() == pytest.approx(4 / 14, rel=1e-6)
    confidence = torch.ones(1, 4, 4)
    confidence[0, 1, 3] = 3
    weighted = distillation(SHUFFLED, TARGET, confidence=confidence, ignore_share=0)
    assert weighted.item() == pytest.approx(12 / 18, rel=1e-6)
    assert distillation(SHUFFLED, TARGET, confidence=0 * confidence).item() == 0
    # All of the large residuals ignored leaves nothing.
    assert distillation(SHUFFLED, TARGET, ignore_share=0.25).item() == 0


def test_distillation_teaches_one_way_only() -> None:
    maps = [SHUFFLED.clone().requires_grad_(), TARGET.clone().requires_grad_(), torch.ones(1, 4, 4).requires_grad_()]
    distillation(maps[0], maps[1], confidence=maps[2], ignore_share=0).backward()
    assert maps[0].grad is not None
    assert maps[0].grad.abs().sum() > 0
    assert maps[1].grad is None
    assert maps[2].grad is None


def test_anchor_by_hand() -> None:
    sign = torch.tensor([[[1.0, -1], [-1, 1]]])
    assert anchor(100 * sign).item() == pytest.approx(np.log(10) ** 2, rel=1e-6)
    assert anchor(0.05 * sign + 0.05).item() == pytest.approx(0.25, rel=1e-5)
    assert anchor(100 * sign, low=1, high=200).item() == 0
    # Spread is within images: one around 5 and one around -5 are both flat.
    apart = torch.cat([0.05 * sign + 5, 0.05 * sign - 5])
    assert anchor(apart).item() == pytest.approx(0.25, rel=1e-5)
    # Large offset, small spread: root mean square sqrt(100^2 + 0.05^2), spread 0.05.
    both = np.log(10.00000125) ** 2 + 0.25
    assert anchor(0.05 * sign.double() + 100).item() == pytest.approx(both, rel=1e-6)


# Against loops.


def normalised_by_loop(values: Array, valid: Array) -> Array:
    known = sorted(values[valid])
    median = known[(len(known) - 1) // 2]
    return (values - median) / (sum(abs(v - median) for v in known) / len(known))


def trimmed_by_loop(p: Array, d: Array, valid: Array, trim: float) -> float:
    total, count = 0.0, 0
    for b in range(len(p)):
        m = int(valid[b].sum())
        if m == 0:
            continue
        residual = normalised_by_loop(p[b], valid[b]) - normalised_by_loop(d[b], valid[b])
        total += sum(sorted(abs(residual[valid[b]]))[: int(m * (1 - trim) + 1e-9)])
        count += m
    return total / (2 * count)


def matching_by_loop(residuals: list[Array], valid: Array, scales: int) -> float:
    loss = 0.0
    for k in range(scales):
        total, count = 0.0, 0
        for r, v in zip(residuals, valid, strict=True):
            r, v = r[:: 2**k, :: 2**k], v[:: 2**k, :: 2**k]
            count += int(v.sum())
            for y in range(r.shape[0]):
                for x in range(r.shape[1]):
                    if x + 1 < r.shape[1] and v[y, x] and v[y, x + 1]:
                        total += abs(r[y, x + 1] - r[y, x])
                    if y + 1 < r.shape[0] and v[y, x] and v[y + 1, x]:
                        total += abs(r[y + 1, x] - r[y, x])
        loss += total / max(count, 1)
    return loss


@many
@given(seed=seeds, trim=st.sampled_from([0.0, 0.1, 0.2, 0.5]), height=st.integers(2, 9), width=st.integers(4, 9))
def test_trimmed_loss_against_a_loop(seed: int, trim: float, height: int, width: int) -> None:
    maps = batch(seed, (3, height, width))
    expected = trimmed_by_loop(*(m.numpy() for m in maps), trim)
    assert trimmed(*maps, trim=trim).item() == pytest.approx(expected, rel=1e-9)


@many
@given(seed=seeds, scales=st.integers(1, 5), height=st.integers(2, 17), width=st.integers(4, 9))
def test_gradient_matching_against_a_loop(seed: int, scales: int, height: int, width: int) -> None:
    maps = batch(seed, (3, height, width))
    p, d, valid = (m.numpy() for m in maps)
    by_median = [
        normalised_by_loop(p[b], valid[b]) - normalised_by_loop(d[b], valid[b]) for b in range(2) if valid[b].any()
    ]
    found = gradient_matching(*maps, scales=scales).item()
    assert found == pytest.approx(matching_by_loop(by_median, valid[:2], scales), rel=1e-9)
    by_squares = []
    for b in range(2):
        a, c = np.polyfit(p[b][valid[b]], d[b][valid[b]], 1)
        by_squares.append(a * p[b] + c - d[b])
    found = matching_least_squares(*maps, scales=scales).item()
    assert found == pytest.approx(matching_by_loop(by_squares, valid[:2], scales), rel=1e-8)


@many
@given(seed=seeds)
def test_least_squares_against_numpy(seed: int) -> None:
    maps = batch(seed)
    p, d, valid = (m.numpy() for m in maps)
    scale, shift = align(*maps)
    squares, count = 0.0, 0
    for b in range(2):
        expected = np.polyfit(p[b][valid[b]], d[b][valid[b]], 1)
        np.testing.assert_allclose((scale[b].item(), shift[b].item()), expected, rtol=1e-9, atol=1e-9)
        squares += ((np.polyval(expected, p[b]) - d[b])[valid[b]] ** 2).sum()
        count += valid[b].sum()
    assert mse(*maps).item() == pytest.approx(squares / (2 * count), rel=1e-9)


@many
@given(seed=seeds, focus=st.sampled_from([0.0, 0.5, 0.85, 1.0]))
def test_log_loss_against_the_formula(seed: int, focus: float) -> None:
    maps = batch(seed)
    p, d, valid = (m.numpy() for m in maps)
    g = np.log(p[valid]) - np.log(d[valid])
    expected = 10 * np.sqrt((g**2).mean() - focus * g.mean() ** 2)
    assert log_loss(*maps, variance_focus=focus).item() == pytest.approx(expected, rel=1e-9)


@many
@given(seed=seeds, share=st.sampled_from([0.0, 0.1, 0.3]))
def test_distillation_against_a_loop(seed: int, share: float) -> None:
    maps = batch(seed)
    confidence = np.random.default_rng(seed).uniform(0, 2, maps[0].shape)
    p, d, valid = (m.numpy() for m in maps)
    total = weight = 0.0
    for b in range(2):
        residual = abs(normalised_by_loop(p[b], valid[b]) - normalised_by_loop(d[b], valid[b]))
        pairs = sorted(zip(residual[valid[b]], confidence[b][valid[b]], strict=True))
        for r, c in pairs[: int(len(pairs) * (1 - share) + 1e-9)]:
            total += c * r
            weight += c
    found = distillation(*maps, confidence=torch.from_numpy(confidence), ignore_share=share)
    assert found.item() == pytest.approx(total / weight, rel=1e-9)


# What must not change them.

scale_and_shift = {"scale": st.floats(0.01, 100), "shift": st.floats(-100, 100)}


@many
@given(seed=seeds, **scale_and_shift)
def test_scale_and_shift_of_the_prediction(seed: int, scale: float, shift: float) -> None:
    """1e-7: a shift of 100 on values spread by 0.01 costs four of float64's sixteen digits, and some in the sums."""
    p, d, valid = batch(seed)
    for loss in SCALE_FREE:
        assert loss(scale * p + shift, d, valid).item() == pytest.approx(loss(p, d, valid).item(), rel=1e-7)
    assert mse(shift - scale * p, d, valid).item() == pytest.approx(mse(p, d, valid).item(), rel=1e-7)


@many
@given(seed=seeds, **scale_and_shift)
def test_scale_and_shift_of_the_target(seed: int, scale: float, shift: float) -> None:
    p, d, valid = batch(seed)
    moved = scale * d + shift
    for loss in MEDIAN_LOSSES:
        assert loss(p, moved, valid).item() == pytest.approx(loss(p, d, valid).item(), rel=1e-7)
    assert mse(p, moved, valid).item() == pytest.approx(scale**2 * mse(p, d, valid).item(), rel=1e-7)
    expected = scale * matching_least_squares(p, d, valid).item()
    assert matching_least_squares(p, moved, valid).item() == pytest.approx(expected, rel=1e-7)


@many
@given(seed=seeds, scale=st.floats(0.01, 100))
def test_log_loss_is_scale_invariant_with_full_variance_focus_only(seed: int, scale: float) -> None:
    p, d, valid = batch(seed)
    full = partial(log_loss, variance_focus=1.0)
    assert full(scale * p, d, valid).item() == pytest.approx(full(p, d, valid).item(), rel=1e-9)
    assert log_loss(1000 * p, d, valid).item() > 2 * log_loss(p, d, valid).item()


@pytest.mark.parametrize("loss", ALL)
def test_what_invalid_pixels_hold_does_not_matter(loss: Loss) -> None:
    p, d, valid = batch(0)
    reference, slope = loss(p, d, valid), gradient(loss, p, d, valid)
    for junk in (torch.nan, torch.inf, -1e30, 0.0):
        dirty = (torch.where(valid, p, junk), torch.where(valid, d, junk), valid)
        assert loss(*dirty).item() == reference.item()
        assert torch.equal(gradient(loss, *dirty), slope)
    assert (slope[~valid] == 0).all()
    assert slope.abs().sum() > 0


@pytest.mark.parametrize("loss", ALL)
def test_half_of_the_pixels_valid_is_the_loss_of_that_half(loss: Loss) -> None:
    p, d, _ = batch(1, (2, 6, 8))
    valid = torch.zeros(2, 6, 8, dtype=torch.bool)
    valid[:, :, :4] = True
    half = (p[:, :, :4], d[:, :, :4], valid[:, :, :4])
    assert loss(p, d, valid).item() == pytest.approx(loss(*half).item(), rel=1e-12)
    assert loss(p, d, valid).item() != pytest.approx(loss(p, d, torch.ones_like(valid)).item(), rel=1e-3)


@pytest.mark.parametrize("loss", ALL)
def test_order_of_the_batch(loss: Loss) -> None:
    p, d, valid = batch(2, (4, 5, 6))
    order = torch.tensor([2, 0, 3, 1])
    assert loss(p[order], d[order], valid[order]).item() == pytest.approx(loss(p, d, valid).item(), rel=1e-12)
    moved = gradient(loss, p[order], d[order], valid[order])
    torch.testing.assert_close(moved, gradient(loss, p, d, valid)[order], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    "loss", [trimmed, mse, partial(gradient_matching, scales=1), partial(distillation, ignore_share=0)]
)
def test_a_batch_weighs_its_images_by_their_valid_pixels(loss: Loss) -> None:
    p, d, valid = batch(3)
    counts = valid[:2].sum(dim=(1, 2)).double()
    assert counts[0] != counts[1]
    each = torch.stack([loss(p[b : b + 1], d[b : b + 1], valid[b : b + 1]) for b in range(2)])
    assert loss(p, d, valid).item() == pytest.approx(((each * counts).sum() / counts.sum()).item(), rel=1e-9)


def test_residuals_that_are_trimmed_may_be_anything() -> None:
    """The stage that trims, for any values; the whole loss, where s(d) is kept: it is a mean and sees outliers."""
    residual = torch.rand(2, 4, 5, generator=torch.Generator().manual_seed(0))
    mask = torch.ones(2, 4, 5, dtype=torch.bool)
    worst = residual.flatten(1).topk(2).indices
    outliers = residual.flatten(1).scatter(1, worst, torch.tensor([[1e3, 1e20]] * 2)).reshape(2, 4, 5)
    for (values, _), (same, _) in zip(
        residuals.smallest(residual, mask, 0.8), residuals.smallest(outliers, mask, 0.8), strict=True
    ):
        assert sorted(values.tolist()) == sorted(same.tolist())

    target = torch.linspace(0, 1, 20).reshape(1, 4, 5).double()
    prediction = target + 0.01 * torch.randn(1, 4, 5, generator=torch.Generator().manual_seed(1))
    pairs = []
    for apart in (0.0, 3.0):
        # One far up and one far down, or both far up: the same sum of deviations.
        spoiled = target.clone()
        spoiled[0, 3, 3:] = torch.tensor([20.0 + apart, 20.0 - apart], dtype=torch.float64)
        pairs.append((prediction, spoiled, mask[:1]))
    assert trimmed(*pairs[0]).item() == pytest.approx(trimmed(*pairs[1]).item(), rel=1e-12)
    flipped = [(spoiled, prediction, valid) for prediction, spoiled, valid in pairs]
    assert trimmed(*flipped[0]).item() == pytest.approx(trimmed(*flipped[1]).item(), rel=1e-12)
    assert trimmed(*pairs[0], trim=0.05).item() != pytest.approx(trimmed(*pairs[1], trim=0.05).item(), rel=1e-3)


# Gradients.


@pytest.mark.parametrize("loss", ALL)
@pytest.mark.parametrize("seed", range(3))
def test_gradients(loss: Loss, seed: int) -> None:
    """Random values keep 1e-6, gradcheck's step, away from ties and kinks. Covers the constants of the MSE as well."""
    p, d, valid = batch(seed, (2, 4, 5))
    assert torch.autograd.gradcheck(lambda x: loss(x, d, valid), p.requires_grad_())


def test_gradients_of_alignment_clip_and_anchor() -> None:
    p, d, valid = batch(4, (2, 4, 5))
    p.requires_grad_()
    d.requires_grad_()
    assert torch.autograd.gradcheck(lambda x, y: align(x, y, valid), (p, d))
    assert torch.autograd.gradcheck(lambda x: trimmed(x, d.detach(), valid, clip=0.8), p)
    assert torch.autograd.gradcheck(lambda x: anchor(100 * x), p)
    assert torch.autograd.gradcheck(lambda x: anchor(0.03 * x), p)


@pytest.mark.parametrize("loss", ALL)
def test_no_gradient_at_a_perfect_match(loss: Loss) -> None:
    """Small whole numbers, doubled and moved by 4: every step is exact, so is the zero."""
    target = torch.tensor([[[1.0, 2, 4, 8], [3, 5, 9, 16], [7, 6, 2, 1], [12, 4, 8, 8]]])
    prediction = target if loss is log_loss else 2 * target + 4
    assert loss(prediction, target, EVERYWHERE).item() == 0
    assert (gradient(loss, prediction, target, EVERYWHERE) == 0).all()
    assert loss(prediction.flip(1), target, EVERYWHERE).item() > 0


@pytest.mark.parametrize("loss", SCALE_FREE)
def test_scale_free_gradients_point_neither_along_scale_nor_shift(loss: Loss) -> None:
    p, d, valid = batch(5)
    slope = gradient(loss, p, d, valid)
    assert slope.abs().max() > 1e-3
    assert slope.sum(dim=(1, 2)).abs().max() < 1e-12
    assert (slope * p).sum(dim=(1, 2)).abs().max() < 1e-12


# Degenerate inputs.


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("loss", ALL)
def test_nothing_valid(loss: Loss, dtype: torch.dtype) -> None:
    p, d, valid = (m[:2] for m in batch(0))
    p, d = p.to(dtype), d.to(dtype)
    assert loss(p, d, torch.zeros_like(valid)).item() == 0
    assert (gradient(loss, p, d, torch.zeros_like(valid)) == 0).all()


@pytest.mark.parametrize("constant", [0.0, 0.1, 1e6, -3.3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("loss", SCALE_FREE)
def test_constant_maps_have_no_scale(loss: Loss, dtype: torch.dtype, constant: float) -> None:
    """Alone they give zero; beside others they count as images without valid pixels."""
    p, d, valid = batch(6, (3, 9, 11))
    p, d = p.to(dtype), d.to(dtype)
    flat = torch.full_like(p, constant)
    for case in ((flat, d, valid), (p, flat, valid), (flat, flat, valid)):
        assert loss(*case).item() == 0
        assert (gradient(loss, *case) == 0).all()
    without = valid.clone()
    without[1] = False
    for which in (p, d):
        mixed = which.clone()
        mixed[1] = constant
        case = (mixed, d, valid) if which is p else (p, mixed, valid)
        assert loss(*case).item() == pytest.approx(loss(p, d, without).item(), rel=1e-6)
        assert loss(*case).item() > 0
        slope = gradient(loss, *case)
        assert (slope[1] == 0).all()
        assert slope.isfinite().all()


@pytest.mark.parametrize("loss", SCALE_FREE)
def test_rounding_of_a_large_constant_is_no_structure(loss: Loss) -> None:
    """Neighbouring floats above 1000 are 6e-5 apart; normalised, that noise would be a full-sized prediction."""
    p, d, _ = batch(6, (2, 9, 11))
    valid = torch.ones_like(p, dtype=torch.bool)
    noise = (1000 + 6e-5 * p.gt(2)).float()
    assert noise.unique().numel() == 2
    assert loss(noise, d.float(), valid).item() == 0
    assert loss(p.float(), noise, valid).item() == 0
    assert loss((1000 + 0.1 * p).float(), d.float(), valid).item() > 0


def test_constant_metric_maps_are_compared_as_any_other() -> None:
    """e times too far everywhere: g = 1, so 10 sqrt(1 - 0.85)."""
    target = torch.full((1, 3, 3), 2.0)
    valid = torch.ones(1, 3, 3, dtype=torch.bool)
    assert log_loss(np.e * target, target, valid).item() == pytest.approx(10 * 0.15**0.5, rel=1e-6)
    for prediction in (target, np.e * target, 0 * target, -target):
        for focus in (0.85, 1.0):
            assert gradient(partial(log_loss, variance_focus=focus), prediction, target, valid).isfinite().all()
    assert log_loss(0 * target, target, valid).isfinite()


@pytest.mark.parametrize("loss", ALL)
@pytest.mark.parametrize("count", [1, 2, 3])
def test_few_valid_pixels(loss: Loss, count: int) -> None:
    p, d, _ = batch(7, (2, 4, 4))
    valid = torch.zeros(2, 4, 4, dtype=torch.bool)
    valid[0].view(-1)[:count] = True
    assert loss(p, d, valid).isfinite()
    assert gradient(loss, p, d, valid).isfinite().all()


@pytest.mark.parametrize("loss", ALL)
def test_single_row_and_single_pixel(loss: Loss) -> None:
    for size in ((1, 1, 9), (1, 9, 1), (1, 1, 1)):
        p, d = (torch.rand(size, generator=torch.Generator().manual_seed(s)) + 0.5 for s in (0, 1))
        valid = torch.ones(size, dtype=torch.bool)
        assert loss(p, d, valid).isfinite()
        assert gradient(loss, p, d, valid).isfinite().all()


@pytest.mark.parametrize("loss", ALL)
def test_divergence_is_seen(loss: Loss) -> None:
    """One bad pixel would be the first to be trimmed, and its deviation neither above nor below any limit."""
    p, d, valid = batch(0, (3, 9, 11))
    for bad in (torch.nan, torch.inf):
        p[0, 0, 0] = bad
        assert not loss(p, d, valid).isfinite()
        assert not anchor(p).isfinite()


def test_alignment_of_degenerate_images() -> None:
    p = torch.tensor([[[5.0, 5, 5, 5]], [[1, 2, 3, 4]], [[1, 2, 3, 4]], [[1, 2, 3, 4]]])
    d = torch.tensor([[[1.0, 2, 3, 6]], [[7, 7, 7, 7]], [[1, 2, 3, 4]], [[8, 6, 4, 2]]])
    valid = torch.ones(4, 1, 4, dtype=torch.bool)
    valid[2] = False
    scale, shift = align(p, d, valid)
    assert scale.tolist() == pytest.approx([0, 0, 0, -2])
    assert shift.tolist() == pytest.approx([3, 7, 0, 10])
    p.requires_grad_()
    sum(align(p, d, valid)).sum().backward()  # type: ignore[union-attr]
    assert p.grad is not None
    assert p.grad.isfinite().all()


# Precision.


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("loss", ALL)
def test_half_precision_is_computed_in_float32(loss: Loss, dtype: torch.dtype) -> None:
    p, d, valid = batch(8, (2, 40, 40))
    p, d = p.to(dtype), d.to(dtype)
    with torch.autocast("cpu", torch.bfloat16):
        found = loss(p, d, valid)
        slope = gradient(loss, p, d, valid)
    assert found.dtype == torch.float32
    assert found.item() == loss(p.float(), d.float(), valid).item()
    assert slope.dtype == dtype
    assert torch.equal(slope, gradient(loss, p.float(), d.float(), valid).to(dtype))


def test_large_offsets_survive_in_float32() -> None:
    """Offset 1000 at a spread of 1: float32 keeps 6e-5 of the spread; uncentred squares would keep nothing."""
    p, d, valid = batch(9, (2, 40, 40))
    for loss in SCALE_FREE:
        assert loss((p + 1000).float(), d.float(), valid).item() == pytest.approx(loss(p, d, valid).item(), rel=1e-3)


# The anchor.


def test_anchor_is_silent_inside_the_zone() -> None:
    torch.manual_seed(0)
    p = (3 * torch.randn(2, 8, 8) + 2).requires_grad_()
    anchor(p).backward()
    assert anchor(p).item() == 0
    assert p.grad is not None
    assert (p.grad == 0).all()


@pytest.mark.parametrize("factor", [100.0, 0.01])
@pytest.mark.parametrize("loss", SCALE_FREE)
def test_anchor_does_not_argue_with_scale_free_losses(loss: Loss, factor: float) -> None:
    """Also outside the zone, and for outputs of both signs, a step along its gradient leaves the other loss alone."""
    p, d, valid = batch(10)
    valid = torch.ones_like(valid)
    p = factor * (p - 2)
    (slope,) = torch.autograd.grad(anchor(q := p.clone().requires_grad_()), q)
    assert slope.abs().max() > 0
    step = 0.1 * p.abs().max() / slope.abs().max()
    assert anchor(p - step * slope) < anchor(p)
    assert loss(p - step * slope, d, valid).item() == pytest.approx(loss(p, d, valid).item(), rel=1e-9)


def test_anchor_brings_a_flat_output_back_and_survives_a_constant_one() -> None:
    torch.manual_seed(0)
    p = (1e-6 * torch.randn(2, 8, 8) + 4).double().requires_grad_()
    for _ in range(100):
        (slope,) = torch.autograd.grad(anchor(p), p)
        assert slope.norm() <= 2 / 0.1  # bounded by 2 / low, however flat
        p = (p - 0.05 * slope).detach().requires_grad_()
    assert anchor(p).item() < 1e-6
    for constant in (0.0, 4.0, 1e4):
        flat = torch.full((2, 8, 8), constant, requires_grad=True)
        anchor(flat).backward()
        assert flat.grad is not None
        assert flat.grad.isfinite().all()
    with pytest.raises(ValueError, match="low < high"):
        anchor(p, low=2, high=1)


def test_drift_and_what_stops_it() -> None:
    """Targets change from step to step, so the gradient never ends, and being orthogonal to p it makes p grow.

    With the anchor the size stays within a tenth of the upper limit, and the target is still learnt.
    """
    torch.manual_seed(0)
    truth = torch.randn(2, 8, 8)
    valid = torch.ones(2, 8, 8, dtype=torch.bool)
    noise = [torch.randn(2, 8, 8) for _ in range(300)]

    def train(weight: float) -> tuple[float, float]:
        p = torch.randn(2, 8, 8, generator=torch.Generator().manual_seed(1)).requires_grad_()
        for extra in noise:
            loss = trimmed(p, truth + extra, valid) + weight * anchor(p, low=0.5, high=4)
            (slope,) = torch.autograd.grad(loss, p)
            p = (p - 500 * slope).detach().requires_grad_()
        return p.square().mean().sqrt().item(), trimmed(p, truth, valid).item()

    drifted, _ = train(0)
    anchored, learnt = train(1)
    assert drifted > 8
    assert anchored < 4.4
    assert learnt < 0.5 * trimmed(noise[0], truth, valid).item()


def test_what_drifted_beyond_float16_comes_back_with_the_recipes_weight() -> None:
    """From 1e5, by Adam in steps of a hundredth of that; float16 ends at 65504. The target is learnt meanwhile."""
    torch.manual_seed(0)
    truth, valid = torch.randn(2, 8, 8), torch.ones(2, 8, 8, dtype=torch.bool)
    start = 1e5 * torch.randn(2, 8, 8)
    noise = torch.randn(200, 2, 8, 8)

    def train(weight: float) -> torch.Tensor:
        p = start.clone().requires_grad_()
        optimiser = torch.optim.Adam([p], lr=1e3)
        for extra in noise:
            optimiser.zero_grad()
            (trimmed(p, truth + extra, valid) + weight * anchor(p)).backward()
            optimiser.step()
        return p.detach()

    assert not train(0).half().isfinite().all()
    anchored = train(DepthLoss().anchor)
    assert anchored.half().isfinite().all()
    assert trimmed(anchored, truth, valid) < 0.5 * trimmed(start, truth, valid)


# Arguments.


def test_shapes_must_agree() -> None:
    """[B, 1, H, W] against [B, H, W] would broadcast to every pair of images."""
    p, d, valid = batch(0)
    for bad in ((p[:, None], d, valid), (p, d[:1], valid), (p, d, valid[:, :4])):
        for loss in (
            losses.scale_shift_invariant_loss,
            losses.scale_shift_invariant_mse,
            losses.align_scale_shift,
            losses.gradient_matching_loss,
            losses.scale_invariant_log_loss,
            losses.affine_invariant_distillation_loss,
        ):
            with pytest.raises(ValueError, match="one shape"):
                loss(*bad)


def test_bad_options() -> None:
    maps = batch(0)
    for call, message in (
        (partial(trimmed, trim=1.1), "trim"),
        (partial(log_loss, variance_focus=-0.1), "variance_focus"),
        (partial(distillation, ignore_share=2.0), "ignore_share"),
        (partial(gradient_matching, scales=0), "scales"),
        (partial(matching_least_squares, clip=20.0), "clip"),
    ):
        with pytest.raises(ValueError, match=message):
            call(*maps)
