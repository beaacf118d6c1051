"""Typed calls of the whole public API, for mypy --strict; never run."""

from __future__ import annotations

import ctypes
import ssl
from pathlib import Path

from libwebsockets import (
    LWS_CALLBACK_RECEIVE,
    LWS_CLOSE_STATUS_NORMAL,
    LWS_SEND_BUFFER_PRE_PADDING,
    LWS_WRITE_HTTP,
    LWS_WRITE_TEXT,
    libwebsocket,
    libwebsocket_buffer,
    libwebsocket_callback_reasons,
    libwebsocket_close_reason,
    libwebsocket_context,
    libwebsocket_context_destroy,
    libwebsocket_create_context,
    libwebsocket_create_server,
    libwebsocket_get_uri,
    libwebsocket_server,
    libwebsocket_service,
    libwebsocket_write,
    libwebsockets_serve_http_file,
)


class Session(ctypes.Structure):
    _fields_ = (("number", ctypes.c_int),)
    number: int


buffer = libwebsocket_buffer(512)


def callback(
    wsi: libwebsocket,
    reason: libwebsocket_callback_reasons,
    user: memoryview | None,
    in_: memoryview | None,
    length: int,
) -> int:
    if reason == LWS_CALLBACK_RECEIVE and in_ is not None and user is not None:
        session = Session.from_buffer(user)
        session.number += 1
        buffer[0:5] = b"hello"
        payload: memoryview = buffer.payload
        sent: int = libwebsocket_write(wsi, in_, length, LWS_WRITE_TEXT)
        sent += libwebsocket_write(wsi, buffer, len(payload), LWS_WRITE_TEXT)
        sent += libwebsocket_write(wsi, b"bytes", 5, 0)
        sent += libwebsocket_write(wsi, "text", 4, LWS_WRITE_TEXT)
        array = (ctypes.c_char * 64)()
        where = ctypes.byref(array, LWS_SEND_BUFFER_PRE_PADDING)
        sent += libwebsocket_write(wsi, where, 4, LWS_WRITE_HTTP)
        code: int | None = wsi.close_code
        return sent + (code or 0)
    uri: str | None = libwebsocket_get_uri(wsi)
    if uri is not None and uri.startswith("/file"):
        return libwebsockets_serve_http_file(wsi, Path("/dev/null"), "text/plain")
    libwebsockets_serve_http_file(wsi, b"/dev/null", "text/plain")
    return libwebsocket_close_reason(wsi, LWS_CLOSE_STATUS_NORMAL, "done")


def no_return(*_: object) -> None:
    """A callback may return nothing."""


def start() -> int | None:
    server: libwebsocket_server = libwebsocket_create_server(
        7681, callback, 76, ctypes.sizeof(Session), None, None, -1, -1
    )
    descriptor: int = server
    with libwebsocket_create_server(
        0,
        no_return,
        13,
        0,
        "cert.pem",
        Path("key.pem"),
        -1,
        -1,
        host="127.0.0.1",
        origins=["https://example.com", None],
        hosts=("example.com",),
        subprotocols=["chat"],
        ssl_context=ssl.create_default_context(),
        max_message=2**16,
        max_connections=None,
        send_interval=0,
        handshake_timeout=2.5,
    ) as entered:
        entered.wait(1.0)
        status: int = entered.stop(timeout=2)
    return descriptor + server.port + server.pid + status


def run() -> int:
    context: libwebsocket_context | None = libwebsocket_create_context(
        0, callback, 76, 4, None, None, -1, -1, backlog=16
    )
    if context is None:
        return -1
    result: int = libwebsocket_service(context, 50)
    port: int = context.port + context.fileno()
    libwebsocket_context_destroy(context)
    return result + port


def wrong() -> None:
    libwebsocket_create_server("80", callback, 76, 0, None, None, -1, -1)  # type: ignore[arg-type]
    libwebsocket_create_server(80, callback, 76, 0, None, None, -1, -1, unknown=1)  # type: ignore[call-arg]
    libwebsocket_write(1, b"", 0, 0)  # type: ignore[arg-type]
    libwebsocket_get_uri(None)  # type: ignore[arg-type]
