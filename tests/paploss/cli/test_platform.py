"""The embedded platform's folder: one holder, private keys, ports that are told apart from busy ones."""

import json
import os
import socket
import stat

import pytest
from sqlalchemy import text

from paploss.cli.address import find_running
from paploss.cli.platform import PlatformError, prepare_database, run_platform
from paploss.client import Client
from paploss.controller.settings import Settings
from paploss.controller.store import schema
from paploss.controller.store.database import Database


def test_no_platform_is_found_in_a_folder_that_nobody_holds(tmp_path):
    assert find_running(tmp_path) is None
    (tmp_path / "lock").touch()
    (tmp_path / "address.json").write_text(json.dumps({"url": "http://127.0.0.1:1", "pid": 1}))
    assert find_running(tmp_path) is None


def test_a_busy_port_is_refused_before_anything_is_started(tmp_path):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with (
            pytest.raises(PlatformError, match=f"--port {port}: Address already in use"),
            run_platform(tmp_path / "state", port, 0),
        ):
            pass
    assert not (tmp_path / "state" / "paploss.db").exists()
    assert not list((tmp_path / "state" / "logs").iterdir())


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").touch()
    with (
        pytest.raises(PlatformError, match=r"--state .*file/state: Not a directory"),
        run_platform(tmp_path / "file" / "state", None, 0),
    ):
        pass


def test_a_folder_of_a_newer_program_is_left_alone(tmp_path):
    database = Database(f"sqlite:///{tmp_path / 'paploss.db'}")
    try:
        schema.upgrade(database)
        with database.write() as session:
            session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    finally:
        database.close()
    with (
        pytest.raises(PlatformError, match=rf"--state {tmp_path}: .* schema 9999 is newer than this program"),
        run_platform(tmp_path, None, 0),
    ):
        pass
    assert not list((tmp_path / "keys").iterdir())


def test_a_running_platform_is_found_and_holds_its_folder_against_a_second_one(tmp_path):
    state = tmp_path / "state"
    with run_platform(state, None, 0) as platform:
        assert find_running(state) == platform.address
        with (
            pytest.raises(PlatformError, match=f"in use by process .*{platform.address.url}"),
            run_platform(state, None, 0),
        ):
            pass
        pids = [child.pid for child in platform.children]
        platform.children[0].terminate()
        platform.children[0].await_end(30)
        assert platform.revive() == ["redis"]
        assert [child.pid for child in platform.children] != pids
        assert stat.S_IMODE((state / "keys" / "admin").stat().st_mode) == 0o600
    assert find_running(state) is None
    assert not any(child.running for child in platform.children)


def test_keys_stay_the_same_and_lost_ones_are_made_anew(tmp_path):
    (tmp_path / "keys").mkdir()
    settings = Settings(state_dir=tmp_path, database_url="")
    key, first_code = prepare_database(settings)
    assert prepare_database(settings)[0] == key
    assert prepare_database(settings)[1] != first_code
    (tmp_path / "keys" / "admin").unlink()
    assert prepare_database(settings)[0] != key


def test_a_folder_may_have_any_name(tmp_path):
    """It holds its own database and finds its own Redis: its name, here longer than a socket's path, is part of both
    addresses.
    """
    state = tmp_path / f"100%25 why? #1 & ü+{'x' * 90}"
    with run_platform(state, None, 0) as platform:
        assert find_running(state) == platform.address
    assert (state / "paploss.db").exists()
    assert [path.name for path in tmp_path.iterdir()] == [state.name]


def test_a_folder_whose_name_is_no_text_is_refused(tmp_path):
    state = tmp_path / os.fsdecode(b"\xff")
    with pytest.raises(PlatformError, match="expected a path in UTF-8"), run_platform(state, None, 0):
        pass


def test_proxies_of_the_environment_are_not_for_this_machine(tmp_path, monkeypatch):
    for name, value in {
        "HTTP_PROXY": "http://127.0.0.1:9",
        "ALL_PROXY": "socks5://127.0.0.1:9",
        "NO_PROXY": "fd00::/8",
    }.items():
        monkeypatch.setenv(name, value)
        monkeypatch.delenv(name.lower(), raising=False)
    with (
        run_platform(tmp_path / "state", None, 0) as platform,
        Client(platform.address.url, platform.address.key) as client,
    ):
        assert client.status().readiness.ready
