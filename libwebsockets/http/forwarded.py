"""What a trusted proxy says of the client that it speaks for: Forwarded, X-Forwarded-For, -Proto.

Only a connection from one of ``trusted_proxies`` is believed, and of a chain only the part that
trusted proxies have written: it is read from its end, up to the first address that is not one of
theirs. Empty list elements are ignored (RFC 9110, section 5.6.1.2).
"""

from __future__ import annotations

import ipaddress
import re
import socket
from dataclasses import dataclass
from typing import Any

from .._core import ffi, lib
from ..listening.proxies import Address, Network, mapped_address
from .request import Refusal, Request

__all__ = ["Client", "client_of", "set_peer"]


QUOTED = rb'"(?:[^"\\]|\\.)*"'
PAIR = re.compile(rb"[ \t]*([!#$%&'*+\-.^_`|~0-9A-Za-z]+)=([^\s\",;]+|" + QUOTED + rb")[ \t]*")
BLANKS = re.compile(rb"[ \t]*")
SECURE = frozenset({b"https", b"wss"})  # protocols of a client that came by TLS
NODE = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([0-9.]+))(?::([0-9]{1,5}|_[A-Za-z0-9._\-]+))?")


@dataclass(frozen=True, slots=True)
class Client:
    """For whom a proxy speaks. address None: it does not say, or none that is an address."""

    address: Address | None
    port: int
    secure: bool


def client_of(request: Request, networks: tuple[Network, ...]) -> Client | Refusal | None:
    """The client that the fields of a trusted proxy tell of; None if they tell nothing.

    A proxy that writes one of the two kinds of field hands on the other as its client wrote it. So
    where both are there they must agree, or the request is refused (400).
    """
    lists = request.values(b"X-Forwarded-For")
    nodes = [(node, False) for node in _members(b",".join(lists))]
    plain = _last(nodes, networks) if nodes else None
    protos = request.values(b"X-Forwarded-Proto")
    told = request.values(b"Forwarded")
    standard = None
    if told:
        elements = _elements(b",".join(told))
        if elements is None:
            return Refusal(400, "http-bad-forwarded", b", ".join(told))
        standard = _last(elements, networks) if elements else None
    if plain is not None and standard is not None and plain.address != standard.address:
        return Refusal(400, "http-bad-forwarded", b", ".join([*lists, *told]))
    client = standard or plain
    if protos:
        told_protos = _members(b",".join(protos))
        secure = bool(told_protos) and told_protos[-1].lower() in SECURE
        if client is None:
            return Client(None, 0, secure)
        return Client(client.address, client.port, client.secure or secure)
    return client


def set_peer(context: Any, slot: int, client: Client) -> Any:
    """Makes a client the peer of a slot. Returns what undoes it: ``(context, slot, before)``."""
    before = ffi.new("struct lws_address *")
    address = ffi.new("struct lws_address *")
    if client.address is not None:
        packed = client.address.packed
        ffi.memmove(address.bytes, packed, len(packed))
        address.port = client.port
        address.family = socket.AF_INET if client.address.version == 4 else socket.AF_INET6
        lib.lws_set_peer(context, slot, address, client.secure, before)
    else:
        # Only the protocol is told: the peer is put back as it was.
        lib.lws_set_peer(context, slot, address, client.secure, before)
        lib.lws_set_peer(context, slot, before, client.secure, address)
    return before


# ---- parsing ----


def _last(chain: list[tuple[bytes, bool]], networks: tuple[Network, ...]) -> Client:
    """The client of a chain: from its end the first that is no trusted proxy, or its first."""
    client = Client(None, 0, False)
    for node, secure in reversed(chain):
        address, port = _node(node)
        if address is None:
            break  # whoever it is: what stands before may be anybody's word
        client = Client(address, port, secure)
        mapped = mapped_address(address)
        if not any(mapped in one.network for one in networks):
            break
    return client


def _members(value: bytes) -> list[bytes]:
    """The elements of a list that are not empty."""
    return [member for part in value.split(b",") if (member := part.strip(b" \t"))]


def _elements(value: bytes) -> list[tuple[bytes, bool]] | None:
    """The for= and proto= of each element of a Forwarded field (RFC 7239, section 4) that is not
    empty; None if it is malformed.
    """
    elements = []
    node, secure, empty, position = b"", False, True, 0
    while True:
        match = PAIR.match(value, position)
        if match is not None:
            name, told = match[1].lower(), match[2]
            if told.startswith(b'"'):
                told = re.sub(rb"\\(.)", rb"\1", told[1:-1])
            if name == b"for":
                node = told
            elif name == b"proto":
                secure = told.lower() in SECURE
            position = match.end()
            empty = False
        else:
            position = BLANKS.match(value, position).end()  # type: ignore[union-attr]
        separator = value[position : position + 1]
        if separator in (b"", b","):
            if not empty:
                elements.append((node, secure))
            if not separator:
                return elements
            node, secure, empty = b"", False, True
        elif separator != b";":
            return None
        position += 1


def _node(node: bytes) -> tuple[Address | None, int]:
    """An address with or without a port; None for a name, "unknown" and all else."""
    text = node.decode("latin-1")
    try:
        return _unmapped(ipaddress.ip_address(text)), 0
    except ValueError:
        match = NODE.fullmatch(text)
    if match is None:
        return None, 0
    try:
        address = ipaddress.ip_address(match[1] or match[2])
    except ValueError:
        return None, 0
    port = int(match[3]) if match[3] and match[3].isdigit() else 0
    return _unmapped(address), port if port <= 65535 else 0


def _unmapped(address: Address) -> Address:
    return getattr(address, "ipv4_mapped", None) or address
