"""Notifications set up by hand in a real browser, and received by a real server."""

import json

import pytest
from browsers import Visitor, sync_api
from controllers import RunningController
from receivers import HttpReceiver
from standardwebhooks.webhooks import Webhook

from paploss.client.specs import SearchSpec

pytestmark = pytest.mark.browser


@pytest.mark.slow
@pytest.mark.parametrize("has_script", [True, False])
def test_a_webhook_made_on_the_page_gets_its_test_and_the_end_of_a_search(
    sqlite_url: str,
    redis_url: str,
    tmp_path_factory: pytest.TempPathFactory,
    chromium: "sync_api.Browser",
    has_script: bool,
) -> None:
    expect, state = sync_api.expect, tmp_path_factory.mktemp("state")
    with (
        HttpReceiver([503]) as receiver,
        RunningController(sqlite_url, redis_url, state, notify_networks="127.0.0.0/8") as controller,
        controller.client() as client,
    ):
        visitor = Visitor(chromium)
        search = client.create(SearchSpec(profile="synthetic", name="blood cells"))
        page = visitor.sign_in(controller, "user", java_script_enabled=has_script)
        page.goto(f"{controller.url}/experiments/{search.id}")
        page.get_by_role("link", name="Notify").click()
        expect(page.get_by_label("Of", exact=True)).to_have_value(search.id)
        page.get_by_label("URL, or for mail an address").fill("https://10.0.0.1/hook")
        page.get_by_label("new best").uncheck()
        page.get_by_role("button", name="Subscribe").click()
        expect(page.locator("#target-error")).to_contain_text("10.0.0.1 is not a public address")
        expect(page.get_by_label("new best")).not_to_be_checked()
        page.get_by_label("URL, or for mail an address").fill(receiver.url)
        page.get_by_role("button", name="Subscribe").click()
        secret = page.locator("#made .secret").inner_text()
        page.get_by_role("button", name="Send a test").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("http://127.0.0.1/…")
        reload_until(page, "status 503", has_script)
        client.cancel(search.id)
        reload_until(page, "delivered", has_script)
        visitor.close()
        assert [error for error in visitor.errors if "422" not in error] == []
    refused, told = receiver.received
    headers = {name.lower(): value for name, value in told.headers.items()}
    assert Webhook(secret).verify(told.body, headers)["data"]["experiment"]["id"] == search.id
    assert json.loads(refused.body)["type"] == "test"


def reload_until(page: "sync_api.Page", text: str, has_script: bool) -> None:
    """A page with a script shows it by itself; else it is asked for again."""
    if has_script:
        sync_api.expect(page.locator("#deliveries")).to_contain_text(text)
        return
    while text not in page.locator("#deliveries").inner_text():
        page.reload()
