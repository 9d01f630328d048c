"""Figures over HTTP, as plotly JSON."""

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated

from fastapi import APIRouter, Query

from paploss.client.detections import LossDetections
from paploss.client.models import ComparedFigure, ExperimentFigure, Figure, Spent, Theme, TrialFigure
from paploss.client.specs import SearchSpec
from paploss.controller.api import compared, problems, views
from paploss.controller.api.columns import REWARD, Trials, read_trials
from paploss.controller.api.compared import MOST_COMPARED
from paploss.controller.api.comparisons import read_comparison
from paploss.controller.api.detections import read_detections, read_trial_detections
from paploss.controller.api.parameters import ExperimentId, TrialId
from paploss.controller.api.rest.detections import Labels
from paploss.controller.api.security.access import AuthorizedRoute
from paploss.controller.api.services import Injected
from paploss.controller.experiments.jobs import trial_loss
from paploss.controller.experiments.losses import search_space
from paploss.controller.search import importance
from paploss.controller.store.database import Session
from paploss.controller.store.documents import SPEC
from paploss.controller.store.reading import gpu_time, lists, overview
from paploss.controller.store.tables import Experiment
from paploss.controller.web import compared_figures, detection_figures, figures, search_figures
from paploss.controller.web.comparisons import draw_comparison
from paploss.jobs.losses import LossSpec
from paploss.jobs.metrics import name_requested
from paploss.jobs.presets import PRESETS
from paploss.jobs.profiles import PROFILES

router = APIRouter(route_class=AuthorizedRoute, prefix="/api/v1", tags=["figures"])

ThemeChoice = Annotated[Theme, Query(description="colours")]
HeadChoice = Annotated[str | None, Query(max_length=100, description="for functions: which head; the first by default")]
Columns = Annotated[int, Query(ge=1, le=5, description="for functions: how many side by side")]


Ids = Annotated[
    list[Annotated[str, Query(pattern=r"^[0-9a-z]{1,32}$")]],
    Query(min_length=1, max_length=MOST_COMPARED, description="experiments, in the order of the legend"),
]
ColumnName = Annotated[str | None, Query(max_length=100, description="for scatter: a column; the reward for y")]
Group = Annotated[
    str | None,
    Query(max_length=100, description="for parallel: a function; by default what goes with the reward most"),
]

DRAW_DETECTIONS: Mapping[str, Callable[[Sequence[LossDetections], Theme], Figure]] = {
    "precision_recall": detection_figures.precision_recall,
    "error_costs": detection_figures.error_costs,
}

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
    group: Group = None,
    x: ColumnName = None,
    y: ColumnName = None,
    label: Labels = [],  # noqa: B006
) -> Figure:
    """A figure. Of a search: reward per round, the functions of the best loss, the path of the distribution, the
    importance of the dimensions, the use of the GPUs, its trials in parallel coordinates, or by two of their columns.
    Of a comparison or of trainings: the losses side by side. Of all: precision by recall and the costs of errors, of
    two losses. 404 also while there is nothing to draw."""
    with services.database.read() as session:
        if name in DRAW_DETECTIONS:
            return DRAW_DETECTIONS[name](read_detections(session, experiment_id, label).losses, theme)
        if name == "comparison":
            return draw_comparison(read_comparison(session, experiment_id), theme)
        search = lists.get_experiment(session, experiment_id, "search")
        match name:
            case "rewards":
                return _draw_rewards(session, search, theme)
            case "functions":
                losses = [("best loss", views.best(session, search).loss)]
                return _draw_functions(losses, [search.profile], head=head, columns=columns, theme=theme)
            case "parallel" | "scatter":
                trials = read_trials(session, search)
                return (
                    _draw_parallel(trials, group, theme) if name == "parallel" else _draw_scatter(trials, x, y, theme)
                )
            case "policy":
                draw = _draw_policy
            case "importance":
                draw = _draw_importance
            case "gpus":
                draw = _draw_gpus
        return draw(session, search, theme)


