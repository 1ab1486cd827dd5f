"""Zips of honest programs are read, and those that could be read in two ways are not."""

import io
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from engram.errors import FormatError
from engram.formats._archive import opened
from engram.formats._archive_writing import Zip
from engram.records import Limits


def made(path: Path, members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return path


def contents(path: Path, limits: Limits = Limits()) -> dict[str, bytes]:  # noqa: B008 - frozen
    with opened(path, limits) as archive:
        return {name: archive.read(name, 2**30) for name in archive.names}


WHOLE = {"config.json": b"{}", "deep/er.bin": bytes(range(256)) * 9, "empty": b"", "naïve 東京 🙂": b"x"}


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_what_zipfile_wrote_is_read(tmp_path: Path, method: int):
    assert contents(made(tmp_path / "a.zip", WHOLE, method)) == WHOLE


def test_what_was_written_as_a_stream_or_in_the_long_form_is_read(tmp_path: Path):
    class Pipe(io.RawIOBase):
        def __init__(self):
            self.written = bytearray()

        def writable(self):
            return True

        def write(self, data):
            self.written += bytes(data)
            return len(data)

    for long in (False, True):
        pipe = Pipe()
        with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as file, file.open("a", "w", force_zip64=long) as member:
            member.write(b"abc" * 1000)
        (tmp_path / "a.zip").write_bytes(pipe.written)
        assert contents(tmp_path / "a.zip") == {"a": b"abc" * 1000}


def test_what_torch_and_numpy_wrote_is_read_in_place(tmp_path: Path):
    numbers = np.arange(1000, dtype=np.float32)
    torch.save({"a": torch.from_numpy(numbers)}, tmp_path / "modèle.pt")
    with opened(tmp_path / "modèle.pt", Limits()) as archive:
        stem = archive.names[0].partition("/")[0]
        view = archive.view(f"{stem}/data/0")
    np.testing.assert_array_equal(np.frombuffer(view, np.float32), numbers)
    np.savez_compressed(tmp_path / "a.npz", a=numbers)
    np.savez(tmp_path / "b.npz", a=numbers)
    for name in ("a", "b"):
        found = contents(tmp_path / f"{name}.npz")["a.npy"]
        assert found.endswith(numbers.tobytes())


def test_more_members_than_fit_the_short_form_are_counted(tmp_path: Path):
    path = made(tmp_path / "a.zip", {str(number): b"" for number in range(65_536)}, zipfile.ZIP_STORED)
    with pytest.raises(FormatError, match="65,536 members, over the limit of 65,535"):
        contents(path)
    assert len(contents(path, Limits(zip_members=65_536))) == 65_536


def test_a_limit_of_members_holds_at_the_edge(tmp_path: Path):
    path = made(tmp_path / "a.zip", {"a": b"", "b": b"", "c": b""})
    assert len(contents(path, Limits(zip_members=3))) == 3
    with pytest.raises(FormatError, match="3 members, over the limit of 2"):
        contents(path, Limits(zip_members=2))


def test_a_member_longer_than_expected_is_not_unpacked(tmp_path: Path):
    with opened(made(tmp_path / "a.zip", {"a": bytes(101)}), Limits()) as archive:
        assert len(archive.read("a", 101)) == 101
        with pytest.raises(FormatError, match="101 bytes, over the limit of 100"):
            archive.read("a", 100)


def test_a_bomb_is_refused_by_its_ratio(tmp_path: Path):
    path = made(tmp_path / "a.zip", {"a": bytes(2**24 + 1)})
    with pytest.raises(FormatError, match="over the limit of 100 times"):
        contents(path)


def changed(path: Path, change) -> Path:
    whole = bytearray(path.read_bytes())
    made_of = change(whole)
    path.write_bytes(whole if made_of is None else made_of)
    return path


def put(whole: bytearray, place: int, form: str, value: int) -> None:
    struct.pack_into(form, whole, place, value)


def directory(whole: bytes) -> int:
    return whole.rindex(b"PK\1\2")


@pytest.mark.parametrize(
    "change",
    [
        lambda w: b"MZ" + bytes(w),
        lambda w: bytes(w) + b"\0",
        lambda w: bytes(w[:-1]),
        lambda w: bytes(w) * 2,
        lambda w: put(w, 18, "<L", 1),  # packed size in the member's own header
        lambda w: put(w, 14, "<L", 1),  # its checksum
        lambda w: put(w, 8, "<H", 0),  # its method
        lambda w: put(w, 6, "<H", 1),  # its flags
        lambda w: put(w, 30, "<B", ord("b")),  # its name
        lambda w: put(w, directory(w) + 24, "<L", 2**32 - 2),  # size in the directory
        lambda w: put(w, directory(w) + 42, "<L", 7),  # place of the member
        lambda w: put(w, len(w) - 12, "<H", 2),  # number of members
        lambda w: put(w, len(w) - 6, "<L", 3),  # place of the directory
        lambda w: put(w, 35, "<B", 255),  # its first packed byte
    ],
)
def test_what_could_be_read_in_two_ways_is_refused(tmp_path: Path, change):
    path = made(tmp_path / "a.zip", {"a": b"some bytes that are packed, some bytes that are packed"})
    assert contents(path)
    with pytest.raises(FormatError):
        contents(changed(path, change))


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (["a", "a"], "twice"),
        (["a", "A"], "differ only in case"),
        (["../a"], "no plain name"),
        (["/a"], "no plain name"),
        (["a\\b"], "no plain name"),
        (["a//b"], "no plain name"),
        (["./a"], "no plain name"),
    ],
)
def test_names_that_lead_elsewhere_or_collide_are_refused(tmp_path: Path, names: list[str], reason: str):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as file:
        for name in names:
            entry = zipfile.ZipInfo("x")
            entry.filename = name
            file.writestr(entry, b"")
    with pytest.raises(FormatError, match=reason):
        contents(path)


