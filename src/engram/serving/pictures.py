"""Pictures in requests, checked by their headers before anything is unpacked.

A file of some kilobytes may declare billions of pixels, and a request may hold a thousand such files, so the limit is
on the pixels of all pictures of a request together.
"""

from __future__ import annotations

import base64
import binascii
import io

from engram.errors import ShapeError

__all__ = ["from_text", "pixels"]


def from_text(text: str, where: str) -> bytes:
    """The bytes of a file from base64, with or without ``data:image/png;base64,`` before it.

    Raises:
        ShapeError: it is not base64.
    """
    encoded = text.partition(",")[2] if text.startswith("data:") else text
    try:
        return base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        raise ShapeError(f"{where}: the image is not base64; send the base64 of a PNG or JPEG file") from None


def pixels(content: bytes, where: str) -> int:
    """How many pixels a PNG or JPEG file says it has; only its header is read.

    Raises:
        ShapeError: it is neither.
    """
    from PIL import Image

    try:
        with Image.open(io.BytesIO(content), formats=("PNG", "JPEG")) as picture:
            return picture.width * picture.height
    except Image.DecompressionBombError:
        return Image.MAX_IMAGE_PIXELS or 2**31
    except Exception as broken:  # noqa: BLE001 - Pillow's readers raise whatever a damaged header makes them trip over
        raise ShapeError(f"{where}: the image is not a PNG or JPEG file ({type(broken).__name__})") from None
