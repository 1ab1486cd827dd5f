"""What other programs see of a store: an OCI image layout, ModelPack manifests, safetensors blobs."""

import hashlib
import json
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open
from sqlalchemy import insert

from engram.records import TrainingState
from engram.store import manifests, tables
from engram.store.store import open as open_store

needs_skopeo = pytest.mark.skipif(
    shutil.which("skopeo") is None, reason="skopeo is not installed; make test tries to: apt-get install skopeo"
)


@pytest.fixture
def kept(store, network):
    store.keep("income", network(1))
    store.keep(
        "income", network(2), state=TrainingState(step=3, slots={"exp_avg/scale": np.array(0.5)}), pipeline="[data]"
    )
    store.alias("income@prod", "income:1", why="the first")
    return store


def index(store):
    return json.loads((store.folder / "index.json").read_bytes())


def blob(store, descriptor):
    """The bytes of a descriptor, checked as a reader of the OCI specification would."""
    algorithm, _, digest = descriptor["digest"].partition(":")
    content = (store.folder / "blobs" / algorithm / digest).read_bytes()
    assert hashlib.sha256(content).hexdigest() == digest
    assert len(content) == descriptor["size"]
    return content


def test_the_folder_is_an_oci_image_layout(kept):
    assert json.loads((kept.folder / "oci-layout").read_bytes()) == {"imageLayoutVersion": "1.0.0"}
    found = index(kept)
    assert (found["schemaVersion"], found["mediaType"]) == (2, "application/vnd.oci.image.index.v1+json")
    names = {entry["annotations"]["org.opencontainers.image.ref.name"]: entry for entry in found["manifests"]}
    assert list(names) == ["income", "income:2", "income:1", "income@prod"]
    assert names["income:1"]["digest"] == kept.version("income:1").digest
    assert names["income"]["digest"] == names["income:2"]["digest"] == kept.version("income").digest
    assert names["income@prod"]["digest"] == kept.version("income:1").digest
    for path in kept.folder.glob("blobs/sha256/*"):
        assert hashlib.sha256(path.read_bytes()).hexdigest() == path.name


def test_a_manifest_is_one_of_the_model_pack(kept):
    entry = index(kept)["manifests"][0]
    manifest = json.loads(blob(kept, entry))
    assert manifest["schemaVersion"] == 2
    assert manifest["mediaType"] == entry["mediaType"] == "application/vnd.oci.image.manifest.v1+json"
    assert manifest["artifactType"] == entry["artifactType"] == "application/vnd.cncf.model.manifest.v1+json"
    assert manifest["config"]["mediaType"] == "application/vnd.cncf.model.config.v1+json"
    config = json.loads(blob(kept, manifest["config"]))
    assert config["modelfs"] == {"type": "layers", "diffIds": [layer["digest"] for layer in manifest["layers"]]}
    when = kept.version("income:2").kept.isoformat()
    assert config["descriptor"] == {"createdAt": when, "name": "income", "version": "2"}
    assert config["config"] == {"format": "safetensors", "paramSize": "301k", "precision": "float32,float64"}
    for layer in manifest["layers"]:
        blob(kept, layer)


def test_every_file_has_a_media_type_that_fits(kept):
    manifest = json.loads(blob(kept, index(kept)["manifests"][0]))
    types = {layer["annotations"]["org.cncf.model.filepath"]: layer["mediaType"] for layer in manifest["layers"]}
    model = "application/vnd.cncf.model"
    assert types == {
        "graph.onnx": f"{model}.weight.config.v1.raw",
        "preprocessing.onnx": f"{model}.weight.config.v1.raw",
        "signature.json": f"{model}.weight.config.v1.raw",
        "labels.json": f"{model}.weight.config.v1.raw",
        "statistics.json": f"{model}.weight.config.v1.raw",
        "source.json": f"{model}.weight.config.v1.raw",
        "model-00001-of-00002.safetensors": f"{model}.weight.v1.raw",
        "model-00002-of-00002.safetensors": f"{model}.weight.v1.raw",
        "model.safetensors.index.json": f"{model}.weight.config.v1.raw",
        "training/state.json": "application/vnd.engram.training.v1.raw",
        "training/slots-00001-of-00001.safetensors": "application/vnd.engram.training.v1.raw",
        "pipeline.toml": f"{model}.code.v1.raw",
        "version.json": "application/vnd.engram.record.v1.raw",
    }


