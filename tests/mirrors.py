"""What tests of the mirror share: a controller with a search that has ended, and the command."""

import json
from dataclasses import dataclass
from typing import Any

from click.testing import Result
from controllers import RunningController
from typer.testing import CliRunner

from paploss.cli.main import app
from paploss.client.algorithms import PpoSettings
from paploss.client.models import TrialDetail
from paploss.client.specs import ConfirmSpec, SearchSpec

SPEC = SearchSpec(
    name="cells, day/night",
    profile="synthetic",
    algorithm=PpoSettings(),
    mode="round",
    rounds=1,
    trials_per_round=2,
    prune=False,
    confirm=ConfirmSpec(candidates=1, seeds=2),
)


@dataclass(frozen=True)
class Ended:
    """What there is to mirror."""

    controller: RunningController
    search_id: str
    trial: TrialDetail
    """The first one."""
    trials: int


def try_mirror(controller: RunningController, *arguments: object) -> Result:
    """The command with a viewer's key."""
    environment = {"PAPLOSS_CONTROLLER_URL": controller.url, "PAPLOSS_KEY": controller.keys["viewer"]}
    return CliRunner().invoke(app, ["mirror", "--json", *map(str, arguments)], env=environment)


def mirror(controller: RunningController, *arguments: object) -> list[dict[str, Any]]:
    """What the command tells of each experiment and target, once it has succeeded."""
    result = try_mirror(controller, *arguments)
    assert result.exit_code == 0, result.stderr
    return [json.loads(line) for line in result.stdout.splitlines()]
