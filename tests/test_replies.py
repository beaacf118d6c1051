"""Requests before the callback, and the replies that it gives: request.py, answer.py, reply.py."""

from __future__ import annotations

import ctypes
import select
from pathlib import Path
from typing import Any

import pytest
from inprocess import Served, context_of
from support.raw import get, upgrade

from libwebsockets import (
    LWS_CALLBACK_ESTABLISHED,
    LWS_CALLBACK_FILTER_PROTOCOL_CONNECTION,
    LWS_CALLBACK_HTTP,
    LWS_WRITE_HTTP,
    libwebsocket_close_reason,
    libwebsocket_service,
    libwebsocket_write,
    libwebsockets_return_http_status,
    libwebsockets_serve_http_file,
    libwebsockets_serve_http_root,
    libwebsockets_write_http_head,
)

pytestmark = pytest.mark.usefixtures("info_logged")


class App:
    """Answers each request by `answer`; results are what that returned or raised."""

    def __init__(self, answer: Any, reason: Any = LWS_CALLBACK_HTTP, outcome: int = 0) -> None:
        self.answer = answer
        self.reason = reason
        self.outcome = outcome
        self.results: list[Any] = []
        self.reasons: list[Any] = []

    def __call__(self, wsi: Any, reason: Any, user: Any, in_: Any, length: int) -> int:
        self.reasons.append(reason)
        if reason != self.reason:
            return 0
        try:
            self.results.append(self.answer(wsi))
        except (TypeError, ValueError) as error:
            self.results.append(error)
        return self.outcome


# ---- Requests ----


def test_default_ports_of_origins_are_left_out() -> None:
    options = {"origins": ["http://a:80", "https://b:443", "http://c:8080"]}
    with context_of(App(None, None), **options) as context:
        for origin, status in (
            ("http://a", 101), ("http://a:80", 101), ("https://b", 101), ("http://c:8080", 101),
            ("http://c", 403), ("http://a:443", 403), ("http://a:65536", 403),
        ):  # fmt: skip
            with Served(context) as client:
                client.send(upgrade("/", ("Origin", origin)))
                assert client.response().status == status, origin


@pytest.mark.parametrize(
    "origin",
    ["https://*", "https://*.", "https://a.*.org", "https://*a.example.org", "https://a*.example.org",
     "https://*.*.org", "*", "*.example.org", "file://:80", "http://", "wss://", "://a"],
)  # fmt: skip
def test_origins_that_cannot_match(origin: str) -> None:
    with pytest.raises(ValueError, match="origins"):
        context_of(App(None, None), origins=[origin]).__enter__()


@pytest.mark.parametrize("host", ["*", "*.", "a.*.org", "*a.example.org", "*.*.org", ""])
def test_hosts_that_cannot_match(host: str) -> None:
    with pytest.raises(ValueError, match="hosts"):
        context_of(App(None, None), hosts=[host]).__enter__()


def test_host_of_an_absolute_target() -> None:
    """RFC 9112, section 3.2.2: it goes before the Host field."""
    app = App(lambda wsi: libwebsockets_return_http_status(wsi, 200))
    with context_of(app, hosts=["good"]) as context:
        for target, host, status in (
            ("http://good/x", "evil", 200), ("http://evil/x", "good", 421), ("/x", "good", 200),
            ("http://good/?x", "evil", 200), ("/http://evil/", "good", 200),
            ("ws://good?://evil/", "evil", 200), ("WSS://evil?//good/", "good", 421),
            ("/?http://evil/", "good", 200),
        ):  # fmt: skip
            with Served(context) as client:
                head = f"GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n"
                assert client.ask(head.encode()).status == status, (target, host)


def test_a_request_whose_sender_is_closed_in_the_same_round(caplog: Any) -> None:
    """By the callback of another request: nobody is asked about it any more."""
    seen: list[Any] = []

    def answer(wsi: Any) -> int:
        seen.append(wsi)
        if len(seen) == 1:
            return libwebsockets_return_http_status(wsi, 200)
        return libwebsocket_close_reason(seen[0])

    app = App(answer)
    with context_of(app) as context, Served(context) as closer, Served(context) as closed:
        assert closed.ask(get("/")).status == 200
        while select.select([context.fileno()], [], [], 0)[0]:
            libwebsocket_service(context, 0)  # none is ready: they come as they are sent
        closer.send(get("/"))
        closed.send(get("/late"))
        while len(seen) < 2:
            assert libwebsocket_service(context, 5000) == 0
        assert closed.rest() == b""
    assert len(seen) == 2 and app.results == [0, 0]


