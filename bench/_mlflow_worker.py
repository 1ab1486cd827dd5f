"""MLflow's side of the comparison, in MLflow's own environment: log a model, register it, say how long that took.

Called by ``_mlflow.py`` in the folder of its database; takes the path of a state dict, then a line a round.
"""

import json
import shutil
import sys
import time

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


def main() -> None:
    """Log and register the network as it is in each round."""
    mlflow.set_tracking_uri("sqlite:///mlflow.db")
    mlflow.set_experiment("bench")
    network = Network(torch.load(sys.argv[1]))  # noqa: TID251 - the peer
    print("ready", flush=True)
    for number in sys.stdin:
        for value in network.buffers():
            value.reshape(-1)[:1] = int(number)
        cpu, wall = time.process_time(), time.perf_counter()
        with mlflow.start_run():
            kept = mlflow.pytorch.log_model(
                network,
                name="model",
                registered_model_name="network",
                pip_requirements=["torch"],
                serialization_format="pickle",  # the other traces the network, which takes longer still
            )
        taken = time.perf_counter() - wall, time.process_time() - cpu
        found = mlflow.pytorch.load_model(kept.model_uri).state_dict()
        shutil.rmtree("mlruns", ignore_errors=True)  # as the other side's, so that both get the same memory to fill
        assert all(torch.equal(value, found[name]) for name, value in network.state_dict().items())
        print(json.dumps(taken), flush=True)


if __name__ == "__main__":
    main()
