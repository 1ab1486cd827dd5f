"""Where models run."""

from engram.plugins import Shelf

__all__ = ["SHELF"]

SHELF = Shelf("engram.runtime", "runtime", ("VERSION", "run"))
