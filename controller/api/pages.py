"""The pages' addresses: each reads what it shows and fills a template. What buttons do goes through the API."""

from dataclasses import dataclass
from typing import Annotated, Any, cast, get_args
from urllib.parse import quote, urlencode

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse
from sqlalchemy.orm import Session
from starlette.responses import Response

from paploss.client.models import Best, LogLine, Run, SearchDetail, TrialSummary
from paploss.client.states import TrialState
from paploss.controller.api import views
from paploss.controller.api.access import GuardedRoute, SignedIn
from paploss.controller.api.assets import asset_url
from paploss.controller.api.callers import Caller
from paploss.controller.api.comparisons import read_comparison
from paploss.controller.api.fleet import read_workers
from paploss.controller.api.health import read_status
from paploss.controller.api.parameters import IdCursor, NameCursor, SearchId, TrialId
from paploss.controller.api.problems import Problem, ProblemError
from paploss.controller.api.services import Injected
from paploss.controller.store import overview, queries
from paploss.controller.store.failures import read_failures
from paploss.controller.store.overview import TrialFilter, TrialOrder
from paploss.controller.web.render import Pages, draw_sparkline
from paploss.jobs.profiles import PROFILES
from paploss.jobs.spec import JobKind

router = APIRouter(route_class=GuardedRoute, include_in_schema=False, default_response_class=HTMLResponse)

pages = Pages(asset_url)

ROWS = 50
TRIAL_ROWS = 25
LOG_LINES = 60
CHOICES = 200
TRIAL_STATES: tuple[TrialState, ...] = get_args(TrialState)
TRIAL_KINDS: tuple[JobKind, ...] = get_args(JobKind)

_COLUMNS = (
    ("number", "trial", False),
    ("round", "from", False),
    ("state", "state", False),
    ("ap", "AP", True),
    ("iteration", "iteration", True),
    ("seconds", "took", True),
    ("worker", "worker", False),
)
"""Column, heading, whether it is a number."""
_TRAINING_COLUMNS = (_COLUMNS[0], ("label", "loss", False), *_COLUMNS[2:])

Sort = Annotated[TrialOrder, Query()]
Offset = Annotated[int, Query(ge=0, lt=2**31)]
SearchChoice = Annotated[str, Query(pattern=r"^[0-9a-z]{0,32}$")]


@dataclass(frozen=True)
class Side:
    """One of two searches that are compared."""

    search: SearchDetail
    best: Best | None


def read_filter(state: str = "", kind: str = "", worker: Annotated[str, Query(max_length=100)] = "") -> TrialFilter:
    """Which trials a table is to show. A form sends an empty text where nothing is chosen.

    Raises:
        ProblemError: 422, no such state or kind.
    """
    for name, value, known in (("state", state, TRIAL_STATES), ("kind", kind, TRIAL_KINDS)):
        if value and value not in known:
            raise ProblemError(422, f"{name}: expected one of {', '.join(known)}, got {value!r}")
    return TrialFilter(cast("TrialState | None", state or None), cast("JobKind | None", kind or None), worker or None)


Filter = Annotated[TrialFilter, Depends(read_filter)]


@dataclass(frozen=True)
class TrialTable:
    """One page of the trials table, as it was sorted and filtered."""

    trials: list[TrialSummary]
    total: int
    order: TrialOrder
    descending: bool
    offset: int
    only: TrialFilter
    columns: tuple[tuple[str, str, bool], ...]
    kinds: tuple[str, ...]
    states: tuple[str, ...] = TRIAL_STATES
    limit: int = TRIAL_ROWS

    @property
    def filter_query(self) -> dict[str, str]:
        """The filter as parameters of an address."""
        given = {"state": self.only.state, "kind": self.only.kind, "worker": self.only.worker}
        return {name: value for name, value in given.items() if value}

    def query(self, **changes: str | int) -> str:
        """Query string of this table with some parameters changed, for its links."""
        shown = {"sort": self.order, "descending": str(self.descending).lower()}
        return urlencode(self.filter_query | shown | changes)


@router.get("/")
def show_searches(services: Injected, caller: SignedIn, cursor: IdCursor = None) -> str:
    """All searches."""
    with services.database.read() as session:
        page = queries.list_searches(session, kind="search", cursor=cursor, limit=ROWS)
        searches = views.search_summaries(session, page.items)
        means = overview.mean_rewards(session, [search.id for search in searches])
    return _render(
        "searches.html",
        caller,
        "Searches",
        searches=searches,
        sparklines={search_id: draw_sparkline(values) for search_id, values in means.items()},
        cursor=cursor,
        next_cursor=page.next_cursor,
        status=read_status(services),
    )


@router.get("/searches/{search_id}")
def show_search(
    search_id: SearchId,
    services: Injected,
    caller: SignedIn,
    only: Filter,
    *,
    sort: Sort = "number",
    descending: bool = True,
    offset: Offset = 0,
) -> str:
    """One search."""
    with services.database.read() as session:
        search = queries.get_search(session, search_id, "search")
        detail = views.search_detail(session, search)
        rounds = queries.list_rounds(session, search_id, limit=1).items
        running = queries.list_trials(session, search_id, state="running", limit=ROWS).items
        failures = read_failures(session, search_id)
        return _render(
            "search.html",
            caller,
            "Searches",
            search=detail,
            best=views.best(session, search) if detail.best_ap is not None else None,
            start_mean=rounds[0].mean_reward if rounds else None,
            confirmations=views.label_results(session, search_id),
            table=_trial_table(session, detail, only, order=sort, descending=descending, offset=offset),
            running=[views.trial_summary(trial) for trial in running],
            failures=[(failure, views.moment(failure.last_at)) for failure in failures],
            events=_events(session, search_id),
        )


