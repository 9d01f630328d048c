"""The web application: routes, access, errors, and the leader's loop, which has the same lifetime."""

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute
from pydantic import SecretStr
from starlette.concurrency import run_in_threadpool
from starlette.middleware.gzip import GZipMiddleware

from paploss.client.states import Role
from paploss.controller.api import problems
from paploss.controller.api.pages import (
    access_tokens,
    annotations,
    assets,
    comparing,
    follow_ups,
    lists,
    notifications,
    pages,
    project_list,
    sign_in,
    single_sign_on,
    starting,
)
from paploss.controller.api.reference import DescribedApp
from paploss.controller.api.rest import (
    comparisons,
    detections,
    dumps,
    experiments,
    figures,
    health,
    keys,
    leases,
    metrics,
    projects,
    subscriptions,
    tokens,
    trials,
    workers,
)
from paploss.controller.api.security.access import OPEN, ROLES, AuthorizedRoute
from paploss.controller.api.security.requests import RequestChecks, default_hosts
from paploss.controller.api.services import Services, make_services
from paploss.controller.api.tracing import start_tracing
from paploss.controller.loop.driver import Driver, Loop, connect
from paploss.controller.scaling.pools import read_pools
from paploss.controller.scaling.scaler import Scaler
from paploss.controller.search_resources.reconciler import Reconciler
from paploss.controller.settings import Settings
from paploss.controller.store import schema
from paploss.controller.store.access.keys import install_key
from paploss.controller.store.database import Database
from paploss.jobs.queue import TrialQueue

logger = logging.getLogger(__name__)

ROUTERS: Sequence[APIRouter] = (
    leases.router,  # first, because a route is found by trying one after the other, and most requests are these
    dumps.router,  # before the experiments: "load" is no experiment's id
    experiments.router,
    comparisons.router,
    detections.router,
    trials.router,
    figures.router,
    workers.router,
    keys.router,
    projects.router,
    subscriptions.router,
    tokens.router,
    health.router,
    metrics.router,
    annotations.router,
    lists.router,  # before the pages: "selected" is no experiment's id
    follow_ups.router,
    starting.router,  # before the pages: "new" is no experiment's id
    comparing.router,
    pages.router,
    access_tokens.router,
    notifications.router,
    project_list.router,
    sign_in.router,
    single_sign_on.router,
    assets.router,
)

MakeDriver = Callable[[Database, TrialQueue, Settings], Loop]

STOP_SECONDS = 20.0
"""How long a stopping controller waits for the leader's loop to end its tick."""

LEASE_THREADS = 12
"""How many lease requests run at once; each uses one of the database's 20 connections."""


def create_app(settings: Settings, make_driver: MakeDriver = Driver) -> FastAPI:
    """The controller's web application over the database and the Redis of the settings.

    The database's schema is brought up to date at once; the leader's loop runs from the application's start to its
    end, in a thread or a process of its own as `make_driver` says. The services are at `app.state.services` (a
    `paploss.controller.api.services.Services`).

    Raises:
        SchemaError: the database is newer than this program.
        DatabaseError: the database cannot be reached.
        QueueError: Redis cannot be reached.
        PoolsError: the file of the elastic workers is wrong.
        ClusterError: this process has no access to a cluster.
        TracingError: tracing is configured but cannot be started.
    """
    services = _connect(settings, make_driver)
    app = DescribedApp(
        title="paploss controller",
        version=health.program_version(),
        description="Searches and trainings of Parameterized AP losses. Errors are problem documents (RFC 9457).",
        lifespan=_drive,
        docs_url=None,
        redoc_url=None,
        generate_unique_id_function=_operation_id,
    )
    app.state.services = services
    for router in ROUTERS:
        app.include_router(router)
    problems.install(app, pages.render_problem)
    app.add_middleware(GZipMiddleware, minimum_size=2000)
    app.add_middleware(
        RequestChecks,
        allowed_hosts=settings.allowed_hosts or default_hosts(settings.host),
        max_body_bytes=settings.max_body_bytes,
        larger_bodies={dumps.LOAD_PATH: settings.max_load_bytes},
    )
    app.state.end_tracing = start_tracing(services.database, app)
    return app


