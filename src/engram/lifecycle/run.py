"""``run`` and ``resume``: from a pipeline file to a kept version, or from the last checkpoint on.

However training ends, the store says so: kept, stopped with a checkpoint, or failed with its reason. A sentence that
ends it early says how to go on.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import torch

from engram.errors import ConditionNotMet, EngramError, Interrupted, StoreError, UsageError
from engram.lifecycle.alive import held, resuming
from engram.lifecycle.conditions import can_be_kept
from engram.lifecycle.feeds import feeds
from engram.lifecycle.finish import finish
from engram.lifecycle.prepare import Prepared, prepare, versions
from engram.lifecycle.whole import whole
from engram.pipelines.parse import located, parse, read
from engram.preprocessing._augment import augment
from engram.records import Checkpoint, Pipeline, Progress, Run, TrainingState, Version, Watch
from engram.records.pipeline import AugmentSection
from engram.settings import Settings
from engram.store.store import Store
from engram.training.loop import Augment, Calls, Training, standardized

__all__ = ["resume", "run"]

_COMPUTE = ("torch", "numpy", "onnxruntime")  # whose other versions may compute other bits


@dataclass(frozen=True, slots=True)
class _Hands:
    """What every step of a run needs: the store it writes to, the settings, who watches, and whether to stop."""

    store: Store
    settings: Settings
    watch: Watch
    halt: Callable[[], bool]

    def see(self, progress: Progress) -> None:
        """Tell the watcher, and stop between two stages if that is asked for.

        Raises:
            Interrupted: ``halt`` said so; inside training the loop itself asks, because it can save first.
        """
        self.watch(progress)
        if progress.stage != "training" and self.halt():
            raise Interrupted(f"stopped while {progress.stage}")


def run(
    pipeline: str | Path | Pipeline, *, store: Store, settings: Settings, watch: Watch, halt: Callable[[], bool]
) -> Version:
    """Train what a pipeline file describes, judge it and keep it.

    Args:
        pipeline: the file, or a ``Pipeline`` made in Python.
        store: where checkpoints and the version go.
        settings: of this process.
        watch: told about the progress.
        halt: whether to stop at the next step.

    Raises:
        UsageError: the file is wrong or does not fit the data.
        DataError: the data cannot be used.
        Interrupted: ``halt`` said so; the message says how to go on.
        ConditionNotMet: ``[keep] if`` is not met; nothing is kept.
    """
    described = pipeline if isinstance(pipeline, Pipeline) else read(pipeline)
    hands = _Hands(store, settings, watch, halt)
    with located(described.text, described.file):
        can_be_kept(described)
        prepared = _prepared(described, hands)
        record = _begun(described, prepared, store)
        return _trained(prepared, record, hands, going_on=False)


def resume(run: str, *, store: Store, settings: Settings, watch: Watch, halt: Callable[[], bool]) -> Version:
    """Go on with a run from its last checkpoint; its end is, bit for bit, that of a run never interrupted.

    Raises:
        VersionNotFound: the store has no such run.
        UsageError: the run is already kept, is being trained, or was begun with other versions of the libraries.
        DataError: the data have changed since.
    """
    record = store.run(run)
    _refuse_kept(record)
    described = parse(record.lock, name=record.name, folder=record.folder)
    _same_libraries(record, described)
    hands = _Hands(store, settings, watch, halt)
    with located(described.text, f"{record.name}.lock.toml"):
        prepared = _prepared(described, hands)
        return _trained(prepared, record, hands, going_on=True)


def _refuse_kept(record: Run) -> None:
    if record.status == "kept":
        raise UsageError(
            f"run {record.id} is finished and kept as {record.version[:19]}…; start another with engram run"
        )


def _checkpoint(run: str, store: Store) -> Checkpoint | None:
    """The checkpoint to go on from, read while the run is held: another process may just have finished it."""
    record = store.run(run)
    _refuse_kept(record)
    return store.last(run) if record.step else None


def _prepared(described: Pipeline, hands: _Hands) -> Prepared:
    try:
        prepared = prepare(described, hands.settings, hands.see)
    except Interrupted as stopped:
        raise Interrupted(f"{described.name}: {stopped}; nothing was begun, so run it anew") from None
    for sentence in (*prepared.dataset.notes, *prepared.findings):
        hands.watch(Progress("noticed", note=sentence))
    return prepared


def _same_libraries(record: Run, described: Pipeline) -> None:
    now, then = versions(), described.lock.get("versions", {})
    for name in _COMPUTE:
        if name in then and then[name] != now.get(name):
            raise UsageError(
                f"run {record.id} was begun with {name} {then[name]} and here is {now.get(name)}, which may compute "
                f"other bits; install {name} {then[name]}, or begin anew with engram run"
            )


def _begun(described: Pipeline, prepared: Prepared, store: Store) -> Run:
    """The run, known to the store, and its lock file beside the pipeline file; either both or none."""
    now = datetime.now(UTC)
    name = prepared.pipeline.keep.name
    record = Run(
        id=f"{name}-{now:%Y%m%d-%H%M%S}-{secrets.token_hex(2)}",
        name=name,
        started=now,
        status="running",
        pipeline=described.text,
        lock=prepared.lock,
        folder=str(Path(described.folder).resolve()),
    )
    with ExitStack() as stack:
        if not described.lock:  # a lock file that is run says everything already
            place = Path(described.folder, f"{described.name}.lock.toml")
            stack.enter_context(whole(place, "make the folder writable")).write(prepared.lock)
        store.begin(record)
    return record


def _trained(prepared: Prepared, record: Run, hands: _Hands, *, going_on: bool) -> Version:
    store, again = hands.store, resuming(record.id, hands.store, hands.settings)
    with held(record, store):
        checkpoint = _checkpoint(record.id, store) if going_on else None
        hands.watch(Progress("started", note=record.id))
        try:
            training = _training(prepared, record, hands)
            state = _to_the_end(training, hands, checkpoint)
            return finish(prepared, training.network, state, record=record, store=store, watch=hands.see)
        except (Interrupted, KeyboardInterrupt) as stopped:
            store.finish(record.id, "stopped")
            reason = str(stopped) or _at_once(store.run(record.id))
            raise Interrupted(f"{record.name}: {reason}; go on with: {again}") from None
        except torch.OutOfMemoryError:
            _failed(store, record)
            raise UsageError(
                f"{record.name} does not fit into the memory of {prepared.pipeline.train.device} with batches of "
                f"{prepared.pipeline.train.batch} rows; lower batch in [train]",
                place="train.batch",
            ) from None
        except StoreError as refused:
            _failed(store, record)
            raise StoreError(f"{refused}; then go on with: {again}") from None
        except ConditionNotMet:
            store.finish(record.id, "refused")
            raise
        except EngramError:
            _failed(store, record)
            raise


def _at_once(record: Run) -> str:
    return f"stopped at once; the checkpoint of step {record.step:,} is kept" if record.step else "stopped at once"


def _failed(store: Store, record: Run) -> None:
    with suppress(StoreError):  # which may be the very reason
        store.finish(record.id, "failed")


def _to_the_end(training: Training, hands: _Hands, checkpoint: Checkpoint | None) -> TrainingState:
    if checkpoint is not None:
        training.resume(checkpoint)
        hands.watch(Progress("noticed", note=f"going on from step {checkpoint.state.step:,}"))
    return training.run()


def _training(prepared: Prepared, record: Run, hands: _Hands) -> Training:
    fed = feeds(prepared, hands.see)
    unit = getattr(prepared.network, "unit", None)
    if unit is not None and prepared.task.kind == "regression":
        scale, offset = standardized(fed["train"].targets)
        unit.scale.fill_(scale)
        unit.offset.fill_(offset)

    def save(made: Checkpoint, best: bool) -> None:
        hands.store.checkpoint(record.id, made, best=best)

    calls = Calls(
        save=save,
        tell=lambda done, total, numbers: hands.see(Progress("training", done, total, numbers)),
        halt=hands.halt,
        augment=_augmenting(prepared),
    )
    return Training(prepared.network, fed, task=prepared.task, section=prepared.pipeline.train, calls=calls)


def _augmenting(prepared: Prepared) -> Augment | None:
    section = prepared.pipeline.augment
    if section == AugmentSection():
        return None
    return lambda inputs, targets, generator: augment(inputs, targets, section, generator)
