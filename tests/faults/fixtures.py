"""What every test of faults stands on: a stage, ground to make stores on, and a store with a past."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from faults.stage import KINDS, Fault, Stage, Step, build, open_stage

__all__ = ["Ground", "ended", "furnished", "ground", "outlived", "stage"]

_ROOM = 1_000_000_000


class Ground:
    """A folder in memory, where hundreds of stores come and go; on the disk where there is no room in memory."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._number = 0

    def fresh(self) -> Path:
        """A path where nothing is; what was there before is removed."""
        shutil.rmtree(self.folder / f"store-{self._number}", ignore_errors=True)
        self._number += 1
        return self.folder / f"store-{self._number}"

    def copy(self, template: Path) -> Path:
        """A copy of a store; the copy before it is removed."""
        return Path(shutil.copytree(template, self.fresh()))


@pytest.fixture(scope="session")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A process with the shim in front of the C library."""
    try:
        library = build(tmp_path_factory.mktemp("shim"))
    except RuntimeError as missing:
        pytest.skip(str(missing))
    with open_stage(library) as opened:
        yield opened


@pytest.fixture(scope="session")
def ground() -> Iterator[Ground]:
    """Where stores are made, and removed when all is done."""
    memory = Path("/dev/shm")
    roomy = memory.is_dir() and os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > _ROOM
    with tempfile.TemporaryDirectory(prefix="engram-faults-", dir=memory if roomy else None) as folder:
        yield Ground(Path(folder).resolve())


@pytest.fixture(scope="session")
def furnished(stage: Stage, ground: Ground) -> Path:
    """A store with a past; tests copy it."""
    folder = ground.folder / "furnished"
    outcome = stage.play(folder, Step("furnish"))
    assert not outcome.told("raised"), outcome
    return folder


@pytest.fixture(scope="session")
def outlived(stage: Stage, ground: Ground) -> Path:
    """A run of which a checkpoint has outlived the one that it stands on, so that it is to be moved to another."""
    folder = ground.folder / "outlived"
    saved = [act for step in range(1, 6) for act in (["checkpoint", step], ["demote", 2])]
    acts = [["begin", "income-1", "last 1, every 2nd"], *saved, ["checkpoint", 6]]
    outcome = stage.play(folder, Step("play", {"acts": acts}))
    assert not outcome.told("raised"), outcome
    return folder


@pytest.fixture(scope="session")
def ended(stage: Stage, ground: Ground, furnished: Path) -> Path:
    """The same once its run has ended: there are blobs to sweep, and checkpoints to be made differences."""
    folder = ground.folder / "ended"
    shutil.copytree(furnished, folder)
    acts = [["checkpoint", 5], ["keep", 3, "house"], ["finish", "stopped"]]
    killed = stage.play(
        folder, Step("play", {"acts": acts}), Step("keep", {"seed": 4}, Fault("kill before", 5, kinds=KINDS["name"]))
    )
    assert killed.killed, killed
    assert not killed.told("raised"), killed
    return folder
