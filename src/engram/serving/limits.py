"""What a stranger may ask of the server at most.

One record for every door, so that no protocol is laxer than another. Each number is a promise about memory or time
and has a test; all of them are generous for honest clients of tables and images.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["RequestLimits"]


@dataclass(frozen=True, slots=True)
class RequestLimits:
    """The largest request that is answered.

    Attributes:
        body: bytes of a request's body, counted while they arrive.
        depth: lists and objects inside each other.
        containers: lists and objects in one body; each costs some hundred bytes once parsed.
        key: characters of a key.
        rows: rows in one request.
        pixels: of one picture, read from its header before it is unpacked.
        head: bytes of the request line and the headers.
        seconds: for the head to arrive, and again for the body.
        connections: open at once.
        grace: seconds that requests in flight have to finish after SIGTERM.
    """

    body: int = 16 * 2**20
    depth: int = 64
    containers: int = 1_000_000
    key: int = 1_000
    rows: int = 10_000
    pixels: int = 2**25
    head: int = 64 * 2**10
    seconds: float = 30.0
    connections: int = 1_000
    grace: int = 30
