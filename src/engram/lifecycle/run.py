"""``run``: from a pipeline file to a kept version.

However training ends, the store says so: kept, stopped with a checkpoint, or failed with its reason. A sentence that
ends it early says how to go on. Checkpoints are written while training goes on; its end waits for what is in flight.
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
from engram.lifecycle.alive import resuming
from engram.lifecycle.conditions import can_be_kept
from engram.lifecycle.feeds import feeds
from engram.lifecycle.finish import finish
from engram.lifecycle.prepare import Prepared, prepare
from engram.lifecycle.whole import whole
from engram.pipelines.parse import located, read
from engram.preprocessing._augment import augment
from engram.records import Checkpoint, Pipeline, Progress, Run, TrainingState, Version, Watch
from engram.records.pipeline import AugmentSection
from engram.settings import Settings
from engram.store.store import Store
from engram.store.training.background import Saver
from engram.store.training.holding import hold
from engram.store.training.runs import Packed
from engram.training.loop import Augment, Calls, Training, standardized

__all__ = ["Hands", "identity", "ready", "run", "trained"]


@dataclass(frozen=True, slots=True)
class Hands:
    """What every step of a run needs: the store it writes to, the settings, who watches, and whether to stop.

    Attributes:
        folder: where relative paths start, where that was said anew.
    """

    store: Store
    settings: Settings
    watch: Watch
    halt: Callable[[], bool]
    folder: str = ""

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
    hands = Hands(store, settings, watch, halt)
    with located(described.text, described.file):
        can_be_kept(described)
        prepared = ready(described, hands)
        record = _begun(described, prepared, store)
        return trained(prepared, record, hands, None)


def ready(described: Pipeline, hands: Hands) -> Prepared:
    """Everything that training needs, and what was noticed on the way said.

    Raises:
        Interrupted: ``halt`` said so; nothing was begun.
    """
    try:
        prepared = prepare(described, hands.settings, hands.see)
    except Interrupted as stopped:
        raise Interrupted(f"{described.name}: {stopped}; nothing was begun, so run it anew") from None
    for sentence in (*prepared.dataset.notes, *prepared.findings):
        hands.watch(Progress("noticed", note=sentence))
    return prepared


def _begun(described: Pipeline, prepared: Prepared, store: Store) -> Run:
    """The run, known to the store, and its lock file beside the pipeline file; either both or none."""
    now = datetime.now(UTC)
    name = prepared.pipeline.keep.name
    record = Run(
        id=identity(name, now),
        name=name,
        started=now,
        status="running",
        pipeline=described.text,
        lock=prepared.lock,
        folder=str(Path(described.folder).resolve()),
        hold=str(described.train.checkpoint.get("hold", "")),
    )
    with ExitStack() as stack:
        if not described.lock:  # a lock file that is run says everything already
            place = Path(described.folder, f"{described.name}.lock.toml")
            stack.enter_context(whole(place, "make the folder writable")).write(prepared.lock)
        store.begin(record)
    return record


def identity(name: str, now: datetime) -> str:
    """The id of a run that begins now."""
    return f"{name}-{now:%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"


def trained(
    prepared: Prepared, record: Run, hands: Hands, start: Callable[[Run, Store], Checkpoint | None] | None
) -> Version:
    """Train, judge and keep, as the one process that trains this run.

    Args:
        prepared: what is trained.
        record: of the run, known to the store.
        hands: of whoever asks.
        start: the checkpoint to go on from, read while the run is held; None where the run has just begun.

    Raises:
        UsageError: another process trains it.
        Interrupted: ``halt`` said so; the message says how to go on.
        ConditionNotMet: ``[keep] if`` is not met; nothing is kept.
    """
    store, again = hands.store, resuming(record, hands.store, hands.settings, hands.folder)
    with hold(store.folder, record.id):
        checkpoint = start(record, store) if start else None
        hands.watch(Progress("started", note=record.id))
        try:
            if start:
                store.finish(record.id, "running")
            with store.saving(record) as saver:
                training = _training(prepared, hands, saver)
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
            _ended(store, record, "refused")
            raise
        except EngramError:
            _failed(store, record)
            raise


def _at_once(record: Run) -> str:
    return f"stopped at once; the checkpoint of step {record.step:,} is kept" if record.step else "stopped at once"


def _failed(store: Store, record: Run) -> None:
    with suppress(StoreError):  # which may be the very reason
        _ended(store, record, "failed")


def _ended(store: Store, record: Run, status: str) -> None:
    """Write down that a run did not end well, unless its version is kept and only its alias was refused."""
    if store.run(record.id).status != "kept":
        store.finish(record.id, status)


def _to_the_end(training: Training, hands: Hands, checkpoint: Checkpoint | None) -> TrainingState:
    if checkpoint is not None:
        training.resume(checkpoint)
        hands.watch(Progress("noticed", note=f"going on from step {checkpoint.state.step:,}"))
    return training.run()


def _training(prepared: Prepared, hands: Hands, saver: Saver[Packed]) -> Training:
    fed = feeds(prepared, hands.see)
    unit = getattr(prepared.network, "unit", None)
    if unit is not None and prepared.task.kind == "regression":
        scale, offset = standardized(fed["train"].targets)
        unit.scale.fill_(scale)
        unit.offset.fill_(offset)

    calls = Calls(
        ready=saver.wait,
        save=saver.save,
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
