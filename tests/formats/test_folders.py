"""Folders of strangers are walked with care; folders of ours are never half there."""

import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from engram.errors import FormatError, UsageError
from engram.formats._folders import digest, files, place
from engram.records import Limits


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model's folder."""
    made = tmp_path / "model"
    (made / "variables" / "deep").mkdir(parents=True)
    for name in ("saved_model.pb", "variables/a.data", "variables/a.index", "variables/deep/x", "été..v2 b.txt", "-rf"):
        (made / name).write_text(name)
    return made


def test_every_file_is_found_by_its_name(folder: Path):
    found = files(folder, Limits())
    assert list(found) == sorted(found)
    assert {name: path.read_text() for name, path in found.items()} == {name: name for name in found}
    assert len(found) == 6


def test_the_digest_is_what_the_docstring_says(folder: Path):
    command = digest.__doc__.split("``")[3]
    assert command.startswith("find ")
    told = subprocess.run(["bash", "-c", command], cwd=folder, capture_output=True, text=True, check=True).stdout
    assert digest(folder, Limits()) == f"sha256:{told.split()[0]}"
    (folder / "saved_model.pb").rename(folder / "saved_model_.pb")
    assert digest(folder, Limits()) != f"sha256:{told.split()[0]}"


def trap_link(folder: Path) -> None:
    (folder / "secret").symlink_to("/etc/passwd")


def trap_linked_folder(folder: Path) -> None:
    (folder / "variables" / "loop").symlink_to(folder)


def trap_pipe(folder: Path) -> None:
    os.mkfifo(folder / "variables" / "pipe")


def trap_second_name(folder: Path) -> None:
    os.link(folder / "saved_model.pb", folder.parent / "elsewhere")


def trap_newline(folder: Path) -> None:
    (folder / "a\nb").write_text("1")


def trap_case(folder: Path) -> None:
    (folder / "SAVED_MODEL.pb").write_text("1")


@pytest.mark.parametrize(
    ("trap", "reason"),
    [
        (trap_link, "'secret' in it is a symbolic link"),
        (trap_linked_folder, "'variables/loop' in it is a symbolic link"),
        (trap_pipe, "'variables/pipe' in it is a pipe"),
        (trap_second_name, "'saved_model.pb' in it has a second name elsewhere"),
        (trap_newline, r"'a\\nb' in it is no name"),
        (trap_case, "differ only in case"),
    ],
)
def test_what_is_no_plain_file_is_refused_by_name(folder: Path, trap, reason: str):
    trap(folder)
    with pytest.raises(FormatError, match=reason):
        files(folder, Limits())


def test_the_limits_hold_to_the_file_and_to_the_level(folder: Path):
    usual = Limits()
    assert files(folder, replace(usual, files=8, nesting=2))
    with pytest.raises(FormatError, match="more than 7 files and folders"):
        files(folder, replace(usual, files=7))
    with pytest.raises(FormatError, match="more than 1 folders deep"):
        files(folder, replace(usual, nesting=1))


def test_a_folder_that_is_not_there_is_named(tmp_path: Path):
    with pytest.raises(UsageError, match="cannot be opened: no such file"):
        files(tmp_path / "nowhere", Limits())


def test_a_finished_folder_takes_the_place_of_an_older_one_in_one_step(folder: Path, tmp_path: Path):
    target = tmp_path / "target"
    target.mkdir()
    (target / "old").write_text("old")
    place(folder, target)
    assert (target / "saved_model.pb").exists()
    assert not (target / "old").exists()
    assert (folder / "old").read_text() == "old"
    place(target, tmp_path / "fresh")
    assert (tmp_path / "fresh" / "variables" / "deep" / "x").exists()
    assert not target.exists()
