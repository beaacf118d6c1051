"""The functions on a connection's handle: write, close, and what it is."""

from __future__ import annotations

import logging
from typing import Any

from . import log
from ._core import ffi, lib
from .buffers import find_payload, libwebsocket_buffer
from .constants import LWS_CLOSE_STATUS_NO_STATUS, LWS_CLOSE_STATUS_NORMAL, LWS_WRITE_HTTP
from .core import (
    ERROR_CLOSED,
    ERROR_DEFLATE,
    ERROR_FULL,
    ERROR_UTF8,
    NO_SLOT,
    as_index,
    check_wsi,
    libwebsocket,
    libwebsocket_context,
    own_handle,
    peer_name,
    refuse,
    state_error,
)

__all__ = [
    "libwebsocket_close_reason",
    "libwebsocket_get_close_code",
    "libwebsocket_get_context",
    "libwebsocket_get_uri",
    "libwebsocket_write",
]

HTTP = int(LWS_WRITE_HTTP)
PROTOCOLS = frozenset({0, 1, 2, 3, 5, 6, 0x40, 0x41, 0x43})

SIZE = ffi.typeof("size_t *")

_write = lib.lws_write
_write_arena = lib.lws_write_arena
_write_copy = lib.lws_write_copy


def libwebsocket_write(wsi: libwebsocket, buf: Any, len: int, protocol: int) -> int:
    """Sends a message, or bytes of an HTTP reply.

    :param wsi: the connection.
    :param buf: points at the payload: a ``memoryview`` slice over anything writable (bytearray,
        ctypes or numpy array), ``ctypes.byref(array, offset)`` or a ctypes pointer, a cffi
        pointer, ``in_`` or a slice of it, or a ``libwebsocket_buffer``, which is the fastest.
        Before the payload there are LWS_SEND_BUFFER_PRE_PADDING (12) bytes, after it
        LWS_SEND_BUFFER_POST_PADDING (1): the frame's header and trailer are written there, in
        place, and the payload's own bytes are not changed. The memory is the caller's, and is the
        caller's again when this returns. A read-only object (bytes, ``c_char_p``) and a str have
        no room and are copied, which is slower.
    :param len: bytes of the payload; for a str characters, sent as UTF-8. It may be 0.
    :param protocol: LWS_WRITE_TEXT, LWS_WRITE_BINARY, or LWS_WRITE_HTTP: as it is, no padding
        needed. A message in fragments: one of the first two or-ed with LWS_WRITE_NO_FIN, then
        LWS_WRITE_CONTINUATION | LWS_WRITE_NO_FIN for each fragment but the last, which is
        LWS_WRITE_CONTINUATION; a text may be cut at any byte. LWS_WRITE_PING and LWS_WRITE_PONG,
        at most 125 bytes, may stand between fragments.
    :returns: 0 if all of it is taken: sent, or queued until the peer reads. -1 if nothing of it
        will be sent, with one line in the log: the connection is closed or closing,
        ``max_send_buffer`` would be exceeded, the text is not UTF-8, binary on hixie-76, no
        memory, wrong thread or process, HTTP bytes on a WebSocket or a message on what is none.
        Never half a message.
    :raises TypeError: for arguments of wrong types.
    :raises ValueError: with the number that is wrong, and nothing written: a negative len or one
        beyond the buffer, a protocol that is none of those, padding that Python can see to be
        missing. Of bare pointers (ctypes and cffi pointers) it cannot see the bounds: as in C, the
        room is the caller's duty.

    Where permessage-deflate was agreed (option ``deflate``), a whole message of at least
    ``deflate_threshold`` bytes is compressed into other memory; buf is only read then. One that
    does not become smaller may be sent as it is.

    Frames: RFC 6455, section 5; draft-ietf-hybi-thewebsocketprotocol-00, section 5.3.
    """
    try:
        context = wsi.context
        if buf is context.in_ and 0 <= len <= context.in_length and protocol < HTTP:
            result = _write_arena(context.c, wsi.slot, context.in_offset, len, protocol)
        elif (
            type(buf) is libwebsocket_buffer
            and 0 <= len <= buf.size
            and protocol < HTTP
            and wsi.slot != NO_SLOT
        ):
            result = _write(context.c, wsi.slot, buf.address, len, protocol)
            if not context.dispatching:
                lib.lws_flush(context.c)  # no round follows that would send it
        elif (
            type(buf) is bytes
            and 0 <= len <= buf.__len__()  # the builtin is hidden by C's name for the argument
            and protocol < HTTP
            and wsi.slot != NO_SLOT
        ):
            result = _write_copy(context.c, wsi.slot, buf, len, protocol)
            if not context.dispatching:
                lib.lws_flush(context.c)
        else:
            return _write_any(wsi, buf, len, protocol)
    except (AttributeError, OverflowError):
        return _write_any(wsi, buf, len, protocol)
    return 0 if result == 0 else _write_else(wsi, buf, len, protocol, result)


