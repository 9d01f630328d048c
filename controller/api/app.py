"""The web application: routes, access, errors, and the leader's loop that lives as long as it does."""

import logging
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from fastapi import APIRouter, Depends, FastAPI
from fastapi.routing import APIRoute
from starlette.concurrency import run_in_threadpool
from starlette.middleware.gzip import GZipMiddleware

from controller.api import (
    assets,
    drawings,
    health,
    keys,
    leases,
    pages,
    problems,
    searches,
    sign_in,
    trainings,
    trials,
    workers,
)
from controller.api.access import OPEN, ROLES, authorize
from controller.api.guard import Guard, default_hosts
from controller.api.reference import DescribedApp
from controller.api.services import Services
from controller.loop.driver import Driver
from controller.settings import Settings
from controller.store import schema
from controller.store.database import Database
from jobs.queue import TrialQueue

logger = logging.getLogger(__name__)

ROUTERS: Sequence[APIRouter] = (
    searches.router,
    trainings.router,
    trials.router,
    drawings.router,
    workers.router,
    leases.router,
    keys.router,
    health.router,
    pages.router,
    sign_in.router,
    assets.router,
)

STOP_SECONDS = 20.0
"""How long a stopping controller waits for the leader's loop to end its tick."""


def create_app(settings: Settings) -> FastAPI:
    """The controller's web application over the database and the Redis of the settings.

    The database's schema is brought up to date at once; the leader's loop runs from the application's start to its
    end. The services are at `app.state.services` (a `controller.api.services.Services`).

    Raises:
        SchemaError: the database is newer than this program.
        sqlalchemy.exc.OperationalError: the database cannot be reached.
        QueueError: Redis cannot be reached.
    """
    services = _connect(settings)
    app = DescribedApp(
        title="paploss controller",
        version=health.program_version(),
        description="Searches and trainings of Parameterized AP losses. Errors are problem documents (RFC 9457).",
        dependencies=[Depends(authorize)],
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
        Guard,
        allowed_hosts=settings.allowed_hosts or default_hosts(settings.host),
        max_body_bytes=settings.max_body_bytes,
    )
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


def _connect(settings: Settings) -> Services:
    if undeclared := set(list_operations()) - ROLES.keys() - OPEN:
        raise RuntimeError(f"routes without declared roles in controller.api.access: {sorted(undeclared)}")
    database = Database(settings.resolved_database_url)
    try:
        schema.upgrade(database)
        queue = TrialQueue(settings.redis_url)
        queue.ping()
    except BaseException:
        database.close()
        raise
    return Services(settings, database, queue, Driver(database, queue, settings))


@asynccontextmanager
async def _drive(app: FastAPI) -> AsyncIterator[None]:
    services: Services = app.state.services
    thread = threading.Thread(target=services.driver.run, name="driver", daemon=True)
    thread.start()
    try:
        yield
    finally:
        services.driver.stop()
        await run_in_threadpool(thread.join, STOP_SECONDS)
        if thread.is_alive():
            logger.error("the leader's loop did not end within %g s; its term will run out", STOP_SECONDS)
        services.queue.close()
        services.database.close()


def _operation_id(route: APIRoute) -> str:
    """`create_search` for `create` of the module searches: what generated clients call it."""
    return f"{route.endpoint.__module__.rpartition('.')[2]}_{route.endpoint.__name__}"
