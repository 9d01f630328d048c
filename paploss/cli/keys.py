"""API keys: `paploss keys create | list | revoke`."""

from typing import Annotated

import typer
from pydantic import ValidationError
from rich.table import Table

from paploss.cli.connection import DEFAULT_STATE, JsonOption, KeyFileOption, StateOption, UrlOption, connect
from paploss.cli.extras import require
from paploss.cli.failures import BAD_INPUT, REFUSED, CommandError
from paploss.cli.groups import make_group
from paploss.cli.output import echo_json, tell
from paploss.cli.terminal import make_console
from paploss.cli.wording import TIME_ZONE, moment
from paploss.client.models import KeyRequest
from paploss.client.projects import DEFAULT_PROJECT
from paploss.client.states import Role
from paploss.jobs.faults import describe_faults

app = make_group("API keys of a controller.")

NameArgument = Annotated[str, typer.Argument(help="Who the key is for.")]


@app.command()
def create(
    name: NameArgument,
    *,
    role: Annotated[Role, typer.Option(help="What the key may do.")],
    project: Annotated[
        str, typer.Option(help="Project whose experiments it sees; administrators and workers see those of all.")
    ] = DEFAULT_PROJECT,
    all_projects: Annotated[
        bool, typer.Option("--all-projects", help="It sees the experiments of all projects.")
    ] = False,
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
    try:
        request = KeyRequest(name=name, role=role, project=None if all_projects else project)
    except ValidationError as error:
        raise CommandError(describe_faults(error), BAD_INPUT) from None
    if direct:
        key = _write_key(request)
    else:
        with connect(state, url, key_file) as client:
            key = client.create_key(name, role, project=request.project).key
    tell(as_json, {"name": name, "role": role, "key": key}, key)


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
        echo_json(keys)
        return
    table = Table("name", "role", "project", f"created ({TIME_ZONE})", f"revoked ({TIME_ZONE})", box=None)
    for key in keys:
        table.add_row(key.name, key.role, key.project or "all", moment(key.created_at), moment(key.revoked_at))
    make_console().print(table)


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
    tell(as_json, {"name": name, "revoked": True}, f"revoked {name}")


def _write_key(request: KeyRequest) -> str:
    require("--direct", "controller")
    # Late, because the database's packages are not there where only the client is installed.
    from paploss.cli.databases import open_database  # noqa: PLC0415
    from paploss.controller.store.access.keys import create_key  # noqa: PLC0415
    from paploss.controller.store.errors import StoreError  # noqa: PLC0415

    with open_database() as database:
        try:
            with database.write() as session:
                return create_key(session, request.name, request.role, request.project)
        except StoreError as error:
            raise CommandError(str(error), REFUSED) from None
