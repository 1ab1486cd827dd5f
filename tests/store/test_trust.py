"""What a store, or its reader, demands before a version is handed out."""

import base64
import json
import sqlite3
import subprocess
import sys
from datetime import UTC, datetime

import numpy as np
import pytest

from engram.errors import ConditionNotMet, StoreError, UsageError
from engram.records import TrainingState
from engram.store.store import open as open_store
from signers import bundle_of, manifest_of


def test_a_store_that_trusts_a_key_hands_out_only_what_that_key_signed(store, network, pair, other):
    state = TrainingState(1, 2, slots={"momentum": np.ones(3)})
    store.keep("income", network(), state=state, lock="[lock]\n")
    key = store.trust(pair[1])
    assert store.trusted() == [key]
    again = open_store(store.folder, who="bob")
    for opened in (store, again):
        for refused in (opened.load, opened.weights, opened.state):
            with pytest.raises(ConditionNotMet, match="income:1 is signed by nobody"):
                refused("income")
    assert again.text("income", "lock") == "[lock]\n"
    assert again.version("income").number == 1
    store.sign("income", other[0])
    with pytest.raises(ConditionNotMet, match="only by"):
        again.load("income")
    store.sign("income", pair[0])
    assert again.load("income").weights.keys() == network().weights.keys()
    assert again.state("income").slots.keys() == {"momentum"}
    assert again.verify_signature("income").key == key


def test_any_one_of_the_trusted_keys_is_enough_and_a_bad_signature_of_another_does_not_matter(
    store, network, pair, other
):
    store.keep("income", network())
    store.trust(pair[1])
    wrong = store.trust(other[1])
    good = store.sign("income", pair[0]).key
    (bundle_of(store, "income").parent / f"{wrong.id}.json").write_bytes(b"{}")
    assert store.verify_signature("income").key == good
    store.load("income")
    store.distrust(good.id[:8])
    with pytest.raises(StoreError, match="is not a signature"):
        store.load("income")


def test_a_key_is_taken_back_by_the_beginning_of_its_id(store, network, pair, other):
    store.keep("income", network())
    ids = [store.trust(public).id for _, public in (pair, other)]
    for wrong in ("", ids[0][:7], "0" * 8):
        with pytest.raises(UsageError, match="of the 2 trusted keys"):
            store.distrust(wrong)
    assert store.distrust(ids[0][:8]) == ids[0]
    assert [key.id for key in store.trusted()] == [ids[1]]
    store.distrust(ids[1])
    store.load("income")


def test_what_a_demanding_store_hands_out_is_hashed(store, network, pair):
    store.keep("income", network())
    blob = manifest_of(store, "income").files["model-00001-of-00002.safetensors"]
    held = store.folder / "blobs" / "sha256" / blob.digest.removeprefix("sha256:")
    held.chmod(0o644)
    whole = held.read_bytes()
    held.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    store.load("income")
    store.sign("income", pair[0])
    store.trust(pair[1])
    with pytest.raises(StoreError, match="damaged"):
        store.load("income")


def test_a_reader_who_names_a_key_does_not_ask_the_store(store, network, pair, other):
    """Whoever can write the store takes its key away, adds his own and signs with that."""
    store.keep("income", network())
    store.sign("income", pair[0])
    reader = open_store(store.folder, who="bob", trust=[pair[1]])
    reader.load("income")
    store.keep("income", network(666))
    store.sign("income:2", other[0])
    store.trust(other[1])
    store.load("income:2")
    again = open_store(store.folder, who="bob", trust=[pair[1]])
    again.load("income:1")
    with pytest.raises(ConditionNotMet):
        again.load("income:2")
    assert [key.pem for key in again.trusted()] == [pair[1].read_bytes()]


