"""Rays against triangles: the only file that knows Embree."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from dptkit.data.procedural.compiled import require_renderer

Rays = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Hits:
    """triangle: int32 [N], -1 for a miss. u, v: float32 [N], weights of the second and third corner."""

    triangle: npt.NDArray[np.int32]
    distance: npt.NDArray[np.float32]
    u: npt.NDArray[np.float32]
    v: npt.NDArray[np.float32]


class Tracer:
    """Answers for vertices float32 [V, 3] and faces int32 [T, 3]. Origins and directions: float32 [N, 3];
    distances count in lengths of the direction given. Raises DataError where embreex is missing."""

    def __init__(self, vertices: npt.NDArray[np.float32], faces: npt.NDArray[np.int32]) -> None:
        require_renderer()
        from embreex import rtcore_scene
        from embreex.mesh_construction import TriangleMesh

        self._scene: Any = rtcore_scene.EmbreeScene()
        self._mesh = TriangleMesh(self._scene, vertices, faces)

    def hits(self, origins: Rays, directions: Rays) -> Hits:
        found = self._scene.run(origins, directions, output=True)
        return Hits(found["primID"], found["tfar"], found["u"], found["v"])

    def distances(self, origins: Rays, directions: Rays) -> npt.NDArray[np.float32]:
        """[N], at least 1e30 for a miss."""
        distances: npt.NDArray[np.float32] = self._scene.run(origins, directions, query="DISTANCE")
        return distances

    def blocked(self, origins: Rays, directions: Rays, reach: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
        """[N] whether anything lies nearer than `reach`."""
        found = self._scene.run(origins, directions, dists=reach, query="OCCLUDED")
        blocked: npt.NDArray[np.bool_] = np.asarray(found) >= 0
        return blocked
