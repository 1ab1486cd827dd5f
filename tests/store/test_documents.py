import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engram.errors import StoreError, UsageError
from engram.store import documents

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="$")), inner)
    ),
    max_leaves=20,
)


def exact(value):
    """Type and bits of everything in a value; the order of keys is not content."""
    if isinstance(value, dict):
        return {key: exact(item) for key, item in value.items()}
    return [exact(item) for item in value] if isinstance(value, list) else (type(value), repr(value))


@given(PLAIN)
def test_every_plain_value_comes_back_with_its_type_and_bits(value):
    assert exact(documents.decode(documents.encode(value, "it"), "it")) == exact(value)


def test_the_order_of_keys_does_not_change_the_bytes():
    assert documents.encode({"b": 1, "a": [1.5, "ü"]}, "it") == b'{"a":[1.5,"\xc3\xbc"],"b":1}'
    assert documents.encode({"a": [1.5, "ü"], "b": 1}, "it") == documents.encode({"b": 1, "a": [1.5, "ü"]}, "it")


def test_nan_and_infinity_are_written_as_json_that_any_parser_reads():
    written = documents.encode({"loss": [math.nan, -math.inf, "nan"]}, "it")
    assert json.loads(written, parse_constant=pytest.fail) == {"loss": [{"$float": "nan"}, {"$float": "-inf"}, "nan"]}


@pytest.mark.parametrize(
    ("value", "place"),
    [
        ({"optimizer": {"groups": [{"lr": np.float64(0.1)}]}}, r"optimizer\.groups\[0\]\.lr is a numpy\.float64"),
        ({"step": np.int64(3)}, r"step is a numpy\.int64"),
        ({"mask": np.zeros(2)}, r"mask is a numpy\.ndarray"),
        ({"seen": {1, 2}}, r"seen is a set"),
        ({"names": {3: "three"}}, r"names has the key 3, which is not text"),
        ({"loss": {"$float": "nan"}}, r"loss has the key '\$float'"),
        ({"text": "\ud800"}, "lone surrogate"),
    ],
)
def test_what_json_would_change_is_refused_when_saved_with_its_place(value, place):
    with pytest.raises(UsageError, match=place):
        documents.encode(value, "state")


def test_nesting_without_end_is_refused():
    value: list[object] = []
    for _ in range(300):
        value = [value]
    with pytest.raises(UsageError, match="nested deeper than 200 levels"):
        documents.encode(value, "state")


@pytest.mark.parametrize("content", [b'{"a":1,"a":2}', b"[NaN]", b"[1", b"\xff", b'{"$float":"0.5"}', b"[" * 100_000])
def test_what_no_store_wrote_is_refused(content):
    with pytest.raises(StoreError, match="signature is not a JSON document"):
        documents.decode(content, "signature")


def test_figures_may_be_numpy_scalars():
    assert documents.relaxed({"a": (np.float64(0.5), [np.int64(2)])}) == {"a": [0.5, [2]]}
