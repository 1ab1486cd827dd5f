from datetime import UTC, datetime

import pytest

from engram.errors import UsageError, VersionNotFound
from engram.records import Move


def test_an_alias_moves_and_remembers(store, network):
    first, second = (store.keep("income", network(seed)) for seed in range(2))
    store._clock = iter([datetime(2026, 5, 2, tzinfo=UTC), datetime(2026, 5, 3, tzinfo=UTC)]).__next__
    one = store.alias("income", "prod", "income:1", "the first")
    two = store.alias("income", "prod", "income", "two points better")
    assert one == Move("income", "prod", datetime(2026, 5, 2, tzinfo=UTC), "ada", "the first", "", first.digest)
    assert two.origin == first.digest
    assert two.target == second.digest
    assert store.history("income", "prod") == [two, one]
    assert store.aliases() == {"income@prod": second.digest}


def test_a_clock_that_is_set_back_does_not_move_an_alias_back(store, network):
    for seed in range(2):
        store.keep("income", network(seed))
    store._clock = iter([datetime(2030, 1, 1, tzinfo=UTC), datetime(2020, 1, 1, tzinfo=UTC)]).__next__
    store.alias("income", "prod", "income:1", "in 2030")
    store.alias("income", "prod", "income:2", "after the clock was set back to 2020")
    assert store.version("income@prod").number == 2


def test_an_alias_stays_with_its_own_network(store, network):
    store.keep("income", network())
    store.keep("digits", network())
    with pytest.raises(UsageError, match="income@prod can only point at versions of income, and digits is digits:1"):
        store.alias("income", "prod", "digits", "by mistake")
    with pytest.raises(UsageError, match="alias 'a/b' cannot be used"):
        store.alias("income", "a/b", "income", "")
    assert store.aliases() == {}


def test_the_aliases_of_one_network_are_told_apart(store, network):
    for name in ("income", "digits"):
        version = store.keep(name, network())
        store.alias(name, "prod", name, "")
    assert store.aliases("digits") == {"digits@prod": version.digest}
    with pytest.raises(VersionNotFound, match=r"digits has no alias 'prd'; did you mean 'prod'\?"):
        store.history("digits", "prd")
