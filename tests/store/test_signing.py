"""Signatures held against the reference implementation, in both directions, and what they are good for."""

import hashlib
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import model_signing
import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from engram.errors import ConditionNotMet, EngramError, StoreError, UsageError, VersionNotFound
from engram.records import TrainingState
from engram.store.objects import Blob
from engram.store.signatures import keys, signing
from signers import (
    CURVES,
    FILES,
    GRAPH,
    MODEL,
    PRIVATE,
    bundle_of,
    check,
    folder_of,
    manifest_for,
    manifest_of,
    sealed,
    stated,
    statement_of,
    written,
)


@pytest.mark.parametrize("curve", CURVES)
def test_the_reference_implementation_accepts_what_is_signed_here(store, network, tmp_path, curve):
    private, public = written(tmp_path / "key", ec.generate_private_key(CURVES[curve]))
    store.keep("income", network(), state=TrainingState(1, 2, slots={"momentum": np.ones(3)}), lock="[lock]\n")
    assert store.sign("income", private).key.curve == curve
    folder = folder_of(store, "income", tmp_path / "model")
    verifier = model_signing.verifying.Config().use_elliptic_key_verifier(public_key=public)
    verifier.verify(folder, bundle_of(store, "income"))
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        whole = path.read_bytes()
        path.write_bytes(whole + b" ")
        with pytest.raises(ValueError, match=path.name):
            verifier.verify(folder, bundle_of(store, "income"))
        path.write_bytes(whole)


def test_the_command_line_of_the_reference_implementation_and_ours_accept_each_others(store, network, tmp_path, pair):
    private, public = pair
    store.keep("income", network())
    folder = folder_of(store, "income", tmp_path / "model")
    theirs = (sys.executable, "-m", "model_signing")
    made = ("--private_key", private, "--signature", tmp_path / "model.sig")
    subprocess.run([*theirs, "sign", "key", folder, *made], check=True)
    assert store.attach("income", tmp_path / "model.sig", public).reference == "income:1"
    assert store.verify_signature("income", public).key.id == store.signatures("income")[0]
    store.sign("income", private)
    made = ("--public_key", public, "--signature", bundle_of(store, "income"))
    subprocess.run([*theirs, "verify", "key", folder, *made], check=True)


def test_a_signature_says_what_the_standard_wants_it_to_say(store, network, tmp_path, pair):
    store.keep("income", network(), state=TrainingState(1, 2), lock="[lock]\n")
    store.sign("income", pair[0])
    said = statement_of(bundle_of(store, "income").read_bytes())
    folder = folder_of(store, "income", tmp_path / "model")
    files = {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }
    wanted = stated(dict(sorted(files.items())))
    assert said == wanted
    assert {"version.json", "training/state.json", "graph.onnx"} <= files.keys()


def test_a_version_can_have_signatures_by_several_keys(store, network, pair, other):
    store.keep("income", network())
    signed = {store.sign("income", private).key.id for private, _ in (pair, other)}
    assert store.signatures("income") == sorted(signed)
    assert {store.verify_signature("income", public).key.id for _, public in (pair, other)} == signed


def test_signing_changes_nothing_of_a_version(store, network, pair):
    version = store.keep("income", network())
    before = {path: path.read_bytes() for path in (store.folder / "blobs").rglob("*") if path.is_file()}
    store.sign("income", pair[0])
    store.sign("income", pair[0])
    assert before == {path: path.read_bytes() for path in (store.folder / "blobs").rglob("*") if path.is_file()}
    assert store.version("income") == version


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (FILES | {"graph.onnx": "22" * 32}, "'graph.onnx' is not what was signed"),
        ({"graph.onnx": GRAPH, "weights.bin": MODEL}, "'model.bin' was renamed to 'weights.bin'"),
        ({"graph.onnx": GRAPH}, "'model.bin' was signed but is not there"),
        (FILES | {"code.py": "33" * 32}, "'code.py' was not signed"),
        (FILES | {"copy.bin": MODEL}, "'copy.bin' was not signed"),
        ({"graph.onnx": MODEL, "model.bin": GRAPH}, "'graph.onnx' is not what was signed; 'model.bin' is not"),
    ],
)
def test_a_changed_renamed_removed_or_added_file_is_named(files, said):
    bundle = sealed(stated(FILES), PRIVATE)
    check(bundle)
    with pytest.raises(StoreError, match="the signature is for other files: ") as refused:
        check(bundle, files)
    assert said in str(refused.value)


