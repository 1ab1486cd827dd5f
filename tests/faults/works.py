"""What is done on the stage: the works of a store, and a look at everything it holds afterwards.

Every network, checkpoint and slot is uniform, all its numbers being its seed or its step, so that a mixture of two
would show.
"""

from __future__ import annotations

import contextlib
import gc
import io
import json
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import Connection

from engram.cli.application import main
from engram.records import Checkpoint, Model, Run, Signature, TensorSpec, TrainingState
from engram.store import disk
from engram.store.catalogs._contract import Catalog
from engram.store.differences import demotion
from engram.store.store import Store
from engram.store.store import open as open_store

__all__ = ["act", "close", "command", "examine", "furnish", "keep", "note", "play", "read", "warm"]

Tell = Callable[..., None]
SIGNATURE = Signature(
    (TensorSpec("age", "float64", ("batch",), unit="years", kind="number"),),
    (TensorSpec("logit", "float32", ("batch", 1), kind="logit"),),
)
RUN = "income-1"
_MOMENT = datetime(2026, 5, 1, tzinfo=UTC)


def warm() -> None:
    """Import what every case needs, by using it; what is open is closed, because forks follow."""
    with tempfile.TemporaryDirectory() as folder:
        furnish(Path(folder) / "store", lambda *_: None)
        examine(Path(folder) / "store", lambda *_: None)
    gc.collect()


def opened(folder: Path) -> Store:
    """The store in a folder."""
    return open_store(folder, who="ada")


def model(seed: int, *, large: bool = False) -> Model:
    """A network whose every weight is its seed; a large one has a blob for each of two layers."""
    width = 260_000 if large else 500
    layers = {f"layer{n}.weight": np.full(width, seed, np.float32) for n in range(2)}
    return Model(f"graph {seed}".encode(), {**layers, "bias": np.full(3, seed)}, SIGNATURE, b"preprocessing")


def furnish(folder: Path, tell: Tell) -> None:
    """A store with a past: versions, moves of an alias, a run whose older checkpoints were let go."""
    store = opened(folder)
    acts: list[list[Any]] = [["keep", 1], ["keep", 2], ["alias", "income:1"], ["alias", "income:2"], ["begin"]]
    for one in [*acts, *(["checkpoint", step, step == 1] for step in range(1, 5))]:
        act(store, tell, one)


def keep(folder: Path, tell: Tell, *, seed: int, large: bool = False, name: str = "income") -> None:
    """Keep a network."""
    act(opened(folder), tell, ["keep", seed, name, large])


def play(folder: Path, tell: Tell, *, acts: Sequence[list[Any]]) -> None:
    """Do several things with one store."""
    store = opened(folder)
    for one in acts:
        act(store, tell, one)


def close(folder: Path, tell: Tell, *, acts: Sequence[list[Any]]) -> None:
    """Do several things with one store, and end as a program ends that was not killed."""
    store = opened(folder)
    for one in acts:
        act(store, tell, one)
    del store
    gc.collect()


def act(store: Store, tell: Tell, one: list[Any]) -> None:
    """Do one thing, and tell of it once it is acknowledged."""
    word, *given = one
    _ACTS[word](store, tell, *given)


def _keep(store: Store, tell: Tell, seed: int, name: str = "income", large: bool = False, said: int = 0) -> None:
    version = store.keep(name, model(seed, large=large), facts={"seed": seed, "said": "x" * said})
    tell("kept", version.digest, seed)


def _alias(store: Store, tell: Tell, reference: str) -> None:
    move = store.alias("income@prod", reference, why=f"to {reference}")
    tell("moved", move.target)


def _begin(store: Store, tell: Tell, identity: str = RUN, hold: str = "") -> None:
    store.begin(Run(identity, "income", _MOMENT, "running", "[data]\n", "[lock]\n", "/home/ada", hold=hold))
    tell("begun", identity)


def _checkpoint(store: Store, tell: Tell, step: int, best: bool = False) -> None:
    slots = {"exp_avg/layer": np.full(700, step, np.float64)}
    state = TrainingState(epoch=step, step=step, slots=slots, history=({"epoch": step, "train.loss": 1 / step},))
    store.save(RUN, Checkpoint(model(step).weights, state), best=best)
    tell("saved", step)


def _finish(store: Store, tell: Tell, status: str) -> None:
    store.finish(RUN, status)
    tell("finished", status)


def _demote(store: Store, tell: Tell, last: int = 0) -> None:
    """Make old checkpoints small, as is done after every save."""
    done = demotion.demote(store._site, RUN, last=last)
    tell("demoted", done.blobs)


def _demote_beside(store: Store, tell: Tell) -> None:
    """The same, while somebody tidies up: he takes what was just written for what a killed process has left."""
    site = replace(store._site, catalog=_Beside(store._catalog, lambda: demotion.tidy(store._site)))
    done = demotion.demote(site, RUN)
    tell("demoted", done.blobs)


