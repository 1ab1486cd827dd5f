"""Dates as seconds since 1970-01-01T00:00Z, the one form in which they reach a graph.

A time without a zone is taken as UTC: the machine that serves must not answer otherwise than the one that trained.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime

import numpy as np

__all__ = ["parse_date", "seconds"]

_TIME = r"(?:[T ](?P<time>.+))?$"
_FORMS = (
    re.compile(r"^(?P<year>\d{4})-(?P<month>\d{1,2})-(?P<day>\d{1,2})" + _TIME),
    re.compile(r"^(?P<year>\d{4})/(?P<month>\d{1,2})/(?P<day>\d{1,2})" + _TIME),
    re.compile(r"^(?P<day>\d{1,2})\.(?P<month>\d{1,2})\.(?P<year>\d{4})" + _TIME),
)


def parse_date(text: str) -> float:
    """Seconds since 1970-01-01T00:00Z of a date or a time.

    Args:
        text: ISO 8601 (``2026-05-03``, ``2026-05-03T12:30:00+02:00``), ``2026/05/03`` or ``03.05.2026``, each with or
            without a time.

    Raises:
        ValueError: it is none of these, or no such day.
    """
    for form in _FORMS:
        found = form.match(text.strip())
        if found:
            day = f"{found['year']}-{int(found['month']):02}-{int(found['day']):02}"
            return seconds(datetime.fromisoformat(f"{day}T{found['time'] or '00:00'}"))
    raise ValueError(f"{text!r} is not a date such as 2026-05-03, 2026/05/03 or 03.05.2026")


def seconds(moment: date | np.datetime64) -> float:
    """Seconds since 1970-01-01T00:00Z of a date or time object; NaN for numpy's ``NaT``."""
    if isinstance(moment, np.datetime64):
        micro = moment.astype("datetime64[us]")
        return float("nan") if np.isnat(micro) else float(micro.astype(np.int64)) / 1e6
    if not isinstance(moment, datetime):
        moment = datetime(moment.year, moment.month, moment.day, tzinfo=UTC)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return moment.timestamp()
