"""What is measured: one plug-in a metric."""

from engram.plugins import Shelf

__all__ = ["SHELF"]

SHELF = Shelf("engram.evaluation.metrics", "metric", ("BEST", "NEEDS", "TASKS", "score"))
