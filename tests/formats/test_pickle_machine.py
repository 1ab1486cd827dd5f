"""The reader of pickles, held against Python's own on what is honest, and alone on what is not."""

import collections
import io
import os
import pickle  # noqa: TID251 - the peer
import pickletools
import struct
import time

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engram.errors import FormatError
from engram.formats._pickle import (
    ARRAYS,
    CONTAINERS,
    KEPT,
    OBJECTS,
    Inert,
    Reference,
    SpecialDict,
    Word,
    interpret,
    leading,
)
from engram.records import Limits

PLAIN = {**CONTAINERS, **OBJECTS, **ARRAYS}
PROTOCOLS = range(6)
USUAL = Limits()


def opened(content: bytes, allowed=PLAIN, limits=USUAL, persistent=None):
    return interpret(content, "evil.pkl", allowed, limits, persistent)


def refusal(content: bytes, allowed=PLAIN, limits=USUAL, persistent=None) -> str:
    with pytest.raises(FormatError) as found:
        opened(content, allowed, limits, persistent)
    assert "\n" not in str(found.value)
    return str(found.value)


SCALARS = st.none() | st.booleans() | st.integers(-(2**200), 2**200) | st.floats(allow_nan=False) | st.text()
KEYS = st.text() | st.integers(-(2**62), 2**62) | st.booleans() | st.none() | st.binary() | st.tuples(st.text())
VALUES = st.recursive(
    SCALARS | st.binary(),
    lambda inner: (
        st.lists(inner)
        | st.lists(inner).map(tuple)
        | st.dictionaries(KEYS, inner)
        | st.sets(KEYS)
        | st.frozensets(KEYS)
    ),
    max_leaves=20,
)


@given(VALUES, st.sampled_from(PROTOCOLS))
def test_plain_values_are_read_as_python_reads_them(value, protocol):
    assert opened(pickle.dumps(value, protocol)) == value


@given(VALUES, st.sampled_from(PROTOCOLS))
def test_plain_values_have_the_types_that_python_gives_them(value, protocol):
    assert repr(opened(pickle.dumps(value, protocol))) == repr(pickle.loads(pickle.dumps(value, protocol)))


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_shared_parts_stay_shared(protocol):
    inner = [1]
    first, second = opened(pickle.dumps([inner, inner], protocol))
    assert first is second


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    "kind",
    ["?", "i1", "u1", ">i2", "i4", "i8", "u8", "f2", "f4", ">f4", "f8", "c8", "c16", "S3", "U2", ml_dtypes.bfloat16,
     ml_dtypes.float8_e4m3fn],
)  # fmt: skip
def test_arrays_of_every_type_are_read_as_numpy_reads_them(kind, protocol):
    plain = np.arange(24).reshape(2, 3, 4)
    for made in (
        plain.astype(kind),
        plain.T.astype(kind),
        plain.astype(kind).transpose(1, 0, 2),
        plain[:0].astype(kind),
    ):
        found = opened(pickle.dumps(made, protocol))
        assert found.dtype == made.dtype
        assert found.shape == made.shape
        assert found.tobytes() == made.tobytes()


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_numbers_of_numpy_and_types_with_fields_are_read(protocol):
    fields = np.dtype([("left", "<i8"), ("value", "<f8"), ("flag", "u1")], align=True)
    given = {"loss": np.float32(0.5), "n": np.int64(7), "nodes": np.zeros(3, fields), "kind": np.dtype(">f4")}
    found = opened(pickle.dumps(given, protocol))
    assert found["loss"] == np.float32(0.5)
    assert type(found["loss"]) is np.float32
    assert found["n"] == 7
    assert found["nodes"].dtype == fields
    assert found["kind"] == np.dtype(">f4")


