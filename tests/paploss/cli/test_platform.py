"""The embedded platform's folder: one holder, private keys, ports that are told apart from busy ones."""

import json
import socket
import stat

import pytest
from sqlalchemy import text

from paploss.cli.address import find_running
from paploss.cli.platform import PlatformError, run_platform
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


def test_keys_stay_the_same_over_restarts_and_lost_ones_are_made_anew(tmp_path):
    state = tmp_path / "state"
    with run_platform(state, None, 0) as platform:
        key = platform.address.key
    with run_platform(state, None, 0) as platform:
        assert platform.address.key == key
    (state / "keys" / "admin").unlink()
    with run_platform(state, None, 0) as platform:
        assert platform.address.key != key
