"""Objects of a bucket are read as files are, with the same digest, by every source that reads files."""

import io

import obstore
import polars as pl
import pytest
from obstore.store import from_url

from engram.data import _buckets
from engram.data._describe import look
from engram.errors import DataError, UsageError


@pytest.fixture
def filled(bucket):
    url = bucket()
    store = from_url(url, client_options={"allow_http": True})
    for year in (2023, 2024):
        file = io.BytesIO()
        pl.DataFrame({"n": [year % 7, year % 5], "w": ["a", "b"]}).write_parquet(file)
        obstore.put(store, f"sales/year={year}/part-0.parquet", file.getvalue())
    obstore.put(store, "t.csv", b"a,b\n1,x\n2,y\n")
    return url


def test_an_object_a_folder_and_a_pattern_are_read(filled):
    assert look(f"{filled}/t.csv").parts["all"].column("a").tolist() == [1, 2]
    assert look(f"{filled}/sales").parts["all"].column("year").tolist() == [2023, 2023, 2024, 2024]
    assert len(look(f"{filled}/sales/year=*/*.parquet").parts["all"]) == 4
    assert len(look(f"{filled}/sales/year=2024/part-0.parquet").parts["all"]) == 2


def test_what_is_not_there_or_not_allowed_is_a_sentence(filled, monkeypatch):
    with pytest.raises(DataError, match="no such object"):
        look(f"{filled}/nothing.csv")
    with pytest.raises(DataError, match="no such bucket"):
        look("s3://no-such-bucket-here/x.csv")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setitem(_buckets._RETRY, "max_retries", 0)
    with pytest.raises(DataError, match="cannot be reached"):
        look(f"{filled}/t.csv")


@pytest.mark.parametrize("url", ["s3://", "s3://bucket", "s3://bucket/", "s3://bucket/a/../b"])
def test_an_address_without_an_object_is_refused(url):
    with pytest.raises(UsageError, match="names no object"):
        _buckets.fetched(url)
