"""Which store a verb works on, and where its reports can be opened."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from engram.lifecycle.answer import Answer
from engram.lifecycle.whole import write
from engram.settings import Settings
from engram.store.store import Store
from engram.store.store import open as _open

__all__ = ["data_place", "open_store", "report_page"]


def open_store(place: str | Path, settings: Settings, trust: Sequence[str | Path] = ()) -> Store:
    """The store at this place, or, for an empty one, the store that the settings name.

    Args:
        place: of the store.
        settings: of this process.
        trust: files of public keys, by one of which a version must be signed; those of the settings if empty.
    """
    return _open(
        place or settings.store,
        who=settings.who,
        answer=Answer(),
        catalog=settings.catalog,
        cache=settings.cache,
        trust=trust or settings.trust,
    )


def data_place(data: str | Path, settings: Settings) -> str:
    """Where data lie that are named without a pipeline file: here, else in the folder that ENGRAM_DATA names."""
    there = settings.data / data if settings.data else None
    return str(data) if there is None or Path(data).exists() or not there.exists() else str(there)


def report_page(reference: str, store: Store) -> Path:
    """The report of a version as a file that a browser opens, written beside the blobs at the first asking.

    Raises:
        VersionNotFound: no such version, or it holds no report.
    """
    version = store.version(reference)
    page = Path(store.folder, "reports", f"{version.name}-{version.number}-{version.digest[7:15]}.html")
    if not page.exists():
        content = store.report(reference).page
        page.parent.mkdir(exist_ok=True)
        write(page, content, "make the store writable")
    return page
