"""read_image: every kind of picture, against pixels worked out by hand."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from PIL import Image, features

from dptkit.errors import ConfigError, ImageReadError
from dptkit.image_io import SUPPORTED_SUFFIXES, describe_source, read_image

WHITE = [255, 255, 255]
# Asymmetric in both axes, so that each of the eight orientations differs from the others.
UPRIGHT = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255]], [[10, 20, 30], [40, 50, 60], [70, 80, 90]]], np.uint8)


def encoded(image: Image.Image, format: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def photo(height: int = 97, width: int = 131) -> np.ndarray:
    """Smooth colours with edges and some noise, of odd size so that JPEG blocks are cut."""
    y, x = np.mgrid[:height, :width]
    base = np.stack([x * 2 % 256, y * 3 % 256, (x + y) % 256], axis=2)
    base[30:60, 40:80] = (200, 30, 90)
    noise = np.random.default_rng(5).integers(-8, 9, base.shape)
    return np.clip(base + noise, 0, 255).astype(np.uint8)


def check(result: np.ndarray, expected: Any) -> None:
    assert result.dtype == np.uint8
    assert result.flags.c_contiguous
    assert result.flags.writeable  # torch.from_numpy warns otherwise
    np.testing.assert_array_equal(result, np.asarray(expected, np.uint8))


@pytest.mark.parametrize("kind", ["path", "str", "bytes", "file", "pil", "unseekable"])
def test_every_kind_of_source(tmp_path: Path, kind: str) -> None:
    data = encoded(Image.fromarray(UPRIGHT), "PNG")
    path = tmp_path / "深 度\n.png"
    path.write_bytes(data)

    class Pipe(io.RawIOBase):
        def __init__(self) -> None:
            self.left = io.BytesIO(data)

        def readable(self) -> bool:
            return True

        def readinto(self, buffer: Any) -> int:
            return self.left.readinto(buffer)

    sources = {
        "path": path,
        "str": str(path),
        "bytes": data,
        "file": io.BytesIO(data),
        "pil": Image.open(io.BytesIO(data)),
        "unseekable": Pipe(),
    }
    check(read_image(sources[kind]), UPRIGHT)


@pytest.mark.parametrize("subsampling", [0, 1, 2])
@pytest.mark.parametrize("progressive", [False, True])
def test_jpeg_equals_opencv_to_the_bit(subsampling: int, progressive: bool) -> None:
    data = encoded(Image.fromarray(photo()), "JPEG", quality=85, subsampling=subsampling, progressive=progressive)
    check(read_image(data), cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[:, :, ::-1])


@pytest.mark.parametrize(
    ("format", "options"),
    [
        ("PNG", {}),
        ("BMP", {}),
        ("PPM", {}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("TIFF", {"compression": "tiff_adobe_deflate"}),
        ("WEBP", {"lossless": True}),
        ("JPEG2000", {"irreversible": False}),
    ],
)
def test_lossless_formats(format: str, options: dict[str, Any]) -> None:
    pixels = photo()
    check(read_image(encoded(Image.fromarray(pixels), format, **options)), pixels)


def test_picture_of_many_strips() -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (1500, 700, 3), dtype=np.uint8)
    check(read_image(Image.fromarray(pixels)), pixels)


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow has no AVIF")
def test_avif() -> None:
    flat = np.full((32, 48, 3), (200, 100, 50), np.uint8)
    result = read_image(encoded(Image.fromarray(flat), "AVIF", quality=100, subsampling="4:4:4"))
    assert result.shape == flat.shape
    # A flat patch loses only the rounding of RGB to 8-bit YCbCr and back: at most 2 levels.
    assert np.abs(result.astype(int) - flat).max() <= 2


def test_heic(tmp_path: Path) -> None:
    heif = pytest.importorskip("pillow_heif")
    flat = np.full((64, 96, 3), (200, 100, 50), np.uint8)
    flat[:32] = (20, 30, 220)
    path = tmp_path / "phone.heic"
    heif.from_pillow(Image.fromarray(flat)).save(path, quality=-1, chroma=444)
    openers = set(Image.OPEN)
    result = read_image(path)
    assert set(Image.OPEN) == openers
    assert result.shape == flat.shape
    assert np.abs(result.astype(int) - flat)[[4, 60]].max() <= 2  # RGB to 8-bit YCbCr and back


STORED_FOR = {  # orientation -> the pixels that must be stored to show UPRIGHT
    1: UPRIGHT,
    2: UPRIGHT[:, ::-1],
    3: UPRIGHT[::-1, ::-1],
    4: UPRIGHT[::-1],
    5: UPRIGHT.transpose(1, 0, 2),
    6: np.rot90(UPRIGHT, 1),  # the viewer turns it clockwise
    7: UPRIGHT[::-1, ::-1].transpose(1, 0, 2),
    8: np.rot90(UPRIGHT, -1),
}


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["PNG", "TIFF", "WEBP"])
def test_exif_orientation(orientation: int, format: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(np.ascontiguousarray(STORED_FOR[orientation]))
    data = encoded(stored, format, exif=exif, **({"lossless": True} if format == "WEBP" else {}))
    check(read_image(data), UPRIGHT)
    check(read_image(Image.open(io.BytesIO(data))), UPRIGHT)


def test_exif_orientation_of_a_jpeg() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    pixels = photo()
    data = encoded(Image.fromarray(pixels), "JPEG", exif=exif)
    stored = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    check(read_image(data), np.rot90(stored[:, :, ::-1], -1))


@pytest.mark.parametrize("exif", [b"Exif\0\0garbage", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0"])
def test_broken_exif_does_not_cost_the_picture(exif: bytes) -> None:
    pixels = photo()
    data = encoded(Image.fromarray(pixels), "PNG", exif=exif)
    check(read_image(data), pixels)


def test_alpha_on_background() -> None:
    rgba = np.array([[[200, 100, 0, 255], [200, 100, 0, 0], [200, 100, 0, 51]]], np.uint8)
    data = encoded(Image.fromarray(rgba), "PNG")
    # 51 / 255 is one fifth: 200/5 + 255*4/5 = 244, 100/5 + 204 = 224, 0 + 204.
    check(read_image(data), [[[200, 100, 0], WHITE, [244, 224, 204]]])
    check(read_image(data, background=(0, 10, 20)), [[[200, 100, 0], [0, 10, 20], [40, 28, 16]]])


def test_grey_with_alpha() -> None:
    grey = Image.merge("LA", [Image.new("L", (2, 1), 100), Image.frombytes("L", (2, 1), bytes([255, 51]))])
    check(read_image(encoded(grey, "PNG")), [[[100] * 3, [224] * 3]])
    check(read_image(grey), [[[100] * 3, [224] * 3]])


def test_premultiplied_alpha() -> None:
    image = Image.frombytes("RGBa", (1, 1), bytes([40, 20, 0, 51]))  # 200, 100, 0 at one fifth
    check(read_image(image), [[[244, 224, 204]]])


def palette_image() -> Image.Image:
    image = Image.frombytes("P", (3, 1), bytes([0, 1, 2]))
    image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    return image


def test_palette() -> None:
    check(read_image(encoded(palette_image(), "PNG")), [[[255, 0, 0], [0, 255, 0], [0, 0, 255]]])


def test_palette_with_one_transparent_index() -> None:
    data = encoded(palette_image(), "GIF", transparency=1)
    check(read_image(data, background=(7, 8, 9)), [[[255, 0, 0], [7, 8, 9], [0, 0, 255]]])


def test_palette_with_alpha_per_index() -> None:
    data = encoded(palette_image(), "PNG", transparency=bytes([255, 51, 0]))
    check(read_image(data), [[[255, 0, 0], [204, 255, 204], WHITE]])


def test_palette_plus_alpha_channel() -> None:
    image = palette_image().convert("PA")
    image.putalpha(Image.frombytes("L", (3, 1), bytes([255, 0, 255])))
    check(read_image(image, background=(1, 2, 3)), [[[255, 0, 0], [1, 2, 3], [0, 0, 255]]])


def test_transparent_colour_without_alpha_channel() -> None:
    rgb = Image.frombytes("RGB", (2, 1), bytes([1, 2, 3, 4, 5, 6]))
    check(read_image(encoded(rgb, "PNG", transparency=(4, 5, 6))), [[[1, 2, 3], WHITE]])
    grey = Image.frombytes("L", (2, 1), bytes([9, 10]))
    check(read_image(encoded(grey, "PNG", transparency=9)), [[WHITE, [10] * 3]])


def test_one_bit() -> None:
    image = Image.fromarray(np.array([[True, False, True]]))
    assert image.mode == "1"
    for format in ("PNG", "TIFF", "PPM"):
        check(read_image(encoded(image, format)), [[WHITE, [0] * 3, WHITE]])


# v / 257 to the nearest: 128 -> 0.498, 129 -> 0.502, 32896 = 128 * 257, 65406 -> 254.498, 65407 -> 254.502.
SIXTEEN = [0, 128, 129, 32896, 65406, 65407, 65535]
EIGHT = [0, 0, 1, 128, 254, 255, 255]


@pytest.mark.parametrize("format", ["PNG", "TIFF", "PPM"])
def test_sixteen_bit_grey_is_rounded_not_cut(format: str) -> None:
    data = encoded(Image.fromarray(np.array([SIXTEEN], np.uint16)), format)
    check(read_image(data), [[[value] * 3 for value in EIGHT]])


@pytest.mark.parametrize(("mode", "order"), [("I;16", "<u2"), ("I;16B", ">u2"), ("I", "i4")])
def test_sixteen_bit_modes(mode: str, order: str) -> None:
    image = Image.frombytes(mode, (7, 1), np.array(SIXTEEN, order).tobytes())
    check(read_image(image), [[[value] * 3 for value in EIGHT]])


def test_sixteen_bit_grey_with_transparent_value() -> None:
    data = encoded(Image.fromarray(np.array([[1000, 1001]], np.uint16)), "PNG", transparency=1000)
    check(read_image(data, background=(1, 2, 3)), [[[1, 2, 3], [4, 4, 4]]])


@pytest.mark.parametrize("value", [-1, 65536])
def test_thirty_two_bit_grey_out_of_range(value: int) -> None:
    image = Image.frombytes("I", (1, 1), np.array([value], "i4").tobytes())
    with pytest.raises(ImageReadError, match=r"must lie in 0\.\.65535, found"):
        read_image(image)


def test_float_tiff() -> None:
    values = np.array([[0, 0.5, 1, 0.1]], np.float32)
    check(read_image(encoded(Image.fromarray(values), "TIFF")), [[[0] * 3, [128] * 3, WHITE, [26] * 3]])
    with pytest.raises(ImageReadError, match=r"float pixels must lie in \[0, 1\], found 0 to 2$"):
        read_image(encoded(Image.fromarray(values * 2), "TIFF"))


def test_cmyk() -> None:
    ink = Image.frombytes("CMYK", (4, 1), bytes([0, 0, 0, 0, 255, 0, 0, 0, 0, 0, 0, 255, 0, 255, 255, 0]))
    expected = [[WHITE, [0, 255, 255], [0, 0, 0], [255, 0, 0]]]
    check(read_image(ink), expected)
    check(read_image(encoded(ink, "TIFF")), expected)


def test_adobe_cmyk_jpeg_is_not_inverted() -> None:
    # Pillow writes CMYK JPEG with Adobe's marker and inverted, as Photoshop does.
    data = encoded(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "JPEG", quality=100)
    assert b"Adobe" in data
    result = read_image(data)
    assert result.shape == (16, 16, 3)
    assert np.abs(result.astype(int) - [255, 0, 0]).max() <= 1  # a flat block: only the DC term's rounding


def test_ycbcr_and_lab() -> None:
    check(read_image(Image.new("YCbCr", (1, 1), (255, 128, 128))), [[WHITE]])
    result = read_image(Image.frombytes("LAB", (2, 1), bytes([255, 0, 0, 0, 0, 0])))
    # LittleCMS passes through 8-bit LAB, whose white and black are one level off.
    assert np.abs(result.astype(int) - [[WHITE, [0] * 3]]).max() <= 1


@pytest.mark.parametrize("format", ["GIF", "WEBP", "PNG", "TIFF"])
def test_first_frame_of_an_animation(format: str) -> None:
    frames = [Image.new("RGB", (4, 3), colour) for colour in ((255, 0, 0), (0, 255, 0), (0, 0, 255))]
    options = {"lossless": True} if format == "WEBP" else {}
    data = encoded(frames[0], format, save_all=True, append_images=frames[1:], **options)
    assert Image.open(io.BytesIO(data)).n_frames == 3
    check(read_image(data), np.full((3, 4, 3), (255, 0, 0)))


GREY = np.array([[0, 51], [102, 255]], np.uint8)
GREY_RGB = np.repeat(GREY[:, :, None], 3, axis=2)


@pytest.mark.parametrize(
    "array",
    [
        GREY,
        GREY[:, :, None],
        GREY_RGB,
        GREY.astype(np.uint16) * 257,
        GREY / 255,
        (GREY / 255).astype(np.float32),
    ],
    ids=["HW", "HW1", "HW3", "uint16", "float64", "float32"],
)
def test_arrays(array: np.ndarray) -> None:
    check(read_image(array), GREY_RGB)


def test_array_with_alpha() -> None:
    rgba = np.array([[[200, 100, 0, 255], [200, 100, 0, 51]]], np.uint8)
    expected = [[[200, 100, 0], [244, 224, 204]]]
    check(read_image(rgba), expected)
    check(read_image(rgba.astype(np.uint16) * 257), expected)
    check(read_image(rgba / 255), expected)
    check(read_image(torch.from_numpy(rgba).permute(2, 0, 1)), expected)


def test_bool_array() -> None:
    check(read_image(np.array([[True, False]])), [[WHITE, [0] * 3]])


def test_rgb_array_is_not_copied_unless_it_must_be() -> None:
    pixels = photo()
    assert read_image(pixels) is pixels
    check(read_image(pixels[:, ::-1]), pixels[:, ::-1])
    pixels.flags.writeable = False
    result = read_image(pixels)
    check(result, pixels)
    assert not np.shares_memory(result, pixels)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
def test_float_tensors_channels_first(dtype: torch.dtype) -> None:
    tensor = torch.tensor([[[0.0, 1.0]], [[1.0, 0.0]], [[0.0, 0.0]]], dtype=dtype, requires_grad=True)
    expected = [[[0, 255, 0], [255, 0, 0]]]
    check(read_image(tensor), expected)
    check(read_image(tensor[None]), expected)
    check(read_image(tensor[:1]), [[[0] * 3, WHITE]])
    check(read_image(tensor[0]), [[[0] * 3, WHITE]])


def test_tensor_of_width_three_is_channels_first() -> None:
    tensor = torch.arange(27, dtype=torch.uint8).reshape(3, 3, 3)
    check(read_image(tensor), tensor.permute(1, 2, 0))


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (np.zeros((3, 20, 30), np.uint8), "looks like channels first"),
        (np.zeros((2, 2, 2), np.uint8), r"must be \[H, W\], \[H, W, 1\]"),
        (np.zeros(5, np.uint8), r"must be \[H, W\]"),
        (np.zeros((1, 5, 5, 3), np.uint8), r"must be \[H, W\]"),
        (np.zeros((0, 5, 3), np.uint8), "the picture is empty"),
        (np.zeros((5, 0), np.float32), "the picture is empty"),
        (np.zeros((2, 2), np.int64), "not int64"),
        (np.zeros((2, 2), complex), "not complex128"),
        (np.full((2, 2), "a"), "not <U1"),
        (np.array([[0.0, 1.5]]), "found 0 to 1.5$"),
        (np.array([[-0.1, 1.0]]), "found -0.1 to 1$"),
        (np.array([[0.5, np.nan]]), "found NaN$"),
        (np.array([[0.5, np.inf]]), "found 0.5 to inf$"),
        (torch.zeros(20, 30, 3), "channels first"),
        (torch.zeros(2, 3, 4, 4), "of one picture"),
        (torch.zeros(3, 0, 4), "the picture is empty"),
        (torch.zeros(3, 4, 4, dtype=torch.int64), "not int64"),
        (None, "^NoneType: not a path"),
        (42, "^int: not a path"),
        (io.StringIO("text"), "opened as text"),
    ],
)
def test_wrong_input_is_one_clear_line(source: Any, message: str) -> None:
    with pytest.raises(ImageReadError, match=message) as caught:
        read_image(source)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("background", [(0, 0), (0, 0, 256), (-1, 0, 0)])
def test_wrong_background(background: Any) -> None:
    with pytest.raises(ConfigError, match="background must be"):
        read_image(UPRIGHT, background=background)


def test_describe_source(tmp_path: Path) -> None:
    assert describe_source(Path("a b.png")) == "a b.png"
    assert describe_source("x\n\udcff\u202f深.png") == "x\\n\\udcff\u202f深.png"
    assert describe_source(b"123") == "3 bytes of data"
    assert describe_source(np.zeros((2, 3), np.uint8)) == "array uint8 (2, 3)"
    assert describe_source(torch.zeros(1, 2)) == "tensor torch.float32 (1, 2)"
    assert describe_source(Image.new("L", (4, 5))) == "PIL image (4, 5) L"
    assert describe_source(io.BytesIO()) == "file object"
    path = tmp_path / "named.bin"
    path.write_bytes(b"")
    with path.open("rb") as file:
        assert describe_source(file) == str(path)


def test_suffixes_are_lower_case_and_cover_what_cameras_write() -> None:
    assert all(suffix == suffix.lower() and suffix.startswith(".") for suffix in SUPPORTED_SUFFIXES)
    assert {
        ".jpg",
        ".jpeg",
        ".png",
        ".webp",
        ".avif",
        ".heic",
        ".tif",
        ".tiff",
        ".bmp",
        ".gif",
    } <= SUPPORTED_SUFFIXES
