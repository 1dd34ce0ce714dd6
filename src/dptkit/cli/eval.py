"""`dpt eval`: how good a model, or a folder of predictions, is on a data set."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dptkit.cli import options
from dptkit.errors import ConfigError


def evaluate(
    data: Annotated[Path | None, typer.Option(metavar="DIR", help="The data set's folder.")] = None,
    dataset: Annotated[
        str | None, typer.Option(metavar="NAME", help="Which data set it is. Default: told by its files.")
    ] = None,
    split: Annotated[str | None, typer.Option(metavar="NAME", help="Default: the protocol's.")] = None,
    data_options: Annotated[
        list[str] | None,
        typer.Option(
            "--data-option", metavar="KEY=VALUE", help="Of the data set's reader, as list_file=a.txt. Repeatable."
        ),
    ] = None,
    protocol: Annotated[
        str | None, typer.Option(metavar="NAME", help="How predictions become numbers; see --list-protocols.")
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME|FILE|FOLDER",
            help="A published model, a weight file, a folder of predictions, or a baseline that looks at no picture: "
            "ramp, constant (of labels: constant:CLASS). Repeatable: one table for all.",
        ),
    ] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="Change a field of the protocol; its name then says so. Repeatable."
        ),
    ] = None,
    tta: Annotated[
        str | None,
        typer.Option(metavar="none|flip|ms-flip", help="Test-time augmentation. As --set tta=..."),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Only the first N pictures. The result is marked.")
    ] = None,
    json: Annotated[
        Path | None, typer.Option("--json", metavar="OUT", help="Write the whole result, every picture's numbers too.")
    ] = None,
    csv: Annotated[Path | None, typer.Option("--csv", metavar="OUT", help="Write a row a picture.")] = None,
    report: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write DIR/report.html: rules, tables, pictures.")
    ] = None,
    predictions: Annotated[Path | None, typer.Option(metavar="DIR", help="Keep every prediction.")] = None,
    engine: options.Engine = "auto",
    device: options.Device = "auto",
    precision: options.PrecisionOption = "float32",
    token_merge: options.TokenMerge = 0.0,
    quantity: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="What a folder of predictions holds: inverse_depth, depth_m or labels."),
    ] = None,
    scale: Annotated[float, typer.Option(metavar="X", help="Stored number times X is the quantity.")] = 1.0,
    suffix: Annotated[
        str | None,
        typer.Option(metavar="END", help="What follows a picture's name in that folder's files, as _pred.npy."),
    ] = None,
    allow_skipped: Annotated[
        bool,
        typer.Option(
            "--allow-skipped", help="End with 0 although pictures are missing or broken, or not the official ones."
        ),
    ] = False,
    list_protocols: Annotated[
        bool, typer.Option("--list-protocols", help="Print all protocols, or every field of --protocol in words.")
    ] = False,
) -> int:
    """Score models or predictions by a named protocol; print a table with 95% intervals.

    With several models, files of --json and --csv are named OUT-MODEL, and predictions go to DIR/MODEL.
    What is done is noted in OUT.partial: after Ctrl-C or a crash, the same command goes on from there. OUT itself, if
    there is one, is replaced when all is done. A picture that cannot be read, predicted or scored is in no number, and
    the command ends with 1.
    """
    if list_protocols:
        return _list(protocol)
    if data is None or protocol is None or not model:
        raise ConfigError("dpt eval needs --data, --protocol and --model; see dpt eval --help")

    from dptkit.cli.data_check import parse_reader_options
    from dptkit.cli.eval_outputs import Outputs
    from dptkit.cli.eval_run import EvaluationRun
    from dptkit.evaluation.changes import change_protocol
    from dptkit.evaluation.protocols import find_protocol
    from dptkit.runtime.backend import ENGINE_CHOICES, PRECISION_CHOICES
    from dptkit.runtime.choice import check_token_merge
    from dptkit.tta import TTA_CHOICES

    options.check_choice(engine, ENGINE_CHOICES, "--engine")
    options.check_choice(precision, PRECISION_CHOICES, "--precision")
    ratio = check_token_merge(token_merge)
    if tta is not None:
        options.check_choice(tta, TTA_CHOICES, "--tta")
    if quantity is not None:
        options.check_choice(quantity, ("inverse_depth", "depth_m", "labels"), "--quantity")
    changed = change_protocol(find_protocol(protocol), [*(changes or []), *([f"tta={tta}"] if tta else [])])
    if changed.tta == "ms-flip" and changed.scales == (1.0,):
        raise ConfigError("ms-flip needs several scales, as in --set scales=0.5,0.75,1.0,1.25,1.5,1.75")
    run = EvaluationRun(
        data,
        dataset,
        split,
        parse_reader_options(data_options or [], "--data-option"),
        changed,
        tuple(model),
        limit,
        Outputs(json, csv, report, predictions, several=len(model) > 1),
        engine,
        device,
        precision,
        quantity,
        scale,
        allow_skipped,
        tta,
        ratio,
        suffix,
    )
    return run.start()


def _list(protocol: str | None) -> int:
    from dptkit.cli.eval_screen import print_table
    from dptkit.evaluation.protocol_words import protocol_sentences
    from dptkit.evaluation.protocols import PROTOCOLS, find_protocol
    from dptkit.evaluation.tables import protocol_table

    if protocol is None:
        print_table(protocol_table(list(PROTOCOLS.values())))
        return 0
    chosen = find_protocol(protocol)
    typer.echo(f"{chosen.name}: {chosen.source}")
    for field, sentence in protocol_sentences(chosen).items():
        typer.echo(f"  {field}: {sentence}")
    return 0
