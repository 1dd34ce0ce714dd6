"""Users who move weights between transformers and dptkit must get the same pictures, at every stage of the network.

Tiny random networks, so nothing is downloaded. That these checks can fail is shown in
`test_transformers_mistakes.py`.
"""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from filelock import FileLock
from torch import Tensor
from transformers_peer import (
    CASES,
    TRAINED_SIZE,
    Case,
    Direction,
    build_pair,
    build_peer,
    one_thread,
    our_stages,
    peer_output,
    peer_stages,
    random_images,
    randomise,
    relative_error,
)

from dptkit.model.build import build_model
from dptkit.weights.convert import convert_from_ours, convert_to_ours

# Where the numbers come from: both sides round some hundred operations in a row, each to 6e-8 (float32) or 1e-16
# (float64) of its result, but add in another order, and ours projects before it upsamples. Measured on x86-64 with
# torch 2.13, the worst of all cases and stages: 2.7e-6 (the hybrid's head) and 4.8e-15. That the gap shrinks with the
# precision, by the ratio of the two roundings, shows that it is rounding and nothing else. The rest of the tolerance
# is room for other processors' kernels.
TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-13}

DIRECTIONS: tuple[Direction, ...] = ("hf-to-ours", "ours-to-hf")
# The size whose grid the position embedding fits, wide, tall, and a larger square.
SIZES = ((64, 64), (64, 96), (128, 32), (96, 96))
# What depends on the size shows in float32 already, so one size is enough for the sharper check.
ROUNDS = [*((torch.float32, size) for size in SIZES), (torch.float64, (64, 96))]

every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
both_directions = pytest.mark.parametrize("direction", DIRECTIONS)
both_precisions = pytest.mark.parametrize("dtype", list(TOLERANCE), ids=["float32", "float64"])


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    with one_thread():
        yield


class ParityTable:
    """The worst relative error of each comparison."""

    def __init__(self) -> None:
        self.worst: dict[str, float] = {}

    def check(self, comparison: str, ours: Tensor, peer: Tensor) -> None:
        """Record the error, then demand that it is within the tolerance of the tensors' type."""
        assert ours.dtype == peer.dtype
        error = relative_error(ours, peer)
        self.worst[comparison] = max(error, self.worst.get(comparison, 0.0))
        assert error <= TOLERANCE[ours.dtype], f"{comparison}: relative error {error:.2e}"


@pytest.fixture(scope="session")
def parity_table() -> Iterator[ParityTable]:
    """Errors of the session, written to the file that DPTKIT_PARITY_TABLE names.

    Entries of that file which this session did not measure stay, so that parallel workers can share it.
    """
    table = ParityTable()
    yield table
    if target := os.environ.get("DPTKIT_PARITY_TABLE"):
        path = Path(target)
        with FileLock(f"{target}.lock"):
            entries = json.loads(path.read_text("utf-8")) if path.is_file() else []
            merged = {entry["pair"]: entry["worst_relative_error"] for entry in entries} | table.worst
            rows = [{"pair": pair, "worst_relative_error": worst} for pair, worst in sorted(merged.items())]
            path.write_text(json.dumps(rows, indent=1) + "\n", "utf-8")


