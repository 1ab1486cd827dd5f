"""What a place says by itself of what is kept in it, whatever its catalog knows.

A catalog can be lost, or come back from a backup that is older than the blobs. What then tells a version that was kept
from the rest of a keep that was killed is ``index.json`` and the histories of aliases: both are written only for what
exists. A manifest alone is evidence of no more than that something was written here.
"""

from __future__ import annotations

from engram.store import described
from engram.store.places._contract import Place

__all__ = ["inhabited"]

_INDEX = "index.json"
_HISTORY = "history/"


def inhabited(place: Place) -> bool:
    """Whether a place holds versions or checkpoints, or what is left of their history, so that it must have a catalog.

    Raises:
        StoreError: the place refuses to be listed.
    """
    return bool(place.documents(_HISTORY)) or next(described.every(place), None) is not None
