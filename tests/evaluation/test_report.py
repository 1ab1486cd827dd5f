"""The page is inert whatever stands in the data, and JSON gives the report back."""

import base64
import dataclasses
import json
import re
from html.parser import HTMLParser
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engram.evaluation.evidence import Evidence
from engram.evaluation.judge import judge
from engram.evaluation.report import as_json, from_json
from engram.records import Prediction, Report, Score, Task
from engram.records.pipeline import EvaluateSection

HOSTILE = "</td><script>alert(1)</script>"
TRICKY = ["\"><img src=x onerror='alert(1)'>", "{{ 7 * 7 }} $\\frac{1}{0}$ \x00\x1b\ud800\u202e & ]]>", "日本語 %s %"]


class Tags(HTMLParser):
    """Every element of a page with its attributes."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def handle_starttag(self, tag, attributes):
        self.seen.append((tag, dict(attributes)))


@pytest.fixture(scope="module")
def hostile():
    labels = (HOSTILE, *TRICKY)
    task = Task("multiclass", HOSTILE, labels)
    truth = np.arange(400) % 4
    chances = np.random.default_rng(0).dirichlet(np.ones(4), 400)
    words = np.array([HOSTILE, TRICKY[0]] * 200, object)
    columns = {HOSTILE: words, TRICKY[1]: np.arange(400.0)}
    evidence = Evidence(
        title=HOSTILE,
        slices=columns,
        history=tuple({"epoch": i, "train.loss": 1 / i, f"train.{HOSTILE}": i} for i in range(1, 5)),
        findings=(HOSTILE,),
        take=lambda rows: {name: values[rows] for name, values in columns.items()},
        facts={HOSTILE: HOSTILE},
    )
    return judge(task, truth, Prediction(probabilities=chances, classes=labels), data=HOSTILE, evidence=evidence)


def _pictures(page):
    return [base64.b64decode(found) for found in re.findall(r"data:image/svg\+xml;base64,([^\"]+)", page)]


def test_hostile_names_appear_as_text(hostile):
    assert HOSTILE not in hostile.page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in hostile.page
    assert "{{ 7 * 7 }}" in hostile.page
    hostile.page.encode("utf-8")


def test_a_page_has_no_script_and_asks_nothing_of_the_network(hostile):
    tags = Tags()
    tags.feed(hostile.page)
    assert not {tag for tag, _ in tags.seen} & {"script", "iframe", "object", "embed", "link", "form", "base"}
    for _, attributes in tags.seen:
        assert not [name for name in attributes if name.startswith("on")]
        assert "href" not in attributes
        assert attributes.get("src", "data:image/").startswith("data:image/")
    policy = [a["content"] for tag, a in tags.seen if tag == "meta" and "http-equiv" in a]
    assert policy == ["default-src 'none'; img-src data:; style-src 'unsafe-inline'"]


def test_pictures_are_well_formed_and_inert(hostile):
    pictures = _pictures(hostile.page)
    assert len(pictures) >= 6
    for picture in pictures:
        for element in ET.fromstring(picture).iter():
            assert not element.tag.endswith(("script", "foreignObject", "}a"))
            assert not [name for name in element.attrib if name.lower().startswith("on")]


def test_labels_in_pictures_are_text_and_no_formulas(hostile):
    words = "".join("".join(ET.fromstring(picture).itertext()) for picture in _pictures(hostile.page))
    assert "</td><script" in words
    assert "日本語" in words


def test_sections_stand_in_reading_order(hostile):
    titles = re.findall(r"<h2>(.*?)</h2>", hostile.page)
    assert titles == [
        *("Scores", "Training", "Answers", "Classes", "Slices", "Most wrong", "Found in the data"),
        *("Model card", "How it was made"),
    ]


def test_the_verdict_says_how_good_with_interval_and_baseline():
    truth = np.array([0] * 70 + [1] * 30)
    labels = np.array(["no", "yes"], object)[np.concatenate([truth[:95], 1 - truth[95:]])]
    page = judge(Task("binary", "won", ("no", "yes")), truth, Prediction(labels=labels)).page
    assert "<b>95.0\u00a0%</b><span>of 100 rows are right</span>" in page
    assert re.search(r"95 % interval \d\d\.\d to \d\d\.\d\u00a0%", page)
    assert "always answering &#39;no&#39; gets 70.0\u00a0%" in page


def test_json_gives_the_report_back():
    truth = np.arange(120) % 2
    chances = np.random.default_rng(0).dirichlet([1, 1], 120)
    columns = {"half": np.array(["a", "b", "a"] * 40, object)}
    report = judge(
        Task("binary", "won", ("no", "yes")),
        truth,
        Prediction(probabilities=chances, classes=("no", "yes")),
        section=EvaluateSection(intervals=20),
        evidence=Evidence(slices=columns, history=({"epoch": 1, "train.loss": 0.5},), findings=("one",)),
    )
    text = json.dumps(as_json(report), allow_nan=False)
    assert from_json(json.loads(text)) == report
    assert "page" not in as_json(report)


NUMBERS = st.floats(allow_nan=False, allow_infinity=False)


@settings(max_examples=50, deadline=None)
@given(
    st.builds(
        Report,
        data=st.text(),
        rows=st.integers(0, 2**53),
        task=st.sampled_from(["binary", "multiclass", "regression"]),
        scores=st.lists(st.builds(Score, st.text(), NUMBERS, NUMBERS, NUMBERS, st.sampled_from(["max", "min"]))).map(
            tuple
        ),
        classes=st.dictionaries(st.text(), st.dictionaries(st.text(), NUMBERS)),
        slices=st.dictionaries(st.text(), st.dictionaries(st.text(), NUMBERS)),
        confusion=st.lists(st.lists(st.integers(0, 9)).map(tuple)).map(tuple),
        labels=st.lists(st.text()).map(tuple),
        diagnosis=st.lists(st.text()).map(tuple),
        findings=st.lists(st.text()).map(tuple),
        history=st.lists(st.dictionaries(st.text(), NUMBERS)).map(tuple),
        page=st.just(""),
    )
)
def test_any_report_survives_json(report):
    assert from_json(json.loads(json.dumps(as_json(report), allow_nan=False))) == report


def test_what_is_undefined_is_null_in_json():
    report = Report(data="", rows=1, task="binary", scores=(Score("roc_auc", float("nan"), float("-inf"), 1.0),))
    tree = as_json(dataclasses.replace(report, history=({"epoch": np.int64(1), "train.loss": np.float32("nan")},)))
    assert tree["history"] == [{"epoch": 1, "train.loss": None}]
    assert tree["scores"][0]["value"] is None
    assert np.isnan(from_json(tree).scores[0].value)
    assert dataclasses.asdict(from_json(tree))["scores"][0]["high"] == 1.0
