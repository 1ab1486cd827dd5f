"""No spoiled file crashes a reader, hangs it, eats memory, or is refused with anything but a typed error.

Every reader on the shelf is asked, with models that its own writer made, and those that lie in seeds/NAME. A reader
that starts a process for each file comes less far in the time there is, and the test warns how far.
"""

import io
import json
import pickle  # noqa: TID251 - makes what is spoiled, and opens nothing
import random
import shutil
import warnings
import zipfile
from pathlib import Path

import pytest

from engram.errors import ConversionError, MissingLibrary
from engram.formats import SHELF
from engram.formats._recognition import reads, usual_suffix, writes
from engram.records import Model
from formats.conftest import main_file
from formats.fuzzing import fuzz
from formats.mutations import mutated

SEEDS = Path(__file__).parent / "seeds"
MADE_BY_TORCH = {"pt2", "torchscript"}
"""Formats whose writer starts torch for five seconds a model; two models are seeds enough for 2,000 mutations."""
COUNT, SECONDS = 2_000, 15.0
LONG_COUNT, LONG_SECONDS = 200_000, 3_600.0


@pytest.fixture
def seeds(request: pytest.FixtureRequest, format_name: str, models: dict[str, Model], tmp_path: Path) -> Path:
    """A folder with a folder for each model, and its name beside it."""
    module = SHELF.take(format_name)
    if not reads(module):
        pytest.skip(f"{format_name} is not read")
    place = tmp_path / "fuzzed"
    quick = format_name in MADE_BY_TORCH and request.node.get_closest_marker("long") is None
    for name, model in models.items() if writes(module) else ():
        if quick and name not in {"pictures", "table"}:
            continue
        folder = place / name
        folder.mkdir(parents=True)
        path = folder / f"model{usual_suffix(format_name)}"
        try:
            module.write(model, path)
        except (ConversionError, MissingLibrary):
            shutil.rmtree(folder)
            continue
        folder.with_suffix(".name").write_text(path.name)
    for number, found in enumerate(sorted((SEEDS / format_name).glob("*"))):
        folder = place / f"seed{number}"
        folder.mkdir(parents=True)
        (shutil.copytree if found.is_dir() else shutil.copy)(found, folder / found.name)
        folder.with_suffix(".name").write_text(str(main_file(found, module).relative_to(found.parent)))
    if not place.is_dir() or not any(place.iterdir()):
        pytest.skip(f"{format_name} has no model to spoil; put small ones into {SEEDS.name}/{format_name}")
    return place


def test_no_spoiled_file_does_harm(format_name: str, seeds: Path, record_property):
    found = fuzz(format_name, seeds, COUNT, SECONDS)
    record_property("mutations", found.tried)
    assert not found.faults, "\n".join(found.faults[:20])
    assert found.tried
    if found.tried < COUNT:
        warnings.warn(f"{format_name}: {found.tried:,} of {COUNT:,} mutations in {SECONDS:.0f} s of work", stacklevel=1)


@pytest.mark.long
def test_no_spoiled_file_of_very_many_does_harm(format_name: str, seeds: Path, record_property):
    found = fuzz(format_name, seeds, LONG_COUNT, LONG_SECONDS)
    record_property("mutations", found.tried)
    assert not found.faults, "\n".join(found.faults[:20])


def archive(**members: bytes) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as found:
        for name, content in members.items():
            found.writestr(name, content)
    return made.getvalue()


DOCUMENT = {"layers": [{"units": 4, "name": "dense"}], "labels": ["a", "b"]}
WHOLE = {
    "json": json.dumps(DOCUMENT).encode(),
    "zip": archive(config=json.dumps(DOCUMENT).encode(), weights=bytes(64)),
    "pickle": pickle.dumps({"weight": [1.0, 2.0], "name": "dense"}, protocol=2),
    "protobuf": b"\x08\x0a\x12\x06engram\x3a\x08\x0a\x02ab\x12\x02cd",
    "safetensors": (28).to_bytes(8, "little") + b'{"a":{"dtype":"F32","b":[]}}' + bytes(8),
    "words": b"\x89HDF\r\n\x1a\n" + bytes(range(120)),
    "nothing": b"",
}


@pytest.mark.parametrize("kind", WHOLE)
def test_a_mutation_follows_from_its_number_and_changes_something(kind: str):
    made = [mutated(WHOLE[kind], random.Random(number)) for number in range(300)]
    assert made == [mutated(WHOLE[kind], random.Random(number)) for number in range(300)]
    assert len(set(made)) > (60 if kind != "nothing" else 1)


def parses(data: bytes) -> bool:
    try:
        json.loads(data)
    except ValueError:
        return False
    return True


def opens(data: bytes) -> bool:
    try:
        return zipfile.ZipFile(io.BytesIO(data)).testzip() is None
    except (zipfile.BadZipFile, NotImplementedError, EOFError, ValueError):
        return False


def test_most_mutations_stay_inside_the_structure():
    made = [random.Random(number) for number in range(300)]
    assert sum(parses(mutated(WHOLE["json"], chance)) for chance in made) > 150
    made = [random.Random(number) for number in range(300)]
    assert sum(opens(mutated(WHOLE["zip"], chance)) for chance in made) > 150


PLUGIN = """
import os, signal, time
from engram.errors import FormatError
from engram.formats.safetensors import write
from engram.records import Model, Signature

SUFFIXES = (".faulty",)
CARRIES = ("weights",)

def recognizes(head, path):
    return True

def read(path, limits):
    data = path.read_bytes()
    if data == b"whole":
        return Model(b"", {}, Signature((), ()))
    match sum(data) % 7:
        case 0: os.kill(os.getpid(), signal.SIGSEGV)
        case 1: raise KeyError("a key")
        case 2: held = bytearray(2 << 30)
        case 3: raise FormatError("two\\nlines")
    raise FormatError("refused as it should be")
"""


def test_the_fuzzer_finds_crashes_untyped_errors_and_growth(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    info = tmp_path / "plugin" / "faulty-1.0.dist-info"
    info.mkdir(parents=True)
    (tmp_path / "plugin" / "faulty.py").write_text(PLUGIN)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: faulty\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[engram.formats]\nfaulty = faulty\n")
    (tmp_path / "seeds" / "one").mkdir(parents=True)
    (tmp_path / "seeds" / "one" / "model.faulty").write_bytes(b"whole")
    (tmp_path / "seeds" / "one.name").write_text("model.faulty")
    monkeypatch.syspath_prepend(str(tmp_path / "plugin"))
    found = " ".join(fuzz("faulty", tmp_path / "seeds", 60, 20.0).faults)
    for wanted in ("died of SIGSEGV", "KeyError: 'a key' (faulty.py:", "MemoryError", "a refusal of several lines"):
        assert wanted in found
