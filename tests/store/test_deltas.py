"""A blob as its difference from another one: every bit comes back, and nothing hostile gets through."""

import hashlib
import json
import mmap
import struct
import tracemalloc

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engram.errors import StoreError
from engram.store.differences import deltas
from engram.store.weights import tensors

MAGIC = b"engram difference 1\n"
BASE = "sha256:" + "b" * 64
FLOATS = [np.float64, np.float32, np.float16, ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e5m2]
OTHERS = [np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.uint64, np.bool_, np.complex64]


def digest(content):
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def blob(**arrays):
    (shard,) = tensors.plan(arrays, "weights", alone=2**40)
    return b"".join(shard.chunks())


def bits(dtype, count, seed):
    """Any bits at all as numbers of a type: NaNs of every kind, infinities, both zeros."""
    raw = np.random.default_rng(seed).integers(0, 256, count * np.dtype(dtype).itemsize, dtype=np.uint8)
    return (raw & 1).view(np.bool_) if dtype is np.bool_ else raw.view(dtype)


def decode(container, base, where):
    """What a container becomes, whatever it says that it becomes."""
    said = deltas.header(container, where)
    return deltas.decode(said.digest, container, None if base is None else (said.base, base), where)


def by_hand(plain, *, base="", segments, chunks, **changed):
    """A container as its description says, made without the module's help."""
    facts = {"base": base, "digest": digest(plain), "segments": segments, "size": len(plain)} | changed
    text = json.dumps(facts, separators=(",", ":"), sort_keys=True).encode()
    return sealed(struct.pack("<I", len(text)) + text + b"".join(chunks))


def sealed(rest):
    return MAGIC + hashlib.sha256(rest).digest() + rest


def raw(numbers, way=0):
    """One chunk with all its planes as they are."""
    planes = np.ascontiguousarray(numbers.reshape(-1, 1).view(np.uint8).T)
    return bytes([way]) + b"".join(struct.pack("<I", len(row)) for row in planes) + planes.tobytes()


@pytest.mark.parametrize("dtype", FLOATS + OTHERS)
@pytest.mark.parametrize("count", [0, 1, 7, 40_000, 700_000])
def test_numbers_of_every_type_come_back_bit_for_bit(dtype, count):
    plain, base = blob(a=bits(dtype, count, 1)), blob(a=bits(dtype, count, 2))
    for under in (None, (BASE, base)):
        container = deltas.encode(digest(plain), plain, under)
        said = deltas.header(container, "a difference")
        assert (said.digest, said.size, said.base) == (digest(plain), len(plain), BASE if under else "")
        assert decode(container, base if under else None, "a difference") == plain


@given(st.binary(max_size=5_000), st.binary(max_size=5_000), st.booleans())
def test_any_bytes_come_back_whatever_they_are_compared_with(plain, base, alike):
    base = (base + plain)[: len(plain)] if alike else base
    container = deltas.encode(digest(plain), plain, (BASE, base))
    stands = base if deltas.header(container, "it").base else None
    assert decode(container, stands, "it") == plain


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1))
def test_a_network_after_a_step_comes_back_whatever_it_consists_of(seed):
    numbers = np.random.default_rng(seed)
    arrays = {}
    for place in range(numbers.integers(1, 12)):
        dtype = (FLOATS + OTHERS)[numbers.integers(len(FLOATS + OTHERS))]
        arrays[f"layer{place}"] = bits(dtype, int(numbers.integers(0, 30_000)), seed + place)
    moved = {name: np.roll(array, 1) for name, array in arrays.items()}
    plain, base = blob(**arrays), blob(**moved)
    assert decode(deltas.encode(digest(plain), plain, (BASE, base)), base, "it") == plain


def test_a_mapped_base_and_a_mapped_blob_serve_as_well(tmp_path):
    plain, base = blob(a=bits(np.float32, 9_000, 1)), blob(a=bits(np.float32, 9_000, 2))
    (tmp_path / "plain").write_bytes(plain)
    (tmp_path / "base").write_bytes(base)
    with (tmp_path / "plain").open("rb") as one, (tmp_path / "base").open("rb") as other:
        first = mmap.mmap(one.fileno(), 0, access=mmap.ACCESS_READ)
        second = mmap.mmap(other.fileno(), 0, access=mmap.ACCESS_READ)
        container = deltas.encode(digest(plain), first, (BASE, second))
        assert container == deltas.encode(digest(plain), memoryview(plain), (BASE, memoryview(base)))
        assert decode(container, second, "it") == plain


def test_the_same_blobs_give_the_same_container():
    plain, base = blob(a=bits(np.float32, 9_000, 1)), blob(a=bits(np.float32, 9_000, 2))
    assert deltas.encode(digest(plain), plain, (BASE, base)) == deltas.encode(digest(plain), plain, (BASE, base))


