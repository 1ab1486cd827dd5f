import pytest

from engram.data._describe import describe, doubts, look, suggest_target
from engram.errors import DataError
from engram.records import Column


@pytest.fixture
def table(tmp_path):
    def write(content):
        (tmp_path / "t.csv").write_text(content)
        return str(tmp_path / "t.csv")

    return write


def test_columns_are_described_with_reasons(table):
    columns = describe(table("".join(f"{i * i},{'ab'[i % 2]}\n" for i in range(30))), ("n", "w"))
    assert [(c.name, c.kind) for c in columns] == [("n", "number"), ("w", "category")]
    assert all(c.reason for c in columns)


def test_the_target_is_a_column_called_so_or_else_the_last_that_can_be_predicted():
    columns = [Column("a", "number"), Column("Class", "category"), Column("b", "number"), Column("note", "text")]
    assert suggest_target(columns) == "Class"
    assert suggest_target([columns[0], *columns[2:]]) == "b"
    assert suggest_target([]) == ""


def test_what_must_be_said_of_a_column_before_it_can_be_used_is_known(table):
    rows = "".join(f"{'x' if i == 3 else i * 7 % 50},{'inf' if i == 5 else i * i},{i * 3 % 17}\n" for i in range(60))
    found = doubts(look(table("a,b,c\n" + rows)))
    assert {name: kind for name, (kind, _) in found.items()} == {"a": "category", "b": "ignore"}
    assert "(row 4: 'x')" in found["a"][1]


def test_a_place_that_nobody_reads_is_refused_with_what_can_be_read(tmp_path):
    (tmp_path / "x.bin").write_bytes(bytes(range(256)))
    with pytest.raises(DataError, match=r"kinds: csv, .*images, jsonl, .*sklearn"):
        describe(str(tmp_path / "x.bin"))
