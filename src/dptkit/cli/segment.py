"""`dpt segment`: semantic classes of pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from dptkit.cli import options

FORMATS = ("labels", "overlay", "json", "scores")


def segment(
    inputs: options.Inputs,
    output: options.Output = options.DEFAULT_OUTPUT,
    model: Annotated[str, typer.Option(metavar="NAME|FILE", help="A published model (see dpt models), or a file.")] = (
        "dpt-hybrid-ade20k"
    ),
    weights: options.Weights = None,
    engine: options.Engine = "auto",
    device: options.Device = "auto",
    precision: options.PrecisionOption = "auto",
    token_merge: options.TokenMerge = 0.0,
    tta: options.Tta = "none",
    scales: options.Scales = None,
    size: options.Size = None,
    formats: Annotated[
        str, typer.Option("--format", metavar="LIST", help=f"What to write, of {', '.join(FORMATS)}.")
    ] = "labels,overlay,json",
    background: options.Background = "white",
    batch_size: options.BatchSize = 1,
    recursive: options.Recursive = False,
    skip_existing: options.SkipExisting = False,
    fail_fast: options.FailFast = False,
    as_json: options.Json = False,
) -> int:
    """Predict semantic classes: label PNG with palette, overlay with legend, JSON with classes and pixel shares.

    Labels are 0-based class ids, 255 = ignore. scores: the chosen class's probability as a 16-bit PNG.
    """
    wanted = options.parse_choices(formats, FORMATS, "--format")
    colour = options.parse_colour(background)

    from dptkit.cli.loading import check_usage, load_predictor
    from dptkit.cli.one_picture import Picture, Result
    from dptkit.cli.pictures import PictureRun
    from dptkit.image_io import SEGMENT_SUFFIXES, write_labels, write_overlay, write_scores, write_segments_json
    from dptkit.outputs import SegmentationMap

    computing = check_usage(model, "segmentation", engine, device, precision, token_merge, tta, scales)

    def write(stem: Path, picture: Picture, result: Result) -> dict[str, Any]:
        assert isinstance(result, SegmentationMap)
        paths = {
            name: stem.with_name(stem.name + SEGMENT_SUFFIXES[name]) for name in SEGMENT_SUFFIXES if name in wanted
        }
        if "labels" in paths:
            write_labels(paths["labels"], result)
        if "overlay" in paths:
            write_overlay(paths["overlay"], picture, result)
        if "json" in paths:
            write_segments_json(paths["json"], result)
        if "scores" in paths:
            write_scores(paths["scores"], result)
        shares = {name: round(share, 6) for name, share in result.pixel_shares().items()}
        return {"outputs": {name: str(path) for name, path in paths.items()}, "classes": shares}

    run = PictureRun(
        inputs,
        output,
        [SEGMENT_SUFFIXES[name] for name in SEGMENT_SUFFIXES if name in wanted],
        write,
        batch_size,
        recursive,
        skip_existing,
        fail_fast,
        as_json,
        scores="scores" in wanted,
    )
    return run.start(
        lambda streams: load_predictor(
            model,
            "segmentation",
            weights=weights,
            computing=computing,
            size=size,
            background=colour,
            streams=streams,
        )
    )
