"""The synchronous clients are made from the others."""

from pathlib import Path

import make_client
import pytest


@pytest.mark.parametrize("client", make_client.CLIENTS, ids=lambda client: client.name)
def test_a_client_is_up_to_date(client: Path) -> None:
    assert client.read_text() == make_client.render(make_client.CLIENTS[client]), "run deploy/make_client.py"


@pytest.mark.parametrize("client", make_client.CLIENTS, ids=lambda client: client.name)
def test_nothing_asynchronous_is_left(client: Path) -> None:
    _, _, text = client.read_text().partition("deploy/make_client.py")
    assert not any(word in text for word in ("async", "Async", "await"))
