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
    source=TEXT,
    provider=TEXT,
    layouts=st.tuples(TEXT, TEXT),
    served=st.tuples(TEXT, TEXT),
    lost=st.lists(TEXT).map(tuple),
    real=st.integers(0, 2**31),
    beside=st.dictionaries(TEXT, TEXT),
    asked=st.dictionaries(TEXT, st.integers(0, 9) | TEXT),
    answers=st.dictionaries(TEXT, TEXT),
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
        {"lost": "everything"},
        {"served": ["", "", ""]},
        {"layouts": [1, 2]},
        {"beside": {"weights.bin": 3}},
        {"real": None},
    ],
)
def test_a_certificate_with_a_wrong_value_is_refused(change: dict):
    certificate = Certificate("a", "b", "onnx", (), 1.0, 1e-5, 0, 64, ("a", "b"))
    with pytest.raises(FormatError):
        from_json(json.dumps({**json.loads(as_json(certificate)), **change}))


def test_a_certificate_of_an_older_engram_is_read():
    old = {
        "original": "sha256:a", "converted": "sha256:b", "target": "onnx",
        "differences": [{"output": "y", "absolute": 1e-7, "relative": 1e-6}],
        "agreement": 1.0, "tolerance": 1e-5, "seed": 3, "rows": 64, "runtimes": ["torch 2.13.0", "onnxruntime 1.31.1"],
        "precision": "float32", "versions": {"numpy": "2.4.6"}, "holds": True,
    }  # fmt: skip
    read = from_json(json.dumps(old))
    assert read == Certificate(
        "sha256:a", "sha256:b", "onnx", (Difference("y", 1e-7, 1e-6),), 1.0, 1e-5, 3, 64,
        ("torch 2.13.0", "onnxruntime 1.31.1"), versions={"numpy": "2.4.6"},
    )  # fmt: skip
    assert (read.served, read.lost, read.real) == (("", ""), (), 0)


def test_a_certificate_without_what_it_is_about_is_refused():
    with pytest.raises(FormatError, match="the keys of a certificate"):
        from_json("{}")
