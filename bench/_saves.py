"""What the next checkpoint of a run costs in a store where others have left thousands of differences."""

import hashlib
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import numpy as np
from _measured import Taken, line, ratio
from _speed import emptied
from sqlalchemy import insert

from engram.records import Checkpoint, Run, TrainingState
from engram.store import tables
from engram.store.differences import demotion
from engram.store.differences.demoted import Difference
from engram.store.store import Store
from engram.store.store import open as open_store
from engram.store.training.runs import Saved

BLOBS = 10  # of each checkpoint of the other runs
DEEP = 10  # checkpoints of each that are differences
BEFORE = 6  # checkpoints until as many come as go
ROUNDS = 20
BEGUN = datetime(2026, 1, 1, tzinfo=UTC)


def saves(folder: Path, *, huge: bool) -> dict[str, float]:
    """The next checkpoint, and making older ones small after it, with 10,000 differences over those with 10."""
    counts = (10, 10_000, 100_000) if huge else (10, 10_000)
    stores = {count: _furnished(folder / f"saves-{count}", count) for count in counts}
    saved, small = {count: Taken() for count in counts}, {count: Taken() for count in counts}
    for number, checkpoint in enumerate(_training(BEFORE + ROUNDS)):
        for count, store in stores.items():
            counted = number >= BEFORE
            (saved[count] if counted else Taken()).add(lambda: store.save("mine", checkpoint))  # noqa: B023 - at once
            (small[count] if counted else Taken()).add(
                lambda: demotion.demote(store._site, "mine", last=2)  # noqa: B023, SLF001 - at once, and measured
            )
    print("\nthe next checkpoint of 12 tensors, in a store of")
    for count in counts:
        words = [f"{median(one.cpu) * 1e3:.0f} ms CPU" for one in (saved[count], small[count])]
        line(f"{count:,} differences", f"saved in {words[0]}; two older ones made small in {words[1]}")
    return {
        "save_10_to_10000": ratio(saved[10_000].cpu, saved[10].cpu),
        "small_10_to_10000": ratio(small[10_000].cpu, small[10].cpu),
    }


def _training(steps: int) -> Iterator[Checkpoint]:
    draw = np.random.default_rng(1)
    weights = {f"layer{n}": draw.standard_normal((200, 200), dtype=np.float32) for n in range(12)}
    for step in range(1, steps + 1):
        for name, array in weights.items():
            weights[name] = array + np.float32(1e-5) * draw.standard_normal(array.shape, dtype=np.float32)
        yield Checkpoint(dict(weights), TrainingState(epoch=step, step=step))


def _furnished(folder: Path, differences: int) -> Store:
    """A store with the rows and documents of other runs, without what is in the documents, which no save looks into."""
    store = open_store(emptied(folder), who="bench")
    store.begin(_run("mine", "last 2, every 5th"))
    rows: dict[str, list[dict[str, object]]] = {"runs": [], "checkpoints": [], "links": [], "deltas": []}
    for number in range(max(differences // (BLOBS * DEEP), 1)):
        rows["runs"].append(asdict(_run(f"old-{number}", "all")))
        _old(rows, number, differences)
    for one in rows["deltas"]:
        path = store.folder / Difference(str(one["digest"]), str(one["base"]), 5_000).name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    for name, made in rows.items():
        store._catalog.write(  # noqa: SLF001 - there is no quicker way to have so many
            lambda connection, name=name, made=made: connection.execute(insert(tables.METADATA.tables[name]), made)
        )
    return store


def _old(rows: dict[str, list[dict[str, object]]], run: int, differences: int) -> None:
    """A run whose checkpoints stand on each other."""
    deep = min(DEEP, max(differences // BLOBS, 1))
    for step in range(deep + 1):
        manifest = _digest(run, step)
        saved = Saved(manifest, f"old-{run}", step, step, BEGUN, number=step + 1)
        rows["checkpoints"].append(asdict(saved))
        blobs = [_digest(run, step, blob) for blob in range(BLOBS)]
        rows["links"] += [{"holder": manifest, "blob": digest} for digest in [manifest, *blobs]]
        if step < deep:
            bases = [_digest(run, step + 1, blob) for blob in range(BLOBS)]
            depth = {"depth": deep - step, "size": 5_000}
            rows["deltas"] += [{"digest": one, "base": base, **depth} for one, base in zip(blobs, bases, strict=True)]


def _run(identity: str, hold: str) -> Run:
    return Run(identity, "network", BEGUN, "running", "", "", "", hold=hold)


def _digest(*parts: int) -> str:
    return f"sha256:{hashlib.sha256(repr(parts).encode()).hexdigest()}"
