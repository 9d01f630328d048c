"""The page in a real browser, over a real controller: live, usable by keyboard, for each role what it may do."""

import pytest
from browsers import Site, Visitor, sync_api
from controllers import PlayedWorker, RunningController
from scenarios import training_spec

from paploss.client.numbers import percent
from paploss.client.specs import ConfirmSpec, SearchSpec
from paploss.client.states import Role
from paploss.client.sync_client import Client
from paploss.controller.api import events
from paploss.controller.store.access.sign_ins import create_code

pytestmark = pytest.mark.browser

SPEC = SearchSpec(
    name="Seen live", profile="synthetic", rounds=2, trials_per_round=2, confirm=ConfirmSpec(candidates=1, seeds=1)
)


def test_a_search_started_from_the_form_moves_without_reloading(
    controller: RunningController, client: Client, worker: PlayedWorker, visitor: Visitor
) -> None:
    expect = sync_api.expect
    page = visitor.sign_in(controller, "user")
    page.get_by_role("link", name="Start a search").click()
    page.get_by_label("Name", exact=True).first.fill("Typed by hand")
    page.get_by_label("Profile").select_option("synthetic")
    page.get_by_label("Rounds", exact=True).fill("two")
    page.get_by_role("button", name="Start the search").click()
    expect(page.get_by_role("alert").first).to_contain_text("rounds")
    expect(page.locator("#rounds-error")).to_contain_text("expected a whole number")
    expect(page.get_by_label("Name", exact=True).first).to_have_value("Typed by hand")
    page.get_by_label("Rounds", exact=True).fill("1")
    page.get_by_label("Trials per round").fill("2")
    page.get_by_role("button", name="Start the search").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Typed by hand")

    page.evaluate("window.stayed = true")
    experiment_id = page.url.rpartition("/")[2]
    while not (queued := list(client.trials(experiment_id, state="queued"))):
        pass
    worker.run(queued[0].id)
    ap = client.get_trial(queued[0].id).reward
    assert ap is not None
    expect(page.locator("#numbers .best")).to_have_text(percent(ap))
    expect(page.locator("[data-figure$='rewards'] .legendtext").first).to_be_visible()
    for published in page.locator("#functions .legendtext", has_text="published").all():
        expect(published).to_be_visible()
    expect(page.locator("#trial-table")).to_contain_text("succeeded")
    assert page.evaluate("window.stayed") is True
    page.locator("#trial-table tr", has_text="succeeded").get_by_role("link").click()
    expect(page.locator("#figure-breakdown .xtick").first).to_be_visible()
    page.get_by_role("link", name="Typed by hand").click()
    page.get_by_role("link", name="Clone").click()
    expect(page.get_by_label("Trials per round")).to_have_value("2")
    visitor.expected = ("422",)  # the browser tells of the refusal


def test_pause_resume_and_cancel_by_keyboard(controller: RunningController, client: Client, visitor: Visitor) -> None:
    experiment_id = client.create(SPEC).id
    expect = sync_api.expect
    with controller.services.database.write() as session:
        code = create_code(session, "admin")
    page = visitor.open(f"{controller.url}/sign-in#code={code}")
    page.wait_for_url(f"{controller.url}/")
    page.goto(f"{controller.url}/experiments/{experiment_id}")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.get_by_role("button", name="Pause").press("Enter")
    page.get_by_role("button", name="Resume").press("Enter")
    expect(page.get_by_role("button", name="Pause")).to_be_visible()
    page.get_by_role("button", name="Cancel").press("Enter")
    page.get_by_role("dialog").get_by_role("button", name="Keep it as it is").press("Enter")
    assert client.get_experiment(experiment_id).state == "running"
    page.get_by_role("button", name="Cancel").press("Enter")
    page.get_by_role("dialog").get_by_role("button", name="Cancel").press("Enter")
    expect(page.locator("#head .state")).to_have_text("cancelled")
    expect(page.locator("#link-state")).to_have_text("ended")
    page.get_by_role("button", name="Delete").press("Enter")
    page.get_by_role("dialog").get_by_role("button", name="Delete").press("Enter")
    page.wait_for_url(f"{controller.url}/")


@pytest.mark.parametrize(
    ("role", "buttons"),
    [
        ("viewer", {"Compare"}),
        ("user", {"Pause", "Cancel", "Clone", "Compare", "Notify"}),
        ("admin", {"Pause", "Cancel", "Clone", "Compare", "Notify"}),
    ],
)
def test_each_role_signs_in_sees_what_it_may_do_and_signs_out(
    site: Site, visitor: Visitor, role: Role, buttons: set[str]
) -> None:
    url = site.running.url
    page = visitor.sign_in(site.running, role)
    page.get_by_role("link", name="Running").click()
    shown = page.locator("#head .actions > *")
    assert set(shown.all_inner_texts()) == buttons
    page.goto(f"{url}/experiments/new")
    may_start = page.get_by_role("button", name="Start the search").count() == 1
    assert may_start == (role != "viewer")
    page.get_by_role("button", name="Sign out").click()
    page.goto(f"{url}/workers")
    assert page.url == f"{url}/sign-in?next=/workers"
    visitor.expected = ("403",)


