"""``run`` and ``resume``: from a pipeline file to a kept version, or from the last checkpoint on."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from engram.errors import Interrupted, UsageError
from engram.lifecycle.conditions import parse as parse_condition
from engram.lifecycle.feeds import feeds
from engram.lifecycle.finish import finish
from engram.lifecycle.prepare import Prepared, prepare
from engram.pipelines.parse import located, parse, read
from engram.preprocessing._augment import augment
from engram.records import Checkpoint, Pipeline, Progress, Run, Version, Watch
from engram.records.pipeline import AugmentSection
from engram.settings import Settings
from engram.store.references import check_name
from engram.store.store import Store
from engram.training.loop import Augment, Calls, Training, standardized

__all__ = ["resume", "run"]


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
    with located(described.text, described.file):
        for metric, condition in described.keep.conditions.items():
            parse_condition(metric, condition)
        check_name(described.keep.name or described.name)
        prepared = prepare(described, settings, watch)
        record = _begun(described, prepared, store)
        watch(Progress("started", note=record.id))
        return _trained(prepared, record, store=store, watch=watch, halt=halt, checkpoint=None)


def resume(
    run: str, *, store: Store, settings: Settings, watch: Watch, halt: Callable[[], bool]
) -> Version:  # fmt: skip
    """Go on with a run from its last checkpoint; its end is, bit for bit, that of a run never interrupted.

    Raises:
        VersionNotFound: the store has no such run.
        UsageError: the run is already kept.
        DataError: the data have changed since.
    """
    record = store.run(run)
    if record.status == "kept":
        raise UsageError(f"run {run} is finished and kept as {record.version[:19]}…; start another with engram run")
    described = parse(record.lock, name=record.name, folder=record.folder)
    with located(described.text, f"{record.name}.lock.toml"):
        prepared = prepare(described, settings, watch)
        checkpoint = store.last(run) if record.step else None
        return _trained(prepared, record, store=store, watch=watch, halt=halt, checkpoint=checkpoint)


def _begun(described: Pipeline, prepared: Prepared, store: Store) -> Run:
    """The run, known to the store, its lock file written beside the pipeline file."""
    now = datetime.now(UTC)
    name = prepared.pipeline.keep.name
    record = Run(
        id=f"{name}-{now:%Y%m%d-%H%M%S}-{secrets.token_hex(2)}",
        name=name,
        started=now,
        status="running",
        pipeline=described.text,
        lock=prepared.lock,
        folder=described.folder,
    )
    store.begin(record)
    place = Path(described.folder, f"{described.name}.lock.toml")
    try:
        place.write_text(prepared.lock, encoding="utf-8")
    except OSError as wrong:
        raise UsageError(
            f"{place}: the lock file cannot be written ({wrong.strerror}); make the folder writable"
        ) from None
    return record


def _trained(
    prepared: Prepared,
    record: Run,
    *,
    store: Store,
    watch: Watch,
    halt: Callable[[], bool],
    checkpoint: Checkpoint | None,
) -> Version:
    training = _training(prepared, record, store=store, watch=watch, halt=halt)
    if checkpoint is not None:
        training.resume(checkpoint)
        watch(Progress("training", note=f"going on from step {checkpoint.state.step:,}"))
    try:
        state = training.run()
        return finish(prepared, training.network, state, record=record, store=store, watch=watch)
    except Interrupted as stopped:
        store.finish(record.id, "stopped")
        raise Interrupted(f"{record.name}: {stopped}; go on with: engram resume {record.id}") from None


def _training(prepared: Prepared, record: Run, *, store: Store, watch: Watch, halt: Callable[[], bool]) -> Training:
    fed = feeds(prepared, watch)
    unit = getattr(prepared.network, "unit", None)
    if unit is not None and prepared.task.kind == "regression":
        scale, offset = standardized(fed["train"].targets)
        unit.scale.fill_(scale)
        unit.offset.fill_(offset)
    calls = Calls(
        save=lambda made, best: store.checkpoint(record.id, made, best=best),
        tell=lambda done, total, numbers: watch(Progress("training", done, total, numbers)),
        halt=halt,
        augment=_augmenting(prepared),
    )
    return Training(prepared.network, fed, task=prepared.task, section=prepared.pipeline.train, calls=calls)


def _augmenting(prepared: Prepared) -> Augment | None:
    section = prepared.pipeline.augment
    if section == AugmentSection():
        return None
    return lambda inputs, targets, generator: augment(inputs, targets, section, generator)
