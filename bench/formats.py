"""What reading and writing a file of 100 MB costs beside the format's own library, and which operators torch has.

Name formats to measure only these. Both sides are processes that have imported everything and read the file once;
they take turns. What is read was written by the own library, as most files are. Workers that are asked for a file
(OpenVINO, torch's programs) count with their time and their memory; what they are forked from is started once, and how
long that takes beyond importing the framework itself is a figure of its own. Beside both, the own library goes the way
of somebody who has a network in memory and wants a file: from ONNX to IR, from a module by ``torch.export`` to a
program. TensorFlow.js answers where node and its packages are (``ENGRAM_NODE``), else it is left out.
``backend_tests_passed`` is the share of onnx's own cases that onnxruntime passes and Engram's torch runtime does too,
counted by the test that asks them all (some minutes; left out where formats are named).
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median

import numpy as np
import onnx

from engram.errors import MissingLibrary
from engram.formats import SHELF
from engram.formats._recognition import usual_suffix
from engram.formats._tfjs import running
from engram.graphs.build import Builder
from engram.graphs.weights import detach
from engram.records import Model, Signature, TensorSpec

ROOT = Path(__file__).resolve().parents[1]
ROUNDS = 5
WIDTH, LAYERS = 1_024, 24
MEMORY = 16 * 2**20  # less is noise of the allocator
FORMATS = (
    "onnx", "safetensors", "pytorch", "pt2", "npz", "pickle", "joblib", "keras", "hdf5", "savedmodel", "tflite", "tfjs",
    "openvino",
)  # fmt: skip
ONLY_READ = {"tflite": "LiteRT does not write"}
ONLY_WRITTEN = {"openvino": "an IR is not read"}
WORKERS = {
    "engram.formats._pt2.job:export": ("torch.export._trace",),
    "engram.formats._openvino.job:convert": ("openvino",),
    "engram.formats._onnxruntime:answer": ("onnxruntime",),
}
"""Jobs of workers, and what is imported before each."""


def network() -> Model:
    """Dense layers of 101 MB."""
    draw, name = np.random.default_rng(0), "x"
    builder = Builder([TensorSpec("x", "float32", ("batch", WIDTH))], name="network")
    for number in range(LAYERS):
        weight = builder.constant(draw.normal(size=(WIDTH, WIDTH)).astype("f4") / 32, f"dense_{number}.weight")
        bias = builder.constant(np.zeros(WIDTH, "f4"), f"dense_{number}.bias")
        name = builder.node("Relu", builder.node("Gemm", name, weight, bias, transB=1))
    builder.node("Identity", name, name="y")
    output = TensorSpec("y", "float32", ("batch", WIDTH))
    graph, weights = detach(onnx.ModelProto.FromString(builder.finish([output])))
    return Model(graph, weights, Signature((TensorSpec("x", "float32", ("batch", WIDTH)),), (output,)))


@contextmanager
def _side(side: str, name: str, path: Path) -> Iterator[subprocess.Popen[str]]:
    program = Path(__file__).with_name("_format_side.py")
    command = [sys.executable, str(program), side, name, str(path)]
    if (side, name) == ("own", "tfjs"):
        command = ["node", "--expose-gc", str(program.with_suffix(".mjs")), str(_packages()), str(path)]
    quiet = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1", "KERAS_BACKEND": "tensorflow"}
    with subprocess.Popen(
        command, env=quiet, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        _line(process)
        yield process
        assert process.stdin
        process.stdin.close()


def _line(process: subprocess.Popen[str]) -> str:
    assert process.stdout
    while not (found := process.stdout.readline()).startswith(("ready", "[")):
        if not found:
            raise SystemExit(f"{' '.join(map(str, process.args))} ended before its answer came")
    return found


def _asked(process: subprocess.Popen[str], word: str, path: Path) -> list[float]:
    assert process.stdin
    process.stdin.write(f"{word} {path}\n")
    process.stdin.flush()
    made: list[float] = json.loads(_line(process))
    return made


def _compared(name: str, word: str, path: Path, folder: Path) -> tuple[float, float]:
    """Ours ÷ theirs in time and in memory; a table row on the way."""
    taken: dict[str, list[list[float]]] = {"engram": [], "own": []}
    with ExitStack() as stack:
        sides = {side: stack.enter_context(_side(side, name, path)) for side in taken}
        for number in range(ROUNDS + 1):
            for side, process in sides.items():
                to = path if word == "read" else folder / f"{side}-{number}{usual_suffix(name)}"
                answer = _asked(process, word, to)
                if number:
                    taken[side].append(answer)
                if to != path:
                    subprocess.run(["rm", "-rf", str(to)], check=True)
    times = [median(round_[0] for round_ in taken[side]) for side in taken]
    grown = [max(round_[2] for round_ in taken[side]) for side in taken]
    ratio = median(a[0] / b[0] for a, b in zip(taken["engram"], taken["own"], strict=True))
    memory = max(grown[0], MEMORY) / max(grown[1], MEMORY)
    print(
        f"{name:<12} {word:<6} {times[0] * 1e3:>10.0f} {times[1] * 1e3:>10.0f} {ratio:>7.2f}"
        f" {grown[0] / 1e6:>11.0f} {grown[1] / 1e6:>10.0f} {memory:>7.2f}",
        flush=True,
    )
    return ratio, memory


def _started() -> float:
    """Seconds by which a worker's first answer comes later than its framework is imported, at worst; a table."""
    print(f"\n{'first answer of a worker':<40} {'seconds':>8} {'import':>8} {'more':>6}")
    most = 0.0
    for job, words in WORKERS.items():
        ask = f"asked_pieces({job!r}, {{}}, [], framework=Framework({words!r}))"
        names = "from engram.formats._nursery import Framework\nfrom engram.formats._worker import asked_pieces\n"
        first, alone = _seconds(names + ask), _seconds(f"import {words[0]}")
        print(f"{job:<40} {first:>8.2f} {alone:>8.2f} {first - alone:>6.2f}", flush=True)
        most = max(most, first - alone)
    return most


