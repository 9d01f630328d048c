"""Programs that the permissions of files hold for, also where the tests run as root."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

OTHER_USER = 12_345
"""A user that is not this process's."""


def bound_by_permissions(*command: str | Path) -> list[str]:
    """The command, without root's right to pass over permissions; skips the test where that cannot be had."""
    given = list(map(str, command))
    if os.geteuid() != 0:
        return given
    prefix = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]
    if shutil.which("setpriv") is None or subprocess.run([*prefix, "true"], check=False).returncode != 0:
        pytest.skip("root's right to pass over permissions cannot be given up here: no setpriv")
    return [*prefix, *given]


def give_away(*paths: Path) -> None:
    """Make files another user's; skips the test where that is not allowed."""
    try:
        for path in paths:
            os.chown(path, OTHER_USER, OTHER_USER)
    except PermissionError:
        pytest.skip("only root may give files to another user")
