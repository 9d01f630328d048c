"""Where a command that starts something lets it run: on the platform that there is, else on one of its own."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from paploss.cli.address import find_running
from paploss.cli.connection import connect, watch_over
from paploss.cli.extras import require
from paploss.cli.failures import FAILED, CommandError
from paploss.cli.machine import workers_here
from paploss.cli.specifications import find_data_roots
from paploss.cli.watching import KeepUp
from paploss.client.specs import Request
from paploss.client.sync_client import Client

WorkersOption = Annotated[
    int | None, typer.Option(min=0, help="Worker processes (default: one per GPU, or per core where there is none).")
]
PortOption = Annotated[
    int | None, typer.Option(min=1, max=65535, help="Port of the page on this machine (default: 8080).")
]
DataRootOption = Annotated[
    Path | None, typer.Option(help="Folder of the data set, in place of the file's dataset.root.")
]
DetachOption = Annotated[bool, typer.Option("--detach", help="Print the id and do not wait.")]


@dataclass(frozen=True)
class UsedPlatform:
    """What a command runs its experiment on."""

    client: Client
    keep_up: KeepUp
    is_own: bool
    """Whether it ends with the command."""


@contextmanager
def use_platform(
    request: Request,
    console: Console,
    state: Path,
    url: str | None,
    key_file: Path | None,
    *,
    workers: int | None,
    port: int | None,
    detach: bool = False,
) -> Iterator[UsedPlatform]:
    """The running platform, or one that ends with the context.

    Raises:
        CommandError: a platform of one's own cannot start or go on, or would end at once because of `detach`.
    """
    if url is not None or find_running(state) is not None:
        with connect(state, url, key_file) as client:
            yield UsedPlatform(client, watch_over(state, url), is_own=False)
        return
    if detach:
        raise CommandError("--detach: expected a running platform (`paploss up`, or --url)", FAILED)
    require("a platform on this machine (--url names one elsewhere)", "controller", "worker")
    # Late, because the database's packages are not there where only the client is installed.
    from paploss.cli.platform import (  # noqa: PLC0415
        PlatformError,
        announce,
        end_on_sigterm,
        run_platform,
    )

    end_on_sigterm()
    try:
        with run_platform(state, port, workers_here(workers), find_data_roots(request)) as platform:
            announce(platform, console)
            with Client(platform.address.url, platform.address.key) as client:
                yield UsedPlatform(client, platform.revive, is_own=True)
    except PlatformError as error:
        raise CommandError(str(error), FAILED) from None
