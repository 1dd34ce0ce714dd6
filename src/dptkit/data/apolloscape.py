"""ApolloScape stereo: driving in Beijing, 3130x960, disparity from LiDAR and fitted car models.

Where from   http://apolloscape.auto/stereo.html (stereo_train_001 to _003; the test set has no disparity)
Licence      ApolloScape's own: research
Layout       ROOT/stereo_train_NNN/{camera_5/NAME.jpg, disparity/NAME.png}
Relied on    ApolloScapeAuto/dataset-api stereo/README.md and the loader of Ahmedjjj/midas_hkrm
Target       relative inverse depth, as stored; 0 is no measurement, sky among it.
Uncertain    the scale of the stored numbers (dataset-api#121), which relative inverse depth does not need; whether a
             disparity file keeps the picture's whole name. Files are paired by name up to "_Camera", if they have it.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from dptkit.data.folder import decode_values
from dptkit.data.pairs import Pair, PairedFiles, check_split, names_in, require_folder, subfolders
from dptkit.errors import DataError
from dptkit.image_io.names import printable


def open_apolloscape(root: Path, split: str = "train") -> PairedFiles:
    """Left views (camera 5) of one split, train. A sample's group is its archive."""
    check_split("apolloscape", split, ("train",))
    require_folder("apolloscape", root)
    parts = [name for name in subfolders(root) if name.startswith("stereo_train")]
    if not parts:
        raise DataError(f"apolloscape: {printable(root)} has no folder stereo_train_001/ (or _002, _003)")
    decode = partial(decode_values, kind="disparity", scale=1.0)
    pairs = []
    for part in parts:
        require_folder("apolloscape", root, f"{part}/camera_5", f"{part}/disparity")
        images = _stems(root / part / "camera_5", ".jpg")
        truths = _stems(root / part / "disparity", ".png")
        for stem in sorted({*images, *truths}):
            image, truth = images.get(stem, f"{stem}.jpg"), truths.get(stem, f"{stem}.png")
            pairs.append(
                Pair(f"{part}/camera_5/{image}", (f"{part}/disparity/{truth}",), f"{part}/{stem}", part, decode)
            )
    return PairedFiles("apolloscape", root, tuple(pairs)).require(split)


def _stems(folder: Path, ending: str) -> dict[str, str]:
    return {name.removesuffix(ending).split("_Camera")[0]: name for name in names_in(folder) if name.endswith(ending)}
