"""The end of a search: the best candidates are trained again with fresh seeds, and one is chosen.

The best of many noisy proxies is best partly by luck, so nothing is reported that was not measured anew. The identity,
where every search starts, and on request the published parameters, are measured with the same seeds beside them.
"""

from collections.abc import Sequence

import numpy as np
from sqlalchemy import select
from sqlalchemy.orm import Session

from paploss.client.specs import SearchSpec
from paploss.controller.loop.jobs import confirm_seed, decode_loss, search_space
from paploss.controller.search import selection
from paploss.controller.search.algorithm import Sample
from paploss.controller.search.policy import PolicyState
from paploss.controller.store.events import record
from paploss.controller.store.models import Round, Search, Trial
from paploss.controller.store.searches import NewTrial, add_trials, end_search, trials_by_label
from paploss.jobs.losses import LossSpec
from paploss.jobs.presets import PRESETS
from paploss.jobs.profiles import PROFILES
from paploss.jobs.spec import Message

IDENTITY, PUBLISHED, POLICY_MEAN = "identity", "published", "mean"


class Measured(Message):
    """A loss that was confirmed: its APs over the same fresh seeds as the others'."""

    label: str
    rewards: dict[int, float]  # by seed
    mean: float | None
    standard_error: float | None


class Report(Message):
    """What a search ends with, stored as `Search.best`."""

    label: str  # the chosen candidate: `mean` of the last policy, or `trial N` for the sample of that number
    loss: LossSpec
    theta: tuple[float, ...]
    mean: float
    standard_error: float | None
    interval: tuple[float, float] | None  # 95 % of the mean
    count: int
    schedule: str  # what the confirmations were trained with: proxy or final
    candidates: tuple[Measured, ...]
    identity: Measured
    published: Measured | None


def start_confirmation(session: Session, search: Search, spec: SearchSpec) -> None:
    """Propose the confirming trials. The caller holds the search's row lock and drives."""
    last = session.get_one(Round, (search.id, search.round))
    best = session.scalars(
        select(Trial)
        .where(Trial.search_id == search.id, Trial.kind == "proxy", Trial.reward.is_not(None))
        .order_by(Trial.reward.desc(), Trial.number)
        .limit(spec.confirm.candidates)
    ).all()
    state = PolicyState(last.number, np.asarray(last.mu), last.sigma)
    samples = [Sample(np.asarray(trial.theta), float(trial.reward or 0), state) for trial in best]
    candidates = selection.candidates(state, samples, spec.confirm.candidates)
    for candidate in candidates:
        label = POLICY_MEAN if candidate.sample is None else f"trial {best[candidate.sample].number}"
        _propose(session, search, spec, label, theta=candidate.theta.tolist())
    _propose(session, search, spec, IDENTITY, theta=search_space(spec).start().tolist())
    preset = PROFILES[spec.profile].preset
    if spec.confirm.published and preset is not None:
        _propose(session, search, spec, PUBLISHED, loss=PRESETS[preset])
    search.stage = "confirm"
    session.flush()
    message = f"{len(candidates)} candidates with {spec.confirm.seeds} fresh seeds each"
    record(session, "confirm_started", message, search_id=search.id)


def conclude(session: Session, search: Search, spec: SearchSpec) -> None:
    """Choose the final parameters and end the search. The caller holds the search's row lock and drives."""
    by_label = trials_by_label(session, search.id, "confirm")
    measured = {label: _measure(label, of_label) for label, of_label in by_label.items()}
    candidates = [found for label, found in measured.items() if label not in (IDENTITY, PUBLISHED)]
    if not any(found.rewards for found in candidates):
        reason = "no candidate could be confirmed: every confirming trial failed; see their errors"
        end_search(session, search, "failed", reason)
        record(session, "search_failed", reason, search_id=search.id, level="error")
        return
    choice = selection.choose([found.rewards for found in candidates])
    chosen = candidates[choice.index]
    theta = by_label[chosen.label][0].theta or []
    report = Report(
        label=chosen.label,
        loss=decode_loss(spec, theta),
        theta=tuple(theta),
        mean=choice.mean,
        standard_error=choice.standard_error,
        interval=choice.interval,
        count=choice.count,
        schedule=spec.confirm.schedule,
        candidates=tuple(candidates),
        identity=measured[IDENTITY],
        published=measured.get(PUBLISHED),
    )
    search.best = report.model_dump(mode="json")
    end_search(session, search, "succeeded")
    record(session, "search_succeeded", _tell(report), search_id=search.id)


def _propose(
    session: Session,
    search: Search,
    spec: SearchSpec,
    label: str,
    *,
    theta: list[float] | None = None,
    loss: LossSpec | None = None,
) -> None:
    seeds = [confirm_seed(spec.seed, index) for index in range(spec.confirm.seeds)]
    add_trials(session, search, [NewTrial("confirm", seed=seed, label=label, theta=theta, loss=loss) for seed in seeds])


def _measure(label: str, trials: Sequence[Trial]) -> Measured:
    rewards = {trial.seed: trial.reward for trial in trials if trial.reward is not None}
    values = list(rewards.values())
    return Measured(
        label=label,
        rewards=rewards,
        mean=float(np.mean(values)) if values else None,
        standard_error=float(np.std(values, ddof=1)) / len(values) ** 0.5 if len(values) > 1 else None,
    )


def _tell(report: Report) -> str:
    error = "" if report.standard_error is None else f" ± {100 * report.standard_error:.1f}"
    start = "" if report.identity.mean is None else f"; the identity start reaches {100 * report.identity.mean:.1f}"
    return f"best: {report.label} with AP {100 * report.mean:.1f}{error} over {report.count} fresh seeds{start}"
