"""Names inside files are data: they lead to plain files in the same folder or nowhere."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engram.errors import FormatError, UsageError
from engram.formats._files import folded, joined, safe_join


@pytest.mark.parametrize("name", ["w.bin", "weights..v2.bin", "sub/w.bin", "..w", "été.bin", "a b", "-rf", "$(x)"])
def test_a_plain_name_leads_to_its_file(tmp_path: Path, name: str):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_bytes(b"1")
    assert safe_join(tmp_path, name) == tmp_path / name


def test_the_folder_itself_may_be_reached_by_a_link(tmp_path: Path):
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "w").write_bytes(b"1")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert safe_join(tmp_path / "link", "w").read_bytes() == b"1"


@given(st.text(st.sampled_from("./\\:a\0~")) | st.text())
def test_no_name_leads_out_of_the_folder(tmp_path_factory: pytest.TempPathFactory, name: str):
    folder = tmp_path_factory.getbasetemp() / "inside"
    folder.mkdir(exist_ok=True)
    (folder / "a").write_bytes(b"1")
    try:
        found = safe_join(folder, name)
    except FormatError:
        return
    assert found.resolve().is_relative_to(folder.resolve())


@pytest.mark.parametrize("names", [["A", "a"], ["é", "e\u0301"], ["straße", "STRASSE"]])
def test_names_that_some_disks_hold_to_be_one_are_refused(names: list[str]):
    with pytest.raises(FormatError, match="differ only"):
        folded(names)
    assert sorted(folded(["a", "b", "a"]).values()) == ["a", "b"]


def test_files_are_joined_in_their_order_up_to_the_limit(tmp_path: Path):
    for name, content in (("a", b"12"), ("empty", b""), ("b", b"345")):
        (tmp_path / name).write_bytes(content)
    paths = [tmp_path / "b", tmp_path / "empty", tmp_path / "a"]
    found = joined(paths, 5)
    found[0] = ord("0")  # memory of its own
    assert found.tobytes() == b"04512"
    assert joined([], 0).size == 0
    with pytest.raises(FormatError, match="3 files have 5 bytes, but at most 4"):
        joined(paths, 4)
    with pytest.raises(FormatError, match="a folder, not a file"):
        joined([tmp_path], 4)
    with pytest.raises(UsageError, match="cannot be opened"):
        joined([tmp_path / "gone"], 4)


def test_a_name_that_is_no_text_is_refused_like_one_that_is_not_there(tmp_path: Path):
    with pytest.raises(FormatError, match=r"needs the file 'w\\ud800' beside it"):
        safe_join(tmp_path, "w\ud800")
