"""What parts of a step come to together is what the step as one batch would be."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

import miniatures
from dptkit.config import DepthDecoding
from dptkit.data.batches import Batch
from dptkit.errors import ConfigError
from dptkit.presets import PRESETS
from dptkit.training.config import (
    DepthLoss,
    LossConfig,
    MetricLoss,
    ModelStart,
    OnDisk,
    Phase,
    SegmentationLoss,
    TrainConfig,
    read_config,
)
from dptkit.training.objective import (
    batch_measure,
    compute_objective,
    freeze_unused,
    mean_objective,
    share_of_step,
    slice_batch,
)
from dptkit.training.start import build_spec
from dptkit.training.validation import validation_loss

CLASSES = miniatures.CLASSES


def random_batch(loss: LossConfig) -> Batch:
    """Four pictures with 100%, 50%, 10% and nothing that is known."""
    torch.manual_seed(0)
    valid = torch.rand(4, 8, 8, dtype=torch.float64) < torch.tensor([1, 0.5, 0.1, 0])[:, None, None]
    if isinstance(loss, SegmentationLoss):
        target = torch.where(valid, torch.randint(0, CLASSES, (4, 8, 8)), 255)
        return Batch(torch.zeros(4, 3, 8, 8), target, valid, torch.zeros(4), "labels", ("",) * 4)
    target = torch.rand(4, 8, 8, dtype=torch.float64)
    return Batch(torch.zeros(4, 3, 8, 8), target, valid, torch.zeros(4), "inverse_depth", ("",) * 4)


@pytest.mark.parametrize("parts", [2, 3, 4])
@pytest.mark.parametrize(
    "loss",
    [
        DepthLoss(gradient=0.0, anchor=0.0),
        DepthLoss("least_squares", gradient=0.0, anchor=0.0),
        SegmentationLoss(),
        SegmentationLoss(class_weights=(0.0, 0.5, 1.0, 2.0, 9.0)),
    ],
)
def test_parts_are_the_whole(loss: LossConfig, parts: int) -> None:
    """Two processes with half of the parts each: their gradients are averaged."""
    batch = random_batch(loss)
    raw = torch.randn(4, CLASSES if isinstance(loss, SegmentationLoss) else 1, 8, 8, requires_grad=True)
    auxiliary = raw * 2 if isinstance(loss, SegmentationLoss) else None

    def objective(number: int, count: int) -> tuple[torch.Tensor, torch.Tensor | None, Batch]:
        chosen = slice(number * 4 // count, (number + 1) * 4 // count)
        return raw[chosen], None if auxiliary is None else auxiliary[chosen], slice_batch(batch, number, count)

    whole = compute_objective(*objective(0, 1), loss, None)
    (expected,) = torch.autograd.grad(whole.total, raw, retain_graph=True)
    pieces = [compute_objective(*objective(number, parts), loss, None) for number in range(parts)]
    everywhere = batch_measure(batch, loss)
    (found,) = torch.autograd.grad(sum(share_of_step(piece, everywhere, 2) for piece in pieces) / 2, raw)
    torch.testing.assert_close(found, expected)
    together = mean_objective(pieces)
    torch.testing.assert_close(together.total, whole.total.detach())
    assert together.measure == whole.measure == everywhere
    assert {name: pytest.approx(float(value)) for name, value in whole.parts.items()} == together.parts


def test_least_squares_weigh_pictures_alike_whatever_their_unit() -> None:
    """A target in disparities of hundreds, and what invalid pixels hold, change nothing, the gradient term included."""
    loss = DepthLoss("least_squares", gradient=0.5, anchor=0.0)
    batch = random_batch(loss)
    raw = torch.randn(4, 1, 8, 8)
    factor = torch.tensor([1.0, 300, 0.01, 1], dtype=torch.float64)[:, None, None]
    other = batch._replace(target=torch.where(batch.valid, batch.target * factor + 7, torch.nan))
    found = [compute_objective(raw, None, b, loss, None).total for b in (batch, other)]
    torch.testing.assert_close(*found)
    constant = batch._replace(target=torch.full_like(batch.target, 3))
    assert compute_objective(raw, None, constant, loss, None).total == 0


def test_no_distance_is_no_edge() -> None:
    """A valid target of 0 m has no logarithm; it counts for neither term."""
    batch = random_batch(DepthLoss())
    batch = batch._replace(quantity="depth_m", target=batch.target + 1)
    raw, hole = torch.rand(4, 1, 8, 8), torch.rand(4, 8, 8) < 0.2
    losses = [
        compute_objective(raw, None, other, MetricLoss(gradient=0.5), DepthDecoding("depth_m", 0.1, 0.2, cap_m=9)).total
        for other in (
            batch._replace(target=torch.where(hole, 0, batch.target)),
            batch._replace(valid=batch.valid & ~hole),
        )
    ]
    torch.testing.assert_close(*losses, rtol=0, atol=0)


@pytest.mark.parametrize("normalisation", ["median", "least_squares"])
def test_the_scale_of_an_output_does_not_decide_which_model_is_best(normalisation: str) -> None:
    """Published networks put out thousands: their anchor term alone is as large as what they are wrong by."""
    loss = DepthLoss(normalisation, anchor=1.0)  # type: ignore[arg-type]
    batch = random_batch(loss)
    batch = batch._replace(image=torch.rand(4, 1, 8, 8, dtype=torch.float64))
    losses = []
    for scale in (1.0, 1e4):
        layer = torch.nn.Conv2d(1, 1, 1).double()
        torch.nn.init.constant_(layer.weight, scale)
        losses.append(validation_loss(layer, [batch], loss, None, lambda moved: moved))  # type: ignore[arg-type]
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)  # the objective is in float32


@pytest.mark.parametrize("name", ["finetune-depth", "recover-pruned"])
def test_published_networks_are_not_pulled_to_another_scale(name: str) -> None:
    """dpt-hybrid-nyu's constants (3.05e-4, 0.1378) say 1 to 5 m at raw outputs from 200 to 2800."""
    loss = read_config(Path(__file__).parents[3] / "configs" / f"{name}.yaml").loss
    assert isinstance(loss, DepthLoss)
    batch = random_batch(loss)
    raw = torch.rand(4, 1, 8, 8) * 2600 + 200
    assert compute_objective(raw, None, batch, loss, None).parts["anchor"] == 0
    assert compute_objective(raw, None, batch, DepthLoss(), None).parts["anchor"] > 1
    assert compute_objective(raw * 20, None, batch, loss, None).parts["anchor"] > 1  # where float16 ends


