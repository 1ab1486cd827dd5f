"""``sign`` and ``trust`` as a user has them, with keys made by openssl."""

import json
import shutil
import subprocess
import sys

import pytest

import engram as facade
from engram.errors import ConditionNotMet


@pytest.fixture
def own(kept, here):
    """A store of this test with a kept version, and beside it the keys of two people."""
    shutil.copytree(kept / "engrams", here / "engrams")
    for name in ("ada", "bob"):
        openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", f"{name}.pem")
        openssl("ec", "-in", f"{name}.pem", "-pubout", "-out", f"{name}.pub")
    return here


def openssl(*words):
    subprocess.run(["openssl", *words], check=True, capture_output=True)


def test_a_version_is_signed_and_who_signed_it_is_listed(engram, own):
    assert "nobody has signed iris" in engram("sign", "iris").out
    signed = json.loads(engram("sign", "iris", "--key", "ada.pem", "--json").out)
    assert signed["version"] == "iris:1"
    assert signed["key"] in engram("sign", "iris:1").out
    assert json.loads(engram("sign", "iris:1", "--json").out) == [signed["key"]]
    shown = engram("sign", "iris", "--key", "bob.pem").out
    assert "iris:1 is signed by" in shown
    assert "engram verify iris:1 --key" in shown


def test_a_signature_made_elsewhere_is_kept_if_it_is_good(engram, own):
    store = facade.open()
    files = store._files("iris")._manifest.files
    for path, blob in files.items():
        (own / "model" / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(own / "engrams" / "blobs" / "sha256" / blob.digest.removeprefix("sha256:"), own / "model" / path)
    made = ["--private_key", "ada.pem", "--signature", "model.sig"]
    subprocess.run([sys.executable, "-m", "model_signing", "sign", "key", "model", *made], check=True)
    assert "needs --key" in engram("sign", "iris", "--signature", "model.sig").sentence
    assert "was made with the key" in engram("sign", "iris", "--signature", "model.sig", "--key", "bob.pub").sentence
    assert "iris:1 is signed by" in engram("sign", "iris", "--signature", "model.sig", "--key", "ada.pub").out
    store.verify_signature("iris", own / "ada.pub")


def test_a_store_that_trusts_a_key_serves_only_what_it_signed(engram, own):
    assert "no key is trusted" in engram("trust").out
    assert "is trusted" in engram("trust", "ada.pub").out
    rows = own / "rows.csv"
    rows.write_text("sepal_length,sepal_width,petal_length,petal_width\n5.1,3.5,1.4,0.2\n")
    for words in (("show", "iris"), ("predict", "iris", rows), ("serve", "iris"), ("export", "iris", "-o", "x.onnx")):
        assert "iris:1 is signed by nobody" in engram(*words).sentence
    assert engram("sign", "iris", "--key", "ada.pem").code == 0
    assert engram("predict", "iris", rows).code == 0
    (known,) = json.loads(engram("trust", "--json").out)
    assert known["curve"] == "P-256"
    assert known["key"] in engram("trust").out
    changed = engram("trust", "bob.pub", "--remove", known["key"][:12]).out
    assert f"{known['key']} is no longer trusted" in changed
    assert "only by" in engram("predict", "iris", rows).sentence


def test_a_network_is_trained_and_kept_where_signatures_are_demanded(engram, own):
    engram("trust", "ada.pub")
    (own / "iris.toml").write_text('[data]\nfrom = "sklearn:iris"\n\n[train]\nepochs = 1\n')
    assert json.loads(engram("run", "iris.toml", "--json").out)["number"] == 2
    assert engram("list").code == engram("log", "iris").code == 0
    assert "iris:2 is signed by nobody" in engram("show", "iris").sentence


def test_a_reader_demands_signatures_by_the_environment(engram, own, monkeypatch):
    engram("sign", "iris", "--key", "ada.pem")
    monkeypatch.setenv("ENGRAM_TRUST", "bob.pub")
    assert "iris:1 is signed only by" in engram("show", "iris").sentence
    monkeypatch.setenv("ENGRAM_TRUST", "bob.pub:ada.pub")
    assert engram("show", "iris").code == 0
    with pytest.raises(ConditionNotMet):
        facade.open(trust=["bob.pub"]).load("iris")
    monkeypatch.setenv("ENGRAM_TRUST", ":")
    assert "must be the path of a file" in engram("show", "iris").sentence


def test_the_password_of_a_key_comes_from_the_environment(engram, own, monkeypatch):
    openssl("ec", "-in", "ada.pem", "-aes256", "-passout", "pass:horse", "-out", "locked.pem")
    assert "give it in ENGRAM_PASSWORD" in engram("sign", "iris", "--key", "locked.pem").sentence
    monkeypatch.setenv("ENGRAM_PASSWORD", "cow")
    assert "cannot be opened with this password" in engram("sign", "iris", "--key", "locked.pem").sentence
    monkeypatch.setenv("ENGRAM_PASSWORD", "horse")
    assert engram("sign", "iris", "--key", "locked.pem").code == 0
    facade.open().verify_signature("iris", own / "ada.pub")
