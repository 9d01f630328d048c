import pytest
from controllers import RunningController
from receivers import HttpReceiver

from paploss.client import Client
from paploss.client.errors import ApiError
from paploss.client.notifications import SubscriptionRequest
from paploss.client.specs import SearchSpec

HOOK = "https://hooks.example.org:8443/services/s3cret-part"


def request(**changes: object) -> SubscriptionRequest:
    return SubscriptionRequest.model_validate({"target": HOOK} | changes)


def test_a_secret_is_shown_once_and_a_url_never_whole(controller: RunningController) -> None:
    with controller.client() as client:
        made = client.subscribe(request(occasions=["ended", "failed", "ended"]))
        assert made.secret is not None
        (listed,) = client.list_subscriptions()
    assert listed.model_dump() == made.model_dump(exclude={"secret"})
    assert (made.owner, made.target) == ("user", "https://hooks.example.org/…")
    assert made.occasions == ["ended", "failed"]
    with controller.http("viewer") as http:
        told = http.get("/api/v1/subscriptions").text
    assert "s3cret-part" not in told
    assert made.secret not in told


def test_a_search_that_is_cancelled_is_told_to_its_subscriber(
    sqlite_url: str, redis_url: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    options = {"notify_networks": "127.0.0.0/8", "public_url": "https://paploss.example"}
    with (
        HttpReceiver() as receiver,
        RunningController(sqlite_url, redis_url, tmp_path_factory.mktemp("state"), **options) as controller,
        controller.client() as client,
    ):
        search = client.create(SearchSpec(profile="synthetic", name="blood"))
        subscription = client.subscribe(request(target=receiver.url, experiment_id=search.id))
        client.cancel(search.id)
        while (delivery := client.list_deliveries(subscription.id)[0]).state == "waiting":
            assert not delivery.error
    (got,) = receiver.received
    assert got.headers["webhook-id"] == delivery.id
    assert b'"url":"https://paploss.example/experiments/' in got.body
    assert (delivery.state, delivery.occasion, delivery.experiment_id) == ("delivered", "ended", search.id)


@pytest.mark.parametrize("host", ["127.0.0.1", "10.1.2.3", "169.254.169.254", "[::1]", "[::ffff:10.0.0.1]"])
def test_addresses_that_are_not_public_are_refused_at_once(controller: RunningController, host: str) -> None:
    with controller.client() as client, pytest.raises(ApiError, match="not a public address") as refusal:
        client.subscribe(request(target=f"https://{host}/hook"))
    assert refusal.value.status == 422


@pytest.mark.parametrize(
    "target",
    [
        "ftp://example.org/s3cret-part",
        "https:///s3cret-part",
        "https://ann:s3cret-part@example.org/",
        "https://example.org/#s3cret-part",
        "https://s3cret-part b/",
        "s3cret-part",
        "https://example.org:99999/s3cret-part",
        "https://[::1/s3cret-part",
        "https://example.org/s3cret-part\r\nHost: other",
    ],
)
def test_what_is_no_url_of_a_webhook_is_refused_without_repeating_it(
    controller: RunningController, target: str
) -> None:
    with controller.http("user") as http:
        reply = http.post("/api/v1/subscriptions", json={"target": target})
    assert reply.status_code == 422
    assert "expected a URL like https://example.org/hook" in reply.text
    assert "s3cret-part" not in reply.text


def test_mail_is_refused_where_the_operator_has_no_server_for_it(controller: RunningController) -> None:
    with controller.client() as client, pytest.raises(ApiError, match="has not set smtp_url"):
        client.subscribe(request(channel="mail", target="ann@example.org"))


def test_a_subscription_is_its_owners_and_the_administrators(controller: RunningController) -> None:
    with controller.client("admin") as admin, controller.client("user") as user, controller.client("viewer") as viewer:
        search = user.create(SearchSpec(profile="synthetic"))
        of_admin, of_user = admin.subscribe(request(experiment_id=search.id)), user.subscribe(request())
        for act in (user.unsubscribe, user.test_subscription, user.pause_subscription, viewer.unsubscribe):
            with pytest.raises(ApiError) as refusal:
                act(of_admin.id)
            assert refusal.value.status == 403
        admin.unsubscribe(of_user.id)
        assert [each.id for each in viewer.list_subscriptions()] == [of_admin.id]


def test_a_subscription_to_all_projects_is_seen_by_those_who_see_all(controller: RunningController) -> None:
    with controller.client("admin") as admin, controller.client("user") as user:
        made = admin.subscribe(request())
        assert [each.id for each in admin.list_subscriptions()] == [made.id]
        assert user.list_subscriptions() == []
        with pytest.raises(ApiError) as refusal:
            user.unsubscribe(made.id)
        assert refusal.value.status == 404


def test_what_is_not_there_is_said_so(controller: RunningController) -> None:
    with controller.client() as client:
        for act in (client.unsubscribe, client.test_subscription, client.resume_subscription, client.list_deliveries):
            with pytest.raises(ApiError, match="no subscription abc"):
                act("abc")
        with pytest.raises(ApiError, match="no experiment nothing"):
            client.subscribe(request(experiment_id="nothing"))


def test_deliveries_are_counted_for_prometheus(controller: RunningController, client: Client) -> None:
    subscription = client.subscribe(request())
    client.test_subscription(subscription.id)
    with controller.http("viewer") as http:
        told = http.get("/metrics").text
    assert 'paploss_deliveries{state="given_up"} 0.0' in told
    assert 'paploss_deliveries{state="waiting"} 1.0' in told


def test_a_list_tells_of_pauses_and_of_the_last_delivery(controller: RunningController) -> None:
    with controller.client() as client:
        made = client.subscribe(request())
        sent = client.test_subscription(made.id)
        paused = client.pause_subscription(made.id)
        (listed,) = client.list_subscriptions()
        assert listed.paused_at == paused.paused_at is not None
        assert listed.last_delivery is not None
        assert listed.last_delivery.id == sent.id
        with pytest.raises(ApiError, match="is paused; resume it first") as refusal:
            client.test_subscription(made.id)
        assert refusal.value.status == 409
        assert client.resume_subscription(made.id).paused_at is None
