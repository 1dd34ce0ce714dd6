"""`dpt depth`: depth maps of pictures."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any

import typer

from dptkit.cli import options

FORMATS = ("png16", "color", "npy", "pfm", "tiff", "exr")


def depth(
    inputs: options.Inputs,
    output: options.Output = options.DEFAULT_OUTPUT,
    model: Annotated[str, typer.Option(metavar="NAME|FILE", help="A published model (see dpt models), or a file.")] = (
        "dpt-lite"
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
    ] = "png16,color",
    colormap: Annotated[str, typer.Option(metavar="NAME", help="Colours of the colour picture.")] = "inferno",
    vmin: Annotated[
        float | None,
        typer.Option(help="Lower end of 16-bit and colour pictures, in the result's unit. Default: the picture's."),
    ] = None,
    vmax: Annotated[float | None, typer.Option(help="Upper end, likewise.")] = None,
    background: options.Background = "white",
    batch_size: options.BatchSize = 1,
    recursive: options.Recursive = False,
    skip_existing: options.SkipExisting = False,
    fail_fast: options.FailFast = False,
    as_json: options.Json = False,
) -> int:
    """Predict depth: by default a 16-bit PNG that says its unit and scale, and a colour picture.

    Relative models give inverse depth (larger is nearer, known up to scale and shift); metric models give metres,
    stored as millimetres. dptkit.read_depth reads every format back except the colour picture.
    """
    from dptkit.errors import ConfigError
    from dptkit.image_io import DEPTH_SUFFIXES, colormap_names, depth_endings, write_depth

    wanted = options.parse_choices(formats, FORMATS, "--format")
    options.check_choice(colormap, colormap_names(), "--colormap")
    if not all(bound is None or math.isfinite(bound) for bound in (vmin, vmax)):
        raise ConfigError("--vmin and --vmax must be finite")
    if vmin is not None and vmax is not None and not vmin < vmax:
        raise ConfigError(f"--vmin {vmin:g} must be below --vmax {vmax:g}")
    colour = options.parse_colour(background)

    from dptkit.cli.loading import check_usage, load_predictor
    from dptkit.cli.one_picture import Picture, Result
    from dptkit.cli.pictures import PictureRun
    from dptkit.outputs import DepthMap

    computing = check_usage(model, "depth", engine, device, precision, token_merge, tta, scales)

    def write(stem: Path, picture: Picture, result: Result) -> dict[str, Any]:
        assert isinstance(result, DepthMap)
        written = {
            name: write_depth(
                stem.with_name(stem.name + DEPTH_SUFFIXES[name]), result, name, vmin=vmin, vmax=vmax, colormap=colormap
            )
            for name in DEPTH_SUFFIXES
            if name in wanted
        }
        valid = result.values if result.valid.all() else result.values[result.valid]
        return {
            "outputs": {name: str(file.path) for name, file in written.items()},
            "quantity": result.quantity,
            "unit": result.unit,
            "min": float(valid.min()) if valid.size else None,
            "max": float(valid.max()) if valid.size else None,
            "valid_share": round(valid.size / result.values.size, 6),
            "clipped": {name: file.clipped for name, file in written.items() if file.clipped},
        }

    run = PictureRun(
        inputs,
        output,
        [ending for name in DEPTH_SUFFIXES if name in wanted for ending in depth_endings(name)],
        write,
        batch_size,
        recursive,
        skip_existing,
        fail_fast,
        as_json,
    )
    return run.start(
        lambda streams: load_predictor(
            model,
            "depth",
            weights=weights,
            computing=computing,
            size=size,
            background=colour,
            streams=streams,
        )
    )
