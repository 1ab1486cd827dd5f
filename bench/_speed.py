"""Keeping and loading 100 MB, beside everything else that keeps weights in files."""

import json
import os
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import h5py
import joblib
import numpy as np
import safetensors.numpy
import safetensors.torch
import torch
import torch.distributed.checkpoint as dcp
from _loader import touched
from _measured import Taken, ratio, show, turns
from _networks import Network, large, small

from engram.store.store import Store
from engram.store.store import open as open_store

ROUNDS = 9
FRESH = 5
Arrays = Mapping[str, Any]
Figures = dict[str, float]
warnings.filterwarnings("ignore", module="torch.distributed")  # DCP says at every call that it is alone


class Peers:
    """Files of one network, written and read by each library as its documentation says first."""

    def __init__(self, network: Network, folder: Path) -> None:
        self.network = network
        self.folder = folder
        self.tensors = {name: torch.from_numpy(array) for name, array in network.weights.items()}

    def writers(self) -> dict[str, Callable[[], None]]:
        """How each writes."""
        return {
            "safetensors": lambda: safetensors.torch.save_file(self.tensors, self.folder / "a.safetensors"),
            "torch.save": lambda: torch.save(self.tensors, self.folder / "a.pt"),
            "h5py": self._hdf5,
            "joblib": lambda: joblib.dump(dict(self.network.weights), self.folder / "a.joblib") and None,
            "torch DCP": lambda: dcp.save(self.tensors, checkpoint_id=self.folder / "dcp", no_dist=True) and None,
        }

    def readers(self) -> dict[str, Callable[[], Arrays]]:
        """How each reads."""
        return {
            "safetensors load_file": lambda: safetensors.torch.load_file(self.folder / "a.safetensors"),
            "safetensors.numpy load_file": lambda: safetensors.numpy.load_file(self.folder / "a.safetensors"),
            "torch.load": lambda: torch.load(self.folder / "a.pt"),  # noqa: TID251 - the peer
            "h5py": self._from_hdf5,
            "joblib": lambda: joblib.load(self.folder / "a.joblib"),  # noqa: TID251 - the peer
            "torch DCP": self._from_dcp,
        }

    def written(self) -> list[Path]:
        """What lies in the folder now."""
        return [path for path in self.folder.rglob("*") if path.is_file()]

    def _hdf5(self) -> None:
        with h5py.File(self.folder / "a.h5", "w") as file:
            for name, array in self.network.weights.items():
                file.create_dataset(name, data=array)

    def _from_hdf5(self) -> Arrays:
        with h5py.File(self.folder / "a.h5") as file:
            return {name: file[name][()] for name in self.network.weights}

    def _from_dcp(self) -> Arrays:
        made = {name: torch.empty_like(tensor) for name, tensor in self.tensors.items()}
        dcp.load(made, checkpoint_id=self.folder / "dcp", no_dist=True)
        return made


def load(folder: Path, *, huge: bool) -> Figures:
    """Load to arrays of which every page was touched; what both networks reach, the worse of them."""
    figures = [_load(network, folder) for network in small()]
    if huge:
        _load(large(), folder)
    return {name: max(figure[name] for figure in figures) for name in figures[0]}


def keep(folder: Path, *, huge: bool) -> Figures:
    """Keep durably what was never kept before; what both networks reach, the worse of them."""
    figures = [_keep(network, folder) for network in small()]
    if huge:
        _keep(large(), folder)
    return {name: max(figure[name] for figure in figures) for name in figures[0]}


