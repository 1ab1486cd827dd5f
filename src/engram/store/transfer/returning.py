"""How versions come back that a catalog made anew could not take in as they are.

One whose number another has already came to it by a catalog that was older than the store: it becomes the next one of
its name, with the original as its parent, and aliases that stand on it move along. One that was lost is brought back
from another store that has it.
"""

from __future__ import annotations

from sqlalchemy import Connection, select

from engram.errors import EngramError
from engram.store import described, leases, lost, tables, verify, writing
from engram.store.moves import history
from engram.store.moves.history import Said
from engram.store.places._contract import Place
from engram.store.strays import Stray
from engram.store.transfer import arriving, loads
from engram.store.transfer.loads import Count
from engram.store.verify import Damage
from engram.store.writing import Site

__all__ = ["regain", "renumber"]


def renumber(site: Site, digest: str, said: Said) -> str:
    """Make a version whose number is taken the next one of its name; what it is called now.

    Whoever is interrupted does it again: the original is only removed once everything stands on the other.

    Args:
        site: the store; versions are written plain there.
        digest: of the version as it is.
        said: when, who and why, for the aliases that move.

    Raises:
        StoreError: the store refuses, or the version is damaged.
    """
    load = loads.load(site.place, digest)
    version = described.version(site.place, load.manifest)
    name = version.name
    with site.catalog.reading() as connection:
        called = _successor(connection, name, digest)
    if not called:
        count = Count({}, lambda _progress: None)
        called = arriving.renamed(site, load, name, count, parents=version.parents)
    with site.catalog.reading() as connection:
        standing = [alias for alias, target in history.current(connection, name).items() if target == digest]
    for alias in standing:
        _follow(site, history.parted(alias), called, said)
    marked = site.catalog.write(lambda connection: leases.mark(connection, {digest}, site.now()))
    writing.discard(site, marked)
    return called


def regain(site: Site, source: Place, stray: Stray) -> Damage | None:
    """Bring a lost version back from another place; what is wrong if it cannot be had from there.

    Args:
        site: the store; versions are written plain there.
        source: the other place.
        stray: the version.

    Raises:
        StoreError: the store refuses to be written.
    """
    damage = Damage(stray.digest, stray.fault, (stray.called,), "lost")
    left = verify.repair(site.place, [damage], source)
    if left:
        return left[0]
    try:
        manifest = loads.load(site.place, stray.digest).manifest
        arriving.version(site, loads.Load(source, manifest), "", Count({}, lambda _progress: None))
    except EngramError as refused:
        return Damage(stray.digest, f"{stray.called}: {refused}", (stray.called,), "lost")
    lost.forget(site.place, stray.digest)
    return None


def _successor(connection: Connection, name: str, digest: str) -> str:
    """What a version is called that was made of this one before; empty if there is none."""
    rows = tables.versions
    asked = select(rows.c.number, rows.c.parents).where(rows.c.name == name).order_by(rows.c.number.desc())
    return next((f"{name}:{row.number}" for row in connection.execute(asked) if digest in row.parents[:1]), "")


def _follow(site: Site, path: tuple[str, str], called: str, said: Said) -> None:
    again = history.ANEW

    def action(connection: Connection) -> None:
        nonlocal again
        history.move(connection, path, called, said, force=True)
        again = history.document(connection, site.place, path, again)

    site.catalog.write(action)
