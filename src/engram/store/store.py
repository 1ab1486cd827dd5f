"""The store: kept versions, the aliases that point at them, and the runs that made them.

This file only puts the parts together: a place for the blobs, a catalog of what is known of them, and the verbs of
``verbs``. Nothing is made until something is written.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

from engram.records import Model, Prediction
from engram.store import catalogs, given, places
from engram.store.differences import demoted, series
from engram.store.verbs._opened import Parts
from engram.store.verbs.aliases import Aliases
from engram.store.verbs.care import Care
from engram.store.verbs.loops import Loops
from engram.store.verbs.relations import Relations
from engram.store.verbs.signatures import Signatures
from engram.store.verbs.versions import Versions

__all__ = ["Store", "now", "open"]


def now() -> datetime:
    """The present moment, UTC."""
    return datetime.now(UTC)


class Store(Versions, Aliases, Relations, Loops, Care, Signatures):
    """Where kept versions live."""


def open(  # noqa: A001 - what one does with a store, and all it can be given
    place: str | Path,
    *,
    who: str,
    clock: Callable[[], datetime] = now,
    answer: Callable[[Model, Any], Prediction] | None = None,
    catalog: str = "",
    cache: Path | None = None,
    trust: Sequence[str | Path] = (),
) -> Store:
    """The store at a place; it is made with the first thing that is kept in it.

    Args:
        place: a folder, or the URL of an object store (``s3://bucket/networks``).
        who: is written into the history of aliases.
        clock: tells the time, with its zone.
        answer: the runtime handed to every model that is loaded.
        catalog: URL of a database for the catalog of a store that has none yet (``postgresql://…``).
        cache: folder for what is remembered of remote places; ``~/.cache/engram`` if None.
        trust: files of public keys, by one of which a version must be signed; empty leaves it to the store.
    """
    url = given.text(str(place) if isinstance(place, Path) else place, "the store", "engrams or s3://bucket/networks")
    stands = places.open(url)
    folder = Path(url) if places.kind(url) == "folder" else _remembered(stands.url, cache)
    found = catalogs.find(stands, folder, catalog)
    whole = demoted.over(stands, series.known(found))
    return Store(Parts(whole, stands, found, folder, who, clock, answer, tuple(trust)))


def _remembered(url: str, cache: Path | None) -> Path:
    """The folder on this machine for a remote place."""
    root = cache or Path.home() / ".cache" / "engram"
    return root / sha256(url.encode()).hexdigest()[:16]
