"""What a store stands on: one plug-in a kind of place. ``open(url)`` gives the ``Place`` of ``_contract.py``."""

from engram.plugins import Shelf

__all__ = ["SHELF"]

SHELF = Shelf("engram.store.places", "place", ("open",))
