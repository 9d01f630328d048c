"""Commands are listed without being imported, and imported when they run."""

import subprocess
import sys

import pytest
from typer.testing import CliRunner

from paploss.cli import extras
from paploss.cli.failures import CommandError
from paploss.cli.main import Commands, app

HEAVY = ("alembic", "fastapi", "kubernetes", "matplotlib", "numpy", "plotly", "redis", "scipy", "sqlalchemy", "torch")


def find_loaded(*arguments: str) -> set[str]:
    """The top-level packages that a command loads."""
    script = (
        "import sys\n"
        "from paploss.cli.main import app\n"
        "try:\n    app(sys.argv[1:], prog_name='paploss')\n"
        "except SystemExit:\n    pass\n"
        "print('loaded', *sys.modules, file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=True)
    return set(done.stderr.splitlines()[-1].split())


def test_help_loads_no_command() -> None:
    loaded = find_loaded("--help")
    assert not {*HEAVY, "httpx", "pydantic", "paploss.client.models"} & loaded
    assert not {f"paploss.cli.{entry.target.partition(':')[0]}" for entry in Commands.entries.values()} & loaded


def test_the_list_loads_neither_models_nor_a_controller() -> None:
    loaded = find_loaded("list", "--url", "http://127.0.0.1:9", "--key-file", "/dev/null")
    assert "paploss.cli.listing" in loaded
    assert not {*HEAVY, "yaml", "paploss.client.models", "paploss.jobs.spec"} & loaded


@pytest.mark.parametrize("name", Commands.entries)
def test_a_summary_is_the_beginning_of_the_commands_own_help(name: str) -> None:
    summary = Commands.entries[name].summary
    (_, command) = next(item for item in Commands(name="paploss").commands.items() if item[0] == name)
    assert " ".join(command.help.split("\n\n")[0].split()) == summary


def test_a_command_that_does_not_exist_is_answered_with_the_nearest() -> None:
    result = CliRunner().invoke(app, ["lst"])
    assert result.exit_code == 2
    assert "Did you mean 'list'" in result.stderr


def test_what_is_absent_is_named_with_the_extra_that_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(extras.NEEDED, "worker", ("no_such_module", "sys", "other_module"))
    with pytest.raises(CommandError) as caught:
        extras.require("paploss up", "controller", "worker")
    assert str(caught.value) == (
        "paploss up needs packages that are not installed here (no_such_module, other_module): "
        "pip install 'paploss[worker]'"
    )
