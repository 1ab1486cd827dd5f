import secrets
from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete

from engram.errors import StoreError, UsageError, VersionNotFound
from engram.records import Move
from engram.store import documents, objects, tables
from engram.store.moves import history, log


def test_an_alias_moves_and_remembers(store, network):
    first, second = (store.keep("income", network(seed)) for seed in range(2))
    store._clock = iter([datetime(2026, 5, 2, tzinfo=UTC), datetime(2026, 5, 3, tzinfo=UTC)]).__next__
    one = store.alias("income@prod", "income:1", why="the first")
    two = store.alias("income@prod", "income", why="two points better")
    assert one == Move("income", "prod", datetime(2026, 5, 2, tzinfo=UTC), "ada", "the first", "", first.digest)
    assert two.origin == first.digest
    assert two.target == second.digest
    assert store.history("income@prod") == [two, one]
    assert store.aliases() == {"income@prod": second.digest}


def test_a_clock_that_is_set_back_does_not_move_an_alias_back(store, network):
    for seed in range(2):
        store.keep("income", network(seed))
    store._clock = iter([datetime(2030, 1, 1, tzinfo=UTC), datetime(2020, 1, 1, tzinfo=UTC)]).__next__
    store.alias("income@prod", "income:1", why="in 2030")
    store.alias("income@prod", "income:2", why="after the clock was set back to 2020")
    assert store.version("income@prod").number == 2


def test_an_alias_stays_with_its_own_network(store, network):
    store.keep("income", network())
    store.keep("digits", network())
    with pytest.raises(UsageError, match="income@prod can only point at versions of income, and digits is digits:1"):
        store.alias("income@prod", "digits", why="by mistake")
    with pytest.raises(UsageError, match="alias 'a/b' cannot be used"):
        store.alias("income@a/b", "income", why="")
    assert store.aliases() == {}


def test_the_aliases_of_one_network_are_told_apart(store, network):
    for name in ("income", "digits"):
        version = store.keep(name, network())
        store.alias(f"{name}@prod", name, why="")
    assert store.aliases("digits") == {"digits@prod": version.digest}
    with pytest.raises(VersionNotFound, match=r"digits has no alias 'prd'; did you mean 'prod'\?"):
        store.history("digits@prd")


@pytest.fixture
def three(store, network):
    """A store with income:1 to income:4, and prod at 1, 2 and then 3."""
    for seed in range(4):
        store.keep("income", network(seed))
    for number in (1, 2, 3):
        store.alias("income@prod", f"income:{number}", why=f"number {number}")
    return store


def at(store):
    return store.version("income@prod").number


def test_a_rollback_leads_to_where_the_alias_was_before(three):
    made = three.rollback("income@prod", why="it answers nonsense")
    digests = [version.digest for version in three.versions("income")][::-1]
    assert (made.kind, made.origin, made.target) == ("rollback", digests[2], digests[1])
    assert (made.who, made.why) == ("ada", "it answers nonsense")
    assert at(three) == 2
    assert three.history("income@prod")[0] == made


def test_each_further_rollback_goes_one_further_back(three):
    assert [three.rollback("income@prod") and at(three) for _ in range(2)] == [2, 1]
    with pytest.raises(UsageError, match="income@prod points where it first did, and nothing is further back"):
        three.rollback("income@prod")
    assert at(three) == 1


def test_an_undo_takes_rollbacks_back_one_by_one(three):
    three.rollback("income@prod")
    three.rollback("income@prod")
    made = [three.rollback("income@prod", undo=True) for _ in range(2)]
    assert [move.kind for move in made] == ["undo", "undo"]
    assert at(three) == 3
    with pytest.raises(UsageError, match="no rollback of income@prod is left to undo since it was last moved"):
        three.rollback("income@prod", undo=True)


def test_after_an_undo_a_rollback_leads_where_the_first_did(three):
    for undo in (False, True, False, True, False):
        three.rollback("income@prod", undo=undo)
    assert at(three) == 2
    assert three.rollback("income@prod")
    assert at(three) == 1


def test_a_move_after_a_rollback_is_undone_by_going_back_to_it(three):
    three.rollback("income@prod")
    three.alias("income@prod", "income:4", why="the repair")
    with pytest.raises(UsageError, match="no rollback of income@prod is left to undo"):
        three.rollback("income@prod", undo=True)
    assert [three.rollback("income@prod") and at(three) for _ in range(2)] == [2, 1]  # 3 was bad, and is left out


def test_a_rollback_goes_to_another_version_even_if_the_alias_was_set_twice_to_the_same(three):
    three.alias("income@prod", "income:3", why="once more")
    three.rollback("income@prod")
    assert at(three) == 2


def test_an_alias_that_came_back_to_a_version_is_rolled_back_to_what_lay_between(three):
    three.alias("income@prod", "income:1", why="the first was best")
    assert [three.rollback("income@prod") and at(three) for _ in range(3)] == [3, 2, 1]


