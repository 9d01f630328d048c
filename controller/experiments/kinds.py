"""The interface of a kind of experiment, and the table of kinds. Another kind is another entry in `KINDS`."""

from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

from paploss.client.states import ExperimentKind, Stage
from paploss.controller.experiments.given_losses import GivenLosses
from paploss.controller.experiments.search import Search
from paploss.controller.search.scheduling import Pace
from paploss.controller.store.database import Session
from paploss.controller.store.documents import TrialPlan
from paploss.controller.store.tables import Experiment
from paploss.controller.store.trials.counts import Counts
from paploss.jobs.spec import JobKind


class Kind(Protocol):
    """One kind of experiment. `spec` is always the experiment's request, of the kind's own model.

    Functions that change rows are called by one process at a time, with the experiment's row locked, and do all that
    they do in the caller's transaction; all randomness in them follows from the request's seeds. So a controller
    killed at any point produces the same rows when it restarts.
    """

    def first_stage(self, spec: Any) -> Stage:
        """The initial stage."""
        ...

    def count_planned(self, spec: Any) -> int:
        """Total number of trials, if none fails."""
        ...

    def count_rounds(self, spec: Any) -> int | None:
        """Number of rounds; None for a kind without rounds."""
        ...

    def open(self, session: Session, experiment: Experiment, spec: Any) -> None:
        """Propose the first trials, where the request gives them, and record the start.

        Raises:
            NotFoundError, ConflictError: the request names what does not exist, or does not fit.
        """
        ...

    def is_due(self, session: Session, experiment: Experiment, spec: Any, counts: Counts, pace: Pace) -> bool:
        """Whether `advance` would do something; called without a lock."""
        ...

    def look_ahead(
        self, session: Session, experiment: Experiment, spec: Any, counts: Counts, pace: Pace
    ) -> Callable[[], Any] | None:
        """What takes long of the next `advance`, to be computed outside of transactions; called without a lock."""
        ...

    def advance(
        self, session: Session, experiment: Experiment, spec: Any, counts: Counts, pace: Pace, *, ahead: Any = None
    ) -> None:
        """Do everything that is possible now. `ahead`: what `look_ahead` gave, computed."""
        ...

    def plan(self, spec: Any, job_kind: JobKind) -> TrialPlan:
        """How a trial of one job kind trains: fixed when it is proposed."""
        ...


KINDS: Final[Mapping[ExperimentKind, Kind]] = {
    "search": Search(),
    "comparison": GivenLosses("compare"),
    "training": GivenLosses("final"),
}
