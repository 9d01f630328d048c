"""Where a command that starts something lets it run: on the platform that there is, else on one of its own."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from paploss.cli.address import find_running
from paploss.cli.connection import connect
from paploss.cli.extras import require
from paploss.cli.failures import FAILED, CommandError
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
) -> Iterator[tuple[Client, KeepUp | None]]:
    """A client of the running platform and nothing; or of one that ends with the context, and what keeps that one up.

    Raises:
        CommandError: a platform of one's own cannot start or go on, or would end at once because of `detach`.
    """
    if url is not None or find_running(state) is not None:
        with connect(state, url, key_file) as client:
            yield client, None
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
        workers_here,
    )

    end_on_sigterm()
    try:
        with run_platform(state, port, workers_here(workers), find_data_roots(request)) as platform:
            announce(platform, console)
            with Client(platform.address.url, platform.address.key) as client:
                yield client, platform.revive
    except PlatformError as error:
        raise CommandError(str(error), FAILED) from None
