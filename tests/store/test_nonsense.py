"""Every verb of a store answers nonsense with a sentence, in place of an error from the depths."""

import inspect

import numpy as np
import pytest

import engram
from engram.errors import EngramError
from engram.records import Model, Signature
from engram.store.store import Store

NONSENSE = [None, 3, -1, "", b"x", ["a", 3], {"a": 3}, object(), "no such thing", float("nan"), "x" * 999, "\ud800"]

SENSE = {
    "reference": "income",
    "before": "income:1",
    "after": "income",
    "conditions": {"accuracy": ">= 0.5"},
    "part": "pipeline",
    "identity": "no-such-run",
    "status": "stopped",
    "digests": [],
    "step": 1,
}
ALIASES = {"alias", "rollback", "protect", "history", "gates"}
RECORDS = {"begin", "save", "saving", "read", "checkpoint", "restore", "load_into", "files_of"}
"""Verbs whose arguments are records and modules; what they refuse is tested where they are."""


def verbs():
    names = [name for name in dir(Store) if not name.startswith("_") and callable(getattr(Store, name))]
    for name in sorted(set(names) - RECORDS):
        for parameter in list(inspect.signature(getattr(Store, name)).parameters.values())[1:]:
            if parameter.name not in {"tell", "watch"}:
                yield name, parameter


@pytest.fixture
def kept(store, network, tmp_path):
    for seed in range(2):
        store.keep("income", network(seed))
    store.alias("income@prod", "income:1")
    return store


def answer(call):
    """What a call was refused with."""
    try:
        call()
    except EngramError as refused:
        return str(refused)
    return "accepted"


def sense(store, verb, parameter, tmp_path):
    if parameter.name == "name":
        return "income@prod" if verb in ALIASES else "income"
    made = {
        "model": Model(b"graph", {"w": np.ones(3, np.float32)}, Signature((), ())),
        "key": tmp_path / "no-such.pem",
        "bundle": tmp_path / "no-such.sig",
        "to": store,
        "other": store,
        "source": store,
    }
    return {**SENSE, **made}[parameter.name]


@pytest.mark.parametrize(("verb", "parameter"), list(verbs()), ids=lambda one: getattr(one, "name", one))
def test_nonsense_is_answered_with_a_sentence(kept, verb, parameter, tmp_path):
    method = getattr(kept, verb)
    others = {
        one.name: sense(kept, verb, one, tmp_path)
        for one in inspect.signature(method).parameters.values()
        if one.default is one.empty and one.name != parameter.name
    }
    for value in (*NONSENSE, tmp_path):
        said = answer(lambda value=value: method(**others, **{parameter.name: value}))
        assert said
        assert "\n" not in said
    assert kept.verify() == []


@pytest.mark.parametrize("place", [3, b"engrams", ["engrams"], object(), "a\0b", "\ud800", "no://such"])
def test_what_is_no_place_of_a_store_is_refused(place):
    assert answer(lambda: engram.open(place).names()) != "accepted"


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda s: s.alias("income", "income:1"), "'income' is no alias; write NAME@ALIAS, such as income@prod"),
        (lambda s: s.load(3), "reference is 3 (int), and must be text such as income, income:7 or income@prod"),
        (lambda s: s.history(None), "the alias is None, and must be text such as income@prod"),
        (lambda s: s.sweep(grace="1"), "grace is '1' (str), and must be hours from 0, or a timedelta"),
        (lambda s: s.keep("income", "net.onnx"), "model is 'net.onnx' (str), and must be a Model"),
        (lambda s: s.push("s3://other"), "the other store is 's3://other' (str), and must be a Store"),
    ],
)
def test_a_sentence_says_what_would_do(kept, call, sentence):
    assert answer(lambda: call(kept)) == sentence
