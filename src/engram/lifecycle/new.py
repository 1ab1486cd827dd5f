"""``new``: a first pipeline file for data nobody has looked at, with what was found in it as comments."""

from __future__ import annotations

from pathlib import Path

from engram.data._describe import doubts, look, suggest_target
from engram.errors import UnknownName, UsageError
from engram.plugins import nearest
from engram.records import Column, Dataset
from engram.settings import Settings

__all__ = ["new"]

_WIDEST = 60


def new(
    path: Path, data: str, *, target: str, names: tuple[str, ...], test: str, force: bool, settings: Settings
) -> str:
    """Write a commented pipeline file.

    Args:
        path: the file to write.
        data: as in ``[data] from``.
        target: the column to predict; empty means found.
        names: of the columns, where the file has no header.
        test: the official test file or the share to hold out; empty for the default.
        force: write over a file that is already there.
        settings: of this process.

    Returns:
        What was found, in a sentence.

    Raises:
        UsageError: the file is already there, or cannot be written.
        DataError: the data cannot be read.
        UnknownName: the target is no column.
    """
    if path.exists() and not force:
        raise UsageError(f"{path} is already there; choose another name or say --force")
    folders = [Path(), *([settings.data] if settings.data else [])]
    dataset = look(data, names=names, folders=folders)
    have = [column.name for column in dataset.columns]
    if target and target not in have:
        raise UnknownName(f"{data} has no column {target!r}; {nearest(target, have)}")
    chosen = target or dataset.target or suggest_target(dataset.columns)
    if not chosen:
        raise UsageError(f"{data} has no column that could be predicted; say which one with --target")
    text = _text(dataset, _relative(data, path), chosen, names=names, test=test)
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as wrong:
        raise UsageError(f"{path} cannot be written ({wrong.strerror}); choose another folder") from None
    found = "" if target else " (found; change it in the file if it is another)"
    rows = sum(len(part) for part in dataset.parts.values())
    return f"{path}: {rows:,} rows of {len(have)} columns, predicting {chosen!r}{found}"


def _relative(data: str, path: Path) -> str:
    """The data as seen from the pipeline file's folder, where that is where it lies."""
    if ":" in data or not Path(data).exists():
        return data
    return str(Path(data).resolve()) if path.parent.resolve() != Path.cwd() else data


def _text(dataset: Dataset, data: str, target: str, *, names: tuple[str, ...], test: str) -> str:
    pictures = any(column.kind == "image" for column in dataset.columns)
    lines = [
        "# Every section but [data] is optional; what is not said is found, and written to the lock file.",
        "[data]",
    ]
    lines += [f"from = {_quoted(data)}", f"target = {_quoted(target)}"]
    if names:
        lines.append(f"names = [{', '.join(_quoted(name) for name in names)}]")
    lines.append(
        _test(test) if test else "# test = 0.2              # the share held out, or a file with the official test rows"
    )
    doubted = doubts(dataset)
    heading = "[columns]" if doubted else "# [columns]"
    lines += ["", f"{heading:<26} # only what differs from what was found:"]
    lines += [f"{_quoted(name)} = {_quoted(kind):<20} # {why}" for name, (kind, why) in doubted.items()]
    lines += [f"# {_line(c)}" for c in dataset.columns if c.name != target and c.name not in doubted]
    lines += ["", "[model]", f"kind = {_quoted('cnn' if pictures else 'mlp')}"]
    if pictures:
        lines += ["", "[augment]", "shift = 2                # move training images by up to so many pixels"]
    lines += ["", "# [train]", "# epochs = 30", '# optimizer = { name = "adamw", lr = 1e-3 }']
    lines += ["", "# [keep]", '# if = { accuracy = ">= 0.8" }', ""]
    return "\n".join(lines)


def _test(test: str) -> str:
    try:
        return f"test = {float(test)}"
    except ValueError:
        return f"test = {_quoted(test)}"


def _line(column: Column) -> str:
    said = f"{_quoted(column.name)} = {_quoted(column.kind)}"
    gaps = f", {column.missing:,} gaps" if column.missing else ""
    return f"{said:<40} # {column.reason or column.kind}, {column.distinct:,} values{gaps}"[: _WIDEST * 2]


def _quoted(text: str) -> str:
    """As a TOML string."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in escaped) + '"'
