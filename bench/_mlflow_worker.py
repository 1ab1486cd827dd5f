"""MLflow's side of the comparison, in MLflow's own environment: log a model, register it, say how long that took.

Called by ``_mlflow.py`` in the folder of its database; takes the path of a state dict, then a line a round: the number
of the round and the way, ``default`` (as its guide calls it; MLflow then starts a process to find what the network
imports), ``requirements`` (named, which is the fastest) or ``durable`` (the same, brought onto the disk).
"""

import json
import os
import shutil
import sys
import time
from pathlib import Path

import mlflow
import torch
from torch import nn


class Network(nn.Module):
    """Parameters and buffers under names without dots, which a module cannot have."""

    def __init__(self, state: dict[str, torch.Tensor]) -> None:
        super().__init__()
        for name, value in state.items():
            self.register_buffer(name.replace(".", "/"), value)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


# Traced networks, the other way to write them, take longer still.
PICKLED = {"name": "model", "registered_model_name": "network", "serialization_format": "pickle"}
CALLS = {"default": {}, "requirements": {"pip_requirements": ["torch"]}, "durable": {"pip_requirements": ["torch"]}}


def main() -> None:
    """Log and register the network as it is in each round, once for each way."""
    mlflow.set_tracking_uri("sqlite:///mlflow.db")
    mlflow.set_experiment("bench")
    network = Network(torch.load(sys.argv[1]))  # noqa: TID251 - the peer
    print("ready", flush=True)
    for asked in sys.stdin:
        number, way = asked.split()
        for value in network.buffers():
            value.reshape(-1)[:1] = int(number)
        taken = _taken(network, way)
        print(json.dumps(taken), flush=True)


def _taken(network: Network, way: str) -> tuple[float, float]:
    cpu, wall = time.process_time(), time.perf_counter()
    with mlflow.start_run():
        kept = mlflow.pytorch.log_model(network, **PICKLED, **CALLS[way])
    if way == "durable":
        for path in Path("mlruns").rglob("*"):
            _onto_disk(path)
    taken = time.perf_counter() - wall, time.process_time() - cpu
    found = mlflow.pytorch.load_model(kept.model_uri).state_dict()
    shutil.rmtree("mlruns", ignore_errors=True)  # as the other side's, so that both get the same memory to fill
    assert all(torch.equal(value, found[name]) for name, value in network.state_dict().items())
    return taken


def _onto_disk(path: Path) -> None:
    opened = os.open(path, os.O_RDONLY)
    os.fsync(opened)
    os.close(opened)


if __name__ == "__main__":
    main()
