"""Requests with given losses: after the learning-rate check each loss gets its rate, and its trainings with it.

The choice, the trainings that follow from it and the new stage are one transaction, and nothing in it is random: a
controller killed at any point comes to the same rows when it starts again.
"""

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from paploss.client.comparison import RateResult
from paploss.client.states import REWARDED_STATES
from paploss.controller.comparison import choose_rate
from paploss.controller.loop.jobs import parse_training
from paploss.controller.store.events import record
from paploss.controller.store.models import Search, Trial
from paploss.controller.store.searches import add_trainings, end_search, trials_by_label
from paploss.jobs.losses import parse_loss


def choose_rates(session: Session, search: Search) -> None:
    """Choose each loss's learning rate and propose its trainings. The caller holds the row lock and drives."""
    spec = parse_training(search)
    by_label = trials_by_label(session, search.id, "rate_check")
    chosen = [
        (
            label,
            parse_loss(trials[0].loss, strict=False),
            choose_rate([RateResult(factor=t.learning_rate_factor, ap=t.reward) for t in trials]),
        )
        for label, trials in by_label.items()
    ]
    add_trainings(session, search, spec, chosen)
    search.stage = "trainings"
    session.flush()
    factors = ", ".join(f"{label} {factor:g}" for label, _, factor in chosen)
    record(session, "rates_chosen", f"factors on the learning rate: {factors}", search_id=search.id)


def end_trainings(session: Session, search: Search) -> None:
    """End a request whose trainings have all ended. The caller holds its row lock and drives."""
    kind = parse_training(search).kind
    of_kind = select(func.count()).select_from(Trial).where(Trial.search_id == search.id, Trial.kind == kind)
    total = session.scalar(of_kind)
    rewarded = session.scalar(of_kind.where(Trial.state.in_(REWARDED_STATES)))
    if not rewarded:
        reason = "no training ended with a result; see the trials' errors"
        end_search(session, search, "failed", reason)
        record(session, "search_failed", reason, search_id=search.id, level="error")
    else:
        end_search(session, search, "succeeded")
        record(session, "search_succeeded", f"{rewarded} of {total} trainings have a result", search_id=search.id)
