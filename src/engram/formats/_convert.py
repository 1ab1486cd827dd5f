"""Opening a file of any format, and writing one with proof that it answers alike.

Content decides what a file is, and its suffix must agree: a file that two programs would take for two things is
refused. Nothing is ever written in place: the file is made in a hidden folder beside its target, asked the same
questions as the model, and brought to its name only when the answers are the same.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np
from numpy import ndarray

from engram.errors import ConversionError, EngramError, UsageError
from engram.formats import SHELF, _certificate, _files, _folders, _proving, _recognition, _sides
from engram.formats._probes import probes
from engram.formats._proving import Request
from engram.formats._sides import Side
from engram.records import Certificate, Limits, Model, TrainingState

__all__ = ["Target", "convert", "left", "lost", "probes", "prove", "read", "read_proven", "read_state", "write"]

_DEFAULT = Limits()
Program = Callable[[Mapping[str, ndarray]], Mapping[str, ndarray]]


@dataclass(frozen=True, slots=True)
class Target:
    """What a model is to be written as.

    Attributes:
        format: empty where the suffix of the path says it.
        shard_size: bytes of weights in one file, where a format divides them; 0 is the format's own choice.
    """

    format: str = ""
    shard_size: int = 0


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
    return _read(found, path, limits)


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
    return model, prove(model, Path(path), Request(tolerance, seed))


def prove(model: Model, path: Path, request: Request) -> Certificate:
    """That a model answers as the file does that it was read from.

    Raises:
        ConversionError: it answers differently.
    """
    name, found = _recognition.recognized(path, _DEFAULT)
    one, other = _sides.of_file(path, name, found, model, model), _sides.of_model(model)
    if not model.graph:
        return _proving.prove_weights(model, model, one, other, request)
    return _proving.prove(model, one, other, request)


def convert(
    source: str | Path,
    path: str | Path,
    *,
    to: str | Target = "",
    tolerance: float = 1e-5,
    seed: int = 0,
    training: bool = True,
) -> Certificate:
    """Turn a file into another format, with proof that the new file answers as the old one does in its own runtime.

    Args:
        source: of the file that is read.
        path: of the one that is written; see ``write`` for the rest.
        to: the format, alone or with what else is to be said of it.
        tolerance: largest difference allowed.
        seed: of the probe rows.
        training: whether the training state goes along where both formats have a place for it.

    Raises:
        FormatError, UsageError: as ``read``.
        ConversionError: as ``write``; or what was read answers differently from the file.
    """
    source = Path(source)
    _wanted(Path(path), to)
    name, found = _recognition.recognized(source, _DEFAULT)
    model = _read(found, source, _DEFAULT)
    state = read_state(source) if training else None
    side = _sides.of_file(source, name, found, model, model)
    try:
        return _written(model, Path(path), to, side, Request(tolerance, seed), state)
    except ConversionError:
        prove(model, source, Request(tolerance, seed))  # whose fault it is: a wrong reading is to be told as one
        raise


def write(
    model: Model,
    path: str | Path,
    *,
    to: str | Target = "",
    tolerance: float = 1e-5,
    seed: int = 0,
    original: Program | None = None,
    state: TrainingState | None = None,
) -> Certificate:
    """Write a model, prove that the file answers alike, and put the proof beside it as ``PATH.certificate.json``.

    Args:
        model: what is written.
        path: of the file, or of the folder where the format is one; its own folder must be there.
        to: the format, alone or with what else is to be said of it; found from the suffix if empty.
        tolerance: largest difference allowed, absolute and relative to the answer together.
        seed: of the probe rows.
        original: what the model answered in the program it comes from: raw inputs → outputs, by name. Asked in place
            of the model itself.
        state: what training would go on from; written too where the format has a place for it.

    Raises:
        ConversionError: the file answers differently, cannot hold the model, or cannot be written; no file is left.
        UsageError: the suffix and the format do not agree, several formats have this suffix, or the format is one file
            where shards were asked for.
        UnknownName: there is no such format.
    """
    side = _sides.of_model(model) if original is None else _sides.of_program(model, original)
    return _written(model, Path(path), to, side, Request(tolerance, seed), state)


def lost(model: Model, to: str, state: TrainingState | None = None) -> tuple[str, ...]:
    """What a format cannot hold of a model, one plain sentence each.

    Args:
        model: what would be written.
        to: the format.
        state: what would be written with it; what the reader of it left or guessed is said as well.

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
    return tuple(dict.fromkeys(said + left(model, state)))


