"""`dpt data render`: write rendered pictures with exact depth."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def render(
    out: Annotated[Path, typer.Argument(help="The folder to write to; scenes that are there already are kept.")],
    count: Annotated[int, typer.Option(min=1, help="How many pictures.")] = 100,
    seed: Annotated[int, typer.Option(min=0, help="Of the first picture; the others follow.")] = 0,
    size: Annotated[str, typer.Option(help="HEIGHTxWIDTH in pixels.")] = "240x320",
    kind: Annotated[str | None, typer.Option(help="One kind of scene only, such as room or street.")] = None,
    photos: Annotated[Path | None, typer.Option(help="A folder of photos to take textures from.")] = None,
    processes: Annotated[int, typer.Option(min=1, help="How many to render at once.")] = 1,
    frames: Annotated[
        int | None, typer.Option(min=1, help="Clips of so many frames, by a moving camera, instead of single pictures.")
    ] = None,
) -> int:
    """Render pictures with exact depth, classes and camera; the same seed gives the same picture.

    Writes OUT/procedural and OUT/manifest.csv, with --frames OUT/clips; go on after an interruption with the same
    command.
    """
    from dptkit.data.procedural import PhotoTextures, write_clips, write_scenes
    from dptkit.errors import ConfigError

    if frames is not None and processes > 1:
        raise ConfigError("--processes is for single pictures: clips are rendered one after the other")
    textures = None if photos is None else PhotoTextures(photos)
    last = None
    with typer.progressbar(length=count, label="rendering") as bar:
        if frames is None:
            steps = write_scenes(out, count, seed, parse_size(size), textures, processes, kind=kind)
        else:
            steps = write_clips(out, count, frames, seed, parse_size(size), textures, kind=kind)
        for progress in steps:
            bar.update(progress.done - (last.done if last else 0))
            last = progress
    if last is not None:
        what = "scenes" if frames is None else "clips"
        typer.echo(f"{out}: {last.done} {what}, {last.skipped} of them there before")
    return 0


def parse_size(text: str) -> tuple[int, int]:
    """ "240x320" -> (240, 320). Raises DataError."""
    from dptkit.errors import DataError

    height, _, width = text.lower().partition("x")
    if not (height.isdigit() and width.isdigit()):
        raise DataError(f"{text!r} is not a size; write HEIGHTxWIDTH, such as 240x320")
    return int(height), int(width)
