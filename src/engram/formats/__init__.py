"""Files that models come in: one plug-in a format."""

from engram.plugins import Shelf

__all__ = ["SHELF"]

SHELF = Shelf("engram.formats", "format", ("SUFFIXES", "CARRIES", "recognizes", "read", "write"))
