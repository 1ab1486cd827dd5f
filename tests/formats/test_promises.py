"""What every format promises, those of today and those that will be added.

Which promise holds for which format follows from what its module declares: whoever carries graphs answers alike,
whoever carries names keeps every bit of every weight, and what is not named as lost comes back.
"""

import hashlib
import os
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
from numpy import ndarray

from engram.errors import ConversionError, EngramError, FormatError, MissingLibrary, UnknownName, UsageError
from engram.formats import SHELF, _certificate, _folders
from engram.formats._convert import lost, probes, read, read_state, write
from engram.formats._recognition import is_folder, reads, usual_suffix, writes
from engram.records import Limits, Model, TrainingState
from engram.runtime import onnxruntime
from formats.conftest import HEAVY, QUICK, main_file

SEEDS = Path(__file__).parent / "seeds"
SECONDS = 3.0
"""How long a promise may try more places of one file; the first ones are tried whatever they take."""


@pytest.fixture
def module(format_name: str):
    """The format itself."""
    return SHELF.take(format_name)


@pytest.fixture
def path(format_name: str, tmp_path: Path) -> Path:
    """A path with the right suffix for the format, where nothing is."""
    return tmp_path / f"model{usual_suffix(format_name)}"


@pytest.fixture
def readable(format_name: str, module) -> None:
    """Skips where the format is not read."""
    if not reads(module):
        pytest.skip(f"{format_name} is not read")


@pytest.fixture
def sample(format_name: str, module, readable, shop, tmp_path: Path) -> Path:
    """A model in this format, to be spoiled: one of ours, or of a format that is only read one that lies here."""
    if writes(module):
        kept = [name for name in ("pictures", "binary") if not skipped(shop, format_name, name)]
        return shop.make(format_name, kept[0] if kept else "table").copy(tmp_path / "sample")
    seeds = sorted((SEEDS / format_name).iterdir()) if (SEEDS / format_name).is_dir() else []
    if not seeds:
        pytest.skip(f"{format_name} is only read, and no file of it lies in {SEEDS.name}/{format_name}")
    (shutil.copytree if seeds[0].is_dir() else shutil.copy)(seeds[0], tmp_path / seeds[0].name)
    return main_file(tmp_path / seeds[0].name, module)


def skipped(shop, format_name: str, model_name: str) -> bool:
    try:
        shop.make(format_name, model_name)
    except pytest.skip.Exception:
        return True
    return False


def parts(model: Model) -> tuple[object, ...]:
    return (model.signature, model.labels, model.preprocessing, dict(model.source), dict(model.statistics))


def answers(model: Model, rows: Mapping[str, ndarray], original: Model) -> list[ndarray]:
    """What the outputs of a network are, in order; raw rows become features where preprocessing was lost."""
    if original.preprocessing and not model.preprocessing:
        rows = onnxruntime.preprocess(original.preprocessing, rows)
    if not {spec.name for spec in model.signature.inputs} <= rows.keys():  # a format without names for inputs
        rows = {spec.name: array for spec, array in zip(model.signature.inputs, rows.values(), strict=True)}
    return list(onnxruntime.open(model).predict(rows).outputs.values())


def within(seconds: float, least: int, points: Iterable[int]) -> Iterator[int]:
    """The points in an order that spreads over the whole, as many as there is time for."""
    shuffled = sorted(points, key=lambda point: hashlib.sha256(str(point).encode()).digest())
    until = time.monotonic() + seconds
    for number, point in enumerate(shuffled):
        if number >= least and time.monotonic() > until:
            return
        yield point


def contents(path: Path) -> list[Path]:
    """The files that make up a model: itself, and what lies beside or in it."""
    inside = path.rglob("*") if path.is_dir() else path.parent.iterdir()
    return sorted(file for file in inside if file.is_file())


def same(again: Model, before: Model) -> bool:
    return (
        again.graph == before.graph
        and parts(again) == parts(before)
        and {name: array.tobytes() for name, array in again.weights.items()}
        == {name: array.tobytes() for name, array in before.weights.items()}
    )


