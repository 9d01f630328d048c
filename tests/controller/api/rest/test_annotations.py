"""Notes, tags and the archive over HTTP: by the client, by the command line, and what is refused."""

import json
from typing import Any

import httpx
import pytest
from controllers import RunningController
from scenarios import search_spec, training_spec
from typer.testing import CliRunner

from paploss.cli.main import app
from paploss.client.errors import ApiError
from paploss.client.sync_client import Client


def test_a_change_leaves_what_it_does_not_name(client: Client) -> None:
    made = client.create(training_spec())
    changed = client.annotate(made.id, note="**why**", tags=["b", "A", "a"])
    assert (changed.note, changed.tags, changed.archived) == ("**why**", ["a", "b"], False)
    assert client.annotate(made.id, tags=[]).note == "**why**"
    assert client.annotate(made.id, note="").tags == []
    trial = next(client.trials(made.id))
    assert client.annotate_trial(trial.id, note="odd", tags=["odd"]).note == "odd"
    assert [each.tags for each in client.trials(made.id)][:2] == [["odd"], []]


def test_what_runs_is_not_hidden_and_what_is_archived_is_kept(client: Client) -> None:
    made = client.create(training_spec(name="old"))
    with pytest.raises(ApiError, match="is running; what has ended can be archived"):
        client.annotate(made.id, archived=True)
    client.cancel(made.id)
    assert client.annotate(made.id, archived=True).archived
    assert list(client.list_experiments()) == []
    assert [each.id for each in client.list_experiments(archived="only")] == [made.id]
    assert client.get_experiment(made.id).name == "old"
    client.annotate(made.id, archived=False)
    assert [each.id for each in client.list_experiments(text="OLD", state="cancelled")] == [made.id]


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"tags": ["two words"]}, "/tags/0"),
        ({"tags": ["<b>"]}, "/tags/0"),
        ({"tags": ["x" * 41]}, "/tags/0"),
        ({"tags": [str(number) for number in range(21)]}, "/tags"),
        ({"note": "x" * 10_001}, "/note"),
        ({"colour": "red"}, "/colour"),
    ],
)
def test_what_is_no_tag_or_too_long_is_refused_by_name(
    http: httpx.Client, client: Client, change: dict[str, Any], pointer: str
) -> None:
    made = client.create(training_spec())
    reply = http.patch(f"/api/v1/experiments/{made.id}", json=change)
    assert (reply.status_code, reply.json()["errors"][0]["pointer"]) == (422, pointer)


def test_the_command_line_annotates_several_and_lists_by_tag(controller: RunningController, client: Client) -> None:
    environment = {"PAPLOSS_CONTROLLER_URL": controller.url, "PAPLOSS_KEY": controller.keys["user"], "COLUMNS": "200"}

    def run(*words: str) -> str:
        result = CliRunner().invoke(app, words, env=environment)
        assert result.exit_code == 0, result.output
        return result.output

    search, training = client.create(search_spec(name="one")).id, client.create(training_spec(name="two")).id
    run("annotate", search, training, f"{training}-000000", "--tag", "night", "--tag", "first", "--note", "see *log*")
    assert f"{search}: night\n" in run("annotate", search, "--untag", "FIRST")
    listed = run("list", "--tag", "first")
    assert (training in listed, search in listed) == (True, False)
    assert "see *log*" in run("show", training)
    assert client.get_trial(f"{training}-000000").tags == ["first", "night"]
    client.cancel(training)
    assert f"{training}: first night, archived" in run("annotate", training, "--archive")
    assert [each["id"] for each in json.loads(run("list", "--json"))] == [search]
    assert [each["id"] for each in json.loads(run("list", "--archived", "only", "--json"))] == [training]
    refused = CliRunner().invoke(app, ["annotate", search, "--tag", "no spaces"], env=environment)
    assert refused.exit_code == 2
    assert "expected letters, digits and . : / + - _, got 'no spaces'" in refused.output
