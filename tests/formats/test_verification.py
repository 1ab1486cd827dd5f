"""A certificate is made again: the same file, the same rows, and answers that were written down."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from engram.errors import ConversionError, FormatError, UsageError
from engram.formats import _certificate
from engram.formats._convert import convert, write
from engram.formats._verification import verify
from engram.records import Model


@pytest.fixture
def made(models: dict[str, Model], tmp_path: Path) -> Path:
    """A file with its certificate."""
    path = tmp_path / "model.onnx"
    write(models["table"], path, seed=3)
    return path


def rewritten(path: Path, **changes: object) -> None:
    beside = _certificate.beside(path)
    beside.write_text(json.dumps({**json.loads(beside.read_bytes()), **changes}))


@pytest.mark.parametrize("suffix", [".onnx", ".json", ".safetensors"])
def test_a_certificate_is_made_again_on_the_same_rows(models: dict[str, Model], tmp_path: Path, suffix: str):
    for name, model in models.items():
        path = tmp_path / f"{name}{suffix}"
        write(model, path, seed=3)
        again = verify(path)
        assert again.now.holds
        assert again.compared == "what the original answered on 64 rows"
        assert again.changed == ()
        assert {d.output for d in again.now.differences} <= {d.output for d in again.then.differences}
        assert again.now.differences


def test_a_file_that_is_another_one_is_not_asked(made: Path, models: dict[str, Model]):
    other = made.with_name("other.onnx")
    changed = replace(models["table"], weights={**models["table"].weights, "scale": np.ones(1, np.float32)})
    write(changed, other)
    made.write_bytes(other.read_bytes())
    with pytest.raises(FormatError, match="is not the file that was certified"):
        verify(made)


def test_a_file_that_answers_otherwise_is_refused_by_the_answers_that_were_written_down(
    made: Path, models: dict[str, Model]
):
    other = made.with_name("other.onnx")
    changed = replace(models["table"], weights={**models["table"].weights, "scale": np.ones(1, np.float32)})
    forged = write(changed, other)
    made.write_bytes(other.read_bytes())
    rewritten(made, converted=forged.converted, versions={"numpy": "1.0", "onnx": forged.versions["onnx"]})
    with pytest.raises(ConversionError, match=r"answers otherwise than was certified: output .* numpy 1\.0 became 2"):
        verify(made)


def test_the_tolerance_that_was_asked_for_holds_again(made: Path):
    rewritten(made, tolerance=0.0)
    assert verify(made).now.tolerance == 0.0


def test_a_certificate_without_answers_is_made_again_from_what_is_read(made: Path):
    rewritten(made, answers={}, asked={})
    assert "what is read from it, because the certificate holds no answers" in verify(made).compared


def test_rows_that_are_drawn_otherwise_are_not_compared_with_answers_to_others(made: Path):
    asked = json.loads(_certificate.beside(made).read_bytes())["asked"]
    rewritten(made, asked={**asked, "digest": "sha256:0"})
    assert "draws other rows" in verify(made).compared


def test_what_has_no_certificate_or_a_damaged_one_is_named(made: Path):
    beside = _certificate.beside(made)
    whole = beside.read_bytes()
    for spoiled in (whole[:100], b"[]", whole.replace(b'"rows": 64', b'"rows": 0.5')):
        beside.write_bytes(spoiled)
        with pytest.raises((FormatError, UsageError)):
            verify(made)
    beside.unlink()
    with pytest.raises(UsageError, match=r"has no certificate beside it \(model\.onnx\.certificate\.json\)"):
        verify(made)
    with pytest.raises(UsageError, match="no such file"):
        verify(made.with_name("nowhere.onnx"))


@pytest.mark.parametrize(
    "change",
    [
        {"rows": 2**40},
        {"seed": -1},
        {"asked": {"signature": 3}},
        {"answers": {"value": {"dtype": "object", "shape": [1], "data": ""}}},
        {"answers": {"value": {"dtype": "float32", "shape": [2**40], "data": ""}}},
        {"answers": {"value": {"dtype": "float32", "shape": [-1, -1], "data": "AAAAAA=="}}},
        {"answers": {"value": 3}},
    ],
)
def test_a_certificate_of_a_stranger_is_refused_and_not_believed(made: Path, change: dict):
    rewritten(made, **change)
    with pytest.raises(FormatError):
        verify(made)


def test_a_converted_file_is_verified_without_the_one_it_came_from(made: Path, tmp_path: Path):
    path = tmp_path / "again.json"
    certificate = convert(made, path)
    made.unlink()
    assert (certificate.source, certificate.target) == ("onnx", "json")
    assert certificate.served == ("", "json has no runtime of its own")
    assert verify(path).now.holds


def test_weights_alone_are_verified_by_their_digest(models: dict[str, Model], tmp_path: Path):
    path = tmp_path / "weights.safetensors"
    write(Model(b"", models["binary"].weights, replace(models["binary"].signature, inputs=(), outputs=())), path)
    assert "the digest alone" in verify(path).compared
