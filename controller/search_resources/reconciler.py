"""The loop of Search resources: while this process leads, have a search for each, and each tell of its search.

A search is created with the resource's UID as idempotency key, so that a leader that ends between creating and telling
creates nothing twice. Its owner is `kubernetes:NAMESPACE`, and only searches of this owner are ever told of or
cancelled, whatever stands in a status. It is created in the project `default`, with what a request may name there.
"""

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from paploss.client.projects import DEFAULT_PROJECT
from paploss.client.specs import SearchSpec
from paploss.client.states import FINAL_EXPERIMENT_STATES, OPEN_TRIAL_STATES
from paploss.controller.data_roots import PathRefusedError, check_files, narrow
from paploss.controller.experiments.creation import create
from paploss.controller.scaling.errors import ClusterError
from paploss.controller.search_resources import status
from paploss.controller.store.database import UNSTORABLE, WHY_UNSTORABLE, Database, DatabaseError, Session
from paploss.controller.store.documents import OUTCOME
from paploss.controller.store.errors import ConflictError, StoreError
from paploss.controller.store.experiments import Idempotency, cancel_experiment, find_creation, find_experiment
from paploss.controller.store.projects import get_project
from paploss.controller.store.reading import lists, overview
from paploss.controller.store.tables import Experiment
from paploss.controller.store.visibility import within
from paploss.jobs.documents import UnreadableError
from paploss.jobs.faults import describe_fault

if TYPE_CHECKING:  # the Kubernetes client takes a second to import and 50 MB: only who has such resources pays for it
    from paploss.controller.search_resources.resources import SearchResource, SearchResources

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Created:
    """The search of a resource."""

    id: str
    accepted: str
    """Digest of the request that it was created from."""


