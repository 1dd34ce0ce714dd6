"""Reports of point pairs: pairs that came out right are drawn in one colour, the others in another."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from data_trees import H, W
from data_trees_zero_shot import da2k
from dptkit.data.da2k import open_da2k
from dptkit.evaluation.protocols import PROTOCOLS
from dptkit.evaluation.report_pairs import RIGHT, WRONG, compare_pairs, pairs_panels
from dptkit.outputs import DepthMap, Provenance

sys.path.append(str(Path(__file__).parents[1] / "cli"))
from cli_runner import dpt


def test_right_and_wrong_pairs_have_their_colours(tmp_path: Path) -> None:
    """A map that is nearer to the right: of the two pairs of the indoor picture, A is nearer in the first, which
    it denies (column 1 against 5), and B at column 0 in the second, which it denies too; mirrored it says both."""
    da2k(tmp_path)
    sample = open_da2k(tmp_path, "test")[0]
    values = np.tile(np.arange(1, W + 1, dtype=np.float32), (H, 1))
    for nearness, colour, other in ((values, WRONG, RIGHT), (values[:, ::-1].copy(), RIGHT, WRONG)):
        prediction = DepthMap(nearness, "inverse_depth", np.ones((H, W), bool), Provenance("made", "1"))
        picture = compare_pairs(prediction, sample, PROTOCOLS["da-2k"])
        assert picture.right.tolist() == [colour == RIGHT] * 2
        (caption, drawn), (_, on_prediction) = pairs_panels(picture, (80, 120))
        assert caption == "picture with pairs"
        for panel in (drawn, on_prediction):
            assert (panel == colour).all(axis=2).sum() > 50  # points filled with it
            assert not (panel == other).all(axis=2).any()
        # The filled point is the one that people saw nearer: A of the first pair, at (row 0, column 1) of 4x6.
        assert (drawn[0, 20] == colour).all()


def test_the_report_of_pairs_shows_pictures(tmp_path: Path) -> None:
    da2k(tmp_path / "data")
    ran = dpt(
        "eval", "--data", tmp_path / "data", "--protocol", "da-2k", "--model", "ramp", "--report", tmp_path / "web"
    )
    assert ran.code == 0, ran.errors
    page = (tmp_path / "web/report.html").read_text("utf-8")
    assert page.count("data:image/jpeg;base64,") == 2 * 2  # two pictures, two panels each
    assert "pair predicted as annotated" in page
    assert "could not be had" not in page
    assert "degenerate" not in page  # nothing is fitted
