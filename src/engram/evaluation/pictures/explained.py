"""Pictures of an explanation: which columns matter, what a row's values did, how the answer follows a column."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

from matplotlib.axes import Axes

from engram.evaluation.explanation import Dependence, Effect
from engram.evaluation.pictures.style import BLUE, FULL, GREY, ORANGE, axes, picture, shortened, styled
from engram.records import Importance, Picture

__all__ = ["explained", "importance"]

_MOST = 20


def importance(found: Sequence[Importance], errors: str) -> list[Picture]:
    """How much worse answers are without each column.

    Args:
        found: the most important first; of more than twenty the first are drawn.
        errors: what gets larger, in words (``share of wrong answers``).
    """
    if not found:
        return []
    shown = found[:_MOST]
    plot = axes(FULL, 0.75 + 0.25 * len(shown), grid="x")
    _bars(plot, [(each.column, each.gain, each.low, each.high) for each in shown])
    plot.set_xlabel(f"Gain in {errors}")
    caption = (
        f"How much the {errors} grows when the values of one column change places between rows, with the 95 % interval."
        " Columns that hang together can stand in for each other, and then look less important than they are."
    )
    return [picture("importance", "What it needs", caption, plot)]


def explained(
    importances: Sequence[Importance],
    effects: Sequence[Effect],
    dependences: Sequence[Dependence],
    *,
    errors: str,
    answer: str,
) -> str:
    """A whole explanation as one SVG picture.

    Args:
        importances: the most important first.
        effects: of the values of one row, the largest first; empty draws none.
        dependences: how the mean answer follows columns.
        errors: what importance counts, in words.
        answer: what effects and dependences are of, in words.
    """
    from io import BytesIO

    from matplotlib.figure import Figure

    bars = [(f"Gain in {errors}", [(e.column, e.gain, e.low, e.high) for e in importances[:_MOST]])]
    if effects:
        rows = [(f"{e.column} = {e.value}", e.effect, e.low, e.high) for e in effects[:_MOST]]
        bars.append((f"Effect on {answer}", rows))
    heights = [0.9 + 0.25 * len(rows) for _, rows in bars] + [2.6] * ceil(len(dependences) / 3)
    with styled():
        figure = Figure(figsize=(FULL, sum(heights)), layout="constrained")
        grid = figure.add_gridspec(len(heights), 3, height_ratios=heights)
        for place, (title, rows) in enumerate(bars):
            plot = figure.add_subplot(grid[place, :])
            _bars(plot, rows)
            plot.set_xlabel(title)
        for place, each in enumerate(dependences):
            _follow(figure.add_subplot(grid[len(bars) + place // 3, place % 3]), each, answer)
        buffer = BytesIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return buffer.getvalue().decode()


def _bars(plot: Axes, rows: Sequence[tuple[str, float, float, float]]) -> None:
    for place, (_, value, low, high) in enumerate(rows):
        plot.barh([place], [value], height=0.62, color=BLUE if value >= 0 else ORANGE, alpha=0.85)
        plot.plot([low, high], [place, place], color=GREY, linewidth=1.4)
    plot.set_yticks(range(len(rows)), [shortened(name, 44) for name, *_ in rows])
    plot.set_ylim(len(rows) - 0.4, -0.6)
    plot.spines["left"].set_visible(False)


def _follow(plot: Axes, found: Dependence, answer: str) -> None:
    places = range(len(found.values))
    plot.plot(places, found.answers, color=BLUE, marker="o", markersize=4)
    plot.set_xticks(places, [shortened(value, 12) for value in found.values], rotation=45, ha="right")
    plot.set_xlabel(shortened(found.column, 30))
    plot.set_ylabel(shortened(f"Mean {answer}", 40))
