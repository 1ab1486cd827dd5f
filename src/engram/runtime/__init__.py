"""Where models run: one plug-in a runtime, all given the same graph."""

from engram.plugins import Shelf

__all__ = ["SHELF"]

SHELF = Shelf("engram.runtime", "runtime", ("VERSION", "run"))
