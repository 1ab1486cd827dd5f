"""Opening a file of any format, and writing one with proof that it answers alike.

Content decides what a file is, and its suffix must agree: a file that two programs would take for two things is
refused. Nothing is ever written in place: the file is made in a hidden folder beside its target, asked the same
questions as the model, and brought to its name only when the answers are the same.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import ModuleType

import numpy as np
from numpy import ndarray

from engram.errors import ConversionError, EngramError, FormatError, MissingLibrary, UsageError
from engram.formats import SHELF, _answers, _certificate, _files, _proof
from engram.formats._probes import probes
from engram.plugins import nearest
from engram.records import Certificate, Limits, Model
from engram.runtime import onnxruntime

__all__ = ["Request", "probes", "prove", "read", "read_proven", "write"]

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
    """The model in a file; nothing in it is run.

    Args:
        path: of a regular file.
        limits: the largest of everything that is accepted.

    Raises:
        UsageError: there is no such file.
        FormatError: no format has such files, more than one does, the suffix is another format's, or the file is
            damaged or hostile.
        MissingLibrary: a library that reads it is not installed.
    """
    path = Path(path)
    head = _files.beginning(path)
    if not head:
        raise FormatError(f"{path} is empty; it was perhaps never written to the end")
    name, found = _recognized(head, path)
    if path.suffix and path.suffix.lower() not in found.SUFFIXES:
        wanted = " or ".join(found.SUFFIXES)
        raise FormatError(f"{path} holds {name}, but its suffix is {path.suffix}; rename it to {wanted}")
    model = found.read(path, limits)
    assert isinstance(model, Model)
    return model


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
    target, _ = _recognized(_files.beginning(path), path)
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
) -> Certificate:
    """Write a model, prove that the file answers alike, and put the proof beside it as ``PATH.certificate.json``.

    Args:
        model: what is written.
        path: of the file; its folder must be there.
        to: the format; found from the suffix if empty.
        tolerance: largest difference allowed, absolute and relative to the answer together.
        seed: of the probe rows.
        original: what the model answered in the program it comes from: raw inputs → outputs, by name. Asked in place
            of the model itself.

    Raises:
        ConversionError: the file answers differently, cannot hold the model, or cannot be written; no file is left.
        UsageError: the suffix and the format do not agree.
        UnknownName: there is no such format.
    """
    path = Path(path)
    target = to or _by_suffix(path)
    found = SHELF.take(target)
    if path.suffix.lower() not in found.SUFFIXES:
        raise UsageError(f"{path} should end in {' or '.join(found.SUFFIXES)} to hold {target}; rename it")
    if path.is_dir():
        raise ConversionError(f"{path} is a folder; give the name of a file in it")
    with _files.workplace(path) as folder:
        made = folder / path.name
        found.write(model, made)
        certificate = _prove(model, made, target, Request(tolerance, seed, original))
        beside = sorted(file for file in folder.iterdir() if file != made)
        proof = folder / f"{path.name}.certificate.json"
        proof.write_text(_certificate.as_json(certificate), encoding="utf-8")
        _files.place([*beside, made, proof], path.parent)
    return certificate


def _recognized(head: bytes, path: Path) -> tuple[str, ModuleType]:
    found, missing = {}, None
    for name in SHELF.names():
        try:
            module = SHELF.take(name)
        except MissingLibrary as absent:
            missing = missing or absent
            continue
        if module.recognizes(head, path):
            found[name] = module
    if len(found) > 1:
        raise FormatError(f"{path} could be {' or '.join(found)}; a file must be one thing only")
    if found:
        return next(iter(found.items()))
    if missing is not None:
        raise missing
    raise FormatError(f"{path} is in no format that is read here ({', '.join(SHELF.names())}), or is cut off")


def _by_suffix(path: Path) -> str:
    suffixes = {suffix: name for name in SHELF.names() for suffix in _suffixes(name)}
    if path.suffix.lower() not in suffixes:
        given = f"suffix {path.suffix!r}" if path.suffix else "no suffix"
        raise UsageError(f"{path} has {given}, from which no format follows; {nearest(path.suffix.lower(), suffixes)}")
    return suffixes[path.suffix.lower()]


def _suffixes(name: str) -> tuple[str, ...]:
    try:
        return tuple(SHELF.take(name).SUFFIXES)
    except MissingLibrary:
        return ()


def _prove(model: Model, made: Path, target: str, request: Request) -> Certificate:
    """Ask the model and the file, and refuse the file if they answer differently."""
    found = SHELF.take(target)
    try:
        again = found.read(made, Limits())
    except (EngramError, OSError) as wrong:
        raise ConversionError(f"{made.name} could not be read again once written: {wrong}") from wrong
    if "names" in found.CARRIES:
        _equal_weights(model, again, made.name)
    about = _about(model, made, target, request)
    if not model.graph:
        return _proof.certify(model.weights, again.weights, about)
    return _asked(model, again, made, about, request)


def _about(model: Model, file: Path, target: str, request: Request) -> Certificate:
    """The certificate of a model and a file, before anything was asked."""
    return Certificate(
        original=_proof.digest(model),
        converted=_proof.file_digest(file),
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
    converted = _ask_file(SHELF.take(about.target), again, made, inputs)
    if request.original is not None:
        converted = _shared(answers, converted)
    certificate = _proof.certify(answers, converted, replace(about, rows=rows))
    if not certificate.holds:
        node = _answers.first_difference(model, again, inputs, request.tolerance) if request.original is None else ""
        raise _proof.refusal(certificate, made.name, node)
    return certificate


def _shared(answers: Mapping[str, ndarray], converted: Mapping[str, ndarray]) -> Mapping[str, ndarray]:
    found = {name: array for name, array in converted.items() if name in answers}
    if not found:
        wanted = ", ".join(converted)
        raise UsageError(f"original answered with {', '.join(answers)}, but one of {wanted} is needed to compare")
    return found


def _ask_file(found: ModuleType, again: Model, made: Path, inputs: Mapping[str, ndarray]) -> Mapping[str, ndarray]:
    """A format with a runtime of its own answers from the file itself; any other is read back and served."""
    if not hasattr(found, "run"):
        return _answers.by_session(again, inputs)
    return _answers.in_pieces(lambda piece: found.run(made, piece), again, inputs)


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
