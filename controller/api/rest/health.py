"""Health of the controller: for probes, for programs, and for users who ask why nothing runs."""

import logging
from importlib.metadata import PackageNotFoundError, version

from fastapi import APIRouter

from paploss.client.models import Check, Readiness, Status
from paploss.controller.api import problems
from paploss.controller.api.security.access import AuthorizedRoute
from paploss.controller.api.services import Injected, Services
from paploss.controller.api.workers import measure_fleet
from paploss.controller.store import schema
from paploss.controller.store.database import DatabaseError
from paploss.controller.store.errors import SchemaError
from paploss.controller.store.leadership import find_leader
from paploss.controller.store.reading import lists
from paploss.controller.store.trials.tallies import count_live_trials
from paploss.jobs.queue import QueueError

logger = logging.getLogger(__name__)

router = APIRouter(route_class=AuthorizedRoute, tags=["platform"])


@router.get("/healthz")
async def healthz() -> dict[str, str]:  # asynchronous, or it would wait for a thread behind pages without a database
    """The process answers; nothing else is checked, because a restart fixes nothing else."""
    return {"status": "ok"}


@router.get("/readyz", responses=problems.documented(503))
def readyz(services: Injected) -> Readiness:
    """The controller can serve: database, schema, and a leader. 503 names what is missing; without Redis it serves on.

    No key is needed, so the answer is cached for a second and has no details; /api/v1/status has them."""
    looked = services.readiness.get(lambda: _look(services))
    if not looked.ready:
        failed = [check.name for check in looked.checks if not check.ok]
        errors = [problems.field_error("check", [name], "does not work") for name in failed]
        detail = f"not ready: {', '.join(failed)}; /api/v1/status has the details, for whoever has a key"
        raise problems.ProblemError(503, detail, errors=errors)
    return Readiness(ready=True, checks=[check.model_copy(update={"detail": ""}) for check in looked.checks])


@router.get("/api/v1/status")
def get_status(services: Injected) -> Status:
    """The platform at a glance."""
    return read_status(services)


def read_status(services: Services) -> Status:
    """Counts of experiments, trials and workers, and whether everything works."""
    with services.database.read() as session:
        experiments = lists.count_experiments(session)
        trials = count_live_trials(session)
    fleet = measure_fleet(services)
    return Status(
        version=program_version(),
        readiness=check_readiness(services),
        experiments=experiments,
        trials=trials,
        workers_live=fleet.live,
        workers_busy=fleet.busy,
    )


def check_readiness(services: Services) -> Readiness:
    """Check everything that the controller needs, and what keeps its workers from starting; never raises."""
    database, leader = _check_database(services), _check_leader(services)
    # Without workers or Redis searches wait. That fails no probe: leases must be renewed and the page stay reachable,
    # and all replicas would leave their Service at once.
    return Readiness(
        ready=database.ok and leader.ok, checks=[database, _check_redis(services), leader, _check_workers(services)]
    )


def _look(services: Services) -> Readiness:
    """Check, and log changes alone: probes ask every few seconds."""
    last, looked = services.readiness.last, check_readiness(services)
    faults = _describe_faults(looked)
    if faults and (last is None or _describe_faults(last) != faults):
        logger.warning("not ready: %s", faults)
    elif last is not None and not last.ready and looked.ready:
        logger.info("ready again")
    return looked


def _describe_faults(readiness: Readiness) -> str:
    if readiness.ready:
        return ""
    return "; ".join(f"{check.name}: {check.detail}" for check in readiness.checks if not check.ok)


def program_version() -> str:
    """The installed version; `unknown` when run from a folder that was never installed."""
    try:
        return version("paploss")
    except PackageNotFoundError:
        return "unknown"


def _check_database(services: Services) -> Check:
    try:
        schema.check(services.database)
    except (DatabaseError, SchemaError) as error:
        return Check(name="database", ok=False, detail=_first_line(error))
    return Check(name="database", ok=True, detail=services.database.engine.dialect.name)


def _check_redis(services: Services) -> Check:
    try:
        services.queue.ping()
    except QueueError as error:
        return Check(name="redis", ok=False, detail=_first_line(error))
    return Check(name="redis", ok=True, detail=services.queue.address)


def _check_leader(services: Services) -> Check:
    try:
        with services.database.read() as session:
            leader = find_leader(session)
    except DatabaseError as error:
        return Check(name="leader", ok=False, detail=_first_line(error))
    if leader is None:
        return Check(name="leader", ok=False, detail="no controller drives the searches")
    return Check(name="leader", ok=True, detail=leader.holder)


def _check_workers(services: Services) -> Check:
    pools = [] if services.scaler is None else services.scaler.pool_names  # no others can be in anybody's way now
    try:
        with services.database.read() as session:
            obstacles = lists.standing_obstacles(session, pools)
    except DatabaseError as error:
        return Check(name="workers", ok=False, detail=_first_line(error))
    return Check(name="workers", ok=not obstacles, detail="; ".join(obstacles) or "nothing keeps workers from starting")


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