def _write_else(wsi: libwebsocket, buf: Any, length: int, protocol: int, result: int) -> int:
    """What the core did not take as it is: a message that must be compressed, or never."""
    if result == ERROR_DEFLATE:
        context = wsi.context
        payload = find_payload(buf, length, padded=False)
        result = context.deflation.write(wsi.slot, payload, protocol)
        if not context.dispatching:
            lib.lws_flush(context.c)
    return 0 if result == 0 else _write_refused(wsi, length, protocol, result)


def _write_any(wsi: libwebsocket, buf: Any, length: int, protocol: int) -> int:
    """libwebsocket_write for every kind of buffer, with every check."""
    check_wsi(wsi)
    length = as_index("len", length)
    protocol = as_index("protocol", protocol)
    _check_protocol(protocol)
    context = wsi.context
    try:
        payload = find_payload(buf, length, padded=protocol != HTTP)
    except UnicodeEncodeError:
        return _write_refused(wsi, length, protocol, ERROR_UTF8)
    if wsi.slot == NO_SLOT:
        return _write_refused(wsi, length, protocol, ERROR_CLOSED)
    reply = context.reply
    if protocol == HTTP and (reply is None or reply.wsi is not wsi or not reply.open):
        return _write_refused(wsi, length, protocol, state_error(wsi))
    if protocol == HTTP and reply is not None and reply.checked:
        if reply.exceeds(payload.length):
            cause = "more bytes than the Content-Length of the reply"
            log.event(
                logging.WARNING,
                "write-refused",
                peer_name(wsi),
                length=payload.length,
                cause=cause,
            )
            return -1
        if reply.dropping:
            reply.record(payload)
            return 0
    if payload.copy:
        memory = ffi.cast("uint8_t *", payload.address)
        result = _write_copy(context.c, wsi.slot, memory, payload.length, protocol)
    else:
        result = _write(context.c, wsi.slot, payload.address, payload.length, protocol)
    if result == ERROR_DEFLATE:
        result = context.deflation.write(wsi.slot, payload, protocol)
    if result != 0:
        if reply is not None and protocol == HTTP:
            reply.failed = True
        return _write_refused(wsi, payload.length, protocol, result)
    if reply is not None and protocol == HTTP:
        reply.record(payload)
    if not context.dispatching:
        lib.lws_flush(context.c)
    return 0


def _check_protocol(protocol: int) -> None:
    if protocol not in PROTOCOLS:
        raise ValueError(
            "protocol must be 0, 1, 2, 3, 5 or 6, for 0, 1 and 3 perhaps or-ed with 0x40, not "
            f"{protocol}"
        )


def _write_refused(wsi: libwebsocket, length: int, protocol: int, error: int) -> int:
    """Logs why a write returns -1."""
    _check_protocol(protocol)
    word = "send-overflow" if error == ERROR_FULL else "write-refused"
    level = logging.INFO if error == ERROR_CLOSED else logging.WARNING
    return refuse(wsi, level, word, error, length=length)


