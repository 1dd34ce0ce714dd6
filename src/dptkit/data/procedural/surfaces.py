"""Compiled: what rays hit, and the rays that ask for shadows and open sky from there.

Points are moved off the surface by a little before a new ray starts.
"""

from __future__ import annotations

import math
from typing import Any

from dptkit.data.procedural.compiled import compiled, compiled_strictly
from dptkit.data.procedural.noise import hash3


@compiled
def find_surfaces(
    hit: Any,
    u: Any,
    v: Any,
    origins: Any,
    directions: Any,
    vertices: Any,
    faces: Any,
    part: Any,
    mesh_row: Any,
    mesh_triangles: Any,
    mesh_normals: Any,
    rotations: Any,
    sizes: Any,
    distance: Any,
    part_hit: Any,
    normal: Any,
    flat: Any,
    local: Any,
    axis: Any,
) -> None:
    """Fill distance [N] (infinity for a miss), part [N] (-1), normal and flat (geometric) normal [N, 3] in the world
    and facing the ray, the place on the part in its own metres [N, 3], and the axis [N] its face turns to most."""
    for i in range(hit.shape[0]):
        p = hit[i]
        if p < 0:
            distance[i] = math.inf
            part_hit[i] = -1
            continue
        q = part[p]
        part_hit[i] = q
        m = mesh_row[p]
        b = u[i]
        c = v[i]
        a = 1.0 - b - c
        v0 = vertices[faces[p, 0]]
        v1 = vertices[faces[p, 1]]
        v2 = vertices[faces[p, 2]]
        # The plane of the triangle in double precision: Embree's own distance is good to about 1e-5.
        e1x = float(v1[0]) - v0[0]
        e1y = float(v1[1]) - v0[1]
        e1z = float(v1[2]) - v0[2]
        e2x = float(v2[0]) - v0[0]
        e2y = float(v2[1]) - v0[1]
        e2z = float(v2[2]) - v0[2]
        gx = e1y * e2z - e1z * e2y
        gy = e1z * e2x - e1x * e2z
        gz = e1x * e2y - e1y * e2x
        g = 1.0 / math.sqrt(gx * gx + gy * gy + gz * gz + 1e-60)
        gx *= g
        gy *= g
        gz *= g
        facing = gx * directions[i, 0] + gy * directions[i, 1] + gz * directions[i, 2]
        if abs(facing) > 1e-6:
            ahead = (
                gx * (v0[0] - float(origins[i, 0]))
                + gy * (v0[1] - float(origins[i, 1]))
                + gz * (v0[2] - float(origins[i, 2]))
            )
            exact = ahead / facing
            if abs(exact - distance[i]) < 1e-3 * distance[i]:
                distance[i] = exact
        if facing > 0:
            gx = -gx
            gy = -gy
            gz = -gz
        # Normal and place in the part's own frame, then the normal to the world.
        sx = sizes[q, 0]
        sy = sizes[q, 1]
        sz = sizes[q, 2]
        nx = (mesh_normals[m, 0, 0] * a + mesh_normals[m, 1, 0] * b + mesh_normals[m, 2, 0] * c) / sx
        ny = (mesh_normals[m, 0, 1] * a + mesh_normals[m, 1, 1] * b + mesh_normals[m, 2, 1] * c) / sy
        nz = (mesh_normals[m, 0, 2] * a + mesh_normals[m, 1, 2] * b + mesh_normals[m, 2, 2] * c) / sz
        local[i, 0] = (mesh_triangles[m, 0, 0] * a + mesh_triangles[m, 1, 0] * b + mesh_triangles[m, 2, 0] * c) * sx
        local[i, 1] = (mesh_triangles[m, 0, 1] * a + mesh_triangles[m, 1, 1] * b + mesh_triangles[m, 2, 1] * c) * sy
        local[i, 2] = (mesh_triangles[m, 0, 2] * a + mesh_triangles[m, 1, 2] * b + mesh_triangles[m, 2, 2] * c) * sz
        widest = 0
        if abs(ny) > abs(nx):
            widest = 1
        if abs(nz) > max(abs(nx), abs(ny)):
            widest = 2
        axis[i] = widest
        r = rotations[q]
        wx = r[0, 0] * nx + r[0, 1] * ny + r[0, 2] * nz
        wy = r[1, 0] * nx + r[1, 1] * ny + r[1, 2] * nz
        wz = r[2, 0] * nx + r[2, 1] * ny + r[2, 2] * nz
        w = 1.0 / math.sqrt(wx * wx + wy * wy + wz * wz + 1e-60)
        if (wx * gx + wy * gy + wz * gz) < 0:
            w = -w
        wx *= w
        wy *= w
        wz *= w
        if wx * directions[i, 0] + wy * directions[i, 1] + wz * directions[i, 2] > 0:
            wx = gx  # a smooth normal that looks away at the outline
            wy = gy
            wz = gz
        normal[i, 0] = wx
        normal[i, 1] = wy
        normal[i, 2] = wz
        flat[i, 0] = gx
        flat[i, 1] = gy
        flat[i, 2] = gz


