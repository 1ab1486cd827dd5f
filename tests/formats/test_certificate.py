"""Certificates as JSON."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engram.errors import FormatError
from engram.formats._certificate import as_json, from_json
from engram.records import Certificate, Difference

TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
NUMBER = st.floats(0, 1e300)
CERTIFICATES = st.builds(
    Certificate,
    original=TEXT,
    converted=TEXT,
    target=TEXT,
    differences=st.lists(st.builds(Difference, TEXT, NUMBER, NUMBER)).map(tuple),
    agreement=st.floats(0, 1),
    tolerance=NUMBER,
    seed=st.integers(0, 2**63),
    rows=st.integers(0, 2**31),
    runtimes=st.tuples(TEXT, TEXT),
    precision=TEXT,
    versions=st.dictionaries(TEXT, TEXT),
    holds=st.booleans(),
)


@given(CERTIFICATES)
def test_a_certificate_comes_back_equal(certificate: Certificate):
    assert from_json(as_json(certificate)) == certificate


@pytest.mark.parametrize(
    "change",
    [
        {"original": 3},
        {"rows": "64"},
        {"holds": 1},
        {"runtimes": ["one"]},
        {"versions": []},
        {"differences": [{"output": "y"}]},
        {"extra": 1},
    ],
)
def test_a_certificate_with_a_wrong_value_is_refused(change: dict):
    certificate = Certificate("a", "b", "onnx", (), 1.0, 1e-5, 0, 64, ("a", "b"))
    with pytest.raises(FormatError):
        from_json(json.dumps({**json.loads(as_json(certificate)), **change}))
