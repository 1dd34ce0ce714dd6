"""`dpt prune`: a network without its least important attention heads and MLP neurons."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from dptkit.config import ModelSpec
    from dptkit.pruning.importance import Importance
    from dptkit.weights.load import LoadedModel

CRITERIA = ("magnitude", "taylor")
SCOPES = ("global", "block")


def prune(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A model's name, or a file of ours.")],
    output: Annotated[Path, typer.Argument(metavar="OUT", help="The smaller model, a .safetensors file.")],
    heads: Annotated[float, typer.Option(metavar="SHARE", help="Of the attention heads to remove, 0 to below 1.")] = 0,
    mlp: Annotated[float, typer.Option(metavar="SHARE", help="Of the MLP's neurons to remove, 0 to below 1.")] = 0,
    data: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Pictures to find out on what matters, with ground truth or not.")
    ] = None,
    dataset: Annotated[
        str | None, typer.Option(metavar="NAME", help="Which data set DIR is. Default: told by its files.")
    ] = None,
    split: Annotated[str, typer.Option(metavar="NAME", help="Of the data set.")] = "train",
    count: Annotated[int, typer.Option(metavar="N", min=1, help="Pictures to look at.")] = 64,
    criterion: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="taylor (needs --data) or magnitude. Default: taylor with --data."),
    ] = None,
    scope: Annotated[
        str, typer.Option(metavar="NAME", help="global: wherever they matter least; block: as many of every block.")
    ] = "global",
    force: Annotated[bool, typer.Option("--force", help="Replace OUT if it is there.")] = False,
) -> int:
    """Remove whole attention heads and MLP neurons, the least important first; every block keeps one of each.

    OUT is a whole model: dpt depth --model OUT, dpt eval, dpt train (configs/recover-pruned.yaml lets it recover).
    taylor: by how much a loss changes, to first order, on the pictures of --data; magnitude: by the weights alone.
    """
    from dptkit.cli import options
    from dptkit.errors import ConfigError, OutputWriteError

    criterion = criterion or ("magnitude" if data is None else "taylor")
    options.check_choice(criterion, CRITERIA, "--criterion")
    options.check_choice(scope, SCOPES, "--scope")
    options.check_share(heads, "--heads")
    options.check_share(mlp, "--mlp")
    if criterion == "taylor" and data is None:
        raise ConfigError("--criterion taylor needs pictures: --data DIR")
    if criterion == "magnitude" and data is not None:
        raise ConfigError("--criterion magnitude looks at no pictures: leave --data out")
    if output.suffix != ".safetensors":
        raise ConfigError(f"{output}: a model carries its configuration and must end in .safetensors")
    if output.exists() and not force:
        raise OutputWriteError(f"{output}: is there already; --force replaces it")

    import json
    from dataclasses import replace

    from dptkit.pruning.importance import importance_of_weights
    from dptkit.pruning.removal import block_sizes, remove
    from dptkit.pruning.selection import select
    from dptkit.weights.load import load_model
    from dptkit.weights.locate import PRUNING_KEY
    from dptkit.weights.tensor_file import write_tensors

    loaded = load_model(model)
    spec, tensors = loaded.spec, loaded.network.state_dict()
    before = block_sizes(spec.model)
    importance = importance_of_weights(spec, tensors) if data is None else _on_data(loaded, data, dataset, split, count)
    kept = select(importance, heads, mlp, "block" if scope == "block" else "global")
    smaller, left = remove(spec, tensors, kept)
    after = block_sizes(smaller.model)
    gone = {
        "heads": 1 - sum(after.heads) / sum(before.heads),
        "mlp": 1 - sum(after.mlp) / sum(before.mlp),
    }
    if after != before:
        said = f"{gone['heads']:.0%} of the heads and {gone['mlp']:.0%} of the MLP neurons of {spec.name} removed"
        smaller = replace(smaller, name=f"{spec.name}-pruned", trained_on=f"{spec.trained_on}; {said}")
    note = {
        "from": spec.name,
        "from_sha256": loaded.sha256,
        "criterion": criterion,
        "scope": scope,
        "heads_removed": round(gone["heads"], 4),
        "mlp_removed": round(gone["mlp"], 4),
        **({} if data is None else {"data": data.name, "pictures": count}),
    }
    write_tensors(output, left, smaller, {PRUNING_KEY: json.dumps(note)})
    _report(output, spec, smaller)
    return 0


def _on_data(loaded: LoadedModel, data: Path, dataset: str | None, split: str, count: int) -> list[Importance]:
    from dptkit.cli.progress import PictureScreen
    from dptkit.data.detect import detect_dataset
    from dptkit.data.registry import open_dataset
    from dptkit.pruning.scoring import importance_on_data

    samples = open_dataset(dataset or detect_dataset(data), data, split)
    with PictureScreen(min(count, len(samples))) as screen:
        return importance_on_data(loaded.spec, loaded.network, samples, count, screen.advance)


def _report(output: Path, before: ModelSpec, after: ModelSpec) -> None:
    from dptkit.pruning.cost import cost_of
    from dptkit.pruning.removal import block_sizes

    old, new = cost_of(before), cost_of(after)
    sizes, (height, width) = block_sizes(after.model), after.preprocess.size
    typer.echo(f"heads of each block: {' '.join(map(str, sizes.heads))}")
    typer.echo(f"MLP neurons of each block: {' '.join(map(str, sizes.mlp))}")
    typer.echo(f"parameters: {old.parameters / 1e6:.2f} M to {new.parameters / 1e6:.2f} M")
    typer.echo(f"at {height}x{width}: {old.flop / 1e9:.2f} to {new.flop / 1e9:.2f} GFLOP")
    typer.echo(f"{output}: {after.name}")