@compiled_strictly
def go_along(part_hit: Any, origins: Any, directions: Any, distance: Any, points: Any) -> None:
    """Fill the points [N, 3] that rays meet; a miss has its origin, which nothing reads."""
    for i in range(part_hit.shape[0]):
        for c in range(3):
            points[i, c] = origins[i, c]
            if part_hit[i] >= 0:
                points[i, c] += directions[i, c] * distance[i]


@compiled
def light_rays(
    part_hit: Any,
    points: Any,
    flat: Any,
    distance: Any,
    see_through: Any,
    light: Any,
    seed: int,
    pixel: Any,
    origins: Any,
    directions: Any,
) -> int:
    """Write a ray towards `light` for every point that it can shine on; returns how many. pixel: whose ray it is."""
    count = 0
    for i in range(part_hit.shape[0]):
        if part_hit[i] < 0:
            continue
        lx = light[1]
        ly = light[2]
        lz = light[3]
        if light[0] < 0.5:
            lx -= points[i, 0]
            ly -= points[i, 1]
            lz -= points[i, 2]
        side = flat[i, 0] * lx + flat[i, 1] * ly + flat[i, 2] * lz
        # Well behind the face for any jitter, which moves each coordinate by less than the softness.
        if side < -2 * light[7] - 1e-6 * (abs(lx) + abs(ly) + abs(lz)) and not see_through[i]:
            continue
        # A jittered target makes soft shadows, three hashes make it the same every time.
        h1 = hash3(i, seed, 1) + hash3(i, seed, 4) - 1
        h2 = hash3(i, seed, 2) + hash3(i, seed, 5) - 1
        h3 = hash3(i, seed, 3) + hash3(i, seed, 6) - 1
        lx = light[1] + h1 * light[7]
        ly = light[2] + h2 * light[7]
        lz = light[3] + h3 * light[7]
        if light[0] < 0.5:
            lx -= points[i, 0]
            ly -= points[i, 1]
            lz -= points[i, 2]
        side = flat[i, 0] * lx + flat[i, 1] * ly + flat[i, 2] * lz
        if side <= 0 and not see_through[i]:
            continue
        away = (2e-4 + 3e-4 * distance[i]) * (1.0 if side > 0 else -1.0)
        for c in range(3):
            origins[count, c] = points[i, c] + flat[i, c] * away
        directions[count, 0] = lx
        directions[count, 1] = ly
        directions[count, 2] = lz
        pixel[count] = i
        count += 1
    return count


@compiled
def hemisphere_rays(
    part_hit: Any, points: Any, flat: Any, distance: Any, width: int, seed: int, origins: Any, directions: Any
) -> None:
    """Two rays for every fourth pixel into the half space over its surface, for ambient occlusion."""
    rows = part_hit.shape[0] // width // 2
    columns = width // 2
    for y in range(rows):
        for x in range(columns):
            i = 2 * y * width + 2 * x
            for k in range(2):
                j = (y * columns + x) * 2 + k
                if part_hit[i] < 0:
                    for c in range(3):
                        origins[j, c] = 1e9
                        directions[j, c] = 1.0
                    continue
                turn = 6.2832 * hash3(j, seed, 11)
                h = 2 * hash3(j, seed, 12) - 1
                flatness = math.sqrt(max(0.0, 1 - h * h))
                away = 1e-3 + 3e-4 * distance[i]
                d0 = flatness * math.cos(turn)
                d1 = flatness * math.sin(turn)
                dx = d0 + flat[i, 0] * 1.05
                dy = d1 + flat[i, 1] * 1.05
                dz = h + flat[i, 2] * 1.05
                length = 1.0 / math.sqrt(dx * dx + dy * dy + dz * dz)
                directions[j, 0] = dx * length
                directions[j, 1] = dy * length
                directions[j, 2] = dz * length
                for c in range(3):
                    origins[j, c] = points[i, c] + flat[i, c] * away


@compiled
def blur_shadows(lit: Any, part_hit: Any, width: int, reach: int, out: Any) -> None:
    """The mean of `lit` [N] over the neighbours, up to `reach` pixels off, that see the same part."""
    rows = part_hit.shape[0] // width
    for y in range(rows):
        for x in range(width):
            i = y * width + x
            out[i] = lit[i]
            own = part_hit[i]
            if own < 0:
                continue
            total = 0.0
            count = 0
            step = 1
            if x >= reach and y >= reach and x < width - reach and y < rows - reach:
                far = reach * width
                five = (
                    lit[i - far - reach] + lit[i - far + reach] + lit[i + far - reach] + lit[i + far + reach] + lit[i]
                )
                if five == 0.0 or five == 5.0:
                    step = reach  # all alike, most likely: look at a few
                    four = lit[i - far] + lit[i + far] + lit[i - reach] + lit[i + reach]
                    if five + four == 0.0 or five + four == 9.0:
                        continue  # whichever of them count
            for b in range(max(y - reach, 0), min(y + reach + 1, rows), step):
                for a in range(max(x - reach, 0), min(x + reach + 1, width), step):
                    j = b * width + a
                    if part_hit[j] == own:
                        total += lit[j]
                        count += 1
            if count:
                out[i] = total / count
