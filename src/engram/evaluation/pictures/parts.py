"""The deciding score of each slice, with its interval, beside the score over all rows."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

from matplotlib.axes import Axes

from engram.evaluation.measure import title
from engram.evaluation.pictures.style import BLUE, FULL, GREY, ORANGE, axes, picture, shortened
from engram.records import Picture, Report, Score

__all__ = ["slices"]

_MOST = 28


def slices(report: Report) -> list[Picture]:
    """A dot and its interval for each slice, grouped by column; of more than 28 the ones furthest off."""
    if not report.slices:
        return []
    score = report.scores[0]
    furthest = sorted(report.slices, key=lambda name: -abs(report.slices[name][score.name] - score.value))[:_MOST]
    shown = [name for name in report.slices if name in furthest]
    places = _places(shown)
    plot = axes(FULL, 0.75 + 0.25 * (places[-1] + 1), grid="x")
    plot.axvline(score.value, color=GREY, linewidth=1, linestyle=(0, (2, 3)))
    for place, name in zip(places, shown, strict=True):
        _row(plot, place, report.slices[name], score)
    names = [shortened(name.replace("=", " = ", 1), 44) for name in shown]
    plot.set_yticks(places, names)
    plot.set_ylim(places[-1] + 0.6, -0.6)
    plot.spines["left"].set_visible(False)
    plot.set_xlabel(title(score.name))
    left = len(report.slices) - len(shown)
    rest = f" {left} slices nearer to the average are left out." if left else ""
    caption = (
        f"{title(score.name)} where a column has one value, with the 95 % interval. The dotted line is the score over "
        f"all rows; orange is clearly worse than that.{rest}"
    )
    return [picture("slices", "Score by slice", caption, plot)]


def _places(names: list[str]) -> list[float]:
    """Where each slice is drawn, with half a line between columns."""
    places = [0.0]
    for before, name in pairwise(names):
        places.append(places[-1] + (1.0 if before.split("=")[0] == name.split("=")[0] else 1.5))
    return places


def _row(plot: Axes, place: float, values: Mapping[str, float], score: Score) -> None:
    low, high = values[f"{score.name}.low"], values[f"{score.name}.high"]
    worse = high < score.low if score.best == "max" else low > score.high
    color = ORANGE if worse else BLUE
    plot.plot([low, high], [place, place], color=color, linewidth=2.2, alpha=0.4)
    plot.plot([values[score.name]], [place], marker="o", markersize=5.5, color=color)
    plot.annotate(
        f"{values['rows']:,.0f} rows", (1, place), (4, 0), xycoords=("axes fraction", "data"),
        textcoords="offset points", va="center", fontsize=7.5, color=GREY, annotation_clip=False,
    )  # fmt: skip
