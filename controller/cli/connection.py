"""Which controller a command talks to, and with which key."""

from pathlib import Path
from typing import Annotated

import typer

DEFAULT_STATE = Path("state")

StateOption = Annotated[
    Path, typer.Option("--state", envvar="PAPLOSS_STATE_DIR", help="Folder of this machine's own platform.")
]
UrlOption = Annotated[
    str | None, typer.Option("--url", envvar="PAPLOSS_CONTROLLER_URL", help="Address of a running controller.")
]
KeyFileOption = Annotated[
    Path | None, typer.Option(envvar="PAPLOSS_KEY_FILE", help="File with the API key; or PAPLOSS_KEY holds it.")
]