def left(model: Model, state: TrainingState | None) -> tuple[str, ...]:
    """What the reader of a file did not take of it, or took on a guess, one plain sentence each."""
    extra = state.extra if state is not None else {}
    told = [*model.source.get("not_taken", ()), *extra.get("not taken", ()), extra.get("guessed", "")]
    return tuple(dict.fromkeys(str(sentence) for sentence in told if sentence))


def _read(found: ModuleType, path: Path, limits: Limits) -> Model:
    model = found.read(path, limits)
    assert isinstance(model, Model)
    return model


def _sentences(model: Model, to: str, carries: Collection[str]) -> Iterator[str]:
    """What follows from what a format says that it carries."""
    if model.graph and "graph" not in carries:
        yield f"the graph is left out, because {to} holds weights alone"
    if model.preprocessing and "preprocessing" not in carries:
        yield f"the preprocessing is left out, because {to} has no place for it; give it what preprocessing makes"
    if model.weights and "names" not in carries:
        yield f"the names of the weights are left out, because {to} has no place for them"


def _written(
    model: Model, path: Path, to: str | Target, side: Side, request: Request, state: TrainingState | None
) -> Certificate:
    wanted, target, found = _wanted(path, to)
    with _files.workplace(path) as folder:
        made = folder / path.name
        refused = ""
        if wanted.shard_size:
            found.write_shards(model, made, wanted.shard_size)
        else:
            refused = _training_refused(model, state, made, found)
        beside = () if made.is_dir() else sorted(file for file in folder.iterdir() if file != made)
        said = (*lost(model, target, state), *([refused] if refused else []))
        asked = Request(request.tolerance, request.seed, said, beside)
        certificate = _prove(model, made, target, side, asked)
        proof = _certificate.beside(made)
        proof.write_text(_certificate.as_json(certificate), encoding="utf-8")
        if made.is_dir():
            _folders.place(made, path)
        _files.place([*beside, *([made] if made.is_file() else []), proof], path.parent)
    return certificate


def _training_refused(model: Model, state: TrainingState | None, made: Path, found: ModuleType) -> str:
    """Write a model, with its training state where the format takes it; why it does not take this one, if it does not.

    Raises:
        ConversionError: the format cannot hold the model itself.
    """
    if state is None or not hasattr(found, "write_training"):
        found.write(model, made)
        return ""
    try:
        found.write_training(model, state, made)
    except ConversionError as wrong:
        if made.is_dir():
            shutil.rmtree(made)
        made.unlink(missing_ok=True)
        found.write(model, made)
        return f"the training state (step {state.step:,}) is left out, because {wrong}"
    return ""


def _wanted(path: Path, to: str | Target) -> tuple[Target, str, ModuleType]:
    """What is to be written, the name of its format and the format, once the place is known to be free."""
    wanted = to if isinstance(to, Target) else Target(to)
    target, found = _recognition.asked_for(path, wanted.format)
    if wanted.shard_size and not hasattr(found, "write_shards"):
        raise UsageError(f"{target} is written as one file; leave the size of shards out")
    _free(path, target, found)
    return wanted, target, found


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


def _prove(model: Model, made: Path, target: str, side: Side, request: Request) -> Certificate:
    """Ask the original and the file, and refuse the file if they answer differently."""
    found = SHELF.take(target)
    if not _recognition.reads(found):
        again = model if "preprocessing" in found.CARRIES else _sides.bare(model)
        return _proving.prove(model, side, _sides.of_file(made, target, found, again, model, made=True), request)
    try:
        again = _read(found, made, _DEFAULT)
    except (EngramError, OSError) as wrong:
        raise ConversionError(f"{made.name} could not be read again once written: {wrong}") from wrong
    if "names" in found.CARRIES:
        _equal_weights(model, again, made.name)
    other = _sides.of_file(made, target, found, again, model, made=True)
    if not model.graph or not again.graph:
        return _proving.prove_weights(model, again, side, other, request)
    _equal_outputs(model, again, request.lost, made.name)
    return _proving.prove(model, side, other, request, again)


def _equal_outputs(model: Model, again: Model, lost: Collection[str], name: str) -> None:
    """Refuse a file that silently has fewer outputs than the model; those that it has are compared anyway."""
    gone = len(model.signature.outputs) - len(again.signature.outputs)
    if gone > 0 and not lost:
        raise ConversionError(f"{name} lost {gone} of {len(model.signature.outputs)} outputs; nothing was written")


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
