"""`dpt eval` of videos with known cameras: temporal alignment error of walls, of a rendered clip, of TUM."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

from dptkit.data.registry import open_dataset
from dptkit.evaluation.result import ImageResult, read_result
from dptkit.evaluation.temporal import temporal_alignment_error

sys.path.append(str(Path(__file__).parents[1] / "cli"))
from cli_runner import Ran, dpt

CAMERA = [8.0, 8.0, 7.5, 5.5]
SIZE = (12, 16)
TAE = "temporal_alignment_error"


def write_clip(root: Path, walls: Sequence[float], places: Sequence[float], name: str = "clip-00000000") -> Path:
    """A camera before a wall. walls: metres to it; places: of the camera along its axis."""
    folder = root / "clips" / name
    folder.mkdir(parents=True)
    frames = []
    for k, (metres, place) in enumerate(zip(walls, places, strict=True)):
        picture = np.random.default_rng(k).integers(0, 256, (*SIZE, 3), np.uint8)
        cv2.imwrite(str(folder / f"{k:04d}.jpg"), picture)
        cv2.imwrite(str(folder / f"{k:04d}.png"), np.full(SIZE, round(10_000 / metres), np.uint16))
        pose = np.eye(4)
        pose[2, 3] = place
        frames.append({"intrinsics": CAMERA, "camera_pose": pose.tolist()})
    (folder / "clip.json").write_text(json.dumps({"disparity_scale": 1e-4, "frames": frames}))
    return root


def run(data: Path, model: str | Path, *more: str | Path, code: int = 0, out: Path | None = None) -> Ran:
    arguments = ("eval", "--data", data, "--protocol", "temporal-rendered", "--model", model, *more)
    ran = dpt(*arguments, *(("--json", out) if out else ()))
    assert ran.code == code, ran.errors
    return ran


def errors(images: Sequence[ImageResult]) -> list[float | None]:
    return [image.scores.get(TAE) for image in images]


def test_walls_by_hand(tmp_path: Path) -> None:
    """5 m before a wall, then 1 m nearer. One constant fits both with 0.225 1/m, 4.444 m.

    There the wall lands at 3.444 m, back at 5.444 m, where 4.444 m is predicted: 0.225 both ways.
    """
    out = tmp_path / "o.json"
    ran = run(write_clip(tmp_path / "data", (5, 4), (0, 1)), "constant", out=out)
    assert ran.lines[1].split()[:2] == ["TAE", "%"]
    result = read_result(out)
    assert errors(result.images) == [None, pytest.approx(0.225, rel=1e-5)]
    assert result.summary[TAE].value == pytest.approx(0.225, rel=1e-5)
    assert result.summary[TAE].pictures == 1
    assert result.protocol.metrics[0] == TAE
    # Metres as they are, and right: what moves is what should.
    kept = tmp_path / "kept/clip-00000000"
    kept.mkdir(parents=True)
    for k, metres in enumerate((5.0, 4.0)):
        np.save(kept / f"{k:04d}.npy", np.full(SIZE, metres, np.float32))
    run(tmp_path / "data", tmp_path / "kept", "--quantity", "depth_m", "--set", "alignment=none", out=out)
    assert errors(read_result(out).images) == [None, pytest.approx(0, abs=1e-6)]


def test_videos_count_alike_and_a_skipped_picture_parts_its_neighbours(tmp_path: Path) -> None:
    data = write_clip(tmp_path / "data", (5, 4), (0, 1))
    write_clip(data, (4, 4, 4, 4), (0, 0, 0, 0), "clip-00000001")  # nothing moves: 0 by any constant
    out = tmp_path / "o.json"
    run(data, "constant", out=out)
    result = read_result(out)
    assert errors(result.images) == [None, pytest.approx(0.225, rel=1e-5), None, 0, 0, 0]
    assert result.summary[TAE].value == pytest.approx(0.1125, rel=1e-5)  # not the mean of four, 0.05625
    (data / "clips/clip-00000001/0001.png").write_bytes(b"no picture")
    ran = run(data, "constant", code=1, out=out)
    assert any(line.startswith(f"dpt: skipped: {data}/clips/clip-00000001/0001.png") for line in ran.errors)
    assert errors(read_result(out).images)[2:] == [None, None, None, 0]


def test_a_run_that_was_cut_off_looks_back_at_the_picture_before(tmp_path: Path) -> None:
    data, out = write_clip(tmp_path / "data", (5, 4, 3), (0, 1, 2)), tmp_path / "o.json"
    run(data, "ramp", "--csv", tmp_path / "o.csv", out=out)
    whole = read_result(out)
    lines = _journal_of(data, tmp_path)
    (tmp_path / "again.json.partial").write_text("".join(lines[:3]))
    run(data, "ramp", out=tmp_path / "again.json")
    assert read_result(tmp_path / "again.json").images == whole.images


def _journal_of(data: Path, folder: Path) -> list[str]:
    """Lines of the journal of a run whose report cannot be written, which leaves it there."""
    (folder / "file").write_bytes(b"")
    run(data, "ramp", "--report", folder / "file" / "report", code=1, out=folder / "again.json")
    lines = (folder / "again.json.partial").read_text().splitlines(keepends=True)
    (folder / "again.json").unlink()
    return lines


def test_without_cameras_there_is_no_such_number(tmp_path: Path) -> None:
    for name in ("images", "depth"):
        (tmp_path / "own" / name).mkdir(parents=True)
        cv2.imwrite(
            str(tmp_path / "own" / name / "a.png"), np.full((8, 8), 99, np.uint16 if name == "depth" else np.uint8)
        )
    own = ("--data", tmp_path / "own", "--model", "ramp", "--protocol")
    ran = dpt("eval", *own, "folder-video", "--set", f"metrics={TAE}")
    assert (ran.code, ran.lines) == (2, [])
    assert "needs to know where the camera was" in ran.errors[-1]
    ran = dpt("eval", *own, "folder", "--set", f"metrics={TAE}")
    assert (ran.code, ran.lines) == (2, [])
    assert "set alignment_scope=video too" in ran.errors[-1]


def test_tum_says_where_the_camera_was(tmp_path: Path) -> None:
    from data_trees_zero_shot import tum

    tree = tum(tmp_path)
    lines = "# ground truth\n1341846647.7100 1 2 3 0 0 0.7071067811865476 0.7071067811865476\n"
    (tmp_path / tree.group / "groundtruth.txt").write_text(lines)
    near, far = open_dataset("tum", tmp_path, "all")[0], open_dataset("tum", tmp_path, "all")[1]
    turned = [[0, -1, 0, 1], [1, 0, 0, 2], [0, 0, 1, 3], [0, 0, 0, 1]]  # a quarter turn about the third axis
    np.testing.assert_allclose(near.camera_pose, turned, atol=1e-12)
    assert far.camera_pose is None  # nothing within 0.02 s
    ran = dpt("eval", "--data", tmp_path, "--protocol", "temporal-tum", "--model", "ramp")
    assert ran.code == 1
    assert any(f"{far.name}: where its camera was is not known" in line for line in ran.errors)
    (tmp_path / tree.group / "groundtruth.txt").write_text(lines + "1 2 3\n")
    ran = dpt("eval", "--data", tmp_path, "--protocol", "temporal-tum", "--model", "ramp")
    assert ran.code == 1
    assert "groundtruth.txt: a line must be a time stamp, a place and a quaternion" in ran.errors[-1]


def test_sintel_says_where_the_camera_was(tmp_path: Path) -> None:
    from data_trees_zero_shot import sintel

    tree = sintel(tmp_path)
    third = open_dataset("sintel", tmp_path, "train", **tree.options)[2]
    np.testing.assert_allclose(third.camera_pose, [[1, 0, 0, 3], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    ran = dpt("eval", "--data", tmp_path, "--protocol", "temporal-sintel", "--model", "ramp", "--data-option",
              "scenes=ambush_6")  # fmt: skip
    assert ran.code == 0, ran.errors
    assert "TAE" in ran.lines[1]


def test_a_rendered_clip_from_the_command_line(tmp_path: Path) -> None:
    """Render, score the truth and a truth that flickers, and find the numbers of the metric itself."""
    pytest.importorskip("embreex")
    pytest.importorskip("numba")
    data = tmp_path / "data"
    arguments = ("data", "render", data, "--frames", "3", "--count", "1", "--size", "48x64", "--kind", "room")
    assert dpt(*arguments).code == 0
    before = (data / "clips/clip-00000000/0002.png").read_bytes()
    again = dpt(*arguments)
    assert "1 clips, 1 of them there before" in again.lines[-1]
    refused = dpt(*arguments[:4], "4", *arguments[5:])
    assert (refused.code, "rendered with another frame_count" in refused.errors[-1]) == (1, True)
    assert (data / "clips/clip-00000000/0002.png").read_bytes() == before
    samples = list(open_dataset("rendered-clips", data, ""))
    depths = [1 / sample.target.astype(np.float64) for sample in samples]
    values = {}
    for name, factors in (("steady", (1.0, 1.0, 1.0)), ("flickers", (1.0, 1.3, 1.0))):
        folder = tmp_path / name / "clip-00000000"
        folder.mkdir(parents=True)
        for k, factor in enumerate(factors):
            np.save(folder / f"{k:04d}.npy", (depths[k] * factor).astype(np.float32))
        run(data, folder.parent, "--quantity", "depth_m", "--set", "alignment=none", out=tmp_path / f"{name}.json")
        values[name] = read_result(tmp_path / f"{name}.json").summary[TAE].value
        expected = temporal_alignment_error(
            [depth * factor for depth, factor in zip(depths, factors, strict=True)],
            samples[0].intrinsics, [sample.camera_pose for sample in samples],
        )  # fmt: skip
        assert values[name] == pytest.approx(expected, rel=1e-5)  # float32 files
    # The truth's own is what rounding to pixels and hidden surfaces leave; 30% of scale between frames is far more.
    assert values["steady"] < 0.1 < 0.2 < values["flickers"]
