"""Commands that look after a store as a whole: verify, sweep, push, pull."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from engram.cli.bars import halting, watching
from engram.cli.certificates import verified
from engram.cli.terminal import JSON, STORE, notice, say, show_json, size, table, when
from engram.cli.versions import opened_store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from engram.errors import StoreError
    from engram.records import Watch
    from engram.store.rebuild import Rebuilt
    from engram.store.store import Store
    from engram.store.transfer.moving import Moved
    from engram.store.verify import Damage

__all__ = ["COMMANDS"]

_SHOWN = 10
_WHAT = typer.Argument(None, help="Versions and runs (default: everything there is).", metavar="[REF|RUN]…")
_AS = typer.Option(
    "", "--as", help="Take the versions in as the next ones of this name.", metavar="NAME", show_default=False
)


def verify(
    reference: str = typer.Argument(
        "",
        help="One version, or a file with its certificate beside it (default: the whole store).",
        metavar="[REF|FILE]",
    ),
    key: str = typer.Option(
        "", "--key", help="Also check that the version is signed by this public key.", metavar="KEY.pem"
    ),
    rebuild: bool = typer.Option(False, "--rebuild", help="Make the catalog anew from the blobs first."),
    repair: str = typer.Option(
        "", "--repair", help="Bring damaged blobs back from this store.", metavar="STORE", show_default=False
    ),
    forget: str = typer.Option(
        "",
        "--forget",
        help="Give up a version that is lost, so that what it needed may be freed.",
        metavar="REF",
        show_default=False,
    ),
    store: str = STORE,
    json: bool = JSON,
) -> None:
    """Hash every blob again, and name what is damaged; or prove a file again that was exported or converted."""
    file = _is_file(reference)
    _sensible(reference, key, whole=rebuild or bool(repair) or bool(forget), file=file)
    if file:
        verified(Path(reference), json=json)
        return
    opened = opened_store(store)
    forgotten = opened.forget(forget) if forget else ""
    with watching(quiet=json) as watch:
        made = opened.rebuild(tell=_counted(watch, "reading")) if rebuild else None
        mended, damaged = _damaged(opened, reference, repair, watch)
        signed = opened.verify_signature(reference, key, _counted(watch, "checking")) if key and not damaged else None
    if json:
        show_json({
            "damaged": [asdict(damage) for damage in damaged],
            "repaired": [damage.digest for damage in mended],
            "rebuilt": asdict(made) if made else None,
            "signed": signed.key.id if signed else None,
        })  # fmt: skip
    else:
        if forgotten:
            say(f"[green]✓[/] [bold]{forgotten}[/] is given up; engram sweep frees what nothing else needs")
        _show_rebuilt(made)
        for damage in mended:
            say(f"[green]✓[/] {damage.digest} was brought back from {repair}")
        for damage in damaged:
            say(f"[red]✗[/] {damage.digest}: {damage.fault}" + (f"; hurts {_hurt(damage)}" if damage.hurts else ""))
    if damaged:
        raise _refusal(damaged, repaired=bool(repair))
    if not json:
        say("[green]✓[/] every blob is what its digest says")
        if signed:
            say(f"[green]✓[/] [bold]{signed.reference}[/] is signed by {signed.key.id} ({signed.key.curve})")


def _show_rebuilt(made: Rebuilt | None) -> None:
    if made is None:
        return
    counts = f"{made.versions:,} versions, {made.checkpoints:,} checkpoints and {made.moves:,} moves of aliases"
    say(f"[green]✓[/] the catalog was made anew: {counts}")
    for passed in made.passed:
        notice(f"passed over: {passed}")
    for digest, called in made.renumbered.items():
        notice(f"{made.twice[digest]} was there twice; the later one is {called} now")


def _refusal(damaged: list[Damage], *, repaired: bool) -> StoreError:
    """How much is wrong, and what to do about each kind of it."""
    from engram.errors import StoreError

    copy = "restore them from a backup" if repaired else "bring them back with engram verify --repair OTHER-STORE"
    said = {
        "blob": ("damaged: 1 blob", "damaged: {} blobs", copy),
        "lost": ("lost: 1 version", "lost: {} versions", "--repair OTHER-STORE brings back, --forget REF gives up"),
        "unknown": ("not in the catalog, which is older: 1", "not in the catalog, which is older: {}", "run --rebuild"),
        "document": ("damaged: 1 document of an alias", "damaged: {} documents of aliases", "--repair writes anew"),
        "signature": ("damaged: 1 signature", "damaged: {} signatures", "sign those versions anew"),
    }
    counted = {kind: sum(damage.kind == kind for damage in damaged) for kind in said}
    sentences = [
        f"{one if counted[kind] == 1 else many.format(counted[kind])}; {advice}"
        for kind, (one, many, advice) in said.items()
        if counted[kind]
    ]
    return StoreError(". ".join(sentences))


def sweep(
    dry_run: bool = typer.Option(False, "--dry-run", help="Only print what would be freed."),
    grace: float = typer.Option(
        1.0, "--grace", min=0.0, help="Hours that a blob which nothing needs is left alone first.", metavar="HOURS"
    ),
    store: str = STORE,
    json: bool = JSON,
) -> None:
    """Free what no version, alias, run or writer needs any more; it may run beside writers."""
    opened = opened_store(store)
    with watching(quiet=json) as watch:
        swept = opened.sweep(dry_run=dry_run, grace=grace, tell=_counted(watch, "sweeping"))
    if json:
        show_json(asdict(swept))
        return
    if dry_run and swept.freed:
        largest = sorted(swept.freed.items(), key=lambda item: (-item[1], item[0]))
        table(("blob", "size"), [(digest, size(count)) for digest, count in largest[:_SHOWN]], right=("size",))
        if len(largest) > _SHOWN:
            say(f"… and {len(largest) - _SHOWN:,} more")
    freed, waiting = sum(swept.freed.values()), sum(swept.waiting.values())
    done = "would free" if dry_run else "freed"
    say(f"[green]✓[/] {done} {size(freed)} in {len(swept.freed):,} blobs; {size(swept.held)} stay")
    if swept.waiting and swept.until:
        say(
            f"{size(waiting)} in {len(swept.waiting):,} blobs wait until {when(swept.until)} or a writer is done; "
            "free them at once with: engram sweep --grace 0"
        )


def push(
    to: str = typer.Argument(..., help="The other store: a folder or a URL (s3://…).", metavar="STORE"),
    what: list[str] = _WHAT,
    name: str = _AS,
    store: str = STORE,
    json: bool = JSON,
) -> None:
    """Bring versions and runs to another store; only what it lacks is moved."""
    _named(to)
    with _moving(quiet=json) as watch:
        moved = opened_store(store).push(opened_store(to), what or (), name=name, watch=watch)
    _tell(moved, to, json=json)


def pull(
    source: str = typer.Argument(..., help="The other store: a folder or a URL (s3://…).", metavar="STORE"),
    what: list[str] = _WHAT,
    name: str = _AS,
    store: str = STORE,
    json: bool = JSON,
) -> None:
    """Bring versions and runs here from another store; only what is missing is moved."""
    _named(source)
    with _moving(quiet=json) as watch:
        moved = opened_store(store).pull(opened_store(source), what or (), name=name, watch=watch)
    _tell(moved, "this store", json=json)


def _damaged(opened: Store, reference: str, repair: str, watch: Watch) -> tuple[list[Damage], list[Damage]]:
    """What was damaged and is repaired, and what is damaged."""
    tell = _counted(watch, "hashing")
    if repair:
        return opened.repair(opened_store(repair), tell=tell)
    return [], opened.verify(reference, tell=tell)


def _sensible(reference: str, key: str, *, whole: bool, file: bool) -> None:
    """Refuse options that say nothing of what is to be verified."""
    from engram.errors import UsageError

    if file and (key or whole):
        raise UsageError(
            f"--key, --rebuild, --repair and --forget are about a store, but {reference} is a file; leave them out"
        )
    if key and not reference:
        raise UsageError(f"--key {key} checks who signed one version; say which, as in engram verify REF --key {key}")
    if reference and whole:
        raise UsageError(f"--rebuild, --repair and --forget are about the whole store, not {reference}; leave it out")


def _is_file(reference: str) -> bool:
    """Whether a file is meant and no version: one that has a certificate, or is there and could be no reference."""
    if not reference:
        return False
    certified = Path(f"{reference.rstrip('/')}.certificate.json").exists()
    return certified or (Path(reference).exists() and ("/" in reference or "." in reference))


def _named(other: str) -> None:
    from engram.errors import UsageError

    if not other:
        raise UsageError("the other store is empty; name a folder or a URL such as s3://bucket/networks")


@contextmanager
def _moving(*, quiet: bool) -> Iterator[Watch]:
    """Show the progress of what is moved inside; Ctrl-C ends it between two pieces."""
    from engram.records import Progress

    note = "stopping as soon as what is just on its way has arrived"
    with watching(quiet=quiet) as watch, halting(watch, note) as halt:

        def see(progress: Progress) -> None:
            watch(progress)
            if halt():
                raise KeyboardInterrupt

        yield see


def _tell(moved: Moved, to: str, *, json: bool) -> None:
    if json:
        show_json(asdict(moved))
        return
    more = f" and {len(moved.versions) - _SHOWN:,} more" if len(moved.versions) > _SHOWN else ""
    named = ", ".join(moved.versions[:_SHOWN]) + more
    parts = [f"versions: {named}"] if named else []
    parts += [f"checkpoints: {moved.checkpoints:,}"] if moved.checkpoints else []
    parts += [f"histories of aliases: {moved.aliases:,}"] if moved.aliases else []
    missing = f"{size(moved.size)} in {moved.blobs:,} blobs were missing"
    say(f"[green]✓[/] {to} has {'; '.join(parts) or 'nothing to take'} ({missing})")
    if moved.apart:
        more = f" and {len(moved.apart) - _SHOWN:,} more" if len(moved.apart) > _SHOWN else ""
        notice(
            f"{', '.join(moved.apart[:_SHOWN])}{more} point elsewhere in the two stores and were left alone; engram "
            "alias moves one"
        )
    if moved.left_out:
        were = "checkpoint was" if moved.left_out == 1 else "checkpoints were"
        notice(
            f"{moved.left_out:,} {were} let go of meanwhile, as the retention of the run says, and left out; the same "
            "command brings those that are held now"
        )


def _counted(watch: Watch, stage: str) -> Callable[[int, int], None]:
    from engram.records import Progress

    return lambda done, total: watch(Progress(stage, done, total))


def _hurt(damage: Damage) -> str:
    more = f" and {len(damage.hurts) - _SHOWN} more" if len(damage.hurts) > _SHOWN else ""
    return ", ".join(damage.hurts[:_SHOWN]) + more


COMMANDS = (verify, sweep, push, pull)