def test_a_step_without_anything_known_gives_zero() -> None:
    loss = SegmentationLoss()
    batch = random_batch(loss)
    batch = batch._replace(target=torch.full_like(batch.target, 255))
    pieces = [
        compute_objective(torch.randn(2, CLASSES, 8, 8), None, slice_batch(batch, k, 2), loss, None) for k in (0, 1)
    ]
    assert mean_objective(pieces).total == 0
    assert share_of_step(pieces[0], batch_measure(batch, loss), 1) == 0


def test_class_weights_are_one_for_each_class(monkeypatch: pytest.MonkeyPatch) -> None:
    preset = PRESETS["dpt-lite-street"]
    monkeypatch.setitem(PRESETS, preset.spec.name, replace(preset, spec=miniatures.miniature_spec(preset.spec.name)))
    loss = SegmentationLoss(class_weights=(1.0, 2.0))
    config = TrainConfig("s", ModelStart(preset.spec.name), (OnDisk("labels", "x"),), loss, 1, (Phase(0, 64, 4),))
    with pytest.raises(ConfigError, match=r"loss.class_weights: 2 for 5 classes"):
        build_spec(config)


@pytest.mark.parametrize("auxiliary", [0.0, 0.2])
def test_an_auxiliary_head_learns_where_the_loss_has_a_use_for_it(auxiliary: float) -> None:
    """Otherwise several processes wait for gradients that never come, and end after the first step."""
    network = miniatures.build_miniature("dpt-lite-street")
    freeze_unused(network, SegmentationLoss(auxiliary=auxiliary))
    for name, parameter in network.named_parameters():
        assert parameter.requires_grad == (auxiliary > 0 or not name.startswith("auxiliary_head.")), name