def test_a_catalog_could_be_made_anew_from_a_manifest(kept):
    version = kept.version("income")
    manifest = manifests.read(kept._place, version.digest)
    said = json.loads(kept._place.get(manifest.files["version.json"].digest))
    assert said == {
        "name": version.name,
        "number": version.number,
        "kept": version.kept.isoformat(),
        "holds": list(version.holds),
        "metrics": version.metrics,
        "data": version.data,
        "parents": list(version.parents),
        "facts": version.facts,
    }


def test_the_safetensors_library_opens_a_blob_in_place(kept, network):
    manifest = manifests.read(kept._place, kept.version("income").digest)
    names = json.loads(kept._place.get(manifest.files["model.safetensors.index.json"].digest))["weight_map"]
    assert names.keys() == network().weights.keys()
    for name, path in names.items():
        stored = kept.folder / "blobs" / "sha256" / manifest.files[path].digest.removeprefix("sha256:")
        with safe_open(stored, framework="np") as opened:
            np.testing.assert_array_equal(opened.get_tensor(name), network(2).weights[name])


def test_the_same_content_has_the_same_manifest_wherever_it_is_kept(kept, network, tmp_path):
    twin = open_store(tmp_path / "twin", who="eve", clock=lambda: kept.version("income:1").kept)
    assert twin.keep("income", network(1)).digest == kept.version("income:1").digest


@needs_skopeo
@pytest.mark.parametrize("name", ["income", "income:2", "income:1", "income@prod"])
def test_skopeo_inspects_and_copies_a_version(kept, tmp_path, name):
    source, target = f"oci:{kept.folder}:{name}", tmp_path / "copy"
    raw = subprocess.run(["skopeo", "inspect", "--raw", source], check=True, capture_output=True).stdout
    assert f"sha256:{hashlib.sha256(raw).hexdigest()}" == kept.version(name).digest
    subprocess.run(["skopeo", "copy", source, f"oci:{target}:{name}"], check=True, capture_output=True)
    copied = {path.name for path in target.glob("blobs/sha256/*")}
    wanted = manifests.read(kept._place, kept.version(name).digest).blobs
    assert copied == {digest.removeprefix("sha256:") for digest in wanted}


REFERENCE = re.compile(  # of the OCI image specification, annotations.md
    r"[A-Za-z0-9]+(?:(?:[-._:@+]|--)[A-Za-z0-9]+)*(?:/[A-Za-z0-9]+(?:(?:[-._:@+]|--)[A-Za-z0-9]+)*)*"
)


@given(st.lists(st.from_regex(r"[a-z0-9][a-z0-9._-]{0,6}", fullmatch=True), min_size=2, max_size=9, unique=True))
def test_every_name_is_a_reference_of_the_specification_and_no_two_are_the_same(names):
    called = [manifests.called(name) for name in names]
    assert all(REFERENCE.fullmatch(f"{one}:7") and REFERENCE.fullmatch(f"{one}@{one}") for one in called)
    assert len(set(called)) == len(names)
    for name, one in zip(names, called, strict=True):
        assert re.sub(r"\+([0-9a-f]{2})", lambda code: chr(int(code[1], 16)), one) == name


@needs_skopeo
@pytest.mark.parametrize(("name", "called"), [("my_net.v2", "my_net.v2"), ("a..b-", "a+2e+2eb+2d")])
def test_skopeo_finds_a_version_of_any_name(store, network, name, called):
    for seed in range(2):
        store.keep(name, network(seed))
    store.alias(f"{name}@prod--", f"{name}:1")
    for reference, wanted in ((called, 2), (f"{called}:1", 1), (f"{called}@prod+2d+2d", 1)):
        asked = ["skopeo", "inspect", "--raw", f"oci:{store.folder}:{reference}"]
        raw = subprocess.run(asked, check=True, capture_output=True).stdout
        assert f"sha256:{hashlib.sha256(raw).hexdigest()}" == store.version(f"{name}:{wanted}").digest


