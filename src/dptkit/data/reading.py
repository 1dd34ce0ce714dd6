"""Files of data sets as arrays. Every failure is a DataError `PATH: <reason>`.

Text is UTF-8, with or without the byte order mark that spreadsheets and editors of Windows put first.
"""

from __future__ import annotations

import csv
import importlib
import io
import json
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from dptkit.errors import DataError, ImageReadError
from dptkit.image_io import read_image
from dptkit.image_io.names import printable
from dptkit.image_io.opening import decode, open_file

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".JPG", ".JPEG", ".PNG")


def read_rgb(path: Path, *, upright: bool = True) -> npt.NDArray[np.uint8]:
    """A picture as uint8 RGB [H, W, 3], turned upright by its EXIF orientation, or as stored."""
    try:
        return read_image(path if upright else np.array(_picture(path).convert("RGB")))
    except ImageReadError as error:
        raise DataError(str(error)) from error


def read_codes(path: Path) -> npt.NDArray[Any]:
    """A picture of one channel as stored: uint8 (palettes give the index) or uint16 [H, W].

    Colour pictures are taken if their channels are equal, as some tools store grey.
    """
    image = _picture(path)
    if image.mode in ("L", "P"):
        return np.array(image, np.uint8)
    if image.mode == "1":
        return np.array(image, np.bool_).astype(np.uint8)
    codes = np.array(image)
    if image.mode.startswith("I"):
        if codes.min() < 0 or codes.max() > 65535:
            raise DataError(f"{printable(path)}: values {codes.min()} to {codes.max()} are not 16-bit")
        return codes.astype(np.uint16)
    if image.mode in ("RGB", "RGBA"):
        codes = _all_bits(path, codes)
        if (codes[..., 0] == codes[..., 1]).all() and (codes[..., 0] == codes[..., 2]).all():
            return np.ascontiguousarray(codes[..., 0])
    raise DataError(f"{printable(path)}: one channel of whole numbers is needed, not a picture of mode {image.mode}")


def read_mask(path: Path) -> npt.NDArray[np.bool_]:
    """A mask picture: True where it is not 0."""
    return read_codes(path) != 0


def read_npy(path: Path) -> npt.NDArray[np.float32]:
    """A .npy array [H, W] of numbers as float32."""
    try:
        values = np.load(path, allow_pickle=False)
    except Exception as error:  # a broken header fails in many ways, some of Python's tokeniser
        raise _unreadable(path, error) from error
    if not isinstance(values, np.ndarray):
        values.close()
        raise DataError(f"{printable(path)}: an .npz archive, not an .npy file")
    return _plane(path, values)


def read_npz(path: Path, key: str) -> npt.NDArray[Any]:
    """The array `key` of a .npz file, of any shape and type but objects."""
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as file:  # a path stays open if it is no zip
            return np.asarray(file[key])
    except (KeyError, TypeError, AttributeError):
        raise DataError(f"{printable(path)}: not an .npz file with an array {key!r}") from None
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise _unreadable(path, error) from error


def read_pfm(path: Path) -> npt.NDArray[np.float32]:
    """A portable float map of one channel, of either byte order, top row first."""
    try:
        with path.open("rb") as file:
            magic = file.readline().split()
            width, height = (int(number) for number in file.readline().split())
            order = "<f4" if float(file.readline()) < 0 else ">f4"
            values = np.frombuffer(file.read(), order, width * height).reshape(height, width)
    except (OSError, ValueError, OverflowError) as error:
        raise _unreadable(path, error) from error
    if magic != [b"Pf"]:
        raise DataError(f"{printable(path)}: not a PFM file of one channel")
    return values[::-1].astype(np.float32)


def read_exr(path: Path) -> npt.NDArray[np.float32]:
    """The only channel of an OpenEXR picture, or its R (of R, G and B with the same content)."""
    try:
        import OpenEXR
    except ImportError:
        raise DataError(f"{printable(path)}: EXR files need OpenEXR: pip install 'dptkit[exr]'") from None
    try:
        with OpenEXR.File(io.BytesIO(path.read_bytes()), separate_channels=True) as file:
            channels = file.channels()
            chosen = channels.get("R") or next(iter(channels.values()))
            return _plane(path, np.array(chosen.pixels))
    except (RuntimeError, ValueError, OSError, TypeError, StopIteration) as error:
        raise _unreadable(path, error) from error


