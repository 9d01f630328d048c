"""The routes of the pages: each reads what it shows and renders a template. Buttons call the API."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Self, cast, get_args
from urllib.parse import quote, urlencode

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse
from starlette.responses import Response

from paploss.client.detections import Detections
from paploss.client.models import Best, ExperimentDetail, LogLine, TrialSummary
from paploss.client.states import ExperimentState, TrialState
from paploss.controller.api import views
from paploss.controller.api.comparisons import read_comparison
from paploss.controller.api.detections import read_detections, read_trial_detections
from paploss.controller.api.pages.assets import asset_url
from paploss.controller.api.parameters import ExperimentId, NameCursor, TrialId
from paploss.controller.api.problems import Problem, ProblemError
from paploss.controller.api.rest.detections import Labels
from paploss.controller.api.rest.health import read_status
from paploss.controller.api.security.access import AuthorizedRoute, SignedIn
from paploss.controller.api.security.callers import Caller
from paploss.controller.api.services import Injected
from paploss.controller.api.workers import read_workers
from paploss.controller.store.database import Session
from paploss.controller.store.errors import NotFoundError
from paploss.controller.store.reading import lists, overview
from paploss.controller.store.reading.failures import read_failures
from paploss.controller.store.reading.overview import TrialFilter, TrialOrder
from paploss.controller.store.tables import Experiment, Trial
from paploss.controller.web.facts import RequestFacts
from paploss.controller.web.render import Pages
from paploss.jobs.documents import UnreadableError
from paploss.jobs.ids import make_trial_id
from paploss.jobs.metrics import name_requested
from paploss.jobs.spec import JobKind

router = APIRouter(route_class=AuthorizedRoute, include_in_schema=False, default_response_class=HTMLResponse)

pages = Pages(asset_url)

ROWS = 50
TRIAL_ROWS = 25
LOG_LINES = 60
TRIAL_STATES: tuple[TrialState, ...] = get_args(TrialState)
EXPERIMENT_STATES: tuple[ExperimentState, ...] = get_args(ExperimentState)
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
_METRIC_COLUMN = "ap"
"""Its heading is the experiment's metric."""

Sort = Annotated[TrialOrder, Query()]
Offset = Annotated[int, Query(ge=0, lt=2**31)]
ShortText = Annotated[str, Query(max_length=100)]


