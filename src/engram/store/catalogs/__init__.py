"""Where a store keeps its catalog: one plug-in a kind of catalog.

``open(place, url)`` gives the ``Catalog`` of ``_contract.py`` for a place. A folder has a SQLite file beside its blobs;
an object store, which cannot have one, keeps a journal of itself; a team gives the URL of a PostgreSQL database. Which
one a store has is written down in it, so that nobody ever begins a second one beside the first, and what a store says
goes before what is wanted: who works with several stores has one environment for all of them.
"""

from __future__ import annotations

import json
from pathlib import Path
from secrets import token_hex

from engram.errors import StoreError
from engram.plugins import Shelf
from engram.store.catalogs import _urls as urls
from engram.store.catalogs._contract import Catalog, Site
from engram.store.places import kind
from engram.store.places._contract import Place

__all__ = ["SHELF", "find"]

SHELF = Shelf("engram.store.catalogs", "catalog", ("open",))
_NOTE = "catalog.json"


def find(place: Place, folder: Path, wanted: str = "") -> Catalog:
    """The catalog of a place: the one that it has, or else the one that is wanted, or else the usual one.

    Args:
        place: where the blobs are.
        folder: on this machine: that of the store, or one for what is held in memory of a remote place.
        wanted: the URL of a database, for a place that has no catalog yet. Where it is the database that the place
            has, it also says who connects and how; any other is passed over, because it is meant for other stores.
    """
    noted = _noted(place)
    if noted is None and (not wanted or _own(place, folder)):
        name = "sqlite" if kind(place.url) == "folder" else "journal"
        return _taken(name, Site(place, folder))
    note, url = "", wanted
    if noted is not None and not urls.same(noted["url"], wanted):
        url = noted["url"]
        note = f"{_NOTE} of {place.url} says that it is there; write its new URL there if it has moved"
    site = Site(place, folder, url, lambda make: _schema(place, urls.bare(url), make=make), note)
    return _taken(_kind(site.url), site)


def _schema(place: Place, url: str, *, make: bool) -> str:
    """The schema that the place has in its database; one is chosen and written down where there is none."""
    noted = _noted(place)
    if noted is None and make:
        place.prepare()
        _first(place, json.dumps({"schema": f"engram_{token_hex(4)}", "url": url}, sort_keys=True).encode())
        noted = _noted(place)  # of whoever was first
    if noted is not None and not urls.same(noted["url"], url):
        raise StoreError(f"somebody else has just given {place.url} a catalog in {noted['url']}; use that one")
    return noted["schema"] if noted else ""


def _first(place: Place, note: bytes) -> None:
    """Write the note down; a server that cannot say who was first has the last one, which is then read by all."""
    try:
        place.create(_NOTE, note)
    except StoreError:
        place.write(_NOTE, note)


def _own(place: Place, folder: Path) -> bool:
    """Whether the place has a catalog that no note speaks of: a file beside its blobs, or a journal."""
    return (folder / "catalog.db").exists() if kind(place.url) == "folder" else bool(place.documents("journal/"))


def _taken(name: str, site: Site) -> Catalog:
    found: Catalog = SHELF.take(name).open(site)
    return found


def _kind(url: str) -> str:
    """The plug-in for a URL; a scheme may name its driver (``postgresql+psycopg://``)."""
    name = url.partition("://")[0].partition("+")[0]
    return {"postgres": "postgresql"}.get(name, name)


def _noted(place: Place) -> dict[str, str] | None:
    """What the place says of its catalog."""
    if not place.exists() or _NOTE not in place.documents(_NOTE):
        return None
    try:
        found = json.loads(place.document(_NOTE))
        return {"url": str(found["url"]), "schema": str(found["schema"])}
    except (ValueError, KeyError, TypeError) as wrong:
        raise StoreError(
            f"{_NOTE} in {place.url} does not say where the catalog is; bring back a copy of it"
        ) from wrong
