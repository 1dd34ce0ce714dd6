"""`dpt eval` of videos by Video Depth Anything's rules, on two frames of NYUv2's size."""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np

from dptkit.evaluation.result import read_result

sys.path.append(str(Path(__file__).parents[1] / "cli"))
from cli_runner import dpt


def test_nyu_videos_are_cropped_and_share_a_fit(tmp_path: Path) -> None:
    scene, out = tmp_path / "kitchen_0003", tmp_path / "o.json"
    for half in ("rgb", "depth"):
        (scene / half).mkdir(parents=True)
    rows = np.arange(480)[:, None] * np.ones((1, 640))
    for number, metres in ((9, 1 + rows / 100), (10, 2 + rows / 100)):
        cv2.imwrite(str(scene / f"rgb/{number}.jpg"), np.zeros((480, 640, 3), np.uint8))
        cv2.imwrite(str(scene / f"depth/{number}.png"), np.rint(metres * 6000).astype(np.uint16))
    run = ("eval", "--data", tmp_path, "--protocol", "video-depth-anything-nyu", "--model", "ramp")
    ran = dpt(*run, "--data-option", "scenes=kitchen_0003", "--json", out)
    assert ran.code == 0, ran.errors
    result = read_result(out)
    assert [image.pixels for image in result.images] == [(471 - 45) * (601 - 41)] * 2
    assert result.images[0].fit == result.images[1].fit
    assert result.dataset["options"] == {"last": 500, "scenes": "kitchen_0003"}
    # Without the option it is the eight scenes, and a folder that tells nothing is taken for the protocol's data set.
    ran = dpt(*run)
    assert (ran.code, len(ran.errors)) == (1, 1)
    assert ran.errors[0].startswith(f"dpt: nyuv2-video: {tmp_path} has no folder basement_0001a/rgb/")
