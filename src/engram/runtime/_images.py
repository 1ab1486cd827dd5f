"""From the bytes of an image to its pixels, with nothing allocated before its size is known to be sane.

Training files and served requests come this same way, so that no picture looks different to the network it taught.

Grey stays one channel, everything else becomes red, green and blue; an orientation that a camera wrote beside the
pixels is applied, so that an image looks to the network as it looks on a screen.
"""

from __future__ import annotations

import io
import struct
import warnings
import zlib

import numpy as np
from numpy import ndarray
from PIL import Image, ImageOps, UnidentifiedImageError

from engram.errors import DataError

__all__ = ["FORMATS", "MOST_PIXELS", "SUFFIXES", "colored", "decode", "pixels"]

FORMATS = ("PNG", "JPEG", "GIF", "BMP", "WEBP")
SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".gif", ".bmp", ".webp"})
MOST_PIXELS = 100_000_000
_GREY = {"1", "L", "LA", "La", "I", "F"}
_BROKEN = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    OverflowError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)


def decode(content: bytes) -> ndarray:
    """The pixels of an image: uint8 (height, width, channels), channels 1 for grey and 3 for color.

    Raises:
        DataError: it is no PNG, JPEG, GIF, BMP or WebP, is damaged or truncated, or has more than 100 million pixels.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image: Image.Image = Image.open(io.BytesIO(content), formats=FORMATS)
        if image.width * image.height > MOST_PIXELS:
            raise DataError(f"has {image.width:,} × {image.height:,} pixels, more than {MOST_PIXELS:,}")
        return pixels(image)
    except _BROKEN as wrong:
        if isinstance(wrong, DataError):
            raise
        unknown = isinstance(wrong, UnidentifiedImageError)
        raise DataError("is no PNG, JPEG, GIF, BMP or WebP" if unknown else f"is damaged ({wrong})") from None


def colored(image: ndarray, channels: int) -> ndarray:
    """The image (height, width, 1 or 3) with this many channels; color becomes grey by the weights of ITU-R 601."""
    if image.shape[2] == channels:
        return image
    if channels == 3:
        return np.repeat(image, 3, axis=2)
    return np.asarray(Image.fromarray(image).convert("L"))[:, :, None]


def pixels(image: Image.Image) -> ndarray:
    """The pixels of an opened image: uint8 (height, width, channels), channels 1 for grey and 3 for color."""
    if image.format == "JPEG" and "exif" in image.info:
        image = ImageOps.exif_transpose(image)
    if image.mode in {"L", "RGB"}:
        found = np.asarray(image)
    elif image.mode.startswith("I;16") or image.mode == "I":
        deep = np.asarray(image).astype(np.int64)
        found = (deep >> 8 if deep.max(initial=0) > 255 or image.mode != "I" else deep).clip(0, 255).astype(np.uint8)
    else:
        found = np.asarray(image.convert("L" if image.mode in _GREY else "RGB"))
    return found if found.ndim == 3 else found[:, :, None]
