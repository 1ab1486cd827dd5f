"""``export`` and ``import``: between kept versions and files of any format, with proof that both answer the same."""

from __future__ import annotations

from pathlib import Path

from engram.errors import UsageError
from engram.formats._convert import read, write
from engram.records import Certificate, Version
from engram.store.references import check_name
from engram.store.store import Store

__all__ = ["export", "keep_file"]


def export(
    reference: str, *, to: str, path: str | Path | None, store: Store, tolerance: float
) -> tuple[Path, Certificate]:
    """Write a kept version to a file.

    Args:
        reference: of the version.
        to: the format; empty means that the suffix of the path says it.
        path: where; None writes NAME.FORMAT here.
        store: where the version is.
        tolerance: largest difference of answers that is allowed.

    Returns:
        The file and its certificate, which lies beside it too.

    Raises:
        ConversionError: the file would answer differently; none is written.
        VersionNotFound: no such version.
    """
    if path is None and not to:
        raise UsageError("say where or to what format: engram export REF --to onnx, or -o FILE.onnx")
    version = store.version(reference)
    place = Path(path) if path is not None else Path(f"{version.name}.{to}")
    return place, write(store.load(reference), place, to=to, tolerance=tolerance)


def keep_file(path: str | Path, name: str, *, store: Store) -> Version:
    """Keep a model file as a version; its code is never run.

    Raises:
        FormatError: the file is damaged, hostile or of no known format.
    """
    check_name(name)
    model = read(path)
    return store.keep(name, model, facts={"imported": Path(path).name, "parameters": model.parameters})
