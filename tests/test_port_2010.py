"""The callback of the C library's own test server, ported line by line in three ways.

The first keeps its memory in ctypes, the second in cffi, the third in plain memoryviews. Each
comment is the C idiom of the line below it. The servers are real processes, the client is not ours.
"""

from __future__ import annotations

import ctypes
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cffi
import pytest
from websockets.sync.client import ClientConnection, connect

from libwebsockets import (
    LWS_CALLBACK_CLOSED,
    LWS_CALLBACK_ESTABLISHED,
    LWS_CALLBACK_HTTP,
    LWS_CALLBACK_RECEIVE,
    LWS_CALLBACK_SEND,
    LWS_SEND_BUFFER_POST_PADDING,
    LWS_SEND_BUFFER_PRE_PADDING,
    LWS_WRITE_TEXT,
    libwebsocket_get_uri,
    libwebsocket_write,
    libwebsockets_serve_http_file,
)

SECONDS = 20.0
FILES = Path(__file__).resolve().parent.parent / "test-server"
BUFFER_SIZE = LWS_SEND_BUFFER_PRE_PADDING + 512 + LWS_SEND_BUFFER_POST_PADDING


def printf(text: str) -> None:
    """Flushed at once, as the server process leaves without the interpreter's clean-up."""
    print(text, flush=True)


def serve_http(wsi: Any) -> None:
    """The HTTP part is the same in all three: no memory is in play."""
    # if (uri && strcmp(uri, "/favicon.ico") == 0)
    if libwebsocket_get_uri(wsi) == "/favicon.ico":
        # if (libwebsockets_serve_http_file(wsi, DIR "/favicon.ico", "image/x-icon"))
        if libwebsockets_serve_http_file(wsi, f"{FILES}/favicon.ico", "image/x-icon"):
            printf("Failed to send favicon")
        return
    if libwebsockets_serve_http_file(wsi, f"{FILES}/test.html", "text/html"):
        printf("Failed to send HTTP file")


# ---- ctypes: what C keeps in a struct and an array is one here too, and sprintf is libc's own.

libc = ctypes.CDLL(None)


# struct per_session_data { int number; };
class PerSessionData(ctypes.Structure):
    _fields_ = [("number", ctypes.c_int)]


# static unsigned char buf[PRE + 512 + POST];
ctypes_buf = (ctypes.c_ubyte * BUFFER_SIZE)()


def ctypes_callback(wsi: Any, reason: Any, user: Any, in_: Any, length: int) -> int:
    # unsigned char *p = &buf[LWS_SEND_BUFFER_PRE_PADDING];
    p = ctypes.byref(ctypes_buf, LWS_SEND_BUFFER_PRE_PADDING)
    # struct per_session_data *pss = user;
    pss = PerSessionData.from_buffer(user) if user else PerSessionData()

    # switch (reason) {
    # case LWS_CALLBACK_ESTABLISHED:
    if reason == LWS_CALLBACK_ESTABLISHED:
        printf("Websocket connection established")
        pss.number = 0

    # case LWS_CALLBACK_CLOSED:
    elif reason == LWS_CALLBACK_CLOSED:
        printf("Websocket connection closed")

    # case LWS_CALLBACK_SEND:
    elif reason == LWS_CALLBACK_SEND:
        # n = sprintf(p, "%d", pss->number++);
        n = libc.sprintf(p, b"%d", pss.number)
        pss.number += 1
        # n = libwebsocket_write(wsi, p, n, LWS_WRITE_TEXT);
        n = libwebsocket_write(wsi, p, n, LWS_WRITE_TEXT)
        if n < 0:
            return 1

    # case LWS_CALLBACK_RECEIVE:
    elif reason == LWS_CALLBACK_RECEIVE:
        # if (len < 6) break;
        if length >= 6 and bytes(in_[:6]) == b"reset\n":
            pss.number = 0

    # case LWS_CALLBACK_HTTP:
    elif reason == LWS_CALLBACK_HTTP:
        serve_http(wsi)

    return 0


# ---- cffi: a pointer into a char array is a pointer, and arithmetic on it is C's.

ffi = cffi.FFI()
ffi.cdef(
    "struct per_session_data { int number; }; int sprintf(char *out, const char *format, ...);"
)
C: Any = ffi.dlopen(None)

cffi_buf = ffi.new("char[]", BUFFER_SIZE)


