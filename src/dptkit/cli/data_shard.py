"""`dpt data shard`: a folder of training data as WebDataset shards."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dptkit.cli.data_check import DatasetName, ReaderOptions, parse_reader_options
from dptkit.errors import ConfigError


def shard(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of a data set.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder for the shards.")],
    dataset: DatasetName = None,
    split: Annotated[
        str | None, typer.Option(metavar="NAME", help="Which split. May be left out if there is only one.")
    ] = None,
    reader_options: ReaderOptions = None,
    size: Annotated[int, typer.Option(metavar="N", min=1, help="Samples in a shard.")] = 1000,
) -> int:
    """Write a split as tar files with picture, ground truth (16-bit where nothing is lost, else float) and JSON.

    A shard appears whole or not at all; run again after an interruption, it goes on where it stopped.
    """
    from dptkit.cli.progress import PictureScreen
    from dptkit.data.detect import detect_dataset
    from dptkit.data.registry import open_dataset, splits_of
    from dptkit.data.shard_writing import write_shards

    name = dataset or detect_dataset(folder)
    if split is None:
        splits = splits_of(name, folder)
        if len(splits) != 1:
            raise ConfigError(f"--split: say which one of {', '.join(splits)}")
        split = splits[0]
    samples = open_dataset(name, folder, split, **parse_reader_options(reader_options or []))
    with PictureScreen(len(samples)) as screen:
        paths = write_shards(samples, out, split, size, screen.advance)
    total = sum(path.stat().st_size for path in paths)
    typer.echo(
        f"{out}: {len(samples)} samples in {len(paths)} shard{'' if len(paths) == 1 else 's'}, {total / 1e6:.1f} MB"
    )
    return 0