class Reconciler:
    """Keeps the searches of one namespace at what its Search resources ask for."""

    def __init__(
        self,
        database: Database,
        resources: "SearchResources",
        data_roots: Sequence[Path],
        *,
        leads: Callable[[], bool],
        wake: Callable[[], None],
        pause_seconds: float,
    ) -> None:
        """`wake`: asks the leader's loop to look at a new search now."""
        self._database = database
        self._resources = resources
        self._data_roots = data_roots
        self._leads = leads
        self._wake = wake
        self._pause_seconds = pause_seconds
        self._owner = f"kubernetes:{resources.namespace}"
        self._stop = threading.Event()

    def run(self) -> None:
        """Run until `stop` is called; errors are logged, and retried."""
        while not self._stop.wait(self._pause_seconds):
            try:
                if self._leads():
                    self.look()
            except (ClusterError, DatabaseError) as error:
                logger.warning("the Search resources: %s", error)
            except Exception:
                logger.exception("the loop of the Search resources met a defect and will try again")

    def stop(self) -> None:
        """End `run` after the current pass."""
        self._stop.set()

    def look(self) -> None:
        """One pass over all resources. What cannot be written to one of them, for a policy say, holds up no other.

        Raises:
            ClusterError: the cluster cannot be reached, or has refused; the first of such errors.
            DatabaseError: the database cannot be reached.
        """
        refusal: ClusterError | None = None
        for resource in self._resources.list_all():
            try:
                if resource.is_deleted:
                    self._let_go(resource)
                elif not status.is_settled(resource.status, resource.generation):
                    self._keep(resource)
            except ClusterError as error:
                refusal = refusal or error
            except ConflictError as error:  # its search changed at this moment
                logger.info("the Search %s, to be looked at again: %s", resource.name, error)
        if refusal is not None:
            raise refusal

    def _let_go(self, resource: "SearchResource") -> None:
        """Cancel the search of a resource that is being deleted; its results stay."""
        if not resource.is_protected:
            return
        with self._database.write() as session:
            created = self._find_created(session, resource)
            search = None if created is None else self._find_search(session, created.id)
            if search is not None and search.state not in FINAL_EXPERIMENT_STATES:
                logger.info("the Search %s is deleted: cancelling %s", resource.name, search.id)
                cancel_experiment(session, search.id)
        self._resources.release(resource)

    def _keep(self, resource: "SearchResource") -> None:
        # The finaliser first: a resource that is deleted before it has one has no search yet.
        protected = resource if resource.is_protected else self._resources.protect(resource)
        if protected is None:
            return  # changed since it was listed: the next look sees it as it is
        described = self._describe(protected)
        if described != protected.status:
            self._resources.write_status(protected, described)

    def _describe(self, resource: "SearchResource") -> dict[str, Any]:
        """The status of a resource, once it has a search if it can."""
        try:
            created = self._create_once(resource)
        except _RefusedError as error:
            return status.describe_refused(resource.status, resource.generation, str(error))
        given = status.digest(resource.search)
        with self._database.read() as session:
            search = self._find_search(session, created.id)
            if search is None:
                return status.describe_deleted(resource.status, resource.generation)
            facts = _read_facts(session, search)
        return status.describe_accepted(resource.status, resource.generation, facts, created.accepted, given)

    def _create_once(self, resource: "SearchResource") -> Created:
        """The search of a resource, which is created where there is none.

        Raises:
            _RefusedError: the request is refused.
        """
        with self._database.read() as session:
            created = self._find_created(session, resource)
        if created is not None:
            return created
        try:
            return self._create(resource)
        except _RefusedError:
            with self._database.read() as session:
                created = self._find_created(session, resource)
            if created is None:
                raise
            return created  # by another leader, at the same moment

    def _find_created(self, session: Session, resource: "SearchResource") -> Created | None:
        """From the status; or, where an earlier leader could not write it, by the idempotency key."""
        if {"id", "accepted"} <= resource.status.keys():
            return Created(resource.status["id"], resource.status["accepted"])
        known = find_creation(session, self._owner, resource.uid)
        return None if known is None else Created(known.experiment_id, known.fingerprint)

    def _find_search(self, session: Session, experiment_id: str) -> Experiment | None:
        search = find_experiment(session, experiment_id)
        return search if search is not None and search.owner == self._owner else None

    def _create(self, resource: "SearchResource") -> Created:
        """Start the search that a resource asks for.

        Raises:
            _RefusedError: the request is refused; says why.
        """
        accepted = status.digest(resource.search)
        try:
            spec = SearchSpec.model_validate({"name": resource.name, **resource.search})
            database = within(self._database, DEFAULT_PROJECT)
            with database.read() as session:
                own_roots = get_project(session, DEFAULT_PROJECT).data_roots
            check_files(spec, narrow(self._data_roots, own_roots))
            with database.write() as session:
                search = create(session, spec, self._owner, Idempotency(resource.uid, accepted))
                created = Created(search.id, accepted)
        except ValidationError as error:
            faults = {".".join(map(str, fault["loc"])): describe_fault(fault, SearchSpec) for fault in error.errors()}
            raise _RefusedError(faults) from None
        except PathRefusedError as error:
            raise _RefusedError(error.faults) from None
        except StoreError as error:
            raise _RefusedError({"": str(error)}) from None
        except UNSTORABLE:
            raise _RefusedError({"": f"a value {WHY_UNSTORABLE}"}) from None
        logger.info("the Search %s: created %s", resource.name, created.id)
        self._wake()
        return created


class _RefusedError(Exception):
    """A request is not accepted; for whoever wrote it."""

    def __init__(self, faults: Mapping[str, str]) -> None:
        """`faults`: by field, which is empty for the request as a whole."""
        told = ((".".join(filter(None, ("spec.search", field))), fault) for field, fault in faults.items())
        super().__init__("; ".join(f"{place}: {fault}" for place, fault in told))


def _read_facts(session: Session, search: Experiment) -> status.SearchFacts:
    counts = lists.count_trials(session, [search.id])[search.id]
    total = sum(counts.values())
    best, verdict = overview.best_rewards(session, [search.id]).get(search.id), ""
    if search.best is not None:
        try:
            outcome = OUTCOME.read(search.best)
        except UnreadableError as error:
            verdict = str(error)
        else:
            best, verdict = outcome.mean, outcome.verdict.sentence if outcome.verdict else ""
    return status.SearchFacts(
        id=search.id,
        state=search.state,
        reason=search.reason,
        trials_final=sum(count for state, count in counts.items() if state not in OPEN_TRIAL_STATES),
        trials_planned=total if search.state in FINAL_EXPERIMENT_STATES else max(total, search.planned or 0),
        best=best,
        verdict=verdict,
    )
