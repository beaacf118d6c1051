"""Back-pressure, keepalive and close codes: libwebsockets/flow.py and the core below it."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from inprocess import Served, context_of, serve_until
from support.raw import CLOSE, PING, PONG, TEXT, close_payload, frame, get, text

import libwebsockets as lws
from libwebsockets import (
    LWS_CALLBACK_CLOSED,
    LWS_CALLBACK_ESTABLISHED,
    LWS_CALLBACK_HTTP,
    LWS_CALLBACK_RECEIVE,
    LWS_CALLBACK_RECEIVE_PONG,
    LWS_CALLBACK_SERVER_WRITEABLE,
    LWS_WRITE_BINARY,
    LWS_WRITE_CONTINUATION,
    LWS_WRITE_NO_FIN,
    LWS_WRITE_PING,
    LWS_WRITE_PONG,
    LWS_WRITE_TEXT,
    libwebsocket_callback_on_writable,
    libwebsocket_close_reason,
    libwebsocket_get_close_code,
    libwebsocket_get_latency,
    libwebsocket_get_queued,
    libwebsocket_rx_flow_control,
    libwebsocket_write,
)

pytestmark = pytest.mark.usefixtures("info_logged")


class App:
    """Notes every event of a connection; its attributes are set by the tests."""

    def __init__(self) -> None:
        self.seen: list[tuple[Any, bytes]] = []
        self.wsi: Any = None
        self.then: Any = None

    def __call__(self, wsi: Any, reason: Any, user: Any, in_: Any, length: int) -> Any:
        if reason == LWS_CALLBACK_ESTABLISHED:
            self.wsi = wsi
        if not reason.name.startswith("LWS_CALLBACK_PROTOCOL_"):
            self.seen.append((reason, bytes(in_ or b"")))
        return self.then(wsi, reason, in_, length) if self.then else 0

    def count(self, reason: Any) -> int:
        return sum(one == reason for one, _ in self.seen)


def test_writable_comes_once_and_later() -> None:
    app = App()
    with context_of(app) as context, Served(context) as client:
        client.open("/")
        serve_until(context, lambda: app.wsi)
        assert libwebsocket_callback_on_writable(app.wsi) == 0
        assert libwebsocket_callback_on_writable(app.wsi) == 0
        assert app.count(LWS_CALLBACK_SERVER_WRITEABLE) == 0
        serve_until(context, lambda: app.count(LWS_CALLBACK_SERVER_WRITEABLE))
        client.send(text("x"))
        serve_until(context, lambda: app.count(LWS_CALLBACK_RECEIVE))
        assert app.count(LWS_CALLBACK_SERVER_WRITEABLE) == 1


def test_writable_waits_for_a_peer_that_does_not_read() -> None:
    app = App()
    with context_of(app, max_send_buffer=1 << 26) as context, Served(context) as client:
        client.open("/")
        serve_until(context, lambda: app.wsi)
        block = bytes(1 << 24)
        assert libwebsocket_write(app.wsi, block, len(block), LWS_WRITE_BINARY) == 0
        waiting = libwebsocket_get_queued(app.wsi)
        assert 0 < waiting < len(block) + 10
        assert libwebsocket_callback_on_writable(app.wsi) == 0
        client.send(text("not read while blocked"))
        for _ in range(20):
            lws.libwebsocket_service(context, 1)
        assert app.seen[-1][0] == LWS_CALLBACK_ESTABLISHED
        assert client.frame().payload == block
        serve_until(context, lambda: app.count(LWS_CALLBACK_RECEIVE))
        assert app.count(LWS_CALLBACK_SERVER_WRITEABLE) == 1
        assert libwebsocket_get_queued(app.wsi) == 0


def test_writing_in_parts_keeps_the_queue_short() -> None:
    app = App()
    part = bytes(100_000)
    left = [40]
    longest = [0]

    def then(wsi: Any, reason: Any, in_: Any, length: int) -> None:
        if reason in (LWS_CALLBACK_ESTABLISHED, LWS_CALLBACK_SERVER_WRITEABLE) and left[0]:
            left[0] -= 1
            assert libwebsocket_write(wsi, part, len(part), LWS_WRITE_BINARY) == 0
            longest[0] = max(longest[0], libwebsocket_get_queued(wsi))
            libwebsocket_callback_on_writable(wsi)

    app.then = then
    with context_of(app) as context, Served(context) as client:
        client.open("/")
        for _ in range(40):
            assert client.frame().payload == part
        assert longest[0] <= len(part) + 10


def test_flow_control() -> None:
    app = App()
    with context_of(app) as context, Served(context) as client:
        client.open("/")
        serve_until(context, lambda: app.wsi)
        assert libwebsocket_rx_flow_control(app.wsi, 0) == 0
        for number in range(300):
            client.send(text(f"{number}"))
        for _ in range(20):
            lws.libwebsocket_service(context, 1)
        assert app.count(LWS_CALLBACK_RECEIVE) == 0
        assert libwebsocket_write(app.wsi, b"out all the same", 16, LWS_WRITE_TEXT) == 0
        assert client.message() == b"out all the same"
        assert libwebsocket_rx_flow_control(app.wsi, 1) == 0
        serve_until(context, lambda: app.count(LWS_CALLBACK_RECEIVE) == 300)
        told = [data for reason, data in app.seen if reason == LWS_CALLBACK_RECEIVE]
        assert told == [b"%d" % number for number in range(300)]


def test_flow_control_from_the_callback_of_a_message() -> None:
    app = App()

    def then(wsi: Any, reason: Any, in_: Any, length: int) -> None:
        if reason == LWS_CALLBACK_RECEIVE and bytes(in_) == b"stop":
            libwebsocket_rx_flow_control(wsi, 0)

    app.then = then
    with context_of(app) as context, Served(context) as client:
        client.open("/")
        client.send(text("stop"))
        serve_until(context, lambda: app.count(LWS_CALLBACK_RECEIVE))
        client.send(text("x") * 10_000)
        for _ in range(20):
            lws.libwebsocket_service(context, 1)
        assert app.count(LWS_CALLBACK_RECEIVE) == 1
        libwebsocket_rx_flow_control(app.wsi, True)
        serve_until(context, lambda: app.count(LWS_CALLBACK_RECEIVE) == 10_001)


def test_flow_control_does_not_hide_a_dead_peer_nor_a_close_of_ours() -> None:
    app = App()
    with context_of(app) as context:
        with Served(context) as client:
            client.open("/")
            serve_until(context, lambda: app.wsi)
            libwebsocket_rx_flow_control(app.wsi, 0)
            client.reset()
            serve_until(context, lambda: app.count(LWS_CALLBACK_CLOSED))
        with Served(context) as client:
            app.wsi = None
            client.open("/")
            serve_until(context, lambda: app.wsi)
            libwebsocket_rx_flow_control(app.wsi, 0)
            assert libwebsocket_close_reason(app.wsi, 1000) == 0
            client.closing(1000)
            client.send(frame(CLOSE, close_payload(1000)))
            serve_until(context, lambda: app.count(LWS_CALLBACK_CLOSED) == 2)


def test_pings_measure_the_round_trip() -> None:
    app = App()
    with context_of(app, ping_interval=0.02, pong_timeout=5) as context:
        with Served(context) as client:
            client.open("/")
            serve_until(context, lambda: app.wsi)
            assert libwebsocket_get_latency(app.wsi) == -1
            for _ in range(3):
                ping = client.frame()
                assert ping.opcode == PING
                client.send(frame(PONG, ping.payload))
            serve_until(context, lambda: app.count(LWS_CALLBACK_RECEIVE_PONG) == 3)
            assert 0 <= libwebsocket_get_latency(app.wsi) < 5_000_000
            assert app.seen[-1] == (LWS_CALLBACK_RECEIVE_PONG, ping.payload)


def test_a_flow_controlled_peer_is_not_taken_for_dead() -> None:
    app = App()
    with context_of(app, ping_interval=0.02, pong_timeout=0.02) as context:
        with Served(context) as client:
            client.open("/")
            serve_until(context, lambda: app.wsi)
            libwebsocket_rx_flow_control(app.wsi, 0)
            for _ in range(40):
                lws.libwebsocket_service(context, 5)
            assert app.count(LWS_CALLBACK_CLOSED) == 0


def test_enable_is_a_number() -> None:
    app = App()
    with context_of(app) as context, Served(context) as client:
        client.open("/")
        with pytest.raises(TypeError, match="enable must be an int, not str"):
            libwebsocket_rx_flow_control(app.wsi, "no")  # type: ignore[arg-type]


def test_our_own_pings_and_pongs() -> None:
    app = App()
    with context_of(app) as context, Served(context) as client:
        client.open("/")
        serve_until(context, lambda: app.wsi)
        for protocol, opcode in ((LWS_WRITE_PING, PING), (LWS_WRITE_PONG, PONG)):
            for payload in (b"", b"x" * 125):
                assert libwebsocket_write(app.wsi, payload, len(payload), protocol) == 0
                got = client.frame()
                assert (got.opcode, got.payload, got.fin) == (opcode, payload, True)
            assert libwebsocket_write(app.wsi, b"x" * 126, 126, protocol) == -1
        client.send(frame(PONG, b"of the peer's own"))
        serve_until(context, lambda: app.count(LWS_CALLBACK_RECEIVE_PONG))
        assert app.seen[-1][1] == b"of the peer's own"


def test_fragments_out() -> None:
    app = App()
    euro = "€".encode()
    with context_of(app) as context, Served(context) as client:
        client.open("/")
        serve_until(context, lambda: app.wsi)

        def write(data: bytes, protocol: int) -> int:
            return libwebsocket_write(app.wsi, data, len(data), protocol)

        assert write(b"", LWS_WRITE_CONTINUATION) == -1
        assert write(euro[:1], LWS_WRITE_TEXT | LWS_WRITE_NO_FIN) == 0
        assert write(b"new", LWS_WRITE_TEXT) == -1
        assert write(b"ping", LWS_WRITE_PING) == 0
        assert write(euro[1:2], LWS_WRITE_CONTINUATION | LWS_WRITE_NO_FIN) == 0
        assert write(b"x", LWS_WRITE_CONTINUATION) == -1  # no UTF-8: the message is still open
        assert write(euro[2:], LWS_WRITE_CONTINUATION) == 0
        assert write(b"whole", LWS_WRITE_BINARY) == 0
        got = [client.frame() for _ in range(5)]
        assert [(one.opcode, one.payload, one.fin) for one in got] == [
            (TEXT, euro[:1], False),
            (PING, b"ping", True),
            (0, euro[1:2], False),
            (0, euro[2:], True),
            (2, b"whole", True),
        ]


def test_hixie76_has_none_of_it() -> None:
    app = App()
    with context_of(app) as context, Served(context) as client:
        client.open("/", version=76)
        serve_until(context, lambda: app.wsi)
        for protocol in (LWS_WRITE_PING, LWS_WRITE_PONG, LWS_WRITE_NO_FIN, LWS_WRITE_CONTINUATION):
            assert libwebsocket_write(app.wsi, b"x", 1, protocol) == -1
        assert libwebsocket_get_latency(app.wsi) == -1
        assert libwebsocket_callback_on_writable(app.wsi) == 0
        serve_until(context, lambda: app.count(LWS_CALLBACK_SERVER_WRITEABLE))


@pytest.mark.parametrize(
    ("bytes_", "version", "code", "reason"),
    [
        (frame(CLOSE, close_payload(3001, b"bye")), 13, 3001, b"bye"),
        (frame(CLOSE), 13, 1005, b""),
        (None, 13, 1006, b""),
        (b"\xff\x00", 76, 1005, b""),
        (frame(3), 13, 1006, b""),
    ],
)
def test_close_codes(bytes_: bytes | None, version: int, code: int, reason: bytes) -> None:
    app = App()
    codes: list[int] = []

    def then(wsi: Any, reason: Any, in_: Any, length: int) -> None:
        if reason == LWS_CALLBACK_CLOSED:
            codes.append(libwebsocket_get_close_code(wsi))

    app.then = then
    with context_of(app) as context, Served(context) as client:
        client.open("/", version=version)
        serve_until(context, lambda: app.wsi)
        assert libwebsocket_get_close_code(app.wsi) == -1
        if bytes_ is None:
            client.close()
        else:
            client.send(bytes_)
        serve_until(context, lambda: codes)
        assert codes == [code]
        assert app.seen[-1] == (LWS_CALLBACK_CLOSED, reason)
        assert libwebsocket_get_close_code(app.wsi) == code


CALLS: list[Any] = [
    libwebsocket_callback_on_writable,
    lambda wsi: libwebsocket_rx_flow_control(wsi, 0),
    libwebsocket_get_queued,
    libwebsocket_get_latency,
]


@pytest.mark.parametrize("call", CALLS)
def test_refusals(call: Any, caplog: Any) -> None:
    app = App()
    refused: list[Any] = []

    def then(wsi: Any, reason: Any, in_: Any, length: int) -> int:
        if reason == LWS_CALLBACK_HTTP:
            refused.append(call(wsi))
        return 0

    app.then = then
    with context_of(app) as context:
        with Served(context) as client:
            client.open("/")
            thread = threading.Thread(target=lambda: refused.append(call(app.wsi)))
            thread.start()
            thread.join()
            assert refused.pop() == -1
            assert "thread that does not own" in caplog.text
        serve_until(context, lambda: app.count(LWS_CALLBACK_CLOSED))
        caplog.clear()
        assert call(app.wsi) == -1
        assert "closed" in caplog.text
        with Served(context) as client:
            assert client.ask(get("/")).status == 404
            assert refused[0] in (-1, 0)
    with pytest.raises(TypeError):
        call("wsi")
