"""From the text of a pipeline file to a frozen ``Pipeline``.

Only the form is checked here. Whether a column exists or a network can be built is known to the stages that own these
things; what they raise names a ``place`` in the file, and ``located`` turns that into a file name and a line.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from engram.errors import UnknownName, UsageError
from engram.pipelines.lines import line_of
from engram.plugins import nearest, options
from engram.records import Pipeline
from engram.records.pipeline import (
    AugmentSection,
    DataSection,
    EvaluateSection,
    KeepSection,
    ModelSection,
    TrainSection,
)

__all__ = ["located", "parse", "read"]

_SECTIONS = ("data", "columns", "model", "augment", "train", "evaluate", "keep", "lock")
_THREADS = 256  # each takes memory of its own before it does any work
_DATA_KEYS = ("target", "kind", "names", "test", "validation", "split")


@dataclass(frozen=True, slots=True)
class _Data:
    """The keys of ``[data]`` that every source shares, as they are written."""

    source: str | tuple[str, ...] = ()
    target: str = ""
    kind: str = ""
    names: tuple[str, ...] = ()
    test: float | str = 0.2
    validation: float = 0.1
    split: str = ""


@dataclass(frozen=True, slots=True)
class _Keep:
    """The keys of ``[keep]``, with ``if`` under a name that Python allows."""

    name: str = ""
    alias: str = ""
    conditions: Mapping[str, str] = field(default_factory=dict)


def read(path: str | Path) -> Pipeline:
    """The pipeline file at this path.

    Raises:
        UsageError: it is not there, is not TOML, or has a wrong key or value; with the line.
    """
    place = Path(path)
    try:
        text = place.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UsageError(f"{place}: no such pipeline file; make one with: engram new {place} --from DATA") from None
    except (OSError, UnicodeDecodeError) as wrong:
        raise UsageError(f"{place}: cannot be read as a UTF-8 text file ({wrong}); check the path") from None
    name = place.name.removesuffix(".toml").removesuffix(".lock")
    with located(text, place.name):
        pipeline = parse(text, name=name, folder=str(place.resolve().parent))
    return replace(pipeline, file=place.name)


def parse(text: str, *, name: str = "network", folder: str = ".") -> Pipeline:
    """The pipeline that this text describes.

    Raises:
        UsageError: the text is not TOML, or a value has the wrong type or range.
        UnknownName: a section or key does not exist; the nearest is suggested.
    """
    tree = _toml(text)
    for section, value in tree.items():
        if section not in _SECTIONS:
            raise UnknownName(f"section [{section}] does not exist; {nearest(section, _SECTIONS)}", place=section)
        if not isinstance(value, dict):
            raise UsageError(f"{section} = {value!r} stands outside a section; write [{section}] first", place=section)
    if "data" not in tree:
        raise UsageError('the section [data] is missing; it needs at least from = "FILE" and target = "COLUMN"')
    return Pipeline(
        data=_data(tree["data"]),
        columns=tree.get("columns", {}),
        model=_model(tree.get("model", {})),
        augment=options(AugmentSection, tree.get("augment", {}), "augment"),
        train=_train(tree.get("train", {})),
        evaluate=_evaluate(tree.get("evaluate", {})),
        keep=_keep(tree.get("keep", {})),
        lock=tree.get("lock", {}),
        folder=folder,
        name=name,
        file=f"{name}.toml",
        text=text,
    )


@contextmanager
def located(text: str, name: str) -> Iterator[None]:
    """Errors raised inside that name a place in this text get the file's name and the line in front."""
    try:
        yield
    except UsageError as wrong:
        line = line_of(text, wrong.place) if wrong.place else 0
        where = f"{name}:{line}" if line else name
        if str(wrong).startswith(name):
            raise
        raise type(wrong)(f"{where}: {wrong}") from None


