"""Messages to all, and the iterator over handles: libwebsockets/broadcast.py."""

from __future__ import annotations

from typing import Any

import pytest
from inprocess import Served, context_of, serve_until
from support.deflate import Peer
from support.raw import TEXT, get

from libwebsockets import (
    LWS_CALLBACK_CLOSED,
    LWS_CALLBACK_ESTABLISHED,
    LWS_SEND_BUFFER_PRE_PADDING,
    LWS_WRITE_BINARY,
    LWS_WRITE_CONTINUATION,
    LWS_WRITE_NO_FIN,
    LWS_WRITE_TEXT,
    libwebsocket_buffer,
    libwebsocket_close_reason,
    libwebsocket_context_destroy,
    libwebsocket_foreach,
    libwebsocket_get_queued,
    libwebsocket_write,
    libwebsockets_broadcast,
)


class App:
    def __init__(self) -> None:
        self.wsis: list[Any] = []
        self.closed = 0

    def __call__(self, wsi: Any, reason: Any, user: Any, in_: Any, length: int) -> int:
        if reason == LWS_CALLBACK_ESTABLISHED:
            self.wsis.append(wsi)
        self.closed += reason == LWS_CALLBACK_CLOSED
        return 0


def padded(data: bytes) -> memoryview:
    memory = bytearray(LWS_SEND_BUFFER_PRE_PADDING + len(data) + 1)
    memory[LWS_SEND_BUFFER_PRE_PADDING:-1] = data
    return memoryview(memory)[LWS_SEND_BUFFER_PRE_PADDING:]


def own(data: bytes) -> libwebsocket_buffer:
    buffer = libwebsocket_buffer(len(data))
    buffer[:] = data
    return buffer


@pytest.mark.parametrize("make", [bytes, padded, own, bytes.decode])
@pytest.mark.parametrize("size", [0, 1, 125, 126, 70_000])
def test_every_session_gets_it(make: Any, size: int) -> None:
    app = App()
    data = b"x" * size
    with context_of(app) as context:
        clients = [Served(context).open("/", version=version) for version in (13, 8, 7, 76)]
        compressed = Served(context)
        plain = Served(context)
        assert plain.ask(get("/")).status == 404
        compressed.open("/")
        serve_until(context, lambda: len(app.wsis) == 5)
        buffer = make(data)
        assert libwebsockets_broadcast(context, buffer, size, LWS_WRITE_TEXT) == 0
        assert libwebsockets_broadcast(app.wsis[0], buffer, size, LWS_WRITE_BINARY) == 1
        for client in [*clients[:3], compressed]:
            assert client.frame().payload == data
            assert client.frame().payload == data
        assert clients[3].frame76() == data
        assert libwebsocket_write(app.wsis[3], b"next", 4, LWS_WRITE_TEXT) == 0
        assert clients[3].frame76() == b"next"
        if not isinstance(buffer, str):
            assert bytes(buffer)[:size] == data
        for client in [*clients, compressed, plain]:
            client.close()


def test_it_keeps_its_place_among_other_messages() -> None:
    app = App()
    with context_of(app) as context, Served(context) as client:
        client.open("/")
        serve_until(context, lambda: app.wsis)
        for number in range(10):
            libwebsocket_write(app.wsis[0], b"%d" % number, 1, LWS_WRITE_TEXT)
            assert libwebsockets_broadcast(context, b"all %d" % number, 5, LWS_WRITE_TEXT) == 0
        got = [client.message() for _ in range(20)]
        assert got[::2] == [b"%d" % number for number in range(10)]
        assert got[1::2] == [b"all %d" % number for number in range(10)]


