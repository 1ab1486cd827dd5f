"""Programs as releases of torch export them; run with the release's own interpreter: ``python make.py FOLDER NAME…``.

``python3 -m venv /tmp/old && /tmp/old/bin/pip install torch==2.5.1 "numpy<2"``, with ``src`` and ``tests`` on the path
for the networks. Where they stood in a source file is left out: it differs by machine.
"""

import sys
from pathlib import Path

import torch

from networks.torch_networks import NETWORKS


def main():
    folder, names = Path(sys.argv[1]), sys.argv[2:] or list(NETWORKS)
    release = torch.__version__.partition("+")[0]
    for name in names:
        network = NETWORKS[name]
        rows = torch.export.Dim("batch")
        module = network.made().train(name in {"cnn", "transformer"})
        program = torch.export.export(module, network.rows(3), dynamic_shapes=tuple({0: rows} for _ in network.inputs))
        for node in program.graph.nodes:
            node.meta.pop("stack_trace", None)
        torch.export.save(program, folder / f"torch-{release}-{name}.pt2")


main()
