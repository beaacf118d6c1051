"""Messages in fragments: what the event that the callback handles says about its message."""

from __future__ import annotations

import logging
import operator

from . import log
from ._core import lib
from .core import EVENT, NO_SLOT, check_wsi, libwebsocket, peer_name

__all__ = [
    "libwebsocket_frame_is_binary",
    "libwebsocket_is_final_fragment",
    "libwebsocket_is_first_fragment",
]

NOT_FIRST: int = lib.LWS_PIECE_NOT_FIRST
NOT_FINAL: int = lib.LWS_PIECE_NOT_FINAL
LAST_MESSAGE: int = lib.LWS_EVENT_BINARY_BUFFER


def libwebsocket_frame_is_binary(wsi: libwebsocket) -> int:
    """Whether the message that LWS_CALLBACK_RECEIVE is handling is binary (RFC 6455, section 5.6).

    Every fragment of a message reports it.

    :returns: 1: binary; 0: text. -1 with a line in the log outside of LWS_CALLBACK_RECEIVE of this
        very connection.
    :raises TypeError: if wsi is no ``libwebsocket``.
    """
    event = _event(wsi)
    return -1 if event is None else event[0] & 1


def libwebsocket_is_first_fragment(wsi: libwebsocket) -> int:
    """Whether what LWS_CALLBACK_RECEIVE is handling is the first fragment of its message.

    With the option ``rx_fragments`` a message comes in fragments: each frame, or each 64 KiB of a
    larger one, is a RECEIVE of its own (so a fragment of RFC 6455, section 5.4, may give several).
    Without it, and for hixie-76, each message is one fragment, first and final.

    :returns: 1 or 0. -1 with a line in the log, and raises, as libwebsocket_frame_is_binary.
    """
    event = _event(wsi)
    return -1 if event is None else int(not event[1] & NOT_FIRST)


def libwebsocket_is_final_fragment(wsi: libwebsocket) -> int:
    """Whether what LWS_CALLBACK_RECEIVE is handling is the last fragment of its message.

    The last fragment may be empty. See libwebsocket_is_first_fragment.

    :returns: 1 or 0. -1 with a line in the log, and raises, as libwebsocket_frame_is_binary.
    """
    event = _event(wsi)
    return -1 if event is None else int(not event[1] & NOT_FINAL)


def _event(wsi: libwebsocket) -> tuple[int, int] | None:
    """Kind and code of the message event that the callback is handling, if it is this
    connection's.

    Nothing is noted for each message: the iterator over the round's events knows where it stands.
    """
    check_wsi(wsi)
    context = wsi.context
    if context.unpacking is not None and wsi.slot != NO_SLOT:
        index = context.event_count - operator.length_hint(context.unpacking) - 1
        kind, code, slot, _, _ = EVENT.unpack_from(context.events, index * EVENT.size)
        if slot == wsi.slot:
            if context.inflated is not None:
                return context.inflated
            if kind <= LAST_MESSAGE:
                return kind, code
    log.event(
        logging.WARNING,
        "fragment-refused",
        peer_name(wsi),
        cause="the callback is not handling a message of this connection",
    )
    return None
