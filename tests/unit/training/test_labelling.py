"""Pictures with a teacher's depth: what is stored, what is drawn, and what happens to a folder that is there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from dptkit.data.registry import open_dataset
from dptkit.data.sample import Sample, SampleFiles
from dptkit.errors import ConfigError, DataError
from dptkit.outputs import DepthMap, Provenance, Quantity
from dptkit.training.labelling import (
    DETAIL_CHOICES,
    Draw,
    encode,
    inverse_depth,
    write_labels,
)

EVERYWHERE = np.ones((2, 2), np.bool_)


def depth_map(
    values: npt.ArrayLike, quantity: Quantity = "inverse_depth", valid: npt.NDArray[np.bool_] | None = None
) -> DepthMap:
    array = np.asarray(values, np.float32)
    return DepthMap(array, quantity, np.ones(array.shape, np.bool_) if valid is None else valid, Provenance("m", "1"))


def brightness(image: npt.NDArray[np.uint8]) -> DepthMap:
    """A teacher that everything can be read off: the greener, the nearer, with an offset."""
    return depth_map(image[:, :, 1].astype(np.float32) / 7 - 9)


@dataclass(frozen=True)
class Smooth:
    """Soft pictures, so that JPEG changes little, of two sources: "many" has nine times as many as "few"."""

    broken: int | None = None
    name: str = "smooth"
    few: int = 2
    many: int = 18

    def __len__(self) -> int:
        return self.few + self.many

    def sample_files(self) -> list[SampleFiles]:
        return [SampleFiles("few" if index < self.few else "../many", f"p{index}") for index in range(len(self))]

    def __getitem__(self, index: int) -> Sample:
        if index == self.broken:
            raise DataError(f"p{index}.jpg: not a picture")
        noise = np.random.default_rng(index).integers(0, 256, (6, 8, 3), np.uint8)
        image = np.asarray(cv2.resize(noise, (80, 60), interpolation=cv2.INTER_LINEAR), np.uint8)
        size = image.shape[:2]
        # Ground truth that would be seen at once if it came through.
        target, valid = np.full(size, 123.0, np.float32), np.zeros(size, np.bool_)
        return Sample(image, target, "inverse_depth", "relative", valid, "source", f"p{index}", "group")


def write(out: Path, draw: Draw, dataset: Smooth | None = None, **teacher: object) -> list[str | None]:
    return list(write_labels(dataset or Smooth(), brightness, out, draw, {"model": "brightness", **teacher}))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_codes_by_hand() -> None:
    def codes(depth: DepthMap, shown: npt.NDArray[np.bool_] = EVERYWHERE) -> list[list[int]]:
        return encode(inverse_depth(depth), shown).tolist()

    # 65534 / 3 = 21844.67 per unit, from 1 on.
    assert codes(depth_map([[-1, 0], [2, 1]])) == [[1, 21846], [65535, 43690]]
    # 1, 2 and 4 m are 1, 0.5 and 0.25 in 1/m, of which 0.5 lies a third of the way; beyond the range nothing is known.
    metres = depth_map([[1, 2], [4, 90]], "depth_m", np.array([[True, True], [True, False]]))
    assert codes(metres) == [[65535, 21846], [1, 0]]
    shown = np.array([[False, True], [True, True]])
    assert codes(depth_map([[50, 0], [2, 1]]), shown) == [[0, 1], [65535, 32768]]
    assert codes(depth_map([[3, 3], [3, 3]])) == [[1, 1], [1, 1]]
    assert codes(depth_map([[3, 1], [3, 3]]), ~EVERYWHERE) == [[0, 0], [0, 0]]


def test_detail_of_the_ground_truth(tmp_path: Path) -> None:
    """The teacher sees a blur; the ground truth has stripes."""
    stripes = np.broadcast_to(np.arange(80) % 8 < 4, (60, 80)).astype(np.float32)

    def blurred(image: npt.NDArray[np.uint8]) -> DepthMap:
        return depth_map(cv2.GaussianBlur(image[:, :, 1].astype(np.float32), (0, 0), 8))

    @dataclass(frozen=True)
    class Known(Smooth):
        def __getitem__(self, index: int) -> Sample:
            sample = super().__getitem__(index)
            nearness = blurred(sample.image).values + 50 * stripes
            return replace(sample, target=1000 / nearness, valid=nearness > 0, quantity="depth_m", unit="m")

    def agreement(out: Path, pattern: Callable[[Sample], npt.NDArray[np.float32]]) -> float:
        """Correlation of the labels' fine detail with that of a pattern: the median over pictures."""
        read, found = open_dataset("manifest", out, "train"), []
        for index in range(len(read)):
            sample = read[index]
            fine = [plane - cv2.GaussianBlur(plane, (0, 0), 3) for plane in (sample.target, pattern(sample))]
            found.append(np.corrcoef(fine[0].ravel(), fine[1].ravel())[0, 1])
        return float(np.median(found))

    for detail in DETAIL_CHOICES:
        assert not any(write_labels(Known(), blurred, tmp_path / detail, Draw(detail=detail), {}))
    striped = {detail: agreement(tmp_path / detail, lambda _: stripes) for detail in DETAIL_CHOICES}
    assert striped["truth"] > 0.9 > 0.3 > striped["model"]


