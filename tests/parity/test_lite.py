"""The bundled dpt-lite against recorded outputs of the network that its weights were trained in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from dptkit.weights.convert import convert_from_ours, convert_to_ours
from dptkit.weights.load import load_model

RECORDED = np.load(Path(__file__).parents[1] / "golden" / "dpt-lite.npz")
# The trial kept ImageNet's mean and deviation inside its file, in float16 like everything else.
MEAN = np.array([0.485, 0.456, 0.406]).astype(np.float16).astype(np.float32)
STD = np.array([0.229, 0.224, 0.225]).astype(np.float16).astype(np.float32)


@pytest.mark.parametrize("size", ["224x352", "256x256"])
def test_the_bundled_weights_give_the_recorded_output(size: str) -> None:
    picture, recorded = RECORDED[f"input_{size}"], RECORDED[f"output_{size}"]
    image = (((picture / 255).astype(np.float32) - MEAN) / STD).transpose(2, 0, 1)
    with torch.inference_mode():
        raw = load_model("dpt-lite").network(torch.from_numpy(image)[None])[0, 0].numpy()
    # float32 rounding; measured 1.7e-7 of the range.
    assert np.abs(raw - recorded).max() < 1e-6 * np.ptp(recorded)


def test_the_trial_s_layout_goes_both_ways() -> None:
    spec, network, _ = load_model("dpt-lite")
    ours = network.state_dict()
    trial = convert_from_ours(ours, spec.model, "starter")
    assert trial["pos"].shape == (1, 192, 14, 14)
    again = convert_to_ours(trial, spec.model)
    assert again.keys() == ours.keys()
    for name, tensor in ours.items():
        assert torch.equal(again[name], tensor), name
