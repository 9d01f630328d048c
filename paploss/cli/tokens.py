"""Personal access tokens: `paploss tokens create | list | revoke`."""

from typing import Annotated

import typer
from pydantic import ValidationError
from rich.table import Table

from paploss.cli.connection import DEFAULT_STATE, JsonOption, KeyFileOption, StateOption, UrlOption, connect
from paploss.cli.failures import BAD_INPUT, CommandError
from paploss.cli.groups import make_group
from paploss.cli.output import echo_json, tell
from paploss.cli.terminal import make_console
from paploss.cli.wording import TIME_ZONE, moment
from paploss.client.states import TokenRole
from paploss.jobs.faults import describe_faults

HELP = "Your personal access tokens: they expire, and may do less than your key."

app = make_group(HELP)


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="What the token is for.")],
    *,
    role: Annotated[TokenRole, typer.Option(help="What it may do.")] = "viewer",
    days: Annotated[int, typer.Option(min=1, max=366, help="How long it is valid.")] = 30,
    as_json: JsonOption = False,
    state: StateOption = DEFAULT_STATE,
    url: UrlOption = None,
    key_file: KeyFileOption = None,
) -> None:
    """Create a token and print it; it is not shown again."""
    with connect(state, url, key_file) as client:
        try:
            made = client.create_token(name, role, days)
        except ValidationError as error:
            raise CommandError(describe_faults(error), BAD_INPUT) from None
    tell(as_json, made, made.token)


@app.command("list")
def list_all(
    *,
    everyone: Annotated[bool, typer.Option("--everyone", help="Those of everybody, for administrators.")] = False,
    as_json: JsonOption = False,
    state: StateOption = DEFAULT_STATE,
    url: UrlOption = None,
    key_file: KeyFileOption = None,
) -> None:
    """Your tokens, without the tokens themselves."""
    with connect(state, url, key_file) as client:
        tokens = client.list_tokens(everyone=everyone)
    if as_json:
        echo_json(tokens)
        return
    table = Table("id", "name", "owner", "role", f"expires ({TIME_ZONE})", box=None)
    for token in tokens:
        expires = moment(token.expires_at) + (", expired" if token.expired else "")
        table.add_row(token.id, token.name, token.owner, token.role, expires)
    make_console().print(table)


@app.command()
def revoke(
    token_id: Annotated[str, typer.Argument(metavar="ID", help="As `paploss tokens list` shows it.")],
    as_json: JsonOption = False,
    state: StateOption = DEFAULT_STATE,
    url: UrlOption = None,
    key_file: KeyFileOption = None,
) -> None:
    """Revoke a token."""
    with connect(state, url, key_file) as client:
        client.revoke_token(token_id)
    tell(as_json, {"id": token_id, "revoked": True}, f"revoked {token_id}")
