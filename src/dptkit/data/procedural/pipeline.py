"""One picture of a scene: primary rays, shadows, ambient occlusion, one bounce of reflections, shading, sensor."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from dptkit.data.procedural import material_rows as mr
from dptkit.data.procedural import shading, surfaces
from dptkit.data.procedural.camera import Camera
from dptkit.data.procedural.rendered import RenderedScene
from dptkit.data.procedural.scene import Geometry, Light, Scene
from dptkit.data.procedural.sensor import Sensor, develop
from dptkit.data.procedural.tracing import build_tracer

Floats32 = npt.NDArray[np.float32]
_FULL_SUN_REACH = 1e30
_LAMP_REACH = 0.97  # of the way to it: what holds a lamp throws no shadow


@dataclass(frozen=True, eq=False)
class Surfaces:
    """What N rays hit. `part` is -1 and `distance` infinite for the sky; the rest as `find_surfaces` fills it."""

    part: npt.NDArray[np.int32]
    distance: Floats32
    points: Floats32
    normal: Floats32
    flat: Floats32
    local: Floats32
    axis: npt.NDArray[np.int32]


class Stage:
    """A finished scene, ready for any number of pictures."""

    def __init__(self, scene: Scene, photos: Floats32) -> None:
        self.scene = scene
        self.geometry: Geometry = scene.geometry()
        self.tracer = build_tracer(self.geometry.vertices, self.geometry.faces)
        self._rows = np.array(scene.material_rows, np.float32)
        self._photos = photos
        self._lights = np.array([_light_row(light) for light in scene.lights], np.float64).reshape(-1, 8)
        self._ambient = np.array(scene.ambient, np.float64)
        self._haze = np.array([scene.haze[0], *scene.haze[1]])

    def nearest(self, camera: Camera, size: tuple[int, int]) -> Floats32:
        """Depths of a coarse grid of pixels, 1e6 for the sky: enough to reject a camera that sees nothing."""
        rays = camera.rays(size, step=8)
        origins = np.broadcast_to(camera.position.astype(np.float32), rays.shape)
        return np.minimum(self.tracer.hits(np.ascontiguousarray(origins), rays).distance, np.float32(1e6))

    def surfaces(self, origins: Floats32, directions: Floats32) -> Surfaces:
        """What rays float32 [N, 3] hit; distances count in lengths of the directions."""
        hits, geometry = self.tracer.hits(origins, directions), self.geometry
        n = len(directions)
        points, normal, flat, local = (np.zeros((n, 3), np.float32) for _ in range(4))
        part, axis = np.empty(n, np.int32), np.zeros(n, np.int32)
        surfaces.find_surfaces(
            hits.triangle, hits.u, hits.v, origins, directions, geometry.vertices, geometry.faces, geometry.part,
            geometry.mesh_row, geometry.mesh_triangles, geometry.normals, geometry.rotations, geometry.sizes,
            hits.distance, part, normal, flat, local, axis,
        )  # fmt: skip
        surfaces.go_along(part, origins, directions, hits.distance, points)
        return Surfaces(part, hits.distance, points, normal, flat, local, axis)

    def render(self, camera: Camera, size: tuple[int, int], sensor: Sensor, seed: int) -> RenderedScene:
        """The picture and its ground truth; `seed` moves the noise, in shadows and in the sensor."""
        height, width = size
        light, seen = self._expose(camera, size, seed)
        depth = seen.distance.reshape(size)
        inverse = (1 / depth).astype(np.float32)
        thing = self.geometry.things[seen.part]
        camera_normals = seen.normal @ camera.axes().astype(np.float32)
        sky = seen.part < 0
        if sky.any():
            thing[sky] = 0
            camera_normals[sky] = 0
        return RenderedScene(
            image=develop(light.reshape(height, width, 3), inverse, sensor, np.random.default_rng((seed, 7))),
            depth_m=depth,
            normals=camera_normals.reshape(height, width, 3),
            instances=thing.reshape(size),
            labels=self.geometry.thing_class[thing].reshape(size),
            intrinsics=camera.intrinsics(size),
            camera_pose=camera.pose(),
            kind=self.scene.kind,
        )

    def brightness(self, camera: Camera, size: tuple[int, int], sensor: Sensor, seed: int) -> float:
        """What `sensor` measures from `camera`, to set the exposure of a clip."""
        return sensor.metered(self._expose(camera, size, seed)[0].reshape(*size, 3))

    def _expose(self, camera: Camera, size: tuple[int, int], seed: int) -> tuple[Floats32, Surfaces]:
        """Linear light [N, 3] of every pixel, and what it saw."""
        directions = camera.rays(size)
        origins = np.empty_like(directions)
        origins[:] = camera.position
        seen = self.surfaces(origins, directions)
        angle = 1 / camera.intrinsics(size)[0]
        light = self._radiance(
            seen, directions, angle, self._shadows(seen, size[1], seed), self._openness(seen, size, seed)
        )
        self._reflect(light, seen, directions, 2 * angle)
        return light, seen

    def _materials_at(self, part: npt.NDArray[np.int32], column: int) -> Floats32:
        """One column of the materials hit [N]; what misses get means nothing."""
        values: Floats32 = self._rows[self.geometry.materials, column][part]
        return values

    def _shadows(self, seen: Surfaces, width: int, seed: int) -> Floats32:
        """Share of each lamp that reaches each point, [lights, N]."""
        n = len(seen.part)
        lit = np.zeros((len(self._lights), n), np.float32)
        see_through = self._materials_at(seen.part, mr.TRANSLUCENT) > 0
        origins, directions = np.empty((n, 3), np.float32), np.empty((n, 3), np.float32)
        pixel = np.empty(n, np.int64)
        for k, row in enumerate(self._lights):
            count = surfaces.light_rays(
                seen.part, seen.points, seen.flat, seen.distance, see_through, row, seed % 65536 + 131 * k, pixel,
                origins, directions,
            )  # fmt: skip
            reach = _FULL_SUN_REACH if row[0] else _LAMP_REACH
            lit[k, pixel[:count]] = ~self.tracer.blocked(origins[:count], directions[:count], reach, alike=True)
            if row[7] > 0.01:  # one ray a pixel: the mean of neighbours stands for many
                surfaces.blur_shadows(lit[k].copy(), seen.part, width, 2 if row[7] < 0.1 else 3, lit[k])
        return lit

    def _openness(self, seen: Surfaces, size: tuple[int, int], seed: int) -> Floats32:
        """Ambient occlusion [N]: 0.15 where all is blocked nearby, 1 in the open."""
        height, width = size
        rows, columns = height // 2, width // 2
        origins, directions = (np.empty((rows * columns * 2, 3), np.float32) for _ in range(2))
        surfaces.hemisphere_rays(
            seen.part, seen.points, seen.flat, seen.distance, width, seed % 65536, origins, directions
        )
        blocked = self.tracer.blocked(origins, directions, self.scene.corner_reach, alike=False)
        first, second = blocked.reshape(rows, columns, 2).astype(np.float32).transpose(2, 0, 1)
        blurred = cv2.blur(1 - (first + second) / 2, (5, 5))
        return (0.15 + 0.85 * cv2.resize(blurred, (width, height))).ravel()

    def _radiance(
        self, seen: Surfaces, directions: Floats32, pixel_angle: float, lit: Floats32, openness: Floats32
    ) -> Floats32:
        out = np.zeros((len(directions), 3), np.float32)
        sky = self.scene.sky
        behind = np.zeros_like(out)
        missed = seen.part < 0
        if sky is not None and missed.any():
            painted = np.zeros((int(missed.sum()), 3), np.float32)
            shading.paint_sky(
                directions[missed], np.array(sky.top), np.array(sky.horizon), np.array(sky.cloud), sky.cover, sky.seed,
                np.array(sky.sun), np.array(sky.glow), painted,
            )  # fmt: skip
            behind[missed] = painted
        shading.shade(
            seen.part, seen.points, seen.normal, seen.local, seen.axis, seen.distance, directions,
            self.geometry.materials, self._rows, self._photos, pixel_angle, self._lights, lit,
            openness, self._ambient, self._haze, behind, out,
        )  # fmt: skip
        return out

    def _reflect(self, light: Floats32, seen: Surfaces, directions: Floats32, pixel_angle: float) -> None:
        """Add one bounce where the material mirrors, stronger at grazing angles; what it shows has no shadows."""
        mirror = np.where(seen.part >= 0, self._materials_at(seen.part, mr.REFLECT), 0)
        at = np.flatnonzero(mirror > 0.01)
        if not len(at):
            return
        normal, ray = seen.normal[at], directions[at]
        ray = ray / np.linalg.norm(ray, axis=1, keepdims=True)
        facing = (normal * ray).sum(1, keepdims=True)
        bounced = np.ascontiguousarray(ray - 2 * facing * normal)
        lifted = np.ascontiguousarray(seen.points[at] + seen.flat[at] * (1e-3 + 3e-4 * seen.distance[at, None]))
        there = self.surfaces(lifted, bounced)
        lit = np.full((len(self._lights), len(at)), 0.6, np.float32)
        colour = self._radiance(there, bounced, pixel_angle, lit, np.full(len(at), 0.8, np.float32))
        share = mirror[at, None] + (1 - mirror[at, None]) * 0.6 * (1 + facing).clip(0, 1) ** 5
        light[at] = light[at] * (1 - share) + colour * share


def _light_row(light: Light) -> tuple[float, ...]:
    return (float(light.sun), *light.at, *light.colour, light.soft * (1.0 if light.sun else 0.5))
