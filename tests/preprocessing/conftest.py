"""Rows for the tests of preprocessing, and a way to run a graph."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
import polars as pl
import pytest
from numpy import ndarray

from engram.records import Column, Dataset, Task

NAMES = [
    *("age", "workclass", "fnlwgt", "education", "education-num", "marital-status", "occupation", "relationship"),
    *("race", "sex", "capital-gain", "capital-loss", "hours-per-week", "native-country", "income"),
]
NUMBERS = ("age", "fnlwgt", "education-num", "capital-gain", "capital-loss", "hours-per-week")


@dataclass(frozen=True)
class Rows:
    """A part made of arrays."""

    columns: Mapping[str, ndarray]

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def take(self, rows: ndarray) -> Mapping[str, ndarray]:
        return {name: values[rows] for name, values in self.columns.items()}


@dataclass(frozen=True)
class Table:
    """A data set and the task on it, made of arrays and the kinds of their columns."""

    dataset: Dataset
    task: Task
    train: Mapping[str, ndarray]
    test: Mapping[str, ndarray]


def _table(
    train: Mapping[str, ndarray], kinds: Mapping[str, str], test: Mapping[str, ndarray] | None = None, target: str = "y"
) -> Table:
    parts = {"train": Rows(train), "test": Rows(test or train)}
    dataset = Dataset(tuple(Column(name, kinds[name]) for name in train), parts, "sha256:0", target, "made by a test")
    return Table(dataset, Task("binary", target, ("no", "yes")), train, test or train)


def _run(graph: bytes, inputs: Mapping[str, ndarray]) -> dict[str, ndarray]:
    """What onnxruntime makes of raw columns; columns that the graph does not look at are left out."""
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    wanted = {spec.name for spec in session.get_inputs()}
    outputs = [spec.name for spec in session.get_outputs()]
    given = {name: values for name, values in inputs.items() if name in wanted}
    return dict(zip(outputs, session.run(outputs, given), strict=True))


def _adult(path: Path) -> dict[str, ndarray]:
    read = pl.read_csv(path, has_header=False, new_columns=NAMES, infer_schema=False).drop_nulls()
    columns = {}
    for name in NAMES:
        texts = read[name].str.strip_chars()
        if name in NUMBERS:
            columns[name] = texts.cast(pl.Float64).to_numpy()
        else:
            columns[name] = np.array(["" if text == "?" else text for text in texts.to_list()], dtype=object)
    return columns


@pytest.fixture(scope="session")
def adult(real_data: Callable[[str], Path]) -> Table:
    """Adult with its official split; ``?`` is a gap."""
    train, test = _adult(real_data("adult-train.csv")), _adult(real_data("adult-test.csv"))
    kinds = {name: "number" if name in NUMBERS else "category" for name in NAMES}
    return _table(train, kinds, test, "income")


@pytest.fixture(scope="session")
def table() -> Callable[..., Table]:
    """A function that makes a data set of arrays: training rows, kinds, test rows, target."""
    return _table


@pytest.fixture(scope="session")
def run() -> Callable[[bytes, Mapping[str, ndarray]], dict[str, ndarray]]:
    """A function that runs a graph on raw columns."""
    return _run