def list_operations() -> list[str]:
    """Method and path of every route, as the table of roles names them."""
    return [
        f"{method} {route.path}"
        for router in ROUTERS
        for route in router.routes
        if isinstance(route, APIRoute)
        for method in sorted(route.methods or ())
    ]


def _connect(settings: Settings, make_driver: MakeDriver) -> Services:
    if unchecked := [route for router in ROUTERS for route in router.routes if not isinstance(route, AuthorizedRoute)]:
        raise RuntimeError(f"routes without authorization, expected AuthorizedRoute: {unchecked}")
    if undeclared := set(list_operations()) - ROLES.keys() - OPEN:
        raise RuntimeError(
            f"routes without declared roles in paploss.controller.api.security.access: {sorted(undeclared)}"
        )
    database, queue = connect(settings)
    try:
        schema.upgrade(database)
        _install_keys(settings, database)
        queue.ping()
        driver = make_driver(database, queue, settings)
        scaler = _make_scaler(settings, database, driver)
        reconciler = _make_reconciler(settings, database, driver)
    except BaseException:
        database.close()
        raise
    return make_services(settings, database, queue, driver, scaler=scaler, reconciler=reconciler)


def _install_keys(settings: Settings, database: Database) -> None:
    given: dict[Role, SecretStr | None] = {
        "admin": settings.admin_key,
        "viewer": settings.viewer_key,
        "worker": settings.worker_key,
    }
    with database.write() as session:
        for role, key in given.items():
            if key is not None:
                install_key(session, role, key.get_secret_value())


def _make_scaler(settings: Settings, database: Database, driver: Loop) -> Scaler | None:
    if settings.worker_pools_file is None:
        return None
    # The Kubernetes client is slow to import: only a controller that scales imports it.
    from paploss.controller.scaling.cluster import Cluster  # noqa: PLC0415

    pools = read_pools(settings.worker_pools_file)
    return Scaler(database, Cluster(pools), pools, lambda: driver.leads, settings.scaling_seconds)


def _make_reconciler(settings: Settings, database: Database, driver: Loop) -> Reconciler | None:
    if not settings.search_resources_namespace:
        return None
    from paploss.controller.search_resources.resources import SearchResources  # noqa: PLC0415 (slow, as above)

    resources = SearchResources(settings.search_resources_namespace)
    return Reconciler(
        database,
        resources,
        settings.data_roots,
        leads=lambda: driver.leads,
        wake=driver.wake,
        pause_seconds=settings.scaling_seconds,
    )


@asynccontextmanager
async def _drive(app: FastAPI) -> AsyncIterator[None]:
    services: Services = app.state.services
    # Leases have threads of their own, so that a renewal waits for no page.
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(LEASE_THREADS, thread_name_prefix="lease"))
    possible = (services.driver, services.notifier, services.scaler, services.reconciler)
    loops = [loop for loop in possible if loop is not None]
    threads = [threading.Thread(target=loop.run, name=type(loop).__name__, daemon=True) for loop in loops]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        for loop in loops:
            loop.stop()
        for thread in threads:
            await run_in_threadpool(thread.join, STOP_SECONDS)
            if thread.is_alive():
                logger.error("the %s did not end within %g s; its term will expire", thread.name, STOP_SECONDS)
        await run_in_threadpool(app.state.end_tracing)
        services.queue.close()
        services.database.close()


def _operation_id(route: APIRoute) -> str:
    """`experiments_create` for `create` of the module experiments: what generated clients call it."""
    return f"{route.endpoint.__module__.rpartition('.')[2]}_{route.endpoint.__name__}"
