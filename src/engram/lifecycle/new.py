"""``new``: a first pipeline file for data nobody has looked at, with what was found in it as comments.

The file runs as it is. What would be refused in a pipeline file that a person wrote (a stray word among numbers, a name
that cannot be one) is settled here in the most careful way, and said beside it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomlkit

from engram.data._describe import doubts, look, strangers, suggest_target
from engram.errors import UnknownName, UsageError
from engram.lifecycle.whole import write
from engram.plugins import nearest
from engram.records import Column, Dataset
from engram.settings import Settings
from engram.store.references import check_name

__all__ = ["Made", "new"]

_WIDTH = 34
_MOST_WORDS = 20  # more different ones are no marks of a gap


@dataclass(frozen=True, slots=True)
class Made:
    """What a new pipeline file is about.

    Attributes:
        sentence: what was found.
        target: the column to be predicted.
        rows, columns: how many.
        findings: what was settled in a way that a person should look at, one sentence each.
    """

    sentence: str
    target: str
    rows: int
    columns: int
    findings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Seen:
    """The data, and what the file must say of them: ``[data]`` keys as TOML, kinds of doubted columns, and why."""

    dataset: Dataset
    target: str
    said: tuple[str, ...]
    kinds: dict[str, tuple[str, str]]
    findings: tuple[str, ...]


def new(  # noqa: PLR0913 - what a pipeline file is made from
    path: Path,
    data: str,
    *,
    target: str,
    names: tuple[str, ...],
    test: str,
    force: bool,
    settings: Settings,
    given: Mapping[str, Any] | None = None,
) -> Made:
    """Write a commented pipeline file.

    Args:
        path: the file to write.
        data: as in ``[data] from``.
        target: the column to predict; empty means found.
        names: of the columns, where the file has no header.
        test: the official test file or the share to hold out; empty for the default.
        force: write over a file that is already there.
        settings: of this process.
        given: ``kind`` and options of the source, as in ``[data]``.

    Raises:
        UsageError: the file is already there, or cannot be written.
        DataError: the data cannot be read.
        UnknownName: the target is no column.
    """
    if path.exists() and not force:
        raise UsageError(f"{path} is already there; choose another name or say --force")
    asked = _Asked(data, target, names, given or {}, (Path(), *([settings.data] if settings.data else [])))
    seen = _look(asked)
    place = [f"from = {_quoted(_relative(data, path))}"]
    text = "\n".join((*_data(seen, place, test), *_columns(seen), *_rest(seen.dataset, path)))
    write(path, text, "choose another folder")
    found = "" if target else " (found; change it in the file if it is another)"
    rows, columns = sum(len(part) for part in seen.dataset.parts.values()), len(seen.dataset.columns)
    sentence = f"{path}: {rows:,} rows of {columns} columns, predicting {seen.target!r}{found}"
    return Made(sentence, seen.target, rows, columns, (*seen.dataset.notes, *seen.findings))


@dataclass(frozen=True, slots=True)
class _Asked:
    """What the user said of the data."""

    data: str
    target: str
    names: tuple[str, ...]
    given: Mapping[str, Any]
    folders: tuple[Path, ...]

    def read(self, **more: object) -> Dataset:
        """The data, with more options."""
        options = {key: value for key, value in self.given.items() if key != "kind"} | more
        kind = str(self.given.get("kind", ""))
        return look(self.data, names=self.names, kind=kind, target=self.target, folders=self.folders, options=options)


def _look(asked: _Asked) -> _Seen:
    """What the data are, with stray words among numbers taken for gaps."""
    names = asked.names
    said = [f"names = [{', '.join(map(_quoted, names))}]"] if names else []
    said += [tomlkit.item({key: value}).as_string().strip() for key, value in asked.given.items()]
    findings = []
    dataset = asked.read()
    stray = {name: words for name, words in strangers(dataset).items() if 0 < len(words) <= _MOST_WORDS}
    if stray:
        words = sorted({word for some in stray.values() for word in some})
        gaps = [*dataset.gaps, *words]
        said.append(f"missing = [{', '.join(map(_quoted, gaps))}]")
        findings += [f"column {n!r}: {', '.join(map(repr, w))} taken for a gap" for n, w in stray.items()]
        dataset = asked.read(missing=gaps)
    chosen = _target(dataset, asked.data, asked.target)
    kinds = dict(doubts(dataset))
    if kinds.get(chosen, ("",))[0] == "ignore":
        raise UsageError(kinds[chosen][1])
    findings += [f"column {name!r} is taken as {kind!r}: {why}" for name, (kind, why) in kinds.items()]
    return _Seen(dataset, chosen, tuple(said), kinds, tuple(findings))


def _target(dataset: Dataset, data: str, target: str) -> str:
    have = [column.name for column in dataset.columns]
    if target and target not in have:
        raise UnknownName(f"{data} has no column {target!r}; {nearest(target, have)}")
    chosen = target or dataset.target or suggest_target(dataset.columns)
    if not chosen:
        raise UsageError(f"{data} has no column that could be predicted; say which one with --target")
    return chosen


def _relative(data: str, path: Path) -> str:
    """The data as seen from the pipeline file's folder, where that is where it lies."""
    if not Path(data).exists():
        return data
    return str(Path(data).resolve()) if path.parent.resolve() != Path.cwd() else data


