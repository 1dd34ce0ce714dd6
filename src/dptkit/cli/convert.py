"""`dpt convert`: weights between layouts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

LAYOUTS = ("dptkit", "isl", "hf")
PRECISIONS = ("keep", "float32", "float16", "bfloat16")


def convert(
    source: Annotated[str, typer.Argument(metavar="SRC", help="A weight file in any known layout, or a model's name.")],
    target: Annotated[Path, typer.Argument(metavar="DST", help="A .safetensors file, or .pt for the original's code.")],
    to: Annotated[str, typer.Option("--to", metavar="LAYOUT", help=f"One of {', '.join(LAYOUTS)}.")],
    model: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Which published model the file is for, where its tensors leave it open."),
    ] = None,
    precision: Annotated[
        str, typer.Option(metavar="TYPE", help=f"One of {', '.join(PRECISIONS)}; keep changes no bit.")
    ] = "keep",
    force: Annotated[bool, typer.Option("--force", help="Replace DST if it is there.")] = False,
) -> int:
    """Convert weights between our layout (dptkit), the original's (isl) and transformers' (hf).

    No bit of a used tensor changes. What the other layouts store but DPT never reads is left out on the way in, and
    written as zeros on the way out. A dptkit file carries its configuration and is a whole model.
    """
    from dptkit.cli import options
    from dptkit.errors import ConfigError, OutputWriteError

    options.check_choice(to, LAYOUTS, "--to")
    options.check_choice(precision, PRECISIONS, "--precision")
    if to == "dptkit" and target.suffix != ".safetensors":
        raise ConfigError(f"{target}: a dptkit file carries its configuration and must end in .safetensors")
    if target.exists() and not force:
        raise OutputWriteError(f"{target}: is there already; --force replaces it")

    from dptkit.weights.convert import convert_from_ours, convert_to_ours, with_precision
    from dptkit.weights.identify import identify_spec, open_weights
    from dptkit.weights.locate import PRUNING_KEY, read_metadata
    from dptkit.weights.tensor_file import write_tensors

    path, tensors, spec = open_weights(source)
    spec = identify_spec(tensors, str(path), model) if spec is None else spec
    ours = with_precision(convert_to_ours(tensors, spec.model, str(path)), precision)
    if to == "dptkit":
        notes = {key: text for key, text in read_metadata(path).items() if key == PRUNING_KEY}
        write_tensors(target, ours, spec, notes)
    else:
        write_tensors(target, convert_from_ours(ours, spec.model, "isl" if to == "isl" else "hf"))
    typer.echo(f"{path} -> {target} ({to} layout, {spec.name})")
    return 0
