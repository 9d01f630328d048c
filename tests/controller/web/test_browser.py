"""The page in a real browser, over a real controller: live, usable by keyboard, without errors in the console."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from controllers import PlayedWorker, RunningController

from controller.client import Client
from controller.specs import ConfirmSpec, SearchSpec
from controller.store.sign_ins import create_code

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

pytestmark = pytest.mark.browser

SPEC = SearchSpec(
    name="Seen live", profile="synthetic", rounds=2, trials_per_round=2, confirm=ConfirmSpec(candidates=1, seeds=1)
)
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="module")
def chromium() -> Iterator["sync_api.Browser"]:
    """A headless Chromium; CHROMIUM names its executable where it is not on the path."""
    executable = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    if executable is None or not Path(executable).exists():
        pytest.skip("no Chromium: install it, or name its executable in CHROMIUM")
    sync_api.expect.set_options(timeout=60_000)  # patience, not a demand: a busy machine draws slowly
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def page(chromium: "sync_api.Browser", controller: RunningController) -> Iterator["sync_api.Page"]:
    """A page of a signed-in administrator that fails the test if the console holds an error."""
    with controller.services.database.write() as session:
        code = create_code(session, "admin")
    opened = chromium.new_page()
    errors: list[str] = []
    opened.on("pageerror", lambda error: errors.append(str(error)))
    opened.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    opened.goto(f"{controller.url}/sign-in#code={code}")
    opened.wait_for_url(f"{controller.url}/")
    yield opened
    opened.close()
    assert errors == []


def test_a_search_moves_without_reloading(
    page: "sync_api.Page", controller: RunningController, client: Client, worker: PlayedWorker
) -> None:
    search_id = client.create_search(SPEC).id
    expect = sync_api.expect
    page.get_by_role("link", name="Seen live").click()  # the list has found it by itself
    expect(page.get_by_role("heading", level=1)).to_have_text("Seen live")
    page.evaluate("window.stayed = true")
    while not (queued := list(client.trials(search_id, state="queued"))):
        pass
    worker.run(queued[0].id)
    ap = client.get_trial(queued[0].id).reward
    assert ap is not None
    expect(page.locator("#numbers .best")).to_have_text(f"{100 * ap:.1f}")
    expect(page.locator("[data-figure$='rewards'] .legendtext").first).to_be_visible()
    expect(page.locator("#functions .legendtext", has_text="published")).to_be_visible()
    expect(page.locator("#trial-table")).to_contain_text("succeeded")
    assert page.evaluate("window.stayed") is True


def test_pause_resume_and_cancel_by_keyboard(
    page: "sync_api.Page", controller: RunningController, client: Client
) -> None:
    search_id = client.create_search(SPEC).id
    expect = sync_api.expect
    page.goto(f"{controller.url}/searches/{search_id}")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.get_by_role("button", name="Pause").press("Enter")
    page.get_by_role("button", name="Resume").press("Enter")
    expect(page.get_by_role("button", name="Pause")).to_be_visible()
    page.get_by_role("button", name="Cancel").press("Enter")
    page.get_by_role("dialog").get_by_role("button", name="Keep it as it is").press("Enter")
    assert client.get_search(search_id).state == "running"
    page.get_by_role("button", name="Cancel").press("Enter")
    page.get_by_role("dialog").get_by_role("button", name="Cancel").press("Enter")
    expect(page.locator("#head .state")).to_have_text("cancelled")
    expect(page.locator("#link-state")).to_have_text("ended")


def test_a_phone_never_scrolls_sideways(
    page: "sync_api.Page", controller: RunningController, client: Client, worker: PlayedWorker
) -> None:
    search_id = client.create_search(SPEC).id
    while not (queued := list(client.trials(search_id, state="queued"))):
        pass
    worker.run(queued[0].id)
    page.set_viewport_size({"width": 360, "height": 740})
    for path in ("/", f"/searches/{search_id}", f"/trials/{queued[0].id}", "/workers", "/trainings"):
        page.goto(controller.url + path)
        assert page.evaluate("document.documentElement.scrollWidth") <= 360, path


def test_the_reference_is_drawn_and_signing_out_closes_the_pages(
    page: "sync_api.Page", controller: RunningController
) -> None:
    page.goto(f"{controller.url}/docs")
    sync_api.expect(page.get_by_text("/api/v1/searches", exact=True).first).to_be_visible()
    page.goto(controller.url)
    page.get_by_role("button", name="Sign out").click()
    page.goto(f"{controller.url}/workers")
    assert page.url == f"{controller.url}/sign-in?next=/workers"
