"""How figures, times and commands are written for people."""

import shlex
import shutil
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from paploss.cli.output import tell

if TYPE_CHECKING:
    from paploss.client.models import ExperimentSummary

TIME_ZONE = "UTC"
"""Of every time that is shown; tables say it in the column's head."""


def moment(time: datetime | str | None) -> str:
    """A time, or its ISO 8601 text, to the minute in UTC; empty for none."""
    if not time:
        return ""
    known = datetime.fromisoformat(time) if isinstance(time, str) else time
    return f"{known.astimezone(UTC):%Y-%m-%d %H:%M}"


def next_command(*words: object) -> str:
    """A command of ours to type next; where the shell does not find the program, with the path to it."""
    program = Path("paploss") if shutil.which("paploss") else Path(sys.executable).with_name("paploss")
    if program.is_relative_to(Path.cwd()):
        program = program.relative_to(Path.cwd())
    return shlex.join(map(str, (program, *words)))


def describe_end(found: "ExperimentSummary") -> str:
    """How an experiment has ended, with the reason where there is one."""
    ended = f"{found.kind} {found.id} {'was cancelled' if found.state == 'cancelled' else found.state}"
    return f"{ended}: {found.reason}" if found.reason else ended


def tell_state(found: "ExperimentSummary", as_json: bool) -> None:
    """Print the state of an experiment."""
    tell(as_json, found, f"{found.id} is {found.state}")
