"""The confusion matrix: right answers in blue, mistakes in orange, so that rare mistakes are seen."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from numpy import ndarray

from engram.evaluation.pictures.style import BLUE, INK, ORANGE, axes, picture, shortened
from engram.records import Picture, Report

__all__ = ["matrix"]

_COUNTED = 12
_NAMED = 40


def matrix(report: Report) -> list[Picture]:
    """The confusion matrix of a classification; counts are written in up to twelve classes."""
    if not report.confusion:
        return []
    counts = np.array(report.confusion)
    width = len(counts)
    plot = axes(height=float(np.clip(2.6 + 0.2 * width, 3.6, 5.2)), grid="")
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    plot.imshow(_colors(shares), interpolation="nearest", aspect="auto")
    if width <= _COUNTED:
        _write(plot, counts, shares)
        for place in np.arange(1, width) - 0.5:
            plot.axhline(place, color="white", linewidth=1.5)
            plot.axvline(place, color="white", linewidth=1.5)
    _name(plot, report.labels)
    caption = (
        "Each row is a true class, each column an answer. Blue is right, orange is wrong; the color is the share of "
        "the true class, with small shares drawn stronger than they are so that they show."
    )
    return [picture("confusion", "Confusion matrix", caption, plot)]


def _colors(shares: ndarray) -> ndarray:
    strength = np.sqrt(shares)[:, :, None]
    target = np.where(np.eye(len(shares), dtype=bool)[:, :, None], to_rgb(BLUE), to_rgb(ORANGE))
    ground = np.array(to_rgb("#f3f5f7"))
    colors: ndarray = ground + (target - ground) * strength
    return colors


def _write(plot: Axes, counts: ndarray, shares: ndarray) -> None:
    for (row, column), count in np.ndenumerate(counts):
        dark = shares[row, column] > (0.3 if row == column else 0.6)
        color = "white" if dark else INK if count else "#b8c2cc"
        size = 9.5 if len(counts) <= 6 else 8
        plot.text(column, row, f"{count:,}", ha="center", va="center", color=color, fontsize=size)


def _name(plot: Axes, labels: tuple[str, ...]) -> None:
    plot.spines[:].set_visible(False)
    plot.tick_params(length=0)
    plot.set_xlabel("answered")
    plot.set_ylabel("true")
    if len(labels) > _NAMED:
        return
    names = [shortened(label, 16) for label in labels]
    long = max(len(name) for name in names) * len(names) > 60
    plot.set_xticks(range(len(names)), names, rotation=45 if long else 0, ha="right" if long else "center",
                    rotation_mode="anchor" if long else "default")  # fmt: skip
    plot.set_yticks(range(len(names)), names)
    if long and len(names) > _COUNTED:
        plot.set_xticks([])
        plot.set_xlabel("answered, in the same order")
    if len(names) > 20:
        plot.tick_params(labelsize=7)
