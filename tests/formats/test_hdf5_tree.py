"""HDF5 files as h5py writes them, read without libhdf5; and those that are not to be read."""

import io
import random
import struct

import h5py
import numpy as np
import pytest

from engram.errors import FormatError
from engram.formats._hdf5 import tree
from engram.records import Limits


def written(fill, **more) -> bytes:
    """The bytes of a file that h5py makes."""
    place = io.BytesIO()
    with h5py.File(place, "w", **more) as file:
        fill(file)
    return place.getvalue()


def opened(content: bytes) -> tree.Tree:
    return tree.opened(content, "some.h5", Limits())


def everything(file, many: int = 120) -> None:
    """Arrays in every form that is read."""
    table = np.arange(7 * 9.0).reshape(7, 9)
    for number, (packed, shuffled, summed) in enumerate(
        [("gzip", True, True), ("gzip", False, False), (None, False, True)]
    ):
        more = {"compression": packed, "shuffle": shuffled, "fletcher32": summed}
        file.create_dataset(f"chunked{number}", data=table, chunks=(3, 4), **more)
    file.create_dataset(
        "many chunks", data=np.arange(500 * many).reshape(5 * many, 100), chunks=(7, 11), compression="gzip"
    )
    file["big endian"] = table.astype(">f4")
    file["truth"] = np.array([True, False])
    file["half"] = np.arange(3, dtype=np.float16)
    file["nothing"] = np.zeros((0, 3))
    file["one"] = np.int64(-7)
    group = file.create_group("a/b")
    for number in range(many):
        group[f"x{number}"] = number
    file["beyond ASCII/größer"] = 5
    group.attrs["fixed"] = np.array([b"a", b"bcd"])
    group.attrs["numbers"] = [1, 2.5]
    group.attrs["text"] = "größer"
    group.attrs["texts"] = ["one", "two"]
    group.attrs["empty"] = np.array([], dtype="S1")


def test_every_array_is_what_h5py_says_it_is():
    content = written(everything)
    found = opened(content)
    with h5py.File(io.BytesIO(content)) as file:
        names: list[str] = []
        file.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
        assert set(found.arrays()) == set(names)
        for name in names:
            mine, theirs = found.array(name), file[name][()]
            assert mine.shape == theirs.shape
            assert mine.dtype == theirs.dtype.newbyteorder("=")
            np.testing.assert_array_equal(mine, theirs)


def test_attributes_are_texts_and_numbers():
    found = opened(written(everything)).node("a/b").attributes
    assert found["fixed"] == ["a", "bcd"]
    assert found["text"] == "größer"
    assert found["texts"] == ["one", "two"]
    assert found["empty"] == []
    np.testing.assert_array_equal(found["numbers"], [1, 2.5])


def test_numbers_of_bfloat16_come_back_in_their_type():
    import ml_dtypes

    def fill(file) -> None:
        file.create_dataset("x", data=np.arange(4).astype(ml_dtypes.bfloat16)).attrs["dtype"] = "bfloat16"

    made = opened(written(fill)).array("x")
    assert made.dtype == ml_dtypes.bfloat16
    np.testing.assert_array_equal(made.astype(np.float32), np.arange(4))


def soft(file) -> None:
    file["x"] = 1
    file["y"] = h5py.SoftLink("/x")


def outside(file) -> None:
    file["y"] = h5py.ExternalLink("/etc/passwd", "/x")


def stored_outside(file) -> None:
    file.create_dataset("x", (4,), "u1", external=[("/etc/passwd", 0, 4)])


def virtual(file) -> None:
    layout = h5py.VirtualLayout((4,), "u1")
    layout[:] = h5py.VirtualSource("/etc/passwd", "x", (4,))
    file.create_virtual_dataset("x", layout)


def twice(file) -> None:
    file["x"] = 1
    file["y"] = file["x"]


def loop(file) -> None:
    file.create_group("a")["b"] = file["/"]


def squeezed(file) -> None:
    file.create_dataset("x", data=np.zeros(100), compression="lzf")


def records(file) -> None:
    file["x"] = np.zeros(3, [("a", "i4"), ("b", "f4")])


@pytest.mark.parametrize(
    ("fill", "reason"),
    [
        (soft, "the link 'y', which is not followed"),
        (outside, "out of its tree, which is not followed"),
        (stored_outside, "in another file, which is not opened"),
        (virtual, "virtual"),
        (twice, "on two ways"),
        (loop, "on two ways"),
        (squeezed, "by the filter 32000"),
        (records, "neither numbers nor texts"),
    ],
)
def test_what_leads_elsewhere_or_is_not_known_is_refused_in_words(fill, reason):
    with pytest.raises(FormatError, match=reason):
        opened(written(fill)).array("x")


def test_a_newer_layout_is_refused_with_what_to_do():
    with pytest.raises(FormatError, match="write it again"):
        opened(written(everything, libver="latest"))


def test_an_array_larger_than_what_the_file_holds_is_refused():
    content = bytearray(written(lambda file: file.create_dataset("x", data=np.zeros(5))))
    place = content.index(struct.pack("<2Q", 5, 5))
    content[place : place + 8] = struct.pack("<Q", 2**39)
    with pytest.raises(FormatError, match="bytes, not in"):
        opened(bytes(content)).array("x")


def test_a_packed_array_that_would_unpack_to_far_more_is_refused():
    content = written(
        lambda file: file.create_dataset("x", data=np.zeros((3000, 3000)), chunks=(3000, 3000), compression=9)
    )
    with pytest.raises(FormatError, match="over the limit of 100 times"):
        opened(content).array("x")


def test_a_file_cut_off_or_longer_than_it_says_is_refused():
    content = written(everything)
    for other in (content[:-1], content[:100], content + b"\0", content[:8], b"\0" * 512 + content):
        with pytest.raises(FormatError):
            opened(other)


def damaged(whole: bytes, chance: random.Random) -> bytes:
    """A file with some bytes changed, moved, or turned into an address within it."""
    found = bytearray(whole)
    for _ in range(chance.choice([1, 1, 2, 5])):
        at = chance.randrange(len(found))
        match chance.randrange(5):
            case 0:
                found[at] ^= 1 << chance.randrange(8)
            case 1:
                found[at] = chance.randrange(256)
            case 2:
                del found[at : at + chance.randrange(1, 9)]
            case 3:
                found[at:at] = chance.randbytes(3)
            case _:
                found[at : at + 8] = chance.choice(
                    [b"\xff" * 8, b"\0" * 8, chance.randrange(len(found)).to_bytes(8, "little")]
                )
    return bytes(found)


def try_damaged(rounds: int, seed: int) -> None:
    whole = written(lambda file: everything(file, 12))
    chance = random.Random(seed)
    for _ in range(rounds):
        try:
            found = opened(damaged(whole, chance))
            for name in list(found.arrays()):
                found.array(name)
        except FormatError as refused:
            assert str(refused)  # noqa: PT017 - either outcome is right, this is about the second


def test_damaged_files_are_read_or_refused():
    try_damaged(500, 1)


@pytest.mark.long
def test_any_damaged_file_is_read_or_refused():
    try_damaged(50_000, 2)
