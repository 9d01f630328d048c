"""Every change of a search's state, by request. Each function is one transaction's work, and repeating it is harmless.

    running -> paused, cancelled, succeeded, failed        paused -> running, cancelled

The leader's own transitions (a round closed, confirmed, too many failures) are in `paploss.controller.loop`; both take
the search's row lock first, so they never interleave.
"""

import itertools
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import delete, insert, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from paploss.client.loss_choice import LossChoice
from paploss.client.specs import Request, SearchSpec, TrainingSpec
from paploss.client.states import FINAL_SEARCH_STATES
from paploss.controller.store.database import read_clock, table_of
from paploss.controller.store.errors import ConflictError, NotFoundError
from paploss.controller.store.events import record
from paploss.controller.store.models import DeletedSearch, IdempotencyKey, Search, Trial
from paploss.controller.store.transitions import cancel_open_trials
from paploss.jobs.losses import LossSpec, parse_loss
from paploss.jobs.profiles import PROFILES
from paploss.jobs.spec import JobKind

_ID_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_ADD_TRIALS = insert(table_of(Trial))


@dataclass(frozen=True)
class NewTrial:
    """A trial to be queued: what it trains with, and what it is for."""

    kind: JobKind
    seed: int
    label: str = ""
    theta: list[float] | None = None
    loss: LossSpec | None = None
    learning_rate_factor: float = 1.0
    round: int | None = None
    index: int | None = None


@dataclass(frozen=True)
class Idempotency:
    """An Idempotency-Key with the SHA-256 (hexadecimal) of the request that it came with."""

    key: str
    fingerprint: str


def create_search(session: Session, spec: SearchSpec, owner: str, idempotency: Idempotency | None = None) -> Search:
    """Store a search, running; the leader proposes its first trials.

    Raises:
        ConflictError: the idempotency key was used for another request.
    """
    if (known := _find_known(session, owner, idempotency)) is not None:
        return known
    search = _new_search("search", spec, owner)
    search.stage = "rounds"
    session.add(search)
    session.flush()
    _remember(session, search, idempotency)
    record(session, "search_started", f"{spec.rounds} rounds of {spec.trials_per_round} trials", search_id=search.id)
    return search


def create_training(session: Session, spec: TrainingSpec, owner: str, idempotency: Idempotency | None = None) -> Search:
    """Store a training request with its first trials: those of the learning-rate check, or one for each loss and seed.

    Raises:
        NotFoundError: a loss names a search that does not exist.
        ConflictError: a loss names a search without a best loss yet, or one of another detector; or the idempotency
            key was used for another request.
    """
    if (known := _find_known(session, owner, idempotency)) is not None:
        return known
    losses = [(choice.label, _resolve_loss(session, choice, spec.profile)) for choice in spec.losses]
    search = _new_search("training", spec, owner)
    search.stage = "rates" if spec.learning_rates else "trainings"
    session.add(search)
    session.flush()
    if spec.learning_rates:
        seed = rate_check_seed(spec.seeds)
        add_trials(
            session,
            search,
            [
                NewTrial("rate_check", label=label, loss=loss, seed=seed, learning_rate_factor=factor)
                for (label, loss), factor in itertools.product(losses, spec.learning_rates)
            ],
        )
    else:
        add_trainings(session, search, spec, [(label, loss, 1.0) for label, loss in losses])
    _remember(session, search, idempotency)
    record(session, "search_started", f"{len(losses)} losses with {len(spec.seeds)} seeds each", search_id=search.id)
    return search


def add_trainings(
    session: Session, search: Search, spec: TrainingSpec, losses: Sequence[tuple[str, LossSpec, float]]
) -> None:
    """Add a trial for each loss and seed; `losses`: label, loss and learning-rate factor.

    All losses have their first seed before any has its second, so that an unfinished comparison is a fair one too.
    """
    add_trials(
        session,
        search,
        [
            NewTrial(spec.kind, label=label, loss=loss, seed=seed, learning_rate_factor=factor)
            for seed, (label, loss, factor) in itertools.product(spec.seeds, losses)
        ],
    )


def rate_check_seed(seeds: Sequence[int]) -> int:
    """The one seed of a request's learning-rate check: none of its own, which are to measure what the rate is worth."""
    return next(seed for seed in itertools.count() if seed not in seeds)


def add_trials(session: Session, search: Search, trials: Sequence[NewTrial]) -> None:
    """Queue trials with the search's next numbers; the caller holds its row lock, or has just made it."""
    rows = [
        {
            "id": f"{search.id}-{number:06d}",
            "search_id": search.id,
            "number": number,
            "kind": trial.kind,
            "label": trial.label,
            "theta": trial.theta,
            "loss": None if trial.loss is None else trial.loss.model_dump(mode="json"),
            "seed": trial.seed,
            "learning_rate_factor": trial.learning_rate_factor,
            "round": trial.round,
            "index": trial.index,
        }
        for number, trial in enumerate(trials, start=search.next_number)
    ]
    session.execute(_ADD_TRIALS, rows)
    search.next_number += len(rows)