def read_h5(path: Path, key: str) -> npt.NDArray[np.float32]:
    """The array `key` [H, W] of an HDF5 file."""
    h5py = import_h5py()
    try:
        with h5py.File(path, "r") as file:
            values = np.array(file[key])
    except (OSError, KeyError, RuntimeError) as error:
        raise _unreadable(path, error) from error
    return _plane(path, values)


def read_mat(path: Path) -> dict[str, Any]:
    """The variables of a MATLAB file before version 7.3, without dimensions of length 1 around cells of text."""
    try:
        scipy_io = importlib.import_module("scipy.io")
    except ImportError:
        raise DataError(f"{printable(path)}: MATLAB files (.mat) need scipy: pip install scipy") from None
    # A broken file fails in many ways, some of scipy's own: each of them means that it cannot be read.
    try:
        content: dict[str, Any] = scipy_io.loadmat(path)
    except Exception as error:
        raise _unreadable(path, error) from error
    return content


def import_h5py() -> Any:
    """The optional module h5py. Raises DataError with what to install."""
    try:
        return importlib.import_module("h5py")
    except ImportError:
        raise DataError("HDF5 files (.h5, NYUv2's .mat) need h5py: pip install h5py") from None


def read_values(path: Path) -> npt.NDArray[Any]:
    """Numbers of any format here, chosen by the ending: .npy, .pfm, .exr, .tif (also floats), .png (whole numbers)."""
    readers = {".npy": read_npy, ".pfm": read_pfm, ".exr": read_exr, ".tif": _read_tiff, ".tiff": _read_tiff}
    reader = readers.get(path.suffix.lower(), read_codes)
    return reader(path)


def read_lines(path: Path) -> list[str]:
    """The lines of a text file that are not blank, stripped."""
    try:
        lines = path.read_text("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise _unreadable(path, error) from error
    return [line.strip() for line in lines if line.strip()]


def read_json(path: Path) -> Any:
    """What a JSON file holds."""
    try:
        return json.loads(path.read_text("utf-8-sig"))
    except json.JSONDecodeError as error:
        raise DataError(f"{printable(path)}: not JSON ({error})") from error
    except (OSError, UnicodeDecodeError) as error:
        raise _unreadable(path, error) from error


def read_table(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    """The rows of a CSV file with a header that has at least `columns`."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            missing = [column for column in columns if column not in (reader.fieldnames or ())]
            if missing:
                raise DataError(f"{printable(path)}: no column {', '.join(missing)}")
            rows = list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise _unreadable(path, error) from error
    for number, row in enumerate(rows, start=2):
        if any(row[column] is None for column in columns):
            raise DataError(f"{printable(path)}: line {number} is cut short")
    return rows


def _read_tiff(path: Path) -> npt.NDArray[Any]:
    image = _picture(path)
    return np.array(image, np.float32) if image.mode == "F" else read_codes(path)


def _all_bits(path: Path, codes: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """A colour picture's channels in the order of their file or reversed: Pillow cuts 16 bits down to 8."""
    whole = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED)
    return whole if whole is not None and whole.dtype == np.uint16 and whole.ndim == 3 else codes


def _picture(path: Path) -> Image.Image:
    try:
        with open_file(path) as file:
            return decode(file)
    except ImageReadError as error:
        raise DataError(f"{printable(path)}: {error}") from error


def _plane(path: Path, values: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    if values.ndim == 3 and values.shape[2] == 1:
        values = values[:, :, 0]
    if values.ndim != 2 or values.dtype.kind not in "fiu":
        raise DataError(f"{printable(path)}: numbers [H, W] are needed, not {values.dtype} {values.shape}")
    return values.astype(np.float32)


def _unreadable(path: Path, error: Exception) -> DataError:
    if isinstance(error, FileNotFoundError):
        return DataError(f"{printable(path)}: no such file")
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return DataError(f"{printable(path)}: cannot be read ({printable(reason)})")
