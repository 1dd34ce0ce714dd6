"""The one place where numba is imported: kernels compiled on first use and kept beside the source.

numba watches only the file of the kernel itself: after changing a kernel that others call, delete `__pycache__`.
Kernels run in one thread, so the same input gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

from dptkit.errors import DataError

F = TypeVar("F", bound=Callable[..., Any])


def compiled(kernel: F) -> F:
    """`kernel` compiled, or unchanged where numba is missing, so that every module imports without the extra."""
    return _compiled(kernel, fast=True)


def compiled_strictly(kernel: F) -> F:
    """`compiled`, with every operation rounded in the order written: the same bits as from numpy."""
    return _compiled(kernel, fast=False)


def _compiled(kernel: F, *, fast: bool) -> F:
    try:
        from numba import njit
    except ImportError:
        return kernel
    quick: F = cast(F, njit(cache=True, fastmath=fast)(kernel))
    return quick


def require_renderer() -> None:
    """Raise DataError, saying what to install, where embreex or numba is missing."""
    try:
        import embreex  # noqa: F401
        import numba  # noqa: F401
    except ImportError as error:
        raise DataError(f"rendering needs {error.name or 'embreex'}: pip install 'dptkit[render]'") from None
