"""Analyses of trials' detections, as workers deliver them.

All trainings on a data set picture the same images, so their thumbnails are stored once for an experiment, by digest.
"""

import base64
import hashlib
from typing import Final

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from paploss.controller.store import tables
from paploss.controller.store.database import insert_absent
from paploss.controller.store.documents import PICTURES, SUMMARY, KeptPictures
from paploss.controller.store.tables import Thumbnail, Trial
from paploss.jobs.analysis import Analysis, KeptPicture, Picture

MOST_PICTURED: Final = 100
"""Trials of an experiment that keep their pictures: the first ones to end."""
MOST_THUMBNAILS: Final = 24
"""Of an experiment. Its trials picture six images; encoders of several versions may write them differently."""


def keep_analysis(session: Session, experiment_id: str, trial_id: str, analysis: Analysis) -> None:
    """Store a trial's analysis; of its pictures, what the bounds on an experiment leave room for."""
    pictured = select(func.count()).select_from(tables.Analysis).join(Trial, Trial.id == tables.Analysis.trial_id)
    count = session.scalar(pictured.where(Trial.experiment_id == experiment_id, tables.Analysis.pictures.is_not(None)))
    pictures = None
    if (count or 0) < MOST_PICTURED:
        known = set(session.scalars(select(Thumbnail.digest).where(Thumbnail.experiment_id == experiment_id)))
        kept = [_keep_picture(session, experiment_id, picture, known) for picture in analysis.pictures]
        pictures = PICTURES.write(KeptPictures(pictures=tuple(kept)))
    row = {"trial_id": trial_id, "summary": SUMMARY.write(analysis.summary), "pictures": pictures}
    insert_absent(session, tables.Analysis, row)


def _keep_picture(session: Session, experiment_id: str, picture: Picture, known: set[str]) -> KeptPicture:
    """The picture with its thumbnail's digest; `known`: digests of the experiment's thumbnails, which are added to."""
    scene = dict(picture)
    thumbnail = scene.pop("thumbnail")
    if thumbnail is None:
        return KeptPicture(**scene)
    digest = hashlib.sha256(base64.b64decode(thumbnail)).hexdigest()[:32]
    if digest not in known:
        if len(known) >= MOST_THUMBNAILS:
            return KeptPicture(**scene)
        known.add(digest)
        insert_absent(session, Thumbnail, {"experiment_id": experiment_id, "digest": digest, "jpeg": thumbnail})
    return KeptPicture(**scene, thumbnail=digest)
