"""From relative to metric: scale and shift by hand, over a data set, and kept by a run that goes on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

import miniatures
from dptkit.config import DepthDecoding
from dptkit.errors import ConfigError, TrainingError
from dptkit.presets import PRESETS
from dptkit.training import loop, metric_start
from dptkit.training.config import DepthLoss, MetricLoss, ModelStart, OnDisk, Optimiser, Phase, TrainConfig
from dptkit.training.metric_start import find_metric_start, robust_scale_shift
from dptkit.training.sources import open_source
from dptkit.training.start import build_spec, build_start
from dptkit.weights.tensor_file import read_tensors, write_tensors

pytestmark = pytest.mark.filterwarnings(
    # Fabric advises more loader workers than a test wants.
    "ignore:.*does not have many workers.*"
)


def test_scale_and_shift_by_hand() -> None:
    prediction = torch.tensor([[1.0, 2.0, 3.0, 4.0, 100.0]])
    truth = torch.tensor([[0.5, 0.1, 0.2, 0.6, 9.0]])
    valid = torch.tensor([[True, True, True, True, False]])
    # Lower medians 2 and 0.2; mean deviations (1 + 0 + 1 + 2) / 4 = 1 and (0.3 + 0.1 + 0 + 0.4) / 4 = 0.2.
    found = robust_scale_shift(prediction, truth, valid)
    assert found == pytest.approx((0.2, 0.2 - 0.2 * 2))


def test_an_exact_affine_prediction_is_undone() -> None:
    truth = torch.rand(8, 8, generator=torch.Generator().manual_seed(0))
    valid = truth > 0.2
    found = robust_scale_shift((truth - 0.1378) / 3.05e-4, truth, valid)
    # The prediction is float32 in the thousands: 2^-24 of them, times the scale.
    assert found == pytest.approx((3.05e-4, 0.1378), rel=1e-5)


def test_what_has_no_scale_is_left_out() -> None:
    ramp, flat = torch.arange(4.0)[None], torch.full((1, 4), 0.3)
    every = torch.ones(1, 4, dtype=torch.bool)
    assert robust_scale_shift(ramp, flat, every) is None
    assert robust_scale_shift(flat, ramp, every) is None
    assert robust_scale_shift(ramp, ramp, ~every) is None


@pytest.fixture(autouse=True)
def small_presets(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, preset in list(PRESETS.items()):
        monkeypatch.setitem(PRESETS, name, replace(preset, spec=miniatures.miniature_spec(name)))


@pytest.fixture
def config(tmp_path: Path) -> TrainConfig:
    """dpt-hybrid in miniature on six pictures of depth in metres."""
    rng = np.random.default_rng(0)
    for kind in ("images", "depth"):
        (tmp_path / "data" / kind).mkdir(parents=True)
    for index in range(6):
        depth = np.tile(np.linspace(4000, 1000, 64).astype(np.uint16)[:, None], (1, 64))
        depth[:4] = 0
        cv2.imwrite(str(tmp_path / f"data/images/{index}.png"), rng.integers(0, 255, (64, 64, 3), np.uint8))
        cv2.imwrite(str(tmp_path / f"data/depth/{index}.png"), depth)
    network = miniatures.build_miniature("dpt-hybrid")
    write_tensors(tmp_path / "start.safetensors", network.state_dict(), PRESETS["dpt-hybrid"].spec)
    return TrainConfig(
        "metric", ModelStart("dpt-hybrid", str(tmp_path / "start.safetensors"), metric_cap_m=10),
        (OnDisk("pairs", str(tmp_path / "data"), "", options={"kind": "depth", "scale": 0.001}),),
        MetricLoss(), 4, (Phase(0, 64, 2),), optimiser=Optimiser(encoder_lr=1e-4, decoder_lr=1e-3),
        log_every=1, checkpoint_every=2, workers=0,
    )  # fmt: skip


def test_the_mean_over_the_set(config: TrainConfig) -> None:
    spec, network, dataset = build_spec(config), build_start(config).eval(), open_source(config.sources[0])
    expected = []
    for index in range(6):
        sample = dataset[index]
        image = (torch.from_numpy(sample.image / np.float32(255)) - 0.5) / 0.5
        with torch.no_grad():
            raw = network(image.permute(2, 0, 1)[None])[0, 0]
        metres, valid = torch.from_numpy(sample.target), torch.from_numpy(sample.valid)
        expected.append(robust_scale_shift(raw, 1 / metres, valid))
    said: list[tuple[int, int]] = []
    found = find_metric_start(config, spec, network, [dataset], lambda done, of: said.append((done, of)))
    # The same numbers, in batches.
    assert found == pytest.approx((*np.mean(expected, axis=0), 6), rel=1e-4)
    assert said[-1] == (6, 6)
    few = replace(config, model=replace(config.model, metric_samples=3))
    assert find_metric_start(few, spec, network, [dataset]).samples == 3
    assert find_metric_start(few, spec, network, [dataset]) == find_metric_start(few, spec, network, [dataset])


def test_relative_ground_truth_is_refused(config: TrainConfig) -> None:
    (source,) = config.sources
    assert isinstance(source, OnDisk)
    relative = open_source(replace(source, options={"kind": "disparity"}))
    with pytest.raises(TrainingError, match="inverse_depth; a metric model needs depth in metres"):
        find_metric_start(config, build_spec(config), build_start(config), [relative])


def test_a_network_that_says_nothing_cannot_be_aligned(config: TrainConfig) -> None:
    network = build_start(config)
    torch.nn.init.constant_(network.get_parameter("head.conv3.bias"), -1e6)
    with pytest.raises(TrainingError, match="none of 6 samples"):
        find_metric_start(config, build_spec(config), network, [open_source(config.sources[0])])


def test_a_run_keeps_its_constants_when_it_goes_on(
    config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = read_tensors(loop.Trainer(config, tmp_path / "run").train())
    assert whole.spec is not None
    decoding = whole.spec.decoding
    assert isinstance(decoding, DepthDecoding)
    assert (decoding.quantity, decoding.cap_m) == ("depth_m", 10)
    start = build_start(config)
    expected = find_metric_start(config, build_spec(config), start, [open_source(config.sources[0])])
    assert (decoding.scale, decoding.shift) == (expected.scale, expected.shift)

    (tmp_path / "run/checkpoints/step_000000004.ckpt").unlink()
    (tmp_path / "run/model.safetensors").unlink()
    monkeypatch.setattr(metric_start, "find_metric_start", lambda *args: pytest.fail("found anew"))
    again = read_tensors(loop.Trainer(config, tmp_path / "run").train())
    assert again.spec == whole.spec
    assert all(torch.equal(again.tensors[name], tensor) for name, tensor in whole.tensors.items())

    (tmp_path / "run/metric_start.json").write_text('{"scale": 1')
    with pytest.raises(TrainingError, match=r"metric_start\.json: cannot be read"):
        loop.Trainer(config, tmp_path / "run").train()


def test_metric_needs_a_cap_and_a_metric_architecture_none(config: TrainConfig) -> None:
    with pytest.raises(ConfigError, match=r"or model\.metric_cap_m"):
        build_spec(replace(config, model=ModelStart("dpt-hybrid")))
    with pytest.raises(ConfigError, match="dpt-hybrid-nyu is metric already, to 10 m"):
        build_spec(replace(config, model=ModelStart("dpt-hybrid-nyu", metric_cap_m=5)))
    with pytest.raises(ConfigError, match="goes with a metric loss"):
        replace(config, loss=DepthLoss())
    published = build_spec(replace(config, model=ModelStart("dpt-hybrid-nyu", size=(96, 128))))
    assert published.decoding == PRESETS["dpt-hybrid-nyu"].spec.decoding
    assert published.preprocess.size == (96, 128)
