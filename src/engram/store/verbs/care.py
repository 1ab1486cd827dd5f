"""Looking after a store: what is damaged, what nobody needs, and what another store has or lacks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta

from sqlalchemy import Connection

from engram.errors import StoreError, UsageError, VersionNotFound
from engram.plugins import nearest
from engram.records import Progress, Watch
from engram.store import given, leases, lost, rebuild, strays, sweep, verify, writing
from engram.store.differences import demotion
from engram.store.moves import history
from engram.store.moves.history import Said
from engram.store.rebuild import Rebuilt, Remembered
from engram.store.signatures import kept
from engram.store.sweep import Swept
from engram.store.training import runs
from engram.store.transfer import choosing, moving, returning
from engram.store.transfer.moving import Moved
from engram.store.verbs._opened import Opened
from engram.store.verify import Damage

__all__ = ["Care"]

_GRACE = timedelta(hours=1)

Tell = Callable[[int, int], None]


def _ignore(_done: int, _total: int) -> None:
    """Nobody is watching."""


def _unwatched(_progress: Progress) -> None:
    """Nobody is watching."""


class Care(Opened):
    """The verbs about the store as a whole."""

    def verify(self, reference: str = "", *, tell: Tell = _ignore) -> list[Damage]:
        """Hash everything that a version or a checkpoint needs, and name what is damaged and what that hurts.

        Of a whole store also what the catalog does not know, the documents of its aliases, and its signatures as far
        as that can be told without a key.

        Args:
            reference: of the one version to look at; empty for all there is.
            tell: called with the blobs hashed so far and in all.
        """
        only = self._digest(reference) if reference else ""
        with self._reading() as connection:
            wanted = verify.needed(connection, only)
        others = [] if only else self._others()
        damaged = verify.verify(self._place, wanted, tell)
        if damaged and not only:
            with self._reading() as connection:  # what was let go of meanwhile need not be there any more
                wanted = verify.needed(connection)
        if not only and not any(damage.kind in {"unknown", "lost"} for damage in others):
            self._index.check()
        return [*(damage for damage in damaged if damage.digest in wanted), *others]

    def _others(self) -> list[Damage]:
        """What is wrong with the store besides its blobs.

        Each sees the catalog as it is after the place was listed: what came in between must not look forgotten.
        """
        with self._reading() as connection:
            found = strays.look(self._plain, connection)
        with self._reading() as connection:
            moves = history.damaged(connection, self._plain)
        with self._reading() as connection:
            signed = kept.damaged(connection, self._plain, self._trust)
        unknown = [Damage(one.digest, one.fault, (one.called,), "lost" if one.lost else "unknown") for one in found]
        return [*unknown, *moves, *signed]

    def repair(self, other: Opened, *, tell: Tell = _ignore) -> tuple[list[Damage], list[Damage]]:
        """Bring damaged blobs back from another store: those that were, and those that still are damaged.

        Args:
            other: any store that has them.
            tell: called with the blobs hashed so far and in all.

        Raises:
            StoreError: this store refuses to be written.
        """
        source = given.record(other, Opened, "the other store", "Store")
        source._there()  # noqa: SLF001 - both are stores
        regained = self._regained(source)
        for name in [damage.digest for damage in self._others() if damage.kind == "signature"]:
            with suppress(StoreError):  # what comes is looked at below
                self._plain.write(name, source._plain.document(name))  # noqa: SLF001 - both are stores
        damaged = self.verify(tell=tell)
        blobs = [damage for damage in damaged if damage.kind == "blob"]
        left = verify.repair(self._place, blobs, source._place)  # noqa: SLF001 - both are stores
        for alias in {alias for damage in damaged if damage.kind == "document" for alias in damage.hurts}:
            self._document(alias)  # what the catalog knows needs no other store
        mended = [damage for damage in damaged if damage.kind in {"blob", "document"} and damage not in left]
        lost = {damage.digest for damage in left}
        return (
            [*regained, *(damage for damage in mended if damage.digest not in lost)],
            [*left, *(damage for damage in damaged if damage.kind not in {"blob", "document"})],
        )

    def _regained(self, source: Opened) -> list[Damage]:
        """The lost versions that could be brought back from another store."""
        with self._reading() as connection:
            gone = [one for one in strays.look(self._plain, connection) if one.lost]
        back = [one for one in gone if returning.regain(self._released, source._place, one) is None]  # noqa: SLF001 - both are stores
        if back:
            self._index.publish()
        return [Damage(one.digest, one.fault, (one.called,), "lost") for one in back]

    def _document(self, alias: str) -> None:
        path = history.parted(alias)

        def action(connection: Connection) -> None:
            history.demand_newest(connection, self._plain, path)
            history.document(connection, self._plain, path, 1)

        self._catalog.write(action)

    def rebuild(self, *, tell: Tell = _ignore) -> Rebuilt:
        """Make the catalog anew from the blobs and documents; the present one is put aside.

        Args:
            tell: called with the manifests read so far, and 0 because nobody knows how many there are.

        Raises:
            StoreError: there is no store, or it refuses to be written.
        """
        self._there()
        known = self._known()

        def action(connection: Connection) -> Rebuilt:  # looks while writers are excluded; no manifest is a difference
            return rebuild.fill(connection, self._place, rebuild.look(self._plain, known, tell))

        made = self._catalog.anew(action)
        self._index.publish()
        return made if not made.twice else self._renumbered(made)

    def _known(self) -> Remembered:
        """What the present catalog knows, as far as it can be read."""
        try:
            with self._catalog.reading() as connection:
                return rebuild.remember(connection)
        except StoreError:
            return Remembered()

    def _renumbered(self, made: Rebuilt) -> Rebuilt:
        """Give those versions whose number is taken the next ones."""
        called = dict[str, str]()
        for digest, was in made.twice.items():
            said = Said(self._now(), self.who, f"{was} was given out twice, by a catalog that was older than the store")
            called[digest] = returning.renumber(self._released, digest, said)
        self._index.publish()
        return replace(made, versions=made.versions + len(called), renumbered=called)

    def forget(self, what: str) -> str:
        """Give up a version that ``verify`` calls lost, so that a sweep may free what it needed; its name.

        Args:
            what: ``income:7``, or the digest, as verify names it.

        Raises:
            VersionNotFound: nothing of that name is lost.
            UsageError: an alias points at it.
        """
        wanted = given.text(what, "the lost version", "income:7")
        with self._reading() as connection:
            aliases = history.current(connection)
            gone = {one.digest: one.called for one in strays.look(self._plain, connection) if one.lost}
        chosen = [digest for digest, called in gone.items() if wanted in {digest, called}]
        if not chosen:
            raise VersionNotFound(f"no version {wanted!r} is lost in {self.url}; {nearest(wanted, gone.values())}")
        for alias, target in aliases.items():
            if target in chosen:
                raise UsageError(
                    f"{alias} points at {wanted}, which is lost; move it first with engram alias {alias} REF"
                )
        for digest in chosen:
            lost.forget(self._plain, digest)
            writing.discard(self._site, self._catalog.write(lambda c: leases.mark(c, {digest}, self._now())))  # noqa: B023 - called at once
        return gone[chosen[0]]

    def sweep(self, *, dry_run: bool = False, grace: timedelta | float = _GRACE, tell: Tell = _ignore) -> Swept:
        """Free what no version, alias, run or writer reaches; old checkpoints become differences on the way.

        Args:
            dry_run: only say what would be freed.
            grace: how long what is found loose is left alone before it is removed; a number is in hours.
            tell: called with the blobs removed so far and in all.

        Raises:
            StoreError: the store refuses; what was not removed is still there. Or it has versions or checkpoints that
                its catalog does not know, which a sweep would take for waste.
        """
        waits = given.duration(grace, "grace")
        self._there()
        with self._reading() as connection:
            abandoned = history.abandoned(connection, self._plain)
        for path in [] if dry_run else abandoned:  # before the leases that tell of them are forgotten
            self._catalog.write(lambda connection: history.document(connection, self._plain, path, 1))  # noqa: B023 - called at once
        with self._reading() as connection:
            strays.demand_none(self._plain, connection)
        if dry_run:
            with self._reading() as connection:
                return sweep.plan(self._site, connection, waits)
        for of_run in self._ended():
            demotion.demote(self._site, of_run)
        demotion.tidy(self._site)
        return sweep.sweep(self._site, waits, tell)

    def push(self, to: Opened, what: Sequence[str] = (), *, name: str = "", watch: Watch = _unwatched) -> Moved:
        """Bring versions and runs to another store; only what it lacks is moved.

        A run may be trained meanwhile: checkpoints that its retention lets go of before they are moved are left out.

        Args:
            to: the other store; it is made if there is none.
            what: references and ids of runs; everything if empty.
            name: under which versions are taken in there as the next ones; empty keeps names and numbers.
            watch: told how far it has come: what is read and compared, and then the bytes that are moved.

        Raises:
            UsageError: the other store has another version with the number of one of these.
            VersionNotFound: there is no such version or run.
            StoreError: a store refuses, or a blob is damaged here; what was moved stays, and asking again goes on.
            Interrupted: Ctrl-C was pressed; likewise, and the message says what has arrived.
        """
        return _moved(self, to, what, name=name, watch=watch)

    def pull(self, source: Opened, what: Sequence[str] = (), *, name: str = "", watch: Watch = _unwatched) -> Moved:
        """Bring versions and runs here from another store, as ``push`` does from there."""
        return _moved(source, self, what, name=name, watch=watch)

    def _ended(self) -> list[str]:
        """The runs that nobody adds checkpoints to."""
        with self._reading() as connection:
            return [run.id for run in runs.every(connection) if run.status != "running"]


def _moved(source: Opened, target: Opened, what: Sequence[str], *, name: str, watch: Watch) -> Moved:
    for one in (source, target):
        given.record(one, Opened, "the other store", "Store")
    given.words(what, "what", "income:7")
    if source.url == target.url or source.folder.resolve() == target.folder.resolve():
        raise UsageError(f"both are the store at {source.url}; name another one")
    with source._reading() as connection:  # noqa: SLF001 - all are stores
        choice = choosing.chosen(connection, what)
    if name:
        choice = choosing.alone(choice, name)
    try:
        return moving.move(source._site, target._released, choice, name=name, watch=watch)  # noqa: SLF001 - likewise
    finally:  # also what came over before it was refused
        if target.exists():
            target._index.publish()  # noqa: SLF001 - likewise
