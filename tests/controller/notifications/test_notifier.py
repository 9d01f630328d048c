"""Deliveries to a real HTTP server and to real mail servers on the loopback."""

import json
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from receivers import HttpReceiver, MailReceiver
from sqlalchemy import select, update
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from paploss.client.notifications import SubscriptionRequest
from paploss.controller.notifications import notifier, senders
from paploss.controller.notifications.notifier import Notifier
from paploss.controller.settings import Settings
from paploss.controller.store.database import Database, now
from paploss.controller.store.notifications import subscriptions
from paploss.controller.store.tables import Delivery

LOOPBACK = {"notify_networks": "127.0.0.0/8"}
WAIT_SECONDS = 60


@pytest.fixture(autouse=True)
def without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notifier, "LOOK_SECONDS", 0.02)


@pytest.fixture
def sqlite(sqlite_url: str) -> Iterator[Database]:
    database = Database(sqlite_url)
    yield database
    database.close()


@contextmanager
def notifying(database: Database, leads: Callable[[], bool] = lambda: True, **settings: object) -> Iterator[None]:
    made = Notifier(database, Settings.model_validate(settings), leads)
    thread = threading.Thread(target=made.run)
    thread.start()
    try:
        yield
    finally:
        made.stop()
        thread.join()


def add_delivery(database: Database, **request: object) -> tuple[str, str | None]:
    """Id of a test's delivery, and the secret of its new subscription."""
    with database.write() as session:
        made = subscriptions.add_subscription(session, SubscriptionRequest.model_validate(request), "ann")
        return subscriptions.try_subscription(session, made.id).id, made.secret


def wait_for(database: Database, delivery_id: str, *, to_the_end: bool = False) -> Delivery:
    """The delivery once its first attempt has ended; with `to_the_end` its last one, each retry being due at once."""
    deadline = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < deadline:
        with database.read() as session:
            found = session.get_one(Delivery, delivery_id)
        if found.state != "waiting" or (found.error and not to_the_end):
            return found
        if found.error:
            with database.write() as session:
                still_waits = (Delivery.id == delivery_id, Delivery.state == "waiting")
                session.execute(update(Delivery).where(*still_waits).values(due_at=now() - 1))
        time.sleep(0.02)
    raise AssertionError(f"after {WAIT_SECONDS} s: {found.state}, {found.attempts} attempts, {found.error!r}")


def test_a_webhook_is_signed_as_receivers_verify_it(sqlite: Database) -> None:
    with HttpReceiver() as receiver, notifying(sqlite, **LOOPBACK):
        delivery_id, secret = add_delivery(sqlite, target=receiver.url)
        assert wait_for(sqlite, delivery_id).state == "delivered"
    assert secret is not None
    (got,) = receiver.received
    assert got.path == "/hook?key=s3cret-part"
    headers = {name.lower(): value for name, value in got.headers.items()}
    assert headers["webhook-id"] == delivery_id
    assert Webhook(secret).verify(got.body, headers)["type"] == "test"
    for name, forged in (("webhook-timestamp", str(int(headers["webhook-timestamp"]) + 1)), ("webhook-id", "other")):
        with pytest.raises(WebhookVerificationError):
            Webhook(secret).verify(got.body, headers | {name: forged})
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(got.body + b" ", headers)


def test_a_failed_attempt_is_repeated_with_the_same_id_and_body_and_says_so(sqlite: Database) -> None:
    with HttpReceiver([500, 429]) as receiver, notifying(sqlite, **LOOPBACK):
        delivery_id, _ = add_delivery(sqlite, target=receiver.url)
        failed = wait_for(sqlite, delivery_id)
        assert (failed.state, failed.error) == ("waiting", "the receiver answered with status 500, an error")
        found = wait_for(sqlite, delivery_id, to_the_end=True)
    assert (found.state, found.attempts, found.error) == ("delivered", 3, "")
    assert [got.headers["Paploss-Attempt"] for got in receiver.received] == ["1", "2", "3"]
    assert {got.headers["webhook-id"] for got in receiver.received} == {delivery_id}
    assert len({got.body for got in receiver.received}) == 1


@pytest.mark.parametrize("channel", ["slack", "teams"])
def test_slack_and_teams_get_their_own_bodies_unsigned(sqlite: Database, channel: str) -> None:
    with HttpReceiver() as receiver, notifying(sqlite, **LOOPBACK):
        delivery_id, _ = add_delivery(sqlite, target=receiver.url, channel=channel)
        wait_for(sqlite, delivery_id)
    (got,) = receiver.received
    assert ("blocks" if channel == "slack" else "attachments") in json.loads(got.body)
    assert "webhook-signature" not in got.headers


def test_the_loopback_is_refused_unless_it_is_allowed(sqlite: Database) -> None:
    with HttpReceiver() as receiver, notifying(sqlite):
        delivery_id, _ = add_delivery(sqlite, target=f"http://localhost:{receiver.port}/")
        found = wait_for(sqlite, delivery_id)
    assert receiver.received == []
    assert found.state == "waiting"
    assert "not public" in found.error


def test_a_redirect_is_not_followed(sqlite: Database) -> None:
    with HttpReceiver([307]) as receiver, notifying(sqlite, **LOOPBACK):
        delivery_id, _ = add_delivery(sqlite, target=receiver.url)
        found = wait_for(sqlite, delivery_id)
    assert found.error == "the receiver answered with status 307, a redirect, which is not followed"
    assert [got.path for got in receiver.received] == ["/hook?key=s3cret-part"]