def test_a_large_array_is_a_view_of_the_file():
    made = np.arange(100_000, dtype=np.float32)
    content = pickle.dumps(made, 5)
    found = opened(content)
    assert np.shares_memory(found, np.frombuffer(content, np.uint8))
    assert not found.flags.writeable


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_containers_of_the_library_keep_their_kind(protocol):
    ordered = collections.OrderedDict(a=1, b=2)
    ordered._metadata = {"": {"version": 2}}
    found = opened(pickle.dumps([ordered, collections.Counter("aab"), collections.defaultdict(list, x=[1])], protocol))
    assert [(one.kind, dict(one)) for one in found] == [
        ("OrderedDict", {"a": 1, "b": 2}), ("Counter", {"a": 2, "b": 1}), ("defaultdict", {"x": [1]}),
    ]  # fmt: skip
    assert found[0].attributes == {"_metadata": {"": {"version": 2}}}
    assert found[2].attributes == {"default_factory": Reference("builtins" if protocol > 2 else "__builtin__", "list")}


class Plain:
    """A class with state."""

    def __init__(self):
        self.number = 3


class Many(dict):
    """A class derived from a dictionary."""


class Row(list):
    """A class derived from a list."""


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_an_allowed_class_becomes_a_record(protocol):
    one = Plain()
    found, again = opened(pickle.dumps([one, one], protocol), {**PLAIN, (__name__, "Plain"): KEPT})
    assert found is again
    assert (found.module, found.name, found.arguments, found.state) == (__name__, "Plain", (), {"number": 3})


@pytest.mark.parametrize("protocol", range(2, 6))
def test_items_of_derived_containers_are_in_the_record(protocol):
    allowed = {**PLAIN, (__name__, "Many"): KEPT, (__name__, "Row"): KEPT}
    many, row = opened(pickle.dumps([Many(a=1, b=2), Row([3, 4])], protocol), allowed)
    assert many.pairs == {"a": 1, "b": 2}
    assert row.elements == [3, 4]


def test_a_name_that_is_only_mentioned_is_a_reference_or_the_word_it_stands_for():
    content = pickle.dumps([collections.OrderedDict, os.path.join])
    found = opened(content, {**PLAIN, ("posixpath", "join"): Word("joined")})
    assert found == [Reference("collections", "OrderedDict"), "joined"]


class Persisting(pickle.Pickler):
    """Says that a Plain lies elsewhere."""

    def persistent_id(self, obj):
        return ("elsewhere", 5) if isinstance(obj, Plain) else None


def test_a_persistent_id_is_asked_of_the_caller_or_refused():
    sink = io.BytesIO()
    Persisting(sink, 2).dump([Plain()])
    assert opened(sink.getvalue(), persistent=lambda number: number[1]) == [5]
    assert opened(b"Pstorage 7\n.", persistent=str) == "storage 7"
    assert "opcode BINPERSID of what lies outside of the file" in refusal(sink.getvalue())


def test_a_pickle_in_front_of_others_says_where_it_ends():
    first, second = pickle.dumps([1], 2), pickle.dumps("two", 2)
    assert leading(first + second, "x", {}, Limits()) == ([1], len(first))
    assert "bytes behind the end of its pickle" in refusal(first + second)
    assert opened(memoryview(first)) == [1]


def test_the_refusal_of_a_name_is_one_line_with_operation_name_and_byte():
    content = b"\x80\x04\x95" + struct.pack("<Q", 0) + b"]" + b"cposix\nsystem\n" + b"(S'true'\ntR."
    assert refusal(content) == "evil.pkl: opcode GLOBAL posix.system at byte 12; nothing was run"


EVERY = [one.name for one in pickletools.opcodes]


