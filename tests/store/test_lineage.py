"""What a version was made from and what became of it, and the picture of that."""

import re
from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import insert

from engram.errors import VersionNotFound
from engram.records import Checkpoint, Report, Run, Score, TrainingState
from engram.store import tables
from engram.store.relations.layout import place
from engram.store.relations.lineage import Edge

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def keep(store, network):
    """Keep another version of a name; returns its digest."""
    seeds = iter(range(1000))

    def one(name="income", parents=(), **more):
        return store.keep(name, network(next(seeds)), parents=parents, **more).digest

    return one


def trained(store, identity, keep, *, origin="", **more):
    """A version that a run made."""
    begun(store, identity, origin)
    digest = keep(facts={"run": identity}, **more)
    store.finish(identity, "kept", digest)
    return digest


def begun(store, identity, origin=""):
    store.begin(Run(identity, "income", datetime(2026, 5, 1, tzinfo=UTC), "running", "", "", "/", origin=origin))


def edges(found):
    return {(edge.source, edge.target) for edge in found.edges}


def test_a_version_that_came_from_nothing_stands_alone(store, keep):
    digest = keep()
    found = store.lineage("income")
    assert (found.focus, found.edges) == (digest, ())
    assert [(node.id, node.kind, node.title, node.known) for node in found.nodes] == [
        (digest, "version", "income:1", True)
    ]


def test_parents_and_children_are_found_both_ways_and_their_other_kin_is_not(store, keep):
    first = keep()
    second, cousin = keep(parents=[first]), keep(parents=[first])
    third = keep(parents=[second])
    keep(parents=[cousin])
    keep()
    assert edges(store.lineage("income:2")) == {(first, second), (second, third)}
    assert edges(store.lineage("income:4")) == {(first, second), (second, third)}
    assert len(store.lineage("income:1").nodes) == 5


def test_what_came_from_two_is_there_once(store, keep):
    root = keep()
    left, right = keep(parents=[root]), keep("digits", parents=[root])
    merged = keep(parents=[left, right])
    found = store.lineage(merged)
    assert edges(found) == {(root, left), (root, right), (left, merged), (right, merged)}
    assert len(found.nodes) == 4


def test_runs_and_data_lead_to_their_version(store, keep):
    digest = trained(store, "r1", keep, data="sha256:abc")
    found = store.lineage(digest)
    assert edges(found) == {("data:sha256:abc", "run:r1"), ("run:r1", digest)}
    (run,) = [node for node in found.nodes if node.kind == "run"]
    assert (run.title, run.status, run.known) == ("r1", "kept", True)


def test_data_without_a_run_lead_to_the_version_itself(store, keep):
    digest = keep(data="sha256:abc")
    assert edges(store.lineage(digest)) == {("data:sha256:abc", digest)}


def test_a_run_of_another_store_is_named_and_said_to_be_unknown(store, keep):
    digest = keep(facts={"run": "elsewhere"})
    found = store.lineage(digest)
    assert edges(found) == {("run:elsewhere", digest)}
    assert [node.known for node in found.nodes if node.kind == "run"] == [False]


def test_a_parent_of_another_store_is_named_and_said_to_be_unknown(store, keep):
    other = f"sha256:{7:064}"
    digest = keep(parents=[other])
    found = store.lineage(digest)
    assert edges(found) == {(other, digest)}
    assert {node.id: node.known for node in found.nodes} == {other: False, digest: True}


def test_the_checkpoint_that_a_run_began_from_leads_to_its_own_run(store, keep):
    begun(store, "r1")
    state = TrainingState(epoch=1, step=400)
    store.save("r1", Checkpoint({"w": np.ones(3)}, state))
    digest = trained(store, "r2", keep, origin="r1@400")
    again = trained(store, "r3", keep, origin="r2@7")
    assert edges(store.lineage(digest)) == {
        ("run:r1", "checkpoint:r1@400"), ("checkpoint:r1@400", "run:r2"), ("run:r2", digest),
        ("run:r2", "checkpoint:r2@7"), ("checkpoint:r2@7", "run:r3"), ("run:r3", again),
    }  # fmt: skip
    known = {node.id: node.known for node in store.lineage(again).nodes}
    assert known["checkpoint:r1@400"]
    assert not known["checkpoint:r2@7"]  # it was let go, or never held
    assert ("run:r2", digest) not in edges(store.lineage(again))  # what else became of a run is not its ancestor


