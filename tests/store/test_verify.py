"""Damage done by hand to real blobs, found and named."""

import os

import pytest

import engram


def blob(store, digest: str):
    return store.folder / "blobs" / "sha256" / digest.removeprefix("sha256:")


def test_a_whole_store_has_no_damage(store, network):
    store.keep("income", network())
    seen = []
    assert store.verify(tell=lambda done, total: seen.append((done, total))) == []
    assert seen[-1][0] == seen[-1][1] > 5


@pytest.mark.parametrize("position", [0, 7, -1])
def test_a_flipped_bit_in_any_blob_is_found_and_what_it_hurts_is_named(store, network, position):
    store.keep("income", network())
    store.alias("income@prod", "income:1", why="good")
    for path in sorted((store.folder / "blobs" / "sha256").iterdir()):
        whole = path.read_bytes()
        flipped = bytearray(whole)
        flipped[position] ^= 1
        path.chmod(0o644)
        path.write_bytes(flipped)
        (damage,) = store.verify()
        assert damage.digest == f"sha256:{path.name}"
        assert set(damage.hurts) == {"income:1", "income@prod"}
        path.write_bytes(whole)
    assert store.verify() == []


def test_a_blob_that_is_gone_or_cut_is_found(store, network):
    version = store.keep("income", network())
    manifest = blob(store, version.digest)
    manifest.chmod(0o644)
    whole = manifest.read_bytes()
    manifest.write_bytes(whole[:-1])
    assert [damage.digest for damage in store.verify()] == [version.digest]
    manifest.unlink()
    (damage,) = store.verify()
    assert damage.digest == version.digest


def test_a_blob_that_two_versions_share_hurts_both(store, network):
    first, second = store.keep("income", network()), store.keep("income", network())
    shared = next(path for path in (store.folder / "blobs" / "sha256").iterdir() if path.stat().st_size > 1_000_000)
    shared.chmod(0o644)
    shared.write_bytes(b"")
    (damage,) = store.verify()
    assert damage.hurts == (first.reference, second.reference)


@pytest.mark.parametrize("odd", ["pipe", "folder", "link into the void"])
def test_what_is_no_file_is_found_without_waiting_and_mended(store, network, odd, tmp_path):
    store.keep("income", network())
    other = engram.open(tmp_path / "other")
    store.push(other)
    for path in sorted((store.folder / "blobs" / "sha256").iterdir()):
        path.unlink()
        if odd == "pipe":
            os.mkfifo(path)
        elif odd == "folder":
            (path / "inside").mkdir(parents=True)
        else:
            path.symlink_to(tmp_path / "nothing")
        (damage,) = store.verify()
        assert damage.digest == f"sha256:{path.name}"
        store.repair(other)
        assert store.verify() == []
