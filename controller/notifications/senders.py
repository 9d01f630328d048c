"""One attempt to deliver: an HTTP request signed as Standard Webhooks has it (standardwebhooks.com), or a mail."""

import asyncio
import base64
import hashlib
import hmac
import smtplib
import ssl
import time
from collections.abc import Sequence
from functools import cached_property
from typing import Final
from urllib.parse import unquote, urlsplit

import httpcore

from paploss.controller.notifications.addresses import GuardedBackend
from paploss.controller.notifications.bodies import make_mail, render_json
from paploss.controller.settings import SMTP_PORTS, Settings
from paploss.controller.store.notifications.deliveries import DeliveryAttempt
from paploss.controller.store.notifications.subscriptions import SECRET_PREFIX

SEND_SECONDS: Final = 15.0
"""For one attempt as a whole: a receiver that answers by drops would hold it for ever otherwise."""
ATTEMPT_HEADER: Final = "Paploss-Attempt"


_FAILURES: Final = (
    httpcore.ConnectionNotAvailable,
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.TimeoutException,
    httpcore.UnsupportedProtocol,
    ssl.SSLError,
)
"""Of a request: whatever is the receiver's or the network's, and no defect of this program."""


class DeliveryError(Exception):
    """An attempt failed; the text is shown to users, and holds nothing of a URL but its host."""


class Sender:
    """Makes attempts; without state between two of them."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        return ssl.create_default_context()

    async def send(self, attempt: DeliveryAttempt) -> None:
        """Deliver, or try to.

        Raises:
            DeliveryError: the receiver did not take it.
        """
        try:
            async with asyncio.timeout(SEND_SECONDS):
                if attempt.channel == "mail":
                    await asyncio.to_thread(self._mail, attempt)
                else:
                    await self._post(attempt)
        except TimeoutError:
            raise DeliveryError(f"no answer within {SEND_SECONDS:g} s") from None

    async def _post(self, attempt: DeliveryAttempt) -> None:
        body = render_json(attempt.notice, attempt.channel, self._settings.public_url)
        headers = [("Content-Type", "application/json"), ("User-Agent", "paploss"), ("Content-Length", str(len(body)))]
        headers += [(ATTEMPT_HEADER, str(attempt.number)), ("Host", urlsplit(attempt.target).netloc)]
        if attempt.secret is not None:
            headers += sign(attempt.secret, attempt.delivery_id, int(time.time()), body)
        backend = GuardedBackend(self._settings.notify_networks)
        try:
            # A connection of its own, closed at once: the next attempt checks the address again.
            async with (
                httpcore.AsyncConnectionPool(ssl_context=self._tls, network_backend=backend) as pool,
                pool.stream("POST", attempt.target, headers=headers, content=body) as response,
            ):
                status = response.status  # its body says nothing more, and may be endless
        except _FAILURES as error:
            raise DeliveryError(str(error) or type(error).__name__) from error
        if not 200 <= status < 300:
            told = "a redirect, which is not followed" if 300 <= status < 400 else "an error"
            raise DeliveryError(f"the receiver answered with status {status}, {told}")

    def _mail(self, attempt: DeliveryAttempt) -> None:
        settings = self._settings
        refuse_mail(settings, attempt.target)
        assert settings.smtp_url is not None  # noqa: S101 - or it would have been refused
        server = urlsplit(settings.smtp_url.get_secret_value())
        mail = make_mail(attempt.notice, attempt.delivery_id, settings.mail_from, attempt.target, settings.public_url)
        mail[ATTEMPT_HEADER] = str(attempt.number)
        host, port = server.hostname or "", server.port or SMTP_PORTS[server.scheme]
        try:
            with self._connect(server.scheme, host, port) as smtp:
                if server.scheme == "smtp":
                    smtp.starttls(context=self._tls)
                if server.username:
                    smtp.login(unquote(server.username), unquote(server.password or ""))
                smtp.send_message(mail)
        except (OSError, smtplib.SMTPException) as error:
            raise DeliveryError(f"the mail server {host}: {error}") from error

    def _connect(self, scheme: str, host: str, port: int) -> smtplib.SMTP:
        if scheme == "smtps":
            return smtplib.SMTP_SSL(host, port, timeout=SEND_SECONDS, context=self._tls)
        return smtplib.SMTP(host, port, timeout=SEND_SECONDS)


def refuse_mail(settings: Settings, recipient: str) -> None:
    """Check that mail can be sent, and may go to the recipient.

    Raises:
        DeliveryError: says which setting is in the way.
    """
    if settings.smtp_url is None:
        raise DeliveryError("this controller sends no mail: its operator has not set smtp_url")
    domains = settings.mail_domains or (settings.mail_from.rpartition("@")[2],)
    if recipient.rpartition("@")[2].lower() not in {domain.lower() for domain in domains}:
        raise DeliveryError(f"mail may go to addresses of {', '.join(domains)} alone; mail_domains allows others")


def sign(secret: str, delivery_id: str, seconds: int, body: bytes) -> Sequence[tuple[str, str]]:
    """The headers that prove who sent a body, and when: HMAC-SHA256 over id, time and body."""
    key = base64.b64decode(secret.removeprefix(SECRET_PREFIX))
    digest = hmac.digest(key, f"{delivery_id}.{seconds}.".encode() + body, hashlib.sha256)
    return [
        ("webhook-id", delivery_id),
        ("webhook-timestamp", str(seconds)),
        ("webhook-signature", f"v1,{base64.b64encode(digest).decode()}"),
    ]
