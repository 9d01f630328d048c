"""Starting a search from the page: a plain form that works without a script."""

import hashlib
import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse
from pydantic import ValidationError
from starlette.responses import Response

from paploss.client.documents import SPEC
from paploss.client.estimates import Estimate
from paploss.client.specs import SearchSpec
from paploss.controller.api import estimates
from paploss.controller.api.idempotency import identify_request
from paploss.controller.api.pages.examples import EXAMPLES
from paploss.controller.api.pages.pages import pages
from paploss.controller.api.problems import ProblemError, describe_errors
from paploss.controller.api.projects import ProjectChoice, read_data_roots, start_in
from paploss.controller.api.security.access import AuthorizedRoute, SignedIn
from paploss.controller.api.security.callers import Caller
from paploss.controller.api.services import Injected, Services
from paploss.controller.data_roots import PathRefusedError, check_files, find_datasets
from paploss.controller.experiments.creation import create
from paploss.controller.store.errors import ConflictError, NotFoundError
from paploss.controller.store.reading import lists
from paploss.controller.web.forms import Field, default_values, flatten, list_fields, read_values
from paploss.jobs.documents import VERSION_KEY
from paploss.jobs.profiles import PROFILES

router = APIRouter(route_class=AuthorizedRoute, include_in_schema=False, default_response_class=HTMLResponse)

FIELDS = list_fields(SearchSpec.model_json_schema())

_GROUPS = {
    "Search": ("name", "profile", "reward", "rounds", "trials_per_round", "worker_hours", "seed"),
    "Data set": ("dataset", "weights"),
    "Algorithm": (
        "algorithm",
        "start_from",
        "pilot",
        "mode",
        "family",
        "knots",
        "searched_rate",
        "quality",
        "screen",
        "prune",
    ),
    "Lengths of trainings": ("lengths",),
    "Proxy schedule": ("overrides",),
    "Confirmation of the best": ("confirm",),
    "Synthetic trainer": ("synthetic",),
}
_REST = "Workers, priority and budgets"
_OPEN_GROUPS = ("Search", "Data set")
"""The others are collapsed while all their fields have the default."""


@dataclass(frozen=True)
class Fieldset:
    """Fields under one heading."""

    title: str
    fields: list[Field]
    folded: bool


async def read_form(request: Request) -> dict[str, str]:
    """The fields of a posted form; of a repeated name the last value (a checkbox follows its hidden "off")."""
    return {name: value for name, value in (await request.form()).multi_items() if isinstance(value, str)}


@router.get("/experiments/new")
def show_form(
    services: Injected,
    caller: SignedIn,
    *,
    clone: Annotated[str | None, Query(pattern=r"^[0-9a-z]{1,32}$")] = None,
    example: Annotated[str | None, Query(max_length=50)] = None,
    dataset: Annotated[str | None, Query(max_length=1000)] = None,
    project: ProjectChoice = None,
) -> HTMLResponse:
    """The form, empty or filled in from a search, an example or a data set of the data roots."""
    document: Mapping[str, Any] = {}
    there = start_in(services, caller, project)
    roots = read_data_roots(there)
    if clone is not None:
        with services.database.read() as session:
            search = lists.get_experiment(session, clone, "search")
            # Brought up to this version: what an older one did not know would take today's default.
            document = {key: value for key, value in SPEC.write(SPEC.read(search.spec)).items() if key != VERSION_KEY}
            document["name"] = f"{search.name} (copy)".strip()
            project = search.project
    elif example is not None:
        if example not in EXAMPLES:
            raise ProblemError(404, f"example: expected one of {', '.join(EXAMPLES)}, got {example!r}")
        document = _with_root(EXAMPLES[example], roots)
    elif dataset is not None:
        known = {each.root: each for each in find_datasets(roots)}
        if dataset not in known:
            raise ProblemError(404, f"dataset: there is no data set {dataset!r} in the data roots")
        chosen = known[dataset]
        document = {"name": chosen.name, "dataset": chosen.model_dump(mode="json")}
    typed = default_values(FIELDS) | flatten(document, FIELDS) | {"project": project or ""}
    return _render(services, caller, typed, token=secrets.token_urlsafe(16), clone=clone)