def test_peers_that_do_not_read_are_skipped_and_counted() -> None:
    app = App()
    block = bytes(1 << 20)
    with context_of(app, max_send_buffer=1 << 21) as context, Served(context) as reading:
        reading.open("/")
        deaf = [Served(context).open("/") for _ in range(3)]
        serve_until(context, lambda: len(app.wsis) == 4)
        skipped = []
        sent = 0
        while not skipped or skipped[-1] == 0:
            skipped.append(libwebsockets_broadcast(context, block, len(block), LWS_WRITE_BINARY))
            sent += 1
            assert reading.frame().payload == block
            assert sent < 50
        assert 1 <= skipped[-1] <= 3
        assert all(libwebsocket_get_queued(wsi) <= (1 << 21) + 10 for wsi in app.wsis)
        for client in deaf:
            assert client.frame().payload == block
            client.close()


def test_a_fragmented_message_of_ours_is_not_broken_into() -> None:
    app = App()
    with context_of(app) as context, Served(context) as client:
        client.open("/")
        serve_until(context, lambda: app.wsis)
        libwebsocket_write(app.wsis[0], b"a", 1, LWS_WRITE_TEXT | LWS_WRITE_NO_FIN)
        assert libwebsockets_broadcast(context, b"all", 3, LWS_WRITE_TEXT) == 1
        libwebsocket_write(app.wsis[0], b"b", 1, LWS_WRITE_CONTINUATION)
        assert libwebsockets_broadcast(context, b"all", 3, LWS_WRITE_TEXT) == 0
        assert [client.frame().payload for _ in range(3)] == [b"a", b"b", b"all"]


def test_compressed_sessions_get_it_plain() -> None:
    app = App()
    with context_of(app, deflate=True) as context, Served(context) as client:
        peer = Peer(client)
        serve_until(context, lambda: app.wsis)
        data = b"again and again " * 50
        for _ in range(3):
            libwebsocket_write(app.wsis[0], data, len(data), LWS_WRITE_TEXT)
            libwebsockets_broadcast(context, data, len(data), LWS_WRITE_TEXT)
            assert peer.receive(TEXT) == (data, True)
            assert peer.receive(TEXT) == (data, False)


def test_refusals(caplog: Any) -> None:
    app = App()
    with context_of(app) as context:
        assert libwebsockets_broadcast(context, b"", 0, LWS_WRITE_TEXT) == 0
        assert libwebsockets_broadcast(context, b"\xff", 1, LWS_WRITE_TEXT) == -1
        assert libwebsockets_broadcast(context, "\ud800", 1, LWS_WRITE_TEXT) == -1
        assert caplog.text.count("broadcast-refused") == 2
        for protocol in (2, 3, 5, 0x40, -1):
            with pytest.raises(ValueError, match=f"{protocol}$"):
                libwebsockets_broadcast(context, b"", 0, protocol)
        with pytest.raises(ValueError, match="lacks 12"):
            libwebsockets_broadcast(context, bytearray(5), 5, LWS_WRITE_TEXT)
        with pytest.raises(TypeError):
            libwebsockets_broadcast(None, b"", 0, LWS_WRITE_TEXT)  # type: ignore[arg-type]
    assert libwebsockets_broadcast(context, b"", 0, LWS_WRITE_TEXT) == -1


def test_foreach() -> None:
    app = App()
    with context_of(app) as context:
        assert list(libwebsocket_foreach(context)) == []
        clients = [Served(context).open("/") for _ in range(5)]
        plain = Served(context)
        assert plain.ask(get("/")).status == 404
        serve_until(context, lambda: len(app.wsis) == 5)
        assert set(libwebsocket_foreach(context)) == set(app.wsis)
        handles = libwebsocket_foreach(app.wsis[0])
        first = next(handles)
        for wsi in app.wsis:
            if wsi is not first:
                libwebsocket_close_reason(wsi, 1000)
        assert list(handles) == []
        for wsi in libwebsocket_foreach(context):
            assert libwebsocket_write(wsi, b"x", 1, LWS_WRITE_TEXT) == 0
        left = libwebsocket_foreach(context)
        for client in [*clients, plain]:
            client.close()
        serve_until(context, lambda: app.closed == 5)
        assert list(left) == []
    libwebsocket_context_destroy(context)
    assert list(libwebsocket_foreach(context)) == []
    with pytest.raises(TypeError):
        libwebsocket_foreach("context")  # type: ignore[arg-type]
