"""What a search will cost, from earlier trials that were trained like its own."""

from paploss.client.estimates import Estimate, estimate_search
from paploss.client.specs import SearchSpec
from paploss.controller.store.database import Session
from paploss.controller.store.documents import SPEC
from paploss.controller.store.reading import overview
from paploss.controller.store.reading.experiments import ExperimentFilter, list_experiments
from paploss.jobs.documents import UnreadableError

_NEWEST = 50
"""How many searches are looked at."""


def estimate(session: Session, spec: SearchSpec) -> Estimate:
    """The cost of a search by the proxies of the newest search with its profile, data set, schedule and GPUs."""
    for search in list_experiments(session, ExperimentFilter(kinds=("search",)), limit=_NEWEST).items:
        try:
            earlier = SPEC.read(search.spec)
        except UnreadableError:  # of another version of the program
            continue
        if isinstance(earlier, SearchSpec) and _trains_alike(earlier, spec):
            lengths = overview.read_proxy_lengths(session, search.id)
            if lengths.trials:
                return estimate_search(spec, lengths.mean_seconds, lengths.trials)
    return estimate_search(spec, None)


def _trains_alike(one: SearchSpec, other: SearchSpec) -> bool:
    return _training_of(one) == _training_of(other)


def _training_of(spec: SearchSpec) -> tuple[object, ...]:
    """What decides how long a proxy takes."""
    data = spec.dataset
    return spec.profile, spec.overrides, spec.trial_gpus, spec.synthetic, data.name, data.root, data.train, data.val
