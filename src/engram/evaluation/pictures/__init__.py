"""The pictures of a report: one file a kind, and ``draw`` that knows which belong to which task."""

from engram.evaluation.pictures.draw import draw

__all__ = ["draw"]
