"""A report as one self-contained HTML page, and as JSON.

The page holds no script and asks nothing of the network: pictures are ``data:`` URIs, so that whatever stands in a
column name stays text even inside a drawing. JSON knows no NaN: an undefined score is null there.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from functools import cache
from typing import Any

import numpy as np

from engram.evaluation.baseline import Baseline
from engram.evaluation.evidence import Evidence
from engram.evaluation.examples import Example
from engram.evaluation.measure import explanation, title
from engram.evaluation.verdict import number, verdict
from engram.records import Curve, Gap, Importance, Picture, Report, Score, Weak

__all__ = ["as_json", "from_json", "render"]

_SECTIONS: Mapping[str, tuple[str, ...]] = {
    "training": ("curve-",),
    "answers": ("confusion", "roc", "precision-recall", "calibration", "predicted", "residuals"),
    "slices": ("slices",),
    "importance": ("importance",),
    "robustness": ("robustness",),
    "weak": ("weak",),
    "fairness": ("fairness",),
}


def as_json(report: Report) -> dict[str, Any]:
    """The report as plain JSON values, without its page; ``from_json`` reads them back.

    Numbers that are not finite become null.
    """
    tree = {field.name: getattr(report, field.name) for field in fields(Report) if field.name != "page"}
    tree["scores"] = [{f.name: getattr(score, f.name) for f in fields(Score)} for score in report.scores]
    tree |= {
        name: [asdict(each) for each in getattr(report, name)] for name in ("weak", "gaps", "importance", "robustness")
    }
    plain = _plain(tree)
    assert isinstance(plain, dict)
    return plain


def from_json(data: Mapping[str, Any]) -> Report:
    """The report that ``as_json`` wrote; null becomes NaN."""
    return Report(
        data=data["data"],
        rows=data["rows"],
        task=data["task"],
        scores=tuple(Score(**_numbers(score)) for score in data["scores"]),
        classes={label: _numbers(values) for label, values in data["classes"].items()},
        slices={name: _numbers(values) for name, values in data["slices"].items()},
        confusion=tuple(tuple(row) for row in data["confusion"]),
        labels=tuple(data["labels"]),
        diagnosis=tuple(data["diagnosis"]),
        findings=tuple(data["findings"]),
        history=tuple(_numbers(record) for record in data["history"]),
        weak=tuple(Weak(**_numbers(each)) for each in data.get("weak", ())),
        fairness={name: _numbers(values) for name, values in data.get("fairness", {}).items()},
        gaps=tuple(Gap(**_numbers(each)) for each in data.get("gaps", ())),
        robustness=tuple(_curve(each) for each in data.get("robustness", ())),
        card=dict(data.get("card", {})),
        importance=tuple(Importance(**_numbers(each)) for each in data.get("importance", ())),
    )


def render(
    report: Report,
    evidence: Evidence,
    baseline: Baseline,
    pictures: Sequence[Picture] = (),
    examples: Sequence[Example] = (),
) -> str:
    """The report as one HTML page, in the order in which one asks: how good, why, where not, how made.

    Args:
        report: everything but its page.
        evidence: the title and the facts.
        baseline: the best constant answer, shown beside each score.
        pictures: by ``draw``.
        examples: the rows most wrong.
    """
    shown = [(picture, _uri(picture)) for picture in pictures]
    page: str = _template().render(
        report=report,
        title=evidence.title or "Network",
        diagnosis=[_headed(sentence) for sentence in report.diagnosis],
        verdict=verdict(report, baseline),
        baseline=baseline,
        facts=evidence.facts,
        examples=examples,
        pictures={
            section: [entry for entry in shown if entry[0].name.startswith(names)]
            for section, names in _SECTIONS.items()
        },
    )
    return page.encode("utf-8", "replace").decode()  # a lone surrogate in a label could not be written to a file


@cache
def _template() -> Any:  # noqa: ANN401 - jinja2 is imported only when a page is made
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("engram.evaluation", "."),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {"number": number, "title": title, "explanation": explanation}
    return environment.get_template("report.html")


def _headed(sentence: str) -> tuple[str, str]:
    """What stands before the colon, to be set in bold, and the rest; sentences without a heading have none."""
    head, colon, rest = sentence.partition(": ")
    return (head, rest) if colon and len(head) <= 50 else ("", sentence)


def _uri(picture: Picture) -> str:
    return f"data:{picture.media};base64,{base64.b64encode(picture.content).decode()}"


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    number = value.item() if isinstance(value, np.generic) else value
    return None if isinstance(number, float) and not math.isfinite(number) else number


def _curve(values: Mapping[str, Any]) -> Curve:
    numbers = {
        key: tuple(math.nan if value is None else value for value in values[key])
        for key in ("amounts", "errors", "low", "high")
    }
    return Curve(values["disturbance"], **numbers)


def _numbers(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: math.nan if value is None else value for key, value in values.items()}
