"""Ground truth against formulas: scenes of one solid, seen by the same tracer, kernels and camera as all others."""

from __future__ import annotations

import math
from itertools import count

import numpy as np
import pytest

pytest.importorskip("embreex")
pytest.importorskip("numba")

from dptkit.data.procedural import materials as mat
from dptkit.data.procedural import meshes
from dptkit.data.procedural.camera import Camera
from dptkit.data.procedural.draw import Draw
from dptkit.data.procedural.photos import NO_PHOTOS
from dptkit.data.procedural.pipeline import Stage
from dptkit.data.procedural.rendered import RenderedScene
from dptkit.data.procedural.scene import Light, Scene, tilt_x
from dptkit.data.procedural.sensor import draw_sensor

SIZE = (48, 64)


def photograph(scene: Scene, camera: Camera, size: tuple[int, int] = SIZE) -> RenderedScene:
    scene.lights.append(Light((0.0, 0.0, 5.0), (3.0, 3.0, 3.0)))
    return Stage(scene, NO_PHOTOS).render(camera, size, draw_sensor(Draw(1), 0.0), 5)


def empty_scene() -> Scene:
    return Scene(Draw(0), "test")


def pixel_rays(rendered: RenderedScene) -> np.ndarray:
    """Directions [H, W, 3] in the camera frame, 1 along the axis, from the intrinsics that a user gets."""
    fx, fy, cx, cy = rendered.intrinsics
    height, width = rendered.depth_m.shape
    x, y = np.meshgrid((np.arange(width) - cx) / fx, (np.arange(height) - cy) / fy)
    return np.stack([x, y, np.ones_like(x)], -1)


def world_points(rendered: RenderedScene) -> np.ndarray:
    # The sky's points, which no test reads, are put behind everything.
    points = pixel_rays(rendered) * np.minimum(rendered.depth_m, 1e6)[..., None]
    return points @ rendered.camera_pose[:3, :3].T + rendered.camera_pose[:3, 3]


def test_depth_of_a_wall_across_the_axis_is_constant() -> None:
    scene = empty_scene()
    scene.box(scene.thing("wall"), mat.plain(scene), (40, 1, 40), (0, 3.5, 0))
    rendered = photograph(scene, Camera.looking((0, 0, 0), (0, 1, 0), math.radians(90)))
    # Along the ray the corners would be at 3 * sqrt(1 + 1 + 9/16).
    np.testing.assert_allclose(rendered.depth_m, 3.0, rtol=1e-6)
    np.testing.assert_allclose(rendered.normals, np.broadcast_to((0, 0, -1), rendered.normals.shape), atol=1e-6)


@pytest.mark.parametrize(("pitch", "roll"), [(-0.2, 0.0), (-0.7, 0.3), (-math.pi / 2, 0.0)])
def test_a_floor_projects_back_to_a_plane(pitch: float, roll: float) -> None:
    scene = empty_scene()
    scene.box(scene.thing("floor"), mat.plain(scene), (60, 60, 0.1), (0, 0, -0.05))
    forward = (0.1, math.cos(pitch), math.sin(pitch)) if pitch > -1.5 else (0.0, 0.0, -1.0)
    rendered = photograph(scene, Camera.looking((0.3, -1, 1.5), forward, 1.1, roll))
    seen = np.isfinite(rendered.depth_m)
    assert seen.mean() > 0.5
    # float32 depth of up to 30 m carries 1e-6 of relative error.
    assert np.abs(world_points(rendered)[seen][:, 2]).max() < 1e-4
    up = rendered.normals[seen] @ rendered.camera_pose[:3, :3].T
    np.testing.assert_allclose(up, np.broadcast_to((0, 0, 1), up.shape), atol=1e-5)


def test_a_sphere_has_the_depth_and_normals_of_a_sphere() -> None:
    scene, radius, centre = empty_scene(), 1.0, np.array([0.2, 4.0, -0.1])
    size = (2 * radius,) * 3
    scene.part(scene.thing("object"), meshes.sphere(400, 200), mat.plain(scene), size, centre.tolist())
    rendered = photograph(scene, Camera.looking((0, 0, 0), (0, 1, 0), 0.9))
    rays = pixel_rays(rendered)
    middle = rendered.camera_pose[:3, :3].T @ centre
    a, b, c = (rays**2).sum(-1), rays @ middle, middle @ middle - radius**2
    inside = b**2 - a * c
    clear = inside > 0.05 * b.max() ** 2 * 0.1  # not the outline, where the polygon and the sphere differ
    assert clear.sum() > 300
    depth = (b - np.sqrt(np.maximum(inside, 0))) / a
    # A chord of 400 segments sags by 1 - cos(pi / 400) = 3e-5 of the radius, more where the surface is slanted.
    np.testing.assert_allclose(rendered.depth_m[clear], depth[clear], atol=5e-4)
    outwards = (rays * depth[..., None] - middle) / radius
    assert np.abs(rendered.normals[clear] - outwards[clear]).max() < 2e-2
    assert np.isinf(rendered.depth_m[inside < -0.1]).all()
    assert (rendered.normals[inside < -0.1] == 0).all()


