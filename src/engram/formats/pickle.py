"""pickle: plain arrays, dictionaries and lists of them, read without running the pickle.

A pickle may hold anything, and running it does anything. Here arrays of numpy and plain values are read, each weight
under the way to it in the dictionary (``dense/kernel``); a class or function of any other kind ends the reading with
its name. What is written is a dictionary of arrays that Python's own ``pickle.load`` reads with any release of numpy;
where the model has a graph, the key ``engram`` holds it as text.
"""

from __future__ import annotations

from pathlib import Path

from engram.formats import _pickled
from engram.formats._pickle.writing import plain_array
from engram.records import Limits, Model

__all__ = ["CARRIES", "SUFFIXES", "YIELDS", "read", "recognizes", "write"]

SUFFIXES = (".pkl", ".pickle")
CARRIES = ("graph", "weights", "preprocessing", "names")
YIELDS = True


def recognizes(head: bytes, path: Path) -> bool:
    """Whether a file begins as a pickle, and is not one of joblib's."""
    return _pickled.is_pickle(head) and not _pickled.is_joblibs(head, path)


def read(path: Path, limits: Limits) -> Model:
    """The arrays in a file.

    Raises:
        FormatError: the file is damaged or hostile, or holds anything but arrays and plain values.
    """
    return _pickled.read(path, limits, "pickle")


def write(model: Model, path: Path) -> None:
    """A dictionary of arrays.

    Raises:
        ConversionError: a weight has a type or a name that it cannot have.
    """
    _pickled.write(model, path, plain_array)