def _load(network: Network, folder: Path) -> Figures:
    store = begun(folder)
    peers = Peers(network, emptied(folder / "peers"))
    for write in peers.writers().values():
        write()
    store.keep("network", network.model)
    sides: dict[str, Callable[[], Arrays]] = {"engram": lambda: store.load("network").weights, **peers.readers()}
    for name, read in sides.items():
        same(name, read(), network.weights)
    title = f"load {network.name} ({network.size / 1e6:.0f} MB, {len(network.weights)} tensors)"
    again = turns({name: _touching(read) for name, read in sides.items()}, ROUNDS)
    show(f"{title}, again and again in one process", again, "engram")
    first = _first(network, folder)
    show(f"{title}, the first in a process", first, "engram")
    ours = first["engram"].cpu
    return {
        "load_vs_safetensors": ratio(ours, first["safetensors load_file"].cpu),
        "load_vs_torch": ratio(ours, first["torch.load"].cpu),
    }


def _first(network: Network, folder: Path) -> dict[str, Taken]:
    """Each round of each side in a process of its own; see ``_loader``."""
    tiny = Network("tiny", {"a": np.zeros(3, np.float32)})
    for name, one in (("tiny", tiny), ("network", network)):
        tensors = {path: torch.from_numpy(array) for path, array in one.weights.items()}
        safetensors.torch.save_file(tensors, folder / f"{name}.safetensors")
        torch.save(tensors, folder / f"{name}.pt")
    taken = {side: Taken() for side in ("engram", "safetensors load_file", "torch.load")}
    for _ in range(FRESH):
        for side, one in taken.items():
            command = [sys.executable, str(Path(__file__).with_name("_loader.py")), side, str(folder)]
            wall, cpu = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
            one.wall.append(wall)
            one.cpu.append(cpu)
    return taken


def _keep(network: Network, folder: Path) -> Figures:
    """Every round writes into emptied folders, ours too, so that all get the same pages of memory back to fill."""
    peers = Peers(network, folder / "peers")
    stores: list[Store] = []
    number = iter(range(1, 10_000))

    def before() -> None:
        network.change(next(number))
        emptied(peers.folder)
        stores[:] = [begun(folder)]

    sides: dict[str, Callable[[], object]] = {"engram": lambda: stores[0].keep("network", network.model)}
    sides |= {f"{name} + fsync": _durable(write, peers) for name, write in peers.writers().items()}
    before()
    for side in sides.values():
        side()
    same("engram", stores[0].load("network", verify=True).weights, network.weights)
    same("safetensors", safetensors.numpy.load_file(peers.folder / "a.safetensors"), network.weights)
    taken = turns(sides, ROUNDS, before)
    show(f"keep {network.name} ({network.size / 1e6:.0f} MB, {len(network.weights)} tensors)", taken, "engram")
    return {"keep_vs_safetensors": ratio(taken["engram"].wall, taken["safetensors + fsync"].wall)}


def begun(folder: Path) -> Store:
    """A store that only something tiny was kept in."""
    store = fresh(folder)
    store.keep("tiny", Network("tiny", {"a": np.zeros(3, np.float32)}).model)
    return store


def fresh(folder: Path) -> Store:
    """A store that nothing was kept in yet."""
    return open_store(emptied(folder / "store"), who="bench")


def emptied(folder: Path) -> Path:
    """The folder, with nothing in it."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def same(name: str, found: Arrays, wanted: Arrays) -> None:
    """Whether two sides hold the same bits."""
    assert found.keys() == wanted.keys(), f"{name} has other names"
    for path, array in wanted.items():
        pair = (np.asarray(found[path]).reshape(-1), np.asarray(array).reshape(-1))
        assert np.array_equal(pair[0].view(np.uint8), pair[1].view(np.uint8)), f"{name}: {path} differs"


def _touching(read: Callable[[], Arrays]) -> Callable[[], object]:
    """Read, and one byte of every page."""
    return lambda: touched(read())


def _durable(write: Callable[[], None], peers: Peers) -> Callable[[], None]:
    """Write, and flush the files and the names."""

    def work() -> None:
        write()
        for path in [*peers.written(), peers.folder]:
            number = os.open(path, os.O_RDONLY)
            os.fsync(number)
            os.close(number)

    return work
