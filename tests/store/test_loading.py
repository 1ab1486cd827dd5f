"""Weights out of a store: into arrays, into a torch module, and by byte ranges from far away."""

import ml_dtypes
import numpy as np
import pytest
import torch
from torch import nn

from engram.errors import ShapeError, StoreError, UnknownName, UsageError, VersionNotFound
from engram.records import Model, Signature, TrainingState
from engram.store import manifests, objects
from engram.store.objects import Blob
from engram.store.store import open as open_store
from engram.store.weights import ranges, tensors
from engram.store.weights.ranges import Wanted
from engram.training import optimizer_state
from engram.training.state import copies


def kept(store, module, **changed):
    weights = {name: value.detach().numpy().copy() for name, value in module.state_dict().items()}
    return store.keep("net", Model(b"", weights | changed, Signature((), ())))


def network(seed, kind=torch.float32):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(3, 64, 3), nn.BatchNorm2d(64), nn.Flatten(), nn.Linear(600, 500)).to(kind)


def same(module, other):
    pairs = zip(module.state_dict().items(), other.state_dict().items(), strict=True)
    return all(name == twin and torch.equal(value, there) for (name, value), (twin, there) in pairs)


def test_a_module_is_filled_in_place_with_its_buffers(store):
    source, module = network(0), network(1)
    source[1].running_mean.fill_(3.5)
    source[1].num_batches_tracked.fill_(7)
    kept(store, source)
    before = {name: value.data_ptr() for name, value in module.state_dict().items()}
    found = store.load_into(module, "net")
    assert same(module, source)
    assert {name: value.data_ptr() for name, value in module.state_dict().items()} == before
    assert (found.names, found.missing, found.unexpected) == (tuple(before), (), ())
    assert all(parameter.requires_grad and parameter.grad is None for parameter in module.parameters())


def test_a_filled_module_shares_nothing_with_the_store(store):
    source, module = network(0), network(1)
    kept(store, source)
    store.load_into(module, "net")
    with torch.no_grad():
        module[3].weight.zero_()
    np.testing.assert_array_equal(store.weights("net", ["3.weight"])["3.weight"], source[3].weight.detach().numpy())


@pytest.mark.parametrize("kind", ["bfloat16", "float8_e4m3fn", "float8_e5m2", "float16", "bool", "uint16", "complex64"])
def test_every_type_that_torch_has_arrives_bit_for_bit(store, kind):
    numbers = np.arange(1, 65, dtype=np.uint8)
    array = numbers.astype(bool) if kind == "bool" else numbers.view(getattr(ml_dtypes, kind, kind))
    store.keep("net", Model(b"", {"a": array, "b": array[:1].reshape(())}, Signature((), ())))
    module = nn.Module()
    module.register_buffer("a", torch.zeros(array.shape, dtype=getattr(torch, kind)))
    module.register_buffer("b", torch.zeros((), dtype=getattr(torch, kind)))
    store.load_into(module, "net")
    assert bytes(module.a.view(torch.uint8).numpy()) == array.tobytes()
    assert module.b.reshape(1).view(torch.uint8).tolist() == list(array[:1].tobytes())


def test_a_parameter_in_another_layout_is_filled_by_place_and_not_by_byte(store):
    source, module = network(0), network(1).to(memory_format=torch.channels_last)
    kept(store, source)
    store.load_into(module, "net")
    assert same(module, source)
    assert module[0].weight.is_contiguous(memory_format=torch.channels_last)


def trained(module, optimizer, steps):
    rows = torch.linspace(-1, 1, 12).reshape(3, 4)
    for _ in range(steps):
        optimizer.zero_grad()
        module(rows).square().sum().backward()
        optimizer.step()


def test_an_optimizer_goes_on_from_the_training_state_of_a_version(store):
    source, module = nn.Linear(4, 2), nn.Linear(4, 2)
    own = torch.optim.Adam(source.parameters(), lr=0.03)
    trained(source, own, 3)
    state = TrainingState(
        step=3, optimizer=optimizer_state.facts(own), slots=copies(optimizer_state.slots(own, source))
    )
    model = Model(b"", copies(source.state_dict()), Signature((), ()))
    store.keep("net", model, state=state)
    optimizer = torch.optim.Adam(module.parameters())
    assert store.load_into(module, "net", optimizer=optimizer).names == ("weight", "bias")
    trained(source, own, 4)
    trained(module, optimizer, 4)
    assert same(module, source)