def _toml(text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as wrong:
        bare = re.search(r"=\s*[+-]?\.\d", text)
        hint = "; TOML wants a digit before the point, so write 0.1 for .1" if bare else ""
        raise UsageError(f"not valid TOML: {wrong}{hint}; strings need quotes and lists need commas") from None


def _data(section: Mapping[str, Any]) -> DataSection:
    if "from" not in section:
        raise UsageError('[data] needs from = "FILE", a folder, a zip, or sklearn:NAME', place="data")
    if not isinstance(section["from"], (str, list)):
        raise UsageError(
            f"[data] from = {section['from']!r} is refused: it is a text, or a list of texts", place="data.from"
        )
    given = {"source": section["from"], **{k: v for k, v in section.items() if k in _DATA_KEYS}}
    data = options(_Data, given, "data")
    source = (data.source,) if isinstance(data.source, str) else data.source
    _share("data", "validation", data.validation)
    if not isinstance(data.test, str):
        _share("data", "test", data.test)
    rest = {k: v for k, v in section.items() if k != "from" and k not in _DATA_KEYS}
    return DataSection(source, data.target, data.kind, data.names, data.test, data.validation, data.split, rest)


def _model(section: Mapping[str, Any]) -> ModelSection:
    kind = section.get("kind", "")
    if not isinstance(kind, str):
        raise UsageError(f'[model] kind = {kind!r} is refused: it is a name such as "mlp"', place="model.kind")
    return ModelSection(kind, {k: v for k, v in section.items() if k != "kind"})


def _train(section: Mapping[str, Any]) -> TrainSection:
    train: TrainSection = options(TrainSection, section, "train")
    for key in ("epochs", "batch", "threads"):
        value = getattr(train, key)
        if value is not None and value < 1:
            raise UsageError(f"[train] {key} = {value} is refused: it must be at least 1", place=f"train.{key}")
    if train.threads is not None and train.threads > _THREADS:
        raise UsageError(
            f"[train] threads = {train.threads} is refused: at most {_THREADS}; leave it out to have it found",
            place="train.threads",
        )
    for key in ("l1", "l2", "clip", "minutes", "label_smoothing"):
        if getattr(train, key) < 0:
            raise UsageError(
                f"[train] {key} = {getattr(train, key)} is refused: it must not be negative", place=f"train.{key}"
            )
    _share("train", "label_smoothing", train.label_smoothing)
    if not 0 <= train.seed < 2**32:
        raise UsageError(
            f"[train] seed = {train.seed} is refused: it must be from 0 to {2**32 - 1}", place="train.seed"
        )
    if train.ema is not None and not 0 <= train.ema < 1:
        raise UsageError(f"[train] ema = {train.ema} is refused: it must be from 0 to below 1", place="train.ema")
    return train


def _evaluate(section: Mapping[str, Any]) -> EvaluateSection:
    evaluate: EvaluateSection = options(EvaluateSection, section, "evaluate")
    if evaluate.intervals < 0:
        raise UsageError(
            f"[evaluate] intervals = {evaluate.intervals} is refused: it must not be negative",
            place="evaluate.intervals",
        )
    return evaluate


def _keep(section: Mapping[str, Any]) -> KeepSection:
    for key in section:
        if key not in {"name", "alias", "if"}:
            raise UnknownName(
                f"[keep] has no key {key!r}; {nearest(key, ('name', 'alias', 'if'))}", place=f"keep.{key}"
            )
    conditions = section.get("if", {})
    if not isinstance(conditions, dict) or not all(isinstance(value, str) for value in conditions.values()):
        raise UsageError(
            f'[keep] if = {conditions!r} is refused: it is a table such as {{ accuracy = ">= 0.85" }}', place="keep.if"
        )
    keep = options(_Keep, {("conditions" if k == "if" else k): v for k, v in section.items()}, "keep")
    return KeepSection(keep.name, keep.alias, keep.conditions)


def _share(section: str, key: str, value: float) -> None:
    if not 0 <= value < 1:
        raise UsageError(
            f"[{section}] {key} = {value} is refused: it is a share from 0 to below 1", place=f"{section}.{key}"
        )
