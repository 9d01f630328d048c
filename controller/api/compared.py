"""Several experiments beside each other: their courses, and the best loss of each."""

from collections.abc import Iterator, Sequence
from itertools import accumulate

from paploss.client.models import Spent
from paploss.controller.api import views
from paploss.controller.api.problems import ProblemError
from paploss.controller.store.database import Session
from paploss.controller.store.documents import LOSS
from paploss.controller.store.reading.comparisons import read_losses
from paploss.controller.store.reading.courses import EndedTraining, read_course
from paploss.controller.store.tables import Experiment
from paploss.controller.web.compared_figures import Course
from paploss.jobs.documents import UnreadableError
from paploss.jobs.losses import LossSpec
from paploss.jobs.metrics import name_requested

MOST_COMPARED = 50
AXES: dict[Spent, str] = {"trainings": "trainings", "hours": "hours", "gpu_hours": "GPU-hours"}


def name_all(experiments: Sequence[Experiment]) -> list[str]:
    """What each is called: its name, with the id where names are alike."""
    names = [each.name for each in experiments]
    return [
        each.name if each.name and names.count(each.name) == 1 else f"{each.name} {each.id}".strip()
        for each in experiments
    ]


def axis_of(experiments: Sequence[Experiment], by: Spent) -> str:
    """What is counted, for an axis; a trial without a GPU counts the hours of its worker."""
    has_gpus = all(each.gpus for each in experiments)
    return AXES[by] if by != "gpu_hours" or has_gpus else "GPU-hours, or worker hours of trials without a GPU"


def read_courses(session: Session, experiments: Sequence[Experiment], by: Spent) -> list[Course]:
    """The course of each experiment that has a reward."""
    courses = []
    for experiment, name in zip(experiments, name_all(experiments), strict=True):
        ended = read_course(session, experiment)
        points = list(_steps(experiment, ended, by))
        if points:
            spent, best = zip(*points, strict=True)
            courses.append(Course(name, spent, best, name_requested(experiment.spec)))
    return courses


def _steps(experiment: Experiment, ended: Sequence[EndedTraining], by: Spent) -> Iterator[tuple[float, float]]:
    """What was spent and the best reward, wherever that rose, and at the end."""
    worked = accumulate(training.worker_seconds for training in ended)
    best: float | None = None
    spent = 0.0
    for number, (training, worker_seconds) in enumerate(zip(ended, worked, strict=True), 1):
        match by:
            case "trainings":
                spent = number
            case "hours":
                spent = (training.finished_at - experiment.created_at) / 3600
            case "gpu_hours":
                spent = worker_seconds / 3600 * (experiment.gpus or 1)
        if training.reward is not None and (best is None or training.reward > best):
            best = training.reward
            yield spent, best
    if best is not None:
        yield spent, best


def best_loss(session: Session, experiment: Experiment) -> LossSpec | None:
    """The best loss of a search, or of those that were given; None before the first reward, and where another version
    of the program has stored it."""
    try:
        if experiment.kind == "search":
            return views.best(session, experiment).loss
        measured = [row.label for row in views.label_results(session, experiment.id) if row.mean is not None]
        losses = read_losses(session, experiment.id)
        return LOSS.read(losses[measured[0]]) if measured else None
    except (ProblemError, UnreadableError, KeyError):
        return None
