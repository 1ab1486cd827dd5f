"""What a place says by itself of what is kept in it, whatever its catalog knows.

A catalog can be lost, and a new one must not be begun beside what an earlier one knew: a sweep would free all of it.
"""

from __future__ import annotations

from engram.store import described
from engram.store.places._contract import Place

__all__ = ["inhabited"]

_HISTORY = "history/"
_LOST = "lost/"


def inhabited(place: Place) -> bool:
    """Whether a place holds versions or checkpoints, or what is left of their history, so that it must have a catalog.

    Raises:
        StoreError: the place refuses to be listed.
    """
    return bool(place.documents(_HISTORY) or place.documents(_LOST)) or next(described.every(place), None) is not None
