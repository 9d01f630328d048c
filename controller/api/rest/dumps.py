"""Backup of an experiment over HTTP, for administrators: with SQLite the running controller is the only one to open the
database."""

import tempfile
from collections.abc import Iterator
from typing import IO, Annotated, Any

from fastapi import APIRouter, Query, Request, status
from fastapi.responses import StreamingResponse
from starlette.background import BackgroundTask
from starlette.concurrency import run_in_threadpool

from paploss.client.models import ExperimentSummary
from paploss.client.projects import ProjectName
from paploss.controller.api import dumping, loading, problems, views
from paploss.controller.api.parameters import ExperimentId
from paploss.controller.api.security.access import AuthorizedRoute
from paploss.controller.api.services import Injected, Services
from paploss.controller.store.reading import lists

LOAD_PATH = "/api/v1/experiments/load"
MEDIA_TYPE = "application/gzip"
_PART_BYTES = 1 << 16

router = APIRouter(route_class=AuthorizedRoute, prefix="/api/v1/experiments", tags=["experiments"])

_BINARY: dict[str, Any] = {MEDIA_TYPE: {"schema": {"type": "string", "format": "binary"}}}


@router.get(
    "/{experiment_id}/dump",
    response_class=StreamingResponse,
    responses=problems.documented(404) | {200: {"content": _BINARY}},
)
async def dump(experiment_id: ExperimentId, services: Injected) -> StreamingResponse:
    """An experiment with its rounds, trials, attempts, results and log, as a file for `load`."""
    # Written whole before the first byte is sent, so that no slow reader holds a transaction open.
    file = tempfile.TemporaryFile()  # noqa: SIM115 (closed once it is sent)
    try:
        async with services.one_dump:
            await run_in_threadpool(dumping.dump, services.settings, experiment_id, file)
    except BaseException:
        file.close()
        raise
    file.seek(0)
    headers = {
        "Content-Disposition": f'attachment; filename="{experiment_id}.jsonl.gz"',
        "Content-Encoding": "identity",  # packed already
    }
    return StreamingResponse(
        _parts(file), media_type=MEDIA_TYPE, headers=headers, background=BackgroundTask(file.close)
    )


@router.post(
    "/load",
    status_code=status.HTTP_201_CREATED,
    responses=problems.documented(409),
    openapi_extra={"requestBody": {"required": True, "content": _BINARY}},
)
async def load(
    request: Request,
    services: Injected,
    project: Annotated[ProjectName | None, Query(description="what it belongs to; by default its own")] = None,
) -> ExperimentSummary:
    """Store what `dump` gave, here or at another controller. One that had not ended is paused."""
    with tempfile.TemporaryFile() as file:
        async for part in request.stream():
            file.write(part)
        file.seek(0)
        async with services.one_load:
            experiment_id = await run_in_threadpool(loading.load, services.settings, file, project)
    return await run_in_threadpool(_summarize, services, experiment_id)


def _summarize(services: Services, experiment_id: str) -> ExperimentSummary:
    with services.database.read() as session:
        return views.experiment_summary(session, lists.get_experiment(session, experiment_id))


def _parts(file: IO[bytes]) -> Iterator[bytes]:
    while part := file.read(_PART_BYTES):
        yield part
