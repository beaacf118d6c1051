"""All connections at once: a message to each, and an iterator over their handles."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ._core import ffi, lib
from .buffers import find_payload, libwebsocket_buffer
from .core import (
    ERROR_CLOSED,
    ERROR_UTF8,
    NO_SLOT,
    as_index,
    context_of,
    libwebsocket,
    libwebsocket_context,
    refused,
)

__all__ = ["libwebsocket_foreach", "libwebsockets_broadcast"]

PROTOCOLS = (0, 1)  # LWS_WRITE_TEXT, LWS_WRITE_BINARY


def libwebsockets_broadcast(
    wsi_or_context: libwebsocket | libwebsocket_context, buf: Any, len: int, protocol: int
) -> int:
    """Sends one message to every established connection of a context.

    The frame is encoded once for each of the two framings, and goes out to each connection at once.
    A peer that cannot take all of it is queued a reference to one copy, not a copy of its own.
    It is never compressed, as each peer would need a compression of its own.

    :param wsi_or_context: a context, or any handle of its connections (which is not left out).
    :param buf: points at the payload, and may be all that libwebsocket_write takes: memory with
        LWS_SEND_BUFFER_PRE_PADDING bytes before the payload and LWS_SEND_BUFFER_POST_PADDING
        after it, into which header and trailer are written; the payload is not changed. bytes and
        str are copied once. The memory is the caller's again when this returns.
    :param len: bytes of the payload; for a str characters.
    :param protocol: LWS_WRITE_TEXT or LWS_WRITE_BINARY.
    :returns: the number of connections that were skipped and get nothing of it: their queue would
        exceed ``max_send_buffer``, a fragmented message of ours is open on them, or they speak
        hixie-76 and the message is binary. -1, with one line in the log, and nobody gets it: a text
        that is not UTF-8, a destroyed context, a wrong thread or process.
    :raises TypeError: for arguments of wrong types.
    :raises ValueError: as libwebsocket_write, and for another protocol, with the number.

    Frames: RFC 6455, section 5; draft-ietf-hybi-thewebsocketprotocol-00, section 5.3.
    """
    context = context_of(wsi_or_context)
    length = as_index("len", len)
    protocol = as_index("protocol", protocol)
    if protocol not in PROTOCOLS:
        raise ValueError(f"protocol must be 0 or 1, not {protocol}")
    try:
        payload = find_payload(buf, length, padded=True)
    except UnicodeEncodeError:
        return refused("broadcast-refused", ERROR_UTF8)
    if context.c is None:
        return refused("broadcast-refused", ERROR_CLOSED)
    address = payload.address
    if payload.copy:
        copied = libwebsocket_buffer(payload.length)
        ffi.memmove(copied.payload, ffi.cast("uint8_t *", address), payload.length)
        address = copied.address
    result: int = lib.lws_broadcast(context.c, address, payload.length, protocol)
    return result if result >= 0 else refused("broadcast-refused", result)


def libwebsocket_foreach(
    wsi_or_context: libwebsocket | libwebsocket_context,
) -> Iterator[libwebsocket]:
    """Iterates over the handles of the established connections of a context, in no known order.

    A callback may write to them, close them and ask about them meanwhile. Those that have
    closed or are closing by the time it comes to them are left out, and so are connections made
    after the call. In another thread or a forked copy it yields none. Raises TypeError for what is
    neither a handle nor a context.
    """
    context = context_of(wsi_or_context)
    return _established(context, list(context.handles))


def _established(
    context: libwebsocket_context, handles: list[libwebsocket | None]
) -> Iterator[libwebsocket]:
    for wsi in handles:
        if (
            wsi is not None
            and wsi.slot != NO_SLOT
            and context.handles[wsi.slot] is wsi
            and lib.lws_version(context.c, wsi.slot) > 0
        ):
            yield wsi
