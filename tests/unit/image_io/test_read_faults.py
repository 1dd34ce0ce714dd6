"""read_image on what is missing, broken or too large: one line that says so, never a half picture."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from dptkit.errors import ImageReadError
from dptkit.image_io import read_image

NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8))


def encoded(image: Image.Image, format: str) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format)
    return buffer.getvalue()


DATA = {format: encoded(NOISE, format) for format in ("JPEG", "PNG", "GIF", "TIFF", "WEBP", "BMP", "PPM")}
# What may be missing at the end of a file whose pixels are all there: PNG: IEND and the checksums of the data.
SPARE = {"JPEG": 2, "PNG": 12 + 4 + 4, "GIF": 2, "TIFF": 0, "WEBP": 0, "BMP": 0, "PPM": 0}


def fails(source: bytes | Path | str) -> str:
    with pytest.raises(ImageReadError) as caught:
        read_image(source)
    message = str(caught.value)
    message.encode("utf-8")
    assert "\n" not in message
    return message


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "BMP", "PPM"])
def test_truncation_anywhere(format: str) -> None:
    data = DATA[format]
    last = len(data) - SPARE[format] - 1
    for length in {1, 2, 8, *range(9, last, max(1, last // 60)), last}:
        fails(data[:length])


@pytest.mark.parametrize("format", ["GIF", "TIFF"])
def test_truncation_of_the_pixels(format: str) -> None:
    data = DATA[format]
    for part in (0.02, 0.3, 0.6, 0.9):
        fails(data[: int(len(data) * part)])


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(sorted(DATA)), st.data())
def test_damage_is_either_noticed_or_harmless(format: str, draw: st.DataObject) -> None:
    data = bytearray(DATA[format])
    for _ in range(draw.draw(st.integers(1, 4))):
        data[draw.draw(st.integers(0, len(data) - 1))] = draw.draw(st.integers(0, 255))
    message, pixels = "", None
    try:
        pixels = read_image(bytes(data))
    except ImageReadError as error:  # any other error fails the test
        message = str(error)
    assert "\n" not in message
    assert pixels is None or (pixels.ndim, pixels.dtype) == (3, np.uint8)


def test_damage_in_the_middle_of_a_png_is_an_error() -> None:
    data = bytearray(DATA["PNG"])
    middle = len(data) // 2
    data[middle : middle + 8] = bytes(8)
    assert "the data is broken" in fails(bytes(data))


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes(data: bytes) -> None:
    fails(data)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b"Dear diary, today I took no picture.\n", "not a picture in a format that can be read"),
        (b"%PDF-1.7\n", "not a picture in a format"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", "not a picture in a format"),  # never handed to Ghostscript
        (b"\xff\xd8\xff\xe0", "."),
        (b"\x89PNG\r\n\x1a\n", "."),
    ],
)
def test_not_pictures(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(content)
    reported = fails(path)
    assert reported.startswith(f"{path}: ")
    assert message in reported


def test_missing_directory_and_impossible_names(tmp_path: Path) -> None:
    assert fails(tmp_path / "none.jpg") == f"{tmp_path}/none.jpg: no such file"
    assert fails(tmp_path) == f"{tmp_path}: is a directory, not a picture"
    assert "Not a directory" in fails(Path(__file__) / "a.jpg")
    assert fails("a\0b.jpg").startswith(r"a\x00b.jpg: not a file name")
    assert "name too long" in fails("a" * 300)


@pytest.mark.parametrize("name", ["照片.png", "фото.png", "صورة.png", "a b.png", "new\nline.png", "\udcff\udcfe.png"])
def test_any_file_name(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    assert fails(path).endswith(": no such file")
    path.write_bytes(DATA["PNG"][:-30])
    fails(path)
    path.write_bytes(DATA["PNG"])
    np.testing.assert_array_equal(read_image(path), np.asarray(NOISE))


def test_permission_denied(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(DATA["PNG"])
    path.chmod(0)
    try:
        path.open("rb").close()
    except PermissionError:
        assert fails(path) == f"{path}: permission denied"
    else:
        pytest.skip("root may read everything")


def test_lazily_opened_image_that_is_cut_short() -> None:
    image = Image.open(io.BytesIO(DATA["JPEG"][:2000]))
    with pytest.raises(ImageReadError, match=r"^PIL image \(60, 40\) RGB: the file is cut short$"):
        read_image(image)


def test_closed_file() -> None:
    file = io.BytesIO(DATA["PNG"])
    file.close()
    with pytest.raises(ImageReadError, match="closed file"):
        read_image(file)


def png(width: int, height: int, pixels: bytes) -> bytes:
    """A 1-bit grey PNG that announces any size."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def test_decompression_bomb() -> None:
    message = fails(png(60000, 60000, zlib.compress(b"\0")))
    assert "60000x60000 pixels are more than the 178 megapixels" in message


LARGE = """
import io, sys
import numpy as np
from PIL import Image
from dptkit.image_io import read_image
image = Image.new("1", (10000, 9001))
image.putpixel((9999, 9000), 1)
buffer = io.BytesIO()
image.save(buffer, sys.argv[1], **({"compression": "group4"} if sys.argv[1] == "TIFF" else {}))
del image
pixels = read_image(buffer.getvalue())
assert pixels.shape == (9001, 10000, 3)
assert pixels[9000, 9999].tolist() == [255, 255, 255]
assert not pixels[:9000].any()
"""


@pytest.mark.parametrize("format", ["PNG", "TIFF"])
def test_ninety_megapixels_are_no_error_where_warnings_are(format: str) -> None:
    """Above Pillow's first limit (89 megapixels) it warns; nobody asked for that to stop the program."""
    command = [sys.executable, "-W", "error", "-c", LARGE, format]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


def test_missing_heic_extra_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    head = struct.pack(">I", 24) + b"ftypheic\0\0\0\0mif1heic"
    assert fails(head).endswith("HEIC pictures need pillow-heif: pip install 'dptkit[heic]'")


def test_torch_and_opencv_are_not_needed_to_read() -> None:
    code = "import sys, dptkit.image_io; print('torch' in sys.modules, 'cv2' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