def _data(seen: _Seen, place: list[str], test: str) -> list[str]:
    column = seen.dataset.column(seen.target)
    about = f"# {_about(column)}" if column.kind != "ignore" else ""
    return [
        "# Every section but [data] is optional; what is not said is found, and written to the lock file.",
        "[data]",
        *place,
        f"{f'target = {_quoted(seen.target)}':<{_WIDTH}} {about}".rstrip(),
        *seen.said,
        _test(test) if test else f"{'# test = 0.2':<{_WIDTH}} # the share held out, or the official test file",
        "",
    ]


def _columns(seen: _Seen) -> list[str]:
    heading = "[columns]" if seen.kinds else "# [columns]"
    doubted = [
        f"{f'{_quoted(name)} = {_quoted(kind)}':<{_WIDTH}} # {_plain(why)}" for name, (kind, why) in seen.kinds.items()
    ]
    others = [c for c in seen.dataset.columns if c.name != seen.target and c.name not in seen.kinds]
    found = [f"{f'# {_quoted(c.name)} = {_quoted(c.kind)}':<{_WIDTH}} # {_about(c)}" for c in others]
    return [f"{heading:<{_WIDTH}} # only what differs from what was found:", *doubted, *found, ""]


def _rest(dataset: Dataset, path: Path) -> list[str]:
    """The network, and what may be said of training and keeping."""
    pictures = any(column.kind == "image" for column in dataset.columns)
    lines = ["[model]", f"kind = {_quoted('cnn' if pictures else 'mlp')}", ""]
    if pictures:
        lines += ["[augment]", f"{'shift = 2':<{_WIDTH}} # training images are moved by up to so many pixels", ""]
    lines += ["# [train]", "# epochs = 30", '# optimizer = { name = "adamw", lr = 1e-3 }', ""]
    name = _name(path.stem)
    if name == path.stem:
        return [*lines, "# [keep]", '# if = { accuracy = ">= 0.8" }', ""]
    return [*lines, "[keep]", f"name = {_quoted(name)}", '# if = { accuracy = ">= 0.8" }', ""]


def _name(stem: str) -> str:
    """A name for the network: that of the file, with what no name may hold left out."""
    try:
        return check_name(stem)
    except UsageError:
        return re.sub(r"[^a-z0-9._-]+", "-", stem.lower()).strip("._-")[:100] or "network"


def _test(test: str) -> str:
    try:
        return f"test = {float(test)}"
    except ValueError:
        return f"test = {_quoted(test)}"


def _about(column: Column) -> str:
    """Why a column is of its kind, how many values it has, and how many gaps."""
    reason = column.reason or column.kind
    counted = "" if "different" in reason or column.distinct <= 1 else f", {column.distinct:,} different"
    gaps = f", {column.missing:,} gaps" if column.missing else ""
    return _plain(f"{reason}{counted}{gaps}")


def _plain(text: str) -> str:
    """Text that stays on its line, whatever the data hold."""
    return "".join(c if c.isprintable() else " " for c in text)


def _quoted(text: str) -> str:
    """As a TOML string."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(c if c.isprintable() else f"\\U{ord(c):08x}" for c in escaped) + '"'
