"""Compiled: parts of a scene to triangles in the world."""

from __future__ import annotations

from typing import Any

from dptkit.data.procedural.compiled import compiled


@compiled
def place_parts(
    rows: Any,
    turns: Any,
    vertex_starts: Any,
    face_starts: Any,
    mesh_vertices: Any,
    mesh_faces: Any,
    vertices: Any,
    faces: Any,
    part: Any,
    mesh_row: Any,
    rotations: Any,
    places: Any,
) -> None:
    """Fill the last six arrays, as `scene.Geometry` names them, from the rows that `Scene.part` wrote.

    A row: mesh, material, thing, turn, frame (x, y, z, cos, sin), centre (3), size (3). Starts have one entry more
    than there are meshes; faces count from the first vertex of their mesh.
    """
    k = 0
    first = 0
    for i in range(rows.shape[0]):
        row = rows[i]
        mesh = int(row[0])
        turn = turns[int(row[3])]
        c = row[7]
        s = row[8]
        for j in range(3):
            rotations[i, 0, j] = c * turn[0, j] - s * turn[1, j]
            rotations[i, 1, j] = s * turn[0, j] + c * turn[1, j]
            rotations[i, 2, j] = turn[2, j]
        places[i, 0] = row[4] + c * row[9] - s * row[10]
        places[i, 1] = row[5] + s * row[9] + c * row[10]
        places[i, 2] = row[6] + row[11]
        for m in range(face_starts[mesh], face_starts[mesh + 1]):
            for corner in range(3):
                faces[k, corner] = mesh_faces[m, corner] + first
            part[k] = i
            mesh_row[k] = m
            k += 1
        for m in range(vertex_starts[mesh], vertex_starts[mesh + 1]):
            x = mesh_vertices[m, 0] * row[12]
            y = mesh_vertices[m, 1] * row[13]
            z = mesh_vertices[m, 2] * row[14]
            for j in range(3):
                vertices[first, j] = (
                    rotations[i, j, 0] * x + rotations[i, j, 1] * y + rotations[i, j, 2] * z + places[i, j]
                )
            first += 1
