"""Output is what was written: never markup, never lost to a locale."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from controllers import RunningController
from rich.progress import Progress
from rich.table import Table
from typer.testing import CliRunner

from paploss.cli.main import app
from paploss.cli.output import plain
from paploss.cli.terminal import make_console
from paploss.client.loss_choice import LossChoice
from paploss.client.specs import SearchSpec, TrainingSpec
from paploss.client.sync_client import Client

MARKUP = ["a [/x] b", "[draft] a", "[bold]a[/bold]", "a :smile: b", "[link=http://x]a[/link]", "\\[a]", "[@click=f]a"]
LATIN = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0", "PYTHONIOENCODING": "latin-1"}
ASCII = LATIN | {"PYTHONIOENCODING": ""}


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "paploss.cli", *arguments],
        capture_output=True,
        check=False,
        env=os.environ | {"COLUMNS": "200"} | environment,
    )


@pytest.mark.parametrize("text", MARKUP)
def test_text_is_printed_as_it_is_wherever_it_stands(text: str) -> None:
    screen = io.StringIO()
    console = make_console(file=screen, width=80)
    table = Table(text, title=text)
    table.add_row(text)
    console.print(text)
    console.print(table)
    console.log(text)
    assert screen.getvalue().count(text) == 5


def test_control_characters_are_not_obeyed() -> None:
    assert plain("a\x1b[31mb\x07\x9b\u202ec\td\n") == "a\ufffd[31mb\ufffd\ufffd\ufffdc\td\n"
    screen = io.StringIO()
    make_console(file=screen, width=80).print("a\x1b[31mb")
    assert "\x1b" not in screen.getvalue()


@pytest.fixture
def there(controller: RunningController, client: Client) -> dict[str, str]:
    """The environment of commands at a controller with a search and a comparison of each difficult name."""
    for text in MARKUP:
        client.create(SearchSpec(profile="synthetic", name=text))
        choice = LossChoice(label=text, preset="identity")
        client.create(TrainingSpec(profile="synthetic", name=f"Größe {text} 猫", losses=(choice,)))
    return {"PAPLOSS_CONTROLLER_URL": controller.url, "PAPLOSS_KEY": controller.keys["user"]}


def test_lists_and_details_show_every_name_as_it_is(client: Client, there: dict[str, str]) -> None:
    shown = run("list", **there).stdout.decode()
    assert all(shown.count(text) == 2 for text in MARKUP), shown
    for row in client.list_experiments():
        done = CliRunner().invoke(app, ["show", row.id], env=there)
        assert done.exit_code == 0, done.output
        assert row.name in done.stdout


@pytest.mark.parametrize("locale", [LATIN, ASCII], ids=["latin-1", "ascii"])
def test_output_falls_back_where_the_locale_lacks_a_character(there: dict[str, str], locale: dict[str, str]) -> None:
    done = run("list", **there, **locale)
    assert done.returncode == 0, done.stderr
    assert b"a [/x] b ?" in done.stdout
    names = [row["name"] for row in json.loads(run("list", "--json", **there, **locale).stdout)]
    assert "Größe a [/x] b 猫" in names  # JSON loses nothing


def test_files_are_utf_8_whatever_the_locale(tmp_path: Path, there: dict[str, str]) -> None:
    (tmp_path / "spec.yaml").write_text("profile: synthetic\nname: Größe 猫\n", encoding="utf-8")
    started = json.loads(run("search", str(tmp_path / "spec.yaml"), "--detach", "--json", **there, **ASCII).stdout)
    file = tmp_path / "report.html"
    file.write_text("an older one")
    done = run("report", started["id"], "--out", str(file), **there, **ASCII)
    assert done.returncode == 0, done.stderr
    assert "Größe 猫" in file.read_text(encoding="utf-8")


def test_messages_quote_what_was_typed(tmp_path: Path) -> None:
    for name in ("no [/x].yaml", "no :smile: [b]é.yaml"):
        done = run("search", str(tmp_path / name), **ASCII)
        assert done.returncode == 2
        assert name.partition("é")[0].encode() in done.stderr
        assert b"Traceback" not in done.stderr
    done = run("list", "--state", "[/x]", "--wrong[/b]")
    assert (done.returncode, b"--wrong[/b]" in done.stderr) == (2, True)


def test_a_progress_bar_shows_lines_as_they_are() -> None:
    screen = io.StringIO()
    with Progress(console=make_console(file=screen, width=80)) as bar:
        bar.console.print("loading [/x] :smile:")
    assert "loading [/x] :smile:" in screen.getvalue()


def test_times_say_that_they_are_utc(there: dict[str, str], controller: RunningController) -> None:
    assert b"created (UTC)" in run("list", **there).stdout
    shown = run("keys", "list", **there | {"PAPLOSS_KEY": controller.keys["admin"]}).stdout
    assert b"created (UTC)" in shown
    assert b"revoked (UTC)" in shown


def test_metrics_of_classes_with_brackets_are_shown() -> None:
    from paploss.cli.trainings import metrics_table
    from paploss.jobs.metrics import Metrics

    fields: dict[str, Any] = dict.fromkeys(("ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large"), 0.5)
    screen = io.StringIO()
    make_console(file=screen, width=80).print(metrics_table(Metrics(**fields, per_class={"[/x] car": 0.25})))
    assert "[/x] car" in screen.getvalue()
