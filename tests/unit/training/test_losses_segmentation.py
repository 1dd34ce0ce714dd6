"""Cross-entropy with an auxiliary head, against values by hand and a numpy loop."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from beartype import beartype
from jaxtyping import jaxtyped

from dptkit.training.losses import segmentation_loss

checked = jaxtyped(typechecker=beartype)(segmentation_loss)


def test_by_hand() -> None:
    """softmax(0, ln 3) = (1/4, 3/4): labels 1, 0 and 255 cost ln 4/3 and ln 4 and nothing."""
    logits = torch.tensor([0, math.log(3)])[None, :, None, None].expand(1, 2, 1, 3)
    labels = torch.tensor([[[1, 0, 255]]], dtype=torch.uint8)
    expected = (math.log(4 / 3) + math.log(4)) / 2
    assert checked(logits, labels).item() == pytest.approx(expected, rel=1e-6)
    # Another value may mean "ignore"; then 255 is no class.
    assert checked(logits, torch.tensor([[[1, 0, 7]]]), ignore=7).item() == pytest.approx(expected, rel=1e-6)
    with pytest.raises(IndexError):
        checked(logits, labels, ignore=7)


def test_class_weights_by_hand() -> None:
    """Labels 1 and 0 cost ln 4/3 and ln 4; weighted 3 to 1 the mean is (3 ln 4/3 + ln 4) / 4, not over the pixels."""
    logits = torch.tensor([0, math.log(3)])[None, :, None, None].expand(1, 2, 1, 3)
    labels, weights = torch.tensor([[[1, 0, 255]]], dtype=torch.uint8), torch.tensor([1.0, 3.0])
    expected = (3 * math.log(4 / 3) + math.log(4)) / 4
    assert checked(logits, labels, class_weights=weights).item() == pytest.approx(expected, rel=1e-6)
    oracle = torch.nn.functional.cross_entropy(logits, labels.long(), weights, ignore_index=255)
    assert checked(logits, labels, class_weights=weights).item() == pytest.approx(oracle.item(), rel=1e-6)
    nothing = checked(logits, torch.full_like(labels, 255), class_weights=weights)
    assert nothing.item() == 0


def test_auxiliary_head_adds_its_share() -> None:
    """The auxiliary logits are equal over 2 classes, so its cross-entropy is ln 2 whatever the size."""
    logits = torch.tensor([0, math.log(3)])[None, :, None, None].expand(1, 2, 2, 2)
    labels = torch.ones(1, 2, 2, dtype=torch.long)
    for weight in (0.2, 0.5):
        loss = checked(logits, labels, torch.zeros(1, 2, 1, 1), auxiliary_weight=weight)
        assert loss.item() == pytest.approx(math.log(4 / 3) + weight * math.log(2), rel=1e-6)


def test_logits_are_resized_with_corners_aligned() -> None:
    """From width 2 to width 4 in steps of a third; without aligned corners the steps are 1/4, 1/2, 1/4."""
    logits = torch.tensor([[0.0, 0.0], [-2.0, 7.0]])[None, :, None]
    resized = np.array([-2.0, 1.0, 4.0, 7.0])
    labels = torch.ones(1, 1, 4, dtype=torch.uint8)
    assert checked(logits, labels).item() == pytest.approx(np.log1p(np.exp(-resized)).mean(), rel=1e-6)


def test_against_a_loop() -> None:
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(2, 5, 4, 3)), rng.integers(0, 6, size=(2, 4, 3))
    labels[labels == 5] = 255
    costs = []
    for b, y, x in np.argwhere(labels != 255):
        scores = logits[b, :, y, x]
        costs.append(np.log(np.exp(scores).sum()) - scores[labels[b, y, x]])
    assert 0 < len(costs) < labels.size
    loss = checked(torch.from_numpy(logits), torch.from_numpy(labels))
    assert loss.item() == pytest.approx(np.mean(costs), rel=1e-12)


def test_gradient() -> None:
    torch.manual_seed(0)
    labels = torch.tensor([[[0, 1, 2, 255], [2, 2, 0, 1]]])
    maps = [torch.randn(1, 3, 2, 4, dtype=torch.float64), torch.randn(1, 3, 1, 2, dtype=torch.float64)]
    maps = [m.requires_grad_() for m in maps]
    assert torch.autograd.gradcheck(lambda main, auxiliary: segmentation_loss(main, labels, auxiliary), maps)


def test_an_image_without_labels_changes_nothing_and_alone_costs_nothing() -> None:
    torch.manual_seed(0)
    logits, labels = torch.randn(2, 3, 2, 2), torch.tensor([[[0, 1], [2, 255]], [[255, 255], [255, 255]]])
    assert checked(logits, labels).item() == pytest.approx(checked(logits[:1], labels[:1]).item(), rel=1e-6)
    alone = logits[1:].requires_grad_()
    loss = checked(alone, labels[1:], alone)
    loss.backward()
    assert loss.item() == 0
    assert alone.grad is not None
    assert (alone.grad == 0).all()


def test_half_precision_is_computed_in_float32() -> None:
    torch.manual_seed(0)
    logits, labels = 10 * torch.randn(1, 4, 3, 3), torch.randint(0, 4, (1, 6, 6))
    for dtype in (torch.bfloat16, torch.float16):
        rounded = logits.to(dtype)
        with torch.autocast("cpu", torch.bfloat16):
            loss = checked(rounded, labels, rounded)
        assert loss.dtype == torch.float32
        assert loss.item() == checked(rounded.float(), labels, rounded.float()).item()