def test_a_rollback_may_name_where_to(three):
    made = three.rollback("income@prod", to="income:1")
    assert (made.kind, at(three)) == ("rollback", 1)
    three.rollback("income@prod", undo=True)
    assert at(three) == 3
    three.rollback("income@prod")
    three.alias("income@prod", "income:4", why="")
    three.rollback("income@prod", to="income:3")  # which the rollback before had left out
    assert at(three) == 3
    three.rollback("income@prod")
    assert at(three) == 4


def test_a_rollback_only_goes_where_the_alias_was(three):
    with pytest.raises(UsageError, match="income@prod never was income:4, and a rollback only goes back"):
        three.rollback("income@prod", to="income:4")
    with pytest.raises(UsageError, match="income@prod is income:3 already"):
        three.rollback("income@prod", to="income:3")
    with pytest.raises(UsageError, match="say either --undo or --to income:1"):
        three.rollback("income@prod", to="income:1", undo=True)
    with pytest.raises(VersionNotFound, match=r"income has no alias 'prd'; did you mean 'prod'\?"):
        three.rollback("income@prd")
    assert at(three) == 3


def test_a_rollback_to_what_the_catalog_does_not_know_says_what_to_do(three):
    second = three.version("income:2").digest
    three._catalog.write(lambda connection: connection.execute(delete(tables.versions).where(
        tables.versions.c.digest == second)))  # fmt: skip
    with pytest.raises(VersionNotFound, match=f"income@prod was {second}, which is not in the catalog; name another"):
        three.rollback("income@prod")
    three.rollback("income@prod", to="income:1")
    assert at(three) == 1


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.sampled_from(["1", "2", "3", "4", "back", "undo"]), max_size=25))
def test_rollbacks_and_undos_are_those_of_an_editor(three, steps):
    """Against a plain model: the pages of a browser, of which going back leaves the later ones out until an undo."""
    alias = f"a{secrets.token_hex(4)}"
    pages: list[str] = []
    left: list[list[str]] = []
    for step in steps:
        if step.isdigit():
            three.alias(f"income@{alias}", f"income:{step}")
            left = []
            pages = pages if pages[-1:] == [step] else [*pages, step]
        elif step == "back" and len(pages) > 1:
            three.rollback(f"income@{alias}")
            left.append(pages)
            pages = pages[:-1]
        elif step == "undo" and left:
            three.rollback(f"income@{alias}", undo=True)
            pages = left.pop()
        elif pages:
            with pytest.raises(UsageError):
                three.rollback(f"income@{alias}", undo=step == "undo")
        if pages:
            assert three.version(f"income@{alias}").number == int(pages[-1])


def test_moves_come_back_from_their_documents(three):
    three.rollback("income@prod", why="Grüße 💾")
    three.alias("income@canary", "income:4", why="")
    before = {alias: three.history(f"income@{alias}") for alias in ("prod", "canary")}
    three._catalog.write(forget)
    assert three._catalog.write(lambda connection: history.restore(connection, three._plain)) == 5
    assert {alias: three.history(f"income@{alias}") for alias in before} == before
    assert three._catalog.write(lambda connection: history.restore(connection, three._plain)) == 0
    three.rollback("income@prod", undo=True)
    assert at(three) == 3


def forget(connection):
    connection.execute(delete(tables.moves))


def documented(store):
    return [(entry.why, entry.kind) for entry in log.read(store._plain)]


def test_the_move_of_a_writer_who_died_is_forgotten_by_the_next(three):
    """He wrote his document, and his transaction never ended; he may even have been slow and another faster."""
    whole = three._plain.document("history/income/prod/000003.json")
    three._plain.write("history/income/prod/000002.json", whole.replace(b"number 3", b"number 2"))
    three._plain.write("history/income/prod/000003.json", whole)
    for number in (3, 4, 5):
        three._plain.write(f"history/income/prod/{number:06}.json", b"of a move that never was")
    three.alias("income@prod", "income:4", why="number 4")
    names = three._plain.documents("history/income/prod/")
    assert [name.rpartition("/")[2] for name in names] == [f"{number:06}.json" for number in (1, 2, 3, 4)]
    assert b"number 3" in three._plain.document("history/income/prod/000003.json")


def test_the_documents_of_a_store_that_never_wrote_any_are_made_up_for(three):
    for name in three._plain.documents("history/"):
        three._plain.remove(name)
    three.alias("income@prod", "income:4", why="number 4")
    assert [why for why, _ in documented(three)] == ["number 1", "number 2", "number 3", "number 4"]


def test_a_lost_document_costs_its_own_move_and_no_other(three, caplog):
    three._plain.remove("history/income/prod/000002.json")
    three._catalog.write(forget)
    assert three._catalog.write(lambda connection: history.restore(connection, three._plain)) == 2
    assert "moves of an alias are gone" in caplog.text
    assert at(three) == 3
    three.alias("income@prod", "income:4", why="number 4")
    three._catalog.write(forget)
    three._catalog.write(lambda connection: history.restore(connection, three._plain))
    assert [move.why for move in three.history("income@prod")] == ["number 4", "number 3", "number 1"]


