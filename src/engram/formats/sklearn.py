"""scikit-learn: estimators and whole pipelines, kept with pickle, joblib or skops.

Such a file is a program that builds Python objects. Here it is read and not run: the pickle goes through the
interpreter of ``_pickle``, which knows the classes by name and keeps what they were to be given, and the network is
drawn from that. So a file of any release is read without scikit-learn, and one that names anything else is refused.

What is written is an estimator that scikit-learn itself opens: a multilayer perceptron, or a linear model where there
is one layer. It holds no preprocessing, because the fitted steps of a pipeline cannot be told from a graph for sure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from numpy import ndarray

from engram.errors import ConversionError, FormatError, MissingLibrary
from engram.formats import _worker
from engram.formats._archive import MAGIC
from engram.formats._faults import typed
from engram.formats._joblib import leading_name
from engram.formats._sklearn import skops
from engram.formats._sklearn.inert import inert
from engram.formats._sklearn.model import counted, held
from engram.formats._sklearn.model import model as drawn
from engram.formats._sklearn.writing import refused, saved
from engram.records import Limits, Model

__all__ = ["CARRIES", "SUFFIXES", "lost", "read", "recognizes", "run", "run_pieces", "runtime", "write"]

SUFFIXES = (".skops", ".joblib", ".pkl", ".pickle")
CARRIES = ("graph", "weights", "preprocessing")

_PACKAGE = "sklearn"
_ROWS = 100_000


def recognizes(head: bytes, path: Path) -> bool:
    """Whether a file is a pickle whose first class is scikit-learn's, or a zip with skops' schema."""
    if head.startswith(MAGIC):
        return skops.SCHEMA.encode() in _tail(path)
    return leading_name(head, path).partition(".")[0] == _PACKAGE


@typed
def read(path: Path, limits: Limits) -> Model:
    """The model that an estimator is.

    Raises:
        FormatError: the file is damaged, was never fitted, or names what is not allowed.
        ConversionError: a step or an estimator has no graph.
    """
    found = inert(path, limits)
    try:
        return drawn(found)
    except (ConversionError, FormatError) as refused:
        raise type(refused)(f"{path.name}: {refused}") from refused


def write(model: Model, path: Path) -> None:
    """An estimator of scikit-learn in the form that the suffix says.

    Raises:
        ConversionError: the network is no multilayer perceptron, or there is preprocessing.
        MissingLibrary: scikit-learn is not installed.
    """
    saved(model, path)


def lost(model: Model) -> tuple[str, ...]:
    """What an estimator cannot hold of a model."""
    return refused(model)


def run(path: Path, inputs: Mapping[str, ndarray]) -> dict[str, ndarray]:
    """What the real scikit-learn answers, in a process of its own.

    The numbers that the graph gives have the name of the model's output; ``label`` and ``probabilities`` are what
    scikit-learn itself tells, and not made of these here.

    Raises:
        MissingLibrary: scikit-learn is not installed, or is of another release than the one that wrote the file.
        FormatError: the file is refused.
    """
    return run_pieces(path, [inputs])[0]


def run_pieces(path: Path, pieces: Sequence[Mapping[str, ndarray]]) -> list[dict[str, ndarray]]:
    """As ``run`` for several batches at once: scikit-learn takes a second to start."""
    found = read(path, Limits())
    (output,) = found.signature.outputs
    estimator = inert(path, Limits())
    _, names = counted(estimator)
    columns = {name: one.gap for name, one in zip(names, held(estimator), strict=False)}
    said = {"path": str(path.resolve()), "columns": columns, "kind": output.kind}
    made = _worker.asked_pieces("engram.formats._sklearn.asking:answers", said, pieces)
    return [{output.name if name == "answer" else name: array for name, array in each.items()} for each in made]


def runtime() -> str:
    """The release of scikit-learn that ``run`` asks.

    Raises:
        MissingLibrary: it is not installed.
    """
    try:
        return f"scikit-learn {version('scikit-learn')}"
    except PackageNotFoundError:
        raise MissingLibrary("scikit-learn is not installed; pip install 'engram[sklearn]'") from None


def _tail(path: Path) -> bytes:
    with path.open("rb") as file:
        file.seek(max(path.stat().st_size - _ROWS, 0))
        return file.read()
