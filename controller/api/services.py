"""The dependencies of the handlers, created once at start."""

import asyncio
from dataclasses import dataclass, replace
from typing import Annotated

from fastapi import Depends, Request

from paploss.client.models import Readiness
from paploss.controller.api.events import Streams
from paploss.controller.api.remembered import Remembered
from paploss.controller.api.security.callers import Caller, Callers
from paploss.controller.api.security.rates import Rates
from paploss.controller.api.security.single_sign_on import SingleSignOn
from paploss.controller.loop.driver import Loop
from paploss.controller.loop.gathering import LeaseSteps
from paploss.controller.notifications.notifier import Notifier
from paploss.controller.scaling.scaler import Scaler
from paploss.controller.search_resources.reconciler import Reconciler
from paploss.controller.settings import Settings
from paploss.controller.store.database import Database
from paploss.controller.store.visibility import within
from paploss.jobs.queue import TrialQueue

PROBE_SECONDS = 1.0
"""How long a check of everything is cached for probes, whose rate is not limited."""


@dataclass(frozen=True)
class Services:
    """Settings, the connections to the database and to Redis, callers and their rates, and the loops.

    All but `callers`, `rates`, `lease_steps`, `streams`, `one_load` and `one_dump` are safe to use from threads.
    """

    settings: Settings
    database: Database
    queue: TrialQueue
    callers: Callers
    rates: Rates
    lease_steps: LeaseSteps
    streams: Streams
    readiness: Remembered[Readiness]
    driver: Loop
    notifier: Notifier
    scaler: Scaler | None
    """The loop of the elastic workers; None where the operator runs the workers."""
    reconciler: Reconciler | None
    """The loop of the Search resources; None where there are none."""
    single_sign_on: SingleSignOn | None
    """None where no identity provider is configured."""
    one_load: asyncio.Lock
    """Held by the one file that is being loaded."""
    one_dump: asyncio.Lock
    """Held by the one file that is being written."""

    def within(self, project: str | None) -> "Services":
        """The same over the database as a project sees it; None: all projects."""
        return self if project is None else replace(self, database=within(self.database, project))


def make_services(
    settings: Settings,
    database: Database,
    queue: TrialQueue,
    driver: Loop,
    *,
    scaler: Scaler | None,
    reconciler: Reconciler | None,
) -> Services:
    """The services over open connections."""
    return Services(
        settings=settings,
        database=database,
        queue=queue,
        callers=Callers(database),
        rates=Rates(settings),
        lease_steps=LeaseSteps(database, settings),
        streams=Streams(),
        readiness=Remembered(PROBE_SECONDS),
        driver=driver,
        notifier=Notifier(database, settings, lambda: driver.leads),
        scaler=scaler,
        reconciler=reconciler,
        single_sign_on=SingleSignOn(settings) if settings.oidc_issuer else None,
        one_load=asyncio.Lock(),
        one_dump=asyncio.Lock(),
    )


async def get_services(request: Request) -> Services:  # asynchronous, or FastAPI would call it in a thread
    """The app's services; once the caller is known, over the database as their project sees it."""
    services: Services = request.app.state.services
    caller: Caller | None = getattr(request.state, "caller", None)
    return services if caller is None else services.within(caller.project)


Injected = Annotated[Services, Depends(get_services)]
"""Parameter of a handler that needs the services."""