def test_without_signing_in_there_is_only_the_sign_in_page(site: Site, visitor: Visitor) -> None:
    url = site.running.url
    page = visitor.open(f"{url}/experiments/{site.finished}?sort=ap")
    assert page.url.startswith(f"{url}/sign-in?next=/experiments/{site.finished}")
    page.get_by_label("API key").fill("wrong")
    page.get_by_role("button", name="Sign in").click()
    sync_api.expect(page.get_by_role("alert").first).to_contain_text("not a valid API key")
    visitor.expected = ("401",)


def test_the_form_works_without_a_script(controller: RunningController, visitor: Visitor) -> None:
    page = visitor.sign_in(controller, "user", java_script_enabled=False)
    page.goto(f"{controller.url}/experiments/new?example=digits")
    page.get_by_label("Name", exact=True).first.fill("Plain")
    page.get_by_label("Profile").select_option("synthetic")
    page.get_by_role("button", name="Start the search").click()
    sync_api.expect(page.get_by_role("heading", level=1)).to_have_text("Plain")


def test_a_lost_connection_shows_and_recovers(site: Site, visitor: Visitor) -> None:
    page = visitor.sign_in(site.running, "viewer")
    page.goto(f"{site.running.url}/workers")
    state = page.locator("#link-state")
    sync_api.expect(state).to_have_text("live")
    page.context.set_offline(True)
    sync_api.expect(state).to_contain_text("connection lost")
    page.context.set_offline(False)
    sync_api.expect(state).to_have_text("live")
    visitor.expected = ("ERR_INTERNET_DISCONNECTED",)


@pytest.mark.slow
def test_a_tab_that_nobody_looks_at_leaves_its_connection_to_others(
    site: Site, visitor: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "MOST_OF_ONE", 1)
    first = visitor.sign_in(site.running, "viewer")
    first.goto(f"{site.running.url}/experiments/{site.unfinished}")
    sync_api.expect(first.locator("#link-state")).to_have_text("live")
    second = visitor.sign_in(site.running, "viewer")
    second.goto(f"{site.running.url}/experiments/{site.unfinished}")
    sync_api.expect(second.locator("#link-state")).to_contain_text("connection lost")
    first.evaluate("Object.defineProperty(document, 'hidden', {value: true})")
    first.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    sync_api.expect(second.locator("#link-state")).to_have_text("live")
    visitor.expected = ("429",)


def test_a_refresh_that_failed_is_tried_again(site: Site, visitor: Visitor) -> None:
    page = visitor.sign_in(site.running, "viewer")
    address = f"{site.running.url}/experiments/{site.unfinished}"
    page.goto(address)
    state = page.locator("#link-state")
    sync_api.expect(state).to_have_text("live")
    page.route(address, lambda route: route.fulfill(status=503))
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    sync_api.expect(state).to_contain_text("connection lost")
    page.unroute(address)
    sync_api.expect(state).to_have_text("live")
    visitor.expected = ("503",)


def test_a_page_says_that_its_experiment_was_deleted(
    controller: RunningController, client: Client, visitor: Visitor
) -> None:
    experiment_id = client.create(SPEC).id
    client.cancel(experiment_id)
    page = visitor.sign_in(controller, "viewer")
    page.goto(f"{controller.url}/experiments/{experiment_id}")
    with controller.client("admin") as admin:
        admin.delete(experiment_id)
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    sync_api.expect(page.locator("#link-state")).to_have_text("deleted")
    visitor.expected = ("404",)


def test_the_reference_is_drawn(site: Site, visitor: Visitor) -> None:
    page = visitor.open(f"{site.running.url}/docs")
    sync_api.expect(page.get_by_text("/api/v1/experiments", exact=True).first).to_be_visible()


def test_a_phone_shows_the_choice_of_searches_to_compare(site: Site, visitor: Visitor) -> None:
    page = visitor.sign_in(site.running, "viewer", viewport={"width": 390, "height": 844})
    page.goto(f"{site.running.url}/compare")
    sync_api.expect(page.get_by_role("button", name="Compare")).to_be_visible()


def test_a_name_without_a_space_widens_no_page(controller: RunningController, client: Client, visitor: Visitor) -> None:
    run = client.create(training_spec(name="cells_retinanet_run_" * 10)).id
    trial = next(iter(client.trials(run))).id
    page = visitor.sign_in(controller, "user", viewport={"width": 1000, "height": 740})
    page.goto(f"{controller.url}/trainings")
    assert page.locator("#list .scroll").evaluate("box => box.scrollWidth <= box.clientWidth")
    page.set_viewport_size({"width": 360, "height": 740})
    for path in ("/trainings", f"/experiments/{run}", f"/trials/{trial}"):
        page.goto(controller.url + path)
        assert page.evaluate("document.documentElement.scrollWidth") <= 360, path
