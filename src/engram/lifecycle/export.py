"""``export`` and ``import``: between kept versions and files of any format, with proof that both answer the same."""

from __future__ import annotations

from pathlib import Path

from engram.errors import UsageError
from engram.formats._convert import convert as convert_file
from engram.formats._convert import read_proven, read_state, write
from engram.formats._recognition import usual_suffix
from engram.records import Certificate, Version
from engram.store.references import check_name
from engram.store.store import Store

__all__ = ["convert", "export", "keep_file"]


def export(
    reference: str, *, to: str, path: str | Path | None, store: Store, tolerance: float, training: bool = True
) -> tuple[Path, Certificate]:
    """Write a kept version to a file.

    Args:
        reference: of the version.
        to: the format; empty means that the suffix of the path says it.
        path: where; None writes NAME.FORMAT here.
        store: where the version is.
        tolerance: largest difference of answers that is allowed.
        training: whether the training state goes along where version and format have one.

    Returns:
        The file and its certificate, which lies beside it too.

    Raises:
        ConversionError: the file would answer differently; none is written.
        VersionNotFound: no such version.
    """
    if path is None and not to:
        raise UsageError("say where or to what format: engram export REF --to onnx, or -o FILE.onnx")
    version = store.version(reference)
    place = Path(path) if path is not None else Path(f"{version.name}{usual_suffix(to)}")
    state = store.state(reference) if training and "training" in version.holds else None
    return place, write(store.load(reference), place, to=to, tolerance=tolerance, state=state)


def keep_file(path: str | Path, name: str, *, store: Store) -> Version:
    """Keep a model file as a version, with its training state where it carries one; its code is never run.

    Raises:
        FormatError: the file is damaged, hostile or of no known format.
        ConversionError: what was read answers differently from the file; nothing is kept.
    """
    check_name(name)
    model, certificate = read_proven(path)
    facts = {"imported": Path(path).name, "parameters": model.parameters}
    return store.keep(name, model, state=read_state(path), certificate=certificate, facts=facts)


def convert(path: str | Path, out: str | Path, *, to: str = "", tolerance: float, training: bool = True) -> Certificate:
    """Turn a model file into another format, with proof that the new one answers as the old one does.

    Raises:
        FormatError: the file is damaged, hostile or of no known format.
        ConversionError: what was read or what would be written answers differently; nothing is written.
    """
    return convert_file(path, out, to=to, tolerance=tolerance, training=training)
