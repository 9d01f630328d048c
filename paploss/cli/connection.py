"""Which controller a command talks to, and with which key."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from paploss.cli.address import Address, find_running
from paploss.cli.failures import BAD_INPUT, UNREACHABLE, CommandError
from paploss.cli.output import plain
from paploss.client.errors import ClientError
from paploss.client.sync_session import Session

if TYPE_CHECKING:
    from paploss.client.sync_client import Client

DEFAULT_STATE = Path("state")

StateOption = Annotated[
    Path, typer.Option("--state", envvar="PAPLOSS_STATE_DIR", help="Folder of this machine's own platform.")
]
UrlOption = Annotated[
    str | None,
    typer.Option("--url", envvar="PAPLOSS_CONTROLLER_URL", help="A controller elsewhere, with a key in PAPLOSS_KEY."),
]
KeyFileOption = Annotated[
    Path | None, typer.Option(envvar="PAPLOSS_KEY_FILE", help="File with the API key, in place of PAPLOSS_KEY.")
]
ProjectOption = Annotated[
    str | None,
    typer.Option(envvar="PAPLOSS_PROJECT", help="Project that it belongs to, for keys that are for all projects."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


def name_controller(state: Path, url: str | None) -> tuple[object, ...]:
    """The options by which another command finds the same controller."""
    if url is not None:
        return "--url", url
    return () if state == DEFAULT_STATE else ("--state", state)


def complete_ids(ctx: typer.Context, incomplete: str) -> Iterator[tuple[str, str]]:
    """Ids that begin so with their names, newest first, for the shell; none where no controller answers."""
    try:
        with open_session(ctx.params.get("state") or DEFAULT_STATE, ctx.params.get("url"), None) as session:
            for found in session.items("experiments"):
                if str(found.get("id")).startswith(incomplete):
                    yield str(found["id"]), plain(f"{found.get('state')} {found.get('name')}")
    except (CommandError, ClientError):
        return


IdArgument = Annotated[
    str,
    typer.Argument(metavar="ID", help="Id of an experiment.", autocompletion=complete_ids),
]


def connect(state: Path, url: str | None, key_file: Path | None) -> "Client":
    """A client of the controller at `url`, or of the one that runs over the folder `state` on this machine.

    Raises:
        CommandError: there is none, or no key for it.
    """
    # Late, because its models take as long to import as all else that `list` needs, which does without them.
    from paploss.client.sync_client import Client  # noqa: PLC0415

    address = find_controller(state, url, key_file)
    return Client(address.url, address.key)


def open_session(state: Path, url: str | None, key_file: Path | None) -> Session:
    """As `connect`, for requests that need no models."""
    address = find_controller(state, url, key_file)
    return Session(address.url, address.key)


def find_controller(state: Path, url: str | None, key_file: Path | None) -> Address:
    """Where the controller at `url` or over `state` is.

    Raises:
        CommandError: there is none, or no key for it.
    """
    if url is not None:
        return Address(url, _read_key(url, key_file))
    address = find_running(state)
    if address is None:
        raise CommandError(
            f"no platform runs over {state}: start one with `paploss up`, or name a controller with --url", UNREACHABLE
        )
    return address


def watch_over(state: Path, url: str | None) -> Callable[[], list[str]]:
    """What ends a command that waits for the platform over `state` once that has ended; call it at every look.

    A controller at `url` may come back, and is waited for.
    """

    def look() -> list[str]:
        if url is None and find_running(state) is None:
            raise CommandError(
                f"the platform over {state} has ended; what it ran goes on with the next `paploss up`", UNREACHABLE
            )
        return []

    return look


def _read_key(url: str, key_file: Path | None) -> str:
    if key_file is not None:
        try:
            return key_file.read_text(encoding="utf-8-sig").strip()
        except OSError as error:
            raise CommandError(f"--key-file {key_file}: {error.strerror}", BAD_INPUT) from None
        except UnicodeDecodeError:
            raise CommandError(f"--key-file {key_file}: expected an API key, got no text", BAD_INPUT) from None
    key = os.environ.get("PAPLOSS_KEY")
    if not key:
        raise CommandError(f"no API key for {url}: set PAPLOSS_KEY, or name a file with --key-file", BAD_INPUT)
    return key
