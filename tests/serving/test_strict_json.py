import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engram.errors import FormatError
from engram.serving.limits import RequestLimits
from engram.serving.strict_json import parse

numbers = st.integers(-(2**63), 2**63) | st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    st.none() | st.booleans() | numbers | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner),
)


@given(values, st.booleans())
def test_what_json_can_say_is_read_as_it_was_written(value, escaped):
    assert parse(json.dumps(value, ensure_ascii=escaped).encode()) == value


@given(st.binary(max_size=200) | st.text().map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_any_bytes_are_either_read_or_refused(body):
    with contextlib.suppress(FormatError):
        parse(body)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "empty"),
        (b" \n", "empty"),
        (b"{", "not JSON"),
        (b"{'a': 1}", "not JSON"),
        (b'{"a": 1} x', "not JSON"),
        (b"[1,]", "not JSON"),
        (b"[01]", "not JSON"),
        (b'{"a": NaN}', "NaN is not JSON"),
        (b"[Infinity]", "Infinity is not JSON"),
        (b"[-Infinity]", "-Infinity is not JSON"),
        (b"[1e999]", "too large"),
        (b"[-1e999]", "too large"),
        (b'{"a": 1, "b": 2, "a": 3}', "'a' stands twice"),
        (b'{"o": {"a": 1, "\\u0061": 3}}', "'a' stands twice"),
        ('{"a": "ü"}'.encode("utf-16"), "UTF-8"),
        ('{"a": "ü"}'.encode("latin-1"), "UTF-8"),
        ('{"a": 1}'.encode("utf-16-le"), "not JSON"),
        (b'\xef\xbb\xbf{"a": 1}', "not JSON"),
        (b'{"a": "\xed\xa0\x80"}', "UTF-8"),
        (b'{"a": "\\ud800"}', "surrogate"),
        (b'{"\\udfff": 1}', "surrogate"),
        (b'{"a": "\x00"}', "not JSON"),
        (b"[9223372036854775809]", "2\\^63"),
        (b"[-9223372036854775809]", "2\\^63"),
        (b"[" + b"9" * 100_000 + b"]", "2\\^63"),
        (b'{"' + b"k" * 1001 + b'": 1}', "longer than 1,000"),
    ],
)
def test_what_two_readers_could_read_differently_is_refused(body, reason):
    with pytest.raises(FormatError, match=reason):
        parse(body)


@pytest.mark.parametrize("body", [b"[9223372036854775808]", b"[-9223372036854775808]", b'"\\ud83d\\ude00"'])
def test_the_largest_numbers_and_whole_surrogate_pairs_are_read(body):
    assert parse(body) == json.loads(body)


@pytest.mark.parametrize(("opened", "closed"), [(b"[", b"]"), (b'{"a":', b"}"), (b'[{"a":', b"}]")])
def test_nesting_is_allowed_up_to_its_limit_and_not_one_deeper(opened, closed):
    levels = opened.count(b"[") + opened.count(b"{")
    fits = 64 // levels
    assert parse(opened * fits + b"1" + closed * fits)
    with pytest.raises(FormatError, match="deeper than 64"):
        parse(opened * (fits + 1) + b"1" + closed * (fits + 1))


def test_brackets_inside_strings_are_no_nesting():
    text = '[{"' * 200 + "\\"
    assert parse(json.dumps({"a": text, "b": [text]}).encode()) == {"a": text, "b": [text]}


def test_many_lists_side_by_side_are_no_nesting():
    assert len(parse(b"[" + b",".join([b"[1]"] * 10_000) + b"]")) == 10_000


def test_more_lists_than_allowed_are_counted():
    limits = RequestLimits(containers=100)
    assert parse(b"[" + b",".join([b"[]"] * 99) + b"]", limits)
    with pytest.raises(FormatError, match="101 lists"):
        parse(b"[" + b",".join([b"[]"] * 100) + b"]", limits)


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 1_000_000,
        b'{"a":' * 200_000,
        b"]" * 1_000_000,
        b'"' + b'\\"' * 1_000_000,
        b'["' * 500_000,
        b"[]" * 400_000,
    ],
)
def test_a_million_brackets_or_quotes_are_refused_like_anything_else(body):
    with pytest.raises(FormatError):
        parse(body)
