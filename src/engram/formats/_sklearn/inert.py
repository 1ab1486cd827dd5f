"""The estimator in a file as names and values, whichever of the three ways it was kept."""

from __future__ import annotations

from pathlib import Path

from engram.formats import _files
from engram.formats._archive import MAGIC
from engram.formats._faults import typed
from engram.formats._joblib import unpickled
from engram.formats._sklearn import skops
from engram.formats._sklearn.estimator import Estimator
from engram.formats._sklearn.unpickled import ALLOWED, estimator
from engram.records import Limits

__all__ = ["inert"]


@typed
def inert(path: Path, limits: Limits) -> Estimator:
    """The estimator as it stands in a file: names and values, nothing living.

    Raises:
        FormatError: the file is damaged, was never fitted, or names what is not allowed.
    """
    packed = _files.beginning(path).startswith(MAGIC)
    return estimator(skops.read(path, limits) if packed else unpickled(path, ALLOWED, limits), path.name)