def digest(path: Path) -> str:
    if path.is_dir():
        return _folders.digest(path, Limits())
    return f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"


def test_a_format_says_what_it_is(format_name: str, module):
    known = {"graph", "weights", "training state", "preprocessing", "names"}
    assert set(module.CARRIES) <= known
    assert "weights" in module.CARRIES
    assert module.SUFFIXES
    for suffix in module.SUFFIXES:
        assert suffix == suffix.lower()
        assert suffix[:1] in {".", "-"} or (suffix == "" and is_folder(module))
    assert reads(module) or writes(module)
    assert reads(module) or hasattr(module, "run"), "what is only written can be proven in its own runtime alone"
    assert hasattr(module, "runtime") == (hasattr(module, "run") or hasattr(module, "run_made"))
    training = {"state": reads(module), "write_training": writes(module)}
    for name, expected in training.items():
        assert hasattr(module, name) == ("training state" in module.CARRIES and expected)


def test_a_format_holds_one_of_the_models_at_least(format_name: str, module, shop):
    if not writes(module):
        pytest.skip(f"{format_name} is not written")
    if all(skipped(shop, format_name, name) for name in (QUICK, *shop.models)):
        reasons = {str(shop.kept[format_name, name]) for name in shop.models}
        absent = [r for r in shop.kept.values() if isinstance(r, MissingLibrary)]
        assert absent, reasons
        pytest.skip(str(absent[0]))


def test_a_model_comes_back_but_for_what_is_named_as_lost(
    format_name: str, module, readable, shop, model_name: str, model: Model
):
    again = read(shop.make(format_name, model_name).path)
    gone = lost(model, format_name)
    assert all(isinstance(sentence, str) and sentence and "\n" not in sentence for sentence in gone)
    if "graph" not in module.CARRIES:
        assert not again.graph
    if "preprocessing" in module.CARRIES and again.preprocessing:
        assert again.preprocessing == model.preprocessing
    if not gone:
        assert parts(again) == parts(model)
        assert list(again.weights) == list(model.weights)


def test_a_format_with_names_keeps_every_bit_of_every_weight(
    format_name: str, module, readable, shop, model_name: str, model: Model
):
    if "names" not in module.CARRIES:
        pytest.skip(f"{format_name} has no names")
    again = read(shop.make(format_name, model_name).path)
    assert again.weights.keys() >= model.weights.keys()
    for name, array in model.weights.items():
        assert again.weights[name].dtype == array.dtype
        assert again.weights[name].shape == array.shape
        assert again.weights[name].tobytes() == array.tobytes()


def test_a_model_that_comes_back_answers_the_same(
    format_name: str, module, readable, shop, model_name: str, model: Model
):
    if "graph" not in module.CARRIES:
        pytest.skip(f"{format_name} has no graph to answer with")
    again = read(shop.make(format_name, model_name).path)
    rows = probes(model, rows=40, seed=11)
    for before, after in zip(answers(model, rows, model), answers(again, rows, model), strict=True):
        np.testing.assert_allclose(after, before, rtol=1e-5, atol=1e-5)
    if not lost(model, format_name):
        one, other = (onnxruntime.open(each).predict(rows) for each in (model, again))
        assert list(map(str, [] if other.labels is None else other.labels)) == list(
            map(str, [] if one.labels is None else one.labels)
        )


def test_the_same_model_gives_the_same_bytes(
    format_name: str, module, shop, model_name: str, model: Model, tmp_path: Path
):
    first = shop.make(format_name, model_name).path
    again = tmp_path / first.name
    module.write(model, again)
    assert digest(again) == digest(first)
    if reads(module) and not lost(model, format_name):
        (tmp_path / "third").mkdir()
        third = tmp_path / "third" / first.name
        module.write(read(first), third)
        assert digest(third) == digest(first)


