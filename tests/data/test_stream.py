"""Streams: a bounded pull of what is there, again and again the same, and what stops or breaks off."""

import pytest

from engram.data import stream
from engram.data._describe import look
from engram.errors import DataError, UsageError

pytest.importorskip("faststream")

ROWS = [{"n": i * 7 % 31, "in": {"w": "uvw"[i % 3]}} for i in range(40)]


def pulled(place, **options):
    return look(place, options={"seconds": 0.5, **options})


def test_messages_come_in_their_order_and_stay_where_they_are(nats):
    place = nats(ROWS)
    first, again = pulled(place), pulled(place)
    assert first.parts["all"].column("n").tolist() == [row["n"] for row in ROWS]
    assert first.parts["all"].column("in.w").tolist() == [row["in"]["w"] for row in ROWS]
    assert first.digest == again.digest
    assert "gave 40 messages and was silent for 0.5 s" in first.notes[0]


def test_no_more_are_read_than_are_wanted(nats):
    dataset = pulled(nats(ROWS), rows=7)
    assert dataset.parts["all"].column("n").tolist() == [row["n"] for row in ROWS[:7]]
    assert not any("silent" in note for note in dataset.notes)


def test_a_stream_that_stops_too_early_is_a_sentence(nats):
    with pytest.raises(DataError, match=r"stops after 40 messages .* least = 50 are wanted; nothing is lost"):
        pulled(nats(ROWS), least=50)


def test_a_message_that_is_no_record_is_named(nats):
    with pytest.raises(DataError, match=r"message 3 of the nats stream .* is not JSON"):
        pulled(nats([*ROWS[:2], b"{half"]))
    with pytest.raises(DataError, match="record 1 is 5 and not an object"):
        pulled(nats([5]))


def test_a_stream_that_is_not_there_is_a_sentence(nats):
    place = nats(ROWS[:1])
    with pytest.raises(DataError, match="no stream of the server holds this subject"):
        pulled(place.rpartition("/")[0] + "/elsewhere")


def test_a_server_that_is_not_there_is_a_sentence():
    with pytest.raises(DataError, match=r"redis://127\.0\.0\.1 cannot be read .*nothing is lost"):
        pulled("redis://127.0.0.1:9/rows")


def test_a_password_in_the_address_is_refused_and_not_repeated():
    with pytest.raises(UsageError, match="ENGRAM_DATA_PASSWORD") as refused:
        pulled("nats://u:hunter2@h/rows")
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize("option", [{"least": 0}, {"least": 9, "rows": 3}, {"seconds": 0}])
def test_an_option_that_cannot_be_is_refused(option):
    with pytest.raises(UsageError, match="are refused"):
        stream.open(("nats://h/rows",), (), stream.Options(**option))


def test_an_address_without_a_stream_is_refused():
    with pytest.raises(UsageError, match="names no stream"):
        pulled("nats://h")
