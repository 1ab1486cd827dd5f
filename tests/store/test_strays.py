"""A catalog that is older than its store, and manifests that cannot be read: nothing kept is freed or forgotten."""

import shutil
import sqlite3
import subprocess
import sys
import textwrap
from contextlib import closing

import numpy as np
import pytest

import engram
from engram.errors import EngramError, StoreError, UsageError, VersionNotFound
from engram.store.store import open as open_store


def backup(store, path):
    with closing(sqlite3.connect(store.folder / "catalog.db")) as present, closing(sqlite3.connect(path)) as copy:
        present.backup(copy)
    return path


def restored(store, path, clock):
    """The store, opened after somebody put an older catalog in the place of its own."""
    for name in ("catalog.db", "catalog.db-wal", "catalog.db-shm"):
        (store.folder / name).unlink(missing_ok=True)
    shutil.copyfile(path, store.folder / "catalog.db")
    return open_store(store.folder, who="ada", clock=clock)


def blob(store, digest):
    return store.folder / "blobs" / "sha256" / digest.removeprefix("sha256:")


def spoil(path):
    path.chmod(0o644)
    content = bytearray(path.read_bytes())
    content[-2] ^= 1
    path.write_bytes(content)


def files(store):
    return {path.name for path in (store.folder / "blobs" / "sha256").iterdir()}


@pytest.fixture
def older(store, network, clock, tmp_path):
    """A store with two versions whose catalog knows only of the first."""
    store.keep("income", network(1))
    copy = backup(store, tmp_path / "backup.db")
    store.keep("income", network(2))
    return restored(store, copy, clock)


def test_what_an_older_catalog_does_not_know_is_named_and_taken_in(older, network):
    (damage,) = older.verify()
    assert (damage.kind, damage.hurts) == ("unknown", ("income:2",))
    assert "engram verify --rebuild" in damage.fault
    assert older.rebuild().versions == 2
    assert older.verify() == []
    np.testing.assert_array_equal(older.load("income:2").weights["scale"], network(2).weights["scale"])


def test_a_sweep_frees_nothing_that_an_older_catalog_forgot(older):
    there = files(older)
    for dry in (True, False):
        with pytest.raises(StoreError, match=r"income:2 lie in .* not in its catalog, which is older; .*--rebuild"):
            older.sweep(grace=0, dry_run=dry)
    assert files(older) == there
    older.rebuild()
    assert older.sweep(grace=0).freed == {}


def test_verify_leaves_the_list_of_what_is_kept_to_the_rebuild(older):
    listed = (older.folder / "index.json").read_bytes()
    older.verify()
    assert (older.folder / "index.json").read_bytes() == listed


def test_a_number_that_an_older_catalog_gave_out_twice_becomes_the_next_one(store, network, clock, tmp_path):
    first = store.keep("income", network(1))
    copy = backup(store, tmp_path / "backup.db")
    store.keep("income", network(2))
    store = restored(store, copy, clock)
    again = store.keep("income", network(3), parents=(first.digest,))
    store.alias("income@prod", "income:2", why="best")
    assert again.reference == "income:2"
    with pytest.raises(StoreError, match="not in its catalog"):
        store.sweep(grace=0)

    made = store.rebuild()
    assert made.versions == 3
    assert dict(made.renumbered) == {again.digest: "income:3"}
    for number, seed in ((1, 1), (2, 2), (3, 3)):
        np.testing.assert_array_equal(store.load(f"income:{number}").weights["scale"], network(seed).weights["scale"])
    third = store.version("income:3")
    assert third.parents == (again.digest, first.digest)
    assert store.aliases() == {"income@prod": third.digest}  # it stood on the one that moved
    assert "given out twice" in store.history("income@prod")[0].why
    assert sum(store.sweep(grace=0).freed.values()) < 2_000  # the record that said 2, and its config
    assert store.verify() == []
    assert store.rebuild().renumbered == {}
    assert store.keep("income", network(4)).reference == "income:4"


def test_checkpoints_of_a_run_that_an_older_catalog_does_not_know_are_not_freed(store, network, run, clock, tmp_path):
    store.keep("income", network(1))
    copy = backup(store, tmp_path / "backup.db")
    model = network(2)
    store.begin(run)
    for step in (1, 2):
        state = engram.records.TrainingState(epoch=step, step=step, optimizer={"kind": "sgd"})
        store.save(run.id, engram.records.Checkpoint(model.weights, state))
    store = restored(store, copy, clock)
    assert {hurt for damage in store.verify() for hurt in damage.hurts} >= {f"step 2 of run {run.id}"}
    with pytest.raises(StoreError, match="not in its catalog"):
        store.sweep(grace=0)
    assert store.rebuild().checkpoints == 2
    assert store.sweep(grace=0).freed == {}


