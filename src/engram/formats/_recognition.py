"""What format a file is in, and what format a name asks for.

Content decides what a file is; its suffix must only agree, because several formats share one (``.h5``, ``.json``,
``.pt``). On writing there is no content yet: there a suffix that several formats share says nothing, and the format
must be named.

What a format declares beside ``SUFFIXES`` and ``CARRIES``, each optional and read here alone:

- ``FOLDER``: its models are folders; ``""`` among its suffixes then means any name.
- ``READS``, ``WRITES``: false for the way that it does not go.
- ``ALSO``: further suffixes that its files may have, which say another format where nothing else is said.
- ``YIELDS``: its content may also be that of another format of the same suffix, and the other then has it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from engram.errors import ConversionError, FormatError, MissingLibrary, UsageError
from engram.formats import SHELF, _files, _folders
from engram.plugins import nearest
from engram.records import Limits

__all__ = ["asked_for", "is_folder", "reads", "recognized", "usual_suffix", "writes"]


def is_folder(module: ModuleType) -> bool:
    """Whether models of a format are folders."""
    return bool(getattr(module, "FOLDER", False))


def reads(module: ModuleType) -> bool:
    """Whether a format is read here."""
    return bool(getattr(module, "READS", True))


def writes(module: ModuleType) -> bool:
    """Whether a format is written here."""
    return bool(getattr(module, "WRITES", True))


def recognized(path: Path, limits: Limits) -> tuple[str, ModuleType]:
    """The one format that a file or folder is in, by its content.

    Raises:
        UsageError: there is no such file.
        FormatError: it is empty, in no known format, in more than one, has the suffix of another one, or is a folder
            that holds anything but plain files.
    """
    folder = path.is_dir()
    if folder:
        _folders.files(path, limits)
    head = b"" if folder else _files.beginning(path)
    if not head and not folder:
        raise FormatError(f"{path} is empty; it was perhaps never written to the end")
    name, found = _claimed(path, head, folder=folder)
    if Path(path.name).suffix and not _agrees(path, name, found):
        wanted = " or ".join(suffix or "no suffix" for suffix in found.SUFFIXES)
        raise FormatError(f"{path} holds {name}, but its suffix is {path.suffix}; rename it to {wanted}")
    return name, found


def asked_for(path: Path, to: str = "") -> tuple[str, ModuleType]:
    """The format that a file is to be written in.

    Args:
        path: of the file; its suffix must be one of the format's.
        to: the format; empty where the suffix alone says it.

    Raises:
        UsageError: suffix and format do not agree, or no format or more than one has this suffix.
        UnknownName: there is no such format.
        ConversionError: the format is only read.
    """
    name = to or _by_suffix(path)
    found = SHELF.take(name)
    if not writes(found):
        raise ConversionError(f"{name} is only read and not written; {_written()}")
    if not _agrees(path, name, found):
        named = [suffix for suffix in found.SUFFIXES if suffix]
        wanted = " or ".join(named) or "no suffix, because it is a folder,"
        raise UsageError(f"{path} should end in {wanted} to hold {name}; rename it")
    return name, found


def usual_suffix(name: str) -> str:
    """What a file of a format ends in unless somebody says otherwise; empty for a folder of any name.

    Raises:
        UnknownName: there is no such format.
    """
    return str(SHELF.take(name).SUFFIXES[0])


def _claimed(path: Path, head: bytes, *, folder: bool) -> tuple[str, ModuleType]:
    found: dict[str, ModuleType] = {}
    missing = None
    for name in SHELF.names():
        try:
            module = SHELF.take(name)
        except MissingLibrary as absent:
            missing = missing or absent
            continue
        if is_folder(module) == folder and module.recognizes(head, path):
            found[name] = module
    found = _without_yielding(found)
    if len(found) > 1:
        raise FormatError(f"{path} could be {' or '.join(found)}; a file must be one thing only")
    if found:
        return next(iter(found.items()))
    if missing is not None:
        raise missing
    raise _unknown(path, folder=folder)


def _unknown(path: Path, *, folder: bool) -> FormatError:
    known = [name for name, module in _modules().items() if is_folder(module) == folder and reads(module)]
    if folder and not known:
        return FormatError(f"{path} is a folder, not a file")
    if folder:
        return FormatError(f"{path} is a folder, not a file, and is no model of the formats that are ({_list(known)})")
    return FormatError(f"{path} is in no format that is read here ({_list(known)}), or is cut off")


def _without_yielding(found: dict[str, ModuleType]) -> dict[str, ModuleType]:
    """Without a format whose content another one of the same suffix knows more closely."""
    kept = dict(found)
    for name, module in found.items():
        others = [other for key, other in found.items() if key != name and not getattr(other, "YIELDS", False)]
        if getattr(module, "YIELDS", False) and any(_share(module, other) for other in others):
            del kept[name]
    return kept


def _share(one: ModuleType, other: ModuleType) -> bool:
    return any(suffix and longer.endswith(suffix) for suffix in one.SUFFIXES for longer in other.SUFFIXES)


def _agrees(path: Path, name: str, module: ModuleType) -> bool:
    """Whether a path ends as the format's do; any name of a folder does that is not the name of another format's."""
    if _matched(path, (*module.SUFFIXES, *getattr(module, "ALSO", ()))):
        return True
    others = (other for key, other in _modules().items() if key != name)
    return "" in module.SUFFIXES and not any(_matched(path, other.SUFFIXES) for other in others)


def _by_suffix(path: Path) -> str:
    """The format whose suffix is the longest that the path ends in."""
    lengths = {name: len(_matched(path, module.SUFFIXES)) for name, module in _modules().items()}
    longest = max(lengths.values(), default=0)
    if not longest:
        suffixes = sorted({suffix for module in _modules().values() for suffix in module.SUFFIXES if suffix})
        given = f"suffix {path.suffix!r}" if path.suffix else "no suffix"
        raise UsageError(f"{path} has {given}, from which no format follows; {nearest(path.suffix.lower(), suffixes)}")
    found = [name for name, length in lengths.items() if length == longest]
    written = [name for name in found if writes(SHELF.take(name))]
    if len(written) > 1:
        raise UsageError(f"{path} could be {' or '.join(written)} by its suffix; say which, as in --to {written[0]}")
    return (written or found)[0]


def _matched(path: Path, suffixes: Sequence[str]) -> str:
    """The longest of some suffixes that a path ends in; a name is more than its suffix."""
    name = path.name.lower()
    found = [suffix for suffix in suffixes if suffix and name.endswith(suffix) and name != suffix]
    return max(found, key=len, default="")


def _modules() -> dict[str, ModuleType]:
    """Every format whose libraries are installed."""
    found = {}
    for name in SHELF.names():
        try:
            found[name] = SHELF.take(name)
        except MissingLibrary:
            continue
    return found


def _written() -> str:
    return f"there are {_list([name for name, module in _modules().items() if writes(module)])}"


def _list(names: list[str]) -> str:
    return ", ".join(names)
