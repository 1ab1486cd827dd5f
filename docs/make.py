# ruff: noqa: INP001 - a script
"""Write the reference pages from the code, or with ``--check`` only say whether they are as the code is.

The pages are kept in the repository, so that they can be read without running anything; a test compares them. Pages of
plug-ins that are gone are removed.
"""

from __future__ import annotations

import sys
from pathlib import Path

from making import commands, conversions, markdown, reference, sections, shelves

FOLDER = Path(__file__).resolve().parent


def pages() -> dict[str, str]:
    """Every page that is made from the code, its path under ``docs/`` → its text."""
    return {**shelves.write(), **commands.write(), **sections.write(), **reference.write(), **conversions.write()}


def written() -> dict[str, str]:
    """The made pages as they lie there now, known by their first line."""
    texts = {path.relative_to(FOLDER).as_posix(): path.read_text(encoding="utf-8") for path in FOLDER.rglob("*.md")}
    return {name: text for name, text in texts.items() if text.startswith(markdown.NOTICE)}


def main() -> int:
    """Write or check; the exit code says whether anything was out of date."""
    wanted, there = pages(), written()
    changed = sorted(name for name in wanted | there if wanted.get(name) != there.get(name))
    if "--check" in sys.argv[1:]:
        sys.stdout.writelines(f"docs/{name} is not as the code is; run make docs\n" for name in changed)
        return 1 if changed else 0
    for name in changed:
        place = FOLDER / name
        if name in wanted:
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(wanted[name], encoding="utf-8")
        else:
            place.unlink()
    sys.stdout.write(f"{len(wanted)} pages, {len(changed)} changed\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
