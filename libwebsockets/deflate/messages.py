"""permessage-deflate (RFC 7692): what is agreed in the handshake, and compressed messages in."""

from __future__ import annotations

import logging

from .. import log
from .._core import ffi, lib
from ..constants import (
    LWS_CALLBACK_RECEIVE,
    LWS_SEND_BUFFER_POST_PADDING,
    LWS_SEND_BUFFER_PRE_PADDING,
)
from ..core import libwebsocket, libwebsocket_context
from .negotiation import Agreement, negotiate
from .streams import BadDataError, Session, TooBigError

__all__ = ["agree", "receive"]

IN_BUFFER: int = lib.LWS_EVENT_TEXT_BUFFER  # the bit of a message in a buffer of its own
NOT_FIRST: int = lib.LWS_PIECE_NOT_FIRST
NOT_FINAL: int = lib.LWS_PIECE_NOT_FINAL
FRAGMENT = 65536  # bytes of a fragment handed over with rx_fragments


def agree(context: libwebsocket_context, slot: int, offers: list[bytes]) -> Agreement | None:
    """Compression, if the client offers it in a way that can be agreed to.

    offers are the values of its Sec-WebSocket-Extensions fields, well formed.
    """
    settings = context.settings
    agreed, passed_over = negotiate(
        offers, settings.limits["deflate_window_bits"], settings.deflate_context_takeover
    )
    if passed_over is not None:
        log.event(logging.INFO, "ws-extension", context.peer(slot), declined=passed_over)
    return agreed


def receive(
    context: libwebsocket_context, slot: int, kind: int, code: int, offset: int, length: int
) -> None:
    """Inflates and validates a compressed message, or a fragment of one, for the callback."""
    wsi = context.handles[slot]
    if wsi is None:
        return
    session = context.deflation.session(slot)
    if kind & IN_BUFFER:
        data = memoryview(ffi.buffer(lib.lws_message(context.c, offset), length))
    else:
        data = context.arena.view[offset : offset + length]
    final = not code & NOT_FINAL
    text = not kind & 1
    fault = 0
    try:
        memory = _padded(session.inflate(data, final))
        if text and not _is_text(session, memory, final):
            fault = lib.LWS_FAULT_WS_UTF8
    except TooBigError:
        fault = lib.LWS_FAULT_WS_TOO_BIG
    except BadDataError:
        fault = lib.LWS_FAULT_WS_INFLATE
    except MemoryError:
        fault = lib.LWS_FAULT_ALLOC_FAILED
    finally:
        data.release()
    if fault:
        if lib.lws_fail_message(context.c, slot, fault) != 0:
            context.log_fault(slot, fault)  # its own Close was in the same round
        context.mark_closing(wsi)
        return
    _hand_over(context, wsi, kind & 1, code, memory)


def _padded(data: bytes) -> bytearray:
    """A message with the room around it that libwebsocket_write wants."""
    memory = bytearray(LWS_SEND_BUFFER_PRE_PADDING + len(data) + LWS_SEND_BUFFER_POST_PADDING)
    memory[LWS_SEND_BUFFER_PRE_PADDING:-LWS_SEND_BUFFER_POST_PADDING] = data
    return memory


def _is_text(session: Session, memory: bytearray, final: bool) -> bool:
    length = len(memory) - LWS_SEND_BUFFER_PRE_PADDING - LWS_SEND_BUFFER_POST_PADDING
    start = ffi.from_buffer("uint8_t[]", memory) + LWS_SEND_BUFFER_PRE_PADDING
    state = lib.lws_utf8(session.utf8, start, length)
    session.utf8 = lib.LWS_UTF8_COMPLETE if final else state
    if final:
        return bool(state == lib.LWS_UTF8_COMPLETE)
    return bool(state != lib.LWS_UTF8_INVALID)


def _hand_over(
    context: libwebsocket_context, wsi: libwebsocket, kind: int, code: int, memory: bytearray
) -> None:
    """Calls the callback: once, or for each 64 KiB of what a fragment has become."""
    first = LWS_SEND_BUFFER_PRE_PADDING
    end = len(memory) - LWS_SEND_BUFFER_POST_PADDING
    whole = memoryview(memory)
    step = FRAGMENT if context.settings.limits["rx_fragments"] else max(1, end - first)
    for start in range(first, max(end, first + 1), step):
        stop = min(start + step, end)
        part = code & NOT_FIRST if start == first else NOT_FIRST
        part |= code & NOT_FINAL if stop == end else NOT_FINAL
        in_ = whole[start:stop]
        context.inflated = kind, part
        try:
            context.deliver(wsi, LWS_CALLBACK_RECEIVE, in_, stop - start)
        finally:
            context.inflated = None
        if context.handles[wsi.slot] is not wsi:
            return
