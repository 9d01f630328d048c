"""Which proxy the environment names for an address: HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY, read as by curl.

httpx's own reading is not used: it sends what goes to this machine through the proxy, and fails at once where NO_PROXY
holds a range of IPv6 addresses, or where any variable names a SOCKS proxy and the package for it is absent.
"""

import os
import socket
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from urllib.parse import SplitResult, urlsplit
from urllib.request import getproxies

_DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class ProxyChoice:
    """A proxy, and which setting named it."""

    url: str
    """May hold a password: never to be shown."""
    variable: str

    def __str__(self) -> str:
        parts = urlsplit(self.url)
        host = parts.netloc.rpartition("@")[2]
        return f"{parts.scheme}://{host} ({self.variable})"


def find_proxy(url: str) -> ProxyChoice | None:
    """The proxy for `url`; none for this machine itself, and for what NO_PROXY leaves out."""
    parts = urlsplit(url)
    host = (parts.hostname or "").rstrip(".")
    proxies = getproxies()
    scheme = parts.scheme if proxies.get(parts.scheme) else "all"
    found = proxies.get(scheme)
    if not found or not host or is_loopback(host) or _is_left_out(parts, host, proxies.get("no", "")):
        return None
    return ProxyChoice(found if "://" in found else f"http://{found}", _name_variable(scheme))


def is_loopback(host: str) -> bool:
    """Whether a name or address is always this machine: localhost, 127.0.0.0/8, ::1 and the unspecified addresses."""
    name = host.lower().rstrip(".")
    address = _parse_address(name)
    if address is None:
        return name == "localhost" or name.endswith(".localhost")
    return address.is_loopback or address.is_unspecified


def _is_left_out(parts: SplitResult, host: str, no_proxy: str) -> bool:
    port = parts.port or _DEFAULT_PORTS.get(parts.scheme)
    return any(_matches(entry, host.lower(), port) for entry in no_proxy.lower().replace(" ", ",").split(",") if entry)


def _matches(entry: str, host: str, port: int | None) -> bool:
    """Whether an entry of NO_PROXY covers a host: `*`, a name with all below it, an address, a range; with a port or
    without. One that is nothing of these covers nothing."""
    if entry == "*":
        return True
    address = _parse_address(host)
    try:
        network = ip_network(entry.strip("[]"), strict=False)
    except ValueError:
        pass
    else:
        return address is not None and address in network
    name, _, wanted_port = entry.rpartition(":") if entry.rpartition(":")[2].isdecimal() else (entry, "", "")
    if wanted_port and int(wanted_port) != port:
        return False
    name = name.strip("[]").removeprefix("*").strip(".")
    if address is not None:
        return address == _parse_address(name)
    return bool(name) and (host == name or host.endswith(f".{name}"))


def _parse_address(host: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        try:
            return IPv4Address(socket.inet_aton(host)) if host[-1:].isalnum() else None  # 127.1 is one as well
        except OSError:
            return None
    return getattr(address, "ipv4_mapped", None) or address


def _name_variable(scheme: str) -> str:
    names = (f"{scheme}_proxy", f"{scheme}_proxy".upper())
    return next((name for name in names if os.environ.get(name)), "the system's settings")
