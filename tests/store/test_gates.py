"""Protected aliases: what they let through, and what is written down."""

import shutil
from datetime import UTC, datetime

import pytest

from engram.errors import ConditionNotMet, StoreError, UnknownName, UsageError, VersionNotFound
from engram.records import Gate, Report, Score
from engram.store.moves import history


def report(**metrics):
    scores = tuple(Score(name, value, value, value) for name, value in metrics.items())
    return Report("sha256:data", 100, "binary", scores)


@pytest.fixture
def scored(store, network):
    """A store with versions of known accuracy: 0.84, 0.86, 0.88, and one that was never measured."""
    for seed, accuracy in enumerate((0.84, 0.86, 0.88)):
        store.keep("income", network(seed), report=report(accuracy=accuracy, log_loss=1 - accuracy))
    store.keep("income", network(9))
    return store


def test_a_protected_alias_only_moves_to_what_meets_its_conditions(scored):
    scored.protect("income@prod", {"accuracy": ">= 0.86"}, why="the contract says so")
    with pytest.raises(ConditionNotMet) as refused:
        scored.alias("income@prod", "income:1", why="cheaper")
    assert str(refused.value) == (
        "income@prod is protected and is not set: of income:1, accuracy is 0.84 and must be >= 0.86; choose a version "
        'that meets this, or move it all the same with --force --why "…"'
    )
    assert scored.aliases() == {}
    assert scored.alias("income@prod", "income:2", why="good").kind == "move"
    with pytest.raises(ConditionNotMet, match=r"is protected and stays at income:2: of income:1, accuracy is 0.84"):
        scored.alias("income@prod", "income:1", why="cheaper")
    assert scored.version("income@prod").number == 2


def test_all_conditions_must_be_met(scored):
    scored.protect("income@prod", {"accuracy": ">= 0.8", "log_loss": "<= 0.13"})
    with pytest.raises(ConditionNotMet, match=r"log_loss is 0.14 and must be <= 0.13"):
        scored.alias("income@prod", "income:2")
    scored.alias("income@prod", "income:3")


def test_a_version_that_was_not_measured_meets_no_condition(scored):
    scored.protect("income@prod", {"accuracy": ">= 0"})
    with pytest.raises(ConditionNotMet, match="of income:4, accuracy was not measured and must be >= 0;"):
        scored.alias("income@prod", "income:4")


def test_a_gate_may_compare_with_what_is_there(scored):
    scored.protect("income@prod", {"accuracy": ">= present - 0.01"})
    scored.alias("income@prod", "income:2")
    with pytest.raises(ConditionNotMet, match=r"accuracy is 0.84 and must be >= 0.85 \(0.86 now, -0.01\)"):
        scored.alias("income@prod", "income:1")
    scored.alias("income@prod", "income:3")
    with pytest.raises(ConditionNotMet, match=r"must be >= 0.87"):
        scored.alias("income@prod", "income:2")


def test_force_needs_a_reason_and_is_written_down(scored):
    scored.protect("income@prod", {"accuracy": ">= 0.86"})
    for why in ("", "  "):
        with pytest.raises(UsageError, match="a move by force needs a reason"):
            scored.alias("income@prod", "income:1", why=why, force=True)
    forced = scored.alias("income@prod", "income:1", why="the other one leaks", force=True)
    met = scored.alias("income@prod", "income:2", why="force where none is needed", force=True)
    assert (forced.kind, met.kind) == ("forced", "move")
    assert scored.history("income@prod") == [met, forced]


def test_a_protected_alias_can_always_go_back(scored):
    scored.alias("income@prod", "income:1")
    scored.alias("income@prod", "income:2")
    scored.protect("income@prod", {"accuracy": ">= 0.87"})
    assert scored.rollback("income@prod").target == scored.version("income:1").digest
    assert scored.rollback("income@prod", undo=True).target == scored.version("income:2").digest
    assert scored.rollback("income@prod", to="income:1").target == scored.version("income:1").digest


