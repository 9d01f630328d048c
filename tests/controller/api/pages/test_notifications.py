"""The pages of subscriptions, as a browser without a script posts them."""

import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from controllers import RunningController

from paploss.client import Client
from paploss.client.notifications import SubscriptionRequest
from paploss.client.specs import SearchSpec

HOOK = "https://hooks.example.org:8443/services/s3cret-part"
FORM = {"channel": "webhook", "target": HOOK, "experiment_id": "", "occasions": ["ended", "failed"]}


@pytest.fixture
def http(controller: RunningController) -> Iterator[httpx.Client]:
    """A user's browser."""
    with controller.http("user") as opened:
        opened.headers.update({"Accept": "text/html", "Origin": controller.url})
        yield opened


def post(http: httpx.Client, **changes: Any) -> httpx.Response:
    return http.post("/subscriptions", data=FORM | changes)


def test_the_form_subscribes_and_shows_the_secret_once(http: httpx.Client, client: Client) -> None:
    search = client.create(SearchSpec(profile="synthetic", name="blood <b>"))
    assert f'<option value="{search.id}" selected>blood &lt;b&gt;</option>' in (
        http.get(f"/subscriptions?experiment={search.id}").text
    )
    reply = post(http, experiment_id=search.id)
    assert reply.status_code == 201
    (made,) = client.list_subscriptions()
    assert (made.experiment_id, made.occasions, made.owner) == (search.id, ["ended", "failed"], "user")
    (secret,) = re.findall(r"whsec_[\w+/=]+", reply.text)
    for later in (http.get("/subscriptions").text, http.get(f"/subscriptions/{made.id}").text):
        assert "https://hooks.example.org/…" in later
        assert "blood &lt;b&gt;" in later
        assert secret not in later
        assert "s3cret-part" not in later


@pytest.mark.parametrize(
    ("changes", "field", "message"),
    [
        (
            {"target": "https://10.1.2.3/hook"},
            "target",
            "10.1.2.3 is not a public address; notify_networks allows",
        ),
        ({"target": "hook"}, "target", "with the scheme http or https"),
        ({"target": ""}, "target", "expected 1 character or more"),
        ({"channel": "mail", "target": "ann@example.org"}, "target", "its operator has not set smtp_url"),
        ({"channel": "pigeon"}, "channel", "expected one of"),
        ({"occasions": []}, "occasions", "expected 1 value or more, got 0"),
        ({"experiment_id": "nothing"}, "experiment_id", "there is no experiment nothing"),
    ],
)
def test_what_is_refused_is_said_at_its_field(
    http: httpx.Client, client: Client, changes: dict[str, Any], field: str, message: str
) -> None:
    reply = post(http, **changes)
    assert reply.status_code in {404, 422}
    (said,) = re.findall(rf'<p class="error" id="{field}-error">([^<]*)</p>', reply.text)
    assert message in said
    assert reply.text.count('class="error"') == 1
    assert client.list_subscriptions() == []


def test_buttons_test_pause_resume_and_remove(http: httpx.Client, client: Client) -> None:
    made = client.subscribe(SubscriptionRequest(target=HOOK))
    address = f"/subscriptions/{made.id}"
    assert http.post(f"{address}/test").headers["Location"] == address
    assert [each.occasion for each in client.list_deliveries(made.id)] == ["test"]
    http.post(f"{address}/pause")
    assert "what happens meanwhile is not reported" in http.get(address).text
    assert http.post(f"{address}/test").status_code == 409
    http.post(f"{address}/resume")
    assert client.list_subscriptions()[0].paused_at is None
    assert http.post(f"{address}/remove").headers["Location"] == "/subscriptions"
    assert client.list_subscriptions() == []
    assert http.get(address).status_code == 404


def test_buttons_are_for_the_owner_and_administrators(controller: RunningController, http: httpx.Client) -> None:
    with controller.client("admin") as admin:
        search = admin.create(SearchSpec(profile="synthetic"))
        made = admin.subscribe(SubscriptionRequest(target=HOOK, experiment_id=search.id))
    address = f"/subscriptions/{made.id}"
    assert "Remove" not in http.get(address).text
    for action in ("test", "pause", "resume", "remove"):
        assert http.post(f"{address}/{action}").status_code == 403
    with controller.http("viewer") as viewer:
        assert 'action="/subscriptions"' not in viewer.get("/subscriptions").text
        assert viewer.post("/subscriptions", data=FORM).status_code == 403
    with controller.http("admin") as admin_http:
        assert "Remove" in admin_http.get(address).text


def test_another_sites_form_is_refused(controller: RunningController, client: Client) -> None:
    made = client.subscribe(SubscriptionRequest(target=HOOK))
    with httpx.Client(base_url=controller.url) as browser:
        browser.post("/sign-in", data={"key": controller.keys["user"]}, headers={"Origin": controller.url})
        assert browser.get("/subscriptions").status_code == 200
        for path in ("/subscriptions", f"/subscriptions/{made.id}/remove"):
            for headers in ({}, {"Origin": "https://evil.example"}):
                assert browser.post(path, data=FORM, headers=headers).status_code == 403
    assert [each.id for each in client.list_subscriptions()] == [made.id]
