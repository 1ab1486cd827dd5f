"""Making the comparison of a certificate again, with the file that lies beside it and the libraries of today.

The original is seldom at hand. The certificate holds what decides the rows and what the original answered, so the file
is asked the same rows and held against the same answers. The digest comes first: a file that is another one is not
asked at all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from engram.errors import ConversionError, FormatError, UsageError
from engram.formats import _answers, _certificate, _files, _held, _proof, _proving, _recognition, _sides
from engram.formats._answers import Piece
from engram.formats._probes import Question, drawn
from engram.formats._sides import Side
from engram.records import Certificate, Limits, Model

__all__ = ["Verified", "verify"]

_LARGEST = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Verified:
    """A certificate that holds today, too.

    Attributes:
        then: as it lies beside the file.
        now: with what was measured now.
        compared: what the file's answers were held against, in words.
        changed: what is otherwise than it was, one sentence each.
    """

    then: Certificate
    now: Certificate
    compared: str
    changed: tuple[str, ...]


def verify(path: str | Path, limits: Limits = Limits()) -> Verified:  # noqa: B008 - a frozen record
    """Make the certificate of a file again: the same file, the same rows, the same seed.

    Args:
        path: of a file or folder beside which its certificate lies.
        limits: the largest of everything that is accepted.

    Raises:
        UsageError: there is no such file, or no certificate beside it.
        FormatError: the file or a file beside it is not the one that was certified, or the certificate is damaged.
        ConversionError: the file answers otherwise than the original did.
    """
    path = Path(path)
    name, found = _recognition.recognized(path, limits)
    beside = _certificate.beside(path)
    if not beside.exists():
        raise UsageError(f"{path} has no certificate beside it ({beside.name}); convert or export it again to have one")
    then = _certificate.from_json(_files.read(beside, _LARGEST))
    _same_bytes(path, then)
    if name != then.target:
        raise FormatError(f"{beside.name} is about a file in {then.target}, but {path.name} is in {name}")
    if not _recognition.reads(found):
        raise UsageError(f"{name} is only written; export it again to prove it anew")
    model = found.read(path, limits)
    if not model.graph or not then.rows:
        now = replace(then, versions=_proving.versions())
        return Verified(then, now, "the digest alone, for there is no graph to ask", _changed(then, now))
    return _asked(then, model, lambda original: _sides.of_file(path, name, found, model, original))


def _same_bytes(path: Path, then: Certificate) -> None:
    """The digest of every byte that was certified."""
    given = _proof.path_digest(path)
    if given != then.converted:
        raise FormatError(f"{path.name} is not the file that was certified: it is {given} and was {then.converted}")
    for name, digest in then.beside.items():
        given = _proof.path_digest(_files.safe_join(path.parent, name))
        if given != digest:
            raise FormatError(
                f"{name} is not the file that was certified with {path.name}: it is {given}, was {digest}"
            )


def _asked(then: Certificate, model: Model, file: Callable[[Model], Side]) -> Verified:
    """Ask the file again, and hold it against what the original answered, or else against what is read from it."""
    if not then.answers:
        return _against_reading(then, model, file, "the certificate holds no answers")
    asked = _held.question(then)
    original = Model(b"", {}, asked.signature)
    pieces = _prepared(then, model) or _drawn_again(then, asked, original, model)
    if pieces is None:
        return _against_reading(then, model, file, "this release of numpy draws other rows")
    found = file(original).ask(pieces)
    answered = _answers.joined(_answers.told(original, each) for each in found.answers)
    held = _held.answers(then)
    count = min(len(array) for array in held.values())
    both = {name: array[:count] for name, array in answered.items() if name in held}
    about = replace(then, rows=count, runtimes=(then.runtimes[0], found.runtime), versions=_proving.versions())
    now = _proof.certify(held, both, replace(about, served=(then.served[0], found.served)))
    if not now.holds:
        raise _differs(now, _changed(then, now))
    return Verified(then, now, f"what the original answered on {count} rows", _changed(then, now))


def _prepared(then: Certificate, model: Model) -> list[Piece] | None:
    """The rows as the network takes them, where the file has lost the preprocessing that makes them."""
    found = _held.prepared(then)
    if not found:
        return None
    return _answers.pieces(model, dict(zip((s.name for s in model.signature.inputs), found.values(), strict=True)))


def _drawn_again(then: Certificate, asked: Question, original: Model, model: Model) -> list[Piece] | None:
    rows = drawn(asked)
    if _held.digest(rows) != then.asked.get("digest"):
        return None
    return _answers.pieces(original, rows, _answers.batch(original) or _answers.batch(model))


def _against_reading(then: Certificate, model: Model, file: Callable[[Model], Side], why: str) -> Verified:
    request = _proving.Request(then.tolerance, then.seed, then.lost)
    now = _proving.prove(model, _sides.of_model(model), file(model), request)
    return Verified(then, now, f"what is read from it, because {why}", _changed(then, now))


def _differs(now: Certificate, changed: tuple[str, ...]) -> ConversionError:
    worst = max(now.differences, key=lambda difference: difference.absolute)
    since = f"; since then {' and '.join(changed)}" if changed else ""
    return ConversionError(
        f"the file answers otherwise than was certified: output {worst.output!r} differs by {worst.absolute:.3g} "
        f"(allowed {now.tolerance:g}){since}"
    )


def _changed(then: Certificate, now: Certificate) -> tuple[str, ...]:
    """What is otherwise than it was."""
    before = {**then.versions, **_named(then.runtimes[1])}
    after = {**now.versions, **_named(now.runtimes[1])}
    return tuple(
        f"{name} {before[name]} became {after[name]}"
        for name in sorted(before.keys() & after.keys())
        if before[name] != after[name]
    )


def _named(runtime: str) -> dict[str, str]:
    name, _, version = runtime.rpartition(" ")
    return {name: version} if name else {}
