"""The SQLite file of a controller, and the folder that it lies in."""

from pathlib import Path

import pytest

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
