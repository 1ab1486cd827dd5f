"""What every kind of catalog can do for a store."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from sqlalchemy import Connection

from engram.store.places._contract import Place

__all__ = ["Catalog", "Site", "lost"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Site:
    """Where a catalog is to be.

    Attributes:
        place: of the blobs it speaks of.
        folder: on this machine: that of the store, or one for what is held in memory of a remote place.
        url: of a database; empty where the catalog lies with the blobs.
        schema: within the database, so that several stores share one; called with whether to choose one, and to write
            it down in the place, where there is none yet; empty if there is none.
        note: why it is this database, for errors; empty where whoever opens the store has said so.
    """

    place: Place
    folder: Path
    url: str = ""
    schema: Callable[[bool], str] = lambda _make: ""
    note: str = ""


def lost(where: str) -> str:
    """The sentence for a catalog that is not there."""
    return (
        f"there is no catalog at {where}; choose the right folder with --store, or make it anew from the blobs with "
        "engram verify --rebuild"
    )


class Catalog(Protocol):
    """A database with the tables of ``tables``.

    Every method raises ``StoreError``, a sentence that names the database, where it refuses.
    """

    url: str

    def prepare(self) -> None:
        """Make the tables where there are none yet, and nothing is kept that tables would have to know."""
        ...

    def reading(self) -> AbstractContextManager[Connection]:
        """A transaction that sees one state of the catalog and changes nothing."""
        ...

    def write(self, action: Callable[[Connection], T]) -> T:
        """What an action returns that ran in a transaction which excludes all other writers, durable on return.

        Args:
            action: may be called again where another writer was faster or the database went away, each time on a
                connection that knows nothing of the time before; so it must have no effect beyond the connection
                that may not happen twice.
        """
        ...

    def anew(self, action: Callable[[Connection], T]) -> T:
        """What an action returns that filled empty tables, which then are the catalog; the present one is put aside.

        The action looks at what there is while writers wait: what they were told is kept, they find afterwards. It may
        be called again, as for ``write``.
        """
        ...