def libwebsocket_get_uri(wsi: libwebsocket) -> str | None:
    """The path with its query, as the client sent it, not decoded: ``/demo?a=%20b``.

    Of the request that the callback is answering, or of the one that opened the session (the
    request target of RFC 9112, section 3.2, without scheme and authority). The str is a copy.

    Empty on what the callback is given for an event of no connection
    (LWS_CALLBACK_PROTOCOL_INIT). Returns None, with a line in the log, on an inert handle,
    without a request, from another thread and in a forked copy. Raises TypeError if wsi is no
    ``libwebsocket``.
    """
    check_wsi(wsi)
    if wsi.slot != NO_SLOT:
        length = ffi.new(SIZE)
        uri = lib.lws_uri(wsi.context.c, wsi.slot, length)
        if uri:
            return str(ffi.buffer(uri, length[0]), "ascii")  # as the core takes no other target
        refuse(wsi, logging.WARNING, "uri-refused", state_error(wsi))
    elif isinstance(wsi, own_handle):
        return ""  # a callback of 2010 compares it before it looks at the reason
    else:
        refuse(wsi, logging.INFO, "uri-refused", ERROR_CLOSED)
    return None


def libwebsocket_close_reason(
    wsi: libwebsocket, code: int = LWS_CLOSE_STATUS_NORMAL, reason: bytes | str = b""
) -> int:
    """Begins the closing handshake of a connection, from any callback (RFC 6455, section 7).

    Everything written before leaves first; LWS_CALLBACK_CLOSED comes when the peer has answered or
    ``close_timeout`` is over, and LWS_CALLBACK_RECEIVE and _SEND come no more. On a connection
    that is no session yet it closes once what was written has left.

    :param code: 1000 to 1003, 1007 to 1014 or 3000 to 4999 (sections 7.4.1 and 7.4.2). hixie-76 has
        no codes: it gets its closing frame.
    :param reason: UTF-8, only read; more than 123 bytes are cut at the end of a code point.
    :returns: 0, also if the connection is closing already; -1 with a line in the log for a code
        that must not be sent, a reason that is not UTF-8, an inert handle, a wrong thread or
        process.
    :raises TypeError: for arguments of wrong types.
    """
    check_wsi(wsi)
    code = as_index("code", code)
    if isinstance(reason, str):
        try:
            reason = reason.encode()
        except UnicodeEncodeError:
            return refuse(wsi, logging.WARNING, "close-refused", ERROR_UTF8)
    elif not isinstance(reason, bytes):
        reason = bytes(memoryview(reason))
    if wsi.slot == NO_SLOT:
        return refuse(wsi, logging.INFO, "close-refused", ERROR_CLOSED)
    # The core takes 1005 for a Close without a code, which is not on offer here.
    if not 0 <= code <= 0xFFFF or code == LWS_CLOSE_STATUS_NO_STATUS:
        return refuse(wsi, logging.WARNING, "close-refused", lib.LWS_ERROR_CLOSE_CODE, code=code)
    result = lib.lws_close(wsi.context.c, wsi.slot, code, reason, len(reason))
    # An error of a handle that is not inert: the peer was first, and CLOSED is on its way.
    if result not in (0, ERROR_CLOSED):
        return refuse(wsi, logging.WARNING, "close-refused", result, code=code)
    wsi.context.mark_closing(wsi)
    if not wsi.context.dispatching:
        lib.lws_flush(wsi.context.c)
    return 0


def libwebsocket_get_close_code(wsi: libwebsocket) -> int:
    """How an established connection has ended: the code of the peer's Close frame.

    In LWS_CALLBACK_CLOSED, where ``in_`` is the peer's reason, and on the handle ever after. 1005:
    its Close had none, or it was hixie-76's ``ff 00``; 1006: there was no Close (RFC 6455, section
    7.1.5). -1, with a line in the log: it has not ended, or was never established. Raises TypeError
    if wsi is no ``libwebsocket``.
    """
    check_wsi(wsi)
    if wsi.close_code is None:
        cause = "the connection has not ended, or was never established"
        log.event(logging.INFO, "close-code-refused", peer_name(wsi), cause=cause)
        return -1
    return wsi.close_code


def libwebsocket_get_context(wsi: libwebsocket) -> libwebsocket_context:
    """The context that a connection belongs to, or belonged to.

    What LWS_CALLBACK_PROTOCOL_INIT and the other events of no connection are given leads to it
    too: it is how a callback in the server process comes by it. Raises TypeError if wsi is no
    ``libwebsocket``.
    """
    check_wsi(wsi)
    return wsi.context