# ---- Replies ----


WRONG: list[tuple[Any, type[Exception], str]] = [
    (lambda wsi: libwebsockets_return_http_status(wsi, 200, 7), TypeError, "not int"),
    (lambda wsi: libwebsockets_return_http_status(wsi, 200, content_type=7), TypeError, "not int"),
    (lambda wsi: libwebsockets_return_http_status(wsi, 200, content_type=" "), ValueError, "0"),
    (lambda wsi: libwebsockets_return_http_status(wsi, 200, content_type="\t"), ValueError, "9 at"),
    (lambda wsi: libwebsockets_return_http_status(wsi, 200, headers={"X": 1}), TypeError, "int"),
    (lambda wsi: libwebsockets_return_http_status(wsi, 200, headers=[(b"X", "")]),
     TypeError, "bytes"),
    (lambda wsi: libwebsockets_return_http_status(wsi, 200, headers={"Content-Type": "x"}),
     ValueError, "written by the server"),
    (lambda wsi: libwebsockets_write_http_head(wsi, 200, [("X", "x" * 4096)] * 2),
     ValueError, "8202 bytes"),
    (lambda wsi: libwebsockets_write_http_head(wsi, 200, {"X" * 129: ""}), ValueError, "129"),
    (lambda wsi: libwebsockets_write_http_head(wsi, 200, {"X": "x" * 4097}), ValueError, "4097"),
    (lambda wsi: libwebsockets_write_http_head(wsi, 200, {"X": "caf\xe9"}), ValueError, "233 at 3"),
    (lambda wsi: libwebsockets_write_http_head(wsi, 200, content_length=-1), ValueError, "-1"),
    (lambda wsi: libwebsockets_write_http_head(wsi, 200, content_length=2**63), ValueError, "80"),
    (lambda wsi: libwebsockets_write_http_head(wsi, 204, content_length=5), ValueError, "not 5"),
    (lambda wsi: libwebsockets_serve_http_root(wsi, "/a\0"), ValueError, "NUL at 2"),
]  # fmt: skip


@pytest.mark.parametrize(("answer", "error", "told"), WRONG)
def test_what_no_reply_can_hold(answer: Any, error: type[Exception], told: str) -> None:
    """Nothing is sent, so that the callback may answer otherwise: here it does not."""
    app = App(answer)
    with context_of(app) as context, Served(context) as client:
        assert client.ask(get("/")).status == 404
    (raised,) = app.results
    assert type(raised) is error and told in str(raised)


def test_a_tab_and_an_empty_body() -> None:
    fields = {"X-Tab": "a\tb"}
    app = App(lambda wsi: libwebsockets_return_http_status(wsi, 200, b"", headers=fields))
    with context_of(app) as context, Served(context) as client:
        reply = client.ask(get("/"))
        assert reply.one("X-Tab") == b"a\tb" and reply.body == b""
        assert reply.one("Content-Length") == b"0"


ANSWERS = [
    lambda wsi: libwebsockets_return_http_status(wsi, 200, "body"),
    lambda wsi: libwebsockets_write_http_head(wsi, 200, content_length=0),
    lambda wsi: libwebsockets_serve_http_file(wsi, __file__, "text/plain"),
    lambda wsi: libwebsockets_serve_http_root(wsi, Path(__file__).parent),
]
RAW = [lambda wsi: libwebsocket_write(wsi, b"HTTP/1.1 200 OK\r\n" * 9, 153, LWS_WRITE_HTTP)]


@pytest.mark.parametrize("answer", ANSWERS + RAW)
def test_a_reply_over_max_send_buffer(answer: Any, caplog: Any) -> None:
    """It could not be given, which is not the same as that there is nothing: 500."""
    app = App(answer)
    with context_of(app, max_send_buffer=64) as context, Served(context) as client:
        # The path is a folder's: the root redirects to it.
        assert client.ask(get("/support")).status == 500
    assert app.results == [-1]
    assert "max_send_buffer would be exceeded" in caplog.text


