"""Predicted against true numbers, and what is left over."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, LogNorm
from matplotlib.ticker import MaxNLocator
from numpy import ndarray

from engram.evaluation.answers import Answers
from engram.evaluation.pictures.style import BLUE, GREY, INK, axes, picture
from engram.records import Picture

__all__ = ["predicted", "residuals"]

_CLOUD = 1500
_DENSITY = LinearSegmentedColormap.from_list("density", ["#d9e8f5", BLUE, "#062b4a"])


def predicted(answers: Answers, *, seed: int = 0) -> list[Picture]:
    """True against predicted: points, or density where there are more than 1,500 rows of many different numbers."""
    truth, values = _finite(answers)
    if not len(truth):
        return []
    plot = axes(height=4.2, grid="both")
    low, high = _range(np.concatenate([truth, values]))
    plot.plot([low, high], [low, high], color=GREY, linewidth=1, linestyle=(0, (2, 3)), zorder=3)
    aside = _step(truth)
    if len(truth) > _CLOUD and not aside:
        shown = plot.hexbin(
            truth, values, gridsize=45, extent=(low, high, low, high), mincnt=1, cmap=_DENSITY, norm=LogNorm(), lw=0
        )
        shown.set_rasterized(True)
    else:
        random = np.random.default_rng(seed)
        rows = random.permutation(len(truth))[:_CLOUD]
        sideways = truth[rows] + random.uniform(-aside, aside, len(rows))
        points = plot.scatter(sideways, values[rows], s=10, color=BLUE, alpha=0.4, linewidth=0, zorder=2)
        points.set_rasterized(True)
    plot.set_xlim(low, high)
    plot.set_ylim(low, high)
    plot.set_xlabel("true")
    plot.set_ylabel("predicted")
    caption = f"On the dotted line the answer is right. {_drawn(len(truth), aside)}"
    return [picture("predicted", "Predicted and true", caption, plot)]


def residuals(answers: Answers) -> list[Picture]:
    """The distribution of predicted minus true."""
    truth, values = _finite(answers)
    if not len(truth):
        return []
    plot = axes(height=4.2)
    error = values - truth
    edge = float(np.quantile(np.abs(error), 0.995)) or 1.0
    bins = 2 * int(np.clip(np.sqrt(len(error)) / 1.6, 5, 20)) + 1
    plot.hist(np.clip(error, -edge, edge), bins=bins, range=(-edge, edge), color=BLUE, alpha=0.85, rwidth=0.9)
    plot.axvline(0, color=INK, linewidth=0.8)
    _mark(plot, float(error.mean()))
    plot.set_xlabel("predicted minus true")
    plot.set_ylabel("rows")
    plot.yaxis.set_major_locator(MaxNLocator(integer=True))
    caption = "Centered on zero and narrow is good; the outermost bars also hold what lies beyond them."
    return [picture("residuals", "Errors", caption, plot)]


def _mark(plot: Axes, mean: float) -> None:
    plot.annotate(
        f"mean {mean:+.3g}", (0, 1), (5, -2), xycoords=("data", "axes fraction"), textcoords="offset points",
        va="top", color=GREY, fontsize=8.5,
    )  # fmt: skip


def _drawn(rows: int, aside: float) -> str:
    if not aside:
        return "Darker where there are more rows." if rows > _CLOUD else "Each dot is a row."
    some = f"{_CLOUD:,} of {rows:,} rows are drawn" if rows > _CLOUD else "Each dot is a row"
    return f"{some}, moved a little sideways so that they hide each other less."


def _finite(answers: Answers) -> tuple[ndarray, ndarray]:
    if answers.values is None:
        return np.empty(0), np.empty(0)
    good = np.isfinite(answers.values)
    return answers.truth[good], answers.values[good]


def _range(values: ndarray) -> tuple[float, float]:
    low, high = (float(v) for v in np.quantile(values, [0.001, 0.999]))
    margin = 0.04 * (high - low) or 1.0
    return low - margin, high + margin


def _step(truth: ndarray) -> float:
    """How far points may be moved sideways so that rows with the same truth do not hide each other."""
    distinct = np.unique(truth)
    return 0.18 * float(np.diff(distinct).min()) if 2 <= len(distinct) <= 15 else 0.0
