"""The SQLite file of a controller, and the folder that it lies in."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from privileges import OTHER_USER, bound_by_permissions, give_away

from paploss.cli.databases import hold_database
from paploss.cli.failures import CommandError
from paploss.controller.settings import Settings


@pytest.mark.parametrize("folder", ["/proc/nothing", "/proc/version/below"], ids=["not to be written to", "no folder"])
def test_a_state_folder_that_cannot_be_written_to_is_named(folder: str) -> None:
    with (
        pytest.raises(CommandError, match=f"{folder}: the state folder cannot be written to"),
        hold_database(Settings(state_dir=Path(folder))),
    ):
        pass


def test_one_process_holds_a_database(tmp_path: Path) -> None:
    settings = Settings(state_dir=tmp_path)
    with (
        hold_database(settings),
        pytest.raises(CommandError, match="a controller has this database open"),
        hold_database(settings),
    ):
        pass


@pytest.mark.parametrize("name", ["paploss.db", "paploss.db-wal", "paploss.db.lock"])
def test_a_file_of_another_user_is_named_before_anything_starts(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch(0o644)
    give_away(tmp_path / name)
    code = "from paploss.cli.main import app; app(['migrate'])"
    command = bound_by_permissions(sys.executable, "-c", code)
    environment = os.environ | {"PAPLOSS_STATE_DIR": str(tmp_path)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode != 0
    expected = "Permission denied" if name.endswith(".lock") else f"its owner is {OTHER_USER}"
    assert f"{tmp_path / name}: " in done.stderr.replace("\n", "")
    assert expected in done.stderr
