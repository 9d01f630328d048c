"""Which proxy an address is reached through."""

import pytest

from paploss.client.proxies import find_proxy, is_loopback

PROXY = "http://me:hidden@proxy.example:3128"


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.mark.parametrize(
    "host",
    [
        *("localhost", "LOCALHOST", "localhost.", "a.localhost", "127.0.0.1", "127.1.2.3", "127.1"),
        *("[::1]", "[::ffff:127.0.0.1]", "[::]", "0"),
    ],
)
@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
def test_this_machine_is_never_reached_through_a_proxy(
    monkeypatch: pytest.MonkeyPatch, variable: str, host: str
) -> None:
    monkeypatch.setenv(variable, PROXY)
    assert find_proxy(f"http://{host}:8080") is None


@pytest.mark.parametrize(
    ("variable", "url", "is_used"),
    [
        ("HTTP_PROXY", "http://search.example:8080", True),
        ("HTTP_PROXY", "https://search.example", False),
        ("HTTPS_PROXY", "https://search.example", True),
        ("ALL_PROXY", "https://search.example", True),
        ("all_proxy", "http://10.0.3.7:8080", True),
    ],
)
def test_a_proxy_is_used_for_the_scheme_that_it_is_for(
    monkeypatch: pytest.MonkeyPatch, variable: str, url: str, is_used: bool
) -> None:
    monkeypatch.setenv(variable, PROXY)
    assert (find_proxy(url) is not None) == is_used


@pytest.mark.parametrize(
    ("no_proxy", "url", "is_left_out"),
    [
        ("*", "http://search.example", True),
        ("search.example", "http://search.example", True),
        ("example", "http://search.example", True),
        (".example", "http://search.example", True),
        ("*.example", "http://search.example", True),
        ("Search.EXAMPLE", "http://search.example", True),
        ("arch.example", "http://search.example", False),
        ("search.example:8080", "http://search.example:8080", True),
        ("search.example:81", "http://search.example:8080", False),
        ("search.example:80", "http://search.example", True),
        ("other, search.example", "http://search.example", True),
        ("10.0.0.0/8", "http://10.0.3.7:8080", True),
        ("10.0.0.0/8", "http://11.0.3.7:8080", False),
        ("10.0.3.7", "http://10.0.3.7:8080", True),
        ("10.0.3.7:8080", "http://10.0.3.7:8080", True),
        ("fd00::/8", "http://[fd00::1]:8080", True),
        ("fd00::/8", "http://[fe80::1]:8080", False),
        ("[fd00::1]", "http://[fd00::1]:8080", True),
        ("[fd00::1]:8080", "http://[fd00::1]:8080", True),
        ("[fd00::1]:81", "http://[fd00::1]:8080", False),
        ("::1,[,//,:,/8,::::", "http://search.example", False),
        ("", "http://search.example", False),
    ],
)
def test_what_no_proxy_names_is_left_out(
    monkeypatch: pytest.MonkeyPatch, no_proxy: str, url: str, is_left_out: bool
) -> None:
    monkeypatch.setenv("ALL_PROXY", PROXY)
    monkeypatch.setenv("NO_PROXY", no_proxy)
    assert (find_proxy(url) is None) == is_left_out


def test_a_proxy_is_told_with_its_variable_and_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", PROXY)
    assert str(find_proxy("http://search.example")) == "http://proxy.example:3128 (HTTP_PROXY)"
    monkeypatch.setenv("http_proxy", "proxy.example:81")
    assert str(find_proxy("http://search.example")) == "http://proxy.example:81 (http_proxy)"


def test_a_name_that_only_looks_like_this_machine_is_not() -> None:
    assert not is_loopback("localhost.example")
    assert not is_loopback("10.0.0.1")