def test_a_store_in_a_bucket_is_signed_and_demands_alike(bucket, network, pair, other, tmp_path):
    store = open_store(bucket("moto"), who="ada", cache=tmp_path / "cache")
    store.keep("income", network())
    store.sign("income", pair[0])
    store.trust(pair[1])
    reader = open_store(store.url, who="bob", cache=tmp_path / "another")
    assert reader.load("income").weights.keys() == network().weights.keys()
    assert reader.verify_signature("income").key == reader.trusted()[0]
    with pytest.raises(ConditionNotMet):
        open_store(store.url, who="bob", cache=tmp_path / "third", trust=[other[1]]).load("income")


def test_a_reader_whose_key_cannot_be_read_gets_nothing(store, network, tmp_path):
    store.keep("income", network())
    for path, why in (("", "must be the path of a file"), (tmp_path / "none.pem", "cannot be read")):
        with pytest.raises(UsageError, match=why):
            open_store(store.folder, who="bob", trust=[path]).load("income")


def test_a_damaged_trusted_key_is_refused_and_not_passed_over(store, network, pair, other):
    store.keep("income", network())
    key = store.trust(pair[1])
    held = store.folder / "trust" / f"{key.id}.pem"
    for content in (b"", other[1].read_bytes()):
        held.write_bytes(content)
        with pytest.raises(StoreError, match="the trusted key"):
            open_store(store.folder, who="bob").load("income")
    store.distrust(key.id)
    open_store(store.folder, who="bob").load("income")


def test_a_catalog_that_gives_a_signed_version_another_number_is_found_out(store, network, pair):
    for seed in (1, 2):
        store.keep("income", network(seed))
        store.sign("income", pair[0])
    with sqlite3.connect(store.folder / "catalog.db") as catalog:
        catalog.execute("update versions set number = 100 - number")
        catalog.execute("update versions set number = 3 - (100 - number)")
    store.load("income:2")
    store.trust(pair[1])
    with pytest.raises(StoreError, match="the catalog calls income:2 what was signed as income:1"):
        store.load("income:2")
    with pytest.raises(StoreError, match="was signed as income:1"):
        store.verify_signature("income:2")


def test_where_nothing_is_trusted_no_library_of_signatures_is_loaded(store, network, pair):
    store.keep("income", network())
    code = (
        "import sys; from engram.store.store import open\n"
        "open(sys.argv[1], who='bob', trust=sys.argv[2:]).load('income')\n"
        "print(*({'cryptography', 'model_signing', 'sigstore'} & {name.partition('.')[0] for name in sys.modules}))"
    )

    def loaded(*trust):
        words = [sys.executable, "-c", code, store.folder, *trust]
        return subprocess.run(words, check=True, capture_output=True, text=True).stdout.split()

    assert loaded() == []
    store.sign("income", pair[0])
    assert loaded(pair[1]) == ["cryptography"]


def test_verify_of_a_whole_store_names_damaged_signatures_and_keys(store, network, pair):
    private, public = pair
    store.keep("income", network(1))
    store.sign("income:1", private)
    assert store.verify() == []
    (name,) = store._plain.documents("signatures/")
    whole = store._plain.document(name)
    for spoiled in (whole[:-20], whole.replace(b'"payload":"', b'"payload":"QQ'), b""):
        store._plain.write(name, spoiled)
        assert [(damage.kind, damage.hurts) for damage in store.verify()] == [("signature", ("income:1",))]
    bundle = json.loads(whole)
    signature = bytearray(base64.b64decode(bundle["dsseEnvelope"]["signatures"][0]["sig"]))
    signature[-1] ^= 1
    bundle["dsseEnvelope"]["signatures"][0]["sig"] = base64.b64encode(signature).decode()
    store._plain.write(name, json.dumps(bundle).encode())
    assert store.verify() == []  # nobody can tell without the key,
    key = store.trust(public)  # and whoever trusts it has it
    assert ["forged or damaged" in damage.fault for damage in store.verify()] == [True]
    store._plain.write(name, whole)
    store._plain.write(f"trust/{key.id}.pem", b"no key")
    again = open_store(store.folder, who="ada", clock=lambda: datetime.now(UTC))
    assert [damage.kind for damage in again.verify()] == ["signature"]
