"""JSON Lines: records of one shape quickly, of any shape carefully, and a line that is wrong by its number."""

import gzip
import json

import pytest

from engram.data import csv, jsonl
from engram.data._describe import look
from engram.errors import DataError


@pytest.fixture
def written(tmp_path):
    def write(content, name="t.jsonl"):
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return str(path)

    return write


def test_records_become_columns_and_inner_ones_their_own(written):
    place = written(
        '{"a": 1, "in": {"b": "x", "c": {"d": true}}}\n\n{"a": 2.5, "in": {"b": null, "c": {"d": false}}}\n'
    )
    dataset = look(place)
    part = dataset.parts["all"]
    assert part.column("a").tolist() == [1, 2.5]
    assert part.column("in.b").tolist() == ["x", ""]
    assert part.column("in.c.d").tolist() == [1, 0]


def test_a_key_that_comes_late_is_a_column_with_gaps(written):
    rows = [{"a": i, "b": str(i % 2)} for i in range(50)] + [{"a": 7, "late": 3}]
    part = look(written("\n".join(map(json.dumps, rows)))).parts["all"]
    assert part.column("late")[-1] == 3
    assert look(written("\n".join(map(json.dumps, rows)))).column("late").missing == 50


def test_the_careful_reader_gives_what_the_quick_one_gives(written):
    rows = [
        {"n": i * i % 11, "w": "uvw"[i % 3], "f": i / 8, "t": i % 2 == 0, "d": f"2024-01-{i + 1:02}"} for i in range(28)
    ]
    quick = look(written("\n".join(map(json.dumps, rows))))
    careful = look(written(json.dumps(rows), "t.json"))
    assert quick.columns == careful.columns
    for column in quick.columns:
        assert quick.parts["all"].column(column.name).tolist() == careful.parts["all"].column(column.name).tolist()


def test_a_word_among_numbers_is_found_where_it_stands(written):
    rows = [{"a": i, "b": True} for i in range(40)]
    rows[16] = {"a": "seven", "b": 1}
    assert "(row 17: 'seven')" in look(written("\n".join(map(json.dumps, rows)))).parts["all"].faults["a"]


@pytest.mark.parametrize(
    ("content", "wrong"),
    [
        ('{"a": 1}\n{"a": \n', "line 2 is not JSON"),
        ('{"a": 1}\n{"a": 2} {"a": 3}\n', "line 2 is not JSON"),
        ('{"a": 1}\n[2]\n', "record 2 is a list and not an object"),
        ('[{"a": 1}, 5]', "record 2 is 5 and not an object"),
        ('[{"a": 1},', "is not JSON"),
        ("", "is empty"),
        ('{"a": NaN}', "line 1 is not JSON"),
        (b'{"a": "x"}\n{"a": "\xff"}\n', "line 2 is not UTF-8"),
        ('{"a.b": 1, "a": {"b": 2}}', "two columns are called 'a.b'"),
        ("[" * 2000, "is not JSON"),
    ],
)
def test_what_is_no_record_is_named(written, content, wrong):
    with pytest.raises(DataError, match=wrong):
        look(written(content))


def test_records_within_records_without_end_are_refused(written):
    deep = '{"a": ' * 40 + "1" + "}" * 40
    with pytest.raises(DataError, match="more than 8 deep"):
        look(written(f'{deep}\n{{"a": 1}}'))


def test_a_packed_file_is_unpacked(written):
    place = written(gzip.compress(b'{"a": 1}\n{"a": 2}\n'), "t.jsonl.gz")
    assert jsonl.recognizes(place)
    assert look(place).parts["all"].column("a").tolist() == [1, 2]


def test_records_are_known_by_their_first_letters(written):
    place = written('{"a": 1}\n{"a": 2}\n', "export.log")
    assert jsonl.recognizes(place)
    assert not csv.recognizes(place)
