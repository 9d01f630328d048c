"""`paploss check`: whether a deployment works, part by part; what `helm test` runs."""

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import httpx
import typer
from rich.console import Console
from sqlalchemy.exc import SQLAlchemyError

from paploss.cli.connection import JsonOption
from paploss.cli.failures import FAILED, CommandError
from paploss.cli.service_commands import read_settings
from paploss.cli.specifications import read_search
from paploss.client.specs import SearchSpec
from paploss.client.sync_client import Client
from paploss.controller.settings import Settings
from paploss.controller.store import schema
from paploss.controller.store.database import Database
from paploss.controller.store.errors import SchemaError
from paploss.jobs.queue import QueueError, TrialQueue

GIVEN = ("database_url", "redis_url", "admin_key")
"""Settings that a deployment has to give; a controller alone would fall back on a file and on this machine's Redis."""
_PAUSE_SECONDS = 2.0


def check(
    spec_file: Annotated[
        Path | None, typer.Argument(metavar="SPEC.yaml", help="A search to run; it should take seconds.")
    ] = None,
    url: Annotated[
        str, typer.Option(envvar="PAPLOSS_CONTROLLER_URL", help="The controller.")
    ] = "http://127.0.0.1:8080",
    patience_seconds: Annotated[float, typer.Option(help="How long parts may take to come up.")] = 120,
    timeout_seconds: Annotated[float, typer.Option(help="How long the search may take, workers included.")] = 900,
    as_json: JsonOption = False,
) -> None:
    """Tell which part of a deployment does not work, with a controller's own settings and secrets, and why."""
    spec = None if spec_file is None else read_search(spec_file)
    console = Console(stderr=as_json, highlight=False)
    settings = read_settings()
    give_up_at = time.monotonic() + patience_seconds
    while faults := list(find_faults(settings, url)):
        if time.monotonic() > give_up_at:
            raise CommandError("\n".join(faults), FAILED)
        time.sleep(min(_PAUSE_SECONDS, patience_seconds))
    console.print("secrets, database, Redis and controller: ok")
    if spec is not None:
        key = settings.admin_key.get_secret_value() if settings.admin_key else ""
        with Client(url, key) as client:
            _run(client, spec, timeout_seconds)
        console.print("a search through the workers: ok")
    if as_json:
        typer.echo(json.dumps({"parts_ok": True, "search_ok": None if spec is None else True}))


def find_faults(settings: Settings, url: str) -> Iterator[str]:
    """What does not work, a line each: secrets, database, Redis, controller."""
    folder = os.environ.get("PAPLOSS_SECRETS_DIR")
    missing = [name for name in GIVEN if name not in settings.model_fields_set]
    for name in missing:
        place = f"; {folder}/paploss_{name} is not there either: is its Secret, with this key in it?" if folder else ""
        yield f"secret: PAPLOSS_{name.upper()} is not set{place}"
    if "database_url" not in missing and (fault := _find_database_fault(settings.database_url)):
        yield f"database: {fault}"
    if "redis_url" not in missing and (fault := _find_redis_fault(settings.redis_url)):
        yield f"redis: {fault}"
    if fault := _find_controller_fault(url):
        yield f"controller: {fault}"


def _find_database_fault(url: str) -> str:
    try:
        database = Database(url)
    except (SQLAlchemyError, ValueError) as error:
        return str(error)
    try:
        schema.check(database)
    except SQLAlchemyError as error:
        return str(getattr(error, "orig", None) or error).strip().partition("\n")[0]
    except SchemaError as error:
        return str(error)
    finally:
        database.close()
    return ""


def _find_redis_fault(url: str) -> str:
    try:
        with TrialQueue(url) as queue:
            queue.ping()
    except QueueError as error:
        return str(error)
    return ""


def _find_controller_fault(url: str) -> str:
    try:
        reply = httpx.get(f"{url.rstrip('/')}/readyz", timeout=10)
        content = reply.json()
    except (httpx.HTTPError, ValueError) as error:
        return f"{url} does not answer ({error or type(error).__name__}); `kubectl describe pod` has its last words"
    return "" if reply.is_success else str(content.get("detail", reply.status_code))


def _run(client: Client, spec: SearchSpec, timeout_seconds: float) -> None:
    search = client.create(spec)
    try:
        run = client.wait(search.id, timeout_seconds=timeout_seconds)
    except TimeoutError:
        status = client.status()
        faults = [check.detail for check in status.readiness.checks if not check.ok]
        reason = "; ".join(faults) or f"{status.workers_live} workers live"
        client.cancel(search.id)
        raise CommandError(f"workers: the search did not end within {timeout_seconds:g} s: {reason}", FAILED) from None
    if run.state != "succeeded":
        raise CommandError(f"search {search.id} {run.state}: {run.reason}", FAILED)
