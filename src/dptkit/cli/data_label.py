"""`dpt data label`: pictures with a model's own depth, for a student to learn from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, cast

import typer

from dptkit.cli import options
from dptkit.cli.data_check import DatasetName, ReaderOptions, parse_reader_options


def label(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A data set's folder, or any of pictures.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder to write to; pairs that are there are kept.")],
    dataset: DatasetName = None,
    split: Annotated[str, typer.Option(metavar="NAME", help="Which split, of a data set that has several.")] = "train",
    reader_options: ReaderOptions = None,
    model: Annotated[str, typer.Option(metavar="NAME|FILE", help="The teacher: a published model, or a file.")] = (
        "dpt-lite"
    ),
    engine: options.Engine = "auto",
    device: options.Device = "auto",
    precision: options.PrecisionOption = "auto",
    tta: options.Tta = "none",
    scales: options.Scales = None,
    count: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="How many. Default: every picture once.")
    ] = None,
    crops: Annotated[
        str | None,
        typer.Option(metavar="HEIGHTxWIDTH", help="Random crops, zoomed, turned and recoloured, not whole pictures."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the crops.")] = 0,
    detail: Annotated[
        str,
        typer.Option(
            metavar="model|truth",
            help="Whose edges: those that the model sees, or the ground truth's with the model's layout.",
        ),
    ] = "model",
) -> int:
    """Write pictures with the depth that a model predicts for them, as a folder to train on (data set manifest).

    With --tta labels are the mean of several views, which a student can learn to give at once. Ground truth is not
    looked at, but for --detail truth. Goes on after an interruption with the same command.
    """
    from dptkit.cli.data_render import parse_size
    from dptkit.cli.loading import check_usage, load_predictor
    from dptkit.cli.progress import PictureScreen
    from dptkit.data.registry import open_dataset
    from dptkit.training.labelling import DETAIL_CHOICES, Detail, Draw, Teacher, write_labels

    computing = check_usage(model, "depth", engine, device, precision, tta=tta, scales=scales)
    options.check_choice(detail, DETAIL_CHOICES, "--detail")
    draw = Draw(count, None if crops is None else parse_size(crops), seed, cast(Detail, detail))
    pictures = open_dataset(dataset or _layout(folder), folder, split, **parse_reader_options(reader_options or []))
    predictor = load_predictor(model, "depth", weights=None, computing=computing, size=None, background=(255, 255, 255))
    origin = predictor.provenance
    record = {"model": origin.model, "weights": origin.weights_sha256, "tta": origin.tta, "scales": origin.scales}
    total, broken = draw.total(len(pictures)), 0
    with PictureScreen(total) as screen:
        for problem in write_labels(pictures, cast(Teacher, predictor.predict), out, draw, record):
            if problem is not None:
                broken += 1
                screen.problem(f"dpt: {problem}")
            screen.advance()
    left_out = f", {broken} left out" if broken else ""
    typer.echo(f"{out}: {total - broken} pictures with the labels of {model}{left_out}")
    return int(broken > 0)


def _layout(folder: Path) -> str:
    """What the files say; a folder that is no known data set is one of pictures."""
    from dptkit.data.detect import detect_dataset
    from dptkit.errors import DataError

    try:
        return detect_dataset(folder)
    except DataError:
        return "pictures"