def test_the_very_next_checkpoint_that_an_older_catalog_does_not_know_is_not_freed(
    store, network, run, clock, tmp_path
):
    store.begin(run)

    def save(step):
        state = engram.records.TrainingState(epoch=step, step=step, optimizer={"kind": "sgd"})
        return store.save(run.id, engram.records.Checkpoint(network(step).weights, state))

    save(1)
    copy = backup(store, tmp_path / "backup.db")
    newest = save(2)
    store = restored(store, copy, clock)
    assert f"step 2 of run {run.id}" in {hurt for damage in store.verify() for hurt in damage.hurts}
    with pytest.raises(StoreError, match="not in its catalog"):
        store.sweep(grace=0)
    store.rebuild()
    assert store.checkpoints(run.id)[0].digest == newest.digest
    store.sweep(grace=0)
    np.testing.assert_array_equal(store.last(run.id).weights["scale"], network(2).weights["scale"])


def test_the_very_next_move_that_an_older_catalog_does_not_know_is_not_written_over(store, network, clock, tmp_path):
    for seed in (1, 2, 3):
        store.keep("income", network(seed))
    store.alias("income@prod", "income:1", why="first")
    copy = backup(store, tmp_path / "backup.db")
    store.alias("income@prod", "income:2", why="second")
    store.protect("income@prod", {"accuracy": "> 0"})
    store = restored(store, copy, clock)
    assert {damage.hurts for damage in store.verify()} == {("income@prod",)}
    for change in (
        lambda: store.alias("income@prod", "income:3", why="third"),
        lambda: store.protect("income@prod", {"accuracy": "> 1"}),
        lambda: store.rollback("income@prod"),
    ):
        with pytest.raises(EngramError):
            change()
    store.rebuild()
    assert [move.why for move in store.history("income@prod")] == ["second", "first"]
    assert store.protected("income")["income@prod"].conditions == {"accuracy": "> 0"}


def test_a_change_whose_process_was_killed_is_no_sign_of_an_older_catalog(store, network, clock):
    """Its document is there and its lease; the next sweep, or the next change, sees to both."""
    for seed in (1, 2):
        store.keep("income", network(seed))
    store.alias("income@prod", "income:1", why="first")
    killed = textwrap.dedent(f"""
        import os
        from engram.store.moves import history
        from engram.store.store import open
        document = history.document
        history.document = lambda *given: (document(*given), os._exit(9))
        open({str(store.folder)!r}, who="eve").alias("income@prod", "income:2", why="killed")
    """)
    for mend in (lambda: store.alias("income@prod", "income:2", why="second"), lambda: store.sweep(grace=0)):
        before = [move.why for move in store.history("income@prod")]
        assert subprocess.run([sys.executable, "-c", killed], check=False).returncode == 9
        assert len(store._plain.documents("history/income/prod/")) == len(before) + 1
        assert store.verify() == []
        mend()
        assert store.verify() == []
        assert len(store._plain.documents("history/income/prod/")) == len(store.history("income@prod"))
    assert [move.why for move in store.history("income@prod")] == ["second", "first"]


def test_a_rebuild_keeps_what_the_catalog_knows_of_aliases_where_their_documents_are_gone(store, network):
    for seed in (1, 2):
        store.keep("income", network(seed))
    store.alias("income@prod", "income:1", why="first")
    store.alias("income@prod", "income:2", why="second")
    store.protect("income@prod", {"accuracy": "> 0"})
    shutil.rmtree(store.folder / "history")
    assert store.rebuild().moves == 3
    assert [move.why for move in store.history("income@prod")] == ["second", "first"]
    assert "income@prod" in store.protected()
    assert store.verify() == []
    assert len(store._plain.documents("history/")) == 3


def test_what_only_an_alias_tells_of_is_lost_and_comes_back(store, network, clock, tmp_path):
    store.keep("income", network(1))
    second = store.keep("income", network(2))
    store.alias("income@prod", "income:2", why="best")
    other = open_store(tmp_path / "copy", who="ada", clock=clock)
    store.push(other)
    blob(store, second.digest).unlink()
    for path in [*store.folder.glob("catalog.db*"), store.folder / "index.json"]:
        path.unlink()
    store = open_store(store.folder, who="ada", clock=clock)
    assert store.rebuild().lost == (second.digest,)
    with pytest.raises(StoreError, match="cannot be read"):
        store.sweep(grace=0)
    with pytest.raises(UsageError, match=r"income@prod points at .* which is lost; move it first"):
        store.forget(second.digest)
    assert store.repair(other)[1] == []
    assert store.version("income@prod").digest == second.digest
    assert store.verify() == []


