"""Which format a file is in, and which one a name asks for, with formats that other distributions bring."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from engram.errors import UnknownName, UsageError
from engram.formats._recognition import asked_for

PLUGINS = {
    "boxed": """
from engram.formats import safetensors as inner

FOLDER = True
SUFFIXES = ("", ".box")
CARRIES = inner.CARRIES

def recognizes(head, path):
    assert head == b""
    return (path / "inner.safetensors").is_file()

def read(path, limits):
    return inner.read(path / "inner.safetensors", limits)

def write(model, path):
    path.mkdir()
    (path / "deep").mkdir()
    (path / "deep" / "note").write_text("a note")
    inner.write(model, path / "inner.safetensors")
""",
    "marked": """
import tempfile
from pathlib import Path
from engram.formats import safetensors as inner

CARRIES = inner.CARRIES

def write(model, path):
    inner.write(model, path)
    path.write_bytes(b"MARK" + path.read_bytes())

def read(path, limits):
    with tempfile.TemporaryDirectory() as folder:
        bare = Path(folder, "inner.safetensors")
        bare.write_bytes(path.read_bytes()[4:])
        return inner.read(bare, limits)
""",
    "plain_shared": """
from marked import *

SUFFIXES = (".shared",)
YIELDS = True

def recognizes(head, path):
    return head.startswith(b"MARK") and path.suffix == ".shared"
""",
    "close_shared": """
from marked import *
from engram.records import TrainingState

SUFFIXES = (".shared", ".part.shared")
CARRIES = ("graph", "weights", "training state", "preprocessing", "names")

def recognizes(head, path):
    return head.startswith(b"MARK") and path.with_suffix(".step").exists()

def write_training(model, state, path):
    write(model, path)
    path.with_suffix(".step").write_text(str(state.step))

def state(path, limits):
    return TrainingState(step=int(path.with_suffix(".step").read_text()))
""",
    "only_read": """
from engram.formats.safetensors import *
from engram.errors import ConversionError

SUFFIXES = (".bygone",)
WRITES = False

def recognizes(head, path):
    return path.suffix == ".bygone"

def write(model, path):
    raise ConversionError("only_read is only read")
""",
    "only_written": """
from marked import read as unmarked
from marked import write
from engram.errors import FormatError
from engram.graphs.weights import attach
from engram.records import Limits
from engram.runtime import onnxruntime

SUFFIXES = (".beyond",)
CARRIES = ("graph", "weights")
READS = False

def recognizes(head, path):
    return head.startswith(b"MARK") and path.suffix == ".beyond"

def read(path, limits):
    raise FormatError(f"{path.name} holds only_written, which is only written here")

def run(path, inputs):
    model = unmarked(path, Limits())
    return onnxruntime.run(attach(model.graph, model.weights).SerializeToString(), inputs)

def runtime():
    return "a runtime of its own 1.0"
""",
}
SHELVED = [name for name in PLUGINS if name != "marked"]

WORK = """
import json, sys
from pathlib import Path
from engram.errors import EngramError
from engram.formats._convert import read, read_state, write, lost
from engram.records import TrainingState

model = read(sys.argv[1])
told = {}

def tried(name, work):
    try:
        told[name] = work()
    except EngramError as refused:
        told[name] = str(refused)

def at(name, **more):
    return lambda: bool(write(model, name, **more).holds)

tried("box", at("one.box"))
tried("box.again", at("one.box"))
tried("any name", at("two", to="boxed"))
tried("other suffix", at("two.onnx", to="boxed"))
Path("full").mkdir()
Path("full/letter.txt").write_text("dear")
tried("full", at("full", to="boxed"))
Path("empty").mkdir()
tried("empty", at("empty", to="boxed"))
Path("file.box").write_text("1")
tried("file", at("file.box"))
Path("link.box").symlink_to("one.box")
tried("link", at("link.box"))
told["parameters"] = [read("one.box").parameters, read("two").parameters, read("empty").parameters]
tried("ambiguous", at("m.shared"))
tried("longer", at("m.part.shared", state=TrainingState(step=7)))
tried("close", lambda: read_state("m.part.shared").step)
tried("plain", at("p.shared", to="plain_shared", state=TrainingState(step=7)))
tried("plain state", lambda: read_state("p.shared"))
told["lost"] = lost(model, "plain_shared", TrainingState(step=1200))
told["kept"] = lost(model, "close_shared", TrainingState(step=1200))
tried("bygone", at("m.bygone"))
tried("beyond", at("m.beyond"))
tried("beyond back", lambda: read("m.beyond"))
told["left"] = sorted(str(path) for path in Path().rglob("*"))
print(json.dumps(told))
"""


def install(folder: Path) -> None:
    """The plug-ins as a distribution that is installed there."""
    info = folder / "plugged-1.0.dist-info"
    info.mkdir(parents=True)
    for name, text in PLUGINS.items():
        (folder / f"{name}.py").write_text(text)
    entries = "".join(f"{name} = {name}\n" for name in SHELVED)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: plugged\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[engram.formats]\n{entries}")


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory, models) -> dict:
    """What was said to each attempt, in a process that has the plug-ins."""
    from engram.formats._convert import write

    place = tmp_path_factory.mktemp("recognition")
    install(place / "plugins")
    (place / "work").mkdir()
    write(models["table"], place / "table.safetensors")
    done = subprocess.run(
        [sys.executable, "-c", WORK, str(place / "table.safetensors")],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(place / "plugins"), *sys.path])},
        cwd=place / "work",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_folder_is_written_whole_read_and_written_over(told: dict, models):
    assert [told["box"], told["box.again"], told["any name"], told["empty"]] == [True] * 4
    assert told["parameters"] == [models["table"].parameters] * 3
    assert {"one.box/deep/note", "one.box.certificate.json"} <= set(told["left"])
    assert not [name for name in told["left"] if name.startswith(".")]


def test_what_stands_at_the_place_of_a_folder_is_not_lost(told: dict):
    assert "full is a folder of something else than boxed" in told["full"]
    assert "full/letter.txt" in told["left"]
    assert "file.box is there and no folder" in told["file"]
    assert "link.box is there and no folder" in told["link"]


def test_a_folder_that_is_called_like_another_formats_file_is_refused(told: dict):
    assert "two.onnx should end in .box to hold boxed" in told["other suffix"]


def test_a_suffix_that_two_formats_share_must_be_decided_by_name(told: dict):
    assert "m.shared could be close_shared or plain_shared by its suffix; say which" in told["ambiguous"]
    assert told["longer"] is True


def test_content_decides_between_formats_of_one_suffix_and_the_closer_one_has_it(told: dict):
    assert told["close"] == 7
    assert told["plain"] is True
    assert told["plain state"] is None


def test_training_that_a_format_has_no_place_for_is_named(told: dict):
    (sentence,) = told["lost"]
    assert "the training state (step 1,200) is left out" in sentence
    assert told["kept"] == []


def test_a_format_that_goes_one_way_says_so(told: dict):
    assert "only_read is only read and not written" in told["bygone"]
    assert told["beyond"] is True
    assert "only written here" in told["beyond back"]


def test_the_longest_suffix_says_the_format():
    assert asked_for(Path("a.b.onnx"))[0] == "onnx"
    assert asked_for(Path("MODEL.ONNX"))[0] == "onnx"
    with pytest.raises(UsageError, match="no suffix"):
        asked_for(Path("onnx"))
    with pytest.raises(UsageError, match=r"should end in \.onnx"):
        asked_for(Path(".onnx"), "onnx")
    with pytest.raises(UnknownName, match="did you mean 'onnx'"):
        asked_for(Path("a.onnx"), "onx")
