import json

import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy
import safetensors.torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from engram.errors import StoreError, UsageError
from engram.store.weights import tensors

DTYPES = [
    "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16", "float32", "float64",
    "complex64", ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e5m2, ml_dtypes.float8_e8m0fnu,
    ml_dtypes.float8_e4m3fnuz, ml_dtypes.float8_e5m2fnuz,
]  # fmt: skip
NOTED = ["complex128", ml_dtypes.float8_e3m4, ml_dtypes.float8_e4m3, ml_dtypes.float8_e4m3b11fnuz]
NARROW = {
    ml_dtypes.float4_e2m1fn: 4, ml_dtypes.float6_e2m3fn: 6, ml_dtypes.float6_e3m2fn: 6,
    ml_dtypes.int4: 4, ml_dtypes.uint4: 4, ml_dtypes.int2: 2, ml_dtypes.uint2: 2,
}  # fmt: skip
NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=12).filter(lambda name: name != "__metadata__")


@st.composite
def arrays(draw, types=(*DTYPES, *NOTED, *NARROW)):
    """Any bits of any type in any shape and layout."""
    kind = draw(st.sampled_from(types))
    dtype = np.dtype(kind)
    shape = draw(hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))
    if dtype.kind in "bc":
        made = draw(hnp.arrays(dtype, shape))
    elif kind in NARROW:
        made = draw(hnp.arrays("uint8", shape, elements=st.integers(0, 2 ** NARROW[kind] - 1))).view(dtype)
    else:
        made = draw(hnp.arrays(f"uint{8 * dtype.itemsize}", shape)).view(dtype)
    layout = draw(st.sampled_from(["plain", "transposed", "reversed", "every other"]))
    if layout == "transposed":
        return made.T
    if made.ndim and layout != "plain":
        return made[::-1] if layout == "reversed" else made[..., ::2]
    return made


def written(shard):
    return b"".join(shard.chunks())


def bits(array):
    return array.dtype, array.shape, np.ascontiguousarray(array).tobytes()


@given(st.dictionaries(NAMES, arrays(), max_size=6), st.integers(1, 40))
def test_every_array_comes_back_bit_for_bit(given_arrays, alone):
    found = {}
    for shard in tensors.plan(given_arrays, "weight", alone):
        content = written(shard)
        assert len(content) == shard.size
        found |= tensors.read(content, "a blob")
    assert {name: bits(array) for name, array in found.items()} == {n: bits(a) for n, a in given_arrays.items()}


@given(st.dictionaries(NAMES, arrays(DTYPES), min_size=1, max_size=6))
def test_the_safetensors_library_reads_the_same_bytes(given_arrays):
    (shard,) = tensors.plan(given_arrays, "weight", 10_000)
    found = {
        name: (tuple(entry["shape"]), bytes(entry["data"])) for name, entry in safetensors.deserialize(written(shard))
    }
    assert found == {name: bits(array)[1:] for name, array in given_arrays.items()}


@given(st.dictionaries(NAMES, arrays(), min_size=1, max_size=6))
def test_the_safetensors_library_opens_every_blob_whatever_its_types(given_arrays):
    (shard,) = tensors.plan(given_arrays, "weight", 10_000)
    assert {name for name, _ in safetensors.deserialize(written(shard))} == set(given_arrays)


def test_torch_reads_the_types_of_eight_bits_with_their_names():
    kinds = ("float8_e4m3fnuz", "float8_e5m2fnuz", "float8_e4m3fn", "float8_e5m2", "bfloat16")
    made = {kind: np.arange(0, 2.5, 0.5).astype(getattr(ml_dtypes, kind)) for kind in kinds}
    (shard,) = tensors.plan(made, "weight")
    found = safetensors.torch.load(written(shard))
    assert {name: (str(tensor.dtype), tensor.float().tolist()) for name, tensor in found.items()} == {
        kind: (f"torch.{kind}", [0.0, 0.5, 1.0, 1.5, 2.0]) for kind in kinds
    }


def test_four_bits_are_packed_as_torch_packs_them():
    numbers = np.array([[0, 0.5, 1, -6], [1.5, 2, -0.0, 3]], ml_dtypes.float4_e2m1fn)
    (shard,) = tensors.plan({"a": numbers}, "weight")
    ((_, found),) = safetensors.deserialize(written(shard))
    assert (found["dtype"], found["shape"]) == ("F4", [2, 4])
    assert bytes(found["data"]) == bytes([0x10, 0xF2, 0x43, 0x58])  # the first of two in the lower half


