"""Make docs/images/examples.jpg: the example pictures above what the bundled model says of them.

Run: python benchmarks/readme_picture.py
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from dptkit import DepthMap, load
from dptkit.image_io import colorize, read_image

ROOT = Path(__file__).parents[1]
HEIGHT, GAP = 200, 6


def main() -> None:
    predictor = load("dpt-lite", engine="torch", precision="float32")
    columns = []
    for path in sorted((ROOT / "examples").glob("*.jpg")):
        picture = read_image(path)
        depth = predictor.predict(picture)
        assert isinstance(depth, DepthMap)
        size = (HEIGHT * picture.shape[1] // picture.shape[0], HEIGHT)
        tiles = [Image.fromarray(pixels).resize(size) for pixels in (picture, colorize(depth).pixels)]
        columns.append(np.concatenate([np.asarray(tile) for tile in tiles]))
        columns.append(np.full((2 * HEIGHT, GAP, 3), 255, np.uint8))
    sheet = Image.fromarray(np.concatenate(columns[:-1], axis=1))
    sheet.save(ROOT / "docs" / "images" / "examples.jpg", quality=88)


if __name__ == "__main__":
    main()