def test_a_link_is_refused(tmp_path: Path):
    entry = zipfile.ZipInfo("a")
    entry.create_system, entry.external_attr = 3, 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        file.writestr(entry, "/etc/passwd")
    with pytest.raises(FormatError, match="is a link"):
        contents(tmp_path / "a.zip")


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_zip_cut_off_or_damaged_anywhere_is_refused_or_whole(tmp_path: Path, method: int):
    path = made(tmp_path / "a.zip", WHOLE, method)
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(FormatError):
            contents(path)
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 16]) + whole[place + 1 :])
        try:
            found = contents(path)
        except FormatError:
            continue
        assert sorted(found.values()) == sorted(WHOLE.values())  # a date, a version, a name spelled otherwise in both


def written_in_place(path: Path, write) -> Path:
    with path.open("w+b") as file:
        zipped = Zip(file)
        zipped.add("before", b"1")
        zipped.add_by("inside", write)
        zipped.add("behind", b"22")
        zipped.finish()
    return path


def test_a_member_that_a_library_writes_back_and_forth_is_whole(tmp_path: Path):
    def jumping(file):
        assert file.write(memoryview(np.arange(4, dtype=np.uint32))) == 16
        assert (file.seek(0, io.SEEK_END), file.seek(-8, io.SEEK_CUR)) == (16, 8)
        assert file.read(100) == np.arange(2, 4, dtype=np.uint32).tobytes()
        file.seek(20)
        file.write(b"tail")
        file.seek(0)
        file.write(b"head")
        assert file.truncate(22) == 22

    path = written_in_place(tmp_path / "a.zip", jumping)
    inside = b"head" + np.arange(1, 4, dtype=np.uint32).tobytes() + bytes(4) + b"ta"
    assert contents(path) == {"before": b"1", "inside": inside, "behind": b"22"}
    with zipfile.ZipFile(path) as file:
        assert file.testzip() is None
        assert file.read("inside") == inside
    with opened(path, Limits()) as archive:
        assert archive.members["inside"].start % 64 == 0


@pytest.mark.long
def test_a_member_of_more_than_four_gibibytes_is_written_in_place(tmp_path: Path):
    def sparse(file):
        file.seek(2**32 + 5)
        file.write(b"end")

    path = written_in_place(tmp_path / "large.zip", sparse)
    with opened(path, Limits()) as archive:
        assert archive.size("inside") == 2**32 + 8
        assert archive.read("behind") == b"22"
    with zipfile.ZipFile(path) as file, file.open("inside") as member:
        member.seek(2**32 + 4)
        assert member.read() == b"\0end"
