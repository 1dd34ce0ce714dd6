"""The bundled models against outputs recorded when they were released: an update must not move their numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from dptkit.preprocess import preprocess, with_size
from dptkit.weights.load import load_model

RECORDED = np.load(Path(__file__).parents[1] / "golden" / "dpt-lite.npz")


@pytest.mark.parametrize("picture", ["224x352", "256x256"])
@pytest.mark.parametrize("name", ["dpt-lite", "dpt-lite-street"])
def test_the_bundled_weights_give_the_recorded_output(name: str, picture: str) -> None:
    spec, network, _ = load_model(name)
    image = preprocess(RECORDED[f"input_{picture}"], with_size(spec.preprocess, 224))
    with torch.inference_mode():
        raw = network(torch.from_numpy(image)[None])[0].numpy()
    recorded = RECORDED[f"{name}_{picture}"]
    # Every 2nd row and column, as float16 (2^-11 of a value), and float32 rounding, far below.
    assert np.abs(raw[:, ::2, ::2] - recorded).max() < 2**-11 * np.abs(recorded).max()
