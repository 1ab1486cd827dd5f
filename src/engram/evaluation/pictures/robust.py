"""How the error grows while inputs get worse, one curve a disturbance."""

from __future__ import annotations

import math

from engram.evaluation.pictures.style import BLUE, axes, picture
from engram.records import Picture, Report

__all__ = ["robustness"]


def robustness(report: Report) -> list[Picture]:
    """A curve with its interval for each disturbance that gave answers."""
    error = "Share of wrong answers" if report.labels else "Mean absolute error"
    made = []
    for place, curve in enumerate(report.robustness):
        if not all(math.isfinite(value) for value in curve.errors):
            continue
        plot = axes()
        plot.fill_between(curve.amounts, curve.low, curve.high, color=BLUE, alpha=0.15, linewidth=0)
        plot.plot(curve.amounts, curve.errors, color=BLUE, marker="o", markersize=4)
        plot.set_xlabel(curve.disturbance[0].upper() + curve.disturbance[1:])
        plot.set_ylabel(error)
        caption = f"{error} on a sample of the rows while their inputs get worse, with the 95 % interval."
        made.append(picture(f"robustness-{place}", curve.disturbance.partition(",")[0].capitalize(), caption, plot))
    return made
