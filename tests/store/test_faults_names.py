"""Hostile names: each is refused with a reason, or kept and found again under itself; nothing goes elsewhere."""

import itertools
import os
import unicodedata
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest

from engram.errors import EngramError, UsageError
from engram.records import Run
from engram.store.store import Store
from engram.store.store import open as open_store
from faults.works import model

MOMENT = datetime(2026, 5, 1, tzinfo=UTC)
TRAVERSAL = [
    "..", ".", "../income", "../../etc/passwd", "a/../../b", "/etc/passwd", "//server/share", "..\\..\\windows",
    "C:\\windows\\system32", "C:income", "\\\\server\\share", "~", "~root", "~/x", "./income", "income/", "/",
    "\\", "income/..", "%2e%2e%2f", "..%2f..%2fetc", "%2e%2e/%2e%2e", "%00", "..;/x", "....//....//x",
    "file:///etc/passwd", "income/../income", ".ssh", ".git", "..income", "-rf", "--store", "-", "--",
    "income:7/../8",
]  # fmt: skip
CONTROL = [
    "\0", "income\0", "\0income", "inc\0ome", "income\n", "\nincome", "inc\nome", "income\r\n", "inc\tome",
    "income\x1b[31m", "income\x7f", "income\x08", "\x85", "income\u2028", "income\u2029x", "\ufeffincome",
    "income\u200b", "inc\u00adome", "income\u202egpj", "\u2066income\u2069", "\ud800", "income\udfff",
    "\U000e0041income",
]  # fmt: skip
ALIKE = [
    "іncome", "inсome", "ｉｎｃｏｍｅ", "ınc", "İncome", "Income", "INCOME", "ſtraße", "straße", "ß", "Å", "Å",
    "é", "e\u0301", "caf\u00e9", "cafe\u0301", "ﬁne", "①", "²", "١٢٣", "½", "模型", "モデル", "модель", "نموذج",
    "🧠", "a\u0300", "\u1e9b\u0323", "K", "µ", "a·b", "a‐b", "a–b", "a．b", "a／b", "a＼b", "a：b", "a＠b",
    "ａ",
]  # fmt: skip
RESERVED = [
    "con", "prn", "aux", "nul", "com1", "lpt9", "con.txt", "sha256", "latest", "index.json", "oci-layout",
    "catalog.db", "blobs", "incoming", "history", "deltas", "none", "null", "true", "nan", "0", "00", "1e9",
    "0x10", "-0", "1.", "a.", "a..b", "a-", "a_", "__init__", "constructor", "__proto__", "select", "versions",
    "names", "sqlite_master", "gate-000001", "catalog.db-wal", "a.json", "sha256-", "sha256.x", "undefined",
    "inf", "con.", "a...", "a--b", "a__b", "9", "z" * 64,
]  # fmt: skip
INJECTED = [
    "'; DROP TABLE versions; --", "' OR '1'='1", '" OR ""="', "income'--", "x') UNION SELECT * FROM moves--",
    "%", "_", "%%", "inc%", "inc_me%", "income;", "income\\'", "`id`", "$(id)", "${HOME}", "$HOME",
    "; rm -rf /", "| cat /etc/passwd", "&& id", "> /tmp/x", "* ", "*", "?", "[a-z]", "{a,b}", "!x", "#x",
    "{{7*7}}", "{0}", "%s", "%n", "%(name)s", "<script>", "<b>", "&amp;", "'", '"', "`", "=1+1", "@SUM(A1)",
    "income@prod", "income:7", "sha256:" + "0" * 64, "@", ":", "a@", "a:", "@a", ":a", "a b", " a", "a ", "a,b",
]  # fmt: skip
LONG = [
    "",
    " ",
    "a" * 128,
    "a" * 129,
    "a" * 255,
    "a" * 4096,
    "a" * 1_000_000,
    "." * 300,
    "🧠" * 40,
    "a/" * 2000,
    "é" * 128,
]
NAMES = list(dict.fromkeys([*TRAVERSAL, *CONTROL, *ALIKE, *RESERVED, *INJECTED, *LONG]))
PLACES = [
    "://", "s3://", "gs://", "az://", "nowhere://bucket/x", "http://169.254.169.254/latest", "file:///etc",
    "S3://bucket", "\0", "a\0b", "javascript://x", "../engram.store.places.folder://x", "_contract://x",
    "__init__://x", "os://x", "s3:///key", "://x",
]  # fmt: skip


def everything(folder: Path) -> set[str]:
    """All names below a folder."""
    return {os.fspath(path.relative_to(folder)) for path in folder.rglob("*")}


def is_plain(name: str) -> bool:
    """What a name may be, said once more, in other words."""
    allowed = set("abcdefghijklmnopqrstuvwxyz0123456789._-")
    return 0 < len(name) <= 128 and set(name) <= allowed and name[0] not in "._-" and name != "sha256"


