"""Messages of a stream, as many as are there: NATS JetStream, Redis Streams, Kafka or MQTT, by FastStream.

A stream has no end, so a pull is bounded: by how many messages are wanted, and by how long it may be silent. It begins
at the first message that the stream still has, and nothing is acknowledged: the messages stay where they are, and
whoever runs the pipeline again gets the same ones. MQTT keeps none; there a pull gets what comes while it listens.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, urlsplit

import orjson

from engram import settings
from engram.data import _frame, _records
from engram.errors import DataError, MissingLibrary, UsageError
from engram.records import Dataset

if TYPE_CHECKING:
    from faststream.security import BaseSecurity

__all__ = ["Options", "open", "recognizes"]

_SCHEMES = {"nats": 4222, "redis": 6379, "kafka": 9092, "mqtt": 1883}
_CONNECTS_S = 5.0


@dataclass(frozen=True, slots=True)
class Options:
    """How much of a stream is read.

    Attributes:
        rows: the most messages.
        least: the fewest that are worth learning from; a stream that stops before is refused.
        seconds: how long it may be silent until it is taken to be at its end.
        password: the name of the environment variable that holds the password, where the URL names a user.
        tls: whether the connection is encrypted.
        missing: words and numbers that mean a gap.
    """

    rows: int = 10_000
    least: int = 1
    seconds: float = 5.0
    password: str = "ENGRAM_DATA_PASSWORD"  # noqa: S105 - where it is, not what it is
    tls: bool = False
    missing: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Source:
    """A broker of FastStream with what gives its next message: None after so many seconds without one."""

    broker: Any
    begin: Callable[[], Awaitable[Any]]


def recognizes(place: str) -> bool:
    """Whether this is the address of a stream: ``nats://HOST/SUBJECT``, ``redis://…``, ``kafka://…`` or ``mqtt://…``."""
    return urlsplit(place).scheme in _SCHEMES and "://" in place


def open(places: tuple[str, ...], names: tuple[str, ...] = (), options: Options | None = None) -> Dataset:  # noqa: A001 - the contract
    """The messages of one stream, each a record of JSON.

    Args:
        places: the one address.
        names: must be empty; the columns have their names.
        options: how many.

    Raises:
        DataError: the server cannot be reached or breaks off, the stream stops too early, or a message is no record.
        UsageError: the address holds a password or names no stream, or an option has a value that cannot be.
        MissingLibrary: FastStream is not installed for this kind of server.
    """
    chosen = options or Options()
    _frame.unnamed(names, "a stream")
    if len(places) != 1:
        raise UsageError(f"a stream is read alone, and {len(places)} places were given", place="data.from")
    address = _address(places[0])
    if not 0 < chosen.least <= chosen.rows or chosen.seconds <= 0:
        wrong = f"[data] rows = {chosen.rows}, least = {chosen.least}, seconds = {chosen.seconds} are refused"
        raise UsageError(f"{wrong}: least is from 1 to rows, seconds more than 0", place="data.rows")
    bodies = asyncio.run(_pulled(address, chosen))
    title = f"{address.scheme} stream {address.path.strip('/')!r}"
    if len(bodies) < chosen.least:
        raise DataError(
            f"the {title} stops after {len(bodies):,} messages and is silent for {chosen.seconds:g} s, and least ="
            f" {chosen.least:,} are wanted; nothing is lost: run again when there are more, or say least or seconds"
        )
    stopped = f"the {title} gave {len(bodies):,} messages and was silent for {chosen.seconds:g} s"
    notes = (stopped,) if len(bodies) < chosen.rows else ()
    frame = _records.table([_record(body, number, title) for number, body in enumerate(bodies, start=1)], title)
    return _frame.dataset(frame, _frame.Origin(places, title, notes=notes, missing=chosen.missing))


def _address(place: str) -> SplitResult:
    address = urlsplit(place)
    if address.password is not None:
        raise UsageError(
            "[data] from holds a password, which would be kept with every version; leave it out of the URL and set"
            " ENGRAM_DATA_PASSWORD in the environment",
            place="data.from",
        )
    if not address.hostname or not address.path.strip("/"):
        raise UsageError(f"{place} names no stream; write {address.scheme}://HOST/NAME", place="data.from")
    return address


