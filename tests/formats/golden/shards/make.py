"""Makes the shards in this folder and what is written in plans.json, with Hugging Face's own library.

    python make.py OUT

The files here come from huggingface_hub 2.4.0, safetensors 0.8.0 and torch 2.13.0.
"""

import json
import sys
from pathlib import Path

import torch
from huggingface_hub import save_torch_state_dict, split_state_dict_into_shards_factory

SIZES = {
    "as told in the docs": [6, 6, 2, 6, 2, 2],
    "larger alone, in the middle": [3, 20, 4, 3],
    "larger alone, first and last": [11, 1, 1, 12],
    "to the byte": [5, 5, 5, 5],
    "empty tensors": [0, 10, 0, 10, 0],
    "one": [4],
    "all larger": [11, 12, 13],
}


def plan(sizes: list[int]) -> list[list[str]]:
    tensors = {f"t{number}": size for number, size in enumerate(sizes)}
    found = split_state_dict_into_shards_factory(
        tensors,
        get_storage_size=lambda size: size,
        filename_pattern="model{suffix}.safetensors",
        max_shard_size=10,
    )
    return list(found.filename_to_tensors.values())


if __name__ == "__main__":
    out = Path(sys.argv[1])
    plans = {name: {"sizes": sizes, "largest": 10, "plan": plan(sizes)} for name, sizes in SIZES.items()}
    (out / "plans.json").write_text(json.dumps(plans, indent=1) + "\n")
    torch.manual_seed(0)
    state = {
        "encoder.weight": torch.randn(4, 6),
        "encoder.bias": torch.randn(4).bfloat16(),
        "decoder.weight": torch.randn(6, 4).half(),
        "steps": torch.tensor(7),
        "decoder.bias": torch.randn(6, dtype=torch.float64),
    }
    (out / "model").mkdir(exist_ok=True)
    save_torch_state_dict(state, out / "model", max_shard_size=100)
    (out / "values.json").write_text(
        json.dumps({name: [str(tensor.dtype), tensor.double().tolist()] for name, tensor in state.items()}) + "\n"
    )
