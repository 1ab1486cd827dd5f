"""ROC, precision-recall and calibration curves: pictures that need the chances and not only the label."""

from __future__ import annotations

from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from numpy import ndarray

from engram.evaluation.answers import Answers
from engram.evaluation.calibration import reliability
from engram.evaluation.metrics._once import once
from engram.evaluation.metrics._ranking import average_precision, curve, roc_area
from engram.evaluation.pictures.style import BLUE, GREY, ORANGE, PURPLE, axes, picture, shortened
from engram.records import Picture, Report

__all__ = ["calibration", "ranking"]

_POINTS = 300
_MOST = 40
_FIRM = 10
_WEAKEST = (ORANGE, PURPLE, BLUE)


def ranking(report: Report, answers: Answers) -> list[Picture]:
    """The ROC and the precision-recall curve: of the second of two classes, or of each class against the rest."""
    chances = answers.probabilities
    if chances is None or np.isnan(chances).any() or chances.shape[1] > _MOST:
        return []
    whole = once(answers.truth)
    roc, precise = axes(height=4.0, grid="both"), axes(height=4.0, grid="both")
    classes = [1] if chances.shape[1] == 2 else list(range(chances.shape[1]))
    defined = [c for c in classes if 0 < (answers.truth == c).sum() < len(answers)]
    if not defined:
        return []
    areas = {c: (answers.truth == c, chances[:, c]) for c in defined}
    roc_areas = {c: float(roc_area(*given, whole)[0]) for c, given in areas.items()}
    precisions = {c: float(average_precision(*given, whole)[0]) for c, given in areas.items()}
    for c, given in areas.items():
        found, false = curve(*given)
        _draw(roc, false / false[-1], found / found[-1], _look(c, roc_areas, report.labels))
        precision = found[1:] / (found + false)[1:]
        _draw(
            precise,
            found / found[-1],
            np.append(precision[:1], precision),
            {**_look(c, precisions, report.labels), "drawstyle": "steps-pre"},
        )
    return [_roc(roc, report), _precise(precise, report, float((answers.truth == 1).mean()))]


def calibration(answers: Answers) -> list[Picture]:
    """Chances given against what happened, a dot a bin, as large as it has rows."""
    chances = answers.probabilities
    if chances is None or np.isnan(chances).any():
        return []
    bars = reliability(answers.truth, chances)
    plot = axes(height=4.0, grid="both")
    plot.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle=(0, (2, 3)))
    firm = bars.rows >= _FIRM
    if firm.sum() > 2:
        plot.plot(bars.chance[firm], bars.happened[firm], color=BLUE, linewidth=1.2)
    colors = np.where(firm, BLUE, "#9aa5b1")
    plot.vlines(bars.chance, *_wilson(bars.happened, bars.rows), color=colors, alpha=0.4, linewidth=1.6)
    sizes = 12 + 160 * bars.rows / bars.rows.max()
    plot.scatter(
        bars.chance, bars.happened, s=sizes, color=colors, edgecolor="white", linewidth=0.8, zorder=3, clip_on=False
    )
    _unit(plot)
    plot.set_xlabel("chance given")
    plot.set_ylabel("how often it was so")
    which = "the second class" if chances.shape[1] == 2 else "the class answered"
    caption = (
        f"The chance given to {which} against how often that was the truth; larger dots stand for more "
        f"rows, grey ones for fewer than {_FIRM}, and bars are 95 % intervals. On the "
        "dotted line chances can be taken at their word; below it the model is too sure."
    )
    return [picture("calibration", "Calibration", caption, plot)]


def _wilson(share: ndarray, rows: ndarray) -> tuple[ndarray, ndarray]:
    """The 95 % interval of shares of so many rows. Source: Wilson 1927, J. Am. Stat. Assoc. 22, 209."""
    z = 1.96
    center = (share + z**2 / (2 * rows)) / (1 + z**2 / rows)
    half = z / (1 + z**2 / rows) * np.sqrt(share * (1 - share) / rows + z**2 / (4 * rows**2))
    return center - half, center + half


def _look(c: int, areas: dict[int, float], labels: tuple[str, ...]) -> dict[str, object]:
    """The one class of two in blue; of many, the three weakest in color and the others in faint grey."""
    weakest = sorted(areas, key=lambda key: areas[key])[:3]
    if len(areas) == 1:
        return {"color": BLUE, "linewidth": 2.0, "zorder": 3}
    if c in weakest:
        place = weakest.index(c)
        name = f"{shortened(labels[c], 18)} ({areas[c]:.3f})"
        return {"color": _WEAKEST[place], "linewidth": 1.7, "zorder": 5 - place, "label": name}
    return {"color": "#c3ccd5", "linewidth": 1.1, "zorder": 2}


def _draw(plot: Axes, x: ndarray, y: ndarray, look: dict[str, object]) -> None:
    kept = np.unique(np.linspace(0, len(x) - 1, min(len(x), _POINTS)).round().astype(np.int64))
    plot.plot(x[kept], y[kept], **look)  # type: ignore[arg-type]  # matplotlib's line properties


def _roc(plot: Axes, report: Report) -> Picture:
    plot.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle=(0, (2, 3)))
    _unit(plot)
    plot.set_xlabel("share of the others wrongly taken")
    plot.set_ylabel("share of the class found")
    _legend(plot, "lower right")
    return picture("roc", "ROC", _words(report, "The dotted line is guessing."), plot)


def _precise(plot: Axes, report: Report, share: float) -> Picture:
    if len(report.labels) == 2:
        plot.axhline(share, color=GREY, linewidth=1, linestyle=(0, (2, 3)))
    _unit(plot)
    plot.set_xlabel("share of the class found (recall)")
    plot.set_ylabel("share of the found that is right (precision)")
    _legend(plot, "lower left")
    dotted = "The dotted line is guessing." if len(report.labels) == 2 else ""
    return picture("precision-recall", "Precision and recall", _words(report, dotted), plot)


def _words(report: Report, ending: str) -> str:
    if len(report.labels) == 2:
        return f"For '{report.labels[1]}', over all thresholds. {ending}".strip()
    return f"Each class against the rest; the three weakest in color with their area. {ending}".strip()


def _legend(plot: Axes, place: Literal["lower left", "lower right"]) -> None:
    lines = sorted(plot.get_lines(), key=lambda line: -line.get_zorder())
    named = [line for line in lines if not str(line.get_label()).startswith("_")]
    if named:
        plot.legend(handles=named, loc=place)


def _unit(plot: Axes) -> None:
    plot.set_xlim(-0.015, 1.015)
    plot.set_ylim(-0.015, 1.03)
    ticks = [0, 0.2, 0.4, 0.6, 0.8, 1]
    plot.set_xticks(ticks)
    plot.set_yticks(ticks)
