"""The page of conversions says of every network and format what is so, and leaves no cell without a word."""

import json
from pathlib import Path

import pytest

from engram.formats import SHELF
from engram.formats._recognition import reads
from networks.matrix import KEPT, SOURCES, carried, models, targets

AGAIN = "run PYTHONPATH=src:tests python tests/networks/matrix.py, and make docs"


@pytest.fixture(scope="module")
def kept():
    return json.loads(KEPT.read_text("utf-8"))


@pytest.mark.parametrize("source", SOURCES)
def test_no_cell_is_blank_and_none_is_further_off_than_promised(source, kept):
    assert list(kept[source]) == list(SOURCES[source]), AGAIN
    for name, row in kept[source].items():
        assert sorted(row) == sorted(targets()), AGAIN
        for target, cell in row.items():
            if cell["refused"]:
                continue
            where = f"{source} {name} in {target}"
            assert cell["there"] <= 1e-5, where
            assert cell["back"] is None or cell["back"] <= 1e-5, where
            assert (cell["unchanged"] is None) == (not reads(SHELF.take(target))), where
            if "names" in SHELF.take(target).CARRIES and cell["unchanged"] is not None:
                assert cell["unchanged"], where


@pytest.mark.long
@pytest.mark.parametrize("source", SOURCES)
def test_what_the_page_says_is_so(source, kept, tmp_path: Path):
    with models(source, SOURCES[source]) as made:
        for name in SOURCES[source]:
            for target in targets():
                folder = tmp_path / name / target
                folder.mkdir(parents=True)
                cell, known = carried(made[name], target, folder), kept[source][name][target]
                where = f"{source} {name} in {target}"
                assert (cell.refused, list(cell.lost), cell.unchanged) == (
                    known["refused"],
                    known["lost"],
                    known["unchanged"],
                ), where
                assert cell.refused or max(cell.there, cell.back or 0.0) <= 1e-5, where
