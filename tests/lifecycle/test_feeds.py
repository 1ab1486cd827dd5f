"""What the loop is fed with is the same whether it was prepared before or is prepared batch by batch."""

import pytest
import torch

from engram import settings
from engram.lifecycle.feeds import feeds
from engram.lifecycle.prepare import prepare
from engram.pipelines.parse import parse
from engram.training.feed import MemoryFeed, StreamFeed


def ignore(_progress):
    """Nobody is watching."""


@pytest.mark.parametrize("source", ["sklearn:digits", "sklearn:breast_cancer"])
def test_rows_prepared_as_they_are_needed_are_those_prepared_before(source):
    text = f'[data]\nfrom = "{source}"\n\n[train]\nthreads = 1\nprecision = "float32"\n'
    prepared = prepare(parse(text), settings.read({}), ignore)
    before, as_needed = feeds(prepared, ignore), feeds(prepared, ignore, largest=0)
    assert isinstance(before["train"], MemoryFeed)
    assert isinstance(as_needed["train"], StreamFeed)
    for name in ("train", "validation"):
        rows = torch.randperm(len(before[name]))[:33]
        for one, other in zip(before[name].batch(rows), as_needed[name].batch(rows), strict=True):
            assert torch.equal(one, other)
            assert one.stride() == other.stride()
