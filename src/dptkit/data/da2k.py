"""DA-2K: about 1,000 varied, sharp pictures with 2,000 pairs of points; annotators said which is nearer.

Where from   https://huggingface.co/datasets/depth-anything/DA-2K (DA-2K.zip)
Licence      Apache-2.0, as its page states; the pictures come from the web
Layout       ROOT/annotations.json, ROOT/images/SCENE_TYPE/NAME.jpg; ROOT is the folder DA-2K of the archive.
             {"images/indoor/NAME.jpg": [{"point1": [h, w], "point2": [h, w], "closer_point": "point1"}, ...], ...}
             with positions down and to the right, from 0; scene types are indoor, outdoor, non_real,
             transparent_reflective, adverse_style, aerial, underwater and object
Relied on    DepthAnything/Depth-Anything-V2 DA-2K.md
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dptkit.data.ordinal_files import AnnotatedPicture, OrdinalFiles, Point
from dptkit.data.pairs import check_split, require_file, require_folder
from dptkit.data.reading import read_json
from dptkit.errors import DataError
from dptkit.image_io.names import printable

_NEARER = {"point1": 1, "point2": -1}


def open_da2k(root: Path, split: str, *, scene_types: Sequence[str] | None = None) -> OrdinalFiles:
    """All pictures of annotations.json (split test, the only one), or those of some scene types.

    A sample's group is its scene type. point1 is A, point2 is B. Raises DataError, MissingFilesError.
    """
    check_split("da-2k", split, ("test",))
    require_folder("da-2k", root)
    path = require_file("da-2k", root, "annotations.json", "ROOT is the folder DA-2K of DA-2K.zip")
    entries = _read(path)
    known = dict.fromkeys(_scene_type(image) for image in entries)
    for scene_type in scene_types or ():
        if scene_type not in known:
            raise DataError(f"{printable(path)}: no scene type {scene_type!r}; there are {', '.join(known)}")
    pictures = tuple(
        _picture(path, image, annotations)
        for image, annotations in entries.items()
        if scene_types is None or _scene_type(image) in scene_types
    )
    return OrdinalFiles("da-2k", root, pictures).require(split)


def _scene_type(image: str) -> str:
    return image.removeprefix("images/").partition("/")[0]


def _picture(path: Path, image: str, annotations: Any) -> AnnotatedPicture:
    try:
        points = tuple((_point(entry["point1"]), _point(entry["point2"])) for entry in annotations)
        nearer = tuple(_NEARER[entry["closer_point"]] for entry in annotations)
    except (KeyError, TypeError, ValueError):
        points = ()
    if not points:
        raise DataError(
            f"{printable(path)}: {printable(image)}: needs a list of pairs with point1 [h, w], point2 [h, w] and "
            "closer_point"
        )
    return AnnotatedPicture(image, points, nearer, image.removeprefix("images/").rpartition(".")[0], _scene_type(image))


def _point(value: Any) -> Point:
    down, right = value
    if int(down) != down or int(right) != right:
        raise ValueError
    return int(down), int(right)


def _read(path: Path) -> dict[str, Any]:
    entries = read_json(path)
    if not isinstance(entries, dict):
        raise DataError(f"{printable(path)}: not an object with a list of pairs for each picture")
    return entries