def cffi_callback(wsi: Any, reason: Any, user: Any, in_: Any, length: int) -> int:
    # unsigned char *p = &buf[LWS_SEND_BUFFER_PRE_PADDING];
    p = cffi_buf + LWS_SEND_BUFFER_PRE_PADDING
    # struct per_session_data *pss = user;
    pss: Any = ffi.from_buffer("struct per_session_data *", user) if user else ffi.NULL

    if reason == LWS_CALLBACK_ESTABLISHED:
        printf("Websocket connection established")
        pss.number = 0

    elif reason == LWS_CALLBACK_CLOSED:
        printf("Websocket connection closed")

    elif reason == LWS_CALLBACK_SEND:
        # n = sprintf(p, "%d", pss->number++);
        n = C.sprintf(p, b"%d", ffi.cast("int", pss.number))
        pss.number += 1
        n = libwebsocket_write(wsi, p, n, LWS_WRITE_TEXT)
        if n < 0:
            return 1

    elif reason == LWS_CALLBACK_RECEIVE:
        # if (strncmp(in, "reset\n", 6) == 0)
        if length >= 6 and ffi.unpack(ffi.from_buffer("char[]", in_), 6) == b"reset\n":
            pss.number = 0

    elif reason == LWS_CALLBACK_HTTP:
        serve_http(wsi)

    return 0


# ---- memoryviews: no C in sight, the same room around the payload.

plain_buf = bytearray(BUFFER_SIZE)


def memoryview_callback(wsi: Any, reason: Any, user: Any, in_: Any, length: int) -> int:
    # unsigned char *p = &buf[LWS_SEND_BUFFER_PRE_PADDING];
    p = memoryview(plain_buf)[LWS_SEND_BUFFER_PRE_PADDING:]
    # int *number = user;
    number: Any = user.cast("i") if user else None

    if reason == LWS_CALLBACK_ESTABLISHED:
        printf("Websocket connection established")
        number[0] = 0

    elif reason == LWS_CALLBACK_CLOSED:
        printf("Websocket connection closed")

    elif reason == LWS_CALLBACK_SEND:
        # n = sprintf(p, "%d", (*number)++);
        text = b"%d" % number[0]
        number[0] += 1
        n = len(text)
        p[:n] = text
        n = libwebsocket_write(wsi, p, n, LWS_WRITE_TEXT)
        if n < 0:
            return 1

    elif reason == LWS_CALLBACK_RECEIVE:
        if length >= 6 and in_[:6] == b"reset\n":
            number[0] = 0

    elif reason == LWS_CALLBACK_HTTP:
        serve_http(wsi)

    return 0


# ---- The same is asked of all three.


# user_area_size is sizeof(struct per_session_data).
@pytest.fixture(params=[ctypes_callback, cffi_callback, memoryview_callback])
def server(request: pytest.FixtureRequest, serve: Any) -> Iterator[Any]:
    running = serve(request.param, user_area_size=ctypes.sizeof(PerSessionData))
    yield running
    log = running.log_path.read_text()
    assert "callback-error" not in log, log
    assert "Traceback" not in log, log


def opened(server: Any) -> ClientConnection:
    return connect(f"ws://127.0.0.1:{server.port}/", compression=None, open_timeout=SECONDS)


def numbers(connection: ClientConnection, count: int) -> list[str | bytes]:
    return [connection.recv(SECONDS) for _ in range(count)]


def test_it_counts(server: Any) -> None:
    with opened(server) as connection:
        assert numbers(connection, 12) == [str(n) for n in range(12)]


def test_each_session_has_its_own_number(server: Any) -> None:
    with opened(server) as first:
        assert numbers(first, 4) == list("0123")
        with opened(server) as second:
            assert numbers(second, 3) == list("012")
        assert numbers(first, 1) != ["0"]


def test_reset_and_nothing_else_sets_the_number_to_0(server: Any) -> None:
    with opened(server) as connection:
        assert numbers(connection, 3) == list("012")
        for text in ("", "reset", "Reset\n", "other than reset\n"):
            connection.send(text)
        after = numbers(connection, 5)
        assert after == list("34567")
        connection.send("reset\n")
        under_way = []
        while (message := connection.recv(SECONDS)) != "0":
            under_way.append(message)
            assert len(under_way) < 50, under_way
        assert numbers(connection, 3) == list("123")


def test_established_and_closed_come_once(server: Any) -> None:
    with opened(server) as connection:
        assert numbers(connection, 2) == list("01")
    server.wait_event("OUTPUT", line="Websocket connection closed")
    assert [record["line"] for record in server.found("OUTPUT")] == [
        "Websocket connection established",
        "Websocket connection closed",
    ]


def test_files(server: Any) -> None:
    for path, name, kind in (
        ("/", "test.html", "text/html"),
        ("/favicon.ico", "favicon.ico", "image/x-icon"),
        ("/anything", "test.html", "text/html"),
    ):
        url = f"http://127.0.0.1:{server.port}{path}"
        with urllib.request.urlopen(url, timeout=SECONDS) as reply:
            assert reply.headers["Content-Type"] == kind
            assert reply.read() == (FILES / name).read_bytes()
