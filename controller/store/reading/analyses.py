"""Analyses of trials' detections, and the thumbnails of their pictures."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from sqlalchemy import select
from sqlalchemy.orm import Session, undefer

from paploss.controller.store.documents import SUMMARY
from paploss.controller.store.errors import NotFoundError
from paploss.controller.store.tables import Analysis, Thumbnail, Trial
from paploss.jobs.analysis import AnalysisSummary
from paploss.jobs.spec import ANALYSED_KINDS


@dataclass(frozen=True)
class LabelAnalysis:
    """The numbers of one training's analysis, and which training it is."""

    trial_id: str
    label: str
    seed: int
    summary: AnalysisSummary

    @classmethod
    def of(cls, trial: Trial, analysis: Analysis) -> Self:
        """The numbers of one trial."""
        return cls(trial.id, trial.label, trial.seed, SUMMARY.read(analysis.summary))


def find_analysis(session: Session, trial_id: str) -> Analysis | None:
    """The analysis of a trial, with its pictures; None without one."""
    return session.get(Analysis, trial_id, options=[undefer(Analysis.pictures)])


def read_label_analyses(session: Session, experiment_id: str) -> Sequence[LabelAnalysis]:
    """Numbers of the analysed trainings of an experiment that have a label, in their order."""
    rows = session.execute(
        select(Trial.id, Trial.label, Trial.seed, Analysis.summary)
        .join(Analysis, Analysis.trial_id == Trial.id)
        .where(Trial.experiment_id == experiment_id, Trial.kind.in_(ANALYSED_KINDS))
        .order_by(Trial.number)
    )
    return [LabelAnalysis(row.id, row.label, row.seed, SUMMARY.read(row.summary)) for row in rows]


def read_thumbnail(session: Session, experiment_id: str, digest: str) -> bytes:
    """A JPEG.

    Raises:
        NotFoundError: the experiment has no thumbnail of that digest, or not any more.
    """
    found = session.get(Thumbnail, (experiment_id, digest))
    if found is None:
        raise NotFoundError(f"experiment {experiment_id} has no thumbnail {digest}")
    return base64.b64decode(found.jpeg)