def _seconds(program: str) -> float:
    """How long a fresh Python takes for a program, in the middle of several times."""
    taken = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        subprocess.run([sys.executable, "-c", program], check=True, stderr=subprocess.DEVNULL)
        taken.append(time.perf_counter() - began)
    return median(taken)


def _as_its_own(name: str, path: Path, folder: Path) -> Path:
    """The file once more, as the format's own library writes it."""
    made = folder / f"own{usual_suffix(name)}"
    with _side("own", name, path) as process:
        _asked(process, "write", made)
    return made


def _packages() -> Path | None:
    """Where node finds TensorFlow.js; None where it is not."""
    try:
        running.version()
    except MissingLibrary:
        return None
    return running.packages()


def _backend() -> float:
    words = [sys.executable, "-m", "pytest", "-q", "-m", "long or not long", "tests/runtime/test_backend.py"]
    subprocess.run(words, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    found = json.loads((ROOT / "docs" / "examples" / "runtime" / "torch.json").read_text("utf-8"))
    print(f"\nof {found['onnxruntime']:,} cases that onnxruntime passes, torch passes {found['torch']:,}")
    return float(found["torch"] / found["onnxruntime"])


def main() -> None:
    """Measure, print a table and one line of JSON."""
    chosen = sys.argv[1:] or FORMATS
    if unknown := [name for name in chosen if name not in FORMATS]:
        raise SystemExit(f"{unknown[0]!r} is not compared; there are {', '.join(FORMATS)}")
    figures: dict[str, float] = {}
    worst: dict[str, list[float]] = {"read": [], "write": []}
    heads = (("", 6), ("ours, ms", 10), ("own, ms", 10), ("ratio", 7), ("ours, MB", 11), ("own, MB", 10), ("ratio", 7))
    print(f"{'format':<12}", *(f"{head:>{width}}" for head, width in heads))
    with tempfile.TemporaryDirectory(dir=os.environ.get("ENGRAM_BENCH")) as place:
        model = network()
        for name in chosen:
            folder = Path(place) / name
            folder.mkdir()
            path = folder / f"model{usual_suffix(name)}"
            if name == "tfjs" and _packages() is None:
                print(f"{name:<12} left out: node or TensorFlow.js is not here")
                continue
            if name in ONLY_WRITTEN:
                path = folder / "model.onnx"
                SHELF.take("onnx").write(model, path)
            else:
                SHELF.take(name).write(model, path)
            if name not in {*ONLY_READ, *ONLY_WRITTEN}:
                path = _as_its_own(name, path, folder)
            for word in ("read",) if name in ONLY_READ else ("write",) if name in ONLY_WRITTEN else ("read", "write"):
                time_, memory = _compared(name, word, path, folder)
                figures |= {f"{word}_{name}": time_, f"{word}_{name}_memory": memory}
                worst[word].append(time_)
            subprocess.run(["rm", "-rf", str(folder)], check=True)
    figures |= {f"{word}_vs_own_library": max(found) for word, found in worst.items() if found}
    figures["worker_start_beyond_import_s"] = _started()
    if not sys.argv[1:]:
        figures["backend_tests_passed"] = _backend()
    print(json.dumps({"bench": "formats", "figures": {name: round(value, 3) for name, value in figures.items()}}))


if __name__ == "__main__":
    main()
