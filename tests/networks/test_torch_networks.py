"""What makes the nine networks worth carrying: each exports whole, and answers elsewhere as it does at home."""

import numpy as np
import onnx
import pytest
import torch

from engram.formats._torch_export import export
from engram.graphs.weights import attach
from engram.runtime import onnxruntime
from networks.torch_networks import NETWORKS, exported, kept_graph

QUICK = ("mlp", "bidirectional", "two_outputs")


def answers(module, rows):
    found = module.eval()(*rows)
    return [one.detach().numpy() for one in (found if isinstance(found, tuple) else (found,))]


def kinds(graph):
    return [node.op_type for node in onnx.load_from_string(graph).graph.node]


@pytest.mark.parametrize("name", [n if n in QUICK else pytest.param(n, marks=pytest.mark.long) for n in NETWORKS])
def test_the_kept_graph_is_what_the_exporter_makes(name):
    network = NETWORKS[name]
    graph, weights = export(network.made(), network.inputs, network.outputs)
    assert graph == kept_graph(name).read_bytes(), "run PYTHONPATH=src:tests python tests/networks/torch_networks.py"
    assert list(weights) == list(network.made().state_dict())


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_exports_whole_and_answers_alike_in_onnxruntime(name):
    network = NETWORKS[name]
    module = network.made()
    model = exported(name)
    assert list(model.weights) == list(module.state_dict())
    whole = attach(model.graph, model.weights).SerializeToString()
    for count in (1, 5):
        rows = network.rows(count)
        fed = {spec.name: values.numpy() for spec, values in zip(network.inputs, rows, strict=True)}
        found = onnxruntime.run(whole, fed)
        assert list(found) == [spec.name for spec in network.outputs]
        for mine, theirs in zip(found.values(), answers(module, rows), strict=True):
            np.testing.assert_allclose(mine, theirs, atol=1e-5)
    assert kinds(model.graph).count("Dropout") >= sum(
        isinstance(m, torch.nn.Dropout) and m.p > 0 for m in module.modules()
    )


def test_the_same_seed_makes_the_same_network_and_rows_and_leaves_the_generator_alone():
    before = torch.get_rng_state()
    for network in NETWORKS.values():
        one, two = network.made(3).state_dict(), network.made(3).state_dict()
        assert all(torch.equal(value, two[name]) for name, value in one.items())
        assert all(torch.equal(a, b) for a, b in zip(network.rows(4, 1), network.rows(4, 1), strict=True))
        assert not any(torch.equal(a, b) for a, b in zip(network.rows(4, 1), network.rows(4, 2), strict=True))
    assert torch.equal(before, torch.get_rng_state())
