import math
import pprint
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from engram.errors import StoreError, UnknownName, UsageError, VersionNotFound
from engram.records import (
    Certificate,
    Curve,
    Difference,
    Gap,
    Importance,
    Model,
    Prediction,
    Report,
    Score,
    Signature,
    TrainingState,
    Weak,
)
from engram.store import manifests
from engram.store.store import open as open_store

REPORT = Report(
    data="sha256:" + "d" * 64,
    rows=3_000,
    task="binary",
    scores=(Score("accuracy", 0.857, 0.851, 0.863), Score("log_loss", math.inf, 0.3, math.inf, best="min")),
    classes={"yes": {"precision": 0.75}},
    slices={"sex=Female": {"rows": 900, "accuracy": 0.92}},
    confusion=((1_900, 100), (329, 671)),
    labels=("no", "yes"),
    diagnosis=("The network fits well.",),
    findings=("Column 'fnlwgt' says nothing.",),
    history=({"epoch": 1, "train.loss": 0.41},),
    weak=(Weak("sex=Female, age=17 to 21", 60, 0.5, 0.4, 0.6, 0.2, 1e-9, 100),),
    fairness={"sex=Female": {"rows": 900, "accuracy": 0.92}},
    gaps=(Gap("sex", "accuracy", "Female", "Male", 0.1, 0.05, 0.15),),
    importance=(Importance("age", 0.1, 0.05, 0.15),),
    robustness=(Curve("noise", (0.0, 1.0), (0.1, 0.2), (0.0, 0.1), (0.2, 0.3)),),
    card={"limits": "few rows"},
    page="<html>a report</html>",
)
CERTIFICATE = Certificate(
    "sha256:" + "a" * 64,
    "sha256:" + "b" * 64,
    "onnx",
    (Difference("logit", 1.2e-7, 3e-6),),
    agreement=1.0,
    tolerance=1e-5,
    seed=7,
    rows=256,
    runtimes=("torch 2.13.0", "onnxruntime 1.31.1"),
    versions={"torch": "2.13.0"},
)
STATE = TrainingState(
    epoch=3,
    step=120,
    position=7,
    optimizer={"kind": "AdamW", "groups": [{"lr": 0.1 + 0.2, "betas": [0.9, 0.999]}]},
    slots={"exp_avg/dense.weight": np.full((3, 2), -0.0, np.float32), "step/dense.weight": np.array(120.0, np.float32)},
    scheduler={"last_epoch": 3},
    average={"dense.weight": np.ones((3, 2), np.float32)},
    random={"torch": np.arange(5_056, dtype=np.uint8), "numpy": np.arange(624, dtype=np.uint32)},
    stopping={"best": math.inf, "bad": 0},
    progress={"loss": 1e-320},
    history=({"epoch": 1, "train.loss": math.nan}, {"epoch": 2, "train.loss": 0.5}),
    best={"dense.weight": np.zeros((3, 2), np.float32)},
)


def same_arrays(found, wanted):
    assert found.keys() == wanted.keys()
    for name, array in wanted.items():
        assert (found[name].dtype, found[name].shape) == (array.dtype, array.shape)
        assert found[name].tobytes() == array.tobytes()


def test_a_model_comes_back_as_it_was(store, network):
    model = network()
    version = store.keep("income", model)
    found = store.load("income", verify=True)
    same_arrays(found.weights, model.weights)
    assert replace(found, weights={}) == replace(model, weights={})
    assert version == store.version("income")
    assert version.reference == "income:1"
    assert version.kept == datetime(2026, 5, 1, 12, tzinfo=UTC)
    assert version.holds == ("graph", "weights", "preprocessing")


def test_a_version_holds_all_that_is_known_of_it(store, network):
    parent = store.keep("income", network(1))
    facts = {"parameters": 300_501, "commit": "884a440", "environment": {"torch": "2.13.0"}}
    version = store.keep(
        "income",
        network(),
        state=STATE,
        report=REPORT,
        pipeline="[data]\n",
        lock="seed = 1\n",
        certificate=CERTIFICATE,
        data=REPORT.data,
        parents=[parent.digest],
        facts=facts,
    )
    assert version == store.version("income:2")
    assert version.holds == (
        "graph", "weights", "preprocessing", "training", "report", "pipeline", "lock", "certificate",
    )  # fmt: skip
    assert version.metrics == {"accuracy": 0.857, "log_loss": math.inf}
    assert (version.data, version.parents, version.facts) == (REPORT.data, (parent.digest,), facts)
    assert store.report("income") == REPORT
    assert store.report("income").page == REPORT.page
    assert store.certificate("income") == CERTIFICATE
    assert (store.text("income", "pipeline"), store.text("income", "lock")) == ("[data]\n", "seed = 1\n")


def test_a_training_state_comes_back_bit_for_bit(store, network):
    store.keep("income", network(), state=STATE)
    found = store.state("income", verify=True)
    for group in ("slots", "average", "random", "best"):
        same_arrays(getattr(found, group), getattr(STATE, group))
    plain = ("epoch", "step", "position", "optimizer", "scheduler", "stopping", "progress", "history")
    for name in plain:
        assert pprint.pformat(getattr(found, name)) == pprint.pformat(getattr(STATE, name))  # sorts keys, tells NaN


def test_a_model_without_weights_or_graph_can_be_kept(store):
    bare = Model(b"", {}, Signature((), ()))
    assert store.keep("nothing", bare).holds == ()
    assert store.load("nothing") == bare


