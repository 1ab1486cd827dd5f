"""What is in a version, part by part, for a reader who wants to know whether anything is missing.

A version may hold less than everything: an imported file has no optimizer, a network of one's own has no pipeline.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from engram.store.files import Files

__all__ = ["Item", "inventory"]

_STEMS = {
    "graph.onnx": "graph",
    "model": "weights",
    "preprocessing.onnx": "preprocessing",
    "training": "training",
    "report": "report",
    "pipeline.toml": "pipeline",
    "lock.toml": "lock",
    "certificate.json": "certificate",
}
_PARTS = (*_STEMS.values(), "description")


@dataclass(frozen=True, slots=True)
class Item:
    """A part of a version.

    Attributes:
        part: ``graph weights preprocessing training report pipeline lock certificate``, or ``description`` for what is
            said of the whole.
        files: how many it consists of; 0 where the version does not have it.
        size: bytes of those.
        detail: what is in it, in a few words.
    """

    part: str
    files: int
    size: int
    detail: str = ""


def inventory(files: Files) -> tuple[Item, ...]:
    """Every part that a version can have, also those that this one has not.

    Raises:
        StoreError: a document that tells of a part is damaged.
    """
    sizes: dict[str, list[int]] = {part: [] for part in _PARTS}
    for path, size in files.sizes().items():
        sizes[_part(path)].append(size)
    details = {
        "weights": lambda: _weights(files),
        "training": lambda: _training(files),
        "certificate": lambda: _certificate(files.document("certificate.json")),
    }
    return tuple(
        Item(part, len(found), sum(found), details[part]() if found and part in details else "")
        for part, found in sizes.items()
    )


def _part(path: str) -> str:
    beginnings = (path, path.partition("/")[0], path.partition(".")[0], path.partition("-")[0])
    if path.startswith("model") and ".safetensors" not in path:
        return "description"
    return next((_STEMS[word] for word in beginnings if word in _STEMS), "description")


def _weights(files: Files) -> str:
    where = files.document("model.safetensors.index.json")["weight_map"]
    return f"{len(where):,} tensors"


def _training(files: Files) -> str:
    plain: Mapping[str, Any] = files.document("training/state.json")
    slots, average, random, best = (
        sorted(files.group(f"training/{group}-")) for group in ("slots", "average", "random", "best")
    )
    words = [f"epoch {plain['epoch']:,}, step {plain['step']:,}"]
    words += [f"{plain['optimizer']['kind']} with {len(slots):,} slots"] if plain["optimizer"].get("kind") else []
    words += [f"schedule {plain['scheduler']['name']}"] if plain["scheduler"].get("name") else []
    words += [f"average of {len(average):,} weights"] if average else []
    words += [f"generators of {', '.join(sorted({name.partition('.')[0] for name in random}))}"] if random else []
    words += [f"history of {len(plain['history']):,} epochs"] if plain["history"] else []
    return "; ".join([*words, *(["weights of the best epoch"] if best else [])])


def _certificate(found: Mapping[str, Any]) -> str:
    worst = max((float(one["absolute"]) for one in found["differences"]), default=0.0)
    return f"{' against '.join(found['runtimes'])}: largest difference {worst:.1e} on {found['rows']:,} rows"