def read_filter(state: ShortText = "", kind: ShortText = "", worker: ShortText = "") -> TrialFilter:
    """Which trials a table is to show. A form sends an empty string where nothing is chosen.

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
    """One page of the trials table, with its sorting and filter."""

    trials: list[TrialSummary]
    total: int
    order: TrialOrder
    descending: bool
    offset: int
    only: TrialFilter
    columns: tuple[tuple[str, str, bool], ...]
    kinds: tuple[str, ...]
    states: ClassVar[tuple[str, ...]] = TRIAL_STATES
    limit: ClassVar[int] = TRIAL_ROWS

    @property
    def filter_query(self) -> dict[str, str]:
        """The filter as query parameters."""
        given = {"state": self.only.state, "kind": self.only.kind, "worker": self.only.worker}
        return {name: value for name, value in given.items() if value}

    def query(self, **changes: str | int) -> str:
        """Query string of this table with some parameters changed, for its links."""
        shown = {"sort": self.order, "descending": str(self.descending).lower()}
        return urlencode(self.filter_query | shown | changes)


@dataclass(frozen=True)
class ShownDetections:
    """What trainings detected, with where the thumbnails are."""

    detections: Detections
    addresses: Mapping[str | None, str]
    """Of thumbnails, by digest."""

    @classmethod
    def of(cls, experiment_id: str, detections: Detections) -> Self:
        """Addresses of the API."""
        digests = {one.thumbnail for loss in detections.losses for one in loss.pictures if one.thumbnail}
        return cls(detections, {each: f"/api/v1/experiments/{experiment_id}/thumbnails/{each}" for each in digests})

    @property
    def query(self) -> str:
        """Of the figures, for the same losses."""
        return "?" + urlencode([("label", loss.label) for loss in self.detections.losses])


@router.get("/experiments/{experiment_id}")
def show_experiment(
    experiment_id: ExperimentId,
    services: Injected,
    caller: SignedIn,
    only: Filter,
    *,
    sort: Sort = "number",
    descending: bool | None = None,
    offset: Offset = 0,
    label: Labels = [],  # noqa: B006
) -> str:
    """One experiment, as its kind is shown."""
    with services.database.read() as session:
        experiment = lists.get_experiment(session, experiment_id)
        detail = views.experiment_detail(session, experiment)
        is_search = detail.kind == "search"
        newest_first = is_search if descending is None else descending
        values: dict[str, Any] = {
            "experiment": detail,
            "request": RequestFacts.of(detail.spec),
            "table": _trial_table(session, detail, only, order=sort, descending=newest_first, offset=offset),
            "events": _events(session, experiment_id),
            "detections": _read_detections(session, experiment_id, label),
        }
        values |= _read_search(session, experiment) if is_search else _read_losses(session, experiment_id)
    template = "search.html" if is_search else "training.html"
    return _render(template, caller, "Searches" if is_search else "Trainings", **values)


def _read_search(session: Session, search: Experiment) -> dict[str, Any]:
    rounds = lists.list_rounds(session, search.id, limit=1).items
    running = lists.list_trials(session, search.id, state="running", limit=ROWS).items
    return {
        "best": find_best(session, search),
        "pilot": overview.read_pilot(session, search.id),
        "screened_out": overview.count_screened_out(session, search.id),
        "has_distribution": bool(overview.read_policy(session, search.id, most=2)),
        "start_mean": rounds[0].mean_reward if rounds else None,
        "running": [views.trial_summary(trial) for trial in running],
        "failures": [(failure, views.moment(failure.last_at)) for failure in read_failures(session, search.id)],
    }


def _read_losses(session: Session, experiment_id: str) -> dict[str, Any]:
    try:
        return {"comparison": read_comparison(session, experiment_id)}
    except UnreadableError:  # of another version: its trials are shown all the same
        return {"comparison": None}


def _read_detections(session: Session, experiment_id: str, labels: list[str]) -> ShownDetections | None:
    try:
        return ShownDetections.of(experiment_id, read_detections(session, experiment_id, labels))
    except ProblemError:
        if labels:  # asked for, and not there
            raise
        return None
    except UnreadableError:  # of another version
        return None


def _read_trial_detections(session: Session, trial: Trial) -> ShownDetections | None:
    try:
        found = read_trial_detections(session, trial.id)
    except (NotFoundError, UnreadableError):
        return None
    return ShownDetections.of(trial.experiment_id, Detections(labels=[], losses=[found]))


def find_best(session: Session, search: Experiment) -> Best | None:
    """The best loss so far; None before the first reward, and where another version has stored it."""
    try:
        return views.best(session, search)
    except (ProblemError, UnreadableError):
        return None


@router.get("/trials/{trial_id}")
def show_trial(trial_id: TrialId, services: Injected, caller: SignedIn) -> str:
    """One trial."""
    with services.database.read() as session:
        trial = lists.get_trial(session, trial_id)
        detail = views.trial_detail(session, trial)
        detections = _read_trial_detections(session, trial)
        experiment = lists.get_experiment(session, detail.experiment_id)
    is_search = experiment.kind == "search"
    newest = detail.attempt_list[-1] if detail.attempt_list else None
    neighbours = {"previous": detail.number - 1, "next": detail.number + 1}
    return _render(
        "trial.html",
        caller,
        "Searches" if is_search else "Trainings",
        trial=detail,
        detections=detections,
        metric=name_requested(experiment.spec),
        neighbours={
            name: make_trial_id(experiment.id, number)
            for name, number in neighbours.items()
            if 0 <= number < experiment.next_number
        },
        parent={"name": experiment.name or experiment.id, "address": f"/experiments/{experiment.id}"},
        split="search validation" if is_search else RequestFacts.of(experiment.spec).split,
        log_tail=newest.log_tail if newest else "",
        environment=newest.environment if newest else {},
        warnings=newest.warnings if newest else [],
    )


@router.get("/workers")
def show_workers(services: Injected, caller: SignedIn, cursor: NameCursor = None) -> str:
    """All workers."""
    page = read_workers(services, cursor, 200)
    with services.database.read() as session:
        obstacles = [views.log_line(event) for event in lists.latest_obstacles(session)]
        queue = [(row, views.moment(row.oldest_at)) for row in overview.read_backlogs(session)]
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


@router.get("/words")
def show_words(caller: SignedIn) -> str:
    """What the words of these pages mean."""
    return _render("words.html", caller, "Words")


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
    session: Session,
    experiment: ExperimentDetail,
    only: TrialFilter,
    *,
    order: TrialOrder,
    descending: bool,
    offset: int,
) -> TrialTable:
    page = overview.sort_trials(
        session, experiment.id, order=order, descending=descending, offset=offset, limit=TRIAL_ROWS, only=only
    )
    is_search = experiment.kind == "search"
    return TrialTable(
        trials=[views.trial_summary(trial) for trial in page.items],
        total=page.total,
        order=order,
        descending=descending,
        offset=page.offset,
        only=only,
        columns=tuple(
            (column, experiment.metric if column == _METRIC_COLUMN else heading, is_number)
            for column, heading, is_number in (_COLUMNS if is_search else _TRAINING_COLUMNS)
        ),
        kinds=("proxy", "rate_check", "confirm") if is_search else (),
    )


def _events(session: Session, experiment_id: str) -> list[LogLine]:
    """The newest lines of the log, newest first."""
    return [views.log_line(event) for event in reversed(lists.latest_events(session, experiment_id, LOG_LINES))]


def _render(template: str, caller: Caller | None, section: str, **values: Any) -> str:
    return pages.render(template, caller=caller, section=section, **values)
