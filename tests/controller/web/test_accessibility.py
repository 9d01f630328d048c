"""Every page in both colour schemes passes axe's rules (WCAG A and AA among them) and fits a phone."""

from pathlib import Path

import axe_playwright_python
import pytest
from analyses import make_analysis
from browsers import Site, Visitor, sync_api
from controllers import PlayedWorker, RunningController
from scenarios import training_spec

from paploss.client import Client

pytestmark = [pytest.mark.browser, pytest.mark.slow]  # every page in a browser, at two widths

AXE = (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text()
RUN = """async only => {
  // A figure is an image with a name to assistive technology; what plotly draws inside is not theirs.
  const context = { exclude: [[".plot-container"]] };
  const found = await axe.run(context, { resultTypes: ["violations"], ...(only ? { runOnly: only } : {}) });
  return found.violations
    .filter((one) => ["serious", "critical"].includes(one.impact))
    .map((one) => `${one.id}: ${one.nodes.map((node) => node.html.slice(0, 160)).join(" | ")}`);
}"""


def scan(page: "sync_api.Page") -> list[str]:
    """Serious and critical findings: all rules in the light scheme, and contrast again in the dark one."""
    page.evaluate(AXE)
    found = page.evaluate(RUN, None)
    page.emulate_media(color_scheme="dark")
    dark = page.evaluate(RUN, ["color-contrast"])
    page.emulate_media(color_scheme="light")
    return [*found, *(f"dark: {finding}" for finding in dark)]


def test_no_page_has_a_serious_finding(site: Site, visitor: Visitor) -> None:
    # The pages' policy forbids inline scripts, of which axe is one here.
    page = visitor.sign_in(site.running, "admin", color_scheme="light", bypass_csp=True)
    page.route("**/static/plotly.min.js*", lambda route: route.abort())  # what it draws is not looked at
    found = {}
    for name, path in site.pages.items():
        page.goto(site.running.url + path)
        found[name] = scan(page)
    page.get_by_role("button", name="Sign out").click()
    found["sign-in"] = scan(page)
    assert {name: findings for name, findings in found.items() if findings} == {}
    # The unknown page is answered with 404, and plotly was refused.
    visitor.expected = ("404", "ERR_FAILED")


def test_pictures_of_two_losses_have_no_serious_finding(
    controller: RunningController, client: Client, worker: PlayedWorker, visitor: Visitor
) -> None:
    experiment = client.create(training_spec("comparison", seeds=[1], learning_rates=[])).id
    for trial in client.trials(experiment):
        worker.run(trial.id, make_analysis())
    page = visitor.sign_in(controller, "viewer", color_scheme="light", bypass_csp=True)
    page.goto(f"{controller.url}/experiments/{experiment}")
    page.locator("#figure-error-costs .main-svg").first.wait_for()
    assert page.locator(".picture").count() == 4
    assert scan(page) == []


def test_a_phone_never_scrolls_sideways(site: Site, visitor: Visitor) -> None:
    page = visitor.sign_in(site.running, "user", viewport={"width": 360, "height": 740})
    for name, path in site.pages.items():
        page.goto(site.running.url + path)
        if name == "search":
            page.locator(".figure .legendtext").first.wait_for()
        assert page.evaluate("document.documentElement.scrollWidth") <= 360, name
    visitor.expected = ("404",)


def test_a_phone_shows_the_button_that_revokes_a_token_without_scrolling(site: Site, visitor: Visitor) -> None:
    page = visitor.sign_in(site.running, "admin", viewport={"width": 390, "height": 844})
    page.goto(f"{site.running.url}/tokens")
    sync_api.expect(page.get_by_role("button", name="Revoke laptop")).to_be_in_viewport(ratio=1)
