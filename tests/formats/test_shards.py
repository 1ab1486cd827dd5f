"""Weights in several files with an index: as Hugging Face's own library divides, names and reads them."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import engram
from engram.errors import ConversionError, FormatError, UsageError
from engram.formats import _shards, safetensors
from engram.formats._convert import Target, read, write
from engram.records import Limits, Model, Signature

GOLDEN = Path(__file__).parent / "golden" / "shards"
INDEX = "model.safetensors.index.json"
PLANS = json.loads((GOLDEN / "plans.json").read_text())
VALUES = json.loads((GOLDEN / "values.json").read_text())
KINDS = {"torch.bfloat16": ml_dtypes.bfloat16}

Change = Callable[[Callable[[dict[str, Any]], object]], Path]


def array(name: str) -> np.ndarray:
    kind, values = VALUES[name]
    return np.array(values, KINDS.get(kind, kind.removeprefix("torch.")))


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    """The index of another program's shards."""
    return shutil.copytree(GOLDEN / "model", tmp_path / "theirs") / INDEX


@pytest.fixture
def change(theirs: Path) -> Change:
    """Changes the index."""

    def do(how: Callable[[dict[str, Any]], object]) -> Path:
        found = json.loads(theirs.read_text())
        how(found)
        theirs.write_text(json.dumps(found))
        return theirs

    return do


@pytest.mark.parametrize("name", PLANS)
def test_tensors_are_divided_as_their_library_divides_them(name: str):
    sizes = {f"t{number}": size for number, size in enumerate(PLANS[name]["sizes"])}
    assert _shards.divided(sizes, PLANS[name]["largest"]) == PLANS[name]["plan"]


def test_an_index_and_a_folder_of_another_program_are_weights_bit_for_bit(theirs: Path):
    for path in (theirs, theirs.parent):
        model = read(path)
        assert model.graph == b""
        assert list(model.weights) == list(VALUES)
        for name, found in model.weights.items():
            assert found.dtype == array(name).dtype
            assert found.tobytes() == array(name).tobytes()


def test_what_they_wrote_is_written_again_to_the_byte(theirs: Path, tmp_path: Path):
    (tmp_path / "again").mkdir()
    made = tmp_path / "again" / INDEX
    assert write(read(theirs), made, to=Target(shard_size=100)).holds
    assert made.read_bytes() == theirs.read_bytes()
    for shard in theirs.parent.glob("*.safetensors"):
        assert load_file(made.with_name(shard.name)).keys() == load_file(shard).keys()
        assert made.with_name(shard.name).read_bytes() == shard.read_bytes()


def test_a_whole_model_comes_back_from_its_shards(models: dict[str, Model], tmp_path: Path):
    model = models["table"]
    certificate = write(model, tmp_path / f"net.{INDEX.partition('.')[2]}", to=Target("safetensors", 50))
    found = sorted(path.name for path in tmp_path.glob("*.safetensors"))
    assert found[0] == "net-00001-of-00003.safetensors"
    assert sorted(certificate.beside) == found
    again = read(tmp_path / "net.safetensors.index.json")
    assert again == replace(model, weights=again.weights)
    assert list(again.weights) == list(model.weights)
    theirs = {name: held for file in found for name, held in load_file(tmp_path / file).items()}
    assert {name: held.tobytes() for name, held in theirs.items()} == {
        name: held.tobytes() for name, held in model.weights.items()
    }


def test_the_size_of_shards_is_an_argument_in_python_too(models: dict[str, Model], tmp_path: Path):
    index = tmp_path / INDEX
    engram.write(models["table"], index, to="safetensors", shard_size=50)
    assert len(list(tmp_path.glob("*.safetensors"))) == 3
    (tmp_path / "larger").mkdir()
    engram.convert(index, tmp_path / "larger" / INDEX, to="safetensors", shard_size=1000)
    assert len(list((tmp_path / "larger").glob("*.safetensors"))) == 1
    store = tmp_path / "engrams"
    reference = engram.keep(index, "net", store=store).reference
    (tmp_path / "kept").mkdir()
    engram.export(reference, path=tmp_path / "kept" / INDEX, to="safetensors", store=store, shard_size=50)
    assert len(list((tmp_path / "kept").glob("*.safetensors"))) == 3
    with pytest.raises(UsageError, match="onnx is written as one file"):
        engram.convert(index, tmp_path / "net.onnx", shard_size=50)


def test_a_folder_for_the_hub_is_divided_only_where_one_file_is_too_small(models: dict[str, Model], tmp_path: Path):
    write(models["pictures"], tmp_path / "one", to=Target("huggingface", 10_000))
    assert not (tmp_path / "one" / INDEX).exists()
    write(models["pictures"], tmp_path / "more", to=Target("huggingface", 500))
    assert not (tmp_path / "more" / "model.safetensors").exists()
    assert INDEX in (tmp_path / "more" / "README.md").read_text()
    one, more = read(tmp_path / "one"), read(tmp_path / "more")
    assert (more.graph, more.labels, more.signature) == (one.graph, one.labels, one.signature)


