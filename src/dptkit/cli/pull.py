"""`dpt pull`: fetch weights ahead of time."""

from __future__ import annotations

from typing import Annotated

import typer


def pull(
    names: Annotated[list[str], typer.Argument(metavar="NAMES...", help="Published models, see dpt models.")],
) -> int:
    """Download the weights of published models into the cache, verified, and print where they are.

    DPTKIT_CACHE moves the cache; DPTKIT_MIRROR replaces the host; HF_TOKEN opens private repositories.
    """
    from dptkit.cli.progress import DownloadBar
    from dptkit.presets import find_preset
    from dptkit.weights.published import published_weights

    presets = [find_preset(name) for name in names]
    for preset in presets:
        bar = DownloadBar(preset.name)
        try:
            path = published_weights(preset, bar)
        finally:
            bar.close()
        typer.echo(f"{preset.name}: {path}")
    return 0
