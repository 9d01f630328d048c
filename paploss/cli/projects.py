"""Projects: `paploss projects create | list | set | delete`."""

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
from paploss.client.projects import ProjectChange, ProjectRequest
from paploss.jobs.faults import describe_faults

HELP = "Projects, which separate users: who sees what, and how much they may use."

app = make_group(HELP)

NameArgument = Annotated[str, typer.Argument(help="Lower-case letters, digits and hyphens.")]
DataRootOption = Annotated[
    list[str] | None,
    typer.Option(help="Folder within the operator's data roots, for its data sets. May be repeated; none: all."),
]
TrialsOption = Annotated[int | None, typer.Option(help="Trials that may run at once; none: no limit.")]
HoursOption = Annotated[float | None, typer.Option(help="GPU-hours in all; none: no limit.")]


@app.command()
def create(
    name: NameArgument,
    *,
    data_root: DataRootOption = None,
    max_running_trials: TrialsOption = None,
    gpu_hours: HoursOption = None,
    as_json: JsonOption = False,
    state: StateOption = DEFAULT_STATE,
    url: UrlOption = None,
    key_file: KeyFileOption = None,
) -> None:
    """Create a project; needs an administrator's key."""
    request = _read(name, data_root, max_running_trials, gpu_hours)
    with connect(state, url, key_file) as client:
        made = client.create_project(request)
    tell(as_json, made, f"made {made.name}; its keys: paploss keys create --project {made.name}")


@app.command("list")
def list_all(
    as_json: JsonOption = False,
    state: StateOption = DEFAULT_STATE,
    url: UrlOption = None,
    key_file: KeyFileOption = None,
) -> None:
    """The projects that your key sees, with what they use."""
    with connect(state, url, key_file) as client:
        projects = client.list_projects()
    if as_json:
        echo_json(projects)
        return
    table = Table("name", "running trials", "GPU-hours", "data roots", f"created ({TIME_ZONE})", box=None)
    for project in projects:
        trials = _of(f"{project.running_trials}", project.max_running_trials)
        hours = _of(f"{project.gpu_hours_used:.1f}", project.gpu_hours)
        roots = " ".join(project.data_roots) or "all"
        table.add_row(project.name, trials, hours, roots, moment(project.created_at))
    make_console().print(table)


@app.command("set")
def change(
    name: NameArgument,
    *,
    data_root: DataRootOption = None,
    max_running_trials: TrialsOption = None,
    gpu_hours: HoursOption = None,
    as_json: JsonOption = False,
    state: StateOption = DEFAULT_STATE,
    url: UrlOption = None,
    key_file: KeyFileOption = None,
) -> None:
    """Set all limits of a project: those left out are lifted."""
    request = _read(name, data_root, max_running_trials, gpu_hours)
    with connect(state, url, key_file) as client:
        changed = client.change_project(name, ProjectChange(**request.model_dump(exclude={"name"})))
    tell(as_json, changed, f"changed {name}")


@app.command()
def delete(
    name: NameArgument,
    as_json: JsonOption = False,
    state: StateOption = DEFAULT_STATE,
    url: UrlOption = None,
    key_file: KeyFileOption = None,
) -> None:
    """Delete a project that nothing belongs to."""
    with connect(state, url, key_file) as client:
        client.delete_project(name)
    tell(as_json, {"name": name, "deleted": True}, f"deleted {name}")


def _read(
    name: str, data_roots: list[str] | None, max_running_trials: int | None, gpu_hours: float | None
) -> ProjectRequest:
    given = {"name": name, "max_running_trials": max_running_trials, "gpu_hours": gpu_hours}
    try:
        return ProjectRequest.model_validate(given | {"data_roots": data_roots or []})
    except ValidationError as error:
        raise CommandError(describe_faults(error), BAD_INPUT) from None


def _of(used: str, limit: float | None) -> str:
    return used if limit is None else f"{used} of {limit:g}"
