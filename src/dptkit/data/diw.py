"""DIW, Depth in the Wild: 495,000 pictures from the web, in each one pair of points; people said which is nearer.

Where from   https://www-personal.umich.edu/~wfchen/depth-in-the-wild: DIW_test.tar.gz, DIW_train_val.tar.gz,
             DIW_Annotations_splitted.tar.gz
Licence      none stated; research. The pictures are of their owners on Flickr.
Layout       ROOT/DIW_test.csv (or ROOT/DIW_Annotations/DIW_test.csv), and the pictures where it says, relative to
             ROOT: ./DIW_test/HASH.thumb (a JPEG). Two lines a picture: its path, then
             y_A,x_A,y_B,x_B,RELATION,width,height, counted from 1; ">": A is farther, "<": B is.
             DIW_train.csv and DIW_val.csv, pictures in ./DIW_train_val, are the same.
Relied on    princeton-vl/relative_depth src/experiment/test_model_on_DIW.lua (order, counting, meaning of the
             relation; z is depth) and DataLoader_DIW.lua (the last two columns). Both read pictures as stored,
             without regard to EXIF, and so does this.
Uncertain    whether width and height are right for all pictures: the official evaluation ignores them. Here a
             picture of another size is an error, as its points would be somewhere else.
"""

from __future__ import annotations

from pathlib import Path
from posixpath import normpath

from dptkit.data.ordinal_files import AnnotatedPicture, OrdinalFiles, Point
from dptkit.data.pairs import check_split, require_folder
from dptkit.data.reading import read_lines
from dptkit.errors import DataError
from dptkit.image_io.names import printable

_NEARER = {"<": 1, ">": -1}
"""The relation is of depths: A < B says that A is nearer."""


def open_diw(root: Path, split: str) -> OrdinalFiles:
    """Split test (74,441 pictures, on which WHDR is reported), train or val, as its list says.

    Paths in the list may also be absolute, as the authors tell their users to make them. A picture that is listed
    several times is one sample with several pairs. Raises DataError, MissingFilesError.
    """
    check_split("diw", split, ("train", "val", "test"))
    require_folder("diw", root)
    path = _list_file(root, f"DIW_{split}.csv")
    lines = read_lines(path)
    if len(lines) % 2:
        raise DataError(f"{printable(path)}: cut short: {len(lines)} lines, but a picture has two")
    pictures: dict[str, AnnotatedPicture] = {}
    for image, annotation in zip(lines[::2], lines[1::2], strict=True):
        image = normpath(image)
        size, pair, nearer = _parse(path, annotation)
        before = pictures.get(image)
        if before is None:
            name = image.rpartition(".")[0] or image
            pictures[image] = AnnotatedPicture(image, (pair,), (nearer,), name, size=size, upright=False)
        elif before.size == size:
            pictures[image] = before._replace(points=(*before.points, pair), nearer=(*before.nearer, nearer))
        else:
            raise DataError(f"{printable(path)}: {printable(image)} is listed with two sizes")
    return OrdinalFiles("diw", root, tuple(pictures.values())).require(split)


def _list_file(root: Path, name: str) -> Path:
    for path in (root / name, root / "DIW_Annotations" / name):
        if path.is_file():
            return path
    raise DataError(f"diw: {printable(root)} has no {name}: it is in DIW_Annotations_splitted.tar.gz")


def _parse(path: Path, line: str) -> tuple[tuple[int, int], tuple[Point, Point], int]:
    """A line of annotation -> (height, width), the points of A and B, and which is nearer."""
    try:
        *numbers, relation, width, height = line.split(",")
        y_a, x_a, y_b, x_b = (int(number) - 1 for number in numbers)
        return (int(height), int(width)), ((y_a, x_a), (y_b, x_b)), _NEARER[relation.strip()[:1]]
    except (ValueError, KeyError):
        raise DataError(
            f"{printable(path)}: a pair must be y_A,x_A,y_B,x_B,< or >,width,height, not {line!r}"
        ) from None
