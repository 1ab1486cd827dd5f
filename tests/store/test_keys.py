"""Keys as openssl and others write them: which sign, which are refused, and by what name each is known."""

import subprocess

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from engram.errors import UsageError
from signers import CURVES, written


def test_a_key_is_known_by_the_digest_that_openssl_and_sha256sum_give(store, network, pair, tmp_path):
    store.keep("income", network())
    pem = tmp_path / "again.pem"
    subprocess.run(["openssl", "ec", "-in", pair[0], "-pubout", "-out", pem], check=True, capture_output=True)
    summed = subprocess.run(["sha256sum", pem], check=True, capture_output=True, text=True).stdout.split()[0]
    assert store.sign("income", pair[0]).key.id == summed
    assert store.signatures("income") == [summed]


def test_a_protected_key_signs_with_its_password_only(store, network, tmp_path):
    private, public = written(tmp_path / "key", ec.generate_private_key(CURVES["P-384"]), b"correct horse")
    store.keep("income", network())
    with pytest.raises(UsageError, match="ENGRAM_PASSWORD"):
        store.sign("income", private)
    with pytest.raises(UsageError, match="cannot be opened with this password"):
        store.sign("income", private, password="battery staple")
    assert store.signatures("income") == []
    store.sign("income", private, password="correct horse")
    store.verify_signature("income", public)


def test_a_password_is_not_looked_at_where_the_key_has_none(store, network, pair):
    store.keep("income", network())
    store.sign("income", pair[0], password="not needed")
    store.verify_signature("income", pair[1])


def test_a_key_written_by_openssl_in_its_old_form_is_taken(store, network, tmp_path):
    private = tmp_path / "private.pem"
    made = ["openssl", "ecparam", "-name", "secp521r1", "-genkey", "-out", private]
    subprocess.run(made, check=True, capture_output=True)
    assert private.read_bytes().startswith(b"-----BEGIN EC PARAMETERS-----")
    store.keep("income", network())
    assert store.sign("income", private).key.curve == "P-521"


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda: rsa.generate_private_key(65537, 2048), "not an elliptic-curve key"),
        (lambda: ec.generate_private_key(ec.SECP256K1()), "secp256k1, which is none of P-256, P-384, P-521"),
    ],
)
def test_other_kinds_of_keys_are_refused(store, network, tmp_path, make, why):
    private, public = written(tmp_path / "key", make())
    store.keep("income", network())
    with pytest.raises(UsageError, match=why):
        store.sign("income", private)
    with pytest.raises(UsageError, match=why):
        store.trust(public)
    with pytest.raises(UsageError, match=why):
        store.verify_signature("income", public)


def test_what_is_no_key_is_refused_with_a_reason(store, network, tmp_path, pair):
    store.keep("income", network())
    text, large = tmp_path / "text.pem", tmp_path / "large.pem"
    text.write_text("-----BEGIN EC PRIVATE KEY-----\nbm8=\n-----END EC PRIVATE KEY-----\n")
    large.write_bytes(pair[1].read_bytes() + b"\n" * 65_536)
    refused = [
        (lambda: store.sign("income", text), "is not a private key in PEM"),
        (lambda: store.sign("income", pair[1]), "is not a private key in PEM"),
        (lambda: store.sign("income", tmp_path), "is a folder; name a file in it"),
        (lambda: store.trust(pair[0]), "a private key where a public one is wanted"),
        (lambda: store.trust(large), "more than 65,536 bytes"),
        (lambda: store.trust(tmp_path / "none.pem"), "cannot be read: no such file"),
        (lambda: store.trust(bundle_of_nothing(tmp_path)), "is not a public key in PEM"),
    ]
    for action, why in refused:
        with pytest.raises(UsageError, match=why):
            action()
    assert store.trusted() == []


def bundle_of_nothing(folder):
    path = folder / "empty.pem"
    path.write_bytes(b"")
    return path
