"""The lists of experiments: filter, order, and what is done to several at once. All of it works without a script."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Annotated, ClassVar, Literal, cast, get_args
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Form, Query
from fastapi.responses import HTMLResponse, RedirectResponse
from starlette.responses import Response

from paploss.client.annotations import ExperimentAnnotation
from paploss.client.states import FINAL_EXPERIMENT_STATES, Archived, ExperimentKind, ExperimentState
from paploss.controller.api import views
from paploss.controller.api.pages.pages import EXPERIMENT_STATES, pages
from paploss.controller.api.problems import ProblemError
from paploss.controller.api.rest.health import read_status
from paploss.controller.api.security.access import ADMINS, AuthorizedRoute, SignedIn
from paploss.controller.api.security.callers import Caller
from paploss.controller.api.services import Injected, Services
from paploss.controller.store import experiments as store
from paploss.controller.store.annotations import annotate_experiment
from paploss.controller.store.errors import ConflictError, NotFoundError
from paploss.controller.store.reading import overview
from paploss.controller.store.reading.experiments import (
    ExperimentFilter,
    ExperimentOrder,
    find_experiments,
    known_values,
    sort_experiments,
)
from paploss.controller.store.tables import Experiment
from paploss.controller.web.render import draw_sparkline
from paploss.jobs.wording import counted

router = APIRouter(route_class=AuthorizedRoute, include_in_schema=False, default_response_class=HTMLResponse)

ROWS = 50
MOST_SELECTED = 200
ARCHIVED: tuple[Archived, ...] = get_args(Archived)
KINDS: dict[str, tuple[ExperimentKind, ...]] = {"Searches": ("search",), "Trainings": ("comparison", "training")}
ADDRESSES = {"Searches": "/", "Trainings": "/trainings"}

Action = Literal["archive", "unarchive", "cancel", "delete"]
Text = Annotated[str, Query(max_length=100)]


@dataclass(frozen=True)
class Heading:
    """A column of the list."""

    title: str
    order: ExperimentOrder | None = None
    """By which it can be sorted."""
    is_number: bool = False
    is_wide: bool = False
    """Left out on a phone."""


_HEADINGS = (
    Heading("name", "name"),
    Heading("state", "state"),
    Heading("data set", "dataset", is_wide=True),
    Heading("progress", "progress", is_wide=True),
    Heading("trend", is_wide=True),
    Heading("best (%)", "best", is_number=True),
    Heading("time left", is_number=True, is_wide=True),
    Heading("owner", "owner", is_wide=True),
    Heading("project", "project", is_wide=True),
    Heading("started", "started", is_number=True, is_wide=True),
)


@dataclass(frozen=True)
class Listing:
    """What a list shows, as its address says it."""

    address: str
    chosen: ExperimentFilter
    order: ExperimentOrder
    descending: bool
    offset: int
    limit: ClassVar[int] = ROWS

    @property
    def narrowed(self) -> dict[str, str]:
        """The conditions as query parameters."""
        given = asdict(self.chosen)
        del given["kinds"]
        if self.chosen.archived == "no":
            del given["archived"]
        return {name: value for name, value in given.items() if value}

    def link(self, **changes: str | int) -> str:
        """The address of this list with some parameters changed."""
        shown = {"sort": self.order, "descending": str(self.descending).lower()}
        plain = {"sort": "started", "descending": "true"}
        query = urlencode(self.narrowed | ({} if shown == plain else shown) | changes)
        return f"{self.address}?{query}" if query else self.address


def read_listing(
    *,
    text: Text = "",
    state: Text = "",
    tag: Text = "",
    profile: Text = "",
    dataset: Text = "",
    owner: Text = "",
    project: Text = "",
    archived: Text = "no",
    sort: ExperimentOrder = "started",
    descending: bool = True,
    offset: Annotated[int, Query(ge=0, lt=2**31)] = 0,
) -> Listing:
    """What a list is to show. A form sends an empty string where nothing is chosen.

    Raises:
        ProblemError: 422, no such state.
    """
    for name, value, known in (("state", state, EXPERIMENT_STATES), ("archived", archived, ARCHIVED)):
        if value and value not in known:
            raise ProblemError(422, f"{name}: expected one of {', '.join(known)}, got {value!r}")
    text, tag, profile, dataset, owner, project = (
        value.replace("\0", "").strip() for value in (text, tag, profile, dataset, owner, project)
    )
    chosen = ExperimentFilter(
        state=cast("ExperimentState | None", state or None),
        text=text,
        tag=tag,
        profile=profile,
        dataset=dataset,
        owner=owner,
        project=project,
        archived=cast("Archived", archived or "no"),
    )
    return Listing("", chosen, sort, descending, offset)


Asked = Annotated[Listing, Depends(read_listing)]
Picked = Annotated[Literal["all"] | None, Query()]


@router.get("/")
def show_searches(services: Injected, caller: SignedIn, asked: Asked, picked: Picked = None) -> str:
    """All searches."""
    return _show(services, caller, "Searches", asked, picked)


@router.get("/trainings")
def show_trainings(services: Injected, caller: SignedIn, asked: Asked, picked: Picked = None) -> str:
    """All comparisons and trainings."""
    return _show(services, caller, "Trainings", asked, picked)


def _show(services: Services, caller: Caller, section: str, asked: Listing, picked: str | None) -> str:
    kinds = KINDS[section]
    listing = replace(asked, address=ADDRESSES[section], chosen=replace(asked.chosen, kinds=kinds))
    with services.database.read() as session:
        page = sort_experiments(
            session,
            listing.chosen,
            order=listing.order,
            descending=listing.descending,
            offset=listing.offset,
            limit=listing.limit,
        )
        experiments = views.experiment_summaries(session, page.items)
        means = overview.mean_rewards(session, [each.id for each in experiments]) if section == "Searches" else {}
        known = known_values(session, kinds)
    return pages.render(
        "experiments.html",
        caller=caller,
        section=section,
        experiments=experiments,
        sparklines={experiment_id: draw_sparkline(values) for experiment_id, values in means.items()},
        headings=[each for each in _HEADINGS if each.order != "project" or caller.chooses_project],
        listing=replace(listing, offset=page.offset),
        total=page.total,
        known=known,
        states=EXPERIMENT_STATES,
        archived=ARCHIVED,
        picked=picked,
        status=read_status(services),
    )


@dataclass(frozen=True)
class Selection:
    """What an action is possible for, and what not, of the experiments that were selected."""

    action: Action
    able: list[Experiment]
    unable: list[Experiment]

    @property
    def title(self) -> str:
        """What is about to be done."""
        return f"{self.action.capitalize()} {counted(len(self.able), 'experiment')}"


_IS_ABLE: dict[Action, Callable[[Experiment], bool]] = {
    "archive": lambda each: each.state in FINAL_EXPERIMENT_STATES,
    "unarchive": lambda each: each.archived_at is not None,
    "cancel": lambda each: each.state not in FINAL_EXPERIMENT_STATES,
    "delete": lambda each: each.state in FINAL_EXPERIMENT_STATES,
}
_CONFIRMED: tuple[Action, ...] = ("cancel", "delete")
"""What cannot be undone is asked for twice."""


@router.post("/experiments/selected")
def act(
    services: Injected,
    caller: SignedIn,
    *,
    action: Annotated[Action, Form()],
    id: Annotated[list[str], Form(max_length=MOST_SELECTED)] = [],  # noqa: A002, B006 (the field's name; not changed)
    confirmed: Annotated[bool, Form()] = False,
    back: Annotated[str, Query(pattern=r"^/(trainings|experiments/[0-9a-z]+)?(\?.*)?$", max_length=1000)] = "/",
) -> Response:
    """Do something to the experiments that were selected, where it is possible, and go back.

    Raises:
        ProblemError: 403, only an administrator deletes.
    """
    if action == "delete" and caller.role not in ADMINS:
        raise ProblemError(403, f"deleting is for administrators; key {caller.name!r} has the role {caller.role}")
    with services.database.read() as session:
        found = find_experiments(session, id)
    able = [each for each in found if _IS_ABLE[action](each)]
    selection = Selection(action, able, [each for each in found if each not in able])
    if not able or (action in _CONFIRMED and not confirmed):
        page = pages.render("selected.html", caller=caller, section="", selection=selection, back=back)
        return HTMLResponse(page, 200 if able else 409)
    _carry_out(services, action, [each.id for each in able])
    services.driver.wake()
    return RedirectResponse(back, 303)


def _carry_out(services: Services, action: Action, experiment_ids: Sequence[str]) -> None:
    for experiment_id in experiment_ids:
        try:
            if action == "delete":
                store.delete_experiment(services.database, experiment_id)
                continue
            with services.database.write() as session:
                if action == "cancel":
                    store.cancel_experiment(session, experiment_id)
                else:
                    change = ExperimentAnnotation(archived=action == "archive")
                    annotate_experiment(session, experiment_id, change)
        except (ConflictError, NotFoundError):  # ended, or deleted, since it was read: what was asked for cannot be
            continue