def test_no_error_repeats_what_is_secret_in_a_url(sqlite: Database, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    with HttpReceiver([500]) as receiver, notifying(sqlite, **LOOPBACK):
        refused, secret = add_delivery(sqlite, target=receiver.url)
        closed, _ = add_delivery(sqlite, target="http://127.0.0.1:9/hook?key=s3cret-part")
        errors = [wait_for(sqlite, each).error for each in (refused, closed)]
    told = "".join(f"{each.getMessage()} {vars(each)}" for each in caplog.records) + "".join(errors)
    assert all(errors)
    assert "s3cret-part" not in told
    assert secret is not None
    assert secret not in told


def test_who_does_not_answer_holds_up_nobody_else(sqlite: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    with HttpReceiver([0]) as silent, HttpReceiver() as healthy, notifying(sqlite, **LOOPBACK):
        stuck, _ = add_delivery(sqlite, target=silent.url)
        while not silent.received:
            time.sleep(0.01)
        for _ in range(3):
            delivery_id, _ = add_delivery(sqlite, target=healthy.url)
            assert wait_for(sqlite, delivery_id).state == "delivered"
        with sqlite.read() as session:
            assert session.get_one(Delivery, stuck).state == "waiting"


def test_an_attempt_as_a_whole_is_limited_in_time(sqlite: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(senders, "SEND_SECONDS", 0.2)
    with HttpReceiver([0]) as silent, notifying(sqlite, **LOOPBACK):
        delivery_id, _ = add_delivery(sqlite, target=silent.url)
        assert wait_for(sqlite, delivery_id).error == "no answer within 0.2 s"


def test_who_does_not_lead_delivers_nothing(sqlite: Database) -> None:
    looked = threading.Event()

    def lead() -> bool:
        looked.set()
        return False

    with HttpReceiver() as receiver:
        delivery_id, _ = add_delivery(sqlite, target=receiver.url)
        with notifying(sqlite, lead, **LOOPBACK):
            assert looked.wait(WAIT_SECONDS)
    assert receiver.received == []
    with sqlite.read() as session:
        assert session.get_one(Delivery, delivery_id).attempts == 0


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Certificate and key of a server named localhost, signed by itself, in one file."""
    folder = tmp_path_factory.mktemp("certificate")
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *subject]
    command += ["-addext", "basicConstraints=critical,CA:TRUE", "-keyout", folder / "key", "-out", folder / "crt"]
    subprocess.run(command, check=True, capture_output=True)
    both = folder / "both.pem"
    both.write_text((folder / "crt").read_text() + (folder / "key").read_text())
    return both


def test_mail_goes_encrypted_and_with_a_password(
    sqlite: Database, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate)
    with MailReceiver(tls) as receiver:
        smtp_url = f"smtp://ann:p%40ss@localhost:{receiver.port}"
        with notifying(sqlite, smtp_url=smtp_url, mail_from="paploss@example.org"):
            delivery_id, _ = add_delivery(sqlite, channel="mail", target="ann@example.org")
            assert wait_for(sqlite, delivery_id).state == "delivered"
    ((envelope, mail),) = receiver.received
    assert (envelope.mail_from, envelope.rcpt_tos) == ("paploss@example.org", ["ann@example.org"])
    assert mail["Message-ID"] == f"<{delivery_id}@example.org>"
    assert mail["Subject"] == "[paploss] A test of notifications"
    assert mail["Paploss-Attempt"] == "1"


def test_mail_is_not_sent_in_the_clear_unless_the_operator_says_so(sqlite: Database) -> None:
    with MailReceiver() as receiver:
        for scheme, state in (("smtp", "waiting"), ("smtp+insecure", "delivered")):
            smtp_url = f"{scheme}://localhost:{receiver.port}"
            with notifying(sqlite, smtp_url=smtp_url, mail_from="paploss@example.org"):
                delivery_id, _ = add_delivery(sqlite, channel="mail", target="ann@example.org")
                assert wait_for(sqlite, delivery_id).state == state
        assert len(receiver.received) == 1


def test_a_mail_server_with_an_unknown_certificate_gets_no_password(sqlite: Database, certificate: Path) -> None:
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate)
    with MailReceiver(tls) as receiver:
        smtp_url = f"smtp://ann:p%40ss@localhost:{receiver.port}"
        with notifying(sqlite, smtp_url=smtp_url, mail_from="paploss@example.org"):
            delivery_id, _ = add_delivery(sqlite, channel="mail", target="ann@example.org")
            assert "CERTIFICATE_VERIFY_FAILED" in wait_for(sqlite, delivery_id).error
    assert receiver.received == []


def test_mail_goes_to_the_domains_that_the_operator_allows(sqlite: Database) -> None:
    with MailReceiver() as receiver:
        smtp_url = f"smtp+insecure://localhost:{receiver.port}"
        settings = {"smtp_url": smtp_url, "mail_from": "paploss@example.org", "mail_domains": "lab.example"}
        with notifying(sqlite, **settings):
            refused, _ = add_delivery(sqlite, channel="mail", target="ann@example.org")
            taken, _ = add_delivery(sqlite, channel="mail", target="ann@LAB.example")
            assert "addresses of lab.example alone" in wait_for(sqlite, refused).error
            assert wait_for(sqlite, taken).state == "delivered"
    with sqlite.read() as session:
        assert len(session.scalars(select(Delivery)).all()) == 2
