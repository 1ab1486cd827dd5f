"""Training that Keras began goes on in torch to the same weights, or says why it cannot."""

import numpy as np
import pytest

from engram.errors import UsageError
from engram.formats import hdf5, keras
from engram.records import Limits
from networks import keras_optimizers

REFUSED = {
    "adam_clipped": r"clips gradients within a step \(clipnorm = 0\.1\)",
    "lion": "torch has no Lion",
    "rmsprop": r"divides by sqrt\(v \+ epsilon\)",
    "sgd_decayed": r"apart from the gradient \(weight_decay\)",
}
FORMATS = {".keras": keras, ".h5": hdf5}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return keras_optimizers.made(tmp_path_factory.mktemp("optimizers"))


def restored(folder, name, suffix):
    """The network of a file as a module, and torch's optimizer of the same name with its state."""
    import torch

    from engram.runtime.torch import module
    from engram.training import optimizer_state

    model, state = (ask(folder / f"{name}{suffix}", Limits()) for ask in (FORMATS[suffix].read, FORMATS[suffix].state))
    network = module(model.graph, model.weights)
    kind = {"Nadam": "NAdam"}.get(state.optimizer["kind"], state.optimizer["kind"])
    optimizer = getattr(torch.optim, kind, torch.optim.SGD)(network.parameters(), lr=1.0)
    optimizer_state.restore(optimizer, network, state)
    return network.train(), optimizer


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("name", sorted(keras_optimizers.OPTIMIZERS.keys() - REFUSED.keys()))
def test_five_steps_after_reading_are_the_five_steps_of_keras(name, suffix, trained):
    import torch

    network, optimizer = restored(trained, name, suffix)
    for rows, wanted in list(keras_optimizers.batches())[keras_optimizers.BEFORE :]:
        optimizer.zero_grad()
        torch.nn.functional.mse_loss(network(torch.from_numpy(rows)), torch.from_numpy(wanted)).backward()
        optimizer.step()
    with np.load(trained / f"{name}.npz") as theirs:  # noqa: TID251 - our own file
        for place, own in zip(theirs.files, network.parameters(), strict=True):
            np.testing.assert_allclose(own.detach().numpy(), theirs[place], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("name", "reason"), REFUSED.items())
def test_another_rule_of_keras_is_refused_in_a_sentence(name, reason, trained):
    with pytest.raises(UsageError, match=reason):
        restored(trained, name, ".keras")


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("name", keras_optimizers.OPTIMIZERS)
def test_the_state_of_every_optimizer_is_written_as_keras_keeps_it(name, suffix, trained, tmp_path):
    import h5py

    form, own, ours = FORMATS[suffix], trained / f"{name}{suffix}", tmp_path / f"again{suffix}"
    form.write_training(form.read(own, Limits()), form.state(own, Limits()), ours)
    before, after = form.state(own, Limits()), form.state(ours, Limits())
    assert before.slots.keys() == after.slots.keys()
    assert before.optimizer["groups"] == after.optimizer["groups"]
    for place, array in before.slots.items():
        np.testing.assert_allclose(after.slots[place], array, rtol=1e-6, atol=1e-12, err_msg=place)
    if suffix == ".h5":
        with h5py.File(own) as one, h5py.File(ours) as other:
            listed = [file["optimizer_weights"].attrs["weight_names"] for file in (one, other)]
            for theirs, written in zip(*listed, strict=True):
                found = [file["optimizer_weights"][name][()] for file, name in ((one, theirs), (other, written))]
                np.testing.assert_allclose(found[1], found[0], rtol=1e-6, atol=1e-8, err_msg=str(theirs))