@router.get("/figures/{name}", responses=problems.documented(404))
def draw_compared(
    name: ComparedFigure,
    id: Ids,  # noqa: A002 (the name in the address)
    services: Injected,
    *,
    by: Annotated[Spent, Query(description="for best_so_far: what the horizontal axis counts")] = "trainings",
    theme: ThemeChoice = "light",
    head: HeadChoice = None,
    columns: Columns = 5,
) -> Figure:
    """A figure of several experiments: the best reward of each for what it has spent, or the functions of the best
    loss of each. 404 also while there is nothing to draw."""
    with services.database.read() as session:
        experiments = [lists.get_experiment(session, each) for each in dict.fromkeys(id)]
        if name == "best_so_far":
            courses = compared.read_courses(session, experiments, by)
            if not courses:
                raise problems.ProblemError(404, "none of these experiments has a reward yet")
            return compared_figures.best_so_far(courses, compared.axis_of(experiments, by), theme)
        labels = compared.name_all(experiments)
        losses = [
            (label, loss)
            for label, each in zip(labels, experiments, strict=True)
            if (loss := compared.best_loss(session, each)) is not None
        ]
        profiles = [each.profile for each in experiments]
    return _draw_functions(losses, profiles, head=head, columns=columns, theme=theme)


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
    """The learning curve, the functions of the trial's loss, its last AP by threshold, size and class, precision by
    recall, or the costs of errors. 404 also for a loss without functions, before the first evaluation, and where the
    detections were not analysed."""
    with services.database.read() as session:
        if name in DRAW_DETECTIONS:
            return DRAW_DETECTIONS[name]([read_trial_detections(session, trial_id)], theme)
        trial = lists.get_trial(session, trial_id)
        if name == "functions":
            search = lists.get_experiment(session, trial.experiment_id)
            losses = [("this trial", trial_loss(search, trial))]
            return _draw_functions(losses, [search.profile], head=head, columns=columns, theme=theme)
        evaluations = views.evaluation_events(session, trial_id)
        metric = name_requested(lists.get_experiment(session, trial.experiment_id).spec)
    if name == "learning":
        return figures.learning_curve(evaluations, metric, theme)
    metrics = views.last_metrics(trial, evaluations)
    if metrics is None:
        raise problems.ProblemError(404, f"trial {trial_id} has not been evaluated yet")
    return figures.breakdown(metrics, theme)


def _draw_rewards(session: Session, search: Experiment, theme: Theme) -> Figure:
    points = [
        figures.TrialPoint(row.trial_id, row.number, row.round, row.reward, row.state == "pruned")
        for row in overview.read_rewards(session, search.id)
    ]
    return figures.rewards(points, search.rounds or 1, name_requested(search.spec), theme)


def _draw_parallel(trials: Trials, group: str | None, theme: Theme) -> Figure:
    return compared_figures.parallel(trials.choose(group), [row.reward for row in trials.rows], theme)


def _draw_scatter(trials: Trials, x: str | None, y: str | None, theme: Theme) -> Figure:
    across, up = trials.find(x or "number"), trials.find(y or REWARD)
    return compared_figures.scatter([row.id for row in trials.rows], across, up, theme)


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
    losses: Sequence[tuple[str, LossSpec]], profiles: Sequence[str], *, head: str | None, columns: int, theme: Theme
) -> Figure:
    """`profiles`: of the experiments; the published set is drawn where they share it."""
    known = list(dict.fromkeys(name for _, loss in losses for name in loss.head_losses))
    head = head or next(iter(known), "")
    if head not in known:
        names = " and ".join(dict.fromkeys(loss.name for _, loss in losses)) or "none"
        raise problems.ProblemError(
            404, f"head: the loss {names} has functions for {', '.join(known) or 'none'}, asked was {head!r}"
        )
    presets = {card.preset for profile in profiles if (card := PROFILES.get(profile)) and card.preset}
    published = PRESETS[presets.pop()].heads.get(head) if len(presets) == 1 else None
    shown = [(label, loss.head_losses[head]) for label, loss in losses if head in loss.head_losses]
    return figures.functions(shown, published, columns=columns, theme=theme)