@router.post("/experiments/new")
def start(services: Injected, caller: SignedIn, typed: Annotated[dict[str, str], Depends(read_form)]) -> Response:
    """Start the search, or show the form again: with its errors, or with what the search would cost."""
    try:
        document = read_values(FIELDS, typed)
        spec = SearchSpec.model_validate(document)
        there = start_in(services, caller, typed.get("project"))
        check_files(spec, read_data_roots(there))
    except ValidationError as error:
        found = {
            item.pointer.strip("/").replace("/", "."): item.message
            for item in describe_errors(error.errors(), document)
        }
        return _render(services, caller, typed, errors=found)
    except PathRefusedError as error:
        return _render(services, caller, typed, errors=error.faults)
    except NotFoundError as error:
        return _render(services, caller, dict(typed) | {"project": ""}, errors={"project": str(error)})
    if typed.get("action") == "estimate":
        with there.database.read() as session:
            return _render(services, caller, typed, estimate=estimates.estimate(session, spec))
    # With the form's token a double click starts one search; another request from the same form starts another.
    digest = hashlib.sha256(spec.model_dump_json().encode()).hexdigest()[:16]
    key = f"form-{typed.get('token') or secrets.token_urlsafe(16)}-{digest}"[:200]
    try:
        with there.database.write() as session:
            search = create(session, spec, caller.name, identify_request(key, spec))
    except (ConflictError, NotFoundError) as error:
        field, _, message = str(error).partition(": ")
        if not field.startswith("start_from"):
            raise
        return _render(services, caller, typed, errors={"start_from": message})
    services.driver.wake()
    return RedirectResponse(f"/experiments/{search.id}", 303)


def _render(
    services: Services,
    caller: Caller,
    typed: Mapping[str, str],
    *,
    errors: Mapping[str, str] | None = None,
    token: str | None = None,
    clone: str | None = None,
    estimate: Estimate | None = None,
) -> HTMLResponse:
    errors = errors or {}
    roots = read_data_roots(start_in(services, caller, typed.get("project")))
    known = {field.path for field in FIELDS}
    return HTMLResponse(
        pages.render(
            "start.html",
            caller=caller,
            section="Searches",
            groups=group_fields(typed, errors),
            typed=typed,
            errors=errors,
            general={path: message for path, message in errors.items() if path not in known},
            token=token or typed.get("token", ""),
            clone=clone,
            estimate=estimate,
            examples=list(EXAMPLES),
            profiles=PROFILES.values(),
            data_roots=roots,
            datasets=find_datasets(roots),
        ),
        422 if errors else 200,
    )


def group_fields(typed: Mapping[str, str], errors: Mapping[str, str]) -> list[Fieldset]:
    """The fields under their headings; folded where all have their default, but for the first headings."""
    places = {key: title for title, keys in _GROUPS.items() for key in keys}
    titles = [*_GROUPS, _REST]
    title_of = {field.path: places.get(field.path.partition(".")[0], _REST) for field in FIELDS}
    ordered = sorted(FIELDS, key=lambda field: titles.index(title_of[field.path]))
    groups = []
    for title, members in groupby(ordered, key=lambda field: title_of[field.path]):
        fields = list(members)
        order = _GROUPS.get(title, ())
        fields.sort(key=lambda field: order.index(key) if (key := field.path.partition(".")[0]) in order else 0)
        touched = any(
            typed.get(field.path, "") != ("" if field.optional_group else field.default) for field in fields
        ) or any(path.startswith(field.path.partition(".")[0]) for path in errors for field in fields)
        groups.append(Fieldset(title, fields, folded=title not in _OPEN_GROUPS and not touched))
    return groups


def _with_root(document: Mapping[str, Any], data_roots: Sequence[Path]) -> dict[str, Any]:
    """An example with a folder for its data beneath the first data root; the embedded data set needs none."""
    copy: dict[str, Any] = json.loads(json.dumps(document))
    if "train" in copy["dataset"] and data_roots:
        copy["dataset"]["root"] = f"{data_roots[0]}/{copy['dataset']['name']}"
    return copy
