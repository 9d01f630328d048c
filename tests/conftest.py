"""Fixtures that several packages' tests share: one server of each kind for the session, a clean part of it per test."""

import gc
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import hypothesis
import pytest
import redis
from charts import ROOT
from clusters import Namespace, NoClusterError, Release, find_cluster
from controllers import PlayedWorker, RunningController
from servers import PostgresServer, RedisServer, serving

from paploss.client import Client
from paploss.controller.store import schema
from paploss.controller.store.database import Database

VERSION_0_1_0 = "9d567719439a09f2ec56d4a25f74789435a7d6e3"

if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # each core has a process of its own

# A shell ignores SIGINT for what it starts in the background, as CI may be, and children inherit that: some tests
# interrupt programs the way Ctrl-C does.
signal.signal(signal.SIGINT, signal.default_int_handler)

# The same examples on every run, however long a busy machine takes for one.
hypothesis.settings.register_profile("repeatable", derandomize=True, database=None, deadline=None)
hypothesis.settings.load_profile("repeatable")

gc.disable()  # while everything is imported


def pytest_collection_finish() -> None:
    """What was imported stays: each look for garbage would go through all of it, which takes the time of some tests.
    And looks are seldom: after 700 objects, Python's default, they take a tenth of the time of tests that ask a server.
    """
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
    gc.enable()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A running PostgreSQL."""
    yield from serving(PostgresServer)


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """A running redis-server."""
    yield from serving(RedisServer)


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> Iterator[str]:
    """SQLAlchemy URL of an empty PostgreSQL database."""
    url = postgres_server.create_database()
    yield url
    postgres_server.drop_database(url)


@pytest.fixture
def sqlite_url(sqlite_template: Path, tmp_path: Path) -> str:
    """SQLAlchemy URL of a SQLite file with this program's tables."""
    shutil.copy(sqlite_template, tmp_path / "test.db")
    return f"sqlite:///{tmp_path / 'test.db'}"


@pytest.fixture
def redis_url(redis_server: RedisServer) -> str:
    """URL of an empty Redis."""
    with redis.Redis.from_url(redis_server.url) as client:
        client.flushall()
    return redis_server.url


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """SQLAlchemy URL of an empty database; the test runs once for each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'empty.db'}"
    return str(request.getfixturevalue("postgres_url"))


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file with this program's tables, to be copied."""
    path = tmp_path_factory.mktemp("template") / "template.db"
    _upgrade(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def postgres_template(postgres_server: PostgresServer) -> str:
    """URL of a PostgreSQL database with this program's tables, to be copied."""
    url = postgres_server.create_database()
    _upgrade(url)
    return url


def _upgrade(url: str) -> None:
    database = Database(url)
    schema.upgrade(database)
    database.close()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test with a `database` runs once for each kind, or for those that the nearest marker `databases` names."""
    if "database" in metafunc.fixturenames:
        marker = metafunc.definition.get_closest_marker("databases")
        metafunc.parametrize("database", marker.args if marker else ("sqlite", "postgresql"), indirect=True)


@pytest.fixture
def database(request: pytest.FixtureRequest) -> Iterator[Database]:
    """A database with this program's tables."""
    if request.param == "sqlite":
        opened = Database(request.getfixturevalue("sqlite_url"))
        yield opened
        opened.close()
    else:
        server: PostgresServer = request.getfixturevalue("postgres_server")
        opened = Database(server.create_database(request.getfixturevalue("postgres_template")))
        yield opened
        opened.close()
        server.drop_database(opened.url.render_as_string())


@pytest.fixture(scope="session")
def version_0_1_0(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of version 0.1.0, from its commit."""
    folder = tmp_path_factory.mktemp("version-0.1.0")
    archive = subprocess.run(["git", "archive", VERSION_0_1_0], cwd=ROOT, capture_output=True, check=False)
    if archive.returncode != 0:
        pytest.skip(f"this checkout has no commit {VERSION_0_1_0}: {archive.stderr.decode().strip()}")
    subprocess.run(["tar", "--extract", "--directory", str(folder)], input=archive.stdout, check=True)
    return folder


@pytest.fixture(scope="session")
def kubeconfig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Of a Kubernetes cluster with a node that offers two GPUs."""
    try:
        with find_cluster(tmp_path_factory.mktemp("cluster")) as found:
            yield found
    except NoClusterError as error:
        pytest.skip(str(error))


@pytest.fixture
def namespace(kubeconfig: Path) -> Iterator[Namespace]:
    """An empty namespace of a cluster."""
    made = Namespace(kubeconfig)
    yield made
    made.close()


@pytest.fixture
def release(namespace: Namespace, tmp_path: Path, redis_url: str) -> Iterator[Release]:
    """The chart in a namespace of a cluster, not installed yet."""
    made = Release(namespace, tmp_path, redis_url)
    yield made
    made.close()


@pytest.fixture
def controller(sqlite_url: str, redis_url: str, tmp_path: Path) -> Iterator[RunningController]:
    """A controller on SQLite."""
    with RunningController(sqlite_url, redis_url, tmp_path) as running:
        yield running


@pytest.fixture
def http(controller: RunningController) -> Iterator[httpx.Client]:
    """Plain HTTP with the key of a user."""
    with controller.http("user") as client:
        yield client


@pytest.fixture
def client(controller: RunningController) -> Iterator[Client]:
    """The project's own client with the key of a user."""
    with controller.client() as opened:
        yield opened


@pytest.fixture
def worker(controller: RunningController) -> Iterator[PlayedWorker]:
    """A worker that is played over HTTP."""
    with controller.http("worker") as client:
        yield PlayedWorker(client)
