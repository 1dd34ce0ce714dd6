"""`dpt models`: what there is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from dptkit.config import ModelSpec


def models(
    model: Annotated[
        str | None, typer.Argument(metavar="[MODEL]", help="Only this one, with all that is known: a name or a file.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, with sources.")] = False,
) -> int:
    """List the published models: task, parameters, licence, size, and whether their weights are here.

    Of a model file, as `dpt train` writes it: what it gives, its unit or classes, input size, licence and data.
    """
    import json

    from dptkit.presets import PRESETS

    if model is not None:
        facts = _file_facts(model)
        if as_json:
            typer.echo(json.dumps(facts, indent=2))
            return 0
        for key, value in facts.items():
            text = ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
            typer.echo(f"{key.replace('_', ' ').replace('license', 'licence'):<12}{text}")
        return 0
    rows = [_row(preset.name) for preset in PRESETS.values()]
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
        return 0
    header = ("name", "task", "parameters", "size", "licence", "weights", "gives")
    lines = [header, *(_columns(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header) - 1)]
    for line in lines:
        cells = [text.ljust(width) for text, width in zip(line, widths, strict=False)]
        typer.echo("  ".join([*cells, line[-1]]))
    return 0


def _file_facts(model: str) -> dict[str, Any]:
    """What a model is, by name or by the specification that its file carries. No weights are read.

    Raises UnknownModelError, or WeightsError for a file that carries none.
    """
    from dptkit.config import SegmentationDecoding
    from dptkit.errors import WeightsError
    from dptkit.presets import find_preset
    from dptkit.weights.locate import read_spec
    from dptkit.weights.published import model_file

    path = model_file(model)
    spec = find_preset(model).spec if path is None else read_spec(path)
    if spec is None:
        raise WeightsError(f"{model}: carries no specification: bare weights, or not a safetensors file of ours")
    height, width = spec.preprocess.size
    facts: dict[str, Any] = {
        "name": spec.name,
        "task": spec.task,
        "gives": _gives(spec),
        "input": f"{height}x{width} (height x width), {spec.preprocess.policy}, multiples of "
        f"{spec.preprocess.multiple_of}",
        "license": spec.license,
        "trained_on": spec.trained_on,
    }
    if isinstance(spec.decoding, SegmentationDecoding):
        facts["classes"] = list(spec.decoding.class_names)
    if path is not None:
        facts["file"] = f"{path}, {path.stat().st_size / 1e6:.1f} MB"
    return facts


def _gives(spec: ModelSpec) -> str:
    from dptkit.config import DepthDecoding

    if not isinstance(spec.decoding, DepthDecoding):
        return f"{len(spec.decoding.class_names)} classes"
    if spec.decoding.quantity == "inverse_depth":
        return "relative inverse depth"
    return f"metres, to {spec.decoding.cap_m:g}"


def _columns(row: dict[str, Any]) -> tuple[str, ...]:
    about = "" if row["size_exact"] else "about "
    parameters, size = f"{row['parameters'] / 1e6:.1f} M", f"{about}{row['size'] / 1e6:.0f} MB"
    return (row["name"], row["task"], parameters, size, row["license"], row["weights"], row["gives"])


def _row(name: str) -> dict[str, Any]:
    from dptkit.presets import PRESETS
    from dptkit.weights.cache import is_cached
    from dptkit.weights.published import bundled_path

    preset = PRESETS[name]
    spec = preset.spec
    if preset.bundled is not None:
        state, size, exact = "bundled", bundled_path(preset.bundled).stat().st_size, True
    else:
        known = next((source.size for source in preset.sources if source.size), None)
        here = any(is_cached(source) for source in preset.sources)
        fetchable = any(source.url for source in preset.sources)
        state = "in cache" if here else ("dpt pull" if fetchable else "by hand")
        size, exact = known or 4 * preset.parameters, known is not None
    return {
        "name": name,
        "task": spec.task,
        "parameters": preset.parameters,
        "size": size,
        "size_exact": exact,
        "license": spec.license,
        "weights": state,
        "gives": _gives(spec),
        "trained_on": spec.trained_on,
        "sources": [source.url or source.manual for source in preset.sources],
    }
