"""The report: whole, readable without a network, harmless whatever files are called, and showing what was scored."""

from __future__ import annotations

import base64
import io
import re
import time
from collections.abc import Sequence
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from two_results import METRES, SHAPE, Guess, open_scenes, result_of, run, write_scenes

from dptkit.cli.eval_outputs import Outputs
from dptkit.cli.eval_report import write_run_report
from dptkit.data.sample import Sample
from dptkit.errors import OutputWriteError
from dptkit.evaluation.protocol import protocol_to_dict
from dptkit.evaluation.protocols import PROTOCOLS
from dptkit.evaluation.report import write_report
from dptkit.evaluation.report_pictures import LARGEST_ERROR, ReportPicture, compare_picture, draw_picture, pictures_from
from dptkit.evaluation.result import EvaluationResult, ImageResult
from dptkit.evaluation.subject import SubjectIdentity
from dptkit.evaluation.summary import summarise
from dptkit.outputs import DepthMap, Provenance, SegmentationMap

EVIL = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>"
VOID = {"meta", "img", "rect", "line", "br", "link", "input", "hr"}


class Page(HTMLParser):
    """Checks nesting; collects tags, attributes, and text by tag."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.text: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open, f"not closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    @property
    def images(self) -> list[np.ndarray]:
        found = [value for tag, name, value in self.attributes if (tag, name) == ("img", "src")]
        return [np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])))) for uri in found]


def page_of(path: Path) -> Page:
    return Page(path.read_text("utf-8"))


def nothing(result: EvaluationResult, image: ImageResult) -> None:
    return None


@pytest.fixture(scope="module")
def depth_page(tmp_path_factory: pytest.TempPathFactory) -> tuple[Page, EvaluationResult, Path]:
    root = tmp_path_factory.mktemp("report")
    data = open_scenes(write_scenes(root / "scenes", count=12, size=(48, 64)))
    results = [run(data, Guess(), METRES), run(data, Guess("second", 1.2), METRES)]
    path = root / "report.html"
    guesses = {"guess": Guess(), "second": Guess("second", 1.2)}
    write_report(path, results, pictures_from(data, lambda r, s: guesses[r.subject.name].predict(s.image)))
    return page_of(path), results[0], path


def test_everything_is_in_it(depth_page: tuple[Page, EvaluationResult, Path]) -> None:
    page, result, _ = depth_page
    text = " ".join(" ".join(page.text).split())
    for field in protocol_to_dict(result.protocol):
        assert field in ("source", "name") or f" {field} " in text, field
    assert f"{result.summary['abs_rel'].value:.4f}" in text
    assert f"{result.summary['abs_rel'].low:.4f} to {result.summary['abs_rel'].high:.4f}" in text
    assert "By source" in text
    assert "s0" in text
    assert "Predictions are scored in metres as they are" in text
    assert page.tags.count("svg") == 2
    assert page.tags.count("img") == 2 * 8 * 4  # two subjects, eight pictures, four panels


def test_nothing_comes_from_outside(depth_page: tuple[Page, EvaluationResult, Path]) -> None:
    page, _, path = depth_page
    assert not {"script", "link", "iframe", "object", "base", "form"} & set(page.tags)
    addresses = [value for _, name, value in page.attributes if name in ("src", "href", "srcset", "action", "data")]
    assert addresses
    assert all(value.startswith("data:image/jpeg;base64,") for value in addresses)
    assert not re.findall(r"https?://|url\(|@import", path.read_text("utf-8"))
    assert not [name for _, name, _ in page.attributes if name.startswith("on")]


def test_best_and_worst_are_those(depth_page: tuple[Page, EvaluationResult, Path]) -> None:
    page, result, _ = depth_page
    order = [image.name for image in sorted(result.images, key=lambda image: image.scores["abs_rel"])]
    shown = re.findall(r"picture of (s\d/\d+)", " ".join(value for _, name, value in page.attributes if name == "alt"))
    assert shown[:8] == [*order[:4], *order[:-5:-1]]


def test_bars_count_every_picture(depth_page: tuple[Page, EvaluationResult, Path]) -> None:
    page, _, _ = depth_page
    counts = [int(n) for n in re.findall(r"to [\d.]+: (\d+) pictures", " ".join(page.text))]
    assert sum(counts[: len(counts) // 2]) == 12


def test_names_of_files_are_text(tmp_path: Path) -> None:
    result = result_of(
        {"abs_rel": [0.1, 0.2, 0.3]}, EVIL, names=[EVIL, "b\x00\udcff\u2028", "c"], sources=[EVIL, "s", "s"]
    )
    images = (replace(result.images[0], state="skipped", problem=EVIL, scores={}), *result.images[1:])
    images = (*images, replace(result.images[0], name=EVIL + "2"))
    facts = {**result.dataset, "name": EVIL, "folder": EVIL}
    evil = replace(
        result, images=images, dataset=facts, command=EVIL, machine=EVIL, versions={EVIL: EVIL},
        protocol=replace(result.protocol, name=EVIL, source=EVIL),
        subject=SubjectIdentity(EVIL, EVIL, {EVIL: EVIL}),
    )  # fmt: skip
    path = tmp_path / "report.html"
    picture = draw_me()
    write_report(path, [evil], lambda r, i: picture)
    page = page_of(path)
    assert "script" not in page.tags
    assert not [name for _, name, _ in page.attributes if name.startswith("on")]
    assert all(value.startswith("data:") for _, name, value in page.attributes if name == "src")
    assert sum(EVIL in text for text in page.text) > 5
    assert "\x00" not in path.read_text("utf-8")


def draw_me(size: tuple[int, int] = (60, 80)) -> ReportPicture:
    rng = np.random.default_rng(0)
    truth = rng.uniform(1, 5, size)
    valid = rng.random(size) > 0.2
    prediction = truth * rng.uniform(0.8, 1.2, size)
    return ReportPicture(
        rng.integers(0, 256, (*size, 3), np.uint8), truth, prediction, np.abs(prediction - truth) / truth, valid
    )


def test_skipped_pictures_and_parts_are_said(tmp_path: Path) -> None:
    result = result_of({"abs_rel": [0.1, 0.2, 0.3]})
    images = (*result.images[:2], replace(result.images[2], state="skipped", scores={}, problem="x.jpg: is broken"))
    facts = {**result.dataset, "limit": 3, "pictures_in_split": 654}
    write_report(tmp_path / "r.html", [replace(result, images=images, dataset=facts)], nothing)
    text = " ".join(" ".join(page_of(tmp_path / "r.html").text).split())
    assert "only the first 3 of 654 pictures were taken" in text
    assert "1 of 3 pictures were skipped" in text
    assert "x.jpg: is broken" in text
    assert text.count("The picture is not shown") == 2


def test_intervals_of_few_pictures_are_called_too_narrow(tmp_path: Path) -> None:
    for count, said in ((9, True), (10, False)):
        write_report(tmp_path / "r.html", [result_of({"abs_rel": [k / 10 for k in range(count)]})], nothing)
        text = " ".join(" ".join(page_of(tmp_path / "r.html").text).split())
        assert ("fewer than 10 pictures: the intervals are too narrow" in text) == said


def test_one_picture_and_none(tmp_path: Path) -> None:
    result = result_of({"abs_rel": [0.1]})
    write_report(tmp_path / "one.html", [result], nothing)
    page_of(tmp_path / "one.html")
    skipped = replace(result, images=(replace(result.images[0], state="skipped", scores={}),))
    summary, by_source = summarise(skipped.images, skipped.protocol)
    write_report(tmp_path / "none.html", [replace(skipped, summary=summary, by_source=by_source)], nothing)
    page_of(tmp_path / "none.html")
    with pytest.raises(ValueError, match="needs a result"):
        write_report(tmp_path / "no.html", [], nothing)


def test_a_broken_end_leaves_no_file(tmp_path: Path) -> None:
    def fails(result: EvaluationResult, image: ImageResult) -> ReportPicture:
        raise RuntimeError("no memory")

    with pytest.raises(RuntimeError):
        write_report(tmp_path / "r.html", [result_of({"abs_rel": [0.1]})], fails)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(OutputWriteError):
        write_report(tmp_path, [result_of({"abs_rel": [0.1]})], nothing)


def test_different_rules_are_warned_of(tmp_path: Path) -> None:
    left, right = result_of({"abs_rel": [0.1]}), result_of({"abs_rel": [0.1]}, mask="garg")
    right = replace(right, protocol=replace(right.protocol, name="other rules"))
    write_report(tmp_path / "r.html", [left, right], nothing)
    assert "These results follow different rules" in " ".join(page_of(tmp_path / "r.html").text)


def labels_result(classes: Sequence[str] = ("road", "sky", "car")) -> tuple[EvaluationResult, Sample, SegmentationMap]:
    from dptkit.evaluation.scoring import score_picture

    protocol = replace(PROTOCOLS["camvid-11"], classes=tuple(classes))
    rng = np.random.default_rng(1)
    truth = np.zeros((60, 80), np.uint8)
    truth[:30] = 1
    truth[40:50, 20:40] = 2
    truth[:, :4] = 255
    guess = np.where(truth == 255, 0, truth).astype(np.uint8)
    guess[30:40] = 1  # ten rows of road are called sky
    image = rng.integers(0, 256, (60, 80, 3), np.uint8)
    sample = Sample(image, truth, "labels", "class", truth != 255, "streets", "one")
    prediction = SegmentationMap(
        guess, tuple(classes), ((128, 64, 128), (70, 130, 180), (0, 0, 142)), Provenance("m", "0")
    )
    images = (score_picture(prediction, sample, protocol),)
    summary, by_source = summarise(images, protocol)
    facts: dict[str, Any] = {"name": "streets", "split": "test", "pictures": 1}
    result = EvaluationResult(protocol, SubjectIdentity("m"), facts, summary, by_source, images, {}, "a machine")
    return result, sample, prediction


def test_labels(tmp_path: Path) -> None:
    result, sample, prediction = labels_result()
    picture = compare_picture(prediction, sample, result, result.images[0])
    assert picture is not None
    assert picture.error.sum() == 10 * 76  # the ignored columns are not wrong
    write_report(tmp_path / "r.html", [result], lambda r, i: picture)
    page = page_of(tmp_path / "r.html")
    text = " ".join(page.text)
    assert "By class" in text
    assert f"{100 * result.summary['iou/car'].value:.2f}" in text
    wrong = page.images[3].astype(int)
    red = wrong[..., 0] - wrong[..., 2] > 100
    assert red[31:39, 10:70].mean() > 0.95
    assert red[:28].mean() < 0.02
    assert red[42:].mean() < 0.02
    assert ("i", "style", "background:#804080") in page.attributes


def test_depth_panels_show_what_was_scored() -> None:
    """A prediction half of the truth: aligned it is right. One wrong square is where the error is."""
    truth = np.linspace(1, 8, 64, dtype=np.float32)[None].repeat(48, 0)
    image = np.zeros((48, 64, 3), np.uint8)
    sample = Sample(image, truth, "depth_m", "m", np.ones(truth.shape, bool), "s", "one")
    values = truth / 2
    values[10:20, 10:20] *= 3
    prediction = DepthMap(values, "depth_m", np.ones(truth.shape, bool), Provenance("m", "0"))
    result = result_of({"abs_rel": [0.1]}, alignment="median_scale")
    picture = compare_picture(prediction, sample, result, result.images[0])
    assert picture is not None
    right = np.ones(truth.shape, bool)
    right[10:20, 10:20] = False
    scale = np.median(truth) / np.median(values)
    assert picture.error[right] == pytest.approx(abs(scale / 2 - 1), abs=1e-6)
    assert picture.error[~right].min() > LARGEST_ERROR
    drawn = draw_picture(picture)
    panels = [np.asarray(Image.open(io.BytesIO(base64.b64decode(p.uri.partition(",")[2]))), int) for p in drawn.panels]
    assert [panel.caption for panel in drawn.panels] == ["picture", "truth", "prediction", "error"]
    error = panels[3].sum(axis=2)
    assert error[12:18, 12:18].min() > error[30:].max() + 200
    # The same colours for the same depth; JPEG and a scale off by a few percent move them a little.
    assert np.abs(panels[1][30:] - panels[2][30:]).mean() < 12
    assert drawn.scale == "near to far: 1 m to 8 m"  # one of 64 columns is more than one percent


def test_sparse_points_are_seen() -> None:
    """LiDAR measures one pixel in twenty: shrunk by four, a picture still shows most of them, grey elsewhere."""
    rng = np.random.default_rng(0)
    size = (400, 1280)
    valid = rng.random(size) > 0.95
    truth = np.where(valid, rng.uniform(4, 40, size), 1.0)
    picture = ReportPicture(np.zeros((*size, 3), np.uint8), truth, truth, np.zeros(size), valid)
    shown = draw_picture(picture)
    assert shown.panels[1].size == (100, 320)
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(shown.panels[1].uri.partition(",")[2]))), int)
    coloured = np.ptp(pixels, axis=2) > 30
    assert coloured.mean() > 0.35  # 1 - 0.95 ** 16 = 0.56 of the small pixels cover a point


def test_a_video_is_shown_by_its_own_fit(tmp_path: Path) -> None:
    data = open_scenes(write_scenes(tmp_path / "scenes"))
    result = run(data, Guess(), replace(SHAPE, alignment_scope="video", aggregation="image_mean", metrics=("abs_rel",)))
    image = result.images[0]
    sample = next(data[k] for k in range(len(data)) if data[k].name == image.name)
    picture = compare_picture(Guess().predict(sample.image), sample, result, image)
    assert picture is not None
    assert picture.error[picture.valid].mean() == pytest.approx(image.scores["abs_rel"], abs=1e-9)


def test_small_and_quick(tmp_path: Path) -> None:
    """8 pictures of 640x480: below 3 MB and, on a busy machine too, about a second; 4 s leaves room for that."""
    result = result_of({"abs_rel": list(np.linspace(0.1, 0.9, 8))})
    picture = draw_me((480, 640))
    write_report(tmp_path / "warm.html", [result_of({"abs_rel": [0.1]})], nothing)
    started = time.process_time()
    write_report(tmp_path / "r.html", [result], lambda r, i: picture)
    assert time.process_time() - started < 4
    assert (tmp_path / "r.html").stat().st_size < 3_000_000


def test_pictures_are_predicted_again_or_taken_from_what_was_kept(tmp_path: Path) -> None:
    data = open_scenes(write_scenes(tmp_path / "scenes"))
    kept, not_kept = run(data, Guess(), METRES, tmp_path / "kept"), run(data, Guess("second"), METRES)
    opened: list[int] = []

    def subject_of(number: int) -> Guess:
        opened.append(number)
        return Guess("second")

    def page(path: Path) -> Path:
        found = Outputs(None, None, path, None, several=False).page
        assert found is not None
        return found

    write_run_report(page(tmp_path / "folder"), [kept, not_kept], data, subject_of)
    assert opened == [1]
    assert page_of(tmp_path / "folder/report.html").tags.count("img") == 2 * 6 * 4
    write_run_report(page(tmp_path / "file.html"), [kept], data, subject_of)
    assert (tmp_path / "file.html").is_file()
