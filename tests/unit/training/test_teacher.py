"""What a teacher makes of pictures, and the loss of a student on it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

import miniatures
from dptkit.config import PreprocessConfig
from dptkit.training.config import DepthLoss, SegmentationLoss
from dptkit.training.losses import affine_invariant_distillation_loss
from dptkit.training.semi_supervised import pseudo_label_loss
from dptkit.training.teacher import PseudoLabels, Teacher
from dptkit.training.teacher_config import Confidence

HALF = PreprocessConfig()
IMAGENET = PreprocessConfig(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))


def loss_of(
    student: torch.Tensor,
    target: torch.Tensor,
    confidence: torch.Tensor,
    from_other: torch.Tensor | None = None,
    ignore_share: float = 0.1,
) -> torch.Tensor:
    nowhere = torch.zeros_like(confidence, dtype=torch.bool)
    return pseudo_label_loss(
        student[:, None],
        None,
        PseudoLabels(target, confidence),
        nowhere if from_other is None else from_other,
        DepthLoss(),
        ignore_share=ignore_share,
        pixels=confidence.numel(),
    )


def maps(count: int, seed: int, height: int = 12, width: int = 16) -> torch.Tensor:
    return torch.rand(count, height, width, generator=torch.Generator().manual_seed(seed))


def test_the_teacher_sees_the_picture_as_it_was_trained_to() -> None:
    """Its own normalisation and size, flipped, and at another scale; what comes back lies on the picture's pixels."""
    seen: list[torch.Tensor] = []

    def network(image: torch.Tensor) -> torch.Tensor:
        seen.append(image)
        return image.mean(dim=1, keepdim=True)

    picture = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    picture = torch.nn.functional.avg_pool2d(picture, 9, 1, 4)  # something that survives resizing
    normalise = torch.tensor(IMAGENET.std)[:, None, None]
    image = (picture - torch.tensor(IMAGENET.mean)[:, None, None]) / normalise
    labels = Teacher(network, "depth", HALF, IMAGENET, Confidence(), None).label(image)
    torch.testing.assert_close(seen[0], (picture - 0.5) / 0.5, rtol=0, atol=1e-5)
    torch.testing.assert_close(seen[1].flip(3), seen[0], rtol=0, atol=0)
    # 0.75 * 64 = 48 is half-way between multiples of 32, and rounds to the 64 that it already is.
    assert [tuple(image.shape[2:]) for image in seen] == [(64, 64), (64, 64), (32, 32)]
    torch.testing.assert_close(labels.target, (picture.mean(1) - 0.5) / 0.5, rtol=0, atol=1e-5)
    # A network that commutes with flips and nearly with resizing can be believed.
    assert labels.confidence.mean() > 0.7
    seen.clear()
    labels = Teacher(network, "depth", HALF, IMAGENET, Confidence(), 128).label(image)
    assert [tuple(image.shape[2:]) for image in seen] == [(128, 128), (128, 128), (96, 96)]
    assert labels.target.shape == labels.confidence.shape == (2, 64, 64)


def test_confidence_is_low_where_flipping_changes_the_answer() -> None:
    def network(image: torch.Tensor) -> torch.Tensor:
        """Brightness everywhere, but that of a ramp from the left side in the upper quarter."""
        answer = image.mean(dim=1, keepdim=True).clone()
        rows = image.shape[2] // 4
        answer[:, :, :rows] = torch.linspace(-3, 3, image.shape[3])
        return answer

    image = torch.linspace(-1, 1, 64)[:, None].expand(1, 3, 64, 64).contiguous()
    confidence = Teacher(network, "depth", HALF, HALF, Confidence(), None).label(image).confidence[0]
    assert confidence[:14].mean() < 0.2
    assert confidence[20:].mean() > 0.9


def test_classes_are_taken_where_the_teacher_is_sure() -> None:
    logits = torch.zeros(1, 3, 2, 2)
    logits[0, 1, 0, 0] = 5.0  # e^5 / (e^5 + 2) = 0.987
    logits[0, 2, 0, 1] = 2.0  # 0.787
    labels = Teacher(lambda image: logits, "segmentation", HALF, HALF, Confidence(), None).label(torch.rand(1, 3, 2, 2))
    assert labels.target.tolist() == [[[1, 255], [255, 255]]]
    assert labels.confidence.tolist() == [[[1, 0], [0, 0]]]
    student = torch.randn(1, 3, 2, 2, generator=torch.Generator().manual_seed(0))
    nowhere = torch.zeros(1, 2, 2, dtype=torch.bool)
    loss = pseudo_label_loss(student, None, labels, nowhere, SegmentationLoss(), ignore_share=0.1, pixels=4)
    # One of four pixels is labelled: a quarter of its cross-entropy.
    assert float(loss) == pytest.approx(-float(student.log_softmax(1)[0, 1, 0, 0]) / 4, abs=1e-6)