@every_case
@both_directions
@pytest.mark.parametrize(("dtype", "size"), ROUNDS, ids=lambda part: str(part).removeprefix("torch."))
def test_every_stage_gives_what_transformers_gives(
    case: Case, direction: Direction, dtype: torch.dtype, size: tuple[int, int], parity_table: ParityTable
) -> None:
    pair, images = build_pair(case, direction, dtype), random_images(*size, dtype=dtype)
    ours, peer = our_stages(pair.ours, images), peer_stages(pair.peer, images)
    assert list(ours) == list(peer)
    # The last stage is at the picture's size, and each before it where the paper has it.
    assert ours["head"].shape[-2:] == images.shape[-2:]
    for k, scale in enumerate((4, 8, 16, 32)):
        assert ours[f"reassembled {k}"].shape[-2:] == (size[0] // scale, size[1] // scale)
        assert ours[f"fused {3 - k}"].shape[-2:] == (2 * size[0] // scale, 2 * size[1] // scale)
    kind = "square" if size[0] == size[1] else "not square"
    for stage in ours:
        precision = str(dtype).removeprefix("torch.")
        comparison = f"transformers {case.name}, {direction}, {precision}, {kind} {size[0]}x{size[1]}, {stage}"
        parity_table.check(comparison, ours[stage], peer[stage])


# transformers' hybrid takes no other size than its configuration's; the stages' test above runs its parts on others.
WHOLE_MODELS = [
    (case, side) for case in CASES for side in (TRAINED_SIZE, 96) if case.encoder == "vit" or side == TRAINED_SIZE
]


@pytest.mark.parametrize(("case", "side"), WHOLE_MODELS, ids=lambda part: getattr(part, "name", str(part)))
@both_directions
@both_precisions
def test_the_whole_model_gives_what_a_user_of_transformers_gets(
    case: Case, direction: Direction, dtype: torch.dtype, side: int, parity_table: ParityTable
) -> None:
    pair, images = build_pair(case, direction, dtype), random_images(side, side, dtype)
    with torch.no_grad():
        ours = pair.ours(images).squeeze(1)
    peer = peer_output(pair.peer, images)
    comparison = f"transformers {case.name}, {direction}, {dtype}, {side}x{side}, whole model"
    parity_table.check(comparison.replace("torch.", ""), ours, peer)
    # The stages compared above are what its forward does, so nothing of it is left out there.
    torch.testing.assert_close(peer_stages(pair.peer, images)["head"], peer, rtol=0, atol=0)


@pytest.mark.parametrize("case", [c for c in CASES if c.task == "segmentation" and c.auxiliary], ids=lambda c: c.name)
def test_training_logits_are_those_of_the_peers_auxiliary_layers_on_the_papers_map(
    case: Case, parity_table: ParityTable
) -> None:
    pair, images = build_pair(case, "hf-to-ours"), random_images(64, 64)
    with torch.no_grad():
        logits, auxiliary = pair.ours.forward_auxiliary(images)
        fused = peer_fused(pair.peer, images)
        parity_table.check(
            f"transformers {case.name}, forward_auxiliary, logits", logits, peer_output(pair.peer, images)
        )
        parity_table.check(
            f"transformers {case.name}, forward_auxiliary, auxiliary", auxiliary, pair.peer.auxiliary_head(fused[-2])
        )
        # transformers itself reads the finest map, at half the picture's size: another tensor than the paper's.
        assert auxiliary.shape[-2:] == (16, 16)
        assert pair.peer.auxiliary_head(fused[-1]).shape[-2:] == (32, 32)


def peer_fused(peer: torch.nn.Module, images: Tensor) -> list[Tensor]:
    stages = peer_stages(peer, images)
    return [stages[f"fused {k}"] for k in range(4)]


@pytest.mark.parametrize("readout", ["ignore", "add"])
def test_the_hybrid_reads_its_token_in_the_ways_transformers_refuses_to_configure(
    readout: str, parity_table: ParityTable
) -> None:
    case = Case("depth", "hybrid", readout)
    with pytest.raises(ValueError, match="project"):
        build_peer(case)
    # Its Reassemble knows the other two; its configuration does not let them through for a hybrid, so set it later.
    pair, images = copy.deepcopy(build_pair(Case("depth", "hybrid"), "hf-to-ours")), random_images(64, 96)
    pair.peer.neck.reassemble_stage.config.readout_type = readout
    ours = build_model(case.config).eval()
    ours.load_state_dict({k: v for k, v in pair.ours.state_dict().items() if ".read." not in k}, strict=True)
    peer = peer_stages(pair.peer, images)
    for stage, tensor in our_stages(ours, images).items():
        parity_table.check(f"transformers {case.name}, stages with the readout set later, {stage}", tensor, peer[stage])


@every_case
def test_weights_from_transformers_come_back_to_the_bit(case: Case) -> None:
    peer = build_peer(case)
    randomise(peer, case.seed)
    theirs = peer.state_dict()
    returned = convert_from_ours(convert_to_ours(theirs, case.config), case.config, "hf")
    assert returned.keys() == theirs.keys()
    unread = {
        name for name in theirs if name.startswith(("neck.fusion_stage.layers.0.residual_layer1", "dpt.layernorm"))
    }
    assert unread
    for name, tensor in theirs.items():
        assert returned[name].dtype == tensor.dtype
        # What the network never reads is not kept: zeros, so that a strict loader finds it.
        assert torch.equal(returned[name], torch.zeros_like(tensor) if name in unread else tensor), name
    # transformers gives the same answer with the zeros, so they are unread on its side too.
    images = random_images(64, 64)
    before = peer_output(peer, images)
    peer.load_state_dict(returned, strict=True)
    assert torch.equal(peer_output(peer, images), before)


@every_case
def test_our_weights_come_back_from_transformers_to_the_bit(case: Case) -> None:
    ours = build_model(case.config)
    randomise(ours, case.seed)
    peer = build_peer(case)
    peer.load_state_dict(convert_from_ours(ours.state_dict(), case.config, "hf"), strict=True)
    returned = convert_to_ours(peer.state_dict(), case.config)
    assert list(returned) == list(ours.state_dict())
    for name, tensor in ours.state_dict().items():
        assert returned[name].dtype == tensor.dtype
        assert torch.equal(returned[name], tensor), name


def test_training_counters_of_batch_norm_survive_a_file_cast_to_half_precision() -> None:
    case = Case("segmentation", "vit", batch_norm=True)
    peer = build_peer(case)
    randomise(peer, case.seed)
    half = {name: tensor.half() for name, tensor in peer.state_dict().items()}
    ours = convert_to_ours(half, case.config)
    counters = [tensor for name, tensor in ours.items() if name.endswith("num_batches_tracked")]
    assert len(counters) == 2 * (1 + 2 * 3) + 2
    assert all(counter.dtype == torch.int64 and counter.item() == 3 for counter in counters)


@every_case
@both_directions
def test_random_networks_are_lively_enough_to_show_an_error(case: Case, direction: Direction) -> None:
    images = random_images(64, 96)
    stages = our_stages(build_pair(case, direction).ours, images)
    for name, tensor in stages.items():
        assert 0.2 < tensor.std() < 30, f"{name}: standard deviation {tensor.std():.3g}"
        # The two pictures of the batch get different answers, and places in a picture do.
        assert relative_error(tensor[0], tensor[1]) > 0.1, name
        assert tensor.flatten(2).std(dim=2).mean() > 0.05 if tensor.ndim == 4 else tensor.std(dim=1).mean() > 0.05, name
    if case.task == "depth":
        clipped = (stages["head"] == 0).float().mean()
        assert 0.1 < clipped < 0.7, f"{clipped:.0%} of the depth is clipped at zero"


def test_the_peer_standardises_its_filters_with_the_eps_we_compare_at() -> None:
    case = Case("depth", "hybrid")
    peer = build_peer(case)
    used = {m.eps for m in peer.modules() if type(m).__name__ == "WeightStandardizedConv2d"}
    assert used == {case.config.encoder.weight_standardisation_eps}


def test_sizes_that_32_does_not_divide_keep_the_pictures_size_with_us_only() -> None:
    # A departure, not parity: transformers doubles the rounded-up coarsest map and shrinks the skips to it.
    pair, images = build_pair(Case("depth", "vit"), "hf-to-ours"), random_images(80, 80)
    with torch.no_grad():
        assert pair.ours(images).shape[-2:] == (80, 80)
    assert peer_output(pair.peer, images).shape[-2:] == (96, 96)