def test_a_module_is_as_it_was_where_its_optimizer_cannot_go_on(store):
    source, module = nn.Linear(4, 2), nn.Linear(4, 2)
    before = copies(module.state_dict())
    model = Model(b"", copies(source.state_dict()), Signature((), ()))
    store.keep("without", model)
    state = TrainingState(step=1, optimizer={"kind": "Adam"}, slots={"exp_avg/weigth": np.zeros((2, 4), "f4")})
    store.keep("with", model, state=state)
    for name, kind, reason in (("without", VersionNotFound, "kept without"), ("with", UnknownName, "exp_avg/weigth")):
        with pytest.raises(kind, match=reason):
            store.load_into(module, name, optimizer=torch.optim.Adam(module.parameters()))
    assert all(np.array_equal(array, before[name]) for name, array in copies(module.state_dict()).items())


class Tied(nn.Module):
    """An embedding whose weight is that of the last layer, too."""

    def __init__(self, seed, *, tied=True):
        super().__init__()
        torch.manual_seed(seed)
        self.embedding = nn.Embedding(30, 8)
        self.last = nn.Linear(8, 30, bias=False)
        if tied:
            self.last.weight = self.embedding.weight


@pytest.mark.parametrize("names", [["embedding.weight"], ["last.weight"], ["embedding.weight", "last.weight"]])
def test_tied_weights_stay_tied_under_whichever_name_they_were_kept(store, names):
    source, module = Tied(0), Tied(1)
    weights = {name: source.state_dict()[name].numpy() for name in names}
    store.keep("net", Model(b"", weights, Signature((), ())))
    assert store.load_into(module, "net").missing == ()
    assert torch.equal(module.embedding.weight, source.embedding.weight)
    assert module.last.weight is module.embedding.weight


def test_two_weights_do_not_fit_into_one_tensor(store):
    kept(store, Tied(0, tied=False))
    with pytest.raises(UsageError, match=r"net: 'embedding.weight' and 'last.weight' are one tensor of the module"):
        store.load_into(Tied(1), "net")


@pytest.mark.parametrize(
    ("module", "error", "why"),
    [
        (nn.Linear(599, 500), ShapeError, r"shape \[500, 600\], and the module's is \[500, 599\]"),
        (nn.Linear(600, 500).double(), ShapeError, r"net: 'weight' was kept as float32, and the module's is float64"),
        (nn.Linear(600, 500, device="meta"), UsageError, r"'weight' has no memory in the module; call module.to_empty"),
        (nn.Linear(600, 500, bias=False), UnknownName, r"no parameter or buffer 'bias', which net holds \(1 in"),
        (nn.Bilinear(1, 1, 1), ShapeError, r"'weight' was kept in the shape"),
        (nn.BatchNorm1d(500), UnknownName, r"net has no weight 'running_mean', which the module wants \(3 in all\)"),
    ],
)  # fmt: skip
def test_a_module_that_does_not_fit_is_left_as_it_was(store, module, error, why):
    kept(store, nn.Linear(600, 500))
    before = {name: value.clone() for name, value in module.state_dict().items()}
    with pytest.raises(error, match=why):
        store.load_into(module, "net")
    if error is not UsageError:
        assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


def test_names_of_one_side_are_passed_over_on_request(store):
    kept(store, nn.Linear(600, 500))
    module = nn.BatchNorm1d(500)
    module.weight = None
    found = store.load_into(module, "net", strict=False)
    assert found.names == ("bias",)
    assert found.missing == ("running_mean", "running_var", "num_batches_tracked")
    assert found.unexpected == ("weight",)
    with pytest.raises(ShapeError, match="'weight' was kept in the shape"):
        store.load_into(nn.Linear(3, 500), "net", strict=False)


def test_a_damaged_weight_is_not_copied_when_asked_to_verify(store):
    source, module = network(0), network(1)
    kept(store, source)
    blob = max(store.folder.glob("blobs/sha256/*"), key=lambda path: path.stat().st_size)
    content = bytearray(blob.read_bytes())
    content[-1] ^= 1
    blob.write_bytes(content)
    with pytest.raises(StoreError, match="is damaged"):
        store.load_into(module, "net", verify=True)


@pytest.fixture
def far(proxy, moto, tmp_path, clock):
    """A store in a bucket, with a proxy before it that writes down what is asked."""
    return open_store(f"s3://{moto.bucket()}/networks", who="ada", clock=clock, cache=tmp_path / "cache")


WEIGHTS = {
    "large": np.arange(400_000, dtype=np.float32),
    "other": np.arange(300_000, dtype=np.float64),
    **{f"small.{n:02}": np.full(20_000, n, np.float32) for n in range(10)},
    "tiny": np.arange(3),
}


