"""Nine networks of two frameworks, carried into every format and back: what the page of conversions shows.

``python tests/networks/matrix.py [FORMAT …]`` tries all, or these formats again, and writes down what came of it; the
page is made from that, and a test compares both with what the code does now.
"""

import json
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy import ndarray

from engram.errors import ConversionError
from engram.formats import SHELF
from engram.formats._convert import Program, probes, read, write
from engram.formats._recognition import reads, usual_suffix, writes
from engram.records import Model
from engram.runtime import onnxruntime
from networks import keras_networks, torch_networks

__all__ = ["KEPT", "SOURCES", "Cell", "carried", "models", "targets"]

KEPT = Path(__file__).resolve().parents[2] / "docs" / "examples" / "conversions.json"
SOURCES = {"PyTorch": tuple(torch_networks.NETWORKS), "Keras": tuple(keras_networks.INPUTS)}
Source = tuple[Model, Program | None]


@dataclass(frozen=True)
class Cell:
    """What came of one network in one format.

    Attributes:
        there: the largest difference of an answer between the network and the file in its format's own runtime.
        back: the same of what is read from the file; absent for formats that are not read.
        unchanged: whether every parameter came back under its name, bit for bit.
        lost: what the format cannot hold, one sentence each.
        seconds: of writing, proving and reading.
        refused: why it cannot be written; everything else is then empty.
    """

    there: float | None = None
    back: float | None = None
    unchanged: bool | None = None
    lost: tuple[str, ...] = ()
    seconds: float = 0.0
    refused: str = ""


def targets() -> list[str]:
    """The formats that are written."""
    return [name for name in SHELF.names() if writes(SHELF.take(name))]


@contextmanager
def models(source: str, names: Iterable[str]) -> Iterator[dict[str, Source]]:
    """Network → model and, where the framework is at hand, what it answers itself."""
    if source == "PyTorch":
        yield {name: (torch_networks.exported(name), partial(_answers, name)) for name in names}
        return
    with tempfile.TemporaryDirectory() as folder:
        made = keras_networks.made(Path(folder), names, (".keras",))
        yield {name: (read(made / f"{name}.keras"), None) for name in names}


def carried(source: Source, target: str, folder: Path) -> Cell:
    """One network into one format and back."""
    model, original = source
    path = folder / f"model{usual_suffix(target)}"
    began = time.perf_counter()
    try:
        certificate = write(model, path, to=target, original=original)
    except ConversionError as refused:
        return Cell(refused=" ".join(str(refused).replace(str(path), "the file").split()))
    there = max((each.absolute for each in certificate.differences), default=0.0)
    back, unchanged = None, None
    if reads(SHELF.take(target)):
        again = read(path)
        back = _apart(model, again) if again.graph else None
        unchanged = _bits(model.weights) == _bits(again.weights)
    return Cell(there, back, unchanged, certificate.lost, round(time.perf_counter() - began, 1))


def _answers(name: str, inputs: Mapping[str, ndarray]) -> dict[str, ndarray]:
    network = torch_networks.NETWORKS[name]
    with torch.no_grad():
        found = network.made().eval()(*(torch.from_numpy(np.array(inputs[spec.name])) for spec in network.inputs))
    outputs = found if isinstance(found, tuple) else (found,)
    return {spec.name: one.numpy() for spec, one in zip(network.outputs, outputs, strict=True)}


def _apart(model: Model, again: Model) -> float:
    rows = probes(model, 0)
    named = dict(zip((spec.name for spec in again.signature.inputs), rows.values(), strict=True))
    pairs = zip(_outputs(model, rows), _outputs(again, named), strict=True)
    return max(float(np.max(np.abs(one - other), initial=0.0)) for one, other in pairs)


def _outputs(model: Model, rows: Mapping[str, ndarray]) -> list[ndarray]:
    return list(onnxruntime.open(model).predict(rows).outputs.values())


def _bits(weights: Mapping[str, ndarray]) -> dict[str, tuple[object, ...]]:
    return {name: (array.dtype.str, array.shape, array.tobytes()) for name, array in weights.items()}


def main() -> None:
    """Try the formats named, or all, and keep what came of it beside what is known of the others."""
    chosen = sys.argv[1:] or targets()
    kept = json.loads(KEPT.read_text("utf-8")) if KEPT.exists() else {}
    for source, names in SOURCES.items():
        with models(source, names) as made:
            for name in names:
                row = kept.setdefault(source, {}).setdefault(name, {})
                for target in chosen:
                    with tempfile.TemporaryDirectory() as folder:
                        row[target] = asdict(carried(made[name], target, Path(folder)))
                    sys.stdout.write(f"{source} {name} {target} {row[target]}\n")
                kept[source][name] = {target: row[target] for target in sorted(row) if target in targets()}
    KEPT.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n", "utf-8")


if __name__ == "__main__":
    main()
