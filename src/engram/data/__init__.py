"""Where rows come from: one plug-in a kind of source, each ends in a ``Dataset``."""

from engram.plugins import Shelf

__all__ = ["SHELF"]

SHELF = Shelf("engram.data", "data source", ("Options", "recognizes", "open"))