def test_the_loss_by_hand() -> None:
    # p^ = (-2, -1, 0, 1, 2) / 1.2, d^ = (-2, -1, 0, 1, 12) / 3.2 (medians 0, mean deviations 1.2 and 3.2).
    student = torch.tensor([[[-2.0, -1.0, 0.0, 1.0, 2.0]]])
    target = torch.tensor([[[-2.0, -1.0, 0.0, 1.0, 12.0]]])
    confidence = torch.tensor([[[1.0, 0.5, 1.0, 0.5, 1.0]]])
    per_pixel = [2 / 1.2 - 2 / 3.2, 1 / 1.2 - 1 / 3.2, 0.0, 1 / 1.2 - 1 / 3.2, 12 / 3.2 - 2 / 1.2]
    expected = per_pixel[0] + 0.5 * per_pixel[1] + 0.5 * per_pixel[3] + per_pixel[4]
    # Weighted mean, times the share 4/5 that the confidences are of five pixels.
    assert float(loss_of(student, target, confidence, ignore_share=0)) == pytest.approx(expected / 5, abs=1e-6)


def test_scale_and_shift_of_the_teacher_change_nothing() -> None:
    student, target, confidence = maps(2, 0), maps(2, 1), maps(2, 2)
    plain = loss_of(student, target, confidence)
    assert plain > 0.1
    torch.testing.assert_close(loss_of(student, 1000 * target - 3, confidence), plain, rtol=1e-4, atol=0)
    torch.testing.assert_close(loss_of(0.5 * student + 8, target, confidence), plain, rtol=1e-4, atol=0)


def test_masked_pixels_have_no_effect_on_loss_and_gradients() -> None:
    student, target, confidence = maps(2, 0).requires_grad_(), maps(2, 1), maps(2, 2)
    confidence[:, :5] = 0
    gradient = torch.autograd.grad(loss_of(student, target, confidence), student)[0]
    assert not gradient[:, :5].any()
    assert gradient[:, 5:].any()
    other = target.clone()
    other[:, :5] = torch.nan
    again = torch.autograd.grad(loss_of(student, other, confidence), student)[0]
    assert torch.equal(again, gradient)


def test_nothing_confident_gives_zero_and_no_gradient() -> None:
    student = maps(2, 0).requires_grad_()
    loss = loss_of(student, maps(2, 1), torch.zeros(2, 12, 16))
    loss.backward()
    assert float(loss.detach()) == 0
    assert student.grad is not None
    assert not student.grad.any()


def test_the_parts_of_cutmix_have_their_own_scale_and_shift() -> None:
    """A student that knows each part up to its own scale and shift has nothing to learn; taken as one map it has."""
    own, other = maps(1, 0), maps(1, 1)
    from_other = torch.zeros(1, 12, 16, dtype=torch.bool)
    from_other[:, 3:9, 4:12] = True
    confidence = torch.ones(1, 12, 16)
    target = torch.where(from_other, 40 * other - 9, 0.1 * own + 2)
    student = torch.where(from_other, 2 * other, own + 5)
    assert float(loss_of(student, target, confidence, from_other)) < 1e-5
    assert float(loss_of(student, target, confidence)) > 0.1
    # Each part counts by its area.
    wrong = torch.where(from_other, maps(1, 2), student)
    inside = affine_invariant_distillation_loss(wrong, target, from_other)
    share = from_other.float().mean()
    torch.testing.assert_close(loss_of(wrong, target, confidence, from_other), share * inside, rtol=1e-4, atol=1e-5)


def test_labels_are_mixed_as_pictures_are() -> None:
    labels = PseudoLabels(maps(4, 0), maps(4, 1))
    from_other = maps(4, 2) > 0.5
    mixed = labels.mixed([1, 0, 3, 2], from_other)
    for values, found in ((labels.target, mixed.target), (labels.confidence, mixed.confidence)):
        assert torch.equal(found[0][from_other[0]], values[1][from_other[0]])
        assert torch.equal(found[3][~from_other[3]], values[3][~from_other[3]])


def test_nothing_is_known_of_padding() -> None:
    shown = maps(2, 2) > 0.3
    labels = PseudoLabels(torch.full((2, 12, 16), 3), torch.ones(2, 12, 16)).where(shown)
    assert torch.equal(labels.target == 3, shown)
    assert torch.equal(labels.target == 255, ~shown)
    assert torch.equal(labels.confidence > 0, shown)
    depth = PseudoLabels(maps(2, 0), torch.ones(2, 12, 16)).where(shown)
    assert torch.equal(depth.target, maps(2, 0))
    assert torch.equal(depth.confidence > 0, shown)


def test_the_mean_over_processes_is_the_loss_of_one() -> None:
    """Unequal shares of masked pixels too: every pixel counts once, whichever process has it."""
    student, target = maps(4, 0), maps(4, 1)
    confidence = (maps(4, 2) > torch.tensor([0.1, 0.9, 0.5, 0.2])[:, None, None]).float()
    from_other = maps(4, 3) > 0.6
    whole = loss_of(student, target, confidence, from_other, ignore_share=0)
    halves = [
        loss_of(*(values[part] for values in (student, target, confidence, from_other)), ignore_share=0)
        for part in (slice(0, 2), slice(2, 4))
    ]
    torch.testing.assert_close(torch.stack(halves).mean(), whole, rtol=1e-5, atol=0)


def test_a_metric_teacher_labels_inverse_depth() -> None:
    """Its raw output, which `postprocess` inverts, already rises towards the camera."""
    network = miniatures.build_miniature("dpt-hybrid-nyu").freeze()
    spec = miniatures.miniature_spec("dpt-hybrid-nyu")
    teacher = Teacher(network, "depth", spec.preprocess, replace(spec.preprocess), Confidence(), None)
    image = miniatures.random_image(1, 3, 64, 64)
    assert torch.equal(teacher.label(image).target, network(image)[:, 0])
