"""Files of several releases of torch are read alike; ``golden/pytorch/make.py`` made them and said what is in them.

What the tensors are follows from how they were made (numbers that count up, turned and cut); what was learned stands in
the JSON beside each file, as the release itself printed it.
"""

import json
from pathlib import Path

import numpy as np
import pytest

from engram.formats import pytorch
from engram.records import Limits

GOLDEN = Path(__file__).parent / "golden" / "pytorch"
RELEASES = sorted(path.stem.removeprefix("torch-") for path in GOLDEN.glob("torch-*.json"))
LEARNED = ["body.0.weight", "body.0.bias", "body.1.weight", "body.1.bias", "embed.weight", "head.bias"]
BUFFERS = {"body.1.running_mean", "body.1.running_var", "body.1.num_batches_tracked", "head.weight"}
COUNTED = np.arange(12.0).reshape(3, 4)
VIEWS = {"turned": COUNTED.T, "part": COUNTED[1:, ::2], "parameter": COUNTED[0], "scalar": np.float64(11)}


@pytest.fixture(params=RELEASES)
def release(request):
    return request.param


def golden(release: str, what: str) -> Path:
    return GOLDEN / f"torch-{release}-{what}.pt"


def said(release: str) -> dict:
    return json.loads((GOLDEN / f"torch-{release}.json").read_text())


def float64(array) -> np.ndarray:
    return np.asarray(array).astype(np.float64)


def test_the_oldest_and_the_newest_release_are_among_them():
    assert {"2.0.1", "2.13.0"} < set(RELEASES)


def test_numbers_of_every_type_and_views_are_read_from_every_release(release):
    found = pytorch.read(golden(release, "kinds"), Limits()).weights
    assert found.keys() == said(release)["kinds"].keys()
    for name, array in found.items():
        if name == "torch.bool":
            np.testing.assert_array_equal(array, COUNTED > 5)
        else:
            np.testing.assert_array_equal(float64(array), VIEWS.get(name, COUNTED))
        assert array.dtype.name == (name.removeprefix("torch.") if name.startswith("torch.") else "float32")


@pytest.mark.parametrize("what", ["legacy", "checkpoint"])
def test_what_was_learned_is_read_from_every_release(release, what):
    found = pytorch.read(golden(release, what), Limits()).weights
    wanted = said(release)["weights"]
    assert found.keys() == wanted.keys() == {*LEARNED, *BUFFERS}
    for name, array in found.items():
        np.testing.assert_array_equal(float64(array), np.array(wanted[name]))


def test_training_goes_on_from_a_checkpoint_of_every_release(release):
    found = pytorch.state(golden(release, "checkpoint"), Limits())
    assert (found.epoch, found.step) == (2, 2)
    assert (found.optimizer["kind"], set(found.optimizer["slots"])) == ("AdamW", set(LEARNED))
    assert found.extra["tied"] == [["embed.weight", "head.weight"]]
    wanted = said(release)["slots"]
    assert len(found.slots) == sum(len(slots) for slots in wanted.values())
    for number, name in enumerate(LEARNED):
        for slot, values in wanted[str(number)].items():
            np.testing.assert_array_equal(float64(found.slots[f"{slot}/{name}"]), np.array(values))
