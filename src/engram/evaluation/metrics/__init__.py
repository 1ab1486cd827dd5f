"""What is measured: one plug-in a metric, each a function of truth and answer."""

from engram.plugins import Shelf

__all__ = ["SHELF"]

SHELF = Shelf("engram.evaluation.metrics", "metric", ("BEST", "NEEDS", "TASKS", "score"))
