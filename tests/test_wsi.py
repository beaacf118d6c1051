"""The connection handle and the functions on it: what they answer, and when they refuse."""

from __future__ import annotations

import gc
import logging
import os
import threading
import weakref
from typing import Any

import pytest
from inprocess import Served, context_of, serve_until
from support.raw import CLOSE, TEXT, close_payload, frame, get, text

from libwebsockets import (
    LWS_CALLBACK_CLOSED,
    LWS_CALLBACK_ESTABLISHED,
    LWS_CALLBACK_FILTER_PROTOCOL_CONNECTION,
    LWS_CALLBACK_HTTP,
    LWS_CALLBACK_RECEIVE,
    LWS_WRITE_HTTP,
    LWS_WRITE_TEXT,
    libwebsocket,
    libwebsocket_buffer,
    libwebsocket_close_reason,
    libwebsocket_get_uri,
    libwebsocket_write,
    libwebsockets_serve_http_file,
)


class App:
    """Notes every event; ``on`` maps a reason to what the callback does for it."""

    def __init__(self, **on: Any) -> None:
        self.on = on
        self.events: list[str] = []
        self.wsis: list[Any] = []
        self.results: list[Any] = []

    def __call__(self, wsi: Any, reason: Any, user: Any, in_: Any, length: int) -> Any:
        name = reason.name.removeprefix("LWS_CALLBACK_")
        if name.startswith("PROTOCOL_"):  # of no connection
            return 0
        self.events.append(name)
        if wsi not in self.wsis:
            self.wsis.append(wsi)
        action = self.on.get(name)
        return action(wsi, user, in_, length) if action else 0


def inert(wsi: Any) -> None:
    assert libwebsocket_write(wsi, b"x", 1, LWS_WRITE_TEXT) == -1
    assert libwebsocket_close_reason(wsi) == -1
    assert libwebsocket_get_uri(wsi) is None
    assert libwebsockets_serve_http_file(wsi, "/dev/null", "text/plain") == -1


def test_one_session_from_the_first_event_to_the_last() -> None:
    seen: list[tuple[Any, ...]] = []

    def callback(wsi: Any, reason: Any, user: Any, in_: Any, length: int) -> int:
        if reason.name.startswith("LWS_CALLBACK_PROTOCOL_"):
            return 0
        user[0] += 1
        told = bytes(in_) if in_ is not None else None
        seen.append((reason, user[0], told, length, wsi.close_code, libwebsocket_get_uri(wsi)))
        return 0

    with context_of(callback, 4) as context, Served(context) as client:
        client.open("/a?b=%20c").send(text("hello") + frame(CLOSE, close_payload(3001, b"bye")))
        client.closing(3001)
        serve_until(context, lambda: len(seen) == 4)
    uri = "/a?b=%20c"
    assert seen == [
        (LWS_CALLBACK_FILTER_PROTOCOL_CONNECTION, 1, None, 0, None, uri),
        (LWS_CALLBACK_ESTABLISHED, 2, None, 0, None, uri),
        (LWS_CALLBACK_RECEIVE, 3, b"hello", 5, None, uri),
        (LWS_CALLBACK_CLOSED, 4, b"bye", 3, 3001, uri),
    ]


def test_inert_after_closed_and_never_another_connection(caplog: Any) -> None:
    app = App()
    with context_of(app) as context:
        with Served(context) as client:
            client.open("/first").leave()
            serve_until(context, lambda: "CLOSED" in app.events)
        (wsi,) = app.wsis
        inert(wsi)
        with Served(context) as client:
            client.open("/second")
            inert(wsi)
            assert app.wsis[1] is not wsi
            assert repr(wsi) == "<libwebsocket closed>"
            assert client.name in repr(app.wsis[1])
            assert "version 13" in repr(app.wsis[1])
    for one in app.wsis:
        inert(one)
    words = {record.getMessage().split()[0] for record in caplog.records}
    assert {"write-refused", "close-refused", "uri-refused", "file-refused"} >= words - {"-"}


def test_handles_can_be_keys_and_weakly_referred_to() -> None:
    app = App()
    with context_of(app) as context, Served(context) as client:
        client.open("/")
        reference = weakref.ref(app.wsis[0])
        assert {app.wsis[0]: 1}[app.wsis[0]] == 1
        client.leave()
        serve_until(context, lambda: "CLOSED" in app.events)
        app.wsis.clear()
        gc.collect()
        assert reference() is None