def test_verify_makes_the_folder_an_image_layout_again(store, network):
    store.keep("income", network(1))
    (store.folder / "oci-layout").unlink()
    (store.folder / "index.json").write_text("{}")
    assert store.verify() == []
    assert (store.folder / "oci-layout").read_text() == '{"imageLayoutVersion":"1.0.0"}'
    assert b"income" in (store.folder / "index.json").read_bytes()


def test_a_move_does_not_write_over_history_that_the_catalog_has_forgotten(store, network, clock, tmp_path):
    for seed in (1, 2, 3):
        store.keep("income", network(seed))
    store.alias("income@prod", "income:1", why="first")
    copy = backup(store, tmp_path / "backup.db")
    store.alias("income@prod", "income:2", why="second")
    store.alias("income@prod", "income:3", why="third")
    store = restored(store, copy, clock)
    assert {(damage.kind, damage.hurts) for damage in store.verify()} == {("unknown", ("income@prod",))}
    with pytest.raises(StoreError, match=r"000003\.json .* later change .* engram verify --rebuild"):
        store.alias("income@prod", "income:1", why="anew")
    store.rebuild()
    assert [move.why for move in store.history("income@prod")] == ["third", "second", "first"]


def test_a_move_to_a_version_that_the_catalog_has_forgotten_is_not_written_over(store, network, clock, tmp_path):
    store.keep("income", network(1))
    store.alias("income@prod", "income:1", why="first")
    copy = backup(store, tmp_path / "backup.db")
    store.keep("income", network(2))
    store.alias("income@prod", "income:2", why="second")
    store = restored(store, copy, clock)
    assert ("income@prod",) in {damage.hurts for damage in store.verify()}
    with pytest.raises(StoreError, match="later change than the catalog knows"):
        store.alias("income@prod", "income:1", why="anew")
    store.rebuild()
    assert [move.why for move in store.history("income@prod")] == ["second", "first"]


@pytest.mark.parametrize("how", ["flipped", "gone"])
@pytest.mark.parametrize("catalog", ["there", "gone"])
def test_a_version_whose_manifest_cannot_be_read_is_not_forgotten_by_a_rebuild(
    store, network, clock, tmp_path, how, catalog
):
    store.keep("income", network(1))
    second = store.keep("income", network(2))
    other = open_store(tmp_path / "copy", who="ada", clock=clock)
    store.push(other)
    manifest = blob(store, second.digest)
    spoil(manifest) if how == "flipped" else manifest.unlink()
    if catalog == "gone":
        for path in store.folder.glob("catalog.db*"):
            path.unlink()
        store = open_store(store.folder, who="ada", clock=clock)

    made = store.rebuild()
    assert made.versions == 1
    assert made.lost == ("income:2",)
    there = files(store)
    (damage,) = store.verify()
    assert (damage.kind, damage.hurts, damage.digest) == ("lost", ("income:2",), second.digest)
    with pytest.raises(StoreError, match=r"income:2 cannot be read .*--repair OTHER-STORE.*--forget"):
        store.sweep(grace=0)
    assert files(store) == there
    assert store.keep("income", network(3)).reference == "income:3"
    assert store.rebuild().lost == ("income:2",)  # a second time it is still known

    mended, left = store.repair(other)
    assert ([damage.hurts for damage in mended], left) == ([("income:2",)], [])
    np.testing.assert_array_equal(store.load("income:2").weights["scale"], network(2).weights["scale"])
    assert store.verify() == []
    assert store.sweep(grace=0).freed == {}
    assert [version.number for version in store.versions("income")] == [3, 2, 1]
    assert store.rebuild().lost == ()


def test_a_lost_version_can_be_given_up(store, network):
    store.keep("income", network(1))
    second = store.keep("income", network(2))
    spoil(blob(store, second.digest))
    store.rebuild()
    with pytest.raises(VersionNotFound, match="no version 'income:1' is lost"):
        store.forget("income:1")
    assert store.forget("income:2") == "income:2"
    assert store.verify() == []
    assert len(store.sweep(grace=0).freed) >= 2
    assert store.rebuild().lost == ()
    assert store.keep("income", network(3)).reference == "income:3"


def test_a_push_that_was_killed_at_its_very_end_is_waste_and_not_a_stray(store, network, tmp_path, clock, monkeypatch):
    store.keep("income", network(1))
    store.keep("income", network(2))
    other = open_store(tmp_path / "other", who="ada", clock=clock)
    other.keep("digits", network(3))
    from engram.store import writing

    def killed(*_arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(writing, "_finished", killed)
    with pytest.raises(engram.errors.Interrupted):
        store.push(other, ["income:2"])
    monkeypatch.undo()
    assert blob(other, store.version("income:2").digest).exists()
    assert other.verify() == []
    assert other.sweep(grace=0).freed
    assert other.rebuild().versions == 1
