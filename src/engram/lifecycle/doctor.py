"""``doctor``: what this installation has, and what stands in its way.

Everything is looked at, nothing is changed: a store that is not there yet is no fault, and none is made.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from engram.errors import EngramError
from engram.lifecycle.places import open_store
from engram.settings import Settings
from engram.store.catalogs._urls import bare, same

__all__ = ["Fact", "examine"]

_ROOM = 1 << 30  # a run of an ordinary network and its checkpoints stay below


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing that was looked at.

    Attributes:
        what: it is.
        found: how it is.
        verdict: ``good``, ``absent`` (only some things cannot be done) or ``bad``.
        advice: what to do about it; empty where it is good.
    """

    what: str
    found: str
    verdict: str = "good"
    advice: str = ""


def examine(place: str, settings: Settings) -> tuple[Fact, ...]:
    """Look at everything that commands depend on.

    Args:
        place: of the store; empty for that of the settings.
        settings: of this process.
    """
    return (
        Fact("engram", version("engram")),
        Fact("python", f"{platform.python_version()} on {platform.system()} {platform.machine()}"),
        *_libraries(),
        Fact("processors", f"{_processors()} that this process may use"),
        _gpu(),
        *_store(place, settings),
        *_folders(place or settings.store, settings),
    )


def _libraries() -> Iterator[Fact]:
    """The core's libraries, which must be there, then those of each extra."""
    for line in requires("engram") or []:
        name = re.match(r"[A-Za-z0-9._-]+", line)
        extra = re.search(r"extra == ['\"](\w+)['\"]", line)
        if name is None or name[0] == "engram" or (extra and extra[1] == "test"):
            continue
        try:
            yield Fact(name[0], version(name[0]))
        except PackageNotFoundError:
            wanted = f"engram[{extra[1]}]" if extra else "engram"
            yield Fact(name[0], "not installed", "absent" if extra else "bad", f"pip install '{wanted}'")


def _processors() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _gpu() -> Fact:
    try:
        import torch
    except ModuleNotFoundError:
        return Fact("GPU", "unknown without torch", "absent", "pip install 'engram[torch]'")
    if torch.cuda.is_available():
        return Fact("GPU", f"{torch.cuda.get_device_name(0)}, CUDA {torch.version.cuda}")
    return Fact("GPU", "none that torch sees", "absent", "networks are trained on the processors")


def _store(place: str, settings: Settings) -> Iterator[Fact]:
    store = open_store(place, settings)
    here = store.url if "://" in store.url else str(store.folder.resolve())
    try:
        if not store.exists():
            yield Fact("store", f"{here} is not there yet", "good", "engram run makes it")
            return
        networks, kept, begun = len(store.names()), store.counted(), len(store.runs())
    except EngramError as refused:
        yield Fact("store", here, "bad", str(refused))
        return
    counted = {"network": networks, "version": kept, "run": begun}
    said = ", ".join(f"{number:,} {noun}{'' if number == 1 else 's'}" for noun, number in counted.items())
    yield Fact("store", f"{here}: {said}")
    catalog = "a journal in the store itself" if store.catalog == store.url else store.catalog
    passed = settings.catalog and not same(settings.catalog, store.catalog)
    advice = f"ENGRAM_CATALOG ({bare(settings.catalog)}) is only for stores that have none yet" if passed else ""
    yield Fact("catalog", catalog, "good", advice)


def _folders(store: str, settings: Settings) -> Iterator[Fact]:
    yield _folder("this folder", Path.cwd())
    yield _folder("temporary files", Path(tempfile.gettempdir()))
    if "://" not in store:
        nearest = next(folder for folder in (Path(store).resolve(), *Path(store).resolve().parents) if folder.exists())
        yield _folder("folder of the store", nearest)
    if settings.data is None:
        yield Fact("ENGRAM_DATA", "not set", "good", "data are looked for beside the pipeline file")
    elif settings.data.is_dir():
        yield Fact("ENGRAM_DATA", str(settings.data))
    else:
        yield Fact("ENGRAM_DATA", f"{settings.data} is no folder", "bad", "name a folder that is there")


def _folder(what: str, folder: Path) -> Fact:
    if not folder.is_dir():
        return Fact(what, f"{folder} is no folder", "bad", "choose a folder")
    if not os.access(folder, os.W_OK | os.X_OK):
        return Fact(what, f"{folder} cannot be written", "bad", "change its permissions, or work in another")
    free = shutil.disk_usage(folder).free
    found = f"{folder} can be written, {free / 1e9:.1f} GB free"
    return Fact(what, found) if free > _ROOM else Fact(what, found, "bad", "free some space")
