"""A reader sees what a version has, and what it has not."""

from dataclasses import replace

import numpy as np

from engram.records import TrainingState


def test_a_version_without_training_says_so(store, network):
    kept = store.keep("income", network(1))
    items = {item.part: item for item in store.inventory("income")}
    assert items["weights"].detail == "3 tensors"
    assert (items["graph"].files, items["graph"].size) == (1, len(network(1).graph))
    assert (items["training"].files, items["training"].size, items["training"].detail) == (0, 0, "")
    assert sum(item.size for item in items.values()) < kept.size  # the manifest and its config are no files


def test_a_training_state_is_told_in_words(store, network):
    state = TrainingState(
        epoch=2,
        step=1500,
        optimizer={"kind": "AdamW"},
        slots={"exp_avg/a": np.ones(3), "step/a": np.ones(())},
        scheduler={"name": "onecycle"},
        average={"a": np.ones(3)},
        random={"torch": np.ones(3, np.uint8), "numpy.normal": np.ones(3), "numpy": np.ones(3)},
        history=({"epoch": 1}, {"epoch": 2}),
    )
    store.keep("income", replace(network(1), preprocessing=b""), state=state)
    items = {item.part: item for item in store.inventory("income")}
    assert items["preprocessing"].files == 0
    assert items["training"].detail == (
        "epoch 2, step 1,500; AdamW with 2 slots; schedule onecycle; average of 1 weights; generators of numpy, torch; "
        "history of 2 epochs"
    )
