"""The pages, and what is fenced in them."""

import re
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FENCED = re.compile(r"^( *)```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="session")
def root():
    return ROOT


@pytest.fixture(scope="session")
def pages():
    """Every page a reader opens: path from the root → text. The fragments that pages are made of are not pages."""
    files = [ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md")]
    files += [path for path in (ROOT / "docs").rglob("*.md") if path.parts[len(ROOT.parts) + 1] != "examples"]
    return {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in sorted(files)}


@pytest.fixture(scope="session")
def fenced(pages):
    """The fenced blocks of a language: (page, block), or those of one page alone."""

    def find(language, page=""):
        chosen = {page: pages[page]} if page else pages
        found = [(name, block) for name, text in chosen.items() for block in FENCED.findall(text)]
        return [(name, textwrap.dedent(text)) for name, (_, kind, text) in found if kind == language]

    return find
