"""One load in a process of its own, which has loaded a tiny network before, so that all code is there and warm.

A process loads a network once: memory that an earlier load of the same has left behind would flatter whoever copies.
Prints the seconds by the clock and of the processor. Called by ``_speed.py`` as ``_loader.py SIDE FOLDER``.
"""

import json
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np


def reader(side: str, folder: Path) -> Callable[[str], Mapping[str, Any]]:
    """How a side reads a network by its name."""
    if side == "engram":
        from engram.store.store import open as open_store

        store = open_store(folder / "store", who="bench")
        return lambda name: store.load(name).weights
    import safetensors.torch
    import torch

    if side == "safetensors load_file":
        return lambda name: safetensors.torch.load_file(folder / f"{name}.safetensors")
    return lambda name: torch.load(folder / f"{name}.pt")  # noqa: TID251 - the peer


def touched(arrays: Mapping[str, Any]) -> Mapping[str, Any]:
    """The arrays, after one byte of every page of them was read."""
    for array in arrays.values():
        np.asarray(array).reshape(-1).view(np.uint8)[::4096].sum()
    return arrays


def main() -> None:
    """Load the tiny one, then the other, and say how long that took."""
    read = reader(sys.argv[1], Path(sys.argv[2]))
    touched(read("tiny"))
    cpu, wall = time.process_time(), time.perf_counter()
    found = touched(read("network"))
    taken = (time.perf_counter() - wall, time.process_time() - cpu)
    assert found
    print(json.dumps(taken))


if __name__ == "__main__":
    main()
