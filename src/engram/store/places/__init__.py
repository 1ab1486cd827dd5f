"""What a store stands on: one plug-in a kind of place. ``open(url)`` gives the ``Place`` of ``_contract.py``.

The scheme of a URL is the name of its plug-in (``s3://bucket/networks``); what has none is a folder.
"""

from __future__ import annotations

from engram.plugins import Shelf
from engram.store.places._contract import Place

__all__ = ["SHELF", "kind", "open"]

SHELF = Shelf("engram.store.places", "place", ("open",))


def kind(url: str) -> str:
    """The name of the plug-in for a URL or a path."""
    scheme, divided, _ = url.partition("://")
    return scheme if divided else "folder"


def open(url: str) -> Place:  # noqa: A001 - the word of the shelf's contract
    """The place that a URL or a path names.

    Raises:
        UnknownName: there is no such kind of place; the message gives the nearest.
        MissingLibrary: a library it needs is not installed.
    """
    found: Place = SHELF.take(kind(url)).open(url)
    return found
