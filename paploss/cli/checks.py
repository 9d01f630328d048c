"""`paploss check`: whether a deployment works, part by part; what `helm test` runs."""

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated

import httpx
import typer
from rich.console import Console

from paploss.cli.connection import JsonOption
from paploss.cli.databases import read_settings
from paploss.cli.failures import FAILED, CommandError
from paploss.cli.output import echo_json
from paploss.cli.specifications import read_search
from paploss.cli.terminal import make_console, say
from paploss.cli.wording import describe_end
from paploss.client.errors import UnreachableError
from paploss.client.specs import SearchSpec
from paploss.client.sync_client import Client
from paploss.client.transport import Route
from paploss.controller.scaling.errors import ClusterError
from paploss.controller.settings import Settings
from paploss.controller.store import schema
from paploss.controller.store.database import Database, DatabaseError, reason_of
from paploss.controller.store.errors import SchemaError
from paploss.jobs.queue import QueueError, TrialQueue

GIVEN = ("database_url", "redis_url", "admin_key")
"""Settings that a deployment has to give; a controller alone would fall back on a file and on this machine's Redis."""
_PAUSE_SECONDS = 2.0


def check(  # noqa: PLR0917 (each is an option of the command)
    spec_file: Annotated[
        Path | None, typer.Argument(metavar="SPEC.yaml", help="A search to run; it should take seconds.")
    ] = None,
    url: Annotated[
        str, typer.Option(envvar="PAPLOSS_CONTROLLER_URL", help="The controller.")
    ] = "http://127.0.0.1:8080",
    patience_seconds: Annotated[float, typer.Option(help="How long parts may take to come up.")] = 120,
    timeout_seconds: Annotated[float, typer.Option(help="How long the search may take, workers included.")] = 900,
    release: Annotated[str, typer.Option(help="In a pod: the Helm release whose pods must not wait for a node.")] = "",
    namespace: Annotated[str, typer.Option(help="In a pod: of the release.")] = "default",
    pod: Annotated[str, typer.Option(help="In a pod: its own name; it goes with the ConfigMap of this name.")] = "",
    as_json: JsonOption = False,
) -> None:
    """Report which part of a deployment does not work and why, with a controller's own settings and secrets."""
    spec = None if spec_file is None else read_search(spec_file)
    console = make_console(stderr=as_json)
    settings = read_settings()
    find_waiting = _join_release(release, namespace, pod, console) if release else list
    give_up_at = time.monotonic() + patience_seconds
    told: list[str] = []
    while faults := list(find_faults(settings, url)):
        # A setting that was missing at the start of this process stays missing.
        if time.monotonic() > give_up_at or not settings.model_fields_set.issuperset(GIVEN):
            raise CommandError("\n".join([*faults, *find_waiting()]), FAILED)
        for fault in faults:
            if fault not in told:
                say(console, f"waiting: {fault}")
        told = faults
        time.sleep(min(_PAUSE_SECONDS, patience_seconds))
    console.print("secrets, database, Redis and controller: ok")
    ran = None
    if spec is not None:
        key = settings.admin_key.get_secret_value() if settings.admin_key else ""
        with Client(url, key) as client:
            ran = _run(client, spec, timeout_seconds, console, find_waiting) or None
    if as_json:
        echo_json({"parts_ok": True, "search_ok": ran})


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
    except (DatabaseError, ValueError) as error:
        return str(error)
    try:
        schema.check(database)
    except DatabaseError as error:
        return reason_of(error)
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
        route = Route(url)
        with httpx.Client(**route.options(""), timeout=10) as http:
            reply = http.get("/readyz")
        content = reply.json()
    except UnreachableError as error:
        return str(error)
    except httpx.TransportError as error:
        return f"{url} does not answer ({route.explain(error)}); `kubectl describe pod` has its last words"
    except ValueError:
        return f"what answers at {url} is not a controller: {reply.status_code} {reply.reason_phrase}{route.by_proxy}"
    return "" if reply.is_success else str(content.get("detail", reply.status_code))


def _join_release(name: str, namespace: str, pod: str, console: Console) -> Callable[[], list[str]]:
    """What tells which pods of the release wait for a node; the pod that this runs in will go with the release."""
    # The Kubernetes client takes long to import: only who runs in a cluster pays for it.
    from paploss.controller.scaling.release import Release  # noqa: PLC0415

    try:
        release = Release(namespace, name)
    except ClusterError as error:
        raise CommandError(str(error), FAILED) from None
    if pod:
        try:
            release.adopt(pod)
        except ClusterError as error:  # the deployment works all the same; the pod stays when the release goes
            say(console, error)
    return release.find_waiting


def _run(
    client: Client, spec: SearchSpec, timeout_seconds: float, console: Console, find_waiting: Callable[[], list[str]]
) -> bool:
    """Whether the search ran; not, where all workers are busy with others' trials, which shows that they work."""
    search = client.create(spec)
    try:
        run = client.wait(search.id, timeout_seconds=timeout_seconds)
    except TimeoutError:
        status = client.status()
        client.cancel(search.id)
        faults = [check.detail for check in status.readiness.checks if not check.ok] + find_waiting()
        if not faults and status.workers_live and status.workers_busy == status.workers_live:
            console.print(
                f"all {status.workers_live} workers are busy with other trials: the search got none within "
                f"{timeout_seconds:g} s and was cancelled; run this again when one is free"
            )
            return False
        reason = "; ".join(faults) or f"{status.workers_live} workers live, {status.workers_busy} of them busy"
        raise CommandError(f"workers: the search did not end within {timeout_seconds:g} s: {reason}", FAILED) from None
    if run.state != "succeeded":
        raise CommandError(describe_end(run), FAILED)
    console.print("a search through the workers: ok")
    return True