@pytest.mark.parametrize("name", EVERY)
def test_every_operation_on_an_empty_stack_is_refused_or_harmless(name):
    code = next(one.code for one in pickletools.opcodes if one.name == name).encode("latin-1")
    for tail in (b"", b".", b"\n.", b"1\n.", b"\0" * 8 + b".", b"\xff" * 16, b"\1\0\0\0\0\0\0\0a."):
        try:
            opened(code + tail)
        except FormatError as refused:
            assert "\n" not in str(refused)  # noqa: PT017 - either outcome is right


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "cut off"),
        (b"]", "cut off"),
        (b".", "leaves more or less than one value"),
        (b"NN.", "leaves more or less than one value"),
        (b"(N.", "leaves more or less than one value"),
        (b"Na.", "takes from an empty stack"),
        (b"0.", "has no mark before it"),
        (b"t.", "has no mark before it"),
        (b"(Nd.", "a key without a value"),
        (b"\x85.", "takes from an empty stack"),
        (b"NNa.", "to a NoneType, which is no list"),
        (b"]NNs.", "to a list, which is no dictionary"),
        (b"}]Ns.", "a list as a key"),
        (b"})\x85Ns.", "a tuple of something else than a few texts as a key"),
        (b"}\x8a\x09" + b"\xff" * 8 + b"\x7fNs.", "a number beyond 64 bits as a key"),
        (b"h\0.", "which was never put"),
        (b"N\x72\xff\xff\xff\xff.", "of number 4,294,967,295, where only 2 operations came before"),
        (b"Np-1\n.", "of what is no number"),
        (b"\x8b\xff\xff\xff\xff.", "of -1 bytes"),
        (b"\x8a\xff" + b"\1" * 255 + b"." , None),
        (b"\x8b\x01\x01\0\0" + b"\1" * 257 + b".", "of 257 bytes, over the limit of 256"),
        (b"B\xff\xff\xff\x7f.", "2,147,483,647 bytes should follow"),
        (b"\x8e" + b"\xff" * 8 + b".", "cut off"),
        (b"L" + b"9" * 700 + b"\n.", "too many digits"),
        (b"I1_0\n.", "of what is no number"),
        (b"Fnope\n.", "of what is no number"),
        (b"X\1\0\0\0\xff.", "not UTF-8"),
        (b"\x80\x06N.", "of version 6"),
        (b"N\x80\x02.", "only at the beginning"),
        (b"\x95\xff\0\0\0\0\0\0\0N.", "of 255 bytes, more than follow"),
        (b"\x82\x01.", "opcode EXT1 (a class by number) at byte 0"),
        (b"\x83\x01\0.", "opcode EXT2"),
        (b"\x84\x01\0\0\0.", "opcode EXT4"),
        (b"\x97.", "opcode NEXT_BUFFER (bytes kept outside of the file)"),
        (b"N\x98.", "opcode READONLY_BUFFER"),
        (b"\xff.", "opcode unknown 0xff at byte 0"),
        (b"NNR.", "of a NoneType, which cannot be called"),
        (b"N)R.", "of a NoneType, which cannot be called"),
        (b"ccollections\nOrderedDict\n]R.", "with a list and no arguments"),
        (b"cnumpy\nndarray\n)R.", "of numpy.ndarray, which is a name and cannot be called"),
        (b"ccollections\nOrderedDict\n)}\x8c\1aNs\x92.", "with arguments by name"),
        (b"]Nb.", "of a list, which takes no state"),
        (b"ccollections\nOrderedDict\nNb.", "of a Reference, which takes no state"),
        (b"ccollections\nOrderedDict\n)RNb.", "of a SpecialDict, which takes no state"),
        (b"N)\x93.", "of a name that is no text"),
        (b"c\xff\n\n.", "not UTF-8"),
        (b"cposix\nsystem", "has no end"),
        (b"ca\x1b[31m\nb\n.", r"opcode GLOBAL 'a\x1b[31m.b' at byte 0"),
        (b"c" + b"a" * 500 + b"\nb\n.", "aaa... at byte 0"),
    ],
)  # fmt: skip
def test_what_no_pickler_writes_is_refused_by_its_reason(content, said):
    if said is None:
        assert isinstance(opened(content), int)
    else:
        assert said in refusal(content)


def test_a_small_file_that_is_endless_once_written_out_is_refused_at_once():
    begun = time.process_time()
    body = b"(" + b"".join((b"h%c" % (n - 1) * 2 + b"\x86" if n else b"]") + b"q%c" % n for n in range(200)) + b"l."
    assert "parts once written out" in refusal(body)
    assert time.process_time() - begun < 5


