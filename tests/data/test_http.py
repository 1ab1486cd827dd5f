"""Web services: pages by every way that they are turned, patience with those that fail, and sentences for the rest."""

import gzip

import pytest

from engram.data import _pages, http
from engram.data._asking import Manner
from engram.data._describe import look
from engram.errors import DataError, UsageError
from servers.web import Said

pytest.importorskip("httpx")

ROWS = [{"n": i, "w": "uvw"[i % 3], "in": {"x": i % 4}} for i in range(23)]


def numbers(dataset):
    return dataset.parts["all"].column("n").tolist()


def cut(said, size=10):
    start = int(said.get("offset", said.get("after", 0)))
    return ROWS[start : start + size], start + size


def test_pages_follow_a_link_in_the_header(web):
    def answer(asked):
        rows, end = cut(asked.said)
        return Said(rows, headers={"Link": f'</rows?offset={end}>; rel="next", </>; rel="first"'} if end < 23 else {})

    assert numbers(look(web(answer))) == list(range(23))


@pytest.mark.parametrize("where", ["next", "links.next", "@odata.nextLink", "_links.next.href"])
def test_pages_follow_a_link_in_the_answer(web, where):
    def answer(asked):
        rows, end = cut(asked.said)
        link = f"/rows?offset={end}" if end < 23 else None
        names = [where] if where.startswith("@") else where.split(".")
        for name in reversed(names):
            link = {name: link}
        return {"items": rows, "total": 23, **link}

    assert numbers(look(web(answer))) == list(range(23))


def test_pages_follow_a_cursor(web):
    def answer(asked):
        rows, end = cut(asked.said)
        return {"data": {"rows": rows}, "meta": {"next_cursor": str(end) if end < 23 else ""}}

    place = web(answer)
    assert numbers(look(place, options={"rows": "data.rows", "cursor": "after"})) == list(range(23))
    with pytest.raises(DataError, match="gives the cursor '10' for the next page; say with cursor"):
        look(place, options={"rows": "data.rows"})


def test_pages_are_asked_for_by_offset_and_by_number_until_one_is_empty(web):
    seen = []

    def answer(asked):
        seen.append(asked.said)
        size = int(asked.said.get("size", 10))
        start = int(asked.said["skip"]) if "skip" in asked.said else (int(asked.said["p"]) - 1) * size
        return ROWS[start : start + size]

    place = web(answer)
    assert numbers(look(place, options={"offset": "skip", "limit": "size=8"})) == list(range(23))
    assert [asked["skip"] for asked in seen] == ["0", "8", "16", "23"]
    assert numbers(look(place, options={"page": "p"})) == list(range(23))


def test_csv_is_read_too_and_packed_answers_are_unpacked(web):
    table = "n,w\n" + "".join(f"{r['n']},{r['w']}\n" for r in ROWS)
    assert numbers(look(web(lambda _: table))) == list(range(23))
    packed = Said(gzip.compress(table.encode()), headers={"Content-Encoding": "gzip"})
    assert numbers(look(web(lambda _: packed))) == list(range(23))


def test_records_within_records_are_columns(web):
    assert [c.name for c in look(web(lambda _: ROWS)).columns] == ["n", "w", "in.x"]


def test_a_token_is_sent_and_is_in_no_message(web, monkeypatch):
    monkeypatch.setenv("SHOP_TOKEN", "s3cret")

    def answer(asked):
        fits = asked.headers.get("authorization") == "Bearer s3cret" or asked.headers.get("x-api-key") == "s3cret"
        return ROWS if fits else Said({"error": "who are you"}, 401)

    place = web(answer)
    assert len(numbers(look(place, options={"token": "SHOP_TOKEN"}))) == 23
    assert len(numbers(look(place, options={"token": "SHOP_TOKEN", "header": "X-API-Key: {token}"}))) == 23
    with pytest.raises(DataError, match=r"answers 401 .*refuses the login; set ENGRAM_DATA_TOKEN"):
        look(place)


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_service_that_is_busy_is_asked_again_after_the_pause_it_wants(web, status):
    waited = []
    place = web(lambda asked: ROWS if asked.number == 2 else Said("busy", status, {"Retry-After": "7"}))
    pages = list(_pages.read(place, _pages.Paging(), Manner(wait=waited.append)))
    assert len(pages[0].frame) == 23
    assert waited == [7, 7]