def test_a_base_that_is_laid_out_otherwise_is_not_stood_on():
    plain = blob(a=bits(np.float32, 9_000, 1))
    for base in (blob(a=bits(np.float32, 9_001, 2)), blob(a=bits(np.float16, 18_000, 2)), b"no safetensors file"):
        container = deltas.encode(digest(plain), plain, (BASE, base))
        assert deltas.header(container, "it").base == ""
        assert decode(container, None, "it") == plain


def test_numbers_that_moved_by_a_byte_take_a_quarter_of_their_bytes():
    """Moves that are evenly distributed over 256 steps carry 8 of 32 bits, whatever the numbers are."""
    numbers = np.random.default_rng(3)
    base = numbers.standard_normal(1_000_000, dtype=np.float32)
    moved = base.view(np.int32) + numbers.integers(-128, 128, base.size, dtype=np.int32)
    plain = blob(a=moved.view(np.float32))
    ratio = len(deltas.encode(digest(plain), plain, (BASE, blob(a=base)))) / len(plain)
    assert 0.25 <= ratio < 0.26


def test_moves_of_one_size_in_value_take_what_their_spread_says():
    """A normal move of standard deviation s steps carries log2(s √(2πe)) bits; steps follow the size of the number."""
    numbers = np.random.default_rng(4)
    base = (numbers.uniform(1, 2, 1_000_000) * 2.0 ** -numbers.integers(0, 6, 1_000_000)).astype(np.float32)
    spread = 2.0**-16
    plain = (base.astype(np.float64) + spread * numbers.standard_normal(base.size)).astype(np.float32)
    steps = spread / np.spacing(base)
    theory = np.mean(np.log2(steps * np.sqrt(2 * np.pi * np.e))) / 32
    content = blob(a=plain)
    ratio = len(deltas.encode(digest(content), content, (BASE, blob(a=base)))) / len(content)
    assert theory < ratio < theory + 0.02


def test_a_blob_that_hardly_changed_takes_hardly_anything():
    base = bits(np.float32, 500_000, 5)
    changed = base.copy()
    changed[123_456] = 1.0
    plain = blob(a=changed)
    assert len(deltas.encode(digest(plain), plain, (BASE, blob(a=base)))) < len(plain) / 200


def test_a_base_that_has_nothing_in_common_costs_nothing():
    numbers = np.random.default_rng(6)
    plain, base = (blob(a=numbers.standard_normal(300_000, dtype=np.float32)) for _ in range(2))
    alone = len(deltas.encode(digest(plain), plain))
    assert len(deltas.encode(digest(plain), plain, (BASE, base))) < 1.001 * alone


def test_a_container_made_by_hand_is_read():
    old, new = np.array([1.0, -2.0, 0.5, 4.0], "<f4"), np.array([1.5, -2.25, -0.5, 4.0], "<f4")
    moves = [(int(b) - int(a)) & 0xFFFFFFFF for a, b in zip(old.view("<u4"), new.view("<u4"), strict=True)]
    folded = [((2 * m) if m < 2**31 else (2 * (2**32 - m) - 1)) & 0xFFFFFFFF for m in moves]
    order = sorted(range(4), key=lambda n: (int(old.view("<u4")[n]) >> 23) & 255)
    plain, base = new.tobytes(), old.tobytes()
    ways = {0: new.view("<u4"), 1: np.array(folded, "<u4"), 2: np.array([folded[n] for n in order], "<u4")}
    for way, numbers in ways.items():
        made = by_hand(plain, base=BASE, segments=[[4, 23, 16]], chunks=[raw(numbers, way)])
        assert decode(made, base, "it") == plain