def test_a_run_that_is_still_going_is_shown_below_the_version_it_goes_on_from(store, keep):
    digest = trained(store, "r1", keep)
    begun(store, "r2", "r1@10")
    found = store.lineage(digest)
    assert ("checkpoint:r1@10", "run:r2") in edges(found)
    assert [node.status for node in found.nodes if node.id == "run:r2"] == ["running"]


def test_scores_and_aliases_are_shown_where_they_are(store, keep):
    scores = tuple(Score(name, value, value, value) for name, value in (("accuracy", 0.8), ("f1", 0.5)))
    first = keep(report=Report("", 1, "binary", scores), facts={"metric": "f1"})
    keep(parents=[first])
    for alias in ("prod", "canary"):
        store.alias(f"income@{alias}", "income:1", why="")
    one, other = sorted(store.lineage("income").nodes, key=lambda node: node.title)
    assert (one.metric, one.value, one.aliases) == ("f1", 0.5, ("canary", "prod"))
    assert (other.metric, other.value, other.aliases) == ("", None, ())


def test_what_is_asked_for_must_be_there(store, keep):
    keep()
    with pytest.raises(VersionNotFound, match=r"did you mean 'income'\?"):
        store.lineage("incom")


def test_a_forged_circle_ends(store, keep):
    digest = trained(store, "r1", keep, origin="r2@1")
    begun(store, "r2", "r1@1")
    found = store.lineage(digest)
    assert len(found.nodes) == 5
    assert len(cards(found)) == 5


def test_a_long_line_of_ancestors_is_followed_to_its_end(store, keep):
    keep()
    with store._catalog.writing() as connection:
        row = {
            "name": "net",
            "kept": datetime(2026, 1, 1, tzinfo=UTC),
            "holds": [],
            "metrics": {},
            "data": "",
            "facts": {},
        }
        rows = [
            {**row, "digest": f"sha256:{n:064}", "number": n, "size": 1, "manifest": 1,
             "parents": [f"sha256:{n - 1:064}"] if n > 1 else []}
            for n in range(1, 301)
        ]  # fmt: skip
        connection.execute(insert(tables.versions), rows)
    found = store.lineage("net:150")
    assert len(found.nodes) == 300
    assert len(cards(found)) == 300


def cards(found):
    """Title → box of every card of the picture: left, top, right, bottom."""
    root = ET.fromstring(found.svg())
    wide, high = (float(root.get(name)) for name in ("width", "height"))
    boxes = {}
    for group in root.iter(f"{SVG}g"):
        if not group.get("class").startswith("card"):
            continue
        x, y = map(float, re.fullmatch(r"translate\(([\d.]+) ([\d.]+)\)", group.get("transform")).groups())
        frame = group.find(f"{SVG}rect[@class='frame']")
        box = (x, y, x + float(frame.get("width")), y + float(frame.get("height")))
        assert 0 <= box[0] < box[2] <= wide
        assert 0 <= box[1] < box[3] <= high
        boxes[group.find(f"{SVG}title").text] = box
    return boxes


def test_the_picture_has_a_card_for_everything_and_a_line_for_every_step(store, keep):
    first = trained(store, "r1", keep, data="sha256:abc")
    trained(store, "r2", keep, parents=[first], data="sha256:abc")
    store.alias("income@prod", "income:2", why="")
    found = store.lineage("income:1")
    boxes = list(cards(found).values())
    assert len(boxes) == len(found.nodes) == 5
    assert not any(overlap(a, b) for a in boxes for b in boxes if a is not b)
    root = ET.fromstring(found.svg())
    lines = [path for path in root.iter(f"{SVG}path") if "edge" in path.get("class")]
    assert len(lines) == len(found.edges) == 5
    texts = [text.text for text in root.iter(f"{SVG}text")]
    assert {"Lineage of income:1", "income:1", "income:2", "r1", "r2", "abc", "prod"} <= set(texts)
    assert [node.title for node in found.nodes if node.kind in {"run", "version"}] == [
        "r1",
        "r2",
        "income:1",
        "income:2",
    ]


