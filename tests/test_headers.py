"""What the callback can ask of a request: header fields, method, address; and what that costs."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from inprocess import Served, context_of, serve_until
from support.raw import get, text, upgrade, upgrade76, wait_until
from support.server import resident

import libwebsockets as lws

SUPPORT = Path(__file__).parent / "support" / "asking.py"
ASKING, SILENT = f"{SUPPORT}:asking", f"{SUPPORT}:silent"

OWN = [("x-twice", "a, b"), ("Bytes", b"caf\xe9 \xff"), ("X-Twice", "c"), ("Empty", "")]
SHOWN = [["x-twice", "a, b"], ["Bytes", "caf\xe9 \xff"], ["X-Twice", "c"], ["Empty", ""]]


def test_on_requests_and_sessions(serve: Any) -> None:
    server = serve(ASKING, send_interval=0)
    client = server.connect()
    for method in ("GET", "HEAD"):
        mark = server.mark()
        client.ask(get("/x", *OWN, method=method))
        told = server.wait_event("LWS_CALLBACK_HTTP", 5, mark)
        assert told["fields"] == [["Host", "localhost"], *SHOWN]
        assert told["twice"] == "a, b, c" and told["missing"] is None
        assert told["method"] == method
        assert told["address"] == list(client.sock.getsockname())
        assert server.wait_event("AFTER", 5, mark)["same"]
    for request in (upgrade("/ws", *OWN), upgrade76("/ws", *OWN)):
        mark = server.mark()
        client = server.connect().send(request)
        assert client.response().status == 101
        name = list(client.sock.getsockname())
        client.reset()
        for reason in ("FILTER_PROTOCOL_CONNECTION", "ESTABLISHED", "CLOSED"):
            told = server.wait_event(f"LWS_CALLBACK_{reason}", 5, mark)
            assert told["fields"][-4:] == SHOWN and told["method"] == "GET", reason
            assert told["twice"] == "a, b, c" and told["address"] == name, reason
        server.connect().ask(get("/"))
        told = server.wait_event("INERT", 5, mark)
        assert {told[key] for key in ("twice", "missing", "method", "address")} == {None}
        assert told["fields"] is None


def test_fields_of_one_request_do_not_show_in_the_next(serve: Any) -> None:
    server = serve(ASKING)
    client = server.connect().send(get("/a", ("X-Twice", "1")) + get("/b"))
    assert client.response().status == client.response().status == 200
    wait_until(lambda: len(server.found("LWS_CALLBACK_HTTP")) == 2)
    both = server.found("LWS_CALLBACK_HTTP")
    assert [told["twice"] for told in both] == ["1", None]


def test_keep_headers_off(serve: Any) -> None:
    server = serve(ASKING, keep_headers=False)
    client = server.connect().send(upgrade("/ws", *OWN))
    assert client.response().status == 101
    assert server.wait_event("LWS_CALLBACK_FILTER_PROTOCOL_CONNECTION")["twice"] == "a, b, c"
    told = server.wait_event("LWS_CALLBACK_ESTABLISHED")
    assert told["fields"] is None and told["twice"] is None and told["method"] == "GET"
    assert server.wait_logged("header-refused")


def test_keep_headers_is_a_bool() -> None:
    with pytest.raises(TypeError, match="keep_headers"):
        lws.libwebsocket_create_context(0, print, 76, 0, None, None, -1, -1, keep_headers=1)  # type: ignore[arg-type]


def test_wrong_types_and_other_threads() -> None:
    for function in (
        lws.libwebsocket_get_headers,
        lws.libwebsocket_get_method,
        lws.libwebsocket_get_peer_address,
    ):
        with pytest.raises(TypeError, match="wsi"):
            function(None)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="wsi"):
        lws.libwebsocket_get_header(None, "x")  # type: ignore[arg-type]


def test_of_another_thread_and_in_a_forked_copy(caplog: Any) -> None:
    seen: list[Any] = []

    def callback(wsi: Any, reason: int, user: Any, in_: Any, length: int) -> None:
        if reason == lws.LWS_CALLBACK_ESTABLISHED:
            seen.append(wsi)

    def ask() -> list[Any]:
        (wsi,) = seen
        return [
            lws.libwebsocket_get_header(wsi, "Host"),
            lws.libwebsocket_get_headers(wsi),
            lws.libwebsocket_get_method(wsi),
            lws.libwebsocket_get_peer_address(wsi),
        ]

    with context_of(callback) as context, Served(context) as client:
        client.open("/")
        with pytest.raises(TypeError, match="name must be a str or bytes, not int"):
            lws.libwebsocket_get_header(seen[0], 3)  # type: ignore[arg-type]
        told: list[Any] = []
        thread = threading.Thread(target=lambda: told.append(ask()))
        thread.start()
        thread.join()
        assert told == [[None] * 4]
        words = [record.getMessage().split()[0] for record in caplog.records]
        assert words == ["header-refused"] * 2 + ["method-refused", "peer-refused"]
        assert caplog.text.count("a thread that does not own") == 4
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.write(writer, repr(ask()).encode())
            os._exit(0)
        os.close(writer)
        with os.fdopen(reader, "rb") as stream:
            assert stream.read() == repr([None] * 4).encode()
        os.waitpid(pid, 0)
        address = list(client.sock.getsockname())
        assert ask()[0] == b"localhost" and list(ask()[3]) == address


def test_a_header_that_is_asked_for_while_another_is_looked_for() -> None:
    """As the handler of a signal may: sessions share the memory that their fields are unpacked in.

    A profiler stands for the signal, as it comes where it is wanted.
    """
    sessions: list[Any] = []
    told: list[Any] = []

    def interrupt(_frame: Any, event: str, function: Any) -> None:
        if event == "c_call" and function.__name__ in ("lws_head_field", "lws_head_next"):
            sys.setprofile(None)
            told.append(lws.libwebsocket_get_header(sessions[1], "X-Long"))

    def callback(wsi: Any, reason: int, _user: Any, _in: Any, _length: int) -> int:
        if reason == lws.LWS_CALLBACK_ESTABLISHED:
            sessions.append(wsi)
        elif reason == lws.LWS_CALLBACK_RECEIVE:
            for ask in (
                lambda: lws.libwebsocket_get_header(wsi, "X-Own"),
                lambda: lws.libwebsocket_get_headers(wsi),
            ):
                sys.setprofile(interrupt)
                try:
                    told.append(ask())
                finally:
                    sys.setprofile(None)
        return 0

    before = sys.getprofile()
    with context_of(callback) as context:
        first, second = Served(context), Served(context)
        for client, field in ((first, ("X-Own", "own")), (second, ("X-Long", "l" * 4000))):
            assert client.send(upgrade("/ws", field)).response().status == 101
        first.send(text("?"))
        try:
            serve_until(context, lambda: len(told) >= 4)
        finally:
            sys.setprofile(before)
    own = [(b"Host", b"localhost"), (b"X-Own", b"own")]
    assert told[:3] == [b"l" * 4000, b"own", b"l" * 4000]
    assert [pair for pair in told[3] if pair[0] in (b"Host", b"X-Own")] == own


def test_what_a_session_keeps(serve: Any) -> None:
    """The memory of many sessions, with the fields and without: what the docstring says."""
    grown = {}
    block = [("Cookie", "c" * 4000)]
    for keep in (True, False):
        server = serve(SILENT, keep_headers=keep, send_interval=0)
        warm = [server.connect().send(upgrade("/ws", *block)) for _ in range(20)]
        for client in warm:
            client.response()
        before = resident(server.pid)
        clients = [server.connect().send(upgrade("/ws", *block)) for _ in range(200)]
        for client in clients:
            assert client.response().status == 101
        grown[keep] = (resident(server.pid) - before) / 200
    assert grown[True] - grown[False] < 5500, grown
    assert grown[True] > grown[False] + 2000, grown