def test_a_way_back_past_a_gate_is_written_down_as_that(scored):
    for number in (2, 1, 3, 2):
        scored.alias("income@prod", f"income:{number}")
    scored.protect("income@prod", {"accuracy": ">= 0.87"})
    kinds = [scored.rollback("income@prod").kind, scored.rollback("income@prod").kind]
    kinds += [scored.rollback("income@prod", undo=True).kind, scored.rollback("income@prod", undo=True).kind]
    assert kinds == ["rollback", "rollback-unmet", "undo", "undo-unmet"]
    assert scored.version("income@prod").number == 2
    assert [move.kind for move in scored.history("income@prod")[:4]] == kinds[::-1]
    assert scored.verify() == []
    scored.rebuild()
    assert [move.kind for move in scored.history("income@prod")[:4]] == kinds[::-1]
    scored.protect("income@prod", {})
    assert scored.rollback("income@prod").kind == "rollback"


def test_the_last_gate_counts_and_all_are_remembered(scored):
    scored._clock = iter([datetime(2026, 5, day, tzinfo=UTC) for day in range(2, 9)]).__next__
    first = scored.protect("income@prod", {"accuracy": ">= 0.99"}, why="too much")
    second = scored.protect("income@prod", {"accuracy": ">= 0.85"}, why="better")
    assert first == Gate("income", "prod", datetime(2026, 5, 2, tzinfo=UTC), "ada", "too much", {"accuracy": ">= 0.99"})
    assert scored.protected() == {"income@prod": second}
    scored.alias("income@prod", "income:2")
    free = scored.protect("income@prod", {}, why="for the trial")
    assert scored.protected("income") == {}
    scored.alias("income@prod", "income:1")
    assert scored.gates("income@prod") == [free, second, first]
    assert scored.gates("income@canary") == []


def test_each_alias_has_its_own_gate(scored):
    scored.protect("income@prod", {"accuracy": ">= 0.99"})
    scored.alias("income@canary", "income:1")


def test_a_gate_that_nothing_can_pass_is_not_put_up(scored):
    with pytest.raises(UnknownName, match=r"income has no metric 'acuracy'; did you mean 'accuracy'\?"):
        scored.protect("income@prod", {"acuracy": ">= 0.5"})
    with pytest.raises(UsageError, match="accuracy = 'high' is no condition"):
        scored.protect("income@prod", {"accuracy": "high"})
    with pytest.raises(VersionNotFound, match=r"no network is kept as 'incom'; did you mean 'income'\?"):
        scored.protect("incom@prod", {"accuracy": ">= 0.5"})
    with pytest.raises(UsageError, match="alias 'a/b' cannot be used"):
        scored.protect("income@a/b", {"accuracy": ">= 0.5"})
    assert scored.protected() == {}


def test_a_metric_of_ones_own_can_be_demanded(store, network):
    store.keep("income", network(), report=report(profit=3.5))
    store.protect("income@prod", {"profit": "> 3"})
    store.alias("income@prod", "income")


def test_gates_come_back_from_their_documents(scored):
    first = scored.protect("income@prod", {"accuracy": ">= 0.8"}, why="once")
    second = scored.protect("income@prod", {"accuracy": ">= present"}, why="since")
    moved = scored.alias("income@prod", "income:2", why="good")
    scored._catalog.write(forget)
    assert scored.protected() == {}
    assert scored._catalog.write(lambda connection: history.restore(connection, scored._plain)) == 3
    assert scored.gates("income@prod") == [second, first]
    assert scored.history("income@prod") == [moved]
    with pytest.raises(ConditionNotMet):
        scored.alias("income@prod", "income:1")


def forget(connection):
    for table in ("moves", "gates"):
        connection.exec_driver_sql(f"DELETE FROM {table}")


def test_a_refused_move_leaves_no_document(scored):
    scored.protect("income@prod", {"accuracy": ">= 0.99"})
    before = scored._plain.documents("history/")
    with pytest.raises(ConditionNotMet):
        scored.alias("income@prod", "income:1")
    assert scored._plain.documents("history/") == before == ["history/income/prod/gate-000001.json"]


def test_a_move_whose_documents_cannot_be_written_does_not_happen(scored):
    folder = scored.folder / "history" / "income"
    folder.mkdir(parents=True)
    (folder / "prod").write_text("in the way")
    with pytest.raises(StoreError, match="cannot"):
        scored.alias("income@prod", "income:1")
    assert scored.aliases() == {}
    (folder / "prod").unlink()
    scored.alias("income@prod", "income:1")
    shutil.rmtree(folder)