def damaged(store):
    with store._reading() as connection:
        return history.damaged(connection, store._plain)


def test_every_flipped_bit_of_a_document_is_noticed(three):
    name = "history/income/prod/000002.json"
    whole = three._plain.document(name)
    assert damaged(three) == []
    for place in range(len(whole)):
        three._plain.write(name, whole[:place] + bytes([whole[place] ^ 1 << place % 8]) + whole[place + 1 :])
        (found,) = damaged(three)
        assert (found.digest, found.hurts) == (name, ("income@prod",))


def test_a_document_that_is_gone_or_another_is_noticed_and_mended(three):
    three.protect("income@prod", {"accuracy": "> 0"})
    third = three._plain.document("history/income/prod/000003.json")
    three._plain.write("history/income/prod/000001.json", third)
    for name in ("000002.json", "gate-000001.json"):
        three._plain.remove(f"history/income/prod/{name}")
    three._plain.write("history/income/prod/000009.json", b"of a writer who died")
    assert {found.digest.rpartition("/")[2]: found.fault for found in damaged(three)} == {
        "000001.json": "it does not say what the catalog says",
        "000002.json": "it is gone",
        "gate-000001.json": "it is gone",
    }
    three._catalog.write(lambda connection: history.document(connection, three._plain, ("income", "prod"), 1))
    assert damaged(three) == []
    assert len(three._plain.documents("history/")) == 4


@pytest.mark.parametrize(
    "wrong",
    [b"[]", b"{}", b'"x"', b"null", b"\xff", b"", b'{"digest":"sha256:0"}', b'{"a":1,"a":2}', b"[" * 100_000],
)
def test_a_document_that_is_none_is_refused_by_name(three, wrong):
    three._plain.write("history/income/prod/000002.json", wrong)
    with pytest.raises(StoreError, match=r"history/income/prod/000002\.json in .* is damaged: "):
        log.read(three._plain)


@pytest.mark.parametrize(
    "changed",
    [
        {"name": "digits"}, {"alias": "../prod"}, {"when": "2026-05-03"}, {"when": "2026-05-03T12:00"}, {"who": 3},
        {"target": "sha256:zz"}, {"origin": "x"}, {"kind": "leap"}, {"more": 1}, {"when": 12}, {"target": None},
    ],
)  # fmt: skip
def test_a_document_with_a_sound_digest_is_still_checked(three, changed):
    name = "history/income/prod/000002.json"
    said = documents.decode(three._plain.document(name), name) | changed
    del said["digest"]
    digest = objects.digest([documents.encode(said, name)])
    three._plain.write(name, documents.encode({**said, "digest": digest}, name))
    with pytest.raises(StoreError, match=r"is damaged: .*; bring it back from a copy of the store, or remove it"):
        log.read(three._plain)


def test_what_else_lies_among_the_documents_is_left_alone(three):
    three._plain.write("history/income/prod/notes.txt", b"of a human")
    three._plain.write("history/readme.md", b"of a human")
    three.alias("income@prod", "income:4", why="number 4")
    assert len(documented(three)) == 4
    assert three._plain.document("history/income/prod/notes.txt") == b"of a human"


def test_networks_and_aliases_whose_names_run_together_are_told_apart(store, network):
    for name, alias in (("a", "b.c"), ("a.b", "c"), ("gate-000001.json", "gate-000001"), ("history", "history")):
        store.keep(name, network())
        store.alias(f"{name}@{alias}", name, why=f"{name} {alias}")
    assert {(entry.name, entry.alias, entry.why) for entry in log.read(store._plain)} == {
        ("a", "b.c", "a b.c"),
        ("a.b", "c", "a.b c"),
        ("gate-000001.json", "gate-000001", "gate-000001.json gate-000001"),
        ("history", "history", "history history"),
    }


def test_a_version_is_named_by_its_digest(store, network):
    kept = [store.keep("income", network(seed)) for seed in range(3)]
    wanted = [kept[0].digest, kept[2].digest, f"sha256:{0:064}"]
    assert store.named(wanted) == {kept[0].digest: "income:1", kept[2].digest: "income:3"}


@pytest.mark.parametrize("text", ["income", "income@", "@prod", "income@prod@2026-05-03", "a/b@c", "income@a/b"])
def test_what_is_no_alias_is_refused(text):
    with pytest.raises(UsageError, match=r"is no alias|cannot be used"):
        history.parted(text)


def test_a_repair_writes_damaged_documents_anew_from_the_catalog(three):
    three._plain.write("history/income/prod/000001.json", b"{}")
    three._plain.remove("history/income/prod/000002.json")
    mended, left = three.repair(three)
    assert sorted(found.digest for found in mended) == [f"history/income/prod/00000{n}.json" for n in (1, 2)]
    assert left == three.verify() == []