async def _pulled(address: SplitResult, options: Options) -> list[bytes]:
    """The bodies of the messages, in their order."""
    where = f"{address.scheme}://{address.hostname}"
    source = _source(address, options)
    found: list[tuple[tuple[int, int], bytes]] = []
    gone = False
    try:
        subscriber = await asyncio.wait_for(source.begin(), _CONNECTS_S)
        while len(found) < options.rows and (message := await subscriber.get_one(timeout=options.seconds)):
            raw = message.raw_message
            place = (getattr(raw, "partition", 0), getattr(raw, "offset", len(found)))
            found.append((place, message.body))
        gone = len(found) < options.rows and not await source.broker.ping(timeout=_CONNECTS_S)
    except Exception as broken:  # noqa: BLE001 - every client has errors of its own
        raise DataError(_broken(where, len(found), _reason(broken))) from None
    finally:
        await source.broker.stop()
    if gone:
        raise DataError(_broken(where, len(found), "the connection is gone"))
    return [body for _, body in sorted(found, key=lambda one: one[0])]


def _broken(where: str, count: int, said: str) -> str:
    begun = f"breaks off after {count:,} messages" if count else "cannot be read"
    return f"{where} {begun} ({said}); nothing is lost: check server, user and stream, and run again"


def _reason(broken: Exception) -> str:
    said = " ".join(str(broken).split())[:200]
    if isinstance(broken, TimeoutError):
        return "it does not answer"
    if type(broken).__name__ == "NotFoundError":
        return "no stream of the server holds this subject"
    return said or type(broken).__name__


def _record(body: bytes, number: int, title: str) -> object:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        raise DataError(f"message {number} of the {title} is not JSON; send one record a message") from None


def _source(address: SplitResult, options: Options) -> _Source:
    try:
        return {"nats": _nats, "redis": _redis, "kafka": _kafka, "mqtt": _mqtt}[address.scheme](
            f"{address.hostname}:{address.port or _SCHEMES[address.scheme]}",
            address.path.strip("/"),
            _security(address, options),
        )
    except ImportError:  # FastStream raises its own where a client is missing
        raise MissingLibrary(
            f"data source 'stream' needs FastStream with {address.scheme}, which is not installed; pip install"
            f" 'engram[stream]' 'faststream[{address.scheme}]'"
        ) from None


def _security(address: SplitResult, options: Options) -> BaseSecurity | None:
    from faststream.security import BaseSecurity, SASLPlaintext

    if address.username:
        secret = settings.secret(options.password, "data.password")
        return SASLPlaintext(username=address.username, password=secret, use_ssl=options.tls)
    return BaseSecurity(use_ssl=True) if options.tls else None


def _nats(server: str, name: str, security: BaseSecurity | None) -> _Source:
    from faststream.nats import JStream, NatsBroker
    from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

    said: dict[str, Any] = {"security": security, "allow_reconnect": False, "connect_timeout": _CONNECTS_S}
    broker: Any = NatsBroker(f"nats://{server}", logger=None, **said)

    async def begin() -> object:
        client = await broker.connect()
        stream = await client.jetstream().find_stream_name_by_subject(name)
        reading = ConsumerConfig(ack_policy=AckPolicy.NONE, deliver_policy=DeliverPolicy.ALL)
        subscriber = broker.subscriber(name, stream=JStream(stream, declare=False), config=reading, pull_sub=True)
        await subscriber.start()
        return subscriber

    return _Source(broker, begin)


def _redis(server: str, name: str, security: BaseSecurity | None) -> _Source:
    from faststream.redis import RedisBroker, StreamSub

    said: dict[str, Any] = {"security": security, "socket_connect_timeout": _CONNECTS_S, "logger": None}
    broker: Any = RedisBroker(f"redis://{server}", **said)
    return _Source(broker, _starting(broker, lambda: broker.subscriber(stream=StreamSub(name, last_id="0"))))


def _kafka(server: str, name: str, security: BaseSecurity | None) -> _Source:
    from faststream.kafka import KafkaBroker

    said: dict[str, Any] = {"security": security, "logger": None}
    broker: Any = KafkaBroker(server, **said)
    return _Source(broker, _starting(broker, lambda: broker.subscriber(name, auto_offset_reset="earliest")))


def _mqtt(server: str, name: str, security: BaseSecurity | None) -> _Source:
    from faststream.mqtt import MQTTBroker

    host, _, port = server.rpartition(":")
    said: dict[str, Any] = {"security": security, "logger": None, "port": int(port)}
    broker: Any = MQTTBroker(host, **said)
    return _Source(broker, _starting(broker, lambda: broker.subscriber(name)))


def _starting(broker: Any, subscribe: Callable[[], Any]) -> Callable[[], Awaitable[Any]]:  # noqa: ANN401 - a client
    async def begin() -> object:
        await broker.connect()
        subscriber = subscribe()
        await subscriber.start()
        return subscriber

    return begin
