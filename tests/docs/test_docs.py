"""The documentation says what the program does: commands, options, metrics, routes and links that there are."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import make_reference
import pytest
import yaml
from charts import ROOT
from typer.main import get_command

from paploss.cli.main import app
from paploss.client.specs import ComparisonSpec, SearchSpec
from paploss.controller.api.app import list_operations
from paploss.controller.settings import Settings

COMMANDS = get_command(app)
GENERATED = {"api.md", "command-line.md", "settings.md"}
PAGES = sorted(path for path in (*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")) if path.name not in GENERATED)


def commands_in(text: str) -> Iterator[list[str]]:
    """Every `paploss ...` in the code of a page, as words."""
    blocks = re.findall(r"^```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    lines = [line.strip() for block in blocks for line in block.splitlines()]
    lines += re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL))
    for line in lines:
        if line.startswith("paploss ") and not line.startswith("paploss --"):
            yield re.sub(r"\s#.*|[;|&].*", "", line).split()[1:]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_on_a_page_exists(page: Path) -> None:
    for words in commands_in(page.read_text()):
        command: Any = COMMANDS
        rest = list(words)
        while hasattr(command, "commands"):
            assert rest, f"{' '.join(words)}: expected a command"
            assert rest[0] in command.commands, f"paploss {' '.join(words)}: no such command"
            command = command.commands[rest.pop(0)]
        known = {option for parameter in command.params for option in parameter.opts} | {"--help"}
        used = {word.partition("=")[0] for word in rest if word.startswith("--")}
        assert used <= known, f"paploss {' '.join(words)}: {used - known}"


def requests_in(text: str) -> Iterator[dict[str, Any]]:
    """Every search or comparison in the code of a page, also those inside an object of Kubernetes."""
    for block in re.findall(r"^```yaml\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        content = yaml.safe_load(block.replace("ID", "1m82j06n35hsa"))  # of a search of the reader's
        request = content.get("spec", {}).get("search", content)
        if "profile" in request:
            yield request


@pytest.mark.parametrize(
    "page", [page for page in PAGES if any(requests_in(page.read_text()))], ids=lambda page: page.stem
)
def test_every_request_on_a_page_is_accepted(page: Path) -> None:
    for request in requests_in(page.read_text()):
        if losses := request.get("losses"):  # the files of some are the reader's
            request["losses"] = [one for one in losses if not isinstance(one, dict) or "file" not in one]
        (ComparisonSpec if losses else SearchSpec).model_validate(request)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    made = {ROOT / "docs" / "reference" / name for name in GENERATED}
    for target in re.findall(r"\]\(([^)#\s]+)", page.read_text()):
        if "://" not in target:
            file = (page.parent / target).resolve()
            assert file.exists() or file in made, target


def test_every_image_is_on_a_page() -> None:
    shown = "".join(page.read_text() for page in PAGES)
    images = sorted(path.name for path in (ROOT / "docs" / "images").iterdir())
    assert [name for name in images if f"images/{name}" not in shown] == []


def test_every_variable_on_a_page_is_a_setting() -> None:
    text = make_reference.describe_settings()
    known = set(re.findall(r"PAPLOSS_\w+", text)) | {"PAPLOSS_SECRETS_DIR", "PAPLOSS_CONTROLLER_URL", "PAPLOSS_PROJECT"}
    for page in ROOT.glob("docs/how-to/*.md"):
        unknown = set(re.findall(r"PAPLOSS_\w+", page.read_text())) - known
        assert unknown == set(), page.name


def test_every_metric_is_explained() -> None:
    source = (ROOT / "controller" / "api" / "rest" / "metrics.py").read_text()
    named = set(re.findall(r'"(paploss_\w+)"', source))
    assert len(named) > 10
    text = (ROOT / "docs" / "reference" / "metrics.md").read_text()
    assert {name for name in named if name not in text} == set()


def test_the_reference_has_every_route_command_and_setting() -> None:
    api = make_reference.describe_api()
    for operation in list_operations():
        if "/api/" in operation:
            assert f"### {operation}\n" in api
    anchors = {make_reference._anchor(heading) for heading in re.findall(r"^#+ (.+)$", api, re.MULTILINE)}
    assert set(re.findall(r"\]\(#([^)]+)\)", api)) <= anchors
    commands = make_reference.describe_commands()
    assert all(f"## paploss {name}\n" in commands for name in ("search", "report", "keys create"))
    assert "| 4 | the controller refuses |" in commands
    settings = make_reference.describe_settings()
    assert all(f"`PAPLOSS_{name.upper()}`" in settings for name in Settings.model_fields)


@pytest.mark.slow
def test_the_pages_build_without_a_warning(tmp_path: Path) -> None:
    make_reference.main()
    command = ["sphinx.cmd.build", "-W", "--keep-going", "-n", "-q", "-b", "html", "-d", str(tmp_path / "trees")]
    built = subprocess.run(
        [sys.executable, "-m", *command, "docs", str(tmp_path / "site")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr


def test_the_reference_names_what_starts_an_experiment_and_what_it_needs() -> None:
    text = make_reference.describe_api()
    assert (
        "Body: [SearchSpec](#searchspec) or [ComparisonSpec](#comparisonspec) or [TrainingSpec](#trainingspec)." in text
    )
    search = text.partition("\n### SearchSpec\n")[2].partition("\n### ")[0]
    assert "| `profile` | string | required |" in search
    assert "| `rounds` | integer | `40` |" in search


def test_the_request_that_the_reference_shows_is_a_search() -> None:
    (request,) = re.findall(r"-d '(\{.*\})'", make_reference.describe_api())
    assert SearchSpec.model_validate_json(request).profile == "synthetic"
