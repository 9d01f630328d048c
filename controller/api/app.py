"""The web application: routes, access, errors, and the leader's loop that lives as long as it does."""

import logging
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import sqlalchemy.exc
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
from controller.store.errors import SchemaError
from jobs.queue import QueueError, TrialQueue

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


class StartError(Exception):
    """What keeps the controller from starting, in one line for people."""


def create_app(settings: Settings) -> FastAPI:
    """The controller's web application over the database and the Redis of the settings.

    The database's schema is brought up to date at once; the leader's loop runs from the application's start to its
    end. The services are at `app.state.services` (a `controller.api.services.Services`).

    Raises:
        StartError: the database or Redis cannot be reached, or the database is newer than this program.
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
    try:
        database = Database(settings.resolved_database_url)
        schema.upgrade(database)
    except (SchemaError, ValueError) as error:
        raise StartError(str(error)) from error
    except sqlalchemy.exc.OperationalError as error:
        address = sqlalchemy.make_url(settings.resolved_database_url).render_as_string(hide_password=True)
        raise StartError(f"the database {address} cannot be used: {_first_line(error.orig or error)}") from error
    try:
        queue = TrialQueue(settings.redis_url)
        queue.ping()
    except QueueError as error:
        database.close()
        raise StartError(_first_line(error)) from error
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


def _first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0]
