"""``export`` and ``import``: between kept versions and files of any format, with proof that both answer the same."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from engram.errors import UsageError
from engram.formats._convert import Target, left, prove, read, read_state, write
from engram.formats._proof import digest
from engram.formats._proving import Request
from engram.formats._recognition import usual_suffix
from engram.lifecycle.adopt import adopted
from engram.records import Certificate, Model, Progress, Version, Watch
from engram.store.references import check_name
from engram.store.store import Store

__all__ = ["export", "keep_file"]


def _ignore(_progress: Progress) -> None:
    """Nobody is watching."""


def export(
    reference: str,
    *,
    to: str | Target,
    path: str | Path | None,
    store: Store,
    tolerance: float,
    training: bool = True,
    watch: Watch = _ignore,
) -> tuple[Path, Certificate]:
    """Write a kept version to a file.

    Args:
        reference: of the version.
        to: the format, alone or with what else is to be said of it; empty means that the suffix of the path says it.
        path: where; None writes NAME.FORMAT here.
        store: where the version is.
        tolerance: largest difference of answers that is allowed.
        training: whether the training state goes along where version and format have one.
        watch: is told of the stages.

    Returns:
        The file and its certificate, which lies beside it too.

    Raises:
        ConversionError: the file would answer differently; none is written.
        VersionNotFound: no such version.
    """
    wanted = to if isinstance(to, Target) else Target(to)
    if path is None and not wanted.format:
        raise UsageError("say where or to what format: engram export REF --to onnx, or -o FILE.onnx")
    version = store.version(reference)
    place = Path(path) if path is not None else Path(f"{version.name}{usual_suffix(wanted.format)}")
    state = store.state(reference) if training and "training" in version.holds else None
    watch(Progress("exporting", note=str(place)))
    return place, write(store.load(reference), place, to=wanted, tolerance=tolerance, state=state)


def keep_file(
    path: str | Path, name: str, *, store: Store, graph: str = "", other: Model | None = None, watch: Watch = _ignore
) -> Version:
    """Keep a model file as a version, with its training state where it carries one; its code is never run.

    Args:
        path: of the file or folder.
        name: of the network.
        store: where it is kept.
        graph: where the graph of weights that come alone is taken from, as it was named.
        other: what lies there.
        watch: is told of the stages.

    Raises:
        FormatError: the file is damaged, hostile or of no known format.
        ConversionError: what was read answers differently from the file; nothing is kept.
        UsageError: the file holds weights alone and no graph is given, or one that does not fit.
    """
    check_name(name)
    watch(Progress("reading", note=str(path)))
    model, state = read(path), read_state(path)
    if not model.graph and other is None:
        raise UsageError(
            f"{path} holds weights alone, which cannot answer; say whose graph they belong to, a version's, a model "
            f"file's or a pipeline's: engram import {path} --name {name} --graph REF"
        )
    watch(Progress("proving"))
    certificate = prove(model, Path(path), Request(lost=left(model, state)))
    if other is not None:
        model = adopted(model, other, path=str(path), graph=graph)
        certificate = replace(certificate, converted=digest(model))
    facts = {"imported": Path(path).name, "parameters": model.parameters}
    if graph:
        facts["graph"] = graph
    watch(Progress("keeping"))
    return store.keep(name, model, state=state, certificate=certificate, facts=facts)
