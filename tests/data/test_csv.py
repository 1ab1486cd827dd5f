import csv as standard
import gzip
import io
import math
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engram.data import csv
from engram.errors import DataError, UsageError


@pytest.fixture
def table(tmp_path):
    def write(content, name="table.csv"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def opened(path, names=(), **options):
    return csv.open((str(path),), names, csv.Options(**options))


def rows_of(dataset):
    part = dataset.parts["all"]
    return {name: values.tolist() for name, values in part.take(np.arange(len(part))).items()}


def refused(path, names=(), **options):
    with pytest.raises((DataError, UsageError)) as caught:
        opened(path, names, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_the_separator_is_found(table, separator):
    path = table(f"city{separator}size\nBonn{separator}3\nJena{separator}1\n")
    assert rows_of(opened(path)) == {"city": ["Bonn", "Jena"], "size": [3.0, 1.0]}


def test_a_separator_that_is_said_goes_before_the_one_found(table):
    assert list(rows_of(opened(table("a,b;c\n1,2;3\n4,1;5\n"), separator=";"))) == ["a,b", "c"]


def test_a_decimal_comma_is_read_where_fields_are_separated_by_something_else(table):
    assert rows_of(opened(table("a;b\n1,5;x\n-2;y\n,5;x\n")))["a"] == [1.5, -2.0, 0.5]


def test_spaces_after_separators_are_not_part_of_values(table):
    assert rows_of(opened(table("a, b\nx, 1\ny, 2\n"))) == {"a": ["x", "y"], "b": [1.0, 2.0]}


def test_quotes_behind_a_space_still_quote(table):
    assert rows_of(opened(table('a, b\n1, "x, y"\n2, "z"\n')))["b"] == ["x, y", "z"]


def test_a_quote_inside_a_field_is_a_character(table):
    assert rows_of(opened(table('size,n\n5" pipe,1\n7" pipe,2\n')))["size"] == ['5" pipe', '7" pipe']


def test_a_byte_order_mark_is_not_part_of_the_first_name(table):
    assert list(rows_of(opened(table(b"\xef\xbb\xbfa,b\n1,2\n2,3\n")))) == ["a", "b"]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_every_end_of_line_is_one(table, end):
    assert rows_of(opened(table(end.join(["a,b", "x,2", "y,3", ""])))) == {"a": ["x", "y"], "b": [2.0, 3.0]}


def test_a_file_packed_with_gzip_is_read(table):
    packed = gzip.compress(b"a,b\nx,2\ny,\n")
    assert rows_of(opened(table(packed, "t.csv.gz")))["a"] == ["x", "y"]


@pytest.mark.parametrize("gap", ["", "?", "NA", "N/A", "NaN", "null", " ? "])
def test_a_gap_is_a_gap_in_numbers_and_in_words(table, gap):
    found = opened(table(f"n,w,x\n1,a,1\n{gap},{gap},2\n2,b,5\n"))
    assert math.isnan(rows_of(found)["n"][1])
    assert rows_of(found)["w"] == ["a", "", "b"]
    assert [c.missing for c in found.columns] == [1, 1, 0]


def test_what_means_a_gap_can_be_said_even_if_it_is_a_number(table):
    found = opened(table("n,m\n-999,1\n4,2\n5,3\n"), missing=("-999",))
    assert math.isnan(rows_of(found)["n"][0])


def test_a_file_without_header_gets_names_and_a_note(table):
    found = opened(table("1,a\n2,b\n3,a\n"))
    assert [c.name for c in found.columns] == ["column_1", "column_2"]
    assert "no header" in found.notes[0]


def test_names_name_the_columns_of_a_file_without_header(table):
    found = opened(table("1,a\n2,b\n3,a\n"), ("n", "w"))
    assert rows_of(found) == {"n": [1.0, 2.0, 3.0], "w": ["a", "b", "a"]}
    assert found.notes == ()


def test_names_that_the_header_repeats_do_not_make_it_a_row(table):
    assert rows_of(opened(table("w,n\na,1\nb,2\n"), ("n", "w"))) == {"w": ["a", "b"], "n": [1.0, 2.0]}


def test_a_header_of_words_over_words_is_a_header_unless_it_is_said_not_to_be(table):
    path = table("a,b\nc,d\ne,f\n")
    assert len(opened(path).parts["all"]) == 2
    assert len(opened(path, header=False).parts["all"]) == 3


def test_a_row_with_too_many_fields_is_named_and_left_out(table):
    found = opened(table("a,b\n1,2\n1,2,3\n4,5\n"))
    assert rows_of(found)["a"] == [1.0, 4.0]
    assert "1 of 3 rows does not have 2 fields (line 3)" in found.notes[0]


def test_a_row_with_too_few_fields_is_named_and_left_out(table):
    found = opened(table("a,b,c\n1,2,3\n1,2\n4,5,6\n\n7,8,\n"))
    assert rows_of(found)["a"] == [1.0, 4.0, 7.0]
    assert "(line 3)" in found.notes[0]


def test_wrong_rows_are_counted_by_line_where_fields_span_lines(table):
    found = opened(table('a,b\n"x\ny",2\n1,2,3\nz,5\n'))
    assert rows_of(found)["a"] == ["x\ny", "z"]
    assert "(line 4)" in found.notes[0]


def test_a_gzip_file_that_ends_too_early_is_refused(table):
    packed = gzip.compress(b"a,b\n" + np.random.default_rng(0).bytes(3 << 20).hex().encode() + b",1\n2,3\n")
    assert "big.csv.gz cannot be read" in refused(table(packed[: len(packed) // 2], "big.csv.gz"))


def test_too_many_wrong_rows_are_refused_with_their_lines(table):
    said = refused(table("a,b\n1,2\n1\n2\n4,5\n"))
    assert "2 of 4 rows do not have 2 fields (lines 3, 4)" in said
    assert "wrong_rows = 0.01" in said


def test_as_many_wrong_rows_as_are_allowed_are_left_out(table):
    path = table("a,b\n" + "1,2\n" * 98 + "1\n2\n")
    assert len(opened(path, wrong_rows=0.02).parts["all"]) == 98
    assert "allows" in refused(path, wrong_rows=0.0)


def test_rows_keep_their_numbers_after_others_were_left_out(table):
    lines = [*(str(i) + ",x" for i in range(50)), "1,2,3", "oops,x"]
    found = opened(table("n,w\n" + "\n".join(lines) + "\n"))
    assert "row 52" in found.parts["all"].faults["n"]


def test_an_unclosed_quote_is_refused_with_its_line(table):
    assert "line 3" in refused(table('a,b\n1,2\n"3,4\n5,6\n'))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"\n \n", "is empty"),
        (b"a,b\n", "0 rows"),
        (b"a,b,a\n1,2,3\n", "column 'a' is there 2 times"),
        (b"a,b\nM\xfcnchen,2\n", "line 2 is not UTF-8"),
        ("a,b\n1,2\n".encode("utf-16"), "UTF-16"),
        (b"\x89PNG\x00\x01\n", "not a text table"),
    ],
)
def test_what_is_no_table_is_refused_in_one_sentence(table, content, words):
    said = refused(table(content))
    assert words in said
    assert said.startswith("table.csv")


def test_text_that_is_not_utf8_far_down_is_refused_with_its_line(table):
    path = table(b"word,n\n" + b"abcdefgh,2\n" * 200_000 + b"\xff,3\n")
    assert "line 200002 is not UTF-8" in refused(path)


def test_as_many_names_as_columns_are_needed(table):
    assert "has 2 columns and names = […] lists 3" in refused(table("1,2\n3,4\n"), ("a", "b", "c"))


def test_files_are_read_one_after_the_other(table):
    one, two = table("a,b\n1,x\n2,y\n", "1.csv"), table("b,a\nz,3\n", "2.csv")
    found = csv.open((str(one), str(two)))
    assert rows_of(found) == {"a": [1.0, 2.0, 3.0], "b": ["x", "y", "z"]}


def test_files_of_another_shape_are_refused(table):
    one, two = table("a,b\n1,x\n2,y\n", "1.csv"), table("a,c\n3,z\n", "2.csv")
    with pytest.raises(DataError, match=r"2\.csv has other columns than 1\.csv \(b, c\)"):
        csv.open((str(one), str(two)))


def test_a_separator_of_two_characters_is_refused(table):
    assert "one character" in refused(table("a,b\n1,2\n"), separator="||")


def test_polars_and_engram_read_the_same_pollution(real_data):
    path = real_data("pollution.csv")
    expected = pl.read_csv(path, null_values="NA", infer_schema_length=None)
    found = opened(path)
    for column in found.columns:
        values = found.parts["all"].column(column.name)
        if values.dtype == object:
            assert values.tolist() == expected[column.name].to_list()
        else:
            np.testing.assert_array_equal(values, expected[column.name].cast(pl.Float64).fill_null(math.nan))


def test_adult_is_read_as_its_readme_says(real_data):
    found = opened(real_data("adult-train.csv"))
    assert len(found.parts["all"]) == 32_561
    gaps = {c.name: c.missing for c in found.columns if c.missing}
    assert gaps == {"column_2": 1836, "column_7": 1843, "column_14": 583}  # as the donors' adult.names counts them


WORDS = st.text(st.characters(exclude_categories=("Cs", "Cc", "Zs", "Zl", "Zp", "Cf")), max_size=8)
TEXTS = st.builds("{}{}{}".format, WORDS, st.sampled_from([",", '"', "\n", ";", ", ", '""', "\r\n", " "]), WORDS)
TABLES = st.lists(st.tuples(TEXTS, WORDS, st.floats(allow_nan=False, allow_infinity=False)), min_size=1, max_size=12)


def fields_of(content):
    """The fields as csv.open reads them before their kinds are found."""
    path = Path(content)
    return {name: field.series.to_list() for name, field in opened(path).parts["all"].fields.items()}


@settings(max_examples=150, deadline=None)
@given(rows=TABLES, quoting=st.sampled_from([standard.QUOTE_MINIMAL, standard.QUOTE_ALL]))
def test_what_the_standard_library_writes_is_read_back(tmp_path_factory, rows, quoting):
    text = io.StringIO(newline="")
    writer = standard.writer(text, quoting=quoting)
    writer.writerow(["text", "word", "number"])
    writer.writerows(rows)
    path = tmp_path_factory.getbasetemp() / "standard.csv"
    path.write_text(text.getvalue(), encoding="utf-8", newline="")
    found = fields_of(path)
    assert [field.strip() for field in found["text"]] == [row[0].strip() for row in rows]
    assert found["word"] == [row[1] for row in rows]
    assert [float(number) for number in found["number"]] == [row[2] for row in rows]


@settings(max_examples=150, deadline=None)
@given(rows=TABLES, separator=st.sampled_from([",", ";", "|", "\t"]))
def test_what_polars_writes_is_read_back(tmp_path_factory, rows, separator):
    frame = pl.DataFrame(rows, schema=["text", "word", "number"], orient="row")
    path = tmp_path_factory.getbasetemp() / "polars.csv"
    frame.write_csv(path, separator=separator)
    found = csv.open((str(path),), (), csv.Options(separator=separator)).parts["all"].fields
    assert [field.strip() for field in found["text"].series] == [row[0].strip() for row in rows]
    assert found["word"].series.to_list() == [row[1] for row in rows]
    assert [float(number) for number in found["number"].series] == [row[2] for row in rows]
