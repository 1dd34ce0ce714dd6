"""Shapes are checked in every test: the import hook makes the annotations of `dptkit.model` real."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile

import torch
from jaxtyping import install_import_hook

# Must come before the first import of the hooked modules. The hook stays for the whole run.
install_import_hook("dptkit.model", "beartype.beartype")

# Workers share the cores, and tiny networks lose more time to threads than they win: a quarter of the time with one.
torch.set_num_threads(1)

# Compiled models of tests are not the user's; processes that tests start share them.
os.environ["DPTKIT_COMPILED_CACHE"] = tempfile.mkdtemp(prefix="dptkit-tests-")
atexit.register(shutil.rmtree, os.environ["DPTKIT_COMPILED_CACHE"], ignore_errors=True)
