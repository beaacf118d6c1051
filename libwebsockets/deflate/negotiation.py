"""The negotiation of permessage-deflate (RFC 7692, section 7.1)."""

from __future__ import annotations

import re
from typing import NamedTuple

__all__ = ["Agreement", "negotiate"]

NAME = b"permessage-deflate"
BITS_LEAST, BITS_MOST = 8, 15
ZLIB_BITS_LEAST = 9  # no deflater of zlib's has a window of 256 bytes

# Of values that are well formed by then: a quoted string may hold commas and semicolons.
ITEM = re.compile(rb'(?:"(?:\\.|[^"\\])*"|[^,"])+')
PARAMETER = re.compile(rb'(?:"(?:\\.|[^"\\])*"|[^;"])+')
BITS = re.compile(rb"[89]|1[0-5]")


class Agreement(NamedTuple):
    """What was agreed, as the server uses it."""

    reply: bytes
    """The value of the server's Sec-WebSocket-Extensions."""
    server_bits: int
    """Of the window that the server deflates with."""
    client_bits: int
    """Of the window that the server inflates with."""
    server_takeover: bool
    """Whether the server's messages refer to earlier ones."""
    client_takeover: bool
    """Whether the client's may."""


def negotiate(
    values: list[bytes], bits: int, takeover: bool
) -> tuple[Agreement | None, bytes | None]:
    """Takes the first offer of permessage-deflate that can be agreed to.

    values are those of the Sec-WebSocket-Extensions fields, well formed (RFC 6455, section 9.1);
    bits (9 to 15) is the largest window the server uses, takeover whether it keeps context between
    messages if the client lets it. Linear in the bytes. The reply holds nothing that was not
    offered. Returns the agreement or None, and the first offer of permessage-deflate passed over
    before it, or None.
    """
    passed_over = None
    for value in values:
        for item in ITEM.findall(value):
            name, *rest = (part.strip(b" \t") for part in PARAMETER.findall(item))
            if name.lower() != NAME:
                continue
            offer = _parameters(rest)
            if offer is not None:
                return _agree(offer, bits, takeover), passed_over
            passed_over = passed_over or item.strip(b" \t")
    return None, passed_over


def _parameters(parts: list[bytes]) -> dict[bytes, int] | None:
    """The parameters of an offer, 0 for one without a value; None if it must be declined."""
    found: dict[bytes, int] = {}
    for part in parts:
        name, equals, value = (side.strip(b" \t") for side in part.partition(b"="))
        if value.startswith(b'"'):
            value = re.sub(rb"\\(.)", rb"\1", value[1:-1])
        if name in found:
            return None
        if name in (b"server_no_context_takeover", b"client_no_context_takeover"):
            if equals:
                return None
            found[name] = 0
        elif name in (b"server_max_window_bits", b"client_max_window_bits"):
            if equals or name.startswith(b"server"):
                if BITS.fullmatch(value) is None:
                    return None
                found[name] = int(value)
            else:
                found[name] = 0
        else:
            return None
    if 0 < found.get(b"server_max_window_bits", BITS_MOST) < ZLIB_BITS_LEAST:
        return None
    return found


def _agree(offer: dict[bytes, int], bits: int, takeover: bool) -> Agreement:
    reply = [NAME]
    server_bits = min(bits, offer.get(b"server_max_window_bits", BITS_MOST))
    if b"server_max_window_bits" in offer:
        reply.append(b"server_max_window_bits=%d" % server_bits)
    client_bits = BITS_MOST
    if b"client_max_window_bits" in offer:
        # The client keeps to what is replied, and without a reply to the largest window.
        client_bits = min(bits, offer[b"client_max_window_bits"] or BITS_MOST)
        if client_bits < BITS_MOST:
            reply.append(b"client_max_window_bits=%d" % client_bits)
    server_takeover = takeover
    if b"server_no_context_takeover" in offer:
        reply.append(b"server_no_context_takeover")
        server_takeover = False
    client_takeover = True
    if b"client_no_context_takeover" in offer:
        reply.append(b"client_no_context_takeover")
        client_takeover = False
    # zlib inflates a window of 256 bytes with a larger one as well.
    return Agreement(
        b"; ".join(reply),
        server_bits,
        max(ZLIB_BITS_LEAST, client_bits),
        server_takeover,
        client_takeover,
    )