def test_what_contains_itself_is_refused():
    assert "contains itself" in refusal(b"]q\0h\0a.")
    assert "contains itself" in refusal(b"}q\0\x8c\1ah\0s.")
    assert "contains itself" in refusal(b"(]q\0]q\1h\0ah\1al.")


def test_nesting_is_read_up_to_the_limit():
    limits = Limits(nesting=10)
    for opener in (b")\x85", b")\x85\x85"):
        assert isinstance(opened(opener + b".", limits=limits), tuple)
    assert opened(b")" + b"\x85" * 9 + b".", limits=limits) != ()
    assert "nested deeper than the limit of 10" in refusal(b")" + b"\x85" * 10 + b".", limits=limits)
    assert opened(b"(" * 10 + b"t" * 10 + b".", limits=limits) != ()
    assert "is deeper than the limit of 10" in refusal(b"(" * 11 + b"t" * 11 + b".", limits=limits)
    assert "nested deeper" in refusal(b"]" * 50_000 + b"a" * 49_999 + b".")


def test_a_stream_is_read_up_to_the_limit_of_its_bytes():
    content = pickle.dumps("x" * 1000, 4)
    assert opened(content, limits=Limits(pickle_bytes=len(content))) == "x" * 1000
    assert opened(content, limits=Limits(pickle_bytes=len(content) + 1)) == "x" * 1000
    assert "over the limit" in refusal(content, limits=Limits(pickle_bytes=len(content) - 12))


def test_operations_are_read_up_to_their_limit():
    content = b"N0" * 10 + b"N."
    assert opened(content, limits=Limits(pickle_opcodes=22)) is None
    assert opened(content, limits=Limits(pickle_opcodes=23)) is None
    assert "one more than the limit of 21 operations at byte 21" in refusal(content, limits=Limits(pickle_opcodes=21))


def test_a_value_is_not_used_before_its_state_has_come():
    begun = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\0\x85C\1btRq\0"
    assert "leaves a value that is not finished" in refusal(begun + b".")
    assert "of a value that is not finished" in refusal(begun + b"h\0.")
    assert "of a value that is not finished" in refusal(begun + b"2.")
    assert "opcode BUILD is refused (the state of an array is not as numpy writes it)" in refusal(begun + b"Nb.")


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (np.array([{}], dtype=object), "an array of Python objects would be a pickle in a pickle"),
        (np.array(["2020-01-01"], dtype="M8[D]"), "none of numbers or texts"),
        (np.zeros(2, [("a", "f4", (2,))]), "a type"),
        (np.zeros(2, [("a", [("b", "f4")])]), "fields of a type are not"),
        (np.ma.masked_array([1.0]), "numpy.ma"),
    ],
    ids=["objects", "dates", "arrays in fields", "fields in fields", "masked"],
)
def test_arrays_that_are_no_plain_numbers_are_refused(value, said):
    assert said in refusal(pickle.dumps(value, 4))


@given(st.binary(max_size=200))
def test_any_bytes_are_refused_or_read(content):
    try:
        opened(content)
    except FormatError as refused:
        assert "\n" not in str(refused)  # noqa: PT017 - either outcome is right


@given(st.data())
def test_a_damaged_pickle_is_refused_or_read(data):
    made = {"w": np.ones((2, 3), np.float32), "o": collections.OrderedDict(a=[1, (2.5, "x")]), "s": {1, 2}}
    content = bytearray(pickle.dumps(made, data.draw(st.sampled_from(PROTOCOLS))))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        opened(bytes(content))
    except FormatError as refused:
        assert "\n" not in str(refused)  # noqa: PT017 - either outcome is right


def test_a_record_is_what_an_inert_object_is():
    assert Inert("a", "B") != Inert("a", "B")
    assert SpecialDict("Counter", {"a": 1}) == {"a": 1}
