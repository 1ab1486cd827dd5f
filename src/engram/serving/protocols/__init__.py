"""The doors of the server: one plug-in a protocol."""

from engram.plugins import Shelf

__all__ = ["SHELF"]

SHELF = Shelf("engram.serving.protocols", "protocol", ("routes",))