@pytest.mark.parametrize("answer", ANSWERS)
def test_a_second_reply_is_refused(answer: Any, caplog: Any) -> None:
    def twice(wsi: Any) -> tuple[int, int]:
        return libwebsockets_return_http_status(wsi, 200, "first"), answer(wsi)

    app = App(twice)
    with context_of(app) as context, Served(context) as client:
        assert client.ask(get("/")).body == b"first"
        assert client.ask(get("/")).body == b"first"
    assert app.results == [(0, -1)] * 2
    assert "no request to answer" in caplog.text


@pytest.mark.parametrize(
    "answer", [*ANSWERS, lambda wsi: libwebsockets_serve_http_file(wsi, "/x", None)]
)
def test_a_reply_after_the_close(answer: Any) -> None:
    app = App(lambda wsi: (libwebsocket_close_reason(wsi), answer(wsi)))
    with context_of(app) as context, Served(context) as client:
        client.send(get("/"))
        assert client.rest() == b""
    assert app.results == [(0, -1)]


@pytest.mark.parametrize("answer", ANSWERS[:2])
def test_replies_on_a_session_are_refused(answer: Any, caplog: Any) -> None:
    app = App(answer, LWS_CALLBACK_ESTABLISHED)
    with context_of(app) as context, Served(context) as client:
        client.open("/")
    assert app.results == [-1]
    assert "not now" in caplog.text


@pytest.mark.parametrize("code", [204, 304])
def test_heads_of_replies_without_a_body(code: int) -> None:
    def answer(wsi: Any) -> tuple[int, int]:
        begun = libwebsockets_write_http_head(wsi, code, content_length=0)
        return begun, libwebsocket_write(wsi, b"dropped", 7, LWS_WRITE_HTTP)

    app = App(answer)
    with context_of(app) as context, Served(context) as client:
        for _ in range(2):
            reply = client.ask(get("/"))
            assert reply.status == code and reply.one("Content-Length") is None
        assert not client.buffer
    assert app.results == [(0, 0)] * 2


@pytest.mark.parametrize("outcome", [0, 1])
def test_an_error_reply_and_what_the_callback_returns(outcome: int) -> None:
    """The 404 of a file leaves the connection, unless the callback wants it closed."""
    app = App(
        lambda wsi: libwebsockets_serve_http_file(wsi, "/none", "text/plain"), outcome=outcome
    )
    with context_of(app) as context, Served(context) as client:
        assert client.ask(get("/")).status == 404
        if outcome:
            assert client.rest() == b""
        else:
            assert client.ask(get("/")).status == 404
    assert app.results == [-1] * (2 - outcome)


@pytest.mark.parametrize("outcome", [0, 1])
def test_an_upgrade_that_the_callback_answers(outcome: int) -> None:
    """A reply of its own in place of the 101, whatever it returns; the connection ends with it."""
    app = App(
        lambda wsi: libwebsockets_return_http_status(wsi, 401, "who are you?"),
        LWS_CALLBACK_FILTER_PROTOCOL_CONNECTION,
        outcome,
    )
    with context_of(app) as context, Served(context) as client:
        reply = client.send(upgrade("/")).response()
        assert reply.status == 401 and reply.body == b"who are you?"
        assert client.rest() == b""
    assert LWS_CALLBACK_ESTABLISHED not in app.reasons


def test_bytes_of_a_reply_from_any_memory() -> None:
    """LWS_WRITE_HTTP needs no padding."""
    reply = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    kinds = [
        memoryview(bytearray(reply)),
        ctypes.cast(ctypes.c_char_p(reply), ctypes.POINTER(ctypes.c_ubyte)),
        ctypes.byref((ctypes.c_ubyte * len(reply)).from_buffer_copy(reply)),
    ]
    app = App(lambda wsi: libwebsocket_write(wsi, kinds.pop(), len(reply), LWS_WRITE_HTTP))
    with context_of(app) as context, Served(context) as client:
        for _ in range(3):
            assert client.ask(get("/")).body == b"ok"
    assert app.results == [0, 0, 0]
