import asyncio
import socket
from ipaddress import ip_address, ip_network
from typing import Any

import httpcore
import pytest
from receivers import HttpReceiver

from paploss.controller.notifications.addresses import AddressRefusedError, GuardedBackend, is_allowed


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.1.2.3",
        "0.0.0.0",  # noqa: S104
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",  # metadata of clouds
        "100.100.100.200",
        "168.63.129.16",
        "224.0.0.1",
        "239.1.1.1",
        "255.255.255.255",
        "192.0.2.1",
        "::1",
        "::",
        "fe80::1",
        "fc00::1",
        "fd00:ec2::254",
        "ff02::1",
        "ff0e::1",
        "::ffff:127.0.0.1",
        "::ffff:169.254.169.254",
        "64:ff9b::7f00:1",  # 127.0.0.1 by NAT64
        "2002:7f00:1::",  # 127.0.0.1 by 6to4
        "2001:0:7f00:1::",  # by Teredo
        "64:ff9b:1::a00:1",  # 10.0.0.1 by a NAT64 of the site
        "::ffff:0:127.0.0.1",  # by stateless translation
        "::127.0.0.1",
        "fec0::1",
        "192.0.0.192",  # metadata of a cloud
    ],
)
def test_addresses_that_are_not_public_are_refused(address: str) -> None:
    assert not is_allowed(ip_address(address), ())


@pytest.mark.parametrize(
    "address", ["1.1.1.1", "93.184.215.14", "2606:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101"]
)
def test_public_addresses_are_allowed(address: str) -> None:
    assert is_allowed(ip_address(address), ())


def test_a_network_that_the_operator_allows_opens_no_other() -> None:
    networks = (ip_network("10.1.0.0/16"), ip_network("fd00:1::/32"))
    assert is_allowed(ip_address("10.1.2.3"), networks)
    assert is_allowed(ip_address("::ffff:10.1.2.3"), networks)
    assert is_allowed(ip_address("fd00:1::5"), networks)
    assert not is_allowed(ip_address("10.2.0.1"), networks)
    assert not is_allowed(ip_address("127.0.0.1"), networks)


def post(url: str, *networks: str) -> int:
    async def send() -> int:
        backend = GuardedBackend([ip_network(network) for network in networks])
        async with httpcore.AsyncConnectionPool(network_backend=backend) as pool:
            return (await pool.request("POST", url, content=b"{}")).status

    return asyncio.run(send())


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.1", "2130706433", "0x7f.1"])
def test_no_spelling_of_the_loopback_is_connected_to(host: str) -> None:
    with HttpReceiver() as receiver, pytest.raises(httpcore.ConnectError) as refusal:
        post(f"http://{host}:{receiver.port}/")
    assert receiver.received == []
    assert isinstance(refusal.value, AddressRefusedError)


def test_a_name_that_resolves_otherwise_the_second_time_leads_nowhere_else(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def rebinding(host: str, port: int, *_: Any, **__: Any) -> list[Any]:
        asked.append(host)
        address = "127.0.0.2" if len(asked) == 1 else "127.0.0.1"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    monkeypatch.setattr(socket, "getaddrinfo", rebinding)
    with HttpReceiver(host="127.0.0.2") as checked:
        assert post(f"http://rebinding.example:{checked.port}/", "127.0.0.2/32") == 204
    assert asked == ["rebinding.example"]
    assert len(checked.received) == 1


def test_a_name_with_one_private_address_among_public_ones_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 80)) for address in ("1.1.1.1", "10.0.0.1")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    with pytest.raises(AddressRefusedError, match=r"mixed\.example has the address 10\.0\.0\.1"):
        post("http://mixed.example/")


def test_a_name_that_nobody_knows_is_told_in_words() -> None:
    with pytest.raises(httpcore.ConnectError) as refusal:
        asyncio.run(GuardedBackend(()).connect_tcp("nowhere.invalid", 443))
    assert str(refusal.value).startswith("nowhere.invalid cannot be resolved: ")
    assert "Errno" not in str(refusal.value)
