"""`paploss up`: the whole platform on this machine."""

import time
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console

from paploss.cli.connection import DEFAULT_STATE, JsonOption, StateOption, name_controller
from paploss.cli.failures import BAD_INPUT, FAILED, CommandError
from paploss.cli.machine import workers_here
from paploss.cli.output import echo_json
from paploss.cli.own_platform import PortOption, WorkersOption
from paploss.cli.platform import (
    DEFAULT_PORT,
    Platform,
    PlatformError,
    announce,
    end_on_sigterm,
    run_platform,
)
from paploss.cli.terminal import make_console, say
from paploss.cli.wording import next_command


def up(
    state: StateOption = DEFAULT_STATE,
    workers: WorkersOption = None,
    port: PortOption = None,
    data: Annotated[
        list[Path] | None, typer.Option(help="Folder whose data sets and weights a search may name; repeatable.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Run the whole platform on this machine until Ctrl-C; unfinished searches continue."""
    console = make_console(stderr=as_json)
    end_on_sigterm()
    if missing := [folder for folder in data or () if not folder.is_dir()]:
        raise CommandError(f"--data {missing[0]}: no such folder", BAD_INPUT)
    try:
        with run_platform(
            state, port or DEFAULT_PORT, workers_here(workers), [folder.resolve() for folder in data or ()]
        ) as platform:
            if as_json:
                echo_json({"url": platform.address.url, "sign_in_url": platform.sign_in_url})
            announce(platform, console)
            start = next_command("search", "SPEC.yaml", *name_controller(state, None))
            say(console, f"Start a search from another terminal: {start}")
            try:
                watch_children(platform, console)
            except KeyboardInterrupt:
                console.print("Ending: running trials leave a checkpoint ...")
    except PlatformError as error:
        raise CommandError(str(error), FAILED) from None


def watch_children(platform: Platform, console: Console) -> NoReturn:
    """Keep the platform's processes running until this one is interrupted."""
    while True:
        for name in platform.revive():
            console.print(f"{name} had ended and was started again")
        time.sleep(0.5)
