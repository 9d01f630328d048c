"""API keys: `paploss keys create | list | revoke`."""

import json
from enum import StrEnum
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from paploss.cli.connection import DEFAULT_STATE, JsonOption, KeyFileOption, StateOption, UrlOption, connect
from paploss.cli.failures import REFUSED, CommandError, Group
from paploss.cli.service_commands import open_database
from paploss.controller.store.access.keys import create_key
from paploss.controller.store.errors import StoreError


class KeyRole(StrEnum):
    """What a key may do: look; start and end searches; everything; nothing but the lease protocol."""

    VIEWER = "viewer"
    USER = "user"
    ADMIN = "admin"
    WORKER = "worker"


app = typer.Typer(cls=Group, help="API keys of a controller.", no_args_is_help=True)

NameArgument = Annotated[str, typer.Argument(help="Who the key is for.")]


@app.command()
def create(
    name: NameArgument,
    *,
    role: Annotated[KeyRole, typer.Option(help="What the key may do.")],
    direct: Annotated[
        bool,
        typer.Option(
            "--direct",
            help="Write to the database (PAPLOSS_DATABASE_URL) and not over HTTP: for the first key of all.",
        ),
    ] = False,
    as_json: JsonOption = False,
    state: StateOption = DEFAULT_STATE,
    url: UrlOption = None,
    key_file: KeyFileOption = None,
) -> None:
    """Create a key and print it; it is not shown again."""
    if direct:
        with open_database() as database:
            try:
                with database.write() as session:
                    key = create_key(session, name, role.value)
            except StoreError as error:
                raise CommandError(str(error), REFUSED) from None
    else:
        with connect(state, url, key_file) as client:
            key = client.create_key(name, role.value).key
    typer.echo(json.dumps({"name": name, "role": role.value, "key": key}) if as_json else key)


@app.command("list")
def list_all(
    as_json: JsonOption = False,
    state: StateOption = DEFAULT_STATE,
    url: UrlOption = None,
    key_file: KeyFileOption = None,
) -> None:
    """All keys, without the keys themselves."""
    with connect(state, url, key_file) as client:
        keys = client.list_keys()
    if as_json:
        typer.echo(json.dumps([key.model_dump(mode="json") for key in keys]))
        return
    table = Table("name", "role", "created", "revoked", box=None)
    for key in keys:
        revoked = f"{key.revoked_at:%Y-%m-%d %H:%M}" if key.revoked_at else ""
        table.add_row(key.name, key.role, f"{key.created_at:%Y-%m-%d %H:%M}", revoked)
    Console(highlight=False).print(table)


@app.command()
def revoke(
    name: NameArgument,
    as_json: JsonOption = False,
    state: StateOption = DEFAULT_STATE,
    url: UrlOption = None,
    key_file: KeyFileOption = None,
) -> None:
    """Revoke a key. Browser sessions that were opened with it end too."""
    with connect(state, url, key_file) as client:
        client.revoke_key(name)
    typer.echo(json.dumps({"name": name, "revoked": True}) if as_json else f"revoked {name}")
