"""How every picture of a report looks, in one place.

Pictures are SVG with their text as text, so that they are small, sharp and readable by a screen reader; clouds of
points are pixels inside, so that they stay small too. One color has one meaning throughout: blue is this model, grey
is what it is compared with, orange is what went wrong (both told apart by color-blind readers, Okabe and Ito 2008).
"""

from __future__ import annotations

import io
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from engram.records import Picture

__all__ = ["BLUE", "FULL", "GREY", "INK", "ORANGE", "PURPLE", "axes", "picture", "shortened", "styled"]

WIDTH = 5.2
FULL = 10.8
INK = "#1f2933"
GREY = "#7b8794"
BLUE = "#0b6bb5"
ORANGE = "#d55e00"
PURPLE = "#a6529a"

_FONTS = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', 'DejaVu Sans', sans-serif"
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "engram",
    "text.parse_math": False,  # a label like "$5" is no formula
    "font.family": ["DejaVu Sans"],
    "font.size": 9,
    "text.color": INK,
    "axes.edgecolor": "#9aa5b1",
    "axes.labelcolor": "#52606d",
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.unicode_minus": True,
    "axes.formatter.use_mathtext": False,
    "axes.formatter.limits": (-4, 6),
    "grid.color": "#e4e7eb",
    "grid.linewidth": 0.8,
    "xtick.color": "#9aa5b1",
    "ytick.color": "#9aa5b1",
    "xtick.labelcolor": "#52606d",
    "ytick.labelcolor": "#52606d",
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "xtick.major.size": 3,
    "ytick.major.size": 0,
    "lines.linewidth": 1.8,
    "lines.solid_capstyle": "round",
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "legend.handlelength": 1.4,
    "path.simplify": True,
}
_ONE_AT_A_TIME = threading.Lock()


@contextmanager
def styled() -> Iterator[None]:
    """The style, for as long as pictures are drawn; matplotlib keeps it for the whole process, so one at a time."""
    with _ONE_AT_A_TIME, mpl.rc_context(_STYLE), warnings.catch_warnings():
        # Labels in a script that the measuring font lacks are measured a little wrong, and shown by the reader's font.
        warnings.filterwarnings("ignore", message="Glyph")
        yield


def axes(width: float = WIDTH, height: float = 3.4, grid: str = "y") -> Axes:
    """An empty plot with grid lines across ``x``, ``y``, ``both`` or none (``""``).

    It is ``WIDTH`` or ``FULL`` inches wide, half a page or all of it, so that letters are equally large everywhere.
    """
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasSVG(figure)
    plot = figure.add_subplot()
    if grid == "both":
        plot.grid(visible=True)
    elif grid:
        plot.grid(visible=True, axis="x" if grid == "x" else "y")
    return plot


def picture(name: str, title: str, caption: str, plot: Axes) -> Picture:
    """The finished plot as a picture: SVG on no background, in the fonts of the reader's system."""
    figure = plot.get_figure(root=True)
    assert figure is not None
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", transparent=True, dpi=170, metadata={"Date": None, "Creator": None})
    content = buffer.getvalue().replace(b"'DejaVu Sans'", _FONTS.encode())
    return Picture(name, title, caption, "image/svg+xml", content)


def shortened(text: str, longest: int = 22) -> str:
    """A label that leaves room for the plot, without characters that SVG forbids or that turn text around."""
    line = "".join(letter for letter in " ".join(text.split()) if letter.isprintable())
    tail = longest // 3
    return line if len(line) <= longest else f"{line[: longest - tail - 1]}…{line[-tail:]}"