def test_the_certificate_stands_beside_the_file_and_names_its_digest(format_name: str, shop, model_name: str):
    found = shop.make(format_name, model_name)
    beside = Path(f"{found.path}.certificate.json")
    assert _certificate.from_json(beside.read_bytes()) == found.certificate
    assert found.certificate.converted == digest(found.path)
    assert found.certificate.target == format_name
    assert found.certificate.holds
    assert found.certificate.seed == 5
    assert found.certificate.agreement == 1.0
    assert found.certificate.differences
    assert not [file for file in found.path.parent.iterdir() if file.name.startswith(".")]


def test_a_training_state_comes_back(format_name: str, module, shop, models: dict[str, Model], path: Path):
    if "training state" not in module.CARRIES:
        pytest.skip(f"{format_name} has no place for a training state")
    model, made = models["binary"], path.with_stem("plain")
    if format_name in HEAVY:
        module.write(model, made)
    else:
        made = shop.make(format_name, "binary").path
    assert read_state(made) is None
    slots = {
        f"{slot}/{name}": np.full_like(array, number + 0.25)
        for number, slot in enumerate(("exp_avg", "exp_avg_sq"))
        for name, array in model.weights.items()
    }
    steps = dict.fromkeys(model.weights, 400.0)
    optimizer = {"kind": "Adam", "lr": 0.001, "betas": [0.9, 0.999], "eps": 1e-8, "weight_decay": 0.0, "step": steps}
    state = TrainingState(epoch=3, step=400, optimizer=optimizer, slots=slots)
    if format_name in HEAVY:
        module.write_training(model, state, path)  # the proof is that of the model without its state
    else:
        write(model, path, to=format_name, state=state)
    again = read_state(path)
    assert again is not None
    assert again.step == 400
    assert again.slots.keys() == slots.keys()
    for name, array in slots.items():
        assert again.slots[name].tobytes() == array.tobytes()
    assert read(path).weights.keys() == read(made).weights.keys()


def test_a_file_cut_off_anywhere_is_refused(sample: Path):
    before = read(sample)
    for file in contents(sample):
        whole = file.read_bytes()
        edges = {*range(min(16, len(whole))), *range(max(len(whole) - 16, 0), len(whole))}
        for length in within(SECONDS, 12, {*range(0, len(whole), 37), *edges}):
            file.write_bytes(whole[:length])
            refused_or_same(sample, file, before)
        file.write_bytes(whole)
    assert same(read(sample), before)


def test_bytes_behind_the_end_are_refused(sample: Path):
    before = read(sample)
    for file in contents(sample):
        whole = file.read_bytes()
        for tail in (b"\0", b"\0" * 64, b"PK\x05\x06" + b"\0" * 18, b"}"):
            file.write_bytes(whole + tail)
            refused_or_same(sample, file, before)
        file.write_bytes(whole)


def refused_or_same(path: Path, file: Path, before: Model) -> None:
    """The file itself is refused; one beside or in it, which may be a note that nobody needs, changes nothing else."""
    if file == path:
        with pytest.raises(FormatError):
            read(path)
        return
    try:
        assert same(read(path), before), f"{file.name} is spoiled, and the model is another one"
    except FormatError as refused:
        assert str(refused)  # noqa: PT017 - either outcome is right, this is about the second


def test_a_file_that_is_missing_is_noticed(sample: Path):
    before = read(sample)
    for file in contents(sample):
        if file != sample:
            kept = file.read_bytes()
            file.unlink()
            refused_or_same(sample, file, before)
            file.write_bytes(kept)


def test_a_refusal_is_one_line_that_names_a_reason(sample: Path):
    file = max(contents(sample), key=lambda found: found.stat().st_size)
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(EngramError) as refused:
        read(sample)
    assert len(str(refused.value).splitlines()) == 1
    assert len(str(refused.value)) < 1000


def test_a_wrong_suffix_is_named(format_name: str, module, sample: Path):
    wrong = ".zzz" if "" not in module.SUFFIXES else usual_suffix("onnx")
    renamed = sample.rename(sample.with_name(f"model{wrong}"))
    with pytest.raises(FormatError, match=rf"holds {format_name}, but its suffix is \{wrong}"):
        read(renamed)


