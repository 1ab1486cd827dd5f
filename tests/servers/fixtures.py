"""The servers as fixtures: each is started by the first test that asks and serves the whole session."""

from collections.abc import Callable, Iterator, Sequence

import pytest

from servers import nats, objects, postgresql, web
from servers.proxy import Proxy


@pytest.fixture(scope="session")
def moto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[objects.Server]:
    """An S3 server that keeps its promises."""
    with objects.moto(tmp_path_factory.mktemp("moto")) as server:
        yield server


@pytest.fixture(scope="session")
def s3rver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[objects.Server]:
    """An S3 server that ignores conditions."""
    with objects.s3rver(tmp_path_factory.mktemp("s3rver")) as server:
        yield server


@pytest.fixture(scope="session")
def azurite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[objects.Server]:
    """Azure's own emulator."""
    with objects.azurite(tmp_path_factory.mktemp("azurite")) as server:
        yield server


@pytest.fixture(scope="session")
def google(moto: objects.Server) -> Iterator[objects.Server]:
    """Google's interface, with moto behind it."""
    with objects.google(moto) as server:
        yield server


@pytest.fixture
def bucket(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """The URL of a fresh bucket of a server by its fixture's name, with the environment set up to reach it."""

    def make(name: str = "moto") -> str:
        server: objects.Server = request.getfixturevalue(name)
        for variable, value in server.environment().items():
            monkeypatch.setenv(variable, value)
        return f"{server.scheme}://{server.bucket()}"

    return make


@pytest.fixture
def proxy(moto: objects.Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """A proxy before moto that misbehaves on request; the environment leads clients through it."""
    with Proxy(moto.address) as between:
        for variable, value in moto.environment(between.url).items():
            monkeypatch.setenv(variable, value)
        yield between


@pytest.fixture(scope="session")
def postgres() -> Iterator[postgresql.Server]:
    """A PostgreSQL server for the session; ``postgres.database(name)`` is an empty database of it."""
    with postgresql.postgresql() as server:
        yield server


@pytest.fixture(name="web")
def web_fixture() -> Iterator[Callable[[Callable[[web.Asked], object]], str]]:
    """A web service that answers by a function of the test; gives its address."""
    with web.serving() as serve:
        yield serve


@pytest.fixture(name="nats", scope="session")
def nats_fixture(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[Sequence[object]], str]]:
    """A NATS server; gives the address of a stream that holds the messages given."""
    with nats.serving(tmp_path_factory.mktemp("nats")) as serve:
        yield serve
