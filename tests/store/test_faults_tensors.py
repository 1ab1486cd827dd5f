"""Every bit of every kind of number: through a kept version, a checkpoint, and a network of torch."""

from contextlib import suppress

import ml_dtypes
import numpy as np
import pytest

from engram.errors import UsageError
from engram.records import Checkpoint, Model, TrainingState
from faults.works import SIGNATURE

NUMPY = [
    "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16", "float32",
    "float64", "complex64", "complex128",
]  # fmt: skip
BEYOND = [
    "bfloat16", "float8_e3m4", "float8_e4m3", "float8_e4m3b11fnuz", "float8_e4m3fn", "float8_e4m3fnuz",
    "float8_e5m2", "float8_e5m2fnuz", "float8_e8m0fnu", "float4_e2m1fn", "float6_e2m3fn", "float6_e3m2fn",
    "int4", "uint4", "int2", "uint2",
]  # fmt: skip
SPARE = {"float4_e2m1fn": 4, "float6_e2m3fn": 6, "float6_e3m2fn": 6, "int4": 4, "uint4": 4, "int2": 2, "uint2": 2}
"""Bits that mean something, where a byte has some to spare."""


def numbers(name: str) -> np.ndarray:
    """Every bit pattern of a narrow type; of a wide one many, and those that are easily lost."""
    dtype = np.dtype(getattr(ml_dtypes, name) if name in BEYOND else name)
    if name == "bool":
        return np.array([True, False, True] * 50)
    if name.startswith(("int", "uint")) and name in BEYOND:
        low, high = {"int4": (-8, 8), "uint4": (0, 16), "int2": (-2, 2), "uint2": (0, 4)}[name]
        return np.arange(low, high).astype(dtype).repeat(3)
    if dtype.itemsize == 1:
        return np.arange(2 ** SPARE.get(name, 8), dtype=np.uint8).view(dtype)
    if dtype.itemsize == 2:
        return np.arange(65_536, dtype=np.uint16).view(dtype)
    return np.concatenate([np.frombuffer(np.random.default_rng(1).bytes(dtype.itemsize * 500), dtype), odd(dtype)])


def odd(dtype: np.dtype) -> np.ndarray:
    """NaN with a payload, signaling NaN, minus zero, infinities, the smallest and the largest; or only bounds."""
    if dtype.kind in "iu":
        return np.array([np.iinfo(dtype).min, np.iinfo(dtype).max, 0], dtype)
    bits = {
        "float32": ([0x7FC00001, 0xFFC12345, 0x7F800001, 0x80000000, 0x7F800000, 0xFF800000, 1], "uint32"),
        "float64": ([0x7FF8000000000001, 0xFFF8DEADBEEF0001, 0x7FF0000000000001, 0x8000000000000000, 1], "uint64"),
    }
    part = {"complex64": "float32", "complex128": "float64"}.get(dtype.name, dtype.name)
    values, kind = bits[part]
    return np.array(values * 2, kind).view(part).view(dtype)


def layouts(array: np.ndarray) -> dict[str, np.ndarray]:
    """The same numbers in every layout that an array may have, and shapes of no or few numbers."""
    square = np.resize(array, (8, 9))
    return {
        "plain": array,
        "nothing": array[:0],
        "nothing by three": np.resize(array, (2, 3))[:0],
        "one": np.resize(array, ()),
        "one by one": np.resize(array, (1, 1)),
        "transposed": square.T,
        "reversed": array[::-1],
        "every other": square[::2, 1::3],
        "columns first": np.asfortranarray(square),
        "repeated": np.broadcast_to(array[:1], (4, 5)),
        "deep": np.resize(array, (2, 1, 3, 1, 2)),
        "read only": np.frombuffer(array.tobytes(), array.dtype),
        "the name is ü/ñ.weight_0": array[:3],
    }


def bits(array: np.ndarray) -> tuple[str, tuple[int, ...], bytes]:
    return array.dtype.name, array.shape, np.ascontiguousarray(array).tobytes()


def all_bits(arrays) -> dict[str, tuple[str, tuple[int, ...], bytes]]:
    return {name: bits(array) for name, array in arrays.items()}