def overlap(a, b):
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


HOSTILE = "</text><script>alert(1)</script>&lt;\"'\x00\x0b\ufffe\ud800\u202e ]]> {{ x }} $(id) 数据" + "w" * 300


def test_whatever_stands_in_a_name_is_text_and_asks_nothing_of_the_network(store, keep):
    keep(data="sha256:abc", facts={"run": "r"})
    found = store.lineage("income")
    hostile = replace(found, nodes=tuple(replace(node, title=HOSTILE, status=HOSTILE, metric=HOSTILE, value=0.5,
                                                 aliases=(HOSTILE, "prod") * 9) for node in found.nodes))  # fmt: skip
    picture = hostile.svg()
    root = ET.fromstring(picture.encode())
    assert {element.tag.removeprefix(SVG) for element in root.iter()} == {
        "svg", "title", "style", "defs", "marker", "path", "rect", "g", "text",
    }  # fmt: skip
    assert not re.search(r"href|@import|url\((?!#)|\son\w+=", picture)
    assert re.findall(r"https?://\S+?(?=\")", picture) == ["http://www.w3.org/2000/svg"]
    assert "\u202e" not in picture
    assert "alert(1)" in "".join(root.itertext())


def test_a_notebook_shows_the_picture_by_itself(store, keep):
    keep()
    assert store.lineage("income")._repr_html_().startswith('<img alt="lineage" src="data:image/svg+xml;base64,')


def test_an_edge_is_known_from_both_ends(store, keep):
    first = keep()
    second = keep(parents=[first])
    found = store.lineage(first)
    assert found.edges == (Edge(first, second),)
    assert (found.above, found.below) == ({second: [first]}, {first: [second]})
    assert found.as_json()["edges"] == ({"source": first, "target": second},)


def graphs():
    """Graphs without circles: each node has edges from some that stand before it."""
    return st.integers(1, 14).flatmap(
        lambda count: st.lists(
            st.tuples(st.integers(0, count - 1), st.integers(0, count - 1)).filter(lambda pair: pair[0] < pair[1]),
            max_size=30, unique=True,
        ).map(lambda pairs: (count, pairs))
        if count > 1 else st.just((1, []))
    )  # fmt: skip


@settings(max_examples=150)
@given(graphs(), st.data())
def test_lines_go_from_left_to_right_and_nothing_overlaps(graph, data):
    count, pairs = graph
    heights = {str(n): data.draw(st.sampled_from([60.0, 80.0, 108.0])) for n in range(count)}
    edges = [(str(a), str(b)) for a, b in pairs]
    early = set(data.draw(st.lists(st.sampled_from(list(heights)))))
    spots, passed = place(heights, edges, early.__contains__)
    assert spots.keys() == heights.keys()
    for edge in edges:
        columns = [spots[edge[0]].column, *(spot.column for spot in passed[edge]), spots[edge[1]].column]
        assert columns == list(range(columns[0], columns[-1] + 1))
        assert len(columns) >= 2
    boxes = [(spots[name].column, spots[name].middle - height / 2, height) for name, height in heights.items()]
    boxes.sort()
    assert min(top for _, top, _ in boxes) >= -1e-6
    for (column, top, height), (later, below, _) in pairwise(boxes):
        assert column < later or top + height <= below


def test_lines_that_need_not_cross_do_not():
    """Three parents of three children, listed the wrong way round."""
    names = ["a", "b", "c", "x", "y", "z"]
    edges = [("a", "z"), ("b", "y"), ("c", "x")]
    spots, _ = place(dict.fromkeys(names, 60.0), edges, lambda _name: True)
    left = sorted("abc", key=lambda name: spots[name].middle)
    right = sorted("xyz", key=lambda name: spots[name].middle)
    assert [dict(edges)[name] for name in left] == right


def test_what_has_no_past_stands_beside_what_came_of_it():
    edges = [("a", "b"), ("b", "c"), ("late", "c"), ("early", "c")]
    names = dict.fromkeys(["a", "b", "c", "late", "early"], 60.0)
    spots, _ = place(names, edges, lambda name: name != "late")
    assert {name: spot.column for name, spot in spots.items()} == {"a": 0, "b": 1, "c": 2, "late": 1, "early": 0}