def test_a_turned_box_lies_where_it_was_put() -> None:
    scene = empty_scene()
    size, centre, turn = np.array([1.0, 2.0, 0.5]), np.array([0.3, 5.0, 0.2]), tilt_x(0.6)
    scene.box(scene.thing("object"), mat.plain(scene), size.tolist(), centre.tolist(), rotation=turn)
    rendered = photograph(scene, Camera.looking((0, 0, 1), (0, 1, -0.15), 0.6))
    seen = np.isfinite(rendered.depth_m)
    local = (world_points(rendered)[seen] - centre) @ turn / (size / 2)
    # Every point lies on one of the six faces, and its normal is that face's.
    assert seen.sum() > 100
    np.testing.assert_allclose(np.abs(local).max(1), 1, atol=1e-4)
    face = np.abs(local).argmax(1)
    normal = rendered.normals[seen] @ rendered.camera_pose[:3, :3].T @ turn
    edge = np.sort(np.abs(local), 1)[:, 1] > 0.999
    np.testing.assert_allclose(np.abs(normal[np.arange(len(face)), face])[~edge], 1, atol=1e-4)


def test_nearer_things_hide_farther_ones() -> None:
    scene = empty_scene()
    far, near = scene.thing("wall"), scene.thing("object")
    scene.box(far, mat.plain(scene), (40, 1, 40), (0, 10, 0))
    scene.box(near, mat.plain(scene), (1, 1, 1), (0, 4, 0))
    rendered = photograph(scene, Camera.looking((0, 0, 0), (0, 1, 0), 0.8))
    assert set(np.unique(rendered.instances)) == {far, near}
    np.testing.assert_allclose(rendered.depth_m[rendered.instances == near], 3.5, rtol=1e-6)
    np.testing.assert_allclose(rendered.depth_m[rendered.instances == far], 9.5, rtol=1e-6)


def test_a_lamp_lights_what_it_reaches_and_a_box_throws_a_shadow() -> None:
    scene = empty_scene()
    floor = mat.plain(scene, (0.5, 0.5, 0.5))
    scene.box(scene.thing("floor"), floor, (20, 20, 0.1), (0, 0, -0.05))
    scene.box(scene.thing("object"), floor, (1, 1, 0.1), (0, 0, 1.5))
    scene.ambient = ((0.0,) * 3, (0.0,) * 3)
    camera = Camera.looking((0, -3, 1.2), (0, 3, -1.0), 1.0)
    scene.lights.append(Light((0.0, 0.0, 4.0), (9.0, 9.0, 9.0), soft=0.0))
    stage = Stage(scene, NO_PHOTOS)
    rendered = stage.render(camera, SIZE, draw_sensor(Draw(1), 0.0), 5)
    points = world_points(rendered)
    on_floor = np.abs(points[..., 2]) < 1e-3
    # Seen from 4 m the box of half width 0.5 at 1.5 m covers 0.8 m of the floor.
    reach = np.abs(points[..., :2]).max(-1)
    dark = rendered.image[on_floor & (reach < 0.6)].mean()
    bright = rendered.image[on_floor & (reach > 1.0) & (reach < 1.6)].mean()
    assert bright > dark + 60


def test_rods_end_where_they_should() -> None:
    for k, end in zip(count(), [(0.0, 3.0, 1.0), (1.0, 2.0, 0.0), (0.0, 3.0, -1.0), (0.3, 3.4, 0.8)], strict=False):
        scene = empty_scene()
        scene.rod(scene.thing("pole"), mat.plain(scene), (0, 3, 0), end, 0.05)
        vertices = scene.geometry().vertices.astype(np.float64)
        axis = np.array(end) - (0, 3, 0)
        length = np.linalg.norm(axis)
        along = (vertices - (0, 3, 0)) @ axis / length
        off = np.linalg.norm((vertices - (0, 3, 0)) - along[:, None] * axis / length, axis=1)
        assert along.min() == pytest.approx(0, abs=1e-5), k
        assert along.max() == pytest.approx(length, abs=1e-5), k
        np.testing.assert_allclose(off, 0.05, atol=1e-5)


def test_meshes_are_closed_and_face_outwards() -> None:
    for mesh in (meshes.box(), meshes.sphere(), meshes.cylinder(), meshes.cone(), meshes.rounded_box()):
        faces = mesh.triangles.astype(np.float64)
        middle = faces.mean(1)
        assert ((mesh.normals.mean(1) * middle).sum(1) > 0).all()
        np.testing.assert_array_equal(mesh.vertices[mesh.faces], mesh.triangles + 0.0)