def lock_search(session: Session, search_id: str) -> Search:
    """The search, its row locked until the end of the transaction, as it is now.

    Raises:
        NotFoundError: no such search.
    """
    search = session.scalar(
        select(Search)
        .where(Search.id == search_id)
        .with_for_update(key_share=True)  # trials may still be inserted and events written meanwhile
        .execution_options(populate_existing=True)
    )
    if search is None:
        raise NotFoundError(f"no search {search_id}")
    return search


def pause_search(session: Session, search_id: str) -> Search:
    """Let nothing more be claimed; running trials are handed back with a checkpoint, uncharged.

    Raises:
        NotFoundError: no such search.
        ConflictError: it is final.
    """
    search = lock_search(session, search_id)
    if search.state == "running":
        search.state = "paused"
        record(session, "search_paused", "paused", search_id=search.id)
    elif search.state != "paused":
        raise ConflictError(f"search {search_id} is already {search.state}")
    return search


def resume_search(session: Session, search_id: str) -> Search:
    """Go on after a pause. Raises as `pause_search`."""
    search = lock_search(session, search_id)
    if search.state == "paused":
        search.state = "running"
        record(session, "search_resumed", "resumed", search_id=search.id)
    elif search.state != "running":
        raise ConflictError(f"search {search_id} is already {search.state}")
    return search


def cancel_search(session: Session, search_id: str) -> Search:
    """End a search and all its open trials.

    Raises:
        NotFoundError: no such search.
        ConflictError: it has succeeded or failed.
    """
    search = lock_search(session, search_id)
    if search.state == "cancelled":
        return search
    if search.state in FINAL_SEARCH_STATES:
        raise ConflictError(f"search {search_id} is already {search.state}")
    end_search(session, search, "cancelled")
    record(session, "search_cancelled", "cancelled", search_id=search.id)
    return search


def trials_by_label(session: Session, search_id: str, kind: JobKind) -> dict[str, list[Trial]]:
    """The trials of one kind, in the order of their numbers."""
    found: dict[str, list[Trial]] = {}
    of_kind = select(Trial).where(Trial.search_id == search_id, Trial.kind == kind).order_by(Trial.number)
    for trial in session.scalars(of_kind):
        found.setdefault(trial.label, []).append(trial)
    return found


def end_search(session: Session, search: Search, state: str, reason: str = "") -> None:
    """Set a final state on a search whose row is locked, and cancel what is still open."""
    search.state = state  # type: ignore[assignment]
    search.reason = reason
    search.finished_at = read_clock(session)
    session.flush()
    cancel_open_trials(session, search.id)


def delete_search(session: Session, search_id: str) -> None:
    """Delete a final search with everything that belongs to it; only its id is remembered, for the sake of its files.

    Raises:
        NotFoundError: no such search.
        ConflictError: it is not final.
    """
    search = lock_search(session, search_id)
    if search.state not in FINAL_SEARCH_STATES:
        raise ConflictError(f"search {search_id} is {search.state}; cancel it first")
    session.execute(delete(Search).where(Search.id == search_id))
    session.add(DeletedSearch(id=search_id))


def new_search_id() -> str:
    """An id of 13 characters that sorts by time: 45 bits of milliseconds, then 20 random bits."""
    number = (time.time_ns() // 1_000_000 << 20) | secrets.randbits(20)
    return "".join(_ID_ALPHABET[number >> shift & 31] for shift in range(60, -5, -5))


def _new_search(kind: str, spec: Request, owner: str) -> Search:
    return Search(
        id=new_search_id(),
        kind=kind,
        name=spec.name,
        owner=owner,
        state="running",
        spec=spec.model_dump(mode="json"),
        profile=spec.profile,
        gpus=spec.trial_gpus,
        priority=spec.priority,
        max_running_trials=spec.max_running_trials,
        next_number=0,
        round=0,
    )


def _resolve_loss(session: Session, choice: LossChoice, profile: str) -> LossSpec:
    if (loss := choice.find_loss(profile)) is not None:
        return loss
    search = session.get(Search, choice.search)
    if search is None or search.kind != "search":
        raise NotFoundError(f"losses[{choice.label}].search: no search {choice.search}")
    if search.best is None:
        raise ConflictError(f"losses[{choice.label}].search: search {search.id} ({search.state}) has no best loss yet")
    if PROFILES[search.profile].heads != PROFILES[profile].heads:
        raise ConflictError(f"losses[{choice.label}].search: a loss for {search.profile} does not fit {profile}")
    return parse_loss(search.best["loss"], strict=False)


def _find_known(session: Session, owner: str, idempotency: Idempotency | None) -> Search | None:
    if idempotency is None:
        return None
    known = session.get(IdempotencyKey, (owner, idempotency.key))
    if known is None:
        return None
    if known.fingerprint != idempotency.fingerprint:
        raise ConflictError(f"Idempotency-Key {idempotency.key!r} was used for another request")
    return session.get_one(Search, known.search_id)


def _remember(session: Session, search: Search, idempotency: Idempotency | None) -> None:
    if idempotency is not None:
        session.add(
            IdempotencyKey(
                owner=search.owner, key=idempotency.key, fingerprint=idempotency.fingerprint, search_id=search.id
            )
        )
        try:
            session.flush()
        except IntegrityError:
            raise ConflictError(
                f"Idempotency-Key {idempotency.key!r} is being used by another request at this moment; repeat this one"
            ) from None
