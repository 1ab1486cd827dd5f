"""A disk that is full, a folder that is forbidden: one sentence, and the store is as it was."""

import os
import resource
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from engram.errors import StoreError
from engram.records import Model
from engram.store.store import Store
from engram.store.store import open as open_store


@pytest.fixture
def small_disk(tmp_path) -> Iterator[Path]:
    """A file system of 16 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=16m", "none", str(folder)], capture_output=True, check=False
    )
    if made.returncode:
        pytest.skip(f"only root can make a small file system: {made.stderr.decode().strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def refusal(store: Store, model: Model) -> str:
    """Why a model could not be kept; empty if it could."""
    try:
        store.keep("income", model)
    except StoreError as refused:
        return str(refused)
    return ""


def test_a_full_disk_is_an_error_and_the_store_is_as_it_was(small_disk, uniform, seeds):
    store = open_store(small_disk / "engrams", who="ada")
    store.keep("income", uniform(1))
    refused = 0
    for room in range(0, 4_400_000, 200_000):
        before = {path.name for path in store.folder.glob("blobs/sha256/*")}
        versions = store.versions()
        free = shutil.disk_usage(small_disk).free
        filler = small_disk / "filler"
        filler.write_bytes(bytes(max(free - room, 0)))
        sentence = refusal(store, uniform(2 + room))
        if sentence:
            refused += 1
            assert "no space left" in sentence or "full" in sentence
            assert store.versions() == versions
            assert {path.name for path in store.folder.glob("blobs/sha256/*")} == before
            assert list(store.folder.glob("incoming/*")) == []
        filler.unlink()
        seeds(store)
    assert 0 < refused < 22
    assert store.keep("income", uniform(2)).name == "income"


def test_a_limit_on_file_sizes_is_an_error_that_names_the_file(store, uniform, seeds):
    store.keep("income", uniform(1))
    before = sorted(path for path in store.folder.rglob("*") if path.is_file() and "catalog" not in path.name)

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, hard))
    try:
        sentence = refusal(store, uniform(2))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "blobs/sha256/" in sentence
    assert "file too large; raise the limit on file sizes" in sentence
    after = sorted(path for path in store.folder.rglob("*") if path.is_file() and "catalog" not in path.name)
    assert after == before
    assert len(seeds(store)) == 1


@contextmanager
def as_nobody() -> Iterator[None]:
    """Without the rights of root, to whom nothing is forbidden."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(65_534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


def test_a_folder_that_may_not_be_written_is_named(uniform):
    with tempfile.TemporaryDirectory() as name:  # pytest's own folders are closed to others
        folder = Path(name)
        store = open_store(folder / "engrams", who="ada")
        store.keep("income", uniform(1))
        for path in [folder, *folder.rglob("*")]:
            path.chmod(0o555 if path.is_dir() else 0o444)
        with as_nobody():
            with pytest.raises(StoreError, match="ask for the right to"):
                open_store(store.folder, who="ada").keep("income", uniform(2))
            with pytest.raises(StoreError, match=f"cannot make {name}/new: permission denied; ask for the right to"):
                open_store(folder / "new", who="ada").keep("income", uniform(2))


@pytest.mark.parametrize("where", ["a file", "a file/below"])
def test_a_place_that_is_a_file_is_named(tmp_path, uniform, where):
    (tmp_path / "a file").write_text("not a folder")
    with pytest.raises(StoreError, match=r"cannot make .*a file.*; choose a folder with --store"):
        open_store(tmp_path / where, who="ada").keep("income", uniform(2))
    assert (tmp_path / "a file").read_text() == "not a folder"
