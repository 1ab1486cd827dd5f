"""Keys, folders and bundles made without Engram's own signing, for tests of what it signs, accepts and refuses."""

import base64
import hashlib
import json

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from engram.store import manifests
from engram.store.objects import Blob
from engram.store.signatures import keys, signing

CURVES = {"P-256": ec.SECP256R1(), "P-384": ec.SECP384R1(), "P-521": ec.SECP521R1()}
HASHES = {"P-256": hashes.SHA256(), "P-384": hashes.SHA384(), "P-521": hashes.SHA512()}


def written(folder, key, password=b""):
    """A pair of key files."""
    locked = BestAvailableEncryption(password) if password else NoEncryption()
    folder.mkdir(exist_ok=True)
    private, public = folder / "private.pem", folder / "public.pem"
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, locked))
    public.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return private, public


def manifest_of(store, reference):
    return manifests.read(store._place, store.version(reference).digest)


def folder_of(store, reference, folder):
    """The files of a version under their paths, as a tool that knows nothing of Engram would have them."""
    for path, blob in manifest_of(store, reference).files.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes((store.folder / "blobs" / "sha256" / blob.digest.removeprefix("sha256:")).read_bytes())
    return folder


def bundle_of(store, reference):
    """The file of the only signature of a version."""
    digest = store.version(reference).digest.removeprefix("sha256:")
    (found,) = (store.folder / "signatures" / digest).iterdir()
    return found


def statement_of(bundle):
    return json.loads(base64.b64decode(json.loads(bundle)["dsseEnvelope"]["payload"]))


def sealed(payload, private, curve="P-256"):
    """A bundle that is signed well, whatever its payload: what a key's owner could make and nobody else."""
    said = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    kind = b"application/vnd.in-toto+json"
    signature = private.sign(b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(said), said), ec.ECDSA(HASHES[curve]))
    pem = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return {
        "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
        "verificationMaterial": {"publicKey": {"hint": hashlib.sha256(pem).hexdigest()}, "tlogEntries": []},
        "dsseEnvelope": {
            "payload": base64.b64encode(said).decode(),
            "payloadType": kind.decode(),
            "signatures": [{"sig": base64.b64encode(signature).decode(), "keyid": ""}],
        },
    }


def stated(files, **changed):
    """A statement of OpenSSF Model Signing v1.0 over files: name → hexadecimal digest."""
    resources = [{"name": name, "digest": digest, "algorithm": "sha256"} for name, digest in files.items()]
    root = hashlib.sha256(b"".join(bytes.fromhex(digest) for digest in files.values())).hexdigest()
    how = {"method": "files", "hash_type": "sha256", "allow_symlinks": False}
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": "income:1", "digest": {"sha256": root}}],
        "predicateType": "https://model_signing/signature/v1.0",
        "predicate": {"resources": resources, "serialization": how},
    } | changed


CONTENTS = {"graph.onnx": b"the graph", "model.bin": b"the weights"}
FILES = {path: hashlib.sha256(content).hexdigest() for path, content in CONTENTS.items()}
GRAPH, MODEL = FILES.values()
PRIVATE = ec.derive_private_key(20260503, CURVES["P-256"])
KEY = keys.public(PRIVATE.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo), "the key")


def manifest_for(files):
    blobs = {path: Blob(f"sha256:{digest}", 1) for path, digest in files.items()}
    return manifests.Manifest(f"sha256:{'ff' * 32}", 1, Blob(f"sha256:{'ee' * 32}", 1), blobs)


def check(bundle, files=FILES):
    content = bundle if isinstance(bundle, bytes) else json.dumps(bundle).encode()
    signing.check(manifest_for(files), content, KEY, "the signature")


def changed(bundle, *path, to=None):
    """A bundle with one value replaced, or taken out where nothing is given."""
    made = json.loads(json.dumps(bundle))
    holder = made
    for step in path[:-1]:
        holder = holder[step]
    if to is None:
        del holder[path[-1]]
    else:
        holder[path[-1]] = to
    return made


GOOD = sealed(stated(FILES), PRIVATE)
ENVELOPE, MATERIAL = "dsseEnvelope", "verificationMaterial"
