"""A folder of pictures with depth for tests of `dpt eval`, and the options that open and score it."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

FOLDER = ("--dataset", "pairs", "--data-option", "scale=0.001", "--data-option", "kind=depth", "--protocol", "folder")
LITE = ("--model", "dpt-lite", "--device", "cpu")


def make_floors(root: Path, count: int) -> Path:
    """Pictures of noise on a floor that comes nearer downwards, with depth in millimetres."""
    for number in range(count):
        rng = np.random.default_rng(number)
        depth = np.linspace(6, 1, 48)[:, None] + rng.uniform(0, 1, (48, 64))
        for name, values in (
            ("images", rng.integers(0, 256, (48, 64, 3), np.uint8)),
            ("depth", (1000 * depth).astype(np.uint16)),
        ):
            (root / name).mkdir(parents=True, exist_ok=True)
            assert cv2.imwrite(str(root / name / f"{number:03}.png"), values)
    return root
