"""What a subscriber is sent: the generic JSON, a message for Slack or for Teams, or a mail. All from one notice.

Names and errors are others' texts. They are sent as plain text wherever the receiver knows markup.
"""

import json
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import format_datetime
from html import escape
from typing import Any, Final

from paploss.client.notifications import Channel
from paploss.controller.store.documents import Notice

_HEADLINES: Final = {
    "ended": "has ended",
    "failed": "has failed",
    "stalled": "has stalled",
    "new_best": "has a new best",
    "budget_spent": "has spent its budget",
}
_TITLE_LENGTH: Final = 150  # characters, which Slack allows a header


def render_json(notice: Notice, channel: Channel, public_url: str) -> bytes:
    """The body of a request to a webhook, to Slack or to Teams; the same for every attempt."""
    title, link = make_title(notice), make_link(notice, public_url)
    match channel:
        case "slack":
            body = _slack(title, notice.message, link)
        case "teams":
            body = _teams(title, notice.message, link)
        case _:
            body = _generic(notice, title, link)
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()


def make_mail(notice: Notice, delivery_id: str, sender: str, recipient: str, public_url: str) -> EmailMessage:
    """A mail in plain text; its Message-ID is the delivery's, so that programs know a repetition."""
    mail = EmailMessage()
    mail["Subject"] = f"[paploss] {make_title(notice)}"
    mail["From"] = sender
    mail["To"] = recipient
    mail["Date"] = format_datetime(datetime.fromtimestamp(notice.at, UTC))
    mail["Message-ID"] = f"<{delivery_id}@{sender.rpartition('@')[2]}>"
    mail["Auto-Submitted"] = "auto-generated"
    mail.set_content("\n\n".join(part for part in (notice.message, make_link(notice, public_url)) if part) + "\n")
    return mail


def make_title(notice: Notice) -> str:
    """One line: which experiment, and what happened to it."""
    if notice.occasion == "test":
        return "A test of notifications"
    name = " ".join(notice.name.split())  # a line break would end a header
    which = f"{notice.kind} {name or notice.experiment_id}"
    happened = f"was {notice.state}" if notice.state == "cancelled" else _HEADLINES[notice.occasion]
    return f"{which[: _TITLE_LENGTH - len(happened) - 1]} {happened}"


def make_link(notice: Notice, public_url: str) -> str:
    """Address of the experiment's page; empty where nobody has told the controller its own."""
    if not public_url or notice.experiment_id is None:
        return ""
    return f"{public_url.rstrip('/')}/experiments/{notice.experiment_id}"


def _generic(notice: Notice, title: str, link: str) -> dict[str, Any]:
    experiment = {
        "id": notice.experiment_id,
        "kind": notice.kind,
        "name": notice.name,
        "state": notice.state,
        "url": link or None,
    }
    return {
        "type": f"experiment.{notice.occasion}" if notice.occasion != "test" else "test",
        "timestamp": datetime.fromtimestamp(notice.at, UTC).isoformat(),
        "data": {
            "title": title,
            "message": notice.message,
            "experiment": experiment if notice.experiment_id is not None else None,
        },
    }


def _slack(title: str, message: str, link: str) -> dict[str, Any]:
    blocks: list[dict[str, Any]] = [
        {"type": "header", "text": {"type": "plain_text", "text": title, "emoji": False}},
        {"type": "section", "text": {"type": "plain_text", "text": message or title, "emoji": False}},
    ]
    if link:
        button = {"type": "button", "text": {"type": "plain_text", "text": "Open"}, "url": link}
        blocks.append({"type": "actions", "elements": [button]})
    return {"text": escape(title, quote=False), "blocks": blocks}  # the text is for lists of notifications


def _teams(title: str, message: str, link: str) -> dict[str, Any]:
    # Runs of text, because a TextBlock would read the texts as Markdown.
    content: dict[str, Any] = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "body": [
            {"type": "RichTextBlock", "inlines": [{"type": "TextRun", "text": title, "weight": "bolder"}]},
            {"type": "RichTextBlock", "inlines": [{"type": "TextRun", "text": message or title}]},
        ],
    }
    if link:
        content["actions"] = [{"type": "Action.OpenUrl", "title": "Open", "url": link}]
    card = {"contentType": "application/vnd.microsoft.card.adaptive", "contentUrl": None, "content": content}
    return {"type": "message", "attachments": [card]}