def test_detail_needs_a_ground_truth(tmp_path: Path) -> None:
    said = list(write_labels(Smooth(), brightness, tmp_path, Draw(2, detail="truth"), {}))
    assert said == ["p0: has no ground truth to take detail from", "p1: has no ground truth to take detail from"]
    with pytest.raises(ConfigError, match="not for crops"):
        Draw(2, (48, 64), detail="truth")


def test_whole_pictures_come_back_with_the_teachers_depth(tmp_path: Path) -> None:
    assert write(tmp_path, Draw()) == [None] * 20
    read = open_dataset("manifest", tmp_path, "train")
    assert len(read) == 20
    for index in range(20):
        original, sample = Smooth()[index], read[index]
        assert np.abs(sample.image.astype(int) - original.image).mean() < 6, "no more than JPEG"
        assert sample.valid.all()
        assert sample.unit == "relative"
        depth = brightness(original.image).values
        expected = (depth - depth.min()) / np.ptp(depth)
        np.testing.assert_allclose(sample.target, (1 + 65534 * expected) / 65535, atol=1e-5)


def test_crops_are_new_pictures_labelled_as_the_teacher_sees_them(tmp_path: Path) -> None:
    seen: list[npt.NDArray[np.uint8]] = []

    def watched(image: npt.NDArray[np.uint8]) -> DepthMap:
        seen.append(image)
        return brightness(image)

    list(write_labels(Smooth(), watched, tmp_path, Draw(200, (48, 64), 3), {}))
    read = open_dataset("manifest", tmp_path, "train")
    assert [image.shape for image in seen] == [(48, 64, 3)] * 200
    assert len({image.tobytes() for image in seen}) == 200, "each is another"
    by_name = {sample.name: sample for sample in (read[index] for index in range(200))}
    turned = 0
    for number, image in enumerate(seen):
        sample = next(sample for name, sample in by_name.items() if name.endswith(f"/{number:06d}"))
        assert np.abs(sample.image.astype(int) - image).mean() < 6
        turned += not sample.valid.all()
        agreement = np.corrcoef(sample.target[sample.valid], image[:, :, 1][sample.valid])[0, 1]
        assert agreement > 0.99, "label and picture move together"
    assert turned > 20, "corners that turning brought in are nothing to learn"
    # Sources by the square root of their numbers: 3 to 1 for 18 and 2 pictures. 200 draws: a deviation of 6.
    sources = Counter(sample.source for sample in by_name.values())
    assert 25 <= sources["few"] <= 75
    assert set(sources) == {"few", "_many"}, "no source leads out of the folder"


def test_a_run_that_was_cut_off_ends_as_one_that_was_not(tmp_path: Path) -> None:
    draw = Draw(12, (48, 64), 3)
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    write(whole, draw)
    running = write_labels(Smooth(), brightness, cut, draw, {"model": "brightness"})
    for _ in range(5):
        next(running)
    running.close()
    assert not (cut / "manifest.csv").exists(), "what is not finished is no data set"
    next(cut.rglob("000003.jpg")).unlink()  # killed between label and picture
    write(cut, draw)
    assert contents(cut) == contents(whole)
    write(cut, Draw(15, (48, 64), 3))
    more = contents(cut)
    assert len(more) == len(contents(whole)) + 6
    assert all(more[name] == data for name, data in contents(whole).items() if name != "manifest.csv")


@pytest.mark.parametrize(
    ("draw", "teacher"),
    [(Draw(4, (48, 64), 1), {}), (Draw(4, (48, 32)), {}), (Draw(4), {}), (Draw(4, (48, 64)), {"tta": "flip"})],
)
def test_labels_made_otherwise_are_not_mixed(tmp_path: Path, draw: Draw, teacher: dict[str, object]) -> None:
    write(tmp_path, Draw(2, (48, 64)))
    before = contents(tmp_path)
    with pytest.raises(ConfigError, match="made otherwise"):
        write(tmp_path, draw, **teacher)
    assert contents(tmp_path) == before


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years")
    with pytest.raises(ConfigError, match="not empty"):
        write(tmp_path, Draw())
    assert set(contents(tmp_path)) == {"thesis.txt"}


def test_a_broken_picture_is_said_and_left_out(tmp_path: Path) -> None:
    said = write(tmp_path, Draw(), Smooth(broken=4))
    assert said == [None] * 4 + ["p4.jpg: not a picture"] + [None] * 15
    assert len(open_dataset("manifest", tmp_path, "train")) == 19
    assert write(tmp_path, Draw()) == [None] * 20, "repaired, the same command completes it"
    assert len(open_dataset("manifest", tmp_path, "train")) == 20


@pytest.mark.parametrize("options", [{"crop": (48, 64)}, {"count": 0}, {"count": 3, "crop": (0, 64)}])
def test_what_cannot_be_drawn(options: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        Draw(**options)  # type: ignore[arg-type]
