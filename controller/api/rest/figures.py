"""Figures over HTTP, as plotly JSON."""

from collections.abc import Sequence
from itertools import accumulate
from typing import Annotated

from fastapi import APIRouter, Query

from paploss.client.models import ExperimentFigure, Figure, Theme, TrialFigure
from paploss.client.specs import SearchSpec
from paploss.controller.api import problems, views
from paploss.controller.api.comparisons import read_comparison
from paploss.controller.api.parameters import ExperimentId, TrialId
from paploss.controller.api.security.access import AuthorizedRoute
from paploss.controller.api.services import Injected
from paploss.controller.experiments.jobs import trial_loss
from paploss.controller.experiments.losses import search_space
from paploss.controller.search import importance
from paploss.controller.store.database import Session
from paploss.controller.store.documents import SPEC
from paploss.controller.store.reading import gpu_time, lists, overview
from paploss.controller.store.tables import Experiment
from paploss.controller.web import figures, search_figures
from paploss.controller.web.comparisons import draw_comparison
from paploss.jobs.losses import LossSpec
from paploss.jobs.metrics import name_requested
from paploss.jobs.presets import PRESETS
from paploss.jobs.profiles import PROFILES

router = APIRouter(route_class=AuthorizedRoute, prefix="/api/v1", tags=["figures"])

ThemeChoice = Annotated[Theme, Query(description="colours")]
HeadChoice = Annotated[str | None, Query(max_length=100, description="for functions: which head; the first by default")]
Columns = Annotated[int, Query(ge=1, le=5, description="for functions: how many side by side")]


OtherExperiment = Annotated[
    str | None,
    Query(pattern=r"^[0-9a-z]{1,32}$", description="for rewards and functions: a second search to draw beside it"),
]

USE_LABELS: dict[search_figures.Use, str] = {
    "busy": "busy",
    "preempted": "lost to preemption",
    "failed": "failed",
    "elsewhere": "other searches",
    "idle": "idle",
}


@router.get("/experiments/{experiment_id}/figures/{name}", responses=problems.documented(404))
def draw_search(
    experiment_id: ExperimentId,
    name: ExperimentFigure,
    services: Injected,
    *,
    theme: ThemeChoice = "light",
    head: HeadChoice = None,
    columns: Columns = 5,
    other: OtherExperiment = None,
) -> Figure:
    """A figure. Of a search: reward per round, the functions of the best loss, the path of the policy, the importance
    of the dimensions, the use of the GPUs. Of a comparison or of trainings: the losses side by side. 404 also while
    there is nothing to draw."""
    with services.database.read() as session:
        if name == "comparison":
            return draw_comparison(read_comparison(session, experiment_id), theme)
        search = lists.get_experiment(session, experiment_id, "search")
        beside = None if other is None else lists.get_experiment(session, other, "search")
        match name:
            case "rewards":
                return _draw_rewards(session, search, beside, theme)
            case "functions":
                best = views.best(session, search).loss
                label, second = "best loss", None
                if beside is not None:
                    label, second = _label(search), (_label(beside), views.best(session, beside).loss)
                return _draw_functions(
                    best, search.profile, label=label, other=second, head=head, columns=columns, theme=theme
                )
            case "policy":
                return _draw_policy(session, search, theme)
            case "importance":
                return _draw_importance(session, search, theme)
            case "gpus":
                return _draw_gpus(session, search, theme)


@router.get("/trials/{trial_id}/figures/{name}", responses=problems.documented(404))
def draw_trial(
    trial_id: TrialId,
    name: TrialFigure,
    services: Injected,
    *,
    theme: ThemeChoice = "light",
    head: HeadChoice = None,
    columns: Columns = 5,
) -> Figure:
    """The learning curve, the functions of the trial's loss, or its last AP by threshold, size and class. 404 also for
    a loss without functions, and before the first evaluation."""
    with services.database.read() as session:
        trial = lists.get_trial(session, trial_id)
        if name == "functions":
            search = lists.get_experiment(session, trial.experiment_id)
            return _draw_functions(
                trial_loss(search, trial), search.profile, label="this trial", head=head, columns=columns, theme=theme
            )
        evaluations = views.evaluation_events(session, trial_id)
        metric = name_requested(lists.get_experiment(session, trial.experiment_id).spec)
    if name == "learning":
        return figures.learning_curve(evaluations, metric, theme)
    metrics = views.last_metrics(trial, evaluations)
    if metrics is None:
        raise problems.ProblemError(404, f"trial {trial_id} has not been evaluated yet")
    return figures.breakdown(metrics, theme)


