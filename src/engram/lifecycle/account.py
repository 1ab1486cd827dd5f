"""The account of one run: how it went, what is held of it, what it became, and how to go on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from engram.errors import VersionNotFound
from engram.lifecycle.alive import resuming, state
from engram.records import Run, TrainingState
from engram.settings import Settings
from engram.store.store import Store
from engram.store.training.runs import Saved

__all__ = ["Account", "account"]


@dataclass(frozen=True, slots=True)
class Account:
    """What is known of a run.

    Attributes:
        run: with the status it truly has.
        became: the version that it was kept as (``income:7``); empty if none.
        history: one record an epoch, or a checkpoint of a loop of one's own; the oldest first.
        best: the record of the history that was the best; counted from 0, -1 if nobody said.
        checkpoints: that are held, the newest first.
        differences: digests of those of which a part is stored as its difference from a later one.
        command: how to go on with it; empty where that is not possible.
    """

    run: Run
    became: str
    history: tuple[Mapping[str, Any], ...]
    best: int
    checkpoints: tuple[Saved, ...]
    differences: frozenset[str]
    command: str

    def series(self) -> dict[str, list[float]]:
        """The numbers of the history by name, in the order in which they first appear; NaN where one is missing."""
        names = dict.fromkeys(
            name for record in self.history for name, value in record.items() if isinstance(value, (int, float))
        )
        return {name: [float(record.get(name, "nan")) for record in self.history] for name in names}


def account(identity: str, store: Store, settings: Settings) -> Account:
    """The account of a run.

    Raises:
        VersionNotFound: there is no such run.
        StoreError: what is held of it is damaged.
    """
    run = store.run(identity)
    held = tuple(store.checkpoints(identity))
    last, ended = store.remembered(identity), state(run, store)
    return Account(
        run=replace(run, status=ended),
        became=_became(run, store),
        history=last.history,
        best=_best(last, held),
        checkpoints=held,
        differences=frozenset(store.differences(identity)),
        command="" if ended in {"kept", "running"} else resuming(run, store, settings),
    )


def _became(run: Run, store: Store) -> str:
    if not run.version:
        return ""
    try:
        return store.version(run.version).reference
    except VersionNotFound:
        return run.version


def _best(last: TrainingState, held: tuple[Saved, ...]) -> int:
    """Where in the history the best is: by its epoch as training remembers it, or by the checkpoint that is marked."""
    for place, record in enumerate(last.history):
        if record.get("epoch") == last.stopping.get("epoch", "none"):
            return place
    steps = {saved.step for saved in held if saved.best}
    return next((place for place, record in enumerate(last.history) if record.get("step") in steps), -1)