@router.get("/trainings")
def show_trainings(services: Injected, caller: SignedIn, cursor: IdCursor = None) -> str:
    """All training requests."""
    with services.database.read() as session:
        page = queries.list_searches(session, kind="training", cursor=cursor, limit=ROWS)
        trainings = views.training_summaries(session, page.items)
    return _render(
        "trainings.html", caller, "Trainings", trainings=trainings, cursor=cursor, next_cursor=page.next_cursor
    )


@router.get("/trainings/{search_id}")
def show_training(
    search_id: SearchId,
    services: Injected,
    caller: SignedIn,
    only: Filter,
    *,
    sort: Sort = "number",
    descending: bool = False,
    offset: Offset = 0,
) -> str:
    """One training request."""
    with services.database.read() as session:
        training = queries.get_search(session, search_id, "training")
        detail = views.training_detail(session, training)
        comparison = read_comparison(session, training)
        table = _trial_table(session, detail, only, order=sort, descending=descending, offset=offset)
        events = _events(session, search_id)
    return _render(
        "training.html", caller, "Trainings", training=detail, comparison=comparison, table=table, events=events
    )


@router.get("/trials/{trial_id}")
def show_trial(trial_id: TrialId, services: Injected, caller: SignedIn) -> str:
    """One trial."""
    with services.database.read() as session:
        detail = views.trial_detail(session, queries.get_trial(session, trial_id))
        search = queries.get_search(session, detail.search_id)
    is_training = search.kind == "training"
    section = "Trainings" if is_training else "Searches"
    address = f"/{section.lower()}/{search.id}"
    newest = detail.attempt_list[-1] if detail.attempt_list else None
    return _render(
        "trial.html",
        caller,
        section,
        trial=detail,
        parent={"name": search.name or search.id, "address": address},
        split=search.spec["evaluate_split"] if is_training else "search validation",
        log_tail=newest.log_tail if newest else "",
        environment=newest.environment if newest else {},
    )


@router.get("/workers")
def show_workers(services: Injected, caller: SignedIn, cursor: NameCursor = None) -> str:
    """All workers."""
    page = read_workers(services, cursor, 200)
    with services.database.read() as session:
        obstacles = [views.log_line(event) for event in queries.latest_obstacles(session)]
        queue = [(row, views.moment(row.oldest_at)) for row in overview.read_waiting(session)]
    return _render(
        "workers.html",
        caller,
        "Workers",
        workers=page.items,
        next_cursor=page.next_cursor,
        obstacles=obstacles,
        queue=queue,
        status=read_status(services),
    )


@router.get("/compare")
def show_comparison(services: Injected, caller: SignedIn, first: SearchChoice = "", second: SearchChoice = "") -> str:
    """Two searches side by side, and the way to the comparisons of losses."""
    with services.database.read() as session:
        choices = queries.list_searches(session, kind="search", limit=CHOICES).items
        trainings = queries.list_searches(session, kind="training", limit=ROWS).items
        chosen = [queries.get_search(session, search_id, "search") for search_id in (first, second) if search_id]
        known = {search.id for search in choices}
        sides = [
            Side(detail, views.best(session, search) if detail.best_ap is not None else None)
            for search, detail in zip(chosen, views.search_details(session, chosen), strict=True)
        ]
        losses = [row for row in views.training_summaries(session, trainings) if row.kind == "compare"]
    heads = [
        head
        for head in (PROFILES[sides[0].search.profile].heads if sides else ())
        if all(side.best is not None and head in side.best.loss.head_losses for side in sides)
    ]
    return _render(
        "compare.html",
        caller,
        "Compare",
        choices=[*choices, *(search for search in chosen if search.id not in known)],
        first=first,
        second=second,
        sides=sides,
        heads=heads,
        losses=losses,
    )


@router.get("/docs")
def show_reference() -> str:
    """The API reference."""
    return pages.render("docs.html")


def render_problem(request: Request, problem: Problem) -> Response:
    """An error as a page; whoever is not signed in is asked to."""
    if problem.status == 401 and request.method == "GET":
        target = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        return RedirectResponse(f"/sign-in?next={quote(target)}", 303)
    if problem.status == 422 and any(error.location == "path" for error in problem.errors):
        problem = problem.model_copy(
            update={"status": 404, "title": "Not Found", "detail": f"there is nothing at {request.url.path}"}
        )
    caller: Caller | None = getattr(request.state, "caller", None)
    page = pages.render("error.html", caller=caller, section="", problem=problem)
    return HTMLResponse(page, problem.status)


def _trial_table(
    session: Session, run: Run, only: TrialFilter, *, order: TrialOrder, descending: bool, offset: int
) -> TrialTable:
    trials, total = overview.sort_trials(
        session, run.id, order=order, descending=descending, offset=offset, limit=TRIAL_ROWS, only=only
    )
    is_training = run.stage in ("rates", "trainings")
    return TrialTable(
        trials=[views.trial_summary(trial) for trial in trials],
        total=total,
        order=order,
        descending=descending,
        offset=offset,
        only=only,
        columns=_TRAINING_COLUMNS if is_training else _COLUMNS,
        kinds=() if is_training else ("proxy", "confirm"),
    )


def _events(session: Session, search_id: str) -> list[LogLine]:
    """The newest lines of the log, newest first."""
    return [views.log_line(event) for event in reversed(queries.latest_events(session, search_id, LOG_LINES))]


def _render(template: str, caller: Caller | None, section: str, **values: Any) -> str:
    return pages.render(template, caller=caller, section=section, **values)
