"""``resume``: going on with a run from its last checkpoint, or beginning another at any that is held.

The lock file is kept with the run, so all that a resumed run needs beside the store is its data, wherever they lie now:
their digest is compared before anything is trained.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from engram.errors import DataError, UsageError, VersionNotFound
from engram.lifecycle.prepare import versions
from engram.lifecycle.run import Hands, identity, ready, trained
from engram.pipelines.parse import located, parse
from engram.records import Checkpoint, Pipeline, Run, Version, Watch
from engram.settings import Settings
from engram.store.store import Store
from engram.store.training.runs import Saved

__all__ = ["resume"]

_COMPUTE = ("torch", "numpy", "onnxruntime")  # whose other versions may compute other bits


def resume(
    run: str,
    *,
    store: Store,
    settings: Settings,
    watch: Watch,
    halt: Callable[[], bool],
    at: int | None = None,
    folder: str = "",
) -> Version:
    """Go on with a run; its end is, bit for bit, that of a run never interrupted.

    Args:
        run: its id.
        store: that holds it, and where checkpoints and the version go.
        settings: of this process.
        watch: told about the progress.
        halt: whether to stop at the next step.
        at: the step of a checkpoint that is held; a new run begins there, and the old one stays as it is. None goes on
            with the run itself from its last.
        folder: where relative paths start; empty for where they started when the run began.

    Raises:
        VersionNotFound: the store has no such run, or holds no such checkpoint of it.
        UsageError: the run is already kept, is being trained, was trained by a script of its own, or was begun with
            other versions of the libraries.
        DataError: the data have changed since.
    """
    record = store.run(run)
    _refuse_script(record)
    chosen = None if at is None else _held(record, at, store)
    if chosen is None:
        _refuse_kept(record)
    described = parse(record.lock, name=record.name, folder=folder or record.folder)
    _same_libraries(record, described)
    hands = Hands(store, settings, watch, halt, folder)
    with located(described.text, f"{record.name}.lock.toml"), _elsewhere(record, folder):
        prepared = ready(described, hands)
    if chosen is not None:
        record = _branched(record, chosen, hands)
    with located(described.text, f"{record.name}.lock.toml"):
        return trained(prepared, record, hands, _start)


def _refuse_script(record: Run) -> None:
    if not record.lock:
        raise UsageError(
            f"run {record.id} was trained by a script and not by a pipeline file, so only that script can go on with "
            f"it: call store.restore(module, optimizer, run={record.id!r}) there, before its loop"
        )


def _refuse_kept(record: Run) -> None:
    if record.status == "kept":
        raise UsageError(
            f"run {record.id} is finished and kept as {record.version[:19]}…; start another with engram run, or from "
            "one of its checkpoints with --at STEP"
        )


def _held(record: Run, step: int, store: Store) -> Saved:
    """The newest checkpoint of a run at this step."""
    there = store.checkpoints(record.id)
    for saved in there:
        if saved.step == step:
            return saved
    steps = ", ".join(f"{one:,}" for one in sorted({saved.step for saved in there}))
    raise VersionNotFound(
        f"run {record.id} holds no checkpoint of step {step:,}; "
        + (f"it holds those of {steps}" if steps else "it holds none, so run it anew")
    )


@contextmanager
def _elsewhere(record: Run, folder: str) -> Iterator[None]:
    """What fails where the folder of a run is not there gets told how to say another."""
    try:
        yield
    except (DataError, UsageError) as wrong:
        if folder or Path(record.folder).is_dir():
            raise
        raise type(wrong)(
            f"{wrong}; paths of run {record.id} started at {record.folder}, which is not on this machine, so say where "
            "they start with --folder PATH"
        ) from None


def _branched(record: Run, chosen: Saved, hands: Hands) -> Run:
    """A new run that begins at a checkpoint, of which it holds a copy that costs next to nothing."""
    now = datetime.now(UTC)
    begun = replace(
        record,
        id=identity(record.name, now),
        started=now,
        status="running",
        folder=str(Path(hands.folder or record.folder).resolve()),
        step=0,
        version="",
        origin=f"{record.id}@{chosen.step}",
    )
    checkpoint = hands.store.read(chosen)
    hands.store.begin(begun)
    hands.store.save(begun.id, checkpoint, best=chosen.best)
    return begun


def _start(seen: Run, store: Store) -> Checkpoint | None:
    """The checkpoint to go on from; another process may just have finished the run since it was looked at."""
    record = store.run(seen.id)
    _refuse_kept(record)
    if record.step:
        return store.last(record.id)
    origin, _, step = record.origin.rpartition("@")
    return store.read(_held(store.run(origin), int(step), store)) if origin else None


def _same_libraries(record: Run, described: Pipeline) -> None:
    now, then = versions(), described.lock.get("versions", {})
    for name in _COMPUTE:
        if name in then and then[name] != now.get(name):
            raise UsageError(
                f"run {record.id} was begun with {name} {then[name]} and here is {now.get(name)}, which may compute "
                f"other bits; install {name} {then[name]}, or begin anew with engram run"
            )
