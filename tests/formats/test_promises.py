"""What every format promises, those of today and those that will be added."""

import hashlib
import os
import random
from pathlib import Path

import numpy as np
import pytest

from engram.errors import EngramError, FormatError, UnknownName, UsageError
from engram.formats import SHELF, _certificate
from engram.formats._convert import probes, read, write
from engram.records import Model
from engram.runtime import onnxruntime


@pytest.fixture(params=SHELF.names())
def format_name(request: pytest.FixtureRequest) -> str:
    """Each format on the shelf in turn."""
    return request.param


@pytest.fixture
def path(format_name: str, tmp_path: Path) -> Path:
    """A path with the right suffix for the format."""
    return tmp_path / f"model{SHELF.take(format_name).SUFFIXES[0]}"


def parts(model: Model) -> tuple[object, ...]:
    return (model.signature, model.labels, model.preprocessing, dict(model.source), dict(model.statistics))


def test_a_model_comes_back_whole(model: Model, path: Path):
    write(model, path)
    again = read(path)
    assert parts(again) == parts(model)
    assert list(again.weights) == list(model.weights)
    for name, array in model.weights.items():
        assert again.weights[name].dtype == array.dtype
        assert again.weights[name].tobytes() == array.tobytes()
        assert again.weights[name].shape == array.shape


def test_a_model_that_comes_back_answers_the_same(model: Model, path: Path):
    write(model, path)
    rows = probes(model, rows=40, seed=11)
    before, after = (onnxruntime.open(one).predict(rows) for one in (model, read(path)))
    for name, array in before.outputs.items():
        np.testing.assert_array_equal(after.outputs[name], array)
    assert list(map(str, after.labels if after.labels is not None else [])) == list(
        map(str, before.labels if before.labels is not None else [])
    )


def test_the_same_model_gives_the_same_bytes(model: Model, path: Path):
    write(model, path)
    first = path.read_bytes()
    write(read(path), path)
    assert path.read_bytes() == first


def test_the_certificate_stands_beside_the_file_and_names_its_digest(model: Model, path: Path):
    certificate = write(model, path, seed=5)
    beside = Path(f"{path}.certificate.json")
    assert _certificate.from_json(beside.read_bytes()) == certificate
    assert certificate.converted == f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"
    assert certificate.holds
    assert certificate.seed == 5
    assert certificate.agreement == 1.0
    assert certificate.differences
    assert sorted(file.name for file in path.parent.iterdir()) == [path.name, beside.name]


def test_a_file_cut_off_anywhere_is_refused(models: dict[str, Model], path: Path):
    write(models["pictures"], path)
    whole = path.read_bytes()
    lengths = {*range(0, len(whole), 37), *range(16), *range(len(whole) - 16, len(whole))}
    for length in lengths:
        path.write_bytes(whole[:length])
        with pytest.raises(FormatError):
            read(path)


def test_bytes_behind_the_end_are_refused(models: dict[str, Model], path: Path):
    write(models["binary"], path)
    whole = path.read_bytes()
    for tail in (b"\0", b"\0" * 64, b"PK\x05\x06" + b"\0" * 18, b"}"):
        path.write_bytes(whole + tail)
        with pytest.raises(FormatError):
            read(path)


def test_damaged_bytes_are_refused_or_read_and_never_anything_else(model: Model, path: Path):
    write(model, path)
    whole = path.read_bytes()
    chance = random.Random(17)
    for _ in range(250):
        path.write_bytes(damaged(whole, chance))
        try:
            assert isinstance(read(path), Model)
        except EngramError as refused:
            assert str(refused)  # noqa: PT017 - either outcome is right, this is about the second


def damaged(whole: bytes, chance: random.Random) -> bytes:
    found = bytearray(whole)
    for _ in range(chance.choice([1, 1, 2, 5])):
        at = chance.randrange(len(found))
        match chance.randrange(4):
            case 0:
                found[at] ^= 1 << chance.randrange(8)
            case 1:
                found[at] = chance.randrange(256)
            case 2:
                del found[at : at + chance.randrange(1, 9)]
            case _:
                found[at:at] = chance.randbytes(3)
    return bytes(found)


def test_a_wrong_suffix_is_named(models: dict[str, Model], path: Path, format_name: str):
    write(models["binary"], path)
    wrong = path.rename(path.with_suffix(".h5"))
    with pytest.raises(FormatError, match=rf"holds {format_name}, but its suffix is \.h5"):
        read(wrong)


def test_a_file_without_a_suffix_is_known_by_its_content(models: dict[str, Model], path: Path):
    write(models["binary"], path)
    assert parts(read(path.rename(path.with_suffix("")))) == parts(models["binary"])


def test_an_empty_file_is_refused(path: Path):
    path.write_bytes(b"")
    with pytest.raises(FormatError, match="is empty"):
        read(path)


def test_bytes_of_no_format_are_refused_with_the_formats_there_are(path: Path):
    path.write_bytes(b"\x80\x05cos\nsystem\n")
    with pytest.raises(FormatError, match="json, onnx, safetensors"):
        read(path)


def test_what_is_no_file_is_refused_without_waiting(path: Path):
    with pytest.raises(UsageError, match="no such file"):
        read(path)
    path.mkdir()
    with pytest.raises(FormatError, match="a folder, not a file"):
        read(path)
    path.rmdir()
    os.mkfifo(path)
    with pytest.raises(FormatError, match="a pipe, not a file"):
        read(path)


def test_a_suffix_that_belongs_to_no_format_is_refused_on_writing(models: dict[str, Model], tmp_path: Path):
    with pytest.raises(UsageError, match=r"did you mean '\.onnx'"):
        write(models["binary"], tmp_path / "model.onx")
    with pytest.raises(UsageError, match=r"should end in \.onnx"):
        write(models["binary"], tmp_path / "model.json", to="onnx")
    with pytest.raises(UnknownName, match="did you mean 'safetensors'"):
        write(models["binary"], tmp_path / "model.safetensors", to="safetensor")
    assert list(tmp_path.iterdir()) == []


def test_a_format_says_what_it_carries(format_name: str):
    known = {"graph", "weights", "training state", "preprocessing", "names"}
    assert set(SHELF.take(format_name).CARRIES) <= known
    assert all(suffix.startswith(".") and suffix == suffix.lower() for suffix in SHELF.take(format_name).SUFFIXES)