def test_a_file_without_a_suffix_is_known_by_its_content(format_name: str, sample: Path):
    before = read(sample)
    if len(contents(sample)) > 1 and not sample.is_dir():
        pytest.skip(f"{format_name} finds its other files by the name of the first")
    assert same(read(sample.rename(sample.with_name("model"))), before)


def test_a_link_to_a_model_is_the_model(sample: Path):
    before = read(sample)
    link = sample.parent.parent / sample.name
    if not link.exists() and len(contents(sample)) == 1:
        link.symlink_to(sample)
        assert same(read(link), before)


def test_an_empty_file_is_refused(format_name: str, module, readable, path: Path):
    if is_folder(module):
        path.mkdir()
        with pytest.raises(FormatError, match="is no model"):
            read(path)
        return
    path.write_bytes(b"")
    with pytest.raises(FormatError, match="is empty"):
        read(path)


def test_bytes_of_no_format_are_refused_with_the_formats_there_are(tmp_path: Path):
    path = tmp_path / "model"
    path.write_bytes(b"\x03no format begins like this\xff")
    with pytest.raises((FormatError, MissingLibrary)) as refused:
        read(path)
    if isinstance(refused.value, FormatError):
        for name in SHELF.names():
            assert (name in str(refused.value)) == (reads(SHELF.take(name)) and not is_folder(SHELF.take(name)))


def test_what_is_no_file_is_refused_without_waiting(path: Path):
    with pytest.raises(UsageError, match="no such file"):
        read(path)
    path.mkdir()
    with pytest.raises((FormatError, MissingLibrary), match=r"a folder, not a file|which is not installed"):
        read(path)
    path.rmdir()
    os.mkfifo(path)
    with pytest.raises(FormatError, match="a pipe, not a file"):
        read(path)


def test_a_pipe_or_a_link_in_a_folder_is_refused_without_waiting(format_name: str, module, sample: Path):
    if not is_folder(module):
        pytest.skip(f"{format_name} is a file")
    os.mkfifo(sample / "pipe")
    with pytest.raises(FormatError, match="'pipe' in it is a pipe"):
        read(sample)
    (sample / "pipe").unlink()
    (sample / "link").symlink_to("/etc/passwd")
    with pytest.raises(FormatError, match="'link' in it is a symbolic link"):
        read(sample)


def test_a_format_that_goes_one_way_says_so(format_name: str, module, models: dict[str, Model], shop, path: Path):
    if reads(module) and writes(module):
        pytest.skip(f"{format_name} goes both ways")
    if not writes(module):
        with pytest.raises(ConversionError, match="only read"):
            write(models["binary"], path, to=format_name)
        with pytest.raises(ConversionError):
            module.write(models["binary"], path)
    else:
        with pytest.raises(FormatError):
            read(shop.make(format_name, "binary").path)


def test_a_suffix_that_belongs_to_no_format_is_refused_on_writing(models: dict[str, Model], tmp_path: Path):
    with pytest.raises(UsageError, match=r"did you mean '\.onnx'"):
        write(models["binary"], tmp_path / "model.onx")
    with pytest.raises(UsageError, match=r"should end in \.onnx"):
        write(models["binary"], tmp_path / "model.json", to="onnx")
    with pytest.raises(UnknownName, match="did you mean 'safetensors'"):
        write(models["binary"], tmp_path / "model.safetensors", to="safetensor")
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_suffix_is_refused_on_writing(format_name: str, module, models: dict[str, Model], tmp_path: Path):
    if not writes(module):
        pytest.skip(f"{format_name} is not written")
    wrong = ".zzz" if "" not in module.SUFFIXES else usual_suffix("onnx")
    with pytest.raises(UsageError, match=f"to hold {format_name}; rename it"):
        write(models["binary"], tmp_path / f"model{wrong}", to=format_name)
    assert list(tmp_path.iterdir()) == []