@pytest.fixture
def outside(tmp_path) -> Path:
    """The folder that the store is in, with a neighbor."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "income").write_text("not yours")
    return tmp_path / "outside"


@pytest.fixture
def store(outside) -> Store:
    made = open_store(outside / "a" / "b" / "engrams", who="ada")
    made.keep("income", model(1))
    return made


def test_there_are_two_hundred_hostile_names():
    assert len(NAMES) >= 200
    assert any(
        unicodedata.normalize("NFC", a) == unicodedata.normalize("NFC", b) for a, b in itertools.combinations(NAMES, 2)
    )


def tried(store: Store, use, name: str) -> bool:
    """Whether a name was taken; if not, why it was not is one sentence that names it."""
    if is_plain(name):
        use(store, name)
        return True
    with pytest.raises(UsageError) as refused:
        use(store, name)
    sentence = str(refused.value)
    assert len(sentence) < 1000
    assert "\n" not in sentence
    assert sentence.isprintable()
    return False


def contained(store: Store, outside: Path, before: set[str]) -> None:
    """Nothing was made beside the store, and nothing within it but blobs, documents and the catalog."""
    inside = os.fspath(store.folder.relative_to(outside))
    assert {name for name in everything(outside) - before if not name.startswith(f"{inside}/")} == set()
    assert (outside / "income").read_text() == "not yours"
    assert store.verify() == []


def test_a_hostile_name_of_a_network_is_refused_or_kept_under_itself(store, outside):
    before, taken = everything(outside), []
    for name in NAMES:
        if tried(store, lambda s, n: s.keep(n, model(2)), name) and name not in taken:
            taken.append(name)
            assert [version.name for version in store.versions(name)] == [name]
            assert store.version(name).name == name
            assert store.load(f"{name}:1", verify=True).weights["bias"][0] == 2
    assert store.names() == sorted(["income", *taken])
    contained(store, outside, before)


def test_a_hostile_name_of_an_alias_is_refused_or_kept_under_itself(store, outside):
    before, taken = everything(outside), set()
    for name in NAMES:
        if tried(store, lambda s, n: s.alias(f"income@{n}", "income:1", why=n), name):
            taken.add(f"income@{name}")
            assert store.version(f"income@{name}").number == 1
            assert [move.alias for move in store.history(f"income@{name}")] == [name]
    assert store.aliases("income").keys() == taken
    contained(store, outside, before)


def test_a_hostile_name_of_a_run_is_refused_or_kept_under_itself(store, outside):
    before, taken = everything(outside), set()
    for name in NAMES:
        if tried(store, lambda s, n: s.begin(Run(n, "income", MOMENT, "running", "", "", "/home/ada")), name):
            taken.add(name)
            assert store.run(name).id == name
    assert {run.id for run in store.runs()} == taken
    contained(store, outside, before)


def test_a_hostile_reference_is_an_error_of_ours(store, outside):
    before = everything(outside)
    for name in NAMES:
        for reference in (
            name,
            f"{name}:1",
            f"income@{name}",
            f"income:{name}",
            f"income@prod@{name}",
            f"sha256:{name}",
        ):
            with suppress(EngramError):
                assert store.version(reference).name == "income"
    contained(store, outside, before)


def test_a_reason_may_hold_anything_and_comes_back_as_it_was(store, outside):
    before = everything(outside)
    for why in NAMES[::4]:
        try:
            why.encode()
        except UnicodeEncodeError:
            with pytest.raises(UsageError):
                store.alias("income@prod", "income:1", why=why)
            continue
        store.alias("income@prod", "income:1", why=why)
        assert store.history("income@prod")[0].why == why
    contained(store, outside, before)


@pytest.mark.parametrize("place", PLACES)
def test_a_hostile_place_is_an_error_of_ours(place, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(EngramError) as refused:
        open_store(place, who="ada").keep("income", model(1))
    assert "\n" not in str(refused.value)
    assert everything(tmp_path) == set()


@pytest.mark.parametrize(
    "name", ["a b", "a;b", "$(id)", "a'b", "é", "e\u0301", "🧠", "a\nb", "%2e%2e", "-rf", "a" * 200]
)
def test_a_folder_may_have_any_name_that_a_folder_can_have(name, tmp_path):
    (tmp_path / "within").mkdir()
    made = open_store(tmp_path / "within" / name, who="ada")
    version = made.keep("income", model(1))
    assert [path.name for path in (tmp_path / "within").iterdir()] == [name]
    found = open_store(tmp_path / "within" / name, who="bob").load("income", verify=True)
    assert found.weights["bias"][0] == 1
    assert made.version("income") == version
