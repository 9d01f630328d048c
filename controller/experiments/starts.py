"""What a search starts from: known losses among its first trials, and what earlier searches have measured.

What is taken of an earlier search is chosen when the new one is created, and stored with it: it stays the same whatever
becomes of the other one, so that a restarted controller proposes the same trials.
"""

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from paploss.client.specs import SearchSpec
from paploss.client.start import MOST_EARLIER, EarlierSearch, EarlierTrial, Start, choose_trials
from paploss.controller.experiments.losses import encode_loss, search_space
from paploss.controller.search.algorithm import Sample
from paploss.controller.search.space import Vector
from paploss.controller.store import rounds
from paploss.controller.store.database import Session
from paploss.controller.store.documents import EARLIER, SPEC
from paploss.controller.store.errors import ConflictError, NotFoundError
from paploss.controller.store.experiments import find_experiment
from paploss.controller.store.tables import Experiment
from paploss.jobs.documents import JsonObject
from paploss.jobs.losses import APL1
from paploss.jobs.presets import published_for


def fix_earlier(session: Session, spec: SearchSpec) -> list[JsonObject] | None:
    """What a search that is being created takes from earlier ones, as it is stored; None where it names none.

    Raises:
        NotFoundError: it names a search that does not exist.
        ConflictError: it names what no trial of its space can be, or what has nothing to tell; says what would fit.
    """
    named = [(place, start) for place, start in enumerate(spec.starts) if start.preset is None]
    found: list[EarlierSearch] = []
    for place, start in named:
        try:
            if start.loss is not None:
                encode_loss(spec, start.loss, start.learning_rate_factor)
            else:
                found.append(_take(session, spec, start))
        except (ValueError, NotFoundError) as error:
            kind = NotFoundError if isinstance(error, NotFoundError) else ConflictError
            raise kind(f"start_from[{place}]: {error}") from None
    count = MOST_EARLIER // max(len(found), 1)
    kept = [each.model_copy(update={"trials": choose_trials(each.trials, count)}) for each in found]
    return [EARLIER.write(each) for each in kept] or None


def read_earlier(session: Session, search: Experiment) -> tuple[tuple[Sample[Any], ...], ...]:
    """The finished trials of each earlier search that a search learns from."""
    return tuple(learnt_from(stored) for stored in rounds.read_earlier(session, search.id))


def learnt_from(stored: JsonObject) -> tuple[Sample[Any], ...]:
    """The finished trials of one earlier search, as the search that learns from it has stored them."""
    return tuple(
        Sample(np.asarray(trial.theta), trial.reward, None, trial.seed, trial.complete)
        for trial in EARLIER.read(stored).trials
    )


def starting_points(spec: SearchSpec) -> list[Vector]:
    """Known losses among a search's first trials: given ones, and of the published set what its space has."""
    points = []
    for start in spec.starts:
        if start.loss is not None:
            points.append(encode_loss(spec, start.loss, start.learning_rate_factor))
        elif start.preset is not None:
            points += _published_points(spec)
    return points


def _published_points(spec: SearchSpec) -> Sequence[Vector]:
    """The published set that fits the profile, and AP Loss + L1."""
    published = published_for(spec.profile)
    points = []
    for loss in (APL1(), *(() if published is None else (published,))):
        with suppress(ValueError):  # no point of this space, for instance for another number of knots
            points.append(encode_loss(spec, loss))
    return points


def _take(session: Session, spec: SearchSpec, start: Start) -> EarlierSearch:
    """Raises ValueError, and NotFoundError."""
    earlier = start.earlier if start.search is None else _read(session, spec, start.search)
    assert earlier is not None  # noqa: S101 - a start is one of the two
    for trial in earlier.trials:
        search_space(spec).check(trial.theta)
    return earlier


def _read(session: Session, spec: SearchSpec, search_id: str) -> EarlierSearch:
    found = find_experiment(session, search_id)
    if found is None:
        raise NotFoundError(f"there is no experiment {search_id}")
    its_spec = SPEC.read(found.spec)
    if not isinstance(its_spec, SearchSpec):
        raise ValueError(f"expected a search, got the {found.kind} {search_id}")
    if its_spec.space != spec.space:
        raise ValueError(f"expected a search over {spec.space}; {search_id} is one over {its_spec.space}")
    trials = [
        EarlierTrial(theta=tuple(trial.theta), reward=trial.reward, seed=trial.seed, complete=trial.succeeded)
        for trial in rounds.read_proposed(session, search_id, found.next_number)
        if trial.reward is not None and trial.length == 1
    ]
    if not trials:
        raise ValueError(f"expected a search with a finished trial, {search_id} has none")
    return EarlierSearch.model_construct(name=found.name, space=its_spec.space, trials=tuple(trials))