def test_pauses_double_where_none_is_asked_for_and_end(web):
    waited = []
    place = web(lambda _: Said("no", 500))
    with pytest.raises(DataError, match=r"page 1 of .* does not come, after 4 attempts \(it answers 500\)"):
        list(_pages.read(place, _pages.Paging(), Manner(tries=4, wait=waited.append)))
    for pause, wanted in zip(waited, (0.5, 1, 2), strict=True):
        assert 0.8 * wanted <= pause <= 1.2 * wanted


def test_requests_are_no_more_a_second_than_is_said(web):
    waited = []
    place = web(lambda asked: ROWS[asked.number : 5 + asked.number])
    with pytest.raises(DataError, match="more than pages = 3 pages"):
        list(_pages.read(place, _pages.Paging(offset="o", most=3), Manner(rate=0.5, wait=waited.append)))
    assert len(waited) == 3
    assert all(1.5 < pause <= 2 for pause in waited[1:])


@pytest.mark.parametrize(
    "content", [Said(ROWS, cut=40), Said('{"a": [1, ', headers={"Content-Type": "application/json"})]
)
def test_half_a_page_is_never_taken_for_a_whole_one(web, content):
    with pytest.raises(DataError, match=r"page 1 of .*(breaks off|broken off)"):
        list(_pages.read(web(lambda _: content), _pages.Paging(), Manner(tries=2, wait=lambda _: None)))


def test_a_page_that_comes_again_and_again_is_noticed(web):
    with pytest.raises(DataError, match=r"page 2 of .* is the same as the page before"):
        look(web(lambda _: ROWS), options={"page": "p"})
    with pytest.raises(DataError, match="is the same as the page before"):
        look(web(lambda _: Said(ROWS, headers={"Link": '</rows?again>; rel="next"'})))


def test_columns_that_change_in_the_middle_are_refused(web):
    def answer(asked):
        rows = [ROWS[:5], [{"n": 7, "word": "u", "in": {"x": 0}}], []]
        return rows[int(asked.said["p"]) - 1]

    with pytest.raises(DataError, match=r"page 2 of .* has other columns .*\(w, word\).*schema changes in the middle"):
        look(web(answer), options={"page": "p"})


@pytest.mark.parametrize(
    ("said", "wrong"),
    [
        (Said("gone", 404), "nothing at this address"),
        (Said("no", 403), "refuses access"),
        (Said("", 302, {"Location": "http://elsewhere.example/x"}), "has moved to http://elsewhere.example/x"),
        (Said("<html>", headers={"Content-Type": "text/html"}), "a page for people"),
        ({"a": [{"x": 1}], "b": [{"y": 1}]}, "does not say which of a, b are its rows"),
        ([1, 2], "record 1 is 1 and not an object"),
        ([], "has 0 rows"),
        (Said(ROWS, headers={"Link": '<http://elsewhere.example/2>; rel="next"'}), "another service"),
    ],
)
def test_an_answer_without_rows_is_a_sentence(web, said, wrong):
    with pytest.raises(DataError, match=wrong):
        look(web(lambda _: said))


def test_a_service_that_is_not_there_is_a_sentence():
    with pytest.raises(DataError, match="it cannot be reached"):
        look("http://127.0.0.1:9/rows", options={"tries": 1})


@pytest.mark.parametrize("url", ["https://h.example/rows?api_key=s3cret", "https://u:s3cret@h.example/rows"])
def test_a_secret_in_the_address_is_refused_and_not_repeated(url):
    with pytest.raises(UsageError, match="holds a secret") as refused:
        look(url)
    assert "s3cret" not in str(refused.value)


@pytest.mark.parametrize("option", [{"tries": 0}, {"limit": "500"}, {"page": "p", "offset": "o"}, {"header": "s3cret"}])
def test_an_option_that_cannot_be_is_refused(option):
    with pytest.raises(UsageError, match="is refused") as refused:
        http.open(("http://h.example/",), (), http.Options(**option))
    assert "s3cret" not in str(refused.value)
