"""Figures over HTTP, as plotly JSON."""

from typing import Annotated, Literal

from fastapi import APIRouter, Query

from controller.api import problems, views
from controller.api.parameters import SearchId, TrialId
from controller.api.services import Injected
from controller.loop.jobs import trial_loss
from controller.store import overview, queries
from controller.web import figures
from controller.web.style import Figure, Theme
from jobs.presets import PRESETS
from jobs.profiles import PROFILES
from jobs.spec import LossSpec

router = APIRouter(prefix="/api/v1", tags=["figures"])

ThemeChoice = Annotated[Theme, Query(description="colours")]
HeadChoice = Annotated[str | None, Query(max_length=100, description="for functions: which head; the first by default")]
Columns = Annotated[int, Query(ge=1, le=5, description="for functions: how many side by side")]


@router.get("/searches/{search_id}/figures/{name}", responses=problems.documented(404))
def draw_search(
    search_id: SearchId,
    name: Literal["rewards", "functions"],
    services: Injected,
    *,
    theme: ThemeChoice = "light",
    head: HeadChoice = None,
    columns: Columns = 5,
) -> Figure:
    """Reward per round, or the functions of the best loss. 404 also while there is no best loss."""
    with services.database.read() as session:
        search = queries.get_search(session, search_id, "search")
        if name == "functions":
            return _draw_functions(
                views.best(session, search).loss,
                search.profile,
                label="best loss",
                head=head,
                columns=columns,
                theme=theme,
            )
        points = [
            figures.TrialPoint(row.trial_id, row.number, row.round, row.reward, row.state == "pruned")
            for row in overview.read_rewards(session, search_id)
        ]
        return figures.rewards(points, search.spec["rounds"], theme)


@router.get("/trials/{trial_id}/figures/{name}", responses=problems.documented(404))
def draw_trial(
    trial_id: TrialId,
    name: Literal["learning", "functions"],
    services: Injected,
    *,
    theme: ThemeChoice = "light",
    head: HeadChoice = None,
    columns: Columns = 5,
) -> Figure:
    """The learning curve, or the functions of the trial's loss. 404 also for a loss without functions."""
    with services.database.read() as session:
        trial = queries.get_trial(session, trial_id)
        if name == "functions":
            search = queries.get_search(session, trial.search_id)
            return _draw_functions(
                trial_loss(search, trial), search.profile, label="this trial", head=head, columns=columns, theme=theme
            )
        return figures.learning_curve(views.evaluation_events(session, trial_id), theme)


def _draw_functions(
    loss: LossSpec, profile: str, *, head: str | None, columns: int, theme: Theme, label: str
) -> Figure:
    card = PROFILES[profile]
    head = head or card.heads[0]
    if head not in loss.heads:
        names = ", ".join(loss.heads) or "none"
        raise problems.ProblemError(404, f"head: the loss {loss.name} has functions for {names}, asked was {head!r}")
    published = PRESETS[card.preset].heads.get(head) if card.preset else None
    return figures.functions(loss.heads[head], published, label=label, columns=columns, theme=theme)
