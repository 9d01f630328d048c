"""The synchronous client is made from the other one."""

import make_client


def test_the_client_is_up_to_date() -> None:
    assert make_client.CLIENT.read_text() == make_client.render(), "run deploy/make_client.py"


def test_nothing_asynchronous_is_left() -> None:
    text = make_client.render().replace("paploss.client.async_client", "")
    assert not any(word in text for word in ("async", "Async", "await"))
