"""A controller that starts before its database and Redis waits for them, within its start-up time."""

import json
import logging
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy
from servers import PostgresServer
from stack import wait_until

from paploss.cli.failures import INTERRUPTED
from paploss.controller.api.server import await_servers, bind
from paploss.controller.settings import Settings

PATIENT_SECONDS = 240.0


def test_a_database_that_comes_later_is_waited_for(
    postgres_server: PostgresServer, redis_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    url = postgres_server.create_database()
    postgres_server.drop_database(url)

    class Comes(logging.Handler):
        """Makes the database as soon as it is missed."""

        def emit(self, record: logging.LogRecord) -> None:  # noqa: ARG002
            engine = sqlalchemy.create_engine(
                sqlalchemy.make_url(url).set(database="postgres"), isolation_level="AUTOCOMMIT"
            )
            with engine.connect() as connection:
                connection.exec_driver_sql(f'CREATE DATABASE "{sqlalchemy.make_url(url).database}"')
            engine.dispose()

    logger, comes = logging.getLogger("paploss.controller.api.server"), Comes()
    logger.addHandler(comes)
    try:
        await_servers(
            Settings(state_dir=tmp_path, database_url=url, redis_url=redis_url, start_seconds=PATIENT_SECONDS)
        )
    finally:
        logger.removeHandler(comes)
        postgres_server.drop_database(url)
    (line,) = caplog.messages
    assert line.startswith("waiting for the database: ")
    assert "does not exist" in line


def test_what_does_not_come_is_left_to_who_connects(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with bind("127.0.0.1", 0) as closed:
        port = closed.getsockname()[1]
    settings = Settings(state_dir=tmp_path, redis_url=f"redis://127.0.0.1:{port}/0", start_seconds=0.1)
    await_servers(settings)
    assert "waiting for Redis" in caplog.text
    caplog.clear()
    await_servers(settings.model_copy(update={"start_seconds": 0.0}))
    assert not caplog.messages


@pytest.mark.slow
def test_a_controller_that_waits_says_so_once_in_its_format_and_ends_when_it_is_told_to(tmp_path: Path) -> None:
    log = tmp_path / "log"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PAPLOSS_")} | {
        "PAPLOSS_START_SECONDS": "600",
        "PAPLOSS_LOG_FORMAT": "json",
        "PAPLOSS_STATE_DIR": str(tmp_path),
        "PAPLOSS_DATABASE_URL": "postgresql://paploss:secret@name.invalid/paploss",
    }
    with log.open("wb") as file:
        waiting = subprocess.Popen(
            [sys.executable, "-m", "paploss.cli", "serve"], env=environment, stdout=file, stderr=file
        )
    try:
        wait_until(lambda: "waiting for" in log.read_text(), "the controller to wait")
        waiting.send_signal(signal.SIGTERM)
        assert waiting.wait(60) == INTERRUPTED
    finally:
        waiting.kill()
        waiting.wait()
    (line,) = map(json.loads, log.read_text().splitlines())
    assert line["message"].startswith("waiting for the database: ")
    assert "secret" not in line["message"]