def test_only_the_first_of_many_differences_are_told():
    with pytest.raises(StoreError, match="and 97 more") as refused:
        check(sealed(stated(FILES), PRIVATE), FILES | {f"{n}.bin": "44" * 32 for n in range(100)})
    assert len(str(refused.value)) < 400


def test_the_bytes_of_every_file_are_hashed_and_a_changed_one_is_named(store, network, pair):
    store.keep("income", network(), state=TrainingState(1, 2, slots={"momentum": np.ones(3)}))
    store.sign("income", pair[0])
    seen = []
    store.verify_signature("income", pair[1], lambda done, total: seen.append((done, total)))
    files = manifest_of(store, "income").files
    assert seen[-1] == (len(files), len(files))
    for path, blob in files.items():
        held = store.folder / "blobs" / "sha256" / blob.digest.removeprefix("sha256:")
        whole = held.read_bytes()
        held.chmod(0o644)
        held.write_bytes(bytes([whole[0] ^ 1]) + whole[1:])
        with pytest.raises(StoreError, match=path):
            store.verify_signature("income", pair[1])
        held.write_bytes(whole)
    store.verify_signature("income", pair[1])


def test_a_signature_of_one_version_is_none_of_another(store, network, pair):
    first, second = (store.keep("income", network(seed)) for seed in (1, 2))
    store.sign("income:1", pair[0])
    folders = [store.folder / "signatures" / version.digest.removeprefix("sha256:") for version in (first, second)]
    shutil.copytree(*folders)
    with pytest.raises(StoreError, match=r"income:2 .*'model-00001-of-00002.safetensors' is not what was signed"):
        store.verify_signature("income:2", pair[1])


def test_without_a_signature_by_the_key_nothing_is_verified(store, network, pair, other):
    store.keep("income", network())
    with pytest.raises(ConditionNotMet, match="income:1 is signed by nobody"):
        store.verify_signature("income", pair[1])
    store.sign("income", other[0])
    with pytest.raises(ConditionNotMet, match=f"only by {store.signatures('income')[0][:12]} and not by"):
        store.verify_signature("income", pair[1])
    with pytest.raises(UsageError, match="no key is trusted"):
        store.verify_signature("income")
    with pytest.raises(VersionNotFound):
        store.verify_signature("incom", pair[1])


def test_a_signature_under_the_name_of_another_key_is_refused(store, network, pair, other):
    store.keep("income", network())
    wanted = keys.public(pair[1].read_bytes(), "public.pem").id
    store.sign("income", other[0])
    bundle_of(store, "income").rename(bundle_of(store, "income").with_name(f"{wanted}.json"))
    with pytest.raises(StoreError, match="was made with the key"):
        store.verify_signature("income", pair[1])


@pytest.mark.parametrize("missing", ["cryptography", "model_signing"])
def test_a_library_that_is_not_installed_is_named_with_the_command_that_installs_it(store, network, pair, missing):
    store.keep("income", network())
    code = (
        "import sys; sys.modules[sys.argv[1]] = None\n"
        "from engram.errors import MissingLibrary\n"
        "from engram.store.store import open\n"
        "try: open(sys.argv[2], who='bob').sign('income', sys.argv[3])\n"
        "except MissingLibrary as absent: print(absent)"
    )
    words = [sys.executable, "-c", code, missing, store.folder, pair[0]]
    said = subprocess.run(words, check=True, capture_output=True, text=True).stdout
    assert f"signatures need {missing}" in said
    assert "pip install 'engram[sign]'" in said


def test_every_refusal_is_an_error_of_engram(store, network, pair, tmp_path):
    store.keep("income", network())
    for bundle in (tmp_path / "none.sig", tmp_path, pair[1], Path("/dev/zero")):
        with pytest.raises(EngramError, match=r"^.+; \w.+$"):
            store.attach("income", bundle, pair[1])
    assert store.signatures("income") == []


def test_more_files_than_one_bundle_holds_are_refused_when_they_are_signed(pair):
    one = manifest_for(FILES)
    many = {f"{n:04000}.safetensors": Blob(f"sha256:{n:064x}", 1) for n in range(4_000)}
    with pytest.raises(UsageError, match="4,000 files, which make a signature of"):
        signing.sign(replace(one, files=many), "income:1", pair[0])
