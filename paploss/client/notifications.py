"""Who is told of what happens to experiments, over which channel, and what became of each delivery."""

import re
from datetime import datetime
from typing import Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, Field, model_validator

from paploss.jobs.messages import Message

Occasion = Literal["ended", "failed", "stalled", "new_best", "budget_spent"]
Channel = Literal["webhook", "slack", "teams", "mail"]
DeliveryState = Literal["waiting", "delivered", "given_up"]

OCCASIONS: tuple[Occasion, ...] = ("ended", "failed", "stalled", "new_best", "budget_spent")

MAIL_ADDRESS = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9]([A-Za-z0-9.-]{0,252}[A-Za-z0-9])?")
_PRINTABLE = re.compile(r"[!-~]+")


class SubscriptionRequest(Message):
    """Ask to be told."""

    channel: Channel = Field("webhook", description="webhook: signed JSON; slack, teams: a message there; mail")
    target: str = Field(
        min_length=1, max_length=2000, description="the URL of a webhook, or for mail the address of one person"
    )
    experiment_id: str | None = Field(
        None, pattern=r"^[0-9a-z]{1,32}$", description="of one experiment alone; by default of all, later ones too"
    )
    occasions: tuple[Occasion, ...] = Field(OCCASIONS, min_length=1, max_length=5)

    @model_validator(mode="after")
    def _check_target(self) -> Self:
        if self.channel == "mail":
            if not MAIL_ADDRESS.fullmatch(self.target):
                raise ValueError("target: expected a mail address like ann@example.org")
        elif (fault := _find_fault(self.target)) is not None:
            raise ValueError(f"target: expected a URL like https://example.org/hook, {fault}")
        return self


def _find_fault(url: str) -> str | None:
    """What keeps a URL from being a webhook's. It is a secret: no message repeats it."""
    if not _PRINTABLE.fullmatch(url):
        return "got one with characters that have to be encoded"
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises where it is none
    except ValueError:
        return "got one that cannot be read"
    if parts.scheme not in ("http", "https"):
        return "with the scheme http or https"
    if not parts.hostname:
        return "got one without a host"
    if parts.username is not None or parts.password is not None:
        return "without a user name in it"
    return "without a fragment" if parts.fragment else None


class DeliverySummary(BaseModel):
    """One notification to one subscriber. Its id stays the same over all attempts."""

    id: str
    occasion: Occasion | Literal["test"]
    experiment_id: str | None
    message: str
    state: DeliveryState
    attempts: int
    error: str = Field(description="why the last attempt failed; empty where none has")
    created_at: datetime
    due_at: datetime | None = Field(description="when the next attempt is made, if it waits")
    ended_at: datetime | None


class SubscriptionSummary(BaseModel):
    """A subscription."""

    id: str
    owner: str = Field(description="name of the API key that asked")
    channel: Channel
    target: str = Field(description="the mail address; of a URL the host alone, because the rest is a secret")
    experiment_id: str | None
    occasions: list[Occasion]
    created_at: datetime
    paused_at: datetime | None = Field(None, description="since when nothing is told, if it is paused")
    last_delivery: DeliverySummary | None = Field(None, description="the newest one, in a list of subscriptions")


class NewSubscription(SubscriptionSummary):
    """A subscription just made: the only time its secret is shown."""

    secret: str | None = Field(description="webhook: what deliveries are signed with (standardwebhooks.com)")