@pytest.mark.parametrize("name", [*NUMPY, *BEYOND])
def test_every_bit_comes_back(store, run, name):
    given = layouts(numbers(name))
    version = store.keep("income", Model(b"graph", given, SIGNATURE))
    assert all_bits(store.load(version.digest, verify=True).weights) == all_bits(given)
    assert all_bits(store.load(version.digest).weights) == all_bits(given)
    store.begin(run)
    groups = {"slots": {f"exp_avg/{path}": array for path, array in given.items()}, "average": given, "best": given}
    saved = store.save(run.id, Checkpoint(given, TrainingState(step=1, **groups)))
    found = store.read(saved)
    assert all_bits(found.weights) == all_bits(given)
    for group, arrays in groups.items():
        assert all_bits(getattr(found.state, group)) == all_bits(arrays)
    assert store.verify() == []


@pytest.mark.parametrize("name", ["int16", "uint64", "float16", "float32", "float64", "complex64", "complex128"])
def test_a_big_endian_array_keeps_its_numbers(store, name):
    array = numbers(name)
    version = store.keep("income", Model(b"graph", {"big": array.astype(array.dtype.newbyteorder(">"))}, SIGNATURE))
    found = store.load(version.digest, verify=True).weights["big"]
    assert found.dtype.newbyteorder("<") == array.dtype.newbyteorder("<")
    if array.dtype.kind in "iu":
        np.testing.assert_array_equal(found, array)
    else:  # numpy may quiet a signaling NaN when it swaps bytes
        np.testing.assert_array_equal(found[~np.isnan(found)], array[~np.isnan(array)])


def test_one_array_under_two_names_comes_back_under_both(store, run):
    shared = np.arange(300_000, dtype=np.float32)
    given = {"embedding.weight": shared, "head.weight": shared, "part": shared[:7], "view": shared.reshape(3, -1)}
    version = store.keep("income", Model(b"graph", given, SIGNATURE))
    assert all_bits(store.load(version.digest, verify=True).weights) == all_bits(given)
    store.begin(run)
    saved = store.save(run.id, Checkpoint(given, TrainingState(step=1)))
    assert all_bits(store.read(saved).weights) == all_bits(given)


@pytest.mark.parametrize(
    "array", [np.array(["a"]), np.array([None]), np.array([1], "M8[s]"), np.zeros(2, "f4,i4"), np.zeros(1, "S3")]
)
def test_what_is_not_numbers_is_refused_by_name(store, array):
    with pytest.raises(UsageError, match=r"weight 'odd'"):
        store.keep("income", Model(b"graph", {"odd": array}, SIGNATURE))
    assert not store.folder.exists()


@pytest.mark.parametrize("name", ["__metadata__", "\ud800", "a\0b", "", "x" * 5000, "../up", "a/b"])
def test_a_hostile_name_of_a_weight_is_refused_or_comes_back(store, name):
    given = {name: np.arange(3.0), "other": np.ones(2)}
    with suppress(UsageError):
        version = store.keep("income", Model(b"graph", given, SIGNATURE))
        assert all_bits(store.load(version.digest, verify=True).weights) == all_bits(given)
        return
    assert not store.folder.exists()


@pytest.mark.parametrize(
    ("wrong", "place"),
    [
        ({"optimizer": {"lr": np.float32(1e-3)}}, r"optimizer\.lr"),
        ({"optimizer": {"groups": [{"lr": np.float64(1e-3)}]}}, r"optimizer\.groups\[0\]\.lr"),
        ({"scheduler": {"last": [np.int64(3)]}}, r"scheduler\.last\[0\]"),
        ({"stopping": {"best": np.bool_(True)}}, r"stopping\.best"),
        ({"history": ({"train.loss": np.float32(0.5)},)}, r"history\[0\]\.train\.loss"),
        ({"progress": {1: 2.0}}, r"progress.*key 1"),
        ({"optimizer": {"lr": np.array(1e-3)}}, r"optimizer\.lr"),
        ({"optimizer": {"betas": {0.9, 0.99}}}, r"optimizer\.betas"),
    ],
)
def test_state_that_json_would_change_is_refused_when_it_is_saved(store, run, wrong, place):
    store.begin(run)
    with pytest.raises(UsageError, match=place):
        store.save(run.id, Checkpoint({"w": np.ones(2)}, TrainingState(step=1, **wrong)))
    assert store.checkpoints(run.id) == []


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), -float("inf"), -0.0, 5e-324, 1.7976931348623157e308, 0.1, 2**53 + 1]
)
def test_a_plain_number_in_a_state_comes_back_as_it_was(store, run, value):
    store.begin(run)
    saved = store.save(run.id, Checkpoint({"w": np.ones(2)}, TrainingState(step=1, optimizer={"lr": value})))
    assert repr(store.read(saved).state.optimizer["lr"]) == repr(value)
