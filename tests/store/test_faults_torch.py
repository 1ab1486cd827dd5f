"""A network of torch with everything that is easily lost, through a checkpoint and back."""

import numpy as np
import pytest

from engram.errors import UsageError

torch = pytest.importorskip("torch")


class Tied(torch.nn.Module):
    """Two names for one tensor, a buffer, and parameters of several types."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.embedding = torch.nn.Embedding(40, 8)
        self.head = torch.nn.Linear(8, 40, bias=False)
        self.head.weight = self.embedding.weight
        self.brief = torch.nn.Parameter(torch.randn(8).to(torch.bfloat16))
        self.scalar = torch.nn.Parameter(torch.tensor(float(seed)))
        self.nothing = torch.nn.Parameter(torch.empty(0, 3))
        self.register_buffer("mask", torch.rand(8) < 0.5)
        self.register_buffer("scaled", torch.randn(8).to(torch.float8_e4m3fn))
        self.register_buffer("strided", torch.randn(6, 8).t())


def of_torch(tensor) -> bytes:
    return tensor.detach().contiguous().flatten().view(torch.uint8).numpy().tobytes() if tensor.numel() else b""


def same(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    left, right = one.state_dict(), other.state_dict()
    assert left.keys() == right.keys()
    return all(left[n].dtype == right[n].dtype and of_torch(left[n]) == of_torch(right[n]) for n in left)


def stepped(network: torch.nn.Module, optimizer) -> None:
    for parameter in network.parameters():
        parameter.grad = torch.full_like(parameter, 0.25)
    optimizer.step()


def test_tied_weights_of_torch_come_back_bit_for_bit_and_tied(store):
    network, other = Tied(1), Tied(2)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3)
    stepped(network, optimizer)
    with torch.no_grad():
        network.embedding.weight[0, :3] = torch.tensor([-0.0, float("inf"), float("nan")])
        network.embedding.weight.view(torch.int32)[1, 0] = 0x7FC01234
    store.checkpoint(network, optimizer, step=1, wait=True)
    assert not same(network, other)
    restored = torch.optim.AdamW(other.parameters(), lr=1e-3)
    assert store.restore(other, restored).step == 1
    assert same(network, other)
    assert other.head.weight is other.embedding.weight
    for mine, theirs in zip(network.parameters(), other.parameters(), strict=True):
        for slot, value in optimizer.state[mine].items():
            assert of_torch(value) == of_torch(restored.state[theirs][slot])
    store.close()
    assert store.verify() == []


@pytest.mark.parametrize("number", [np.float32(1e-3), np.float64(1e-3)])
def test_a_learning_rate_that_is_a_numpy_scalar_is_refused_when_it_is_saved(store, number):
    network = torch.nn.Linear(2, 2)
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-3)
    optimizer.param_groups[0]["lr"] = number
    with pytest.raises(UsageError, match="lr"):
        store.checkpoint(network, optimizer, step=1, wait=True)
    optimizer.param_groups[0]["lr"] = float(number)
    store.checkpoint(network, optimizer, step=2, wait=True)
    store.close()
