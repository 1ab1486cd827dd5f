"""URLs of databases: which of them mean the same one, and what of them may be written down."""

from __future__ import annotations

import re

from sqlalchemy import URL
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

__all__ = ["bare", "same"]

_PASSWORD = re.compile(r"(?<=:)[^:@/]*(?=@)")
_SECRETS = ("password", "sslpassword", "passfile")
_PORT = 5432


def bare(url: str) -> str:
    """The URL without anything secret, as it may be written down and shown."""
    try:
        known = make_url(url).difference_update_query(_SECRETS)
    except (ArgumentError, ValueError):  # the latter for a port that is no number
        return _PASSWORD.sub("", url, count=1).replace(":@", "@")
    parts = known.drivername, known.username, None, known.host, known.port, known.database, known.query
    return URL.create(*parts).render_as_string()


def same(one: str, other: str) -> bool:
    """Whether two URLs lead to the same database, whoever connects to it and by which driver."""
    try:
        return _where(make_url(one)) == _where(make_url(other))
    except (ArgumentError, ValueError):
        return bare(one) == bare(other)


def _where(url: URL) -> tuple[object, ...]:
    """Kind, host, port and name of a database; a socket is named in the query."""
    kind = {"postgres": "postgresql"}.get(url.get_backend_name(), url.get_backend_name())
    host, port = url.query.get("host", url.host or ""), url.query.get("port", str(url.port or _PORT))
    return kind, str(host).lower(), str(port), url.query.get("dbname", url.database or url.username)
