import json
from email import message_from_bytes

import pytest

from paploss.controller.notifications.bodies import make_mail, make_title, render_json
from paploss.controller.store.documents import Notice

HOSTILE = "<!channel> <https://evil.example|click> [click](https://evil.example) *b*\r\nBcc: eve@example.org"
NOTICE = Notice(
    occasion="failed",
    at=1_764_000_000,
    message=f"Error: {HOSTILE}",
    experiment_id="s1",
    kind="search",
    name=HOSTILE,
    state="failed",
)


def test_the_generic_body_says_what_happened_to_what_and_when() -> None:
    body = json.loads(render_json(NOTICE, "webhook", "https://paploss.example/"))
    assert body["type"] == "experiment.failed"
    assert body["timestamp"] == "2025-11-24T16:00:00+00:00"
    assert body["data"]["message"] == NOTICE.message
    assert body["data"]["experiment"] == {
        "id": "s1",
        "kind": "search",
        "name": HOSTILE,
        "state": "failed",
        "url": "https://paploss.example/experiments/s1",
    }


def test_slack_is_given_no_markup_of_others() -> None:
    body = json.loads(render_json(NOTICE, "slack", "https://paploss.example"))
    assert "<" not in body["text"]
    texts = [block["text"] for block in body["blocks"][:2]]
    assert [text["type"] for text in texts] == ["plain_text", "plain_text"]
    assert len(texts[0]["text"]) <= 150
    assert texts[1]["text"] == NOTICE.message
    assert body["blocks"][2]["elements"][0]["url"] == "https://paploss.example/experiments/s1"


def test_teams_is_given_no_markup_of_others() -> None:
    (attachment,) = json.loads(render_json(NOTICE, "teams", ""))["attachments"]
    card = attachment["content"]
    assert attachment["contentType"] == "application/vnd.microsoft.card.adaptive"
    assert {block["type"] for block in card["body"]} == {"RichTextBlock"}  # a TextBlock reads Markdown
    assert {run["type"] for block in card["body"] for run in block["inlines"]} == {"TextRun"}
    assert card["body"][1]["inlines"][0]["text"] == NOTICE.message
    assert "actions" not in card


def test_a_name_adds_no_header_to_a_mail() -> None:
    mail = make_mail(NOTICE, "d-1", "paploss@example.org", "ann@example.org", "")
    read = message_from_bytes(mail.as_bytes())
    assert read["Bcc"] is None
    assert read["Message-ID"] == "<d-1@example.org>"
    assert "Bcc: eve@example.org" in str(read["Subject"]).replace("\n", "")


@pytest.mark.parametrize(
    ("changes", "title"),
    [
        ({"occasion": "ended", "state": "succeeded", "name": "blood"}, "search blood has ended"),
        ({"occasion": "ended", "state": "cancelled", "name": ""}, "search s1 was cancelled"),
        ({"occasion": "new_best", "state": "running", "name": "blood"}, "search blood has a new best"),
        ({"occasion": "stalled", "state": "running", "name": "x" * 200}, f"search {'x' * 131} has stalled"),
        ({"occasion": "test", "experiment_id": None}, "A test of notifications"),
    ],
)
def test_titles(changes: dict[str, str], title: str) -> None:
    assert make_title(NOTICE.model_copy(update=changes)) == title
