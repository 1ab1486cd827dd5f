"""joblib: plain arrays, dictionaries and lists of them, read without running the pickle.

joblib writes a pickle in which the numbers of each array lie as they are, perhaps with compression around the whole;
zlib, gzip, bz2, xz and lzma are unpacked here, within bounds. Anything but arrays and plain values is refused by its
name. What is written ``joblib.load`` reads since 1.2, and maps with ``mmap_mode``; where the model has a graph,
the key ``engram`` holds it as text.
"""

from __future__ import annotations

from pathlib import Path

from engram.formats import _pickled
from engram.formats._joblib import writing
from engram.records import Limits, Model

__all__ = ["CARRIES", "SUFFIXES", "YIELDS", "read", "recognizes", "write"]

SUFFIXES = (".joblib",)
CARRIES = ("graph", "weights", "preprocessing", "names")
YIELDS = True


def recognizes(head: bytes, path: Path) -> bool:
    """Whether a file begins as a pickle and is called one of joblib's, or holds its arrays under no pickle's name."""
    return _pickled.is_pickle(head) and _pickled.is_joblibs(head, path)


def read(path: Path, limits: Limits) -> Model:
    """The arrays in a file.

    Raises:
        FormatError: the file is damaged or hostile, or holds anything but arrays and plain values.
    """
    return _pickled.read(path, limits, "joblib")


def write(model: Model, path: Path) -> None:
    """A dictionary of arrays.

    Raises:
        ConversionError: a weight has a type or a name that it cannot have.
    """
    _pickled.write(model, path, writing.record)
