"""Dumping in a process of its own."""

import io
import tempfile
from pathlib import Path

import pytest
from scenarios import add_search
from servers import free_port

from paploss.controller.api import dumping
from paploss.controller.api.problems import ProblemError
from paploss.controller.settings import Settings
from paploss.controller.store import dumps
from paploss.controller.store.database import Database


def settings_for(database_url: str, redis_url: str, state_dir: Path) -> Settings:
    return Settings(database_url=database_url, redis_url=redis_url, state_dir=state_dir)


@pytest.mark.databases("postgresql")
def test_the_file_is_what_the_store_writes(database: Database, redis_url: str, tmp_path: Path) -> None:
    search, expected = add_search(database), io.BytesIO()
    dumps.dump(database, search.id, expected)
    settings = settings_for(database.url.render_as_string(hide_password=False), redis_url, tmp_path)
    with tempfile.TemporaryFile() as file:
        dumping.dump(settings, search.id, file)
        file.seek(0)
        assert file.read() == expected.getvalue()
    with tempfile.TemporaryFile() as file, pytest.raises(ProblemError) as refused:
        dumping.dump(settings, "unknown", file)
    assert refused.value.status == 404


def test_without_a_database_it_is_to_be_tried_again(redis_url: str, tmp_path: Path) -> None:
    settings = settings_for(f"postgresql://nobody@127.0.0.1:{free_port()}/none", redis_url, tmp_path)
    with tempfile.TemporaryFile() as file, pytest.raises(ProblemError) as refused:
        dumping.dump(settings, "unknown", file)
    assert (refused.value.status, refused.value.headers) == (503, {"Retry-After": "5"})