@pytest.mark.parametrize("kind", NARROW)
def test_a_narrow_type_takes_no_more_than_its_bits(kind):
    count, bits = 3_000_001, NARROW[kind]
    numbers = np.random.default_rng(0).integers(0, 2**bits, count).astype(np.uint8).view(kind)
    (shard,) = tensors.plan({"a": numbers}, "weight")
    assert -(-count * bits // 8) <= shard.size < count * bits // 8 + 300
    assert tensors.read(written(shard), "a blob")["a"].tobytes() == numbers.tobytes()


def test_another_reader_sees_complex_numbers_as_pairs():
    (shard,) = tensors.plan({"a": np.array([1 + 2j, 3 - 4j])}, "weight")
    np.testing.assert_array_equal(safetensors.numpy.load(written(shard))["a"], [[1, 2], [3, -4]])


def test_only_the_arrays_asked_for_are_made():
    (shard,) = tensors.plan({"a": np.ones(3), "b": np.ones(2)}, "weight")
    assert list(tensors.read(written(shard), "a blob", ["b", "c"])) == ["b"]


def test_not_a_number_and_minus_zero_keep_their_bits():
    odd = np.array([0x7FF8000000000001, 0x8000000000000000, 0xFFF0000000000000], dtype=np.uint64).view(np.float64)
    (shard,) = tensors.plan({"odd": odd}, "weight")
    assert tensors.read(written(shard), "a blob")["odd"].tobytes() == odd.tobytes()


def test_big_endian_arrays_keep_their_values():
    (shard,) = tensors.plan({"a": np.arange(3, dtype=">f4")}, "weight")
    np.testing.assert_array_equal(tensors.read(written(shard), "a blob")["a"], [0, 1, 2])


def test_a_large_array_has_a_blob_to_itself_and_small_ones_share():
    large, small = np.zeros(131_072, np.uint8), np.zeros(60_000, np.uint8)
    shards = tensors.plan({"d": small, "a": small, "b": large, "c": small}, "weight")
    assert [shard.names for shard in shards] == [("b",), ("a", "c"), ("d",)]


def test_every_array_starts_where_its_type_can_be_read_in_place():
    mixed = {"a": np.ones(3, np.uint8), "b": np.ones(2), "c": np.ones(3, np.float16)}
    (shard,) = tensors.plan(mixed, "weight")
    assert all(array.flags.aligned for array in tensors.read(written(shard), "a blob").values())


def test_what_was_read_cannot_be_written_to():
    (shard,) = tensors.plan({"a": np.ones(3)}, "weight")
    with pytest.raises(ValueError, match="read-only"):
        tensors.read(written(shard), "a blob")["a"][0] = 2


@pytest.mark.parametrize(
    ("arrays_refused", "why"),
    [
        ({"names": np.array(["a", "b"])}, "weight 'names' is of type <U1"),
        ({"things": np.array([None])}, "weight 'things' is of type object"),
        ({"__metadata__": np.zeros(1)}, "the one name that safetensors keeps for itself"),
        ({"deep": np.zeros((1,) * 33)}, "weight 'deep' has 33 axes, more than the 32"),
        ({"deep": np.zeros((1,) * 32, complex)}, "weight 'deep' has 32 axes, more than"),
    ],
)
def test_an_array_that_safetensors_cannot_hold_is_named(arrays_refused, why):
    with pytest.raises(UsageError, match=why):
        tensors.plan(arrays_refused, "weight")


def crafted(entries, data=b"\0" * 8, length=None):
    text = json.dumps(entries).encode()
    return (len(text) if length is None else length).to_bytes(8, "little") + text + data


def noted(note, entry):
    return crafted({"__metadata__": {"engram.types": note}, "a": entry})


F32 = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
U8 = {"dtype": "U8", "shape": [8], "data_offsets": [0, 8]}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0" * 7,
        crafted({"a": F32}, length=2**63),
        crafted({"a": F32}, data=b"\0" * 7),
        crafted({"a": F32}, data=b"\0" * 9),
        crafted({"a": F32, "b": F32}),
        crafted({"a": {**F32, "data_offsets": [4, 12]}}, data=b"\0" * 12),
        crafted({"a": {**F32, "shape": [3]}}),
        crafted({"a": {**F32, "shape": [-2]}}),
        crafted({"a": {**F32, "shape": [2**62, 2**62]}}),
        crafted({"a": {**F32, "shape": [1.0, 2]}}),
        crafted({"a": {**F32, "dtype": "F99"}}),
        crafted({"a": {**F32, "data_offsets": [8, 0]}}),
        crafted({"a": 3}),
        crafted([1, 2]),
        (4).to_bytes(8, "little") + b"{{{{",
        (3).to_bytes(8, "little") + b'"a"',
        crafted({"a": {"dtype": "F4", "shape": [15], "data_offsets": [0, 8]}}),
        crafted({"a": {"dtype": ["F32"], "shape": [2], "data_offsets": [0, 8]}}),
        crafted({"a": F32}).replace(b'"shape"', b'"dtype"'),
        crafted({"__metadata__": {"format": 3}, "a": F32}),
        noted("3", U8),
        noted("{", U8),
        noted('{"b":{"dtype":"int4","shape":[16]}}', U8),
        noted('{"a":{"dtype":"int4","shape":[17]}}', U8),
        noted('{"a":{"dtype":"int4","shape":[-16]}}', U8),
        noted('{"a":{"dtype":"int5","shape":[16]}}', U8),
        noted('{"a":{"dtype":["int4"],"shape":[16]}}', U8),
        noted('{"a":{"dtype":"complex128","shape":[1]}}', U8),
        noted('{"a":{"dtype":"float32","shape":[2]}}', F32),
    ],
)
def test_a_damaged_blob_is_noticed(content):
    with pytest.raises(StoreError, match="a blob is damaged"):
        tensors.read(content, "a blob")


def test_what_others_say_in_the_metadata_is_passed_over():
    (found,) = tensors.read(crafted({"__metadata__": {"format": "pt"}, "a": F32}), "a blob").values()
    assert found.tolist() == [0, 0]


def test_every_truncation_is_noticed():
    (shard,) = tensors.plan({"a": np.ones(3), "b": np.ones((2, 2), np.float16)}, "weight")
    whole = written(shard)
    for length in range(len(whole)):
        with pytest.raises(StoreError):
            tensors.read(whole[:length], "a blob")