def test_what_a_version_was_kept_without_is_said(store, network):
    store.keep("income", network())
    with pytest.raises(VersionNotFound, match=r"income was kept without report\.json; it has .*graph\.onnx"):
        store.report("income")
    with pytest.raises(VersionNotFound, match=r"without pipeline\.toml"):
        store.text("income", "pipeline")
    with pytest.raises(UsageError, match="no text 'graph'; there are pipeline, lock"):
        store.text("income", "graph")


def test_keeping_the_same_again_makes_a_version_that_shares_every_large_blob(store, network):
    first = store.keep("income", network())
    before = set(store.folder.glob("blobs/sha256/*"))
    second = store.keep("income", network())
    added = set(store.folder.glob("blobs/sha256/*")) - before
    assert (second.number, second.digest != first.digest) == (2, True)
    assert len(added) == 3  # version.json, config and manifest
    assert sum(path.stat().st_size for path in added) < 10_000


def test_a_changed_layer_costs_only_itself(store, network):
    store.keep("income", network())
    before = set(store.folder.glob("blobs/sha256/*"))
    store.keep("income", network(**{"dense.bias": np.zeros(500, np.float32)}))
    added = set(store.folder.glob("blobs/sha256/*")) - before
    assert sum(path.stat().st_size for path in added) < 20_000  # the large layer has 1.2 MB


def test_weights_are_views_of_the_file_and_only_those_asked_for(store, network):
    store.keep("income", network())
    (name, weight), *others = store.weights("income", ["dense.weight"]).items()
    assert (name, others) == ("dense.weight", [])
    assert not weight.flags.owndata
    assert not weight.flags.writeable
    with pytest.raises(UnknownName, match=r"no weight 'dense.wait'; did you mean 'dense.weight'\?"):
        store.weights("income", ["dense.wait"])


def test_a_loaded_model_is_handed_the_runtime(tmp_path, network):
    asked = []

    def answer(model, rows):
        asked.append((model.labels, rows))
        return Prediction()

    store = open_store(tmp_path / "engrams", who="ada", answer=answer)
    store.keep("income", network())
    store.load("income").predict([{"age": 39}])
    assert asked == [(("no", "yes"), [{"age": 39}])]


def test_looking_makes_no_store(tmp_path):
    store = open_store(tmp_path / "engrams", who="ada")
    looks = [store.names, store.versions, store.runs, lambda: store.load("a"), lambda: store.alias("a@b", "a", why="")]
    for look in looks:
        with pytest.raises(StoreError, match=r"there is no store at .*engrams; engram run makes one"):
            look()
    assert list(tmp_path.iterdir()) == []


def test_versions_are_listed_newest_first(store, network):
    for name in ("income", "digits", "income"):
        store.keep(name, network())
    assert store.names() == ["digits", "income"]
    assert [version.reference for version in store.versions()] == ["income:2", "digits:1", "income:1"]
    assert [version.number for version in store.versions("income")] == [2, 1]
    assert store.versions("nobody") == []


@pytest.mark.parametrize(
    "name",
    [
        "../outside",
        "/etc/passwd",
        "a/b",
        "a\\b",
        "",
        ".",
        "..",
        "Income",
        "a b",
        "ä",
        "a\n",
        "a" * 129,
        "a@b",
        "-x",
        "sha256",
    ],
)
def test_a_name_that_is_a_path_or_worse_is_refused(store, network, name):
    with pytest.raises(UsageError, match="cannot be used"):
        store.keep(name, network())
    assert not store.folder.exists()


def test_the_longest_name_is_accepted(store, network):
    assert store.keep("a" * 128, network()).name == "a" * 128


def test_a_learning_rate_that_is_a_numpy_scalar_is_caught_when_kept(store, network):
    state = TrainingState(optimizer={"groups": [{"lr": np.float64(0.1)}]})
    with pytest.raises(UsageError, match=r"training state\.optimizer\.groups\[0\]\.lr is a numpy\.float64"):
        store.keep("income", network(), state=state)
    with pytest.raises(UsageError, match=r"facts\.rows is a numpy\.int64"):
        store.keep("income", network(), facts={"rows": np.int64(3)})
    assert not store.folder.exists()


@pytest.mark.parametrize("damage", ["flip", "truncate", "remove"])
def test_a_damaged_blob_is_noticed(store, network, damage):
    store.keep("income", network(), state=STATE, report=REPORT)
    unread = unread_blobs(store)
    for path in sorted(store.folder.glob("blobs/sha256/*")):
        whole = path.read_bytes()
        if damage == "remove":
            path.unlink()
        else:
            changed = bytearray(whole)
            changed[len(whole) // 2] ^= 1
            path.write_bytes(changed if damage == "flip" else whole[:-1])
        if path.name not in unread:
            fresh = open_store(store.folder, who="ada")  # that remembers nothing
            with pytest.raises(StoreError, match=r"damaged|no such file"):
                fresh.load("income", verify=True), fresh.state("income", verify=True), fresh.report("income")
        path.write_bytes(whole)
    store.load("income", verify=True)


def unread_blobs(store):
    """What no reader opens: for other tools, and for making the catalog anew."""
    manifest = manifests.read(store._place, store.version("income").digest)
    return {blob.digest.removeprefix("sha256:") for blob in (manifest.config, manifest.files["version.json"])}
