"""Opening a file of any format, and writing one with proof that it answers alike.

Content decides what a file is, and its suffix must agree: a file that two programs would take for two things is
refused. Nothing is ever written in place: the file is made in a hidden folder beside its target, asked the same
questions as the model, and brought to its name only when the answers are the same.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import ModuleType

import numpy as np
from numpy import ndarray

from engram.errors import ConversionError, EngramError, MissingLibrary, UsageError
from engram.formats import SHELF, _answers, _certificate, _files, _folders, _proof, _recognition
from engram.formats._probes import probes
from engram.graphs.signature import signature as declared
from engram.records import Certificate, Limits, Model, Signature, TrainingState
from engram.runtime import onnxruntime

__all__ = ["Request", "lost", "probes", "prove", "read", "read_proven", "read_state", "write"]

_ROWS = 64
_LIBRARIES = ("engram", "numpy", "onnx", "onnxruntime", "safetensors")
_DEFAULT = Limits()


@dataclass(frozen=True, slots=True)
class Request:
    """How a conversion is to be proven; the fields are the arguments of ``write``."""

    tolerance: float = 1e-5
    seed: int = 0
    original: Callable[[Mapping[str, ndarray]], Mapping[str, ndarray]] | None = None


def read(path: str | Path, limits: Limits = _DEFAULT) -> Model:
    """The model in a file or folder; nothing in it is run.

    Args:
        path: of a regular file, or of a folder where the format is one.
        limits: the largest of everything that is accepted.

    Raises:
        UsageError: there is no such file.
        FormatError: no format has such files, more than one does, the suffix is another format's, or the file is
            damaged or hostile.
        MissingLibrary: a library that reads it is not installed.
    """
    path = Path(path)
    _, found = _recognition.recognized(path, limits)
    model = found.read(path, limits)
    assert isinstance(model, Model)
    return model


def read_state(path: str | Path, limits: Limits = _DEFAULT) -> TrainingState | None:
    """What training would go on from, where a file carries it; nothing in it is run.

    Args:
        path: as of ``read``.
        limits: the largest of everything that is accepted.

    Raises:
        EngramError: as ``read``.
    """
    path = Path(path)
    _, found = _recognition.recognized(path, limits)
    if not hasattr(found, "state"):
        return None
    state = found.state(path, limits)
    assert state is None or isinstance(state, TrainingState)
    return state


def read_proven(path: str | Path, *, tolerance: float = 1e-5, seed: int = 0) -> tuple[Model, Certificate]:
    """The model in a file, with proof that it answers as the file itself does in its format's own runtime.

    Reading rewrites a graph into the canonical form; this asks both the same questions. A format without a runtime of
    its own is asked through a session, which proves no more than that the model can answer.

    Raises:
        FormatError, UsageError: as ``read``.
        ConversionError: what was read answers differently from the file.
    """
    model = read(path)
    return model, prove(model, Path(path), Request(tolerance, seed, None))


def prove(model: Model, path: Path, request: Request) -> Certificate:
    """That a model answers as the file does that it was read from.

    Raises:
        ConversionError: it answers differently.
    """
    target, _ = _recognition.recognized(path, _DEFAULT)
    about = _about(model, path, target, request)
    if not model.graph:
        return _proof.certify(model.weights, model.weights, about)
    return _asked(model, model, path, about, request)


def write(
    model: Model,
    path: str | Path,
    *,
    to: str = "",
    tolerance: float = 1e-5,
    seed: int = 0,
    original: Callable[[Mapping[str, ndarray]], Mapping[str, ndarray]] | None = None,
    state: TrainingState | None = None,
) -> Certificate:
    """Write a model, prove that the file answers alike, and put the proof beside it as ``PATH.certificate.json``.

    Args:
        model: what is written.
        path: of the file, or of the folder where the format is one; its own folder must be there.
        to: the format; found from the suffix if empty.
        tolerance: largest difference allowed, absolute and relative to the answer together.
        seed: of the probe rows.
        original: what the model answered in the program it comes from: raw inputs → outputs, by name. Asked in place
            of the model itself.
        state: what training would go on from; written too where the format has a place for it.

    Raises:
        ConversionError: the file answers differently, cannot hold the model, or cannot be written; no file is left.
        UsageError: the suffix and the format do not agree, or several formats have this suffix.
        UnknownName: there is no such format.
    """
    path = Path(path)
    target, found = _recognition.asked_for(path, to)
    _free(path, target, found)
    with _files.workplace(path) as folder:
        made = folder / path.name
        if state is not None and hasattr(found, "write_training"):
            found.write_training(model, state, made)
        else:
            found.write(model, made)
        certificate = _prove(model, made, target, Request(tolerance, seed, original))
        _place(made, certificate, path)
    return certificate


def lost(model: Model, to: str, state: TrainingState | None = None) -> tuple[str, ...]:
    """What a format cannot hold of a model, one plain sentence each.

    Args:
        model: what would be written.
        to: the format.
        state: what would be written with it.

    Raises:
        UnknownName: there is no such format.
    """
    found = SHELF.take(to)
    if hasattr(found, "lost"):
        said = tuple(str(sentence) for sentence in found.lost(model))
    else:
        said = tuple(_sentences(model, to, found.CARRIES))
    if state is not None and not hasattr(found, "write_training"):
        said += (f"the training state (step {state.step:,}) is left out, because {to} has no place for it",)
    return said


def _sentences(model: Model, to: str, carries: Collection[str]) -> Iterator[str]:
    """What follows from what a format says that it carries."""
    if model.graph and "graph" not in carries:
        yield f"the graph is left out, because {to} holds weights alone"
    if model.preprocessing and "preprocessing" not in carries:
        yield f"the preprocessing is left out, because {to} has no place for it; give it what preprocessing makes"
    if model.weights and "names" not in carries:
        yield f"the names of the weights are left out, because {to} has no place for them"


def _free(path: Path, target: str, found: ModuleType) -> None:
    """Refuse a place at which something else stands; a folder is replaced only where it is empty or such a model."""
    if not _recognition.is_folder(found):
        if path.is_dir():
            raise ConversionError(f"{path} is a folder; give the name of a file in it")
        return
    if path.is_symlink() or (path.exists() and not path.is_dir()):
        raise ConversionError(f"{path} is there and no folder, but {target} is written as one; choose another name")
    if path.is_dir() and any(path.iterdir()) and not found.recognizes(b"", path):
        raise ConversionError(f"{path} is a folder of something else than {target}; choose another name")


def _place(made: Path, certificate: Certificate, path: Path) -> None:
    """Bring a finished model to its name: what lies beside it first, the model itself, then the proof."""
    folder = made.parent
    beside = sorted(file for file in folder.iterdir() if file != made)
    proof = folder / f"{path.name}.certificate.json"
    proof.write_text(_certificate.as_json(certificate), encoding="utf-8")
    if made.is_dir():
        _folders.place(made, path)
        _files.place([proof], path.parent)
    else:
        _files.place([*beside, made, proof], path.parent)


def _prove(model: Model, made: Path, target: str, request: Request) -> Certificate:
    """Ask the model and the file, and refuse the file if they answer differently."""
    found = SHELF.take(target)
    about = _about(model, made, target, request)
    if not _recognition.reads(found):
        return _asked(model, model if "preprocessing" in found.CARRIES else _bare(model), made, about, request)
    try:
        again = found.read(made, Limits())
    except (EngramError, OSError) as wrong:
        raise ConversionError(f"{made.name} could not be read again once written: {wrong}") from wrong
    if "names" in found.CARRIES:
        _equal_weights(model, again, made.name)
    if not model.graph or not again.graph:
        return _proof.certify(model.weights, again.weights, about)
    return _asked(model, again, made, about, request)


def _about(model: Model, file: Path, target: str, request: Request) -> Certificate:
    """The certificate of a model and a file, before anything was asked."""
    return Certificate(
        original=_proof.digest(model),
        converted=_proof.path_digest(file),
        target=target,
        differences=(),
        agreement=1.0,
        tolerance=request.tolerance,
        seed=request.seed,
        rows=0,
        runtimes=(_runtime(request), onnxruntime.VERSION),
        versions=_versions(),
    )


def _asked(model: Model, again: Model, made: Path, about: Certificate, request: Request) -> Certificate:
    fixed = _answers.batch(model)
    rows = -(-_ROWS // fixed) * fixed if fixed else _ROWS
    inputs = probes(model, rows, request.seed)
    if request.original is None:
        answers = _answers.by_stages(model, inputs)
    else:
        answers = _answers.by_function(model, inputs, request.original)
    converted = _ask_file(SHELF.take(about.target), again, made, _taken(model, again, inputs))
    if request.original is not None:
        converted = _shared(answers, converted)
    certificate = _proof.certify(answers, converted, replace(about, rows=rows))
    if not certificate.holds:
        node = _answers.first_difference(model, again, inputs, request.tolerance) if request.original is None else ""
        raise _proof.refusal(certificate, made.name, node)
    return certificate


def _bare(model: Model) -> Model:
    """The network alone, which takes what preprocessing makes."""
    return replace(model, preprocessing=b"", signature=Signature(declared(model.graph).inputs, model.signature.outputs))


def _taken(model: Model, again: Model, inputs: Mapping[str, ndarray]) -> Mapping[str, ndarray]:
    """The inputs as the file takes them: raw, or as preprocessing makes them where the file has none."""
    if not model.preprocessing or again.preprocessing:
        return inputs
    return onnxruntime.preprocess(model.preprocessing, inputs)


def _shared(answers: Mapping[str, ndarray], converted: Mapping[str, ndarray]) -> Mapping[str, ndarray]:
    found = {name: array for name, array in converted.items() if name in answers}
    if not found:
        wanted = ", ".join(converted)
        raise UsageError(f"original answered with {', '.join(answers)}, but one of {wanted} is needed to compare")
    return found


def _ask_file(found: ModuleType, again: Model, made: Path, inputs: Mapping[str, ndarray]) -> Mapping[str, ndarray]:
    """A format with a runtime of its own answers from the file itself; any other is read back and served."""
    try:
        if hasattr(found, "run"):
            return _answers.in_pieces(lambda piece: found.run(made, piece), again, inputs)
    except MissingLibrary:
        if not _recognition.reads(found):
            raise
    return _answers.by_session(again, inputs)


def _equal_weights(model: Model, again: Model, name: str) -> None:
    lost = model.weights.keys() - again.weights.keys()
    if lost:
        raise ConversionError(f"{name} lost the weight {min(lost)!r}; nothing was written")
    for key, array in model.weights.items():
        other = again.weights[key]
        same = array.dtype == other.dtype and array.shape == other.shape
        equal = same and (array.tobytes() == other.tobytes() or np.array_equal(array, other, equal_nan=True))
        if not equal:
            raise ConversionError(f"{name} holds another weight {key!r} than the model; nothing was written")


def _runtime(request: Request) -> str:
    return onnxruntime.VERSION if request.original is None else "the program the model comes from"


def _versions() -> dict[str, str]:
    found = {}
    for name in (*_LIBRARIES, *(["torch"] if "torch" in sys.modules else [])):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
