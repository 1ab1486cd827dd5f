"""What a store costs that many use at once, or that has grown large."""

import contextlib
import hashlib
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median

import numpy as np
from _measured import line, ratio, turns
from _networks import Network, small
from _speed import emptied, fresh
from sqlalchemy import insert

from engram.lifecycle.alive import course
from engram.records import Version
from engram.store import manifests, objects, tables
from engram.store.objects import Blob
from engram.store.store import Store
from engram.store.store import open as open_store
from engram.store.weights import contents

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

Figures = dict[str, float]
MANY = 100_000
NETWORKS = 100
KEPT = datetime(2026, 1, 1, tzinfo=UTC)


def catalog(folder: Path, *, huge: bool) -> Figures:  # noqa: ARG001 - all sections are called alike
    """Versions per second that tiny networks are kept at."""
    print("\nversions kept per second, every one durable, all writers under one name")
    figures = {}
    with _databases() as databases:
        for kind, url in databases.items():
            for writers in (1, 8):
                name = f"versions_per_second_{kind}_{writers}"
                place = emptied(folder / f"{kind}-{writers}")
                figures[name] = _throughput(place, url(f"bench{writers}"), writers)
                line(f"{kind}, {writers} writing", f"{figures[name]:.0f} a second")
    return figures


def lists(folder: Path, *, huge: bool) -> Figures:  # noqa: ARG001 - likewise
    """What ``engram list`` and ``engram log`` wait for in a store of 100,000 versions."""
    print(f"\n{MANY:,} versions of {NETWORKS} networks, {NETWORKS} aliases")
    figures: Figures = {}
    with _databases() as databases:
        for kind, url in databases.items():
            store = open_store(emptied(folder / f"many-{kind}"), who="bench", catalog=url("many"))
            _crowd(store)
            assert store.counted() == MANY
            assert [v.number for v in course("network-7", store, 50).versions] == list(range(MANY // NETWORKS, 950, -1))
            works: dict[str, Callable[[], object]] = {
                "list": lambda store=store: (store.newest(), store.aliases()),
                "log NAME": lambda store=store: course("network-7", store, 50),
                "log": lambda store=store: course("", store, 50),
            }
            taken = turns(works, rounds=15)
            for name, one in taken.items():
                line(f"{kind}, {name}", f"{median(one.wall) * 1e3:.1f} ms")
                figure = f"{name.split()[0]}_ms"
                figures[figure] = max(figures.get(figure, 0.0), median(one.wall) * 1e3)
    return figures


def care(folder: Path, *, huge: bool) -> Figures:  # noqa: ARG001 - likewise
    """How fast a store is verified and swept."""
    store, network = fresh(folder), small()[1]
    for number in range(5):
        network.change(number)
        store.keep("network", network.model)
    held = sum(size for _, size in store._place.list())  # noqa: SLF001 - what is measured
    blobs = list((store.folder / "blobs" / "sha256").iterdir())
    sides = {
        "verify": lambda: store.verify() == [] or _fail("verify found damage in a sound store"),
        "hashlib": lambda: [hashlib.sha256(blob.read_bytes()).digest() for blob in blobs],
    }
    taken = turns(sides, rounds=5)
    speed = held / 1e9 / median(taken["verify"].wall)
    print(f"\ncare of a store of {held / 1e9:.1f} GB")
    line("verify", f"{speed:.2f} GB/s, {held / 1e9 / median(taken['verify'].cpu):.2f} GB per CPU-second")
    line("hashlib, one blob after the other", f"{held / 1e9 / median(taken['hashlib'].wall):.2f} GB/s")
    loose = [np.random.default_rng(number).bytes(1_000_000) for number in range(500)]
    for content in loose:
        store._place.put(objects.digest([content]), [memoryview(content)])  # noqa: SLF001 - nobody reaches it
    began = time.perf_counter()
    freed = sum(store.sweep(grace=timedelta(0)).freed.values())
    swept = freed / 1e9 / (time.perf_counter() - began)
    assert freed == sum(map(len, loose)), "sweep freed something else"
    assert store.verify() == []
    line("sweep, 500 loose blobs of 1 MB", f"{swept:.2f} GB/s")
    return {"verify_gb_per_s": speed, "verify_vs_hashlib": ratio(taken["verify"].cpu, taken["hashlib"].cpu)}


def growth(folder: Path, *, huge: bool) -> Figures:  # noqa: ARG001 - likewise
    """What the next version costs once there are 10,000, over what it costs when there are 10."""
    stores = {}
    for count in (10, 10_000):
        stores[count] = open_store(emptied(folder / f"grown-{count}"), who="bench")
        _fill(stores[count], count)
        assert stores[count].verify() == []
    draw = np.random.default_rng(0)

    def keep(store: Store) -> Version:
        return store.keep("network", Network("", {"a": draw.standard_normal(256, np.float32)}).model)

    taken = turns({str(count): lambda store=store: keep(store) for count, store in stores.items()}, rounds=40)
    print("\nthe next version, in a store of")
    for count, one in taken.items():
        line(f"{int(count):,} versions", f"{median(one.wall) * 1e3:.1f} ms, {median(one.cpu) * 1e3:.1f} ms CPU")
    return {"growth_10_to_10000": ratio(taken["10000"].wall, taken["10"].wall)}


@contextlib.contextmanager
def _databases() -> Iterator[dict[str, Callable[[str], str]]]:
    """Kind → the URL of a fresh catalog of it; PostgreSQL only where its programs are installed."""
    from servers.postgresql import postgresql
    from servers.processes import program

    with contextlib.ExitStack() as stack:
        found: dict[str, Callable[[str], str]] = {"sqlite": lambda _name: ""}
        try:
            program("initdb")
        except BaseException as missing:  # noqa: BLE001 - as tests say it: skipped, whose kind is no Exception
            line("postgresql", f"left out: {missing}")
        else:
            found["postgresql"] = stack.enter_context(postgresql()).database
        yield found


def _throughput(place: Path, url: str, writers: int) -> float:
    count = 160 // writers
    command = [sys.executable, str(Path(__file__).with_name("_writer.py")), str(place), url, str(count)]
    with contextlib.ExitStack() as stack:
        started = [
            stack.enter_context(
                subprocess.Popen([*command, str(seed)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            )
            for seed in range(writers)
        ]
        for process in started:
            assert process.stdout
            assert process.stdout.readline() == "ready\n"
        began = time.perf_counter()
        for process in started:
            assert process.stdin
            process.stdin.write("go\n")
            process.stdin.flush()
        for process in started:
            assert process.stdout
            assert process.stdout.readline() == "done\n"
        seconds = time.perf_counter() - began
    store = open_store(place, who="bench", catalog=url)
    assert [v.number for v in store.versions("network")] == list(range(writers * (count + 1), 0, -1))
    return writers * count / seconds


def _crowd(store: Store) -> None:
    """Rows as ``keep`` writes them, without the blobs behind them, which a list does not look at."""
    store.keep("first", Network("", {}).model)
    each = MANY // NETWORKS
    rows = [_row(f"network-{n}", number) for n in range(NETWORKS) for number in range(1, each + 1)][: MANY - 1]
    moves = [
        {"name": f"network-{n}", "alias": "prod", "moved": KEPT, "who": "ada", "why": "", "origin": "", "kind": "move"}
        | {"target": rows[n * each]["digest"]}
        for n in range(NETWORKS)
    ]
    for start in range(0, len(rows), 10_000):
        store._catalog.write(  # noqa: SLF001 - there is no other way to have so many
            lambda connection, start=start: connection.execute(insert(tables.versions), rows[start : start + 10_000])
        )
    names = [{"name": f"network-{n}", "last": each} for n in range(NETWORKS)]
    store._catalog.write(lambda connection: connection.execute(insert(tables.names), names))  # noqa: SLF001 - likewise
    store._catalog.write(lambda connection: connection.execute(insert(tables.moves), moves))  # noqa: SLF001 - likewise


def _row(name: str, number: int) -> dict[str, object]:
    kept = KEPT + timedelta(minutes=number)
    scores = {"accuracy": 0.9, "log_loss": 0.3, "f1": 0.88}
    facts = {
        "parameters": 25_557_032,
        "run": f"{name}-{number}",
        "metric": "accuracy",
        "environment": {"torch": "2.13"},
    }
    digest = f"sha256:{hashlib.sha256(f'{name}:{number}'.encode()).hexdigest()}"
    made = {"digest": digest, "name": name, "number": number, "kept": kept, "holds": ["graph", "weights", "report"]}
    return made | {"metrics": scores, "data": "", "parents": [], "size": 102_000_000, "manifest": 9_000, "facts": facts}


def _fill(store: Store, count: int) -> None:
    """So many whole versions, written without waiting for the disk, which would take an hour."""
    store.keep("network", Network("", {}).model)
    rows: list[dict[str, object]] = []
    links: list[dict[str, str]] = []
    for number in range(2, count + 1):
        files = contents.pack_weights({"a": np.random.default_rng(number).standard_normal(256, np.float32)})
        blobs = {path: objects.blob(content) for path, content in files.items()}
        for path, content in files.items():
            _put(store, content if isinstance(content, bytes) else b"".join(content.chunks()), blobs[path])
        config = manifests.config({"descriptor": {"version": str(number)}}, list(blobs.values()))
        content = manifests.build(blobs, objects.blob(config), {"org.opencontainers.image.version": str(number)})
        whole = objects.blob(content)
        _put(store, config, objects.blob(config))
        _put(store, content, whole)
        held = {whole.digest, objects.blob(config).digest, *(blob.digest for blob in blobs.values())}
        rows.append(_row("network", number) | {"digest": whole.digest, "manifest": whole.size})
        links += [{"holder": whole.digest, "blob": digest} for digest in held]
    for table, made in ((tables.versions, rows), (tables.links, links)):
        for start in range(0, len(made), 10_000):
            store._catalog.write(  # noqa: SLF001 - as above
                lambda connection, table=table, made=made, start=start: connection.execute(
                    insert(table), made[start : start + 10_000]
                )
            )
    store._catalog.write(  # noqa: SLF001 - as above
        lambda connection: connection.execute(tables.names.update().values(last=count))
    )


def _put(store: Store, content: bytes, blob: Blob) -> None:
    (store.folder / "blobs" / "sha256" / blob.digest.removeprefix("sha256:")).write_bytes(content)


def _fail(why: str) -> None:
    raise AssertionError(why)
