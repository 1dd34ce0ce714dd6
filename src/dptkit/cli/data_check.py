"""`dpt data check`: is a folder of training data whole, and what is in it?"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dptkit.errors import ConfigError, DataError

if TYPE_CHECKING:
    from dptkit.data.checking import CheckReport
    from dptkit.data.registry import Option
    from dptkit.data.sample import Dataset, OrdinalDataset

DatasetName = Annotated[
    str | None, typer.Option("--dataset", metavar="NAME", help="Which data set it is. Default: told by its files.")
]
ReaderOptions = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="An option of the data set's reader, as kind=depth. Repeatable."),
]


def check(
    folders: Annotated[list[Path], typer.Argument(metavar="DIR...", help="Folders of data sets.")],
    dataset: DatasetName = None,
    split: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Only this split. Repeatable. Default: all there are.")
    ] = None,
    reader_options: ReaderOptions = None,
    sheet: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a contact sheet as PNG: pictures and ground truth.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object per split.")] = False,
) -> int:
    """Read every picture and its ground truth; print counts, sizes, value ranges and shares, and name broken files.

    Ends with 1 if anything is broken or missing, also where a public data set has another number of pictures than
    officially. With several splits each has its own sheet, named after it.
    """
    from dptkit.data.detect import detect_dataset
    from dptkit.data.registry import splits_of

    options = parse_reader_options(reader_options or [])
    failed = False
    for folder in folders:
        try:
            name = dataset or detect_dataset(folder)
            splits = tuple(split) if split else splits_of(name, folder)
        except DataError as error:
            typer.echo(f"dpt: {error}", err=True)
            failed = True
            continue
        said = set()
        for one in splits:
            try:
                opened = open_leniently(name, folder, one, options)
            except DataError as error:
                if str(error) not in said:  # what is wrong with the folder is wrong with every split
                    typer.echo(f"dpt: {error}", err=True)
                said.add(str(error))
                failed = True
                continue
            labels = [folder.name] if len(folders) > 1 else []
            labels += [one] if one and len(splits) > 1 else []
            failed |= not _check_one(folder, name, one, opened, options, _sheet_path(sheet, labels), json)
    return int(failed)


def parse_reader_options(texts: list[str], option: str = "--set") -> dict[str, Option]:
    """ "key=value" or "key=a,b" -> options of a reader, as text or lists of text. Raises ConfigError."""
    options: dict[str, Option] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise ConfigError(f"{option}: {text!r} is not KEY=VALUE")
        options[key.strip().replace("-", "_")] = value.split(",") if "," in value else value
    return options


def open_leniently(name: str, folder: Path, split: str, options: dict[str, Option]) -> Dataset | OrdinalDataset:
    """The data set, also where files of it are missing: those samples fail when read. Raises DataError."""
    from dptkit.data.pairs import MissingFilesError
    from dptkit.data.registry import find_dataset, open_dataset, open_ordinal_dataset

    try:
        if find_dataset(name).kind == "ordinal":
            return open_ordinal_dataset(name, folder, split, **options)
        return open_dataset(name, folder, split, **options)
    except MissingFilesError as error:
        return error.dataset


def _check_one(
    folder: Path,
    name: str,
    split: str,
    dataset: Dataset | OrdinalDataset,
    options: dict[str, Option],
    sheet: Path | None,
    json: bool,
) -> bool:
    """Check one split and print the report; True if all is whole."""
    from dptkit.cli.progress import PictureScreen
    from dptkit.data.checking import check_dataset
    from dptkit.data.official import departure
    from dptkit.data.registry import find_dataset

    with PictureScreen(len(dataset)) as screen:
        report = check_dataset(dataset, split, screen.advance)
    # With options, such as scenes, it is a part that was asked for.
    warning = None if options else departure(find_dataset(name), split, dataset)
    if json:
        typer.echo(_to_json(folder, report, warning))
    else:
        _print(folder, report, warning)
    if sheet is not None:
        _write_sheet(sheet, dataset)
    return not report.broken and warning is None


def _write_sheet(path: Path, dataset: Dataset | OrdinalDataset) -> None:
    import io

    from PIL import Image

    from dptkit.data.contact_sheet import draw_contact_sheet
    from dptkit.image_io.atomic import write_bytes

    buffer = io.BytesIO()
    Image.fromarray(draw_contact_sheet(dataset)).save(buffer, "PNG")
    write_bytes(path, buffer.getvalue())


def _sheet_path(sheet: Path | None, labels: list[str]) -> Path | None:
    return None if sheet is None else sheet.with_name("_".join([sheet.stem, *labels]) + (sheet.suffix or ".png"))


def _to_json(folder: Path, report: CheckReport, warning: str | None) -> str:
    import json
    from dataclasses import asdict

    def plain(value: object) -> object:
        if isinstance(value, dict):
            return {key: plain(entry) for key, entry in value.items()}
        if isinstance(value, (list, tuple)):
            return [plain(entry) for entry in value]
        return None if isinstance(value, float) and math.isnan(value) else value

    content = {key: plain(value) for key, value in asdict(report).items()}
    return json.dumps({"folder": str(folder), **content, "warning": warning})


def _print(folder: Path, report: CheckReport, warning: str | None) -> None:
    title = f"{folder} ({report.dataset})" + (f", split {report.split}" if report.split else "")
    typer.echo(f"{title}: {report.samples} samples, {len(report.broken)} broken")
    typer.echo(f"  sizes    {_counts(report.sizes)}")
    typer.echo(f"  sources  {_counts(report.sources)}; groups: {report.groups}")
    if report.pairs:
        pairs = ", ".join(f"{key} is nearer in {count}" for key, count in report.pairs.items() if count)
        typer.echo(f"  pairs    {sum(report.pairs.values())}: {pairs}")
    else:
        typer.echo(f"  valid    {report.valid_mean:.1%} of the pixels on average, {report.valid_least:.1%} at least")
    for values in report.values:
        if math.isnan(values.median):  # nothing is valid
            continue
        typer.echo(
            f"  {values.quantity} [{values.unit}], {values.samples} samples: {values.least:.4g} to "
            f"{values.greatest:.4g}, median {values.median:.4g}, 98 % in {values.percentile_1:.4g} to "
            f"{values.percentile_99:.4g}"
        )
    if report.class_shares:
        shares = sorted(report.class_shares.items(), key=lambda entry: -entry[1])
        typer.echo("  classes  " + ", ".join(f"{name} {share:.1%}" for name, share in shares))
    read = report.samples - len(report.broken)
    all_invalid = 1 < len(report.wholly_invalid) == read  # as pictures without ground truth are
    for name in (f"all {read}",) if all_invalid else report.wholly_invalid:
        typer.echo(f"  wholly invalid  {name}")
    for message in report.broken:
        typer.echo(f"  broken   {message}")
    if warning is not None:
        typer.echo(f"  count    {warning}")


def _counts(counts: dict[str, int], shown: int = 12) -> str:
    parts = [f"{name} ({count})" for name, count in list(counts.items())[:shown]]
    return ", ".join(parts) + (f" and {len(counts) - shown} more" if len(counts) > shown else "")
