"""`dpt models`: what there is."""

from __future__ import annotations

from typing import Annotated, Any

import typer


def models(
    as_json: Annotated[bool, typer.Option("--json", help="Print an array of JSON objects, with sources.")] = False,
) -> int:
    """List the published models: task, parameters, licence, size, and whether their weights are here."""
    import json

    from dptkit.presets import PRESETS

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


def _columns(row: dict[str, Any]) -> tuple[str, ...]:
    about = "" if row["size_exact"] else "about "
    parameters, size = f"{row['parameters'] / 1e6:.1f} M", f"{about}{row['size'] / 1e6:.0f} MB"
    return (row["name"], row["task"], parameters, size, row["license"], row["weights"], row["gives"])


def _row(name: str) -> dict[str, Any]:
    from dptkit.config import DepthDecoding
    from dptkit.presets import PRESETS
    from dptkit.weights.cache import is_cached
    from dptkit.weights.published import bundled_path

    preset = PRESETS[name]
    spec = preset.spec
    decoding = spec.decoding
    if isinstance(decoding, DepthDecoding):
        gives = "relative inverse depth" if decoding.quantity == "inverse_depth" else f"metres, to {decoding.cap_m:g}"
    else:
        gives = f"{len(decoding.class_names)} classes"
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
        "gives": gives,
        "trained_on": spec.trained_on,
        "sources": [source.url or source.manual for source in preset.sources],
    }