def filled(store, count):
    """A store in which so many versions were kept, as far as its catalog and its index are concerned."""
    said = {"name": "many", "kept": store._now(), "holds": [], "metrics": {}, "data": "", "parents": [], "facts": {}}
    rows = [{**said, "number": n, "digest": f"sha256:{n:064x}", "size": 1, "manifest": 1} for n in range(1, count + 1)]
    store._catalog.write(lambda connection: connection.execute(insert(tables.versions), rows))


def numbers(store):
    names = [entry["annotations"]["org.opencontainers.image.ref.name"] for entry in index(store)["manifests"]]
    return [name for name in names if name.startswith("income:")]


def test_a_large_store_lists_what_is_kept_for_a_fiftieth_of_the_time(store, network):
    store.keep("income", network(1))
    filled(store, 300)
    now = [1_000.0]

    def clock():
        now[0] += 0.5
        return now[0]

    store._index._clock = clock
    for seed in range(2, 51):  # each glance at the clock takes half a second, and so does writing the list
        store.keep("income", network(seed % 3))
    assert numbers(store) == ["income:2", "income:1"]
    for seed in range(3):
        store.keep("income", network(seed))
    assert len(numbers(store)) > 45
    store.alias("income@prod", "income:52")
    assert len(numbers(store)) == 53
    store.keep("income", network(0))
    assert len(numbers(store)) == 53
    store.close()
    assert len(numbers(store)) == 54


def test_a_small_store_lists_every_version_at_once(store, network):
    now = iter(range(0, 10**6, 100))
    store._index._clock = now.__next__
    for seed in range(3):
        store.keep("income", network(seed))
        assert len(numbers(store)) == seed + 1


def test_what_a_program_kept_is_listed_when_it_ends(store, network):
    store.keep("income", network(1))
    filled(store, 300)
    program = f"""
import sys
import numpy as np
from engram.records import Model, Signature
from engram.store.store import open
store = open({str(store.folder)!r}, who="ada")
for number in range(3):
    store.keep("income", Model(b"graph", {{"w": np.full(3, number, np.float32)}}, Signature((), ())))
    store._index._rests = float("inf")
"""
    subprocess.run([sys.executable, "-c", program], check=True)
    assert len(numbers(store)) == 4


def test_verify_brings_the_list_up_to_date(store, network):
    store.keep("income", network(1))
    (store.folder / "index.json").write_text("[]")
    assert store.verify() == []
    assert numbers(store) == ["income:1"]
    (store.folder / "index.json").unlink()
    assert store.verify("income:1") == []
    assert not (store.folder / "index.json").exists()


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda m: m.update(artifactType="application/vnd.other"), "is not the manifest of a model"),
        (lambda m: m["layers"].append(m["layers"][0]), "is there twice or leads outside"),
        (lambda m: m["layers"][0]["annotations"].update({"org.cncf.model.filepath": "../x"}), "leads outside"),
        (lambda m: m["layers"][0]["annotations"].update({"org.cncf.model.filepath": "/x"}), "leads outside"),
        (lambda m: m["layers"][0]["annotations"].update({"org.cncf.model.filepath": "a/./x"}), "leads outside"),
        (lambda m: m["layers"][0]["annotations"].update({"org.cncf.model.filepath": 3}), "leads outside"),
        (lambda m: m["layers"][0].update(size="3"), "of another type"),
        (lambda m: m.pop("layers"), "'layers'"),
    ],
)
def test_a_manifest_that_is_not_ours_is_refused(kept, change, why):
    manifest = json.loads(blob(kept, index(kept)["manifests"][0]))
    change(manifest)
    with pytest.raises(Exception, match=re.escape(why)) as refused:
        manifests.parse(json.dumps(manifest).encode(), "the manifest")
    assert type(refused.value).__name__ == "StoreError"
