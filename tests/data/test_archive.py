import io
import struct
import zipfile

import pytest

from engram.data._archive import open_place
from engram.errors import DataError


def write(path, members, method=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return path


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_members_are_read_as_the_standard_library_reads_them(tmp_path, method):
    path = write(tmp_path / "a.zip", [("ä/1.png", b"x" * 5000), ("b/2.png", b"")], method)
    shelf = open_place(path)
    with zipfile.ZipFile(path) as expected:
        assert {name: shelf.read(name) for name in shelf.names()} == {n: expected.read(n) for n in expected.namelist()}


def test_a_name_that_climbs_out_is_a_name_and_touches_nothing(tmp_path):
    (tmp_path / "in").mkdir()
    shelf = open_place(write(tmp_path / "in" / "a.zip", [("../../evil.png", b"evil")]))
    assert shelf.read("../../evil.png") == b"evil"
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["a.zip", "in"]


def test_a_flipped_bit_is_noticed(tmp_path):
    path = write(tmp_path / "a.zip", [("a/1.png", b"0123456789")], zipfile.ZIP_STORED)
    content = bytearray(path.read_bytes())
    content[content.index(b"0123456789")] ^= 1
    path.write_bytes(content)
    with pytest.raises(OSError, match="checksum"):
        open_place(path).read("a/1.png")


def test_a_local_header_that_differs_from_the_directory_is_refused(tmp_path):
    path = write(tmp_path / "a.zip", [("a/1.png", b"0123456789")], zipfile.ZIP_STORED)
    content = bytearray(path.read_bytes())
    content[content.index(b"a/1.png")] = ord("b")
    path.write_bytes(content)
    with pytest.raises(OSError, match="local header"):
        open_place(path).read("a/1.png")


def test_a_member_that_unpacks_to_more_than_it_says_is_refused(tmp_path):
    path = write(tmp_path / "a.zip", [("a/1.png", bytes(1_000_000))])
    content = bytearray(path.read_bytes())
    directory = content.rindex(b"PK\1\2")
    struct.pack_into("<L", content, directory + 24, 100)
    path.write_bytes(content)
    with pytest.raises(OSError, match="checksum"):
        open_place(path).read("a/1.png")


def test_an_encrypted_member_is_refused(tmp_path):
    path = write(tmp_path / "a.zip", [("a/1.png", b"0123456789")])
    content = bytearray(path.read_bytes())
    directory = content.rindex(b"PK\1\2")
    struct.pack_into("<H", content, directory + 8, 1)
    path.write_bytes(content)
    with pytest.raises(OSError, match="encrypted"):
        open_place(path).read("a/1.png")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_that_is_there_twice_is_refused(tmp_path):
    path = write(tmp_path / "a.zip", [("a/1.png", b"1"), ("a/1.png", b"2")])
    with pytest.raises(DataError, match=r"'a/1\.png' more than once"):
        open_place(path)


@pytest.mark.parametrize("cut", [1, 10, 60])
def test_a_truncated_zip_is_refused(tmp_path, cut):
    content = io.BytesIO()
    write(content, [("a/1.png", b"0123456789")])
    (tmp_path / "a.zip").write_bytes(content.getvalue()[:-cut])
    with pytest.raises(DataError, match=r"a\.zip is no folder and no readable zip"):
        open_place(tmp_path / "a.zip")
