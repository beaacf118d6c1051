"""Back-pressure and keepalive: when to write, when to read, how much waits, how far a peer is."""

from __future__ import annotations

import logging

from ._core import lib
from .core import ERROR_CLOSED, NO_SLOT, check_wsi, libwebsocket, refuse

__all__ = [
    "libwebsocket_callback_on_writable",
    "libwebsocket_get_latency",
    "libwebsocket_get_queued",
    "libwebsocket_rx_flow_control",
]


def libwebsocket_callback_on_writable(wsi: libwebsocket) -> int:
    """Asks for one LWS_CALLBACK_SERVER_WRITEABLE as soon as all that was written has left.

    The callback comes in a later round, never from within this call: in the next one if nothing
    waits, else when the kernel has taken the last byte. Asking again before it has come changes
    nothing. Whoever has much to send writes one part, asks, and writes the next part in the
    callback: the queue then holds no more than one part, however slowly the peer reads.

    :param wsi: an established connection.
    :returns: 0. -1 with a line in the log: the connection is not established, closed or closing, or
        the thread or the process is a wrong one.
    :raises TypeError: if wsi is no ``libwebsocket``.
    """
    check_wsi(wsi)
    return _answer(wsi, "writable-refused", lib.lws_want_writable(wsi.context.c, wsi.slot))


def libwebsocket_rx_flow_control(wsi: libwebsocket, enable: int) -> int:
    """Stops or resumes reading from a connection.

    While it is stopped, nothing more is received: the kernel's buffers fill, and the peer's sending
    comes to rest (TCP flow control). Messages that the present round has decoded already are still
    handed over: at most LWS_SHARE_EVENTS (128) of them, 64 KiB together. Nothing is lost. The
    peer's Close is not seen either, nor are pongs: keepalive is suspended. A closing handshake
    that this side begins resumes reading.

    :param wsi: an established connection.
    :param enable: 0 (or False): stop; anything else: resume. Neither is counted.
    :returns: 0. -1 with a line in the log, as libwebsocket_callback_on_writable.
    :raises TypeError: for arguments of wrong types.
    """
    check_wsi(wsi)
    if not isinstance(enable, int):
        raise TypeError(f"enable must be an int, not {type(enable).__name__}")
    result = lib.lws_rx_flow_control(wsi.context.c, wsi.slot, bool(enable))
    return _answer(wsi, "flow-control-refused", result)


def libwebsocket_get_queued(wsi: libwebsocket) -> int:
    """Bytes written to a connection that the kernel has not taken yet, frame headers among them.

    Small writes are gathered until the end of the round, and so are counted here until then. A
    file that is being sent is not counted. libwebsocket_write returns -1 when a message would bring
    the number over ``max_send_buffer``.

    :returns: the number of bytes, 0 or more. -1 with a line in the log: an inert handle, a wrong
        thread or process.
    :raises TypeError: if wsi is no ``libwebsocket``.
    """
    check_wsi(wsi)
    return _number(wsi, "queued-refused", lib.lws_queued(wsi.context.c, wsi.slot))


def libwebsocket_get_latency(wsi: libwebsocket) -> int:
    """The last measured round trip to a peer, in microseconds.

    Measured by the server's own pings, which are sent after each ``ping_interval`` of silence, from
    the ping's encoding to its pong's decoding (RFC 6455, sections 5.5.2 and 5.5.3). A pong
    that answers none of them changes nothing.

    :returns: microseconds, 0 or more. -1 if none was measured yet (hixie-76 has no pings); -1 with
        a line in the log: an inert handle, a wrong thread or process.
    :raises TypeError: if wsi is no ``libwebsocket``.
    """
    check_wsi(wsi)
    result: int = lib.lws_latency(wsi.context.c, wsi.slot) if wsi.slot != NO_SLOT else -1
    if result == -1 and wsi.slot != NO_SLOT and lib.lws_version(wsi.context.c, wsi.slot) >= 0:
        return -1
    return _number(wsi, "latency-refused", result)


def _answer(wsi: libwebsocket, word: str, error: int) -> int:
    if error == 0:
        return 0
    level = logging.INFO if error == ERROR_CLOSED else logging.WARNING
    return refuse(wsi, level, word, error)


def _number(wsi: libwebsocket, word: str, number: int) -> int:
    return number if number >= 0 else _answer(wsi, word, number)
