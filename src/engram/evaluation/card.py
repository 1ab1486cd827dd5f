"""The fields of a model card, filled as far as they are known; what nobody said is not made up.

Source: Mitchell et al. 2019, Model cards for model reporting.
"""

from __future__ import annotations

from collections.abc import Mapping

from engram.evaluation.verdict import share
from engram.records import Report, Task

__all__ = ["card"]

_WORSE = 3


def card(report: Report, task: Task, facts: Mapping[str, str]) -> dict[str, str]:
    """Intended use, data and limits of a judged network, a sentence or more each.

    Args:
        report: of the network, with its weak parts.
        task: what it learned.
        facts: of the evidence; ``data`` says what it was made from or judged on.
    """
    what = f"which of {len(task.labels)} classes a row is" if task.classifies else "a number for each row"
    made = {"intended use": f"It answers {what} ({task.target}), for rows like those that it was judged on."}
    if "data" in facts:
        made["data"] = facts["data"]
    return {**made, "limits": " ".join(_limits(report))}


def _limits(report: Report) -> list[str]:
    said = [f"All figures come from {report.rows:,} rows; nothing is known about rows of another kind."]
    if report.weak:
        parts = "; ".join(f"{part.name} ({_error(part.error, report)})" for part in report.weak[:_WORSE])
        said.append(f"It is worse than elsewhere ({_error(report.weak[0].overall, report)} over all rows) in: {parts}.")
    if report.gaps:
        widest = max(report.gaps, key=lambda gap: gap.difference)
        rate = widest.rate.replace("_", " ")
        said.append(f"The largest gap between groups is {share(widest.difference)} ({rate} by {widest.column}).")
    else:
        said.append("Whether it is fair to groups of people was not asked.")
    return said


def _error(error: float, report: Report) -> str:
    return f"{share(error)} wrong" if report.labels else f"off by {error:.4g}"
