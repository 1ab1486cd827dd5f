"""Small files as releases of torch write them; run with the release's own interpreter: ``python make.py FOLDER``.

``python3 -m venv /tmp/old && /tmp/old/bin/pip install torch==2.0.1 "numpy<2"``
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv1d(1, 2, 3), nn.BatchNorm1d(2))
        self.embed, self.head = nn.Linear(4, 3, bias=False), nn.Linear(4, 3)
        self.head.weight = self.embed.weight

    def forward(self, x):
        return self.head(self.body(x)).sum()


def plain(value):
    if isinstance(value, torch.Tensor):
        return value.detach().to(torch.float64).tolist()
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    return value


def main():
    folder, name = Path(sys.argv[1]), "torch-" + torch.__version__.partition("+")[0]
    torch.manual_seed(3)
    net = Net()
    optimizer = torch.optim.AdamW(net.parameters(), lr=0.01)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 2)
    for _ in range(2):
        optimizer.zero_grad()
        net(torch.randn(2, 1, 6)).backward()
        optimizer.step()
        scheduler.step()
    whole = torch.arange(12.0).reshape(3, 4)
    kinds = {
        str(kind): (whole > 5 if kind == torch.bool else whole.to(kind))
        for kind in (torch.float16, torch.bfloat16, torch.float64, torch.int8, torch.uint8, torch.int64, torch.bool)
    }
    kinds |= {"turned": whole.T, "part": whole[1:, ::2], "parameter": nn.Parameter(whole[0]), "scalar": whole[2, 3]}
    if hasattr(torch, "float8_e4m3fn"):
        kinds["torch.float8_e4m3fn"] = whole.to(torch.float8_e4m3fn)
    checkpoint = {
        "model": net.state_dict(), "optimizer": optimizer.state_dict(), "scheduler": scheduler.state_dict(),
        "epoch": 2, "best": np.float32(0.5), "shape": whole.shape, "device": torch.device("cpu"),
    }  # fmt: skip
    torch.save(kinds, folder / f"{name}-kinds.pt")
    torch.save(net.state_dict(), folder / f"{name}-legacy.pt", _use_new_zipfile_serialization=False)
    torch.save(checkpoint, folder / f"{name}-checkpoint.pt")
    said = {
        "kinds": plain(kinds),
        "weights": plain(dict(net.state_dict())),
        "slots": plain(optimizer.state_dict()["state"]),
    }
    (folder / f"{name}.json").write_text(json.dumps(said) + "\n")


main()
