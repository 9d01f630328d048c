"""Any number of experiments beside each other, by an address that can be passed on; and one search's trials."""

from dataclasses import dataclass
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Query
from fastapi.responses import HTMLResponse

from paploss.client.comparison import Comparison
from paploss.client.models import Best, ExperimentDetail, Spent
from paploss.controller.api import compared, views
from paploss.controller.api.columns import REWARD, Trials, read_trials
from paploss.controller.api.compared import MOST_COMPARED
from paploss.controller.api.comparisons import read_comparison
from paploss.controller.api.pages.pages import find_best, pages
from paploss.controller.api.parameters import ExperimentId
from paploss.controller.api.problems import ProblemError
from paploss.controller.api.security.access import AuthorizedRoute, SignedIn
from paploss.controller.api.services import Injected
from paploss.controller.store.database import Session
from paploss.controller.store.reading import lists
from paploss.controller.store.reading.experiments import ExperimentFilter, find_experiments, list_experiments
from paploss.controller.store.tables import Experiment
from paploss.controller.web.facts import RequestFacts
from paploss.controller.web.search_figures import name_dimensions
from paploss.jobs.documents import UnreadableError

router = APIRouter(route_class=AuthorizedRoute, include_in_schema=False, default_response_class=HTMLResponse)

CHOICES = 200
"""How many of the newest experiments are offered; others come by their list, or by the address."""

Ids = Annotated[list[Annotated[str, Query(pattern=r"^[0-9a-z]{0,32}$")]], Query(max_length=MOST_COMPARED)]
ColumnName = Annotated[str, Query(max_length=100)]


@dataclass(frozen=True)
class Side:
    """One of the experiments."""

    experiment: ExperimentDetail
    best: Best | None
    comparison: Comparison | None
    """Of given losses."""

    @property
    def request(self) -> RequestFacts:
        """What the page shows of its request."""
        return RequestFacts.of(self.experiment.spec)

    @property
    def conditions(self) -> tuple[object, ...]:
        """What has to be the same, or rewards do not measure the same thing."""
        spec = self.experiment.spec
        schedule = "proxy" if self.experiment.kind == "search" else spec.get("schedule")
        split = "val" if self.experiment.kind == "search" else spec.get("evaluate_split")
        shared = (spec.get("dataset"), spec.get("overrides"), self.experiment.metric, schedule, split)
        return (self.experiment.profile, *shared)


@router.get("/compare")
def show_compared(services: Injected, caller: SignedIn, id: Ids = [], by: Spent = "trainings") -> str:  # noqa: A002, B006
    """The experiments of these ids, in their order."""
    asked = [each for each in dict.fromkeys(id) if each]
    with services.database.read() as session:
        found = find_experiments(session, asked)
        offered = list_experiments(session, ExperimentFilter(archived="no"), limit=CHOICES).items
        sides = [_read_side(session, each) for each in found]
        losses = [loss for each in found if (loss := compared.best_loss(session, each)) is not None]
    known = {each.id for each in found}
    return pages.render(
        "compare.html",
        caller=caller,
        section="Compare",
        sides=sides,
        names=compared.name_all(found),
        missing=[each for each in asked if each not in known],
        choices=[*found, *(each for each in offered if each.id not in known)],
        heads=list(dict.fromkeys(head for loss in losses for head in loss.head_losses)),
        axes=compared.AXES,
        by=by,
        query=urlencode([("id", each.id) for each in found]),
        differ=len({repr(side.conditions) for side in sides}) > 1,
    )


def _read_side(session: Session, experiment: Experiment) -> Side:
    detail = views.experiment_detail(session, experiment)
    if detail.kind == "search":
        return Side(detail, find_best(session, experiment), None)
    try:
        return Side(detail, None, read_comparison(session, experiment.id))
    except UnreadableError:  # of another version
        return Side(detail, None, None)


@router.get("/experiments/{experiment_id}/explore")
def explore(
    experiment_id: ExperimentId,
    services: Injected,
    caller: SignedIn,
    *,
    x: ColumnName = "number",
    y: ColumnName = REWARD,
    group: ColumnName = "",
) -> str:
    """The trials of a search in parallel coordinates, and by any two of their columns."""
    with services.database.read() as session:
        search = lists.get_experiment(session, experiment_id, "search")
        trials = _read_if_any(session, search)
        if trials is not None:
            trials.find(x), trials.find(y), trials.choose(group)  # refused here, in words
    return pages.render(
        "explore.html",
        caller=caller,
        section="Searches",
        search=search,
        trials=trials,
        groups={} if trials is None else {name: _name_group(name, trials) for name in trials.groups},
        x=x,
        y=y,
        group=group,
    )


def _read_if_any(session: Session, search: Experiment) -> Trials | None:
    try:
        return read_trials(session, search)
    except ProblemError:  # no trial has a reward yet
        return None


def _name_group(name: str, trials: Trials) -> str:
    """A function as its dimensions are called, without the knot."""
    first = trials.groups[name][0]
    title = dict(zip(trials.dimensions, name_dimensions(trials.dimensions), strict=True))[first]
    return title.partition(" knot ")[0]
