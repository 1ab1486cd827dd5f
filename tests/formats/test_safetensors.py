"""safetensors: the header to the letter, and files of other programs."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from engram.errors import ConversionError, FormatError
from engram.formats import safetensors
from engram.formats._convert import read, write
from engram.records import Limits, Model, Signature

Save = Callable[..., Path]
HONEST = {"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}
ENTRY = b'"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}'
PAIR = {
    "a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]},
    "b": {"dtype": "U8", "shape": [4], "data_offsets": [8, 12]},
}


@pytest.fixture
def save(tmp_path: Path) -> Save:
    """Writes a file from a header, as text or value, and a buffer of so many bytes."""

    def do(header: object, size: int, length: int | None = None) -> Path:
        text = header if isinstance(header, bytes) else json.dumps(header).encode()
        path = tmp_path / "m.safetensors"
        declared = len(text) if length is None else length
        path.write_bytes(declared.to_bytes(8, "little") + text + bytes(size))
        return path

    return do


def test_the_weights_of_torch_are_read_bit_for_bit(tmp_path: Path):
    torch = pytest.importorskip("torch")
    from safetensors.torch import save_file

    network = torch.nn.Sequential(torch.nn.Linear(3, 5), torch.nn.BatchNorm1d(5))
    state = {**network.state_dict(), "half": torch.randn(7).bfloat16(), "whole": torch.tensor(3)}
    save_file(state, tmp_path / "t.safetensors", {"format": "pt"})
    model = read(tmp_path / "t.safetensors")
    assert model.graph == b""
    assert model.weights.keys() == state.keys()
    for name, tensor in state.items():
        assert model.weights[name].shape == tuple(tensor.shape)
        assert model.weights[name].tobytes() == bytes(tensor.contiguous().flatten().view(torch.uint8).tolist())


def test_other_programs_read_what_is_written(models: dict[str, Model], tmp_path: Path):
    torch = pytest.importorskip("torch")
    from safetensors.torch import load_file

    write(models["pictures"], tmp_path / "m.safetensors")
    found = load_file(tmp_path / "m.safetensors")
    for name, array in models["pictures"].weights.items():
        assert torch.equal(found[name], torch.from_numpy(array.copy()))


def test_weights_alone_are_kept_as_weights_alone(tmp_path: Path):
    bare = Model(b"", {"w": np.arange(6.0).reshape(2, 3)[:, ::2], "s": np.array(4)}, Signature((), ()))
    certificate = write(bare, tmp_path / "m.safetensors")
    again = read(tmp_path / "m.safetensors")
    np.testing.assert_array_equal(again.weights["w"], [[0, 2], [3, 5]])
    assert again.weights["s"].shape == ()
    assert certificate.holds


@given(
    arrays.arrays(
        st.sampled_from(["float16", "float32", "float64", "int8", "int64", "uint16", "bool", ">f4", "complex64"]),
        arrays.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4),
    )
)
def test_arrays_of_any_type_and_shape_come_back(tmp_path_factory: pytest.TempPathFactory, array: np.ndarray):
    path = tmp_path_factory.mktemp("m") / "m.safetensors"
    safetensors.write(Model(b"", {"w": array, "t": array.T}, Signature((), ())), path)
    again = safetensors.read(path, Limits()).weights
    for name, wanted in (("w", array), ("t", array.T)):
        assert again[name].shape == wanted.shape
        assert again[name].tobytes() == wanted.astype(wanted.dtype.newbyteorder("<")).tobytes()


def test_an_honest_header_may_be_padded_and_in_any_order(save: Save):
    padded = json.dumps(dict(reversed(PAIR.items()))).encode() + b"  "
    assert list(read(save(padded, 12)).weights) == ["b", "a"]
    assert read(save({}, 0)).weights == {}
    assert read(save({"e": {"dtype": "F32", "shape": [0, 3], "data_offsets": [0, 0]}}, 0)).weights["e"].shape == (0, 3)


@pytest.mark.parametrize(
    ("header", "size", "reason"),
    [
        ({**PAIR, "b": {**PAIR["b"], "data_offsets": [9, 13]}}, 13, "leaves a hole"),
        ({**PAIR, "b": {**PAIR["b"], "data_offsets": [7, 11]}}, 12, "overlaps"),
        ({**PAIR, "b": PAIR["a"]}, 8, "overlaps"),
        (HONEST, 9, "has a tail"),
        (HONEST, 7, "cut off"),
        (ENTRY.join([b"{", b",", b"}"]), 8, "twice"),
        (b'{"a":{"dtype":"F32","dtype":"F32","shape":[2],"data_offsets":[0,8]}}', 8, "twice"),
        ({"a": {**HONEST["a"], "shape": [3]}}, 8, "does not take 8 bytes"),
        ({"a": {**HONEST["a"], "shape": [2**62, 4]}}, 8, "over the limits"),
        ({"a": {**HONEST["a"], "shape": [2**40, 2**40]}}, 8, "does not take"),
        ({"a": {**HONEST["a"], "shape": [-2]}}, 8, "as numbers"),
        ({"a": {**HONEST["a"], "shape": [2.0]}}, 8, "as numbers"),
        ({"a": {**HONEST["a"], "shape": [True, 2]}}, 8, "as numbers"),
        ({"a": {**HONEST["a"], "data_offsets": [8, 0]}}, 8, "does not take"),
        ({"a": {**HONEST["a"], "data_offsets": [0, 8, 8]}}, 8, "as numbers"),
        ({"a": {**HONEST["a"], "dtype": "F33"}}, 8, "'F33' is none of"),
        ({"a": {**HONEST["a"], "more": 1}}, 8, "exactly"),
        ({"a": 3}, 8, "exactly"),
        ({"__metadata__": {"n": 1}, **HONEST}, 8, "must be texts"),
        ({"__metadata__": [], **HONEST}, 8, "must be texts"),
        (b"[]" + b" " * 6, 0, "no format"),
        (b'{"a":NaN}', 0, "is not JSON"),
        (b'{"a":1e999}', 0, "too large"),
        (b"\xff{}", 0, "no format"),
        (b'{"\xff":1}', 0, "not UTF-8"),
        (b'{"a":' + b"[" * 5000 + b"]" * 5000 + b"}", 0, "nested deeper"),
        (b"{} {}", 0, "Extra data"),
    ],
)  # fmt: skip
def test_a_header_that_breaks_a_rule_is_refused(save: Save, header: object, size: int, reason: str):
    with pytest.raises(FormatError, match=reason):
        read(save(header, size))


@pytest.mark.parametrize("length", [2**63, 2**64 - 1, 100_000_001, 66])
def test_a_header_longer_than_its_file_is_refused_before_it_is_read(save: Save, length: int):
    with pytest.raises(FormatError):
        read(save(HONEST, 8, length))


def test_limits_hold_to_the_unit(save: Save):
    path = save(PAIR, 12)
    length = int.from_bytes(path.read_bytes()[:8], "little")
    honest = [Limits(header_bytes=length), Limits(header_entries=2), Limits(rank=1), Limits(dimension=4)]
    for limits in honest:
        assert read(path, limits).weights.keys() == {"a", "b"}
    too_small = [Limits(header_bytes=length - 1), Limits(header_entries=1), Limits(rank=0), Limits(dimension=3)]
    for limits in too_small:
        with pytest.raises(FormatError):
            read(path, limits)


def test_tensors_that_are_not_those_of_the_description_are_refused(models: dict[str, Model], tmp_path: Path):
    path = tmp_path / "m.safetensors"
    write(models["binary"], path)
    data = path.read_bytes()
    path.write_bytes(data.replace(b'"3.bias":{', b'"4.bias":{'))
    with pytest.raises(FormatError, match="one was added or lost"):
        read(path)


def test_a_name_that_the_format_keeps_for_itself_is_refused(models: dict[str, Model], tmp_path: Path):
    model = models["binary"]
    clash = replace(model, weights={**model.weights, "__metadata__": np.zeros(1)})
    with pytest.raises(ConversionError, match="rename it"):
        write(clash, tmp_path / "m.safetensors")
    assert list(tmp_path.iterdir()) == []
