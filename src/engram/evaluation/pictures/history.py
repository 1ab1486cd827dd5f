"""Loss and metrics over the epochs of training, from which the diagnosis is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from engram.evaluation.curves import read
from engram.evaluation.measure import title
from engram.evaluation.pictures.style import BLUE, GREY, INK, axes, picture
from engram.records import Picture

__all__ = ["curves"]

_MOST = 3
_NAMES = {"train": ("training", GREY), "validation": ("validation", BLUE)}


def curves(history: Sequence[Mapping[str, float]]) -> list[Picture]:
    """The loss, and up to two metrics that were followed; nothing for fewer than two epochs."""
    if len(history) < 2:
        return []
    sides = ("train.", "validation.")
    keys = dict.fromkeys(key.split(".", 1)[1] for record in history for key in record if key.startswith(sides))
    return [made for name in list(keys)[:_MOST] if (made := _curve(name, history)) is not None]


def _curve(name: str, history: Sequence[Mapping[str, float]]) -> Picture | None:
    plot = axes()
    seen = read(history)
    drawn = [_line(plot, side, name, history) for side in _NAMES]
    if not any(drawn):
        return None
    best = seen.epoch[seen.best] if np.isfinite([seen.train, seen.validation]).any() else None
    if best is not None and best != seen.epoch[-1]:
        plot.axvline(float(best), color=INK, linewidth=0.8, linestyle=(0, (2, 3)))
        plot.annotate(
            "best", (float(best), 1), (4, -2), xycoords=("data", "axes fraction"), textcoords="offset points",
            fontsize=8.5, va="top", color=GREY,
        )  # fmt: skip
    plot.set_xlabel("epoch")
    plot.xaxis.set_major_locator(MaxNLocator(integer=True))
    plot.margins(x=0.02)
    plot.legend(loc="best")
    words = "Loss" if name == "loss" else title(name)
    caption = "Lower is better." if name == "loss" else "Measured after every epoch."
    return picture(
        f"curve-{name}",
        f"{words} during training",
        f"{caption} The dotted line is the best epoch." if best is not None and best != seen.epoch[-1] else caption,
        plot,
    )


def _line(plot: Axes, side: str, name: str, history: Sequence[Mapping[str, float]]) -> bool:
    points = [(r.get("epoch", i + 1), r.get(f"{side}.{name}")) for i, r in enumerate(history)]
    finite = [(epoch, value) for epoch, value in points if value is not None and np.isfinite(value)]
    if not finite:
        return False
    words, color = _NAMES[side]
    epochs, values = zip(*finite, strict=True)
    marker = "o" if len(finite) <= 12 else ""
    plot.plot(
        epochs, values, color=color, label=words, marker=marker, markersize=3.5, zorder=3 if side == "validation" else 2
    )
    return True
