"""TensorFlow's "SAME" padding, for sizes that the stride divides.

There the total padding is kernel - stride whatever the size, with the odd pixel on the right and at the bottom,
so it is a constant and traces without control flow. Encoders that use it demand sizes divisible by their stride,
which makes every map they pad divisible in turn.
"""

from __future__ import annotations


def same_padding(kernel: int, stride: int) -> tuple[int, int, int, int]:
    """(left, right, top, bottom), as `torch.nn.functional.pad` takes it."""
    total = max(kernel - stride, 0)
    before = total // 2
    return before, total - before, before, total - before
