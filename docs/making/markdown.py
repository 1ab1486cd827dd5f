"""Markdown, written so that the same code always gives the same bytes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

__all__ = ["EXAMPLES", "NOTICE", "code", "fragment", "page", "prose", "table"]

NOTICE = "<!-- Made from the code by `make docs`; what is changed here is lost. -->"
EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


def page(title: str, *blocks: str) -> str:
    """A whole page: the notice, the title, and the blocks that are not empty, an empty line between them."""
    return "\n\n".join([NOTICE, f"# {title}", *(block.strip("\n") for block in blocks if block.strip())]) + "\n"


def prose(text: str) -> str:
    """The prose of a docstring as Markdown: literals in single backticks, indented blocks fenced."""
    blocks = [_block(block) for block in re.split(r"\n\s*\n", _joined_code(text))]
    return "\n\n".join(block for block in blocks if block)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table; empty if it has no rows."""
    if not rows:
        return ""
    lines = [_row(head), _row(["---"] * len(head)), *(_row(row) for row in rows)]
    return "\n".join(lines)


def code(text: str) -> str:
    """Text as a literal; empty stays empty."""
    return f"`{text}`" if text else ""


def fragment(*path: str) -> str:
    """What was written by hand for a page, ``docs/examples/…``; empty where nothing was."""
    place = EXAMPLES.joinpath(*path)
    return place.read_text(encoding="utf-8") if place.exists() else ""


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(prose(" ".join(cell.split())).replace("|", "\\|") for cell in cells) + " |"


def _block(block: str) -> str:
    lines = [line.rstrip() for line in block.strip("\n").splitlines()]
    if lines and all(line.startswith("    ") or not line for line in lines):
        inside = "\n".join(line.removeprefix("    ").replace(_EMPTY, "") for line in lines)
        return f"```{_language(inside)}\n{inside}\n```"
    return "\n".join(line.strip() if line.startswith(" ") else line for line in lines).replace("``", "`")


_EMPTY = "\x00"


def _joined_code(text: str) -> str:
    """Empty lines between indented ones are marked, so that a block of code stays one block."""
    return re.sub(r"(\n    [^\n]*)\n\n(?=    )", rf"\1\n    {_EMPTY}\n", text)


def _language(text: str) -> str:
    if text.startswith("["):
        return "toml"
    return "python" if "import " in text else "text"
