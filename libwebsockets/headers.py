"""What a request said: its method and header fields, and where it came from."""

from __future__ import annotations

import logging
from typing import Any

from ._core import ffi, lib
from .core import ERROR_CLOSED, NO_SLOT, check_wsi, libwebsocket, refuse, state_error

__all__ = [
    "libwebsocket_get_header",
    "libwebsocket_get_headers",
    "libwebsocket_get_method",
    "libwebsocket_get_peer_address",
]


def libwebsocket_get_header(wsi: libwebsocket, name: str | bytes) -> bytes | None:
    """A header field of the request, as the client sent it.

    Of the request that the callback is answering, or of the one that opened the session. The bytes
    are a copy of the value without the white space around it; they are the peer's, and may be any
    but controls. Several fields of the name are joined by ``", "`` (RFC 9110, section 5.3).

    A session keeps its request's field lines for this, packed (some 110 bytes from a browser, and
    its cookies) in one allocation with its URI; the option ``keep_headers=False`` saves them.

    :param name: without regard to case.
    :returns: the value, maybe empty. None if there is no such field; None too, with a line in the
        log, on an inert handle, without a request, on a session with ``keep_headers`` off, from
        another thread and in a forked copy.
    :raises TypeError: for arguments of wrong types.
    """
    check_wsi(wsi)
    if not isinstance(name, str | bytes):
        raise TypeError(f"name must be a str or bytes, not {type(name).__name__}")
    raw = name.encode("utf-8", "replace") if isinstance(name, str) else name
    lines = _FieldLines(wsi)
    if not lines.found:
        return None
    values = lines.values(raw)
    return b", ".join(values) if values else None


def libwebsocket_get_headers(wsi: libwebsocket) -> list[tuple[bytes, bytes]] | None:
    """All header fields of the request, in the order and the spelling in which they came.

    Names and values are copies; a name that came twice is there twice.

    Returns a list of (name, value); None, with a line in the log, where libwebsocket_get_header
    logs one. Raises TypeError if wsi is no ``libwebsocket``.
    """
    check_wsi(wsi)
    lines = _FieldLines(wsi)
    return lines.all() if lines.found else None


def libwebsocket_get_method(wsi: libwebsocket) -> str | None:
    """The method of the request: ``"GET"`` or ``"HEAD"``, as others are refused; a session's is
    ``"GET"``.

    Returns None, with a line in the log, on an inert handle, without a request, from another thread
    and in a forked copy. Raises TypeError if wsi is no ``libwebsocket``.
    """
    check_wsi(wsi)
    if wsi.slot == NO_SLOT:
        refuse(wsi, logging.INFO, "method-refused", ERROR_CLOSED)
        return None
    request = lib.lws_request(wsi.context.c, wsi.slot)
    if request != ffi.NULL:
        return "HEAD" if request.kind == lib.LWS_METHOD_HEAD else "GET"
    if lib.lws_uri(wsi.context.c, wsi.slot, ffi.new("size_t *")) != ffi.NULL:
        return "GET"
    refuse(wsi, logging.WARNING, "method-refused", state_error(wsi))
    return None


def libwebsocket_get_peer_address(wsi: libwebsocket) -> tuple[str, int] | None:
    """The client's address and port: ``("192.0.2.1", 50000)``, ``("2001:db8::1", 50000)``.

    Behind one of ``trusted_proxies`` it is the address that the proxy tells of. A client on a Unix
    socket is ``("unix", 0)``. An address that only a header field told has port 0.

    Returns None, with a line in the log, on an inert handle, from another thread and in a forked
    copy. Raises TypeError if wsi is no ``libwebsocket``.
    """
    check_wsi(wsi)
    if wsi.slot == NO_SLOT:
        refuse(wsi, logging.INFO, "peer-refused", ERROR_CLOSED)
        return None
    name = wsi.context.peer(wsi.slot)
    if name == "-":  # what the core says to all but its owner
        refuse(wsi, logging.WARNING, "peer-refused", state_error(wsi))
        return None
    host, colon, port = name.rpartition(":")
    return (host.strip("[]"), int(port)) if colon else (name, 0)


class _FieldLines:
    """The field lines of a request: a copy, as the handler of a signal may ask for another's."""

    __slots__ = ("_lines", "_request", "found")

    def __init__(self, wsi: libwebsocket) -> None:
        self.found = False
        if wsi.slot == NO_SLOT:
            refuse(wsi, logging.INFO, "header-refused", ERROR_CLOSED)
            return
        length = ffi.new("size_t *")
        lines = lib.lws_fields(wsi.context.c, wsi.slot, length)
        if lines == ffi.NULL:
            refuse(wsi, logging.WARNING, "header-refused", state_error(wsi))
            return
        self._lines = bytes(ffi.buffer(lines, length[0]))
        self._request: Any = ffi.new("struct lws_request *")
        self._request.headers.length = length[0]
        self.found = True

    def values(self, name: bytes) -> list[bytes]:
        cursor = ffi.new("uint32_t *")
        value = ffi.new("struct lws_slice *")
        found = []
        while lib.lws_head_field(self._lines, self._request, name, len(name), cursor, value):
            found.append(self._slice(value))
        return found

    def all(self) -> list[tuple[bytes, bytes]]:
        cursor = ffi.new("uint32_t *")
        name = ffi.new("struct lws_slice *")
        value = ffi.new("struct lws_slice *")
        found = []
        while lib.lws_head_next(self._lines, self._request, cursor, name, value):
            found.append((self._slice(name), self._slice(value)))
        return found

    def _slice(self, part: Any) -> bytes:
        return self._lines[part.offset : part.offset + part.length]
