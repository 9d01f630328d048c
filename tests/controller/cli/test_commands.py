"""Commands that need no platform: help, and refusals with their exit status."""

import pytest
from typer.testing import CliRunner

from controller.cli.failures import BAD_INPUT, FAILED, UNREACHABLE
from controller.cli.main import app


def invoke(*arguments: str, **environment: str):
    return CliRunner().invoke(
        app, list(arguments), env={"PAPLOSS_CONTROLLER_URL": None, "PAPLOSS_KEY": None} | environment
    )


def test_help_lists_every_command_and_the_exit_statuses():
    output = invoke("--help").output
    commands = "search list show pause resume cancel export train test split up serve migrate keys"
    assert all(command in output for command in commands.split())
    assert "Exit status: 0 done" in output


@pytest.mark.parametrize("command", ["list", "show x", "pause x", "resume x", "cancel x", "export x", "keys list"])
def test_without_a_platform_commands_say_how_to_start_one(tmp_path, command):
    result = invoke(*command.split(), "--state", str(tmp_path))
    assert result.exit_code == UNREACHABLE
    assert "start one with `paploss up`" in result.stderr


def test_a_controller_that_does_not_answer_is_named():
    result = invoke("show", "x", "--url", "http://127.0.0.1:9", PAPLOSS_KEY="k")
    assert result.exit_code == UNREACHABLE
    assert "http://127.0.0.1:9" in result.stderr


def test_a_missing_key_is_asked_for():
    result = invoke("list", "--url", "http://127.0.0.1:9")
    assert result.exit_code == BAD_INPUT
    assert "PAPLOSS_KEY" in result.stderr


def test_a_bad_specification_starts_nothing(tmp_path):
    (tmp_path / "spec.yaml").write_text("profile: synthetic\nround: 3\n")
    result = invoke("search", str(tmp_path / "spec.yaml"), "--state", str(tmp_path / "state"))
    assert result.exit_code == BAD_INPUT
    assert f"{tmp_path / 'spec.yaml'}: round: unknown key" in result.stderr
    assert not (tmp_path / "state").exists()


def test_detaching_needs_a_platform_that_stays(tmp_path):
    (tmp_path / "spec.yaml").write_text("profile: synthetic\n")
    result = invoke("search", str(tmp_path / "spec.yaml"), "--detach", "--state", str(tmp_path / "state"))
    assert result.exit_code == FAILED
    assert "--detach: expected a running platform" in result.stderr


def test_bad_settings_of_a_controller_are_named(tmp_path):
    result = invoke("serve", PAPLOSS_RENEW_SECONDS="50", PAPLOSS_STATE_DIR=str(tmp_path))
    assert result.exit_code == BAD_INPUT
    assert "renew_seconds: expected at most half of lease_seconds" in result.stderr


def test_an_unreachable_redis_is_named(tmp_path):
    result = invoke(
        "serve", PAPLOSS_REDIS_URL="redis://127.0.0.1:9/0", PAPLOSS_STATE_DIR=str(tmp_path), PAPLOSS_PORT="0"
    )
    assert result.exit_code == FAILED
    assert "127.0.0.1:9" in result.stderr


def test_the_first_key_is_made_in_the_database_itself(tmp_path):
    result = invoke("keys", "create", "ann", "--role", "admin", "--direct", PAPLOSS_STATE_DIR=str(tmp_path))
    assert result.exit_code == 0
    assert result.output.startswith("paploss_")
    again = invoke("keys", "create", "ann", "--role", "admin", "--direct", PAPLOSS_STATE_DIR=str(tmp_path))
    assert "there is an API key named 'ann' already" in again.stderr


def test_migrating_twice_is_harmless(tmp_path):
    for _ in range(2):
        assert invoke("migrate", PAPLOSS_STATE_DIR=str(tmp_path)).exit_code == 0
