"""The networks of the option ``trusted_proxies``."""

from __future__ import annotations

import errno
import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from .._core import lib

__all__ = ["Address", "Network", "mapped_address", "proxy_networks", "trust"]

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
MAPPED = 96  # ::ffff:0:0/96
UNIX = ipaddress.IPv6Network("::/128")  # what the core spells a Unix socket as


@dataclass(frozen=True, slots=True)
class Network:
    """A network of trusted proxies, as the core has it: IPv4 mapped into IPv6."""

    network: ipaddress.IPv6Network


def proxy_networks(proxies: Any) -> tuple[Network, ...]:
    """Checks the option ``trusted_proxies``: addresses, networks, and ``unix:`` for Unix sockets.

    Raises TypeError, or ValueError for what is none of these.
    """
    if proxies is None:
        return ()
    if isinstance(proxies, str | bytes) or not isinstance(proxies, Iterable):
        raise TypeError(f"trusted_proxies must be a list of str, not {type(proxies).__name__}")
    networks = []
    for proxy in proxies:
        if not isinstance(proxy, str):
            raise TypeError(f"trusted_proxies must hold str, not {type(proxy).__name__}")
        if proxy == "unix:":
            networks.append(Network(UNIX))
            continue
        try:
            network = ipaddress.ip_network(proxy)
        except ValueError as error:
            raise ValueError(f"trusted_proxies: {error}") from None
        if isinstance(network, ipaddress.IPv4Network):
            base = mapped_address(network.network_address)
            network = ipaddress.IPv6Network((base, MAPPED + network.prefixlen))
        networks.append(Network(network))
    return tuple(networks)


def trust(context: Any, networks: tuple[Network, ...]) -> None:
    """Tells a context of the core. Raises OSError."""
    for one in networks:
        network = one.network
        if lib.lws_trust(context, network.network_address.packed, network.prefixlen) != 0:
            raise OSError(errno.ENOMEM, "no memory for trusted_proxies")


def mapped_address(address: Address) -> ipaddress.IPv6Address:
    """An address as the core has it: IPv4 mapped into IPv6."""
    if isinstance(address, ipaddress.IPv6Address):
        return address
    return ipaddress.IPv6Address(b"\0" * 10 + b"\xff\xff" + address.packed)
