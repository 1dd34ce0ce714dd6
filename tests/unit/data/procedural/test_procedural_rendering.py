"""Whole pictures: every kind for many seeds, the same bytes for the same seed, clips whose frames agree."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("embreex")
pytest.importorskip("numba")

from dptkit.data.procedural import CLASS_IDS, CLASS_NAMES, KINDS, RenderedScene, render_clip, render_scene, tracing
from dptkit.data.procedural.kinds import TABLE
from dptkit.errors import DataError

SMALL = (60, 80)


def digest(rendered: RenderedScene) -> str:
    arrays = (rendered.image, rendered.depth_m, rendered.normals, rendered.instances, rendered.labels)
    return hashlib.sha256(b"".join(a.tobytes() for a in (*arrays, rendered.camera_pose))).hexdigest()


def check(rendered: RenderedScene, size: tuple[int, int]) -> None:
    assert rendered.image.shape == (*size, 3)
    assert rendered.image.dtype == np.uint8
    assert rendered.depth_m.shape == size
    assert rendered.depth_m.dtype == np.float32
    assert rendered.instances.dtype == np.int32
    assert rendered.labels.dtype == np.uint8
    sky = np.isinf(rendered.depth_m)
    assert not np.isnan(rendered.depth_m).any()
    assert rendered.depth_m.min() > TABLE[rendered.kind].nearest
    assert sky.mean() < 0.95
    np.testing.assert_array_equal(sky, rendered.labels == CLASS_IDS["sky"])
    np.testing.assert_array_equal(sky, rendered.instances == 0)
    assert rendered.labels.max() < len(CLASS_NAMES)
    length = np.linalg.norm(rendered.normals, axis=-1)
    np.testing.assert_allclose(length[~sky], 1, atol=1e-4)
    assert (length[sky] == 0).all()
    fx, fy, cx, cy = rendered.intrinsics
    x, y = np.meshgrid((np.arange(size[1]) - cx) / fx, (np.arange(size[0]) - cy) / fy)
    towards = (rendered.normals * np.stack([x, y, np.ones_like(x)], -1)).sum(-1)
    assert towards[~sky].max() < 1e-4  # facing the camera
    # Where the class changes, so does the thing.
    for axis in (0, 1):
        classes, things = np.diff(rendered.labels.astype(int), axis=axis), np.diff(rendered.instances, axis=axis)
        assert (things[classes != 0] != 0).all()
    near, far = np.quantile(rendered.inverse_depth, (0.95, 0.05))
    assert near > 1.05 * far  # not one flat face
    pose = rendered.camera_pose[:3, :3]
    np.testing.assert_allclose(pose @ pose.T, np.eye(3), atol=1e-9)
    assert np.linalg.det(pose) == pytest.approx(1)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_for_many_seeds(kind: str) -> None:
    brightness = []
    for seed in range(8):
        rendered = render_scene(seed, size=SMALL, kind=kind)
        assert rendered.kind == kind
        check(rendered, SMALL)
        brightness.append(rendered.image.mean())
    assert 40 < np.mean(brightness) < 215
    assert min(brightness) > 3


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**40), st.integers(16, 70), st.integers(16, 70))
def test_any_seed_and_size(seed: int, height: int, width: int) -> None:
    check(render_scene(seed, size=(height, width)), (height, width))


def test_the_same_seed_gives_the_same_bytes_in_any_order() -> None:
    first = {seed: digest(render_scene(seed, size=SMALL)) for seed in range(6)}
    again = {seed: digest(render_scene(seed, size=SMALL)) for seed in reversed(range(6))}
    assert first == again
    assert len(set(first.values())) == 6


def test_threads_at_the_same_time_change_nothing() -> None:
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda seed: digest(render_scene(seed, size=SMALL)), range(8)))
    assert together == [digest(render_scene(seed, size=SMALL)) for seed in range(8)]


def test_the_same_seed_gives_the_same_bytes_in_another_process() -> None:
    code = (
        "import hashlib\n"
        "from dptkit.data.procedural import render_scene\n"
        "for seed in (4, 2):\n"
        "    r = render_scene(seed, size=(60, 80))\n"
        "    a = (r.image, r.depth_m, r.normals, r.instances, r.labels, r.camera_pose)\n"
        "    print(hashlib.sha256(b''.join(x.tobytes() for x in a)).hexdigest())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [digest(render_scene(seed, size=SMALL)) for seed in (4, 2)]


def test_embreex_alone_gives_the_same_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    if tracing.load_embree() is None:
        pytest.skip("Embree's C interface is out of reach here, all pictures are made without it")
    quick = {kind: digest(render_scene(3, size=SMALL, kind=kind)) for kind in ("room", "street", "foliage")}
    monkeypatch.setattr(tracing, "load_embree", lambda: None)
    assert quick == {kind: digest(render_scene(3, size=SMALL, kind=kind)) for kind in quick}


def test_kinds_are_drawn_by_their_shares() -> None:
    assert sum(entry.share for entry in TABLE.values()) == pytest.approx(1)
    assert set(TABLE) == set(KINDS)


@pytest.mark.parametrize("kind", ["room", "street", "tabletop", "landscape"])
def test_the_frames_of_a_clip_agree(kind: str) -> None:
    """Depth of one frame, moved by the poses, is the depth of the other wherever both see the same place."""
    frames = list(render_clip(11, 3, size=(96, 128), kind=kind))
    assert len(frames) == 3
    assert not np.array_equal(frames[0].camera_pose, frames[2].camera_pose)
    for a, b in ((frames[0], frames[1]), (frames[0], frames[2])):
        assert landing_share(a, b) > 0.8


def landing_share(a: RenderedScene, b: RenderedScene) -> float:
    """Of the pixels of `a` that fall into `b` and are not hidden there, how many meet its depth within 2%."""
    fx, fy, cx, cy = a.intrinsics
    height, width = a.depth_m.shape
    seen = np.isfinite(a.depth_m) & (a.depth_m < 200)
    v, u = np.nonzero(seen)
    depth = a.depth_m[seen].astype(np.float64)
    points = np.stack([(u - cx) / fx * depth, (v - cy) / fy * depth, depth, np.ones_like(depth)])
    x, y, z, _ = np.linalg.inv(b.camera_pose) @ a.camera_pose @ points
    ahead = z > 0.05
    column, row = np.full(z.shape, -1), np.full(z.shape, -1)
    column[ahead] = np.rint(x[ahead] / z[ahead] * fx + cx)
    row[ahead] = np.rint(y[ahead] / z[ahead] * fy + cy)
    inside = ahead & (column > 0) & (column < width - 1) & (row > 0) & (row < height - 1)
    row, column, z = row[inside], column[inside], z[inside]
    # Rounding to a pixel moves along the surface: compare with the range of the pixels around.
    around = np.stack([b.depth_m[row + i, column + j] for i in (-1, 0, 1) for j in (-1, 0, 1)])
    hidden = z > around.max(0) * 1.02
    meets = (z > around.min(0) * 0.98) & ~hidden
    assert inside.mean() > 0.3
    return float(meets.sum() / max((~hidden).sum(), 1))


def test_a_clip_of_one_frame_and_its_errors() -> None:
    (frame,) = render_clip(5, 1, size=SMALL, kind="floating")
    check(frame, SMALL)
    with pytest.raises(DataError, match="at least 1 frame"):
        next(render_clip(5, 0))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"seed": -1}, "seed must be 0 or more"),
        ({"seed": 0, "size": (4, 80)}, "at least 16 pixels"),
        ({"seed": 0, "kind": "attic"}, "'attic' is no kind of scene; there are room, tabletop"),
    ],
)
def test_wrong_arguments_are_one_line(arguments: dict, message: str) -> None:
    with pytest.raises(DataError, match=message) as error:
        render_scene(**arguments)
    assert "\n" not in str(error.value)


def test_a_missing_extra_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "embreex", None)
    with pytest.raises(DataError, match=r"pip install 'dptkit\[render\]'"):
        render_scene(0)


def test_importing_needs_neither_numba_nor_embreex() -> None:
    code = (
        "import sys\n"
        "sys.modules['numba'] = sys.modules['embreex'] = None\n"
        "import dptkit.data.procedural, dptkit.cli.data_render\n"
        "import dptkit.data.procedural.kinds, dptkit.data.procedural.pipeline\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_many_seeds(kind: str) -> None:
    for seed in range(1000, 1050):
        check(render_scene(seed, size=(96, 128), kind=kind), (96, 128))
