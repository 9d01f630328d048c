"""Commands that need no platform: help, and refusals with their exit status."""

import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from controllers import RunningController
from typer.main import get_command
from typer.testing import CliRunner

from paploss.cli.connection import DEFAULT_STATE, name_controller, watch_over
from paploss.cli.failures import BAD_INPUT, FAILED, REFUSED, UNREACHABLE, CommandError
from paploss.cli.main import app
from paploss.cli.wording import describe_end
from paploss.client.specs import SearchSpec
from paploss.client.sync_client import Client
from paploss.controller.store.experiments import fail_experiment
from paploss.controller.store.tables import Experiment


@pytest.fixture(autouse=True)
def keep_the_log_of_this_process() -> Iterator[None]:
    """A command that serves starts a log of its own, on the standard error of that one call."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def invoke(*arguments: str, **environment: str):
    return CliRunner().invoke(
        app, list(arguments), env={"PAPLOSS_CONTROLLER_URL": None, "PAPLOSS_KEY": None} | environment
    )


def test_help_lists_every_command_and_the_exit_statuses():
    output = invoke("--help").output
    commands = "search list show pause resume cancel export report train test convert-voc split up serve migrate keys"
    assert all(command in output for command in commands.split())
    assert "Exit status: 0 done" in output


def test_the_version_is_that_of_the_package():
    assert CliRunner().invoke(app, ["--version"]).stdout == f"paploss {metadata.version('paploss')}\n"


@pytest.mark.parametrize("group", ["keys", "projects", "subscriptions", "tokens"])
def test_a_group_of_commands_does_not_offer_completion_of_its_own(group):
    assert "--install-completion" not in CliRunner().invoke(app, [group, "--help"]).stdout


def test_what_to_type_next_names_the_controller_unless_it_is_the_default():
    assert name_controller(DEFAULT_STATE, None) == ()
    assert name_controller(Path("elsewhere"), None) == ("--state", Path("elsewhere"))
    assert name_controller(DEFAULT_STATE, "http://lab:8080") == ("--url", "http://lab:8080")


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


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("up", "--data", "nowhere"), "--data nowhere: no such folder"),
        (("test", "nowhere.pth"), "nowhere.pth: no such file"),
    ],
)
def test_what_is_not_there_is_named(tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    result = invoke(*arguments)
    assert result.exit_code == BAD_INPUT
    assert result.stderr == f"paploss: {message}\n"


def test_bad_settings_of_a_controller_are_named(tmp_path):
    result = invoke("serve", PAPLOSS_RENEW_SECONDS="50", PAPLOSS_STATE_DIR=str(tmp_path))
    assert result.exit_code == BAD_INPUT
    assert "renew_seconds: expected at most half of lease_seconds" in result.stderr


def test_a_subscription_to_what_never_happens_is_refused_before_any_controller_is_asked():
    result = invoke("subscriptions", "add", "https://example.org/hook", "--on", "ended,lunch")
    assert result.exit_code == BAD_INPUT
    assert "occasions.1: expected one of 'ended', 'failed'" in result.output


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (("keys", "create", "Ann B", "--role", "user"), "name: expected text that matches ^[A-Za-z0-9]"),
        (("keys", "create", "Ann B", "--role", "user", "--direct"), "name: expected text that matches ^[A-Za-z0-9]"),
        (("tokens", "create", "Ann's"), "name: expected text that matches ^[A-Za-z0-9]"),
        (("projects", "create", "Bird Lab"), "name: expected text that matches ^[a-z0-9]"),
        (("projects", "create", "birds", "--gpu-hours", "-1"), "gpu_hours: expected more than 0, got -1"),
        (("annotate", "x", "--note", "y" * 10_001), "note: expected 10000 "),
        (("trainer-check",), "COMMAND: expected the program to check"),
        (("trainer-check", "--job", "bad.json", "true"), "bad.json: trial_id: is missing"),
    ],
)
def test_what_options_say_is_refused_before_anything_is_done(tmp_path, monkeypatch, command, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.json").write_text("{}")
    key = {"PAPLOSS_CONTROLLER_URL": "http://127.0.0.1:9", "PAPLOSS_KEY": "k", "PAPLOSS_STATE_DIR": str(tmp_path)}
    result = CliRunner().invoke(app, list(command), env=key)
    assert result.exit_code == BAD_INPUT, result.output
    assert result.stderr.startswith(f"paploss: {message}")


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


def list_commands(group: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from list_commands(command, f"{prefix}{name} ")
        else:
            yield f"{prefix}{name}", command


def test_help_shows_every_word_that_was_written():
    """Rich would take words in brackets for markup, and leave them out."""
    for name, command in list_commands(get_command(app)):
        shown = " ".join(invoke(*name.split(), "--help", COLUMNS="1000", TERMINAL_WIDTH="1000").output.split())
        texts = [command.help, *(parameter.help for parameter in command.params if getattr(parameter, "help", None))]
        for text in texts:
            assert all(" ".join(paragraph.split()) in shown for paragraph in text.split("\n\n")), (name, text)


def test_every_option_says_what_it_is():
    for name, command in list_commands(get_command(app)):
        for parameter in command.params:
            assert getattr(parameter, "help", None), (name, parameter.name)


def test_every_command_that_ends_can_print_json():
    commands = dict(list_commands(get_command(app)))
    without = [name for name, command in commands.items() if not any("--json" in p.opts for p in command.params)]
    assert without == ["serve", "worker"]


def test_a_refusal_of_the_controller_has_its_own_status(controller: RunningController):
    result = invoke("cancel", "nothing", "--url", controller.url, PAPLOSS_KEY=controller.keys["viewer"])
    assert result.exit_code == REFUSED
    assert "is for the roles admin, user" in result.stderr


@pytest.mark.parametrize(("line", "expected"), [("paploss ex", "export"), ("paploss keys re", "revoke")])
def test_the_shell_completes_commands(line, expected):
    assert expected in complete(line).split()


def test_the_shell_completes_ids_of_the_controller_at_hand(controller: RunningController, client: Client):
    experiment_id = client.create(SearchSpec(profile="synthetic")).id
    there = {"PAPLOSS_CONTROLLER_URL": controller.url, "PAPLOSS_KEY": controller.keys["viewer"]}
    assert complete("paploss show ", **there).split() == [experiment_id]
    assert complete("paploss show ", **there | {"PAPLOSS_KEY": "wrong"}).split() == []


def complete(line: str, **environment: str) -> str:
    """What bash would be offered at the end of a line."""
    asked = {"_PAPLOSS_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(len(line.split(" ")) - 1)}
    done = subprocess.run(
        [sys.executable, "-m", "paploss.cli"],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | asked | environment,
    )
    assert done.stderr == ""
    return done.stdout


def test_an_unknown_id_is_named_whatever_its_kind(controller: RunningController):
    result = invoke("show", "nope", "--url", controller.url, PAPLOSS_KEY=controller.keys["viewer"])
    assert result.exit_code == REFUSED
    assert "there is no experiment nope" in result.stderr


def test_the_end_of_an_experiment_is_told_without_a_dangling_colon(controller: RunningController, client: Client):
    search = client.create(SearchSpec(profile="synthetic", rounds=1, trials_per_round=2))
    client.cancel(search.id)
    assert describe_end(client.get_experiment(search.id)) == f"search {search.id} was cancelled"


def test_whoever_watches_an_experiment_that_ends_without_success_gets_a_status(
    controller: RunningController, client: Client
) -> None:
    search = client.create(SearchSpec(profile="synthetic", rounds=1, trials_per_round=2))
    client.cancel(search.id)
    there = {"PAPLOSS_CONTROLLER_URL": controller.url, "PAPLOSS_KEY": controller.keys["viewer"]}
    watched = invoke("show", search.id, "--watch", **there)
    assert (watched.exit_code, watched.stderr) == (FAILED, f"paploss: search {search.id} was cancelled\n")
    assert "0 of" in watched.stdout
    assert invoke("show", search.id, **there).exit_code == 0


def test_why_a_search_failed_is_a_line_of_its_own(controller: RunningController, client: Client) -> None:
    search = client.create(SearchSpec(name="mine", profile="synthetic", rounds=1, trials_per_round=2))
    with controller.services.database.write() as session:
        fail_experiment(session, session.get_one(Experiment, search.id), "no image there")
    shown = invoke("show", search.id, "--url", controller.url, PAPLOSS_KEY=controller.keys["viewer"]).stdout
    assert shown.splitlines()[0].startswith(f"{search.id} mine: failed, ")
    assert shown.splitlines()[1] == "no image there"


def test_a_tag_that_cannot_be_is_refused_in_plain_words(controller: RunningController, client: Client) -> None:
    search = client.create(SearchSpec(profile="synthetic"))
    there = {"PAPLOSS_CONTROLLER_URL": controller.url, "PAPLOSS_KEY": controller.keys["user"]}
    refused = invoke("annotate", search.id, "--tag", "a b", **there)
    assert refused.exit_code == BAD_INPUT
    assert refused.stderr == "paploss: tags.0: expected letters, digits and . : / + - _, got 'a b'\n"


def test_who_waits_for_a_platform_of_this_machine_learns_of_its_end(tmp_path):
    with pytest.raises(CommandError, match="has ended; what it ran goes on with the next `paploss up`"):
        watch_over(tmp_path, None)()
    assert watch_over(tmp_path, "http://elsewhere")() == []


def test_tokens_are_made_listed_and_revoked(controller: RunningController) -> None:
    mine = {"PAPLOSS_CONTROLLER_URL": controller.url, "PAPLOSS_KEY": controller.keys["user"]}
    made = invoke("tokens", "create", "laptop", "--role", "user", "--days", "7", **mine)
    assert made.exit_code == 0, made.output
    with_token = mine | {"PAPLOSS_KEY": made.stdout.strip()}
    listed = json.loads(invoke("tokens", "list", "--json", **with_token).stdout)
    assert [(token["name"], token["owner"], token["role"]) for token in listed] == [("laptop", "user", "user")]
    assert invoke("tokens", "create", "second", **with_token).exit_code == REFUSED
    assert invoke("tokens", "revoke", listed[0]["id"], **mine).exit_code == 0
    assert "laptop" not in invoke("tokens", "list", **mine).stdout
    assert invoke("list", **with_token).exit_code == REFUSED


def test_projects_are_made_changed_listed_and_deleted(controller: RunningController) -> None:
    admin = {"PAPLOSS_CONTROLLER_URL": controller.url, "PAPLOSS_KEY": controller.keys["admin"]}
    roots = ("--data-root", "/data/birds", "--gpu-hours", "2.5")
    assert "made bird-lab" in invoke("projects", "create", "bird-lab", *roots, **admin).stdout
    assert invoke("projects", "create", "Bird_Lab", **admin).exit_code == BAD_INPUT
    assert invoke("projects", "create", "bird-lab", **admin).exit_code == REFUSED
    key = invoke("keys", "create", "ann", "--role", "user", "--project", "bird-lab", **admin).stdout.strip()
    every = invoke("keys", "create", "eve", "--role", "viewer", "--all-projects", "--json", **admin).stdout
    mine = {"PAPLOSS_CONTROLLER_URL": controller.url, "PAPLOSS_KEY": key}
    (seen,) = json.loads(invoke("projects", "list", "--json", **mine).stdout)
    assert (seen["name"], seen["data_roots"], seen["gpu_hours"]) == ("bird-lab", ["/data/birds"], 2.5)
    everything = mine | {"PAPLOSS_KEY": json.loads(every)["key"]}
    assert len(json.loads(invoke("projects", "list", "--json", **everything).stdout)) == 2
    invoke("projects", "set", "bird-lab", "--max-running-trials", "3", **admin)
    assert "0 of 3" in invoke("projects", "list", **admin).stdout
    assert invoke("projects", "delete", "bird-lab", **admin).exit_code == REFUSED
    invoke("keys", "revoke", "ann", **admin)
    assert invoke("projects", "delete", "bird-lab", **admin).exit_code == 0
