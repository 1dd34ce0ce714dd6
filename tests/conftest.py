"""Shapes are checked in every test: the import hook makes the annotations of `dptkit.model` real."""

from __future__ import annotations

import torch
from jaxtyping import install_import_hook

# Must come before the first import of the hooked modules. The hook stays for the whole run.
install_import_hook("dptkit.model", "beartype.beartype")

# Workers share the cores, and tiny networks lose more time to threads than they win: a quarter of the time with one.
torch.set_num_threads(1)
