from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import insert

from engram.errors import UsageError, VersionNotFound
from engram.store import tables
from engram.store.references import Reference, parse

DIGEST = "sha256:" + "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("income", Reference(name="income")),
        ("income:7", Reference(name="income", number=7)),
        ("income@prod", Reference(name="income", alias="prod")),
        (
            "income@prod@2026-05-03",
            Reference(name="income", alias="prod", moment=datetime(2026, 5, 3, 23, 59, 59, 999_999, UTC)),
        ),
        (
            "income@prod@2026-05-03T12:30",
            Reference(name="income", alias="prod", moment=datetime(2026, 5, 3, 12, 30, 59, 999_999, UTC)),
        ),
        (
            "income@prod@2026-05-03T12:30:00+02:00",
            Reference(name="income", alias="prod", moment=datetime(2026, 5, 3, 10, 30, 0, 999_999, UTC)),
        ),
        (
            "income@prod@2026-05-03 12",
            Reference(name="income", alias="prod", moment=datetime(2026, 5, 3, 12, 59, 59, 999_999, UTC)),
        ),
        (
            "income@prod@2026-05-03T12:30:07.000250Z",
            Reference(name="income", alias="prod", moment=datetime(2026, 5, 3, 12, 30, 7, 250, UTC)),
        ),
        (DIGEST[:15], Reference(digest=DIGEST[:15])),
        (DIGEST, Reference(digest=DIGEST)),
        ("a.b-c_d", Reference(name="a.b-c_d")),
    ],
)
def test_every_form_of_a_reference_is_understood(text, wanted, zone):
    zone("UTC")
    assert parse(text) == wanted


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "name '' cannot be used"),
        ("../income", "looks like a path"),
        ("income:", "asks for version ''"),
        ("income:0", "not a whole number from 1"),
        ("income:-1", "not a whole number from 1"),
        ("income:1.5", "not a whole number from 1"),
        ("income:99999999999999999999", "not a whole number from 1"),
        ("income@", "alias '' cannot be used"),
        ("income:7@prod", "name 'income:7' cannot be used"),
        ("income@prod@yesterday", "'yesterday', which is not a date or time such as 2026-05-03"),
        ("income@prod@2026-02-30", "not a date or time"),
        ("income@prod@20260503", "not a date or time"),
        ("income@prod@2026-05-03T24:00", "not a date or time"),
        ("income@prod@2026-05-03T12:30+25:00", "not a date or time"),
        ("income@prod@9999-12-31T23:59-12:00", "not a date or time"),
        ("income@prod@2026-05-0٣", "not a date or time"),
        ("income@prod@2026-05-03@2026-05-04", "not a date or time"),
        ("sha256:0123456", "at least 8 of its hexadecimal digits"),
        ("sha256:0123456Z", "at least 8 of its hexadecimal digits"),
        (DIGEST + "0", "at least 8 of its hexadecimal digits"),
    ],
)
def test_what_is_no_reference_is_refused_with_the_reason(text, why):
    with pytest.raises(UsageError, match=why):
        parse(text)


@pytest.mark.parametrize(
    ("where", "text", "utc"),
    [
        ("Pacific/Kiritimati", "2026-05-03", datetime(2026, 5, 3, 9, 59, 59, 999_999, UTC)),
        ("America/St_Johns", "2026-05-03T12:30", datetime(2026, 5, 3, 15, 0, 59, 999_999, UTC)),
        ("America/St_Johns", "2026-05-03T12:30+00:00", datetime(2026, 5, 3, 12, 30, 59, 999_999, UTC)),
        ("Europe/Berlin", "2026-10-25T02:30", datetime(2026, 10, 25, 1, 30, 59, 999_999, UTC)),
    ],
)
def test_a_moment_without_a_zone_is_one_of_the_reader(where, text, utc, zone):
    zone(where)
    assert parse(f"income@prod@{text}").moment == utc


def test_a_reference_finds_its_version(store, network):
    kept = [store.keep("income", network(seed)) for seed in range(3)]
    assert store.version("income") == kept[2]
    assert store.version("income:2") == kept[1]
    assert store.version(kept[0].digest) == kept[0]
    assert store.version(kept[0].digest[:20]) == kept[0]


def test_an_alias_is_found_as_it_was_on_a_day(store, network):
    for seed in range(2):
        store.keep("income", network(seed))
    moment = [datetime(2026, 5, day, 9, tzinfo=UTC) for day in (2, 4)]
    times = iter(moment)
    store._clock = times.__next__
    store.alias("income@prod", "income:1", why="the first")
    store.alias("income@prod", "income:2", why="a better one")
    assert store.version("income@prod").number == 2
    assert store.version("income@prod@2026-05-02").number == 1
    assert store.version("income@prod@2026-05-03").number == 1
    assert store.version("income@prod@2026-05-04").number == 2
    assert store.version("income@prod@2026-05-04T08:59").number == 1
    assert store.version("income@prod@2026-05-04T09:00").number == 2
    with pytest.raises(VersionNotFound, match="income@prod was first set 2026-05-02T09:00:00"):
        store.version("income@prod@2026-05-01")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("incom", r"no network is kept as 'incom'; did you mean 'income'\?"),
        ("incom@prod", r"no network is kept as 'incom'; did you mean 'income'\?"),
        ("income:9", "income has no version 9; its versions go from 1 to 1"),
        ("income@prd", r"income has no alias 'prd'; did you mean 'prod'\?"),
        ("income@prd@2026-05-03", r"income has no alias 'prd'; did you mean 'prod'\?"),
        ("sha256:00000000", "no version has a digest that begins with 'sha256:00000000'"),
    ],
)
def test_an_unknown_reference_is_answered_with_the_nearest(store, network, text, why):
    store.keep("income", network())
    store.alias("income@prod", "income", why="")
    with pytest.raises(VersionNotFound, match=why):
        store.version(text)


def test_the_beginning_of_several_digests_is_refused(store, network):
    version = store.keep("income", network())
    row = {"name": "twin", "kept": version.kept, "holds": [], "metrics": {}, "data": "", "parents": [], "facts": {}}
    with store._catalog.writing() as connection:  # a collision of eight digits is too rare to wait for
        for number in (1, 2):
            digest = f"sha256:feedface{number:056}"
            connection.execute(insert(tables.versions).values(digest=digest, number=number, size=0, manifest=0, **row))
    with pytest.raises(
        UsageError, match="beginning of several digests, twin:1 and twin:2 among them; give more digits"
    ):
        store.version("sha256:feedface")
    assert store.version(f"sha256:feedface{2:056}").number == 2


def test_an_alias_in_the_last_second_of_a_day_belongs_to_that_day(store, network):
    store.keep("income", network())
    store._clock = lambda: datetime(2026, 5, 4, tzinfo=UTC) - timedelta(microseconds=1)
    store.alias("income@prod", "income", why="")
    assert store.version("income@prod@2026-05-03").number == 1