@pytest.mark.parametrize("code", [1000, 1001, 1003, 1007, 1014, 3000, 4999])
def test_close_reason(code: int) -> None:
    app = App(RECEIVE=lambda wsi, *_: app.results.append(libwebsocket_close_reason(wsi, code, "é")))
    with context_of(app) as context, Served(context) as client:
        client.open("/").send(text("one") + text("two"))
        client.closing(code, reason="é".encode())
        client.send(frame(CLOSE, close_payload(code)))
        assert client.rest() == b""
        serve_until(context, lambda: "CLOSED" in app.events)
    assert app.results == [0]
    assert app.events.count("RECEIVE") == 1, "a message after the close was asked for"


def test_close_reason_twice_and_write_after_it() -> None:
    def receive(wsi: Any, *_: Any) -> None:
        app.results += [
            libwebsocket_write(wsi, b"first", 5, LWS_WRITE_TEXT),
            libwebsocket_close_reason(wsi, 3000),
            libwebsocket_close_reason(wsi, 3001),
            libwebsocket_write(wsi, b"late", 4, LWS_WRITE_TEXT),
        ]

    app = App(RECEIVE=receive)
    with context_of(app) as context, Served(context) as client:
        client.open("/").send(text("go"))
        assert client.message() == b"first"
        client.closing(3000, reason=b"")
    assert app.results == [0, 0, 0, -1]


@pytest.mark.parametrize(
    "code", [-1, 0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 2**16, 2**70]
)
def test_close_codes_that_must_not_be_sent(code: int, caplog: Any) -> None:
    app = App(RECEIVE=lambda wsi, *_: app.results.append(libwebsocket_close_reason(wsi, code)))
    with context_of(app) as context, Served(context) as client:
        client.open("/").send(text("go") + frame(9, b"still"))
        assert client.frame().payload == b"still"
    assert app.results == [-1]
    (record,) = [r for r in caplog.records if r.getMessage().startswith("close-refused")]
    assert f"code={code}" in record.getMessage()


@pytest.mark.parametrize("reason", [b"\xff", b"a\xc3", "\ud800"])
def test_close_reason_that_is_not_utf8(reason: Any) -> None:
    app = App(
        RECEIVE=lambda wsi, *_: app.results.append(libwebsocket_close_reason(wsi, 1000, reason))
    )
    with context_of(app) as context, Served(context) as client:
        client.open("/").send(text("go") + frame(9, b"still"))
        assert client.frame().payload == b"still"
    assert app.results == [-1]


