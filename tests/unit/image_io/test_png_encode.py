"""PNG files written without Pillow: two other readers get every pixel and every text back."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from dptkit.image_io.png_encode import encode_pixels


@pytest.fixture(params=["zlib", "isal"], autouse=True, scope="module")
def compressor(request: pytest.FixtureRequest) -> Iterator[None]:
    """Both that may be installed. None in place of a module makes its import fail."""
    if request.param == "isal":
        pytest.importorskip("isal", reason="no ISA-L for this machine")
        yield
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "isal", None)
        yield


@settings(deadline=None, max_examples=40)
@given(
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    kind=st.sampled_from(["grey", "rgb"]),
    content=st.sampled_from(["smooth", "flat"]),
    noise=st.sampled_from([1, 7, 65536]),
    seed=st.integers(0, 99),
)
def test_other_readers_get_every_pixel_back(
    height: int, width: int, kind: str, content: str, noise: int, seed: int
) -> None:
    shape = (height, width) if kind == "grey" else (height, width, 3)
    pixels = np.random.default_rng(seed).integers(0, noise, shape).astype(np.uint16 if kind == "grey" else np.uint8)
    data = encode_pixels(pixels, [(b"tEXt", b"key\0text")], content)  # type: ignore[arg-type]
    with Image.open(io.BytesIO(data)) as image:
        assert image.mode == ("I;16" if kind == "grey" else "RGB")
        assert image.info["key"] == "text"
        np.testing.assert_array_equal(np.asarray(image), pixels)
    read = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(read if kind == "grey" else read[:, :, ::-1], pixels)


@pytest.mark.parametrize("content", ["smooth", "flat"])
def test_pictures_of_many_strips(content: str) -> None:
    pixels = (np.arange(1200)[:, None] * 50 + np.arange(700)).astype(np.uint16)
    data = encode_pixels(pixels, [], content)  # type: ignore[arg-type]
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(data))), pixels)


def test_a_constant_picture_is_small() -> None:
    # 2 MB of zeros. Runs of 258 take ten bits each at most.
    assert len(encode_pixels(np.zeros((1000, 1000), np.uint16), [], "smooth")) < 12_000
