"""Where the network is worst, and how groups that were named differ: dots with their intervals, one row each."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes

from engram.evaluation.pictures.style import BLUE, FULL, GREY, ORANGE, axes, picture, shortened
from engram.records import Picture, Report

__all__ = ["fairness", "weak"]

_RATES = {"accuracy": "Accuracy", "selection_rate": "Selection rate", "true_positive_rate": "True positive rate"}
_MOST = 28


def weak(report: Report) -> list[Picture]:
    """The error of each weak part beside that over all rows; nothing where no part stands out."""
    if not report.weak:
        return []
    rows = [(part.name, part.error, part.low, part.high, part.rows) for part in report.weak]
    plot = _dots(rows, ORANGE)
    plot.axvline(report.weak[0].overall, color=GREY, linewidth=1, linestyle=(0, (2, 3)))
    said = "Share of wrong answers" if report.labels else "Mean absolute error"
    plot.set_xlabel(said)
    caption = (
        f"{said} where the network is worse than elsewhere. {report.weak[0].looks:,} parts were looked at; intervals "
        "and choice hold for all of these looks at once (Bonferroni). The dotted line is the error over all rows."
    )
    return [picture("weak", "Where it is worst", caption, plot)]


def fairness(report: Report) -> list[Picture]:
    """Each rate by group, one picture a rate."""
    made = []
    for rate, title in _RATES.items():
        rows = [
            (name, v[rate], v[f"{rate}.low"], v[f"{rate}.high"], int(v[f"{rate}.rows"]))
            for name, v in report.fairness.items()
            if v.get(f"{rate}.rows", 0) > 0
        ][:_MOST]
        if rows:
            plot = _dots(rows, BLUE)
            plot.set_xlabel(title)
            made.append(picture(f"fairness-{rate}", f"{title} by group", _GAPS[rate], plot))
    return made


_GAPS = {
    "accuracy": "Share of rows that are answered rightly, with its 95 % interval.",
    "selection_rate": "Share of rows that are answered with the second class, with its 95 % interval.",
    "true_positive_rate": "Share of the rows of the second class that are answered so, with its 95 % interval.",
}


def _dots(rows: Sequence[tuple[str, float, float, float, int]], color: str) -> Axes:
    plot = axes(FULL, 0.75 + 0.25 * len(rows), grid="x")
    for place, (_, value, low, high, count) in enumerate(rows):
        plot.plot([low, high], [place, place], color=color, linewidth=2.2, alpha=0.4)
        plot.plot([value], [place], marker="o", markersize=5.5, color=color)
        plot.annotate(
            f"{count:,} rows", (1, place), (4, 0), xycoords=("axes fraction", "data"),
            textcoords="offset points", va="center", fontsize=7.5, color=GREY, annotation_clip=False,
        )  # fmt: skip
    plot.set_yticks(range(len(rows)), [shortened(name.replace("=", " = "), 60) for name, *_ in rows])
    plot.set_ylim(len(rows) - 0.4, -0.6)
    plot.spines["left"].set_visible(False)
    return plot