@pytest.mark.parametrize("unit", ["r", "é", "€", "😀"])
def test_long_reason_is_cut_at_a_code_point(unit: str) -> None:
    app = App(RECEIVE=lambda wsi, *_: libwebsocket_close_reason(wsi, 4000, unit * 200))
    with context_of(app) as context, Served(context) as client:
        client.open("/").send(text("go"))
        client.closing(4000, reason=(unit * (123 // len(unit.encode()))).encode())


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        (libwebsocket_write, (b"x", 1, 0)),
        (libwebsocket_get_uri, ()),
        (libwebsocket_close_reason, ()),
        (libwebsockets_serve_http_file, ("/dev/null", "text/plain")),
    ],
)
@pytest.mark.parametrize("wsi", [None, 1, "wsi", object()])
def test_what_is_no_handle(function: Any, arguments: Any, wsi: Any) -> None:
    with pytest.raises(TypeError, match="wsi must be a libwebsocket"):
        function(wsi, *arguments)


def test_wrong_thread(caplog: Any) -> None:
    app = App()
    with context_of(app) as context, Served(context) as client:
        client.open("/")
        thread = threading.Thread(target=lambda: app.results.append(_all(app.wsis[0])))
        thread.start()
        thread.join()
        assert app.results == [(-1, -1, None, -1)]
        told = [
            r.getMessage() for r in caplog.records if "thread that does not own" in r.getMessage()
        ]
        assert len(told) == 4
        assert libwebsocket_write(app.wsis[0], b"still", 5, LWS_WRITE_TEXT) == 0
        assert client.message() == b"still"


def test_forked_copy() -> None:
    app = App()
    with context_of(app) as context, Served(context) as client:
        client.open("/")
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                os.write(writer, repr(_all(app.wsis[0])).encode())
            finally:
                os._exit(0)
        os.close(writer)
        with os.fdopen(reader, "rb") as told:
            assert told.read() == b"(-1, -1, None, -1)"
        assert os.waitpid(pid, 0)[1] == 0
        assert libwebsocket_write(app.wsis[0], b"still", 5, LWS_WRITE_TEXT) == 0
        assert client.message() == b"still"


def _all(wsi: libwebsocket) -> tuple[Any, ...]:
    return (
        libwebsocket_write(wsi, b"x", 1, LWS_WRITE_TEXT),
        libwebsocket_close_reason(wsi, 1000),
        libwebsocket_get_uri(wsi),
        libwebsockets_serve_http_file(wsi, "/dev/null", "text/plain"),
    )


def test_http_bytes_on_a_websocket_and_the_reverse() -> None:
    app = App(
        RECEIVE=lambda wsi, *_: app.results.append(
            libwebsocket_write(wsi, b"x", 1, LWS_WRITE_HTTP)
        ),
        HTTP=lambda wsi, *_: app.results.append(libwebsocket_write(wsi, b"x", 1, LWS_WRITE_TEXT)),
    )
    with context_of(app) as context, Served(context) as client, Served(context) as plain:
        client.open("/").send(text("go") + frame(9, b"still"))
        assert client.frame().payload == b"still"
        assert plain.ask(get("/")).status == 404
        # and the handle of the request that has been answered
        assert libwebsocket_write(app.wsis[-1], b"x", 1, LWS_WRITE_HTTP) == -1
        assert libwebsocket_get_uri(app.wsis[-1]) is None
    assert app.results == [-1, -1]


def test_outside_of_the_callback_nothing_waits_for_a_round() -> None:
    app = App()
    buffer = libwebsocket_buffer(5)
    buffer[:] = b"hello"
    assert bytes(buffer[1:3]) == b"el" and len(buffer) == 5
    with context_of(app) as context, Served(context) as client:
        client.open("/")
        client.sock.settimeout(5)
        assert libwebsocket_write(app.wsis[0], buffer, 5, LWS_WRITE_TEXT) == 0
        assert client.sock.recv(100) == b"\x81\x05hello"
        assert libwebsocket_close_reason(app.wsis[0], 1000, bytearray(b"why")) == 0
        assert client.sock.recv(100) == b"\x88\x05\x03\xe8why"


def test_binary_on_hixie76_and_no_reason() -> None:
    app = App(
        RECEIVE=lambda wsi, *_: app.results.extend(
            [libwebsocket_write(wsi, b"x", 1, 1), libwebsocket_close_reason(wsi, 3000, b"r")]
        )
    )
    with context_of(app) as context, Served(context) as client:
        client.open("/", version=76).send(b"\x00go\xff")
        assert client.take(2) == b"\xff\x00"
        client.send(b"\xff\x00")
        assert client.rest() == b""
    assert app.results == [-1, 0]


def test_full_queue_takes_nothing_of_a_message(caplog: Any) -> None:
    size = 50_000

    def receive(wsi: Any, *_: Any) -> None:
        while len(app.results) < 1000 and (not app.results or app.results[-1] == 0):
            app.results.append(libwebsocket_write(wsi, b"y" * size, size, 1))

    app = App(RECEIVE=receive)
    with context_of(app, max_send_buffer=200_000) as context, Served(context) as client:
        client.open("/").send(text("go"))
        serve_until(context, lambda: app.results)
        assert app.results[-1] == -1
        assert len(app.results) > 1
        for _ in app.results[:-1]:
            assert client.message() == b"y" * size
        client.send(frame(9, b"still"))
        assert client.frame().payload == b"still"
    (record,) = [r for r in caplog.records if r.getMessage().startswith("send-overflow")]
    assert record.levelno == logging.WARNING


def test_a_part_of_the_message_is_written_back(caplog: Any) -> None:
    def receive(wsi: Any, user: Any, in_: Any, length: int) -> None:
        app.results.append(libwebsocket_write(wsi, in_, length - 2, LWS_WRITE_TEXT))
        app.results.append(libwebsocket_write(wsi, in_[4:], length - 4, LWS_WRITE_TEXT))
        for wrong in (length + 1, -1, 2**70):
            with pytest.raises(ValueError, match=str(wrong)):
                libwebsocket_write(wsi, in_, wrong, LWS_WRITE_TEXT)

    app = App(RECEIVE=receive)
    with context_of(app) as context, Served(context) as client:
        client.open("/")
        for size in (10, 1000, 300_000):
            body = (b"0123456789" * (size // 10))[:size]
            client.send(frame(TEXT, body))
            assert client.message() == body[:-2]
            assert client.message() == body[4:]
    assert app.results == [0] * 6
    assert not caplog.records


def test_http_callback_is_told_of_nothing() -> None:
    def http(wsi: Any, user: Any, in_: Any, length: int) -> None:
        app.results.append((bytes(user), in_, length, libwebsocket_get_uri(wsi)))
        user[0] = 7

    app = App(HTTP=http)
    with context_of(app, 3) as context, Served(context) as client:
        client.send(get("/one?x") + get("http://host/two"))
        assert client.response().status == 404
        assert client.response().status == 404
    # user memory is the request's own: nothing of one request shows in the next
    assert app.results == [(bytes(3), None, 0, "/one?x"), (bytes(3), None, 0, "/two")]
    assert app.events == ["HTTP", "HTTP"]
    assert LWS_CALLBACK_CLOSED.name not in app.events
    assert LWS_CALLBACK_HTTP == 4
