"""A store on a real folder, a clock that moves a minute a glance, and networks small enough to keep many times."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from engram.records import Model, Run, Signature, TensorSpec
from engram.store.store import Store
from engram.store.store import open as open_store

SIGNATURE = Signature(
    (TensorSpec("age", "float64", ("batch",), unit="years", kind="number"),),
    (TensorSpec("logit", "float32", ("batch", 1), kind="logit"),),
)


@pytest.fixture
def clock() -> Callable[[], datetime]:
    """2026-05-01T12:00 UTC, a minute later each time it is asked."""

    def minutes() -> Iterator[datetime]:
        moment = datetime(2026, 5, 1, 12, tzinfo=UTC)
        while True:
            yield moment
            moment += timedelta(minutes=1)

    return minutes().__next__


@pytest.fixture
def store(tmp_path: Path, clock: Callable[[], datetime]) -> Store:
    """A store that nothing was kept in yet."""
    return open_store(tmp_path / "engrams", who="ada", clock=clock)


@pytest.fixture
def network() -> Callable[..., Model]:
    """A network whose weights follow from a seed; the large one has a blob to itself."""

    def make(seed: int = 0, **changed: np.ndarray) -> Model:
        numbers = np.random.default_rng(seed)
        weights = {
            "dense.weight": numbers.standard_normal((600, 500), dtype=np.float32),
            "dense.bias": numbers.standard_normal(500, dtype=np.float32),
            "scale": np.array(numbers.standard_normal()),
        }
        return Model(
            graph=b"the network's graph",
            weights=weights | changed,
            signature=SIGNATURE,
            preprocessing=b"the preprocessing's graph",
            labels=("no", "yes"),
            source={"framework": "torch 2.13.0", "layers": [{"kind": "Linear", "in": 600}]},
            statistics={"age": {"min": 17.0, "mean": 38.58, "examples": [39.0, 50.0]}},
        )

    return make


@pytest.fixture
def run() -> Run:
    """A run that has just begun."""
    return Run("income-1", "income", datetime(2026, 5, 1, tzinfo=UTC), "running", "[data]\n", "[lock]\n", "/home/ada")


@pytest.fixture
def uniform() -> Callable[[int], Model]:
    """A network of 4 MB whose every weight is its seed, so that a mixture of two would show."""

    def make(seed: int) -> Model:
        layers = {f"layer{n}.weight": np.full(250_000, seed, np.float32) for n in range(4)}
        return Model(b"graph", {**layers, "bias": np.full(3, seed)}, SIGNATURE)

    return make


@pytest.fixture
def seeds() -> Callable[[Store], dict[str, int]]:
    """Look at every version of a store of uniform networks: each is whole; digest → seed."""

    def look(store: Store) -> dict[str, int]:
        found = {}
        for version in store.versions():
            weights = store.load(version.digest, verify=True).weights
            values = {float(value) for array in weights.values() for value in np.unique(array)}
            assert len(values) == 1, f"{version.reference} is a mixture of {values}"
            found[version.digest] = int(values.pop())
        numbers = [version.number for version in store.versions("income")]
        assert len(numbers) == len(set(numbers))
        listed = json.loads((store.folder / "index.json").read_bytes())["manifests"]
        blobs = store.folder / "blobs" / "sha256"
        assert all((blobs / entry["digest"].removeprefix("sha256:")).exists() for entry in listed)
        return found

    return look