def _draw_rewards(session: Session, search: Experiment, beside: Experiment | None, theme: Theme) -> Figure:
    if beside is not None:
        return search_figures.two_searches(_curve(session, search), _curve(session, beside), theme)
    points = [
        figures.TrialPoint(row.trial_id, row.number, row.round, row.reward, row.state == "pruned")
        for row in overview.read_rewards(session, search.id)
    ]
    return figures.rewards(points, search.rounds or 1, name_requested(search.spec), theme)


def _curve(session: Session, search: Experiment) -> search_figures.RewardCurve:
    closed = overview.read_closed_rounds(session, search.id)
    return search_figures.RewardCurve(
        label=_label(search),
        rounds=[row.number + 1 for row in closed],
        means=[row.mean for row in closed],
        bests=list(accumulate((row.best for row in closed), max)),
        metric=name_requested(search.spec),
    )


def _draw_policy(session: Session, search: Experiment, theme: Theme) -> Figure:
    steps = overview.read_policy(session, search.id)
    if not steps:
        raise problems.ProblemError(
            404, f"search {search.id} has proposed nothing yet, or its algorithm has no distribution"
        )
    names = _dimensions(search)
    centres, spreads = [step.centre for step in steps], [step.spread for step in steps]
    return search_figures.policy(names, [step.number for step in steps], centres, spreads, theme)


def _draw_importance(session: Session, search: Experiment, theme: Theme) -> Figure:
    found = measure_importance(session, search)
    names = _dimensions(search)
    return search_figures.importance(names, found.shift.tolist(), found.correlation.tolist(), found.noise, theme=theme)


def measure_importance(session: Session, search: Experiment) -> importance.Importance:
    """The importance of a search's dimensions, from its newest trials and its first and newest policy.

    Raises:
        ProblemError: 404, the search has proposed nothing yet, or its algorithm has no distribution.
    """
    steps = overview.read_policy(session, search.id, most=2)
    if not steps:
        raise problems.ProblemError(
            404, f"search {search.id} has proposed nothing yet, or its algorithm has no distribution"
        )
    samples = overview.read_samples(session, search.id)
    return importance.measure(
        [sample.theta for sample in samples],
        [sample.reward for sample in samples],
        [sample.round for sample in samples],
        first=steps[0].centre,
        newest=steps[-1].centre,
        sigma=steps[0].spread,
    )


def _dimensions(search: Experiment) -> Sequence[str]:
    spec = SPEC.read(search.spec)
    assert isinstance(spec, SearchSpec)  # noqa: S101 - only searches are asked for these figures
    return search_space(spec).names


def _draw_gpus(session: Session, search: Experiment, theme: Theme) -> Figure:
    found = gpu_time.read_gpu_time(session, search)
    bands = {
        use: search_figures.Band(label, (found.idle if use == "idle" else found.uses[use]).tolist(), found.share(use))
        for use, label in USE_LABELS.items()
    }
    unit = "GPUs" if search.gpus else "workers"
    return search_figures.gpu_use(found.edges.tolist(), bands, unit, theme)


def _draw_functions(
    loss: LossSpec,
    profile: str,
    *,
    head: str | None,
    columns: int,
    theme: Theme,
    label: str,
    other: tuple[str, LossSpec] | None = None,
) -> Figure:
    card = PROFILES.get(profile)
    head = head or next(iter(loss.head_losses), "")
    if head not in loss.head_losses:
        names = ", ".join(loss.head_losses) or "none"
        raise problems.ProblemError(404, f"head: the loss {loss.name} has functions for {names}, asked was {head!r}")
    published = PRESETS[card.preset].heads.get(head) if card and card.preset else None
    second = None if other is None or head not in other[1].head_losses else (other[0], other[1].head_losses[head])
    return figures.functions(loss.head_losses[head], published, label=label, other=second, columns=columns, theme=theme)


def _label(search: Experiment) -> str:
    return search.name or search.id
