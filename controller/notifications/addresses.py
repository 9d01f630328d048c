"""Which addresses a request that users cause may reach: public ones, and networks that the operator allows.

A name is resolved once, and the connection made to the very address that was checked: a name that answers otherwise the
second time (DNS rebinding) leads nowhere else.
"""

import asyncio
import socket
from collections.abc import Iterable, Iterator, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

import httpcore

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_NAT64: Final = ip_network("64:ff9b::/96")
_REFUSED: Final = tuple(
    map(
        ip_network,
        (
            "168.63.129.16",  # Azure's own services for a machine, at an address that looks public
            "192.0.0.0/24",  # IETF protocols; metadata of Oracle's cloud
            "64:ff9b:1::/48",  # NAT64 of a site
            "fec0::/10",  # site-local
            "::/96",  # IPv4 within IPv6, in two outdated ways
            "::ffff:0:0:0/96",
        ),
    )
)
"""Not public, though `is_global` says so: which of them it knows depends on Python's version."""


class AddressRefusedError(httpcore.ConnectError):
    """A host has an address that requests of users may not reach."""


def is_allowed(address: Address, networks: Sequence[Network]) -> bool:
    """Whether the address, and each one that it stands for, is public or in one of the networks."""
    return all(
        any(each in network for network in networks)
        or (each.is_global and not each.is_multicast and not any(each in network for network in _REFUSED))
        for each in _meant_by(address)
    )


def _meant_by(address: Address) -> Iterator[Address]:
    """IPv4 addresses that an IPv6 address carries, in place of it or beside it."""
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            yield address.ipv4_mapped
            return
        if address.sixtofour is not None:
            yield address.sixtofour
        if address.teredo is not None:
            yield from address.teredo
        if address in _NAT64:
            yield IPv4Address(int(address) & 0xFFFFFFFF)
    yield address


class GuardedBackend(httpcore.AsyncNetworkBackend):
    """Connects to allowed addresses alone."""

    def __init__(self, networks: Sequence[Network]) -> None:
        """`networks`: allowed beside public addresses."""
        self._networks = networks
        self._backend = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """A connection to the first of the host's addresses that answers.

        Raises:
            AddressRefusedError: one of them is not allowed; the host is not asked at all then.
            httpcore.ConnectError: the name is unknown, or none answers.
        """
        addresses = await _resolve(host, port)
        for address in addresses:
            if not is_allowed(address, self._networks):
                raise AddressRefusedError(
                    f"{host} has the address {address}, which is not public; notify_networks allows others"
                )
        failure: Exception = httpcore.ConnectError(f"{host} has no address")
        for address in addresses:
            try:
                return await self._backend.connect_tcp(str(address), port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure


async def _resolve(host: str, port: int) -> list[Address]:
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        reason = (error.strerror if isinstance(error, OSError) else "") or error
        raise httpcore.ConnectError(f"{host} cannot be resolved: {reason}") from error
    # Without the scope of a link-local address, which is not allowed in any case.
    return [ip_address(str(sockaddr[0]).partition("%")[0]) for *_, sockaddr in found]