class _Beside:
    """A catalog before whose first writing somebody else does something."""

    def __init__(self, catalog: Catalog, first: Callable[[], object]) -> None:
        self._catalog, self._first = catalog, first

    def __getattr__(self, name: str) -> Any:
        return getattr(self._catalog, name)

    def write(self, action: Callable[[Connection], Any]) -> Any:
        first, self._first = self._first, lambda: None
        first()
        return self._catalog.write(action)


def _sweep(store: Store, tell: Tell) -> None:
    """Free at once what nobody needs; checkpoints of a run that has ended become differences first."""
    swept = store.sweep(grace=timedelta(0))
    tell("swept", len(swept.freed))


def _rebuild(store: Store, tell: Tell) -> None:
    store.rebuild()
    tell("rebuilt")


_ACTS: dict[str, Callable[..., None]] = {
    "keep": _keep,
    "alias": _alias,
    "begin": _begin,
    "checkpoint": _checkpoint,
    "finish": _finish,
    "demote": _demote,
    "demote beside": _demote_beside,
    "sweep": _sweep,
    "rebuild": _rebuild,
}


def examine(folder: Path, tell: Tell) -> None:
    """Look at everything a store holds: each version and checkpoint is loaded and verified."""
    store = opened(folder)
    files = {
        "blobs": sorted(path.name for path in folder.glob("blobs/sha256/*")),
        "incoming": sorted(path.name for path in folder.glob("incoming/*")),
        "differences": sorted(path.name for path in folder.glob("deltas/*/*")),
    }
    if not folder.joinpath("catalog.db").exists():
        tell("found", {"versions": {}, "moves": [], "runs": {}, "damage": [], "listed": {}, **files})
        return
    versions = {v.digest: [v.name, v.number, _seed(store, v.digest)] for v in store.versions()}
    aliased = "income@prod" in store.aliases("income")
    moves = [move.target for move in reversed(store.history("income@prod"))] if aliased else []
    runs = {run.id: [run.status, _steps(store, run.id)] for run in store.runs()}
    damage = [[found.digest, found.fault, list(found.hurts)] for found in store.verify()]
    listed = _listed(folder)
    tell("found", {"versions": versions, "moves": moves, "runs": runs, "damage": damage, "listed": listed, **files})


def read(folder: Path, tell: Tell) -> None:
    """Read everything, by what the store itself offers."""
    store = opened(folder)
    versions = {v.reference: _seed(store, v.digest) for v in store.versions()}
    moves = [move.target for move in store.history("income@prod")]
    tell("read", [versions, moves, {run.id: _steps(store, run.id) for run in store.runs()}])


def _seed(store: Store, digest: str) -> int:
    weights = store.load(digest, verify=True).weights
    values = {float(value) for array in weights.values() for value in np.unique(array)}
    assert len(values) == 1, f"{digest} is a mixture of {values}"
    assert len(weights) == 3
    return int(values.pop())


def _steps(store: Store, identity: str) -> list[int]:
    """The steps of the checkpoints that are held, the newest first; each is read and verified."""
    held = store.checkpoints(identity)
    for saved in held:
        found = store.read(saved)
        arrays = [*found.weights.values(), *found.state.slots.values()]
        values = {float(value) for array in arrays for value in np.unique(array)}
        assert values == {float(saved.step)}, f"the checkpoint of step {saved.step} holds {values}"
        assert found.state.step == saved.step
    return [saved.step for saved in held]


def _listed(folder: Path) -> dict[str, str]:
    """What ``index.json`` lists, by reference: each is there."""
    entries = json.loads((folder / "index.json").read_bytes())["manifests"]
    for entry in entries:
        assert (folder / "blobs" / "sha256" / entry["digest"].removeprefix("sha256:")).exists(), entry
    return {entry["annotations"]["org.opencontainers.image.ref.name"]: entry["digest"] for entry in entries}


def command(folder: Path, tell: Tell, *, words: Sequence[str]) -> None:
    """A command as a user types it; what it printed to standard error, and its exit code."""
    printed, said = io.StringIO(), io.StringIO()
    sys.argv = ["engram", *words]
    code: object = 0
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(said):
        try:
            main()
        except SystemExit as ended:
            code = ended.code
    tell("ended", code, said.getvalue(), printed.getvalue())


def note(folder: Path, tell: Tell, *, content: bool, name: bool) -> None:
    """Write a file as programs do, flushing its content and its name, or not."""
    folder.mkdir(exist_ok=True)
    number = os.open(folder / "new", os.O_CREAT | os.O_WRONLY)
    os.write(number, b"x" * 10_000)
    if content:
        os.fsync(number)
    os.close(number)
    (folder / "new").rename(folder / "note")
    if name:
        disk.flush(folder)
    tell("noted")
