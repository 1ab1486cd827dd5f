"""What became of a network, the newest first and no more than was asked for."""

from datetime import UTC, datetime

import numpy as np
import pytest

from engram.errors import VersionNotFound
from engram.lifecycle.alive import course
from engram.records import Model, Run, Signature
from engram.store.store import open as open_store


@pytest.fixture
def store(tmp_path):
    """Three versions of income and one of digits; runs one, two and three of income, of which two became income:2."""
    made = open_store(tmp_path / "engrams", who="ada")
    for seed, name in enumerate(("income", "income", "digits", "income")):
        made.keep(name, Model(b"", {"w": np.full(3, seed)}, Signature((), ())))
    for day, name in enumerate(("one", "two", "three"), start=1):
        made.begin(Run(name, "income", datetime(2026, 5, day, tzinfo=UTC), "running", "", "", "/"))
    made.finish("two", "kept", made.version("income:2").digest)
    made.finish("one", "stopped")
    return made


def names(found):
    return [version.reference for version in found.versions], [run.id for run in found.runs]


def test_a_network_is_its_versions_and_runs(store):
    found = course("income", store)
    assert names(found) == (["income:3", "income:2", "income:1"], ["three", "two", "one"])
    assert [run.status for run in found.unfinished] == ["killed", "stopped"]
    assert found.total == 3


def test_no_more_is_given_than_was_asked_for_and_the_rest_is_counted(store):
    found = course("income", store, 2)
    assert names(found) == (["income:3", "income:2"], ["three", "two"])
    assert found.total == 3
    found = course("", store, 1)
    assert names(found) == (["income:3"], ["three"])
    assert found.total == 4


def test_a_run_is_itself_and_what_it_became(store):
    assert names(course("two", store, 50)) == (["income:2"], ["two"])
    assert names(course("one", store, 50)) == ([], ["one"])


def test_any_reference_leads_to_its_network(store):
    store.alias("income@prod", "income:1", why="")
    assert names(course("income@prod", store, 2))[0] == ["income:3", "income:2"]
    assert names(course("digits:1", store))[0] == ["digits:1"]
    with pytest.raises(VersionNotFound, match=r"did you mean 'income'\?"):
        course("incom", store)


def test_a_run_called_like_a_network_comes_first(store):
    store.begin(Run("digits", "income", datetime(2020, 1, 1, tzinfo=UTC), "stopped", "", "", "/"))
    store.begin(Run("later", "digits", datetime(2026, 6, 1, tzinfo=UTC), "stopped", "", "", "/"))
    assert [run.id for run in store.runs("digits", most=1)] == ["digits"]