def test_an_index_is_asked_for_by_its_suffix_or_refused(models: dict[str, Model], tmp_path: Path):
    write(models["binary"], tmp_path / INDEX)
    assert (tmp_path / "model-00001-of-00001.safetensors").exists()
    with pytest.raises(ConversionError, match=r"name the index of the shards, as in model\.safetensors\.index\.json"):
        write(models["binary"], tmp_path / "m.safetensors", to=Target(shard_size=100))
    with pytest.raises(UsageError, match="onnx is written as one file"):
        write(models["binary"], tmp_path / "m.onnx", to=Target(shard_size=100))
    with pytest.raises(ConversionError, match="give a size from 1"):
        write(models["binary"], tmp_path / INDEX, to=Target(shard_size=-1))


def test_a_model_without_weights_has_one_empty_shard(tmp_path: Path):
    bare = Model(b"", {}, Signature((), ()))
    safetensors.write(bare, tmp_path / INDEX)
    assert (
        safetensors.read(tmp_path / INDEX, Limits()).weights
        == {}
        == load_file(tmp_path / "model-00001-of-00001.safetensors")
    )


FIRST, SECOND = "model-00001-of-00003.safetensors", "model-00002-of-00003.safetensors"


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        (lambda f: f["weight_map"].update({"steps": FIRST}), f"'steps' is in {FIRST}, but it is not there"),
        (lambda f: f["weight_map"].pop("steps"), "'steps', but model.safetensors.index.json does not name it"),
        (lambda f: f["weight_map"].update({"more": SECOND}), "'more' is in"),
        (lambda f: f["weight_map"].update({"more": "../secret.safetensors"}), "no plain name"),
        (lambda f: f["weight_map"].update({"more": "/etc/x.safetensors"}), "no plain name"),
        (lambda f: f["weight_map"].update({"more": "a\\x.safetensors"}), "no plain name"),
        (lambda f: f["weight_map"].update({"more": "evil.bin"}), "no plain name"),
        (lambda f: f["weight_map"].update({"more": f"M{FIRST[1:]}"}), "only in case"),
        (lambda f: f["weight_map"].update({"more": "gone.safetensors"}), "needs the file"),
        (lambda f: f["weight_map"].update({"more": 3}), "object of texts"),
        (lambda f: f.update({"weight_map": []}), "object of texts"),
        (lambda f: f.update({"metadata": 3}), "metadata must be an object"),
        (lambda f: f.update({"metadata": {"engram": 3}}), "must be an object"),
    ],
)  # fmt: skip
def test_an_index_that_does_not_tell_of_its_shards_is_refused(change: Change, how, reason: str):
    with pytest.raises(FormatError, match=reason.replace(".", r"\.")):
        read(change(how))


def test_a_tensor_that_two_shards_hold_is_refused(theirs: Path):
    held = load_file(theirs.with_name(FIRST))
    save_file({**held, "steps": np.array(8)}, theirs.with_name(FIRST))
    with pytest.raises(FormatError, match=f"{FIRST} holds the tensor 'steps', but {INDEX} puts it into {SECOND}"):
        read(theirs)


def test_shards_must_be_plain_files_that_are_whole(theirs: Path, tmp_path: Path):
    shard = theirs.with_name(SECOND)
    whole = shard.read_bytes()
    shard.write_bytes(whole[:-1])
    with pytest.raises(FormatError, match="cut off"):
        read(theirs)
    (tmp_path / "elsewhere").write_bytes(whole)
    shard.unlink()
    shard.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FormatError, match="symbolic link"):
        read(theirs)
    shard.unlink()
    shard.write_bytes(theirs.read_bytes())
    with pytest.raises(FormatError):
        read(theirs)


def test_limits_of_an_index_hold_to_the_unit(theirs: Path):
    size = theirs.stat().st_size
    for honest in (Limits(header_bytes=size), Limits(header_entries=5), Limits(files=3)):
        assert read(theirs, honest).weights
    for small in (Limits(header_bytes=size - 1), Limits(header_entries=4), Limits(files=2)):
        with pytest.raises(FormatError):
            safetensors.read(theirs, small)


def test_a_folder_with_weights_twice_is_refused(theirs: Path):
    save_file({}, theirs.with_name("model.safetensors"))
    (theirs.parent / "config.json").write_text("{}")
    with pytest.raises(FormatError, match="read one or the other"):
        read(theirs.parent)


def test_the_certificate_notices_a_shard_that_was_changed(models: dict[str, Model], tmp_path: Path):
    from engram.formats._verification import verify

    write(models["binary"], tmp_path / INDEX, to=Target(shard_size=100))
    assert verify(tmp_path / INDEX)
    shard = min(tmp_path.glob("*.safetensors"))
    data = bytearray(shard.read_bytes())
    data[-1] ^= 1
    shard.write_bytes(data)
    with pytest.raises(FormatError, match=shard.name):
        verify(tmp_path / INDEX)
