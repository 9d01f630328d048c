"""Loading in a process of its own: it has limits, its refusals are the server's, and it ends with its server."""

import gzip
import io
import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import psutil
import pytest
from scenarios import add_search
from servers import free_port
from stack import wait_until

from paploss.controller.api import loading
from paploss.controller.api.problems import ProblemError
from paploss.controller.settings import Settings
from paploss.controller.store import dumps, experiments
from paploss.controller.store.database import Database

SPLIT = {"annotations": "a.json", "images": "i"}
DATASET = {"name": "mine", "root": "/data/mine", "train": SPLIT, "val": SPLIT}
SERVER = """
import os, sys
from paploss.controller.api import loading
from paploss.controller.settings import Settings
loading.load(Settings.model_validate_json(sys.argv[1]), os.fdopen(int(sys.argv[2]), "rb"))
"""


@pytest.fixture
def settings(database: Database, redis_url: str, tmp_path: Path) -> Settings:
    return settings_for(database.url.render_as_string(hide_password=False), redis_url, tmp_path)


on_one_database = pytest.mark.databases("sqlite")


def settings_for(database_url: str, redis_url: str, state_dir: Path) -> Settings:
    return Settings(database_url=database_url, redis_url=redis_url, state_dir=state_dir, data_roots=())


def dumped(database: Database) -> tuple[str, bytes]:
    """The id and the file of a search that is no longer there; it names a data set outside the roots."""
    search, file = add_search(database, dataset=DATASET), io.BytesIO()
    with database.write() as session:
        experiments.cancel_experiment(session, search.id)
    dumps.dump(database, search.id, file)
    experiments.delete_experiment(database, search.id)
    return search.id, file.getvalue()


@contextmanager
def on_disk(content: bytes) -> Iterator[IO[bytes]]:
    with tempfile.TemporaryFile() as file:
        file.write(content)
        file.seek(0)
        yield file


def repeated(content: bytes, table: str, times: int, **changes: object) -> bytes:
    """A file with the first row of a table many times."""
    lines = [json.loads(line) for line in gzip.decompress(content).splitlines()]
    line = next(line for line in lines if line.get("table") == table)
    line["row"] |= changes
    return gzip.compress("\n".join(map(json.dumps, [*lines, *[line] * times])).encode(), compresslevel=1)


def refusal(settings: Settings, content: bytes, **limits: int) -> ProblemError:
    with on_disk(content) as file, pytest.raises(ProblemError) as refused:
        loading.load(settings, file, **limits)
    return refused.value


@pytest.mark.databases("postgresql")
def test_what_is_loaded_is_there_and_a_second_time_in_conflict(database: Database, settings: Settings) -> None:
    experiment_id, content = dumped(database)
    with on_disk(content) as file:
        assert loading.load(settings, file) == experiment_id
    with database.read() as session:
        assert experiments.find_experiment(session, experiment_id) is not None
    again = refusal(settings, content)
    assert (again.status, again.detail) == (409, f"there is an experiment {experiment_id} already")


@on_one_database
def test_a_refusal_names_the_field(database: Database, settings: Settings) -> None:
    lines = gzip.decompress(dumped(database)[1]).replace(b'"cancelled"', b'"running"', 1)
    refused = refusal(settings, gzip.compress(lines))
    assert (refused.status, [each.pointer for each in refused.errors]) == (422, ["/dataset/root"])


@pytest.mark.slow
@on_one_database
def test_what_takes_too_much_memory_or_time_is_refused(database: Database, settings: Settings) -> None:
    _, content = dumped(database)
    greedy = refusal(settings, repeated(content, "events", 60, message="x" * 2_000_000), memory_bytes=16 << 20)
    assert (greedy.status, greedy.detail) == (422, "reading the file takes more than 16 MiB of memory")
    slow = refusal(settings, repeated(content, "events", 100_000), processor_seconds=1)
    assert (slow.status, slow.detail) == (422, "reading the file takes more than 1 s of processor time")
    with database.read() as session:
        assert experiments.list_running(session) == []


@pytest.mark.slow
@on_one_database
def test_without_a_database_it_is_to_be_tried_again(database: Database, redis_url: str, tmp_path: Path) -> None:
    _, content = dumped(database)
    settings = settings_for(f"postgresql://nobody@127.0.0.1:{free_port()}/none", redis_url, tmp_path)
    refused = refusal(settings, content)
    assert (refused.status, refused.headers) == (503, {"Retry-After": "5"})


def loaders_of(process: psutil.Process) -> list[psutil.Process]:
    return [child for child in process.children() if "paploss.controller.api.loading" in child.cmdline()]


def test_one_that_is_killed_says_nothing_of_the_file(sqlite_url: str, redis_url: str, tmp_path: Path) -> None:
    reader, writer = os.pipe()  # a file that does not end
    statuses: list[int] = []

    def load() -> None:
        with os.fdopen(reader, "rb") as file:
            try:
                loading.load(settings_for(sqlite_url, redis_url, tmp_path), file)
            except subprocess.CalledProcessError as error:
                statuses.append(error.returncode)

    thread = threading.Thread(target=load)
    thread.start()
    wait_until(lambda: bool(loaders_of(psutil.Process())), "the process")
    loaders_of(psutil.Process())[0].kill()
    thread.join()
    os.close(writer)
    assert statuses == [-9]


@pytest.mark.slow
def test_it_ends_with_its_server_however_that_ends(sqlite_url: str, redis_url: str, tmp_path: Path) -> None:
    reader, writer = os.pipe()  # a file that does not end, even without the server
    told = settings_for(sqlite_url, redis_url, tmp_path).model_dump_json()
    with subprocess.Popen([sys.executable, "-c", SERVER, told, str(reader)], pass_fds=[reader]) as server:
        wait_until(lambda: bool(loaders_of(psutil.Process(server.pid))), "the process")
        (loader,) = loaders_of(psutil.Process(server.pid))
        server.kill()
    wait_until(lambda: not loader.is_running(), "the end of the process")
    os.close(reader)
    os.close(writer)