def spans_asked(proxy, digests, work):
    """What a piece of work asked of blobs: first and last byte of each request."""
    before = len(proxy.requests)
    work()
    hexadecimal = {digest.removeprefix("sha256:") for digest in digests}
    asked = [request for request in proxy.requests[before:] if request.path.rpartition("/")[2] in hexadecimal]
    spans = [next(value for name, value in one.headers.items() if name.lower() == "range") for one in asked]
    return [tuple(map(int, one.removeprefix("bytes=").split("-"))) for one in spans]


def test_only_the_bytes_of_the_tensors_asked_for_come_over_the_wire(far, proxy):
    (shard,) = tensors.plan(WEIGHTS, "weight", 10_000_000)
    blob = objects.blob(shard)
    far.keep("net", Model(b"", {}, Signature((), ())))
    far._place.put(blob.digest, shard.chunks())
    wanted, found = [Wanted(blob, "a shard", {"small.03", "small.04", "small.09"})], {}
    spans = spans_asked(proxy, [blob.digest], lambda: found.update(ranges.arrays(far._place, wanted, verify=False)))
    assert {name: array.tobytes() for name, array in found.items()} == {
        name: WEIGHTS[name].tobytes() for name in ("small.03", "small.04", "small.09")
    }
    assert len(spans) == 3  # the header, two neighbors together, and one far from them
    assert sum(stop - start + 1 for start, stop in spans) == 16_384 + 3 * 80_000


def test_blobs_of_which_nothing_is_asked_are_not_opened(far, proxy):
    far.keep("net", Model(b"", WEIGHTS, Signature((), ())))
    files = manifests.read(far._place, far.version("net").digest).files
    shards = {blob.digest: blob.size for path, blob in files.items() if path.endswith(".safetensors")}
    spans = spans_asked(proxy, shards, lambda: far.weights("net", ["large"]))
    assert len(spans) == 1  # of its own blob, whole


def test_a_version_far_away_comes_back_bit_for_bit(far):
    far.keep("net", Model(b"", WEIGHTS, Signature((), ())))
    for verify in (False, True):
        found = far.load("net", verify=verify).weights
        assert list(found) == sorted(WEIGHTS)
        assert all(found[name].tobytes() == array.tobytes() for name, array in WEIGHTS.items())
        assert not any(array.flags.writeable for array in found.values())


def test_a_module_is_filled_from_far_away(far):
    source, module = network(0), network(1)
    kept(far, source)
    far.load_into(module, "net")
    assert same(module, source)


def test_a_blob_that_is_cut_short_far_away_is_noticed(far, moto):
    far.keep("net", Model(b"", WEIGHTS, Signature((), ())))
    manifest = manifests.read(far._place, far.version("net").digest)
    (large,) = {blob for blob in manifest.files.values() if 2_400_000 < blob.size < 2_500_000}
    bucket = far.url.removeprefix("s3://").partition("/")[0]
    client = moto.client()
    (key,) = [name for name in moto.names(bucket) if large.digest.removeprefix("sha256:") in name]
    whole = client.get_object(Bucket=bucket, Key=key)["Body"].read()
    client.put_object(Bucket=bucket, Key=key, Body=whole[:-1])
    for names in ([], ["other"]):
        with pytest.raises(StoreError, match=r"model-.* of net .* is damaged"):
            far.weights("net", names)
    client.put_object(Bucket=bucket, Key=key, Body=whole[:-1] + bytes([whole[-1] ^ 1]))
    assert far.weights("net", ["other"])["other"].shape == (300_000,)
    with pytest.raises(StoreError, match="is damaged"):
        far.weights("net", ["other"], verify=True)


def test_a_header_longer_than_the_first_request_is_read_whole(store):
    weights = {f"{n:04}.{'x' * 100}": np.full(200, n, np.float32) for n in range(400)}
    store.keep("net", Model(b"", weights, Signature((), ())))
    files = store._files("net")
    blobs = {path: blob for path, blob in files._manifest.files.items() if path.endswith(".safetensors")}
    wanted = [Wanted(Blob(blob.digest, blob.size), path) for path, blob in blobs.items()]
    assert {name: entry.true for name, entry in ranges.headers(store._place, wanted).items()} == dict.fromkeys(
        weights, (200,)
    )
    name = f"0399.{'x' * 100}"
    some = [Wanted(one.blob, one.where, {name}) for one in wanted]
    assert ranges.arrays(store._place, some, verify=False)[name].tolist() == [399] * 200
