"""From analyses of trainings to losses side by side."""

from collections.abc import Sequence
from statistics import fmean

from paploss.client.detections import Detections, LossDetections
from paploss.controller.api import views
from paploss.controller.api.problems import ProblemError
from paploss.controller.store.database import Session
from paploss.controller.store.documents import PICTURES
from paploss.controller.store.errors import NotFoundError
from paploss.controller.store.reading.analyses import LabelAnalysis, find_analysis, read_label_analyses
from paploss.controller.store.reading.lists import get_trial
from paploss.jobs.analysis import (
    ERROR_KINDS,
    AnalysisSummary,
    AverageRecall,
    ErrorCost,
    ErrorKind,
    KeptPicture,
    PrecisionCurves,
)


def read_detections(session: Session, experiment_id: str, labels: Sequence[str]) -> Detections:
    """Losses of an experiment side by side; `labels`: which; of none the two with the highest mean reward.

    Raises:
        ProblemError: 404, no training of the experiment, or of a label, was analysed.
        UnreadableError: another version of the program has stored an analysis, and this one cannot read it.
    """
    analyses: dict[str, list[LabelAnalysis]] = {}
    for each in read_label_analyses(session, experiment_id):
        analyses.setdefault(each.label, []).append(each)
    ranked = [row.label for row in views.label_results(session, experiment_id) if row.label in analyses]
    chosen = list(dict.fromkeys(labels)) or ranked[:2]
    if unknown := [label for label in chosen if label not in analyses]:
        raise ProblemError(404, f"label: expected one of {', '.join(ranked) or 'none'}, got {unknown[0]!r}")
    if not chosen:
        raise ProblemError(404, f"no training of experiment {experiment_id} was analysed")
    seeds = set.intersection(*({each.seed for each in analyses[label]} for label in chosen))
    return Detections(labels=ranked, losses=[_side(session, analyses[label], seeds) for label in chosen])


def read_trial_detections(session: Session, trial_id: str) -> LossDetections:
    """What one trial detected.

    Raises:
        NotFoundError: there is no such trial, or it was not analysed.
        UnreadableError: as of `read_detections`.
    """
    trial, found = get_trial(session, trial_id), find_analysis(session, trial_id)
    if found is None:
        raise NotFoundError(f"trial {trial_id} was not analysed")
    return _side(session, [LabelAnalysis.of(trial, found)], {trial.seed})


def _side(session: Session, analyses: Sequence[LabelAnalysis], seeds: set[int]) -> LossDetections:
    pictured = min(analyses, key=lambda each: (each.seed not in seeds, each.seed))
    summaries = [each.summary for each in analyses]
    return LossDetections(
        label=pictured.label,
        trainings=len(analyses),
        recall=AverageRecall(
            **{name: fmean(getattr(each.recall, name) for each in summaries) for name in AverageRecall.model_fields}
        ),
        precision=PrecisionCurves(
            **{
                name: tuple(map(fmean, zip(*(getattr(each.precision, name) for each in summaries), strict=True)))
                for name in PrecisionCurves.model_fields
            }
        ),
        errors={kind: _mean_cost(summaries, kind) for kind in ERROR_KINDS},
        trial_id=pictured.trial_id,
        seed=pictured.seed,
        threshold=pictured.summary.threshold,
        pictures=_pictures(session, pictured.trial_id),
    )


def _mean_cost(summaries: Sequence[AnalysisSummary], kind: ErrorKind) -> ErrorCost:
    costs = [each.errors[kind] for each in summaries if kind in each.errors]
    if not costs:
        return ErrorCost(ap50=0, count=0)
    return ErrorCost(ap50=fmean(cost.ap50 for cost in costs), count=round(fmean(cost.count for cost in costs)))


def _pictures(session: Session, trial_id: str) -> list[KeptPicture]:
    found = find_analysis(session, trial_id)
    return [] if found is None or found.pictures is None else list(PICTURES.read(found.pictures).pictures)
