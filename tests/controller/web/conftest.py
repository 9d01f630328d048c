"""Browsers, and a controller with a finished and a running search to look at."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from browsers import FLAGS, PATIENCE_MS, Site, Visitor, sync_api
from controllers import RunningController
from servers import RedisServer

from benchmarks.filled_database import fill, fill_subscriptions
from paploss.client.loss_choice import LossChoice
from paploss.client.specs import ComparisonSpec, ConfirmSpec, SearchSpec


@pytest.fixture(scope="module")  # while it is open, no other test of its process can run a loop of asyncio
def chromium() -> Iterator["sync_api.Browser"]:
    """A headless Chromium; CHROMIUM names its executable where it is not on the path."""
    executable = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    if executable is None or not Path(executable).exists():
        pytest.skip("no Chromium: install it, or name its executable in CHROMIUM")
    sync_api.expect.set_options(timeout=PATIENCE_MS)
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def visitor(chromium: "sync_api.Browser") -> Iterator[Visitor]:
    """Someone with browsers. Asked for after the controller, so that they close before it ends."""
    found = Visitor(chromium)
    yield found
    found.close()
    assert [error for error in found.errors if not any(part in error for part in found.expected)] == []


@pytest.fixture
def http(controller: RunningController) -> Iterator[httpx.Client]:
    """A browser of a user's, as far as HTTP goes."""
    with controller.http("user") as opened:
        opened.headers["Accept"] = "text/html"
        yield opened


@pytest.fixture(scope="session")
def site(redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Two searches and a comparison. Its leader rests, so nothing moves."""
    folder = tmp_path_factory.mktemp("site")
    url = f"sqlite:///{folder / 'test.db'}"
    with RunningController(url, redis_server.url, folder, tick_seconds=3600.0) as running:
        database = running.services.database
        confirm = ConfirmSpec(candidates=1, seeds=2)
        finished = fill(database, SearchSpec(name="Finished", profile="retinanet-tiny", rounds=5, confirm=confirm))
        unfinished = fill(database, SearchSpec(name="Running", profile="retinanet-tiny", rounds=9, seed=1), rounds=4)
        losses = (LossChoice(label="identity", preset="identity"), LossChoice(label="published", preset="retinanet"))
        with running.client() as client:
            comparison = ComparisonSpec(profile="retinanet-tiny", losses=losses, seeds=(0, 1))
            training = client.create(comparison).id
            client.create_token("laptop", "user")
        yield Site(running, finished, unfinished, training, fill_subscriptions(database, unfinished))