def test_every_damaged_bit_is_noticed():
    plain, base = blob(a=bits(np.float32, 40, 1)), blob(a=bits(np.float32, 40, 2))
    container = deltas.encode(digest(plain), plain, (BASE, base))
    for place in range(8 * len(container)):
        damaged = bytearray(container)
        damaged[place // 8] ^= 1 << place % 8
        with pytest.raises(StoreError, match="run engram verify"):
            decode(bytes(damaged), base, "it")


@settings(max_examples=300)
@given(st.data())
def test_a_forged_container_gives_the_right_bytes_or_none(data):
    """Somebody who can forge the seal can still not make one blob pass for another."""
    plain, base = blob(a=bits(np.float32, 40, 1)), blob(a=bits(np.float32, 40, 2))
    rest = bytearray(deltas.encode(digest(plain), plain, (BASE, base))[len(MAGIC) + 32 :])
    for place in data.draw(st.lists(st.integers(0, 8 * len(rest) - 1), min_size=1, max_size=3)):
        rest[place // 8] ^= 1 << place % 8
    forged = sealed(bytes(rest))
    try:
        out = decode(forged, base, "it")
    except StoreError:
        return
    assert digest(out) == deltas.header(forged, "it").digest


def test_a_container_cut_anywhere_or_made_longer_is_refused():
    plain = blob(a=bits(np.float32, 40, 1))
    container = deltas.encode(digest(plain), plain)
    for stop in range(len(container)):
        with pytest.raises(StoreError, match="run engram verify"):
            decode(container[:stop], None, "it")
        if stop > len(MAGIC) + 32:
            with pytest.raises(StoreError):
                decode(sealed(container[len(MAGIC) + 32 : stop]), None, "it")
    with pytest.raises(StoreError, match="bytes follow"):
        decode(sealed(container[len(MAGIC) + 32 :] + b"x"), None, "it")


def test_a_wrong_base_is_refused_and_named():
    numbers = np.random.default_rng(7).standard_normal(4_000, dtype=np.float32)
    plain, base = blob(a=np.nextafter(numbers, np.float32(9))), blob(a=numbers)
    container = deltas.encode(digest(plain), plain, (BASE, base))
    assert decode(container, base, "it") == plain
    for other in (plain, base[:-1] + b"?", base[:-1], None):
        with pytest.raises(StoreError, match=BASE):
            decode(container, other, "it")


def test_a_container_of_another_blob_or_on_another_base_is_refused():
    plain, base = blob(a=bits(np.float32, 40, 1)), blob(a=bits(np.float32, 40, 2))
    container = deltas.encode(digest(plain), plain, (BASE, base))
    assert deltas.decode(digest(plain), container, (BASE, base), "it") == plain
    for wanted, under in ((digest(base), (BASE, base)), (digest(plain), (digest(base), base)), (digest(plain), None)):
        with pytest.raises(StoreError, match=f"it holds {digest(plain)} on {BASE}"):
            deltas.decode(wanted, container, under, "it")


WRONG = {
    "a size that no such file can hold": {"size": 10**15, "segments": [[1, 0, 10**15]]},
    "a size that is none": {"size": -8},
    "a size that is a truth": {"size": True, "segments": [[1, 0, 1]]},
    "segments that do not add up": {"segments": [[4, 23, 8]]},
    "a width that no number has": {"segments": [[3, 0, 15], [1, 0, 1]]},
    "a segment of half numbers": {"segments": [[8, 52, 12], [4, 23, 4]]},
    "a negative segment": {"segments": [[4, 23, 32], [4, 23, -16]]},
    "an exponent outside of the number": {"segments": [[4, 32, 16]]},
    "a segment that is a text": {"segments": ["abc"]},
    "no segments": {"segments": None},
    "a base that is a number": {"base": 7},
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_header_that_lies_is_refused_before_memory_is_taken(wrong):
    plain = np.arange(4, dtype="<u4")
    container = by_hand(plain.tobytes(), segments=[[4, 23, 16]], chunks=[raw(plain)])
    assert decode(container, None, "it") == plain.tobytes()
    facts = {"base": "", "segments": [[4, 23, 16]]} | WRONG[wrong]
    hostile = by_hand(plain.tobytes(), chunks=[raw(plain)], **facts)
    tracemalloc.start()
    try:
        with pytest.raises(StoreError, match="run engram verify"):
            decode(hostile, None, "it")
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()


def test_planes_that_lie_are_refused():
    plain = np.arange(4, dtype="<u4")
    honest = raw(plain)
    lies = {
        "a way of packing that is none": bytes([9]) + honest[1:],
        "a difference where nothing is stood on": bytes([2]) + honest[1:],
        "a plane longer than it can be": honest[:1] + struct.pack("<I", 5) + honest[5:],
        "a plane that is no zstd": honest[:1] + struct.pack("<I", 3) + honest[5:],
    }
    for chunk in lies.values():
        with pytest.raises(StoreError, match="cannot be unpacked"):
            decode(by_hand(plain.tobytes(), segments=[[4, 23, 16]], chunks=[chunk]), None, "it")


def test_a_plane_that_unpacks_to_more_than_it_should_is_refused():
    import pyarrow as pa

    bomb = pa.Codec("zstd").compress(bytes(2**30), asbytes=True)
    count = len(bomb) + 1
    plain = bytes(count)
    chunk = b"\0" + struct.pack("<I", len(bomb)) + bomb
    tracemalloc.start()
    with pytest.raises(StoreError, match="cannot be unpacked"):
        decode(by_hand(plain, segments=[[1, 0, count]], chunks=[chunk]), None, "it")
    assert tracemalloc.get_traced_memory()[1] < 10_000_000
    tracemalloc.stop()


def test_nothing_but_zeros_still_weighs_a_thousandth():
    plain = blob(a=np.zeros(2_000_000, np.float32))
    container = deltas.encode(digest(plain), plain)
    assert len(plain) / 1_000 <= len(container) < len(plain) / 900
    assert decode(container, None, "it") == plain
