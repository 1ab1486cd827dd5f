"""Bits flipped and lengths changed in every kind of file that a store keeps: ``verify`` finds each."""

import random
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from engram.errors import EngramError
from engram.records import Certificate, Checkpoint, Difference, Model, Report, Run, Score, TrainingState
from engram.store import manifests
from engram.store.store import Store
from engram.store.store import open as open_store
from faults.looks import both
from faults.works import RUN, SIGNATURE

pytest_plugins = ["faults.fixtures"]

PATHS = {
    "weights": "model-00001-of-00002.safetensors",
    "small tensors": "model-00002-of-00002.safetensors",
    "index of the weights": "model.safetensors.index.json",
    "graph": "graph.onnx",
    "preprocessing": "preprocessing.onnx",
    "signature": "signature.json",
    "labels": "labels.json",
    "source": "source.json",
    "statistics": "statistics.json",
    "training state": "training/state.json",
    "optimizer": "training/slots-00001-of-00001.safetensors",
    "report": "report.json",
    "page of the report": "report.html",
    "certificate": "certificate.json",
    "pipeline": "pipeline.toml",
    "lock": "lock.toml",
    "record": "version.json",
}
OTHERS = ("config", "manifest", "manifest of a checkpoint", "record of a checkpoint", "difference", "move of an alias")


@pytest.fixture(scope="module")
def whole(ground) -> tuple[Store, dict[str, Path]]:
    """A store with every kind of file, and where one of each kind is."""
    store = open_store(ground.fresh(), who="ada")
    numbers = np.random.default_rng(1)
    slots = {"exp_avg/bias": numbers.standard_normal(3000)}
    state = TrainingState(epoch=1, step=3, slots=slots, history=({"epoch": 1, "train.loss": 0.5},))
    weights = {"kernel": numbers.standard_normal(250_000, dtype=np.float32), "bias": numbers.standard_normal(50)}
    model = Model(b"a graph", weights, SIGNATURE, b"a graph of preprocessing", ("no", "yes"), {"of": "torch"}, {"x": 1})
    score = Score("accuracy", 0.9, 0.8, 1.0)
    version = store.keep(
        "income",
        model,
        state=state,
        report=Report(
            "sha256:0", 10, "binary", (score,), {}, {}, ((5, 1), (0, 4)), ("no", "yes"), page="<html></html>"
        ),
        pipeline="[data]\n",
        lock="[lock]\n",
        certificate=Certificate(
            "sha256:1", "sha256:2", "onnx", (Difference("logit", 0.0, 0.0),), 1.0, 1e-5, 0, 8, ("a", "b")
        ),
    )
    store.alias("income@prod", "income:1", why="it is good")
    store.begin(Run(RUN, "income", version.kept, "running", "[data]\n", "[lock]\n", "/home/ada"))
    for step in range(1, 4):
        state = TrainingState(step=step, slots={"exp_avg/bias": slots["exp_avg/bias"] + step * 1e-9})
        store.save(RUN, Checkpoint({"bias": weights["bias"] + step * 1e-9}, state))
    store.finish(RUN, "stopped")
    store.sweep(grace=timedelta(0))
    assert store.verify() == []
    return store, found_in(store, version.digest)


def found_in(store: Store, digest: str) -> dict[str, Path]:
    def path(blob: str) -> Path:
        return store.folder / "blobs" / "sha256" / blob.removeprefix("sha256:")

    kept = manifests.read(store._place, digest)
    saved = manifests.read(store._place, store.checkpoints(RUN)[0].digest)
    files = {kind: path(kept.files[name].digest) for kind, name in PATHS.items()}
    files |= {"config": path(kept.config.digest), "manifest": path(digest)}
    files |= {"manifest of a checkpoint": path(saved.digest)}
    files |= {"record of a checkpoint": path(saved.files["checkpoint.json"].digest)}
    files["difference"] = next(store.folder.glob("deltas/*/*"))
    files["move of an alias"] = next(store.folder.glob("history/income/prod/*"))
    return files


def flips(content: bytes, effort: int, chance: random.Random):
    """So many of its bits, each flipped alone; all of them where there are no more."""
    bits = range(8 * len(content))
    for bit in chance.sample(bits, effort) if effort < len(bits) else bits:
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8
        yield bit, bytes(flipped)


@both(quick=60, full=2000)
@pytest.mark.parametrize("kind", [*PATHS, *OTHERS])
def test_a_flipped_bit_is_found(whole, kind, effort):
    store, files = whole
    content = files[kind].read_bytes()
    missed = []
    for bit, flipped in flips(content, effort, random.Random(kind)):
        files[kind].write_bytes(flipped)
        if not store.verify():
            missed.append(bit)
    files[kind].write_bytes(content)
    assert missed == []
    assert store.verify() == []


@pytest.mark.parametrize("kind", [*PATHS, *OTHERS])
def test_a_file_of_another_length_is_found(whole, kind):
    store, files = whole
    content = files[kind].read_bytes()
    size = len(content)
    pages = {4096 * count for count in (1, 2, size // 4096, size // 4096 + 1)}
    for length in sorted({0, 1, size - 1, size + 1, 2 * size, *pages} - {size}):
        files[kind].write_bytes(content[:length] + bytes(max(length - size, 0)))
        assert store.verify(), f"{length} bytes instead of {size}"
    files[kind].unlink()
    assert store.verify(), "gone"
    files[kind].write_bytes(content)
    assert store.verify() == []


@both(quick=60, full=2000)
@pytest.mark.parametrize(
    "kind", ["weights", "small tensors", "graph", "manifest", "training state", "optimizer", "difference"]
)
def test_what_is_damaged_is_never_handed_out(whole, kind, effort):
    """Read with ``verify``, a damaged file is an error of ours, whichever of its bits it is."""
    store, files = whole
    content = files[kind].read_bytes()
    for bit, flipped in flips(content, effort, random.Random(kind)):
        files[kind].write_bytes(flipped)
        with pytest.raises(EngramError) as refused:
            read_all(store)
        assert "\n" not in str(refused.value), bit
    files[kind].write_bytes(content)
    read_all(store)


def read_all(store: Store) -> None:
    """Everything that a damaged file might be a part of, verified."""
    store.load("income:1", verify=True)
    store.state("income:1", verify=True)
    for saved in store.checkpoints(RUN):
        store.read(saved)
