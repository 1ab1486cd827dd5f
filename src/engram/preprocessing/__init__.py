"""From raw columns to tensors: each step is fitted on the training rows and emitted as graph nodes."""

from engram.plugins import Shelf

__all__ = ["SHELF"]

SHELF = Shelf("engram.preprocessing", "preprocessing step", ("Options", "fit", "transform", "nodes"))
