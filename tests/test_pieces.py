"""Messages in pieces, and what is known of a message: libwebsockets/pieces.py."""

from __future__ import annotations

import itertools
import random
import select
import sys
import zlib
from types import SimpleNamespace
from typing import Any

import pytest
from inprocess import Served, context_of, serve_until
from support.deflate import Peer
from support.raw import BINARY, CONTINUATION, PING, TEXT, frame, text, text76

from libwebsockets import (
    LWS_CALLBACK_CLOSED,
    LWS_CALLBACK_ESTABLISHED,
    LWS_CALLBACK_RECEIVE,
    LWS_WRITE_BINARY,
    LWS_WRITE_TEXT,
    libwebsocket_frame_is_binary,
    libwebsocket_is_final_fragment,
    libwebsocket_is_first_fragment,
    libwebsocket_service,
    libwebsocket_set_timer,
    libwebsocket_write,
)

pytestmark = pytest.mark.usefixtures("info_logged")


Piece = tuple[int, int, int, bytes]
QUESTIONS = (
    libwebsocket_frame_is_binary,
    libwebsocket_is_first_fragment,
    libwebsocket_is_final_fragment,
)


class App:
    def __init__(self) -> None:
        self.pieces: list[Piece] = []
        self.closed: list[bytes] = []
        self.wsi: Any = None
        self.other: list[Any] = []

    def __call__(self, wsi: Any, reason: Any, user: Any, in_: Any, length: int) -> int:
        if reason == LWS_CALLBACK_RECEIVE:
            binary, first, final = (ask(wsi) for ask in QUESTIONS)
            self.pieces.append((binary, first, final, bytes(in_)))
            assert length == len(in_)
        elif reason == LWS_CALLBACK_ESTABLISHED:
            self.wsi = wsi
        elif reason == LWS_CALLBACK_CLOSED:
            self.closed.append(bytes(in_ or b""))
        if reason != LWS_CALLBACK_RECEIVE:
            self.other += [ask(wsi) for ask in QUESTIONS]
        return 0

    def messages(self) -> list[tuple[int, bytes]]:
        """The pieces put together; fails if their flags do not fit."""
        out: list[tuple[int, bytes]] = []
        open_ = False
        for binary, first, final, data in self.pieces:
            assert bool(first) == (not open_)
            if first:
                out.append((binary, data))
            else:
                assert out[-1][0] == binary
                out[-1] = binary, out[-1][1] + data
            open_ = not final
        return out


def fragments(data: bytes, opcode: int, cuts: list[int]) -> bytes:
    edges = [0, *cuts, len(data)]
    parts = [data[a:b] for a, b in itertools.pairwise(edges)]
    return b"".join(
        frame(CONTINUATION if n else opcode, part, fin=n == len(parts) - 1) + frame(PING, b"p")
        for n, part in enumerate(parts)
    )


def test_whole_messages() -> None:
    app = App()
    with context_of(app) as context, Served(context) as client:
        client.open("/")
        data = "häh".encode() * 100
        client.send(text("a") + frame(BINARY, b"b") + fragments(data, TEXT, [3, 4]) + text(""))
        client.send(frame(BINARY, bytes(200_000)))
        serve_until(context, lambda: len(app.pieces) == 5)
        assert app.pieces == [
            (0, 1, 1, b"a"),
            (1, 1, 1, b"b"),
            (0, 1, 1, data),
            (0, 1, 1, b""),
            (1, 1, 1, bytes(200_000)),
        ]


def test_each_frame_is_a_piece() -> None:
    app = App()
    with context_of(app, rx_fragments=True) as context, Served(context) as client:
        client.open("/")
        client.send(fragments(b"one two three", BINARY, [3, 3, 7]) + text("whole"))
        serve_until(context, lambda: len(app.pieces) == 5)
        assert app.pieces == [
            (1, 1, 0, b"one"),
            (1, 0, 0, b""),
            (1, 0, 0, b" two"),
            (1, 0, 1, b" three"),
            (0, 1, 1, b"whole"),
        ]


@pytest.mark.parametrize("size", [65535, 65536, 65537, 131072, 500_000])
def test_large_frames_come_in_64_kib(size: int) -> None:
    app = App()
    data = random.Random(size).randbytes(size)
    with context_of(app, rx_fragments=True) as context, Served(context) as client:
        client.open("/")
        client.send(frame(BINARY, data) + text("behind"))
        serve_until(context, lambda: app.pieces and app.pieces[-1][3] == b"behind")
        assert all(len(piece[3]) <= 65536 for piece in app.pieces)
        assert app.messages() == [(1, data), (0, b"behind")]


def test_text_is_validated_over_pieces() -> None:
    euro = "€".encode()
    app = App()
    with context_of(app, rx_fragments=True) as context:
        with Served(context) as client:
            client.open("/")
            client.send(fragments(euro * 3, TEXT, [1, 2, 5]))
            serve_until(context, lambda: len(app.pieces) == 4)
            assert app.messages() == [(0, euro * 3)]
        with Served(context) as client:
            client.open("/")
            client.send(frame(TEXT, euro[:2], fin=False) + frame(CONTINUATION, b"x"))
            assert client.closing(1007)
        assert all(piece[3] != b"x" for piece in app.pieces)


def test_max_message_holds_for_the_sum() -> None:
    app = App()
    with context_of(app, rx_fragments=True, max_message=1000) as context, Served(context) as client:
        client.open("/")
        client.send(fragments(bytes(1001), BINARY, [500, 900]))
        while client.frame().opcode != 8:
            pass
        assert len(b"".join(piece[3] for piece in app.pieces)) <= 1000


def test_compressed_pieces() -> None:
    app = App()
    data = random.Random(3).randbytes(60_000).hex().encode()
    with context_of(app, rx_fragments=True, deflate=True) as context, Served(context) as client:
        peer = Peer(client)
        peer.send(data, cuts=3)
        peer.send(b"small " * 30)
        peer.send(b"", cuts=1)
        serve_until(context, lambda: len(app.messages()) == 3)
        assert app.messages() == [(0, data), (0, b"small " * 30), (0, b"")]
        assert len(app.pieces) > 4
        assert all(len(piece[3]) <= 65536 for piece in app.pieces)


def test_the_rest_of_a_compressed_piece_after_a_close() -> None:
    """What one frame has become is handed over in parts, until the callback closes."""
    seen: list[int] = []

    def callback(wsi: Any, reason: Any, user: Any, in_: Any, length: int) -> int:
        if reason == LWS_CALLBACK_RECEIVE:
            seen.append(length)
            return len(seen) == 2
        return 0

    options = {"rx_fragments": True, "deflate": True}
    with context_of(callback, **options) as context, Served(context) as client:
        peer = Peer(client, "/")
        peer.send(b"x" * 300_000)
        client.closing(1000)
    assert seen == [65536, 65536]


def test_an_engine_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "isal.isal_zlib", None)  # as import finds it then
    with pytest.raises(ValueError, match="deflate_engine 'isal' is not installed"):
        with context_of(print, deflate=True, deflate_engine="isal"):
            pass


@pytest.mark.parametrize("takeover", [True, False])
def test_messages_that_were_compressed_and_not_sent(takeover: bool) -> None:
    """Those that come after refer to nothing in them, nor to what went uncompressed: random bytes,
    without takeover or where only that fits.
    """
    app = App()
    generator = random.Random(12)
    size = 5000
    options = {"deflate_context_takeover": takeover, "max_send_buffer": 1 << 16}
    with context_of(app, deflate=True, **options) as context, Served(context) as client:
        peer = Peer(client)
        wsi = app.wsi
        sent = []
        while True:  # the kernel's room, then the queue's
            data = generator.randbytes(size)
            if libwebsocket_write(wsi, data, size, LWS_WRITE_BINARY) != 0:
                break
            sent.append(data)
        for again in (data, data[:1000], data[-1000:]):
            for expected in sent:
                got, compressed = peer.receive(BINARY)
                assert got == expected and compressed <= takeover
            assert libwebsocket_write(wsi, again, len(again), LWS_WRITE_BINARY) == 0
            sent = [again]
        assert peer.receive(BINARY)[0] == sent[0]


def test_corrupt_data_of_a_peer_that_has_died_in_the_round(caplog: Any) -> None:
    """There is nobody to send a Close to; the line is written all the same."""
    wsis: list[Any] = []

    def callback(wsi: Any, reason: Any, user: Any, in_: Any, length: int) -> None:
        if reason == LWS_CALLBACK_ESTABLISHED:
            wsis.append(wsi)
        elif reason == LWS_CALLBACK_RECEIVE:  # what finds out that the other one is gone
            while libwebsocket_write(wsis[1], bytes(200_000), 200_000, LWS_WRITE_BINARY) == 0:
                pass

    with context_of(callback, deflate=True) as context, Served(context) as client:
        client.open("/")
        bad = Peer(Served(context), "/").client
        while select.select([context.fileno()], [], [], 0)[0]:
            libwebsocket_service(context, 0)  # none is ready: they come as they are sent
        client.send(text("go"))
        bad.send(frame(TEXT, b"", rsv=4)).reset()
        assert libwebsocket_service(context, 5000) == 0
    words = [record.getMessage().split()[0] for record in caplog.records]
    assert words == ["write-refused", "ws-inflate"]


def test_no_memory_to_compress_or_to_inflate(monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    """A message is not sent, and the next one refers to nothing in it; one cannot be received."""
    starved: set[str] = set()

    class Stream:
        def __init__(self, name: str, stream: Any) -> None:
            self.name = name
            self.stream = stream

        def __getattr__(self, name: str) -> Any:
            if name == self.name and name in starved:
                raise MemoryError
            return getattr(self.stream, name)

    engine = SimpleNamespace(
        error=zlib.error,
        Z_SYNC_FLUSH=zlib.Z_SYNC_FLUSH,
        Z_FULL_FLUSH=zlib.Z_FULL_FLUSH,
        compressobj=lambda *a: Stream("compress", zlib.compressobj(*a)),
        decompressobj=lambda *a, **k: Stream("decompress", zlib.decompressobj(*a, **k)),
    )
    monkeypatch.setitem(sys.modules, "isal.isal_zlib", engine)
    results: list[int] = []

    def echo(wsi: Any, reason: Any, user: Any, in_: Any, length: int) -> None:
        if reason == LWS_CALLBACK_RECEIVE:
            if in_[:4] == b"lose":
                starved.add("compress")
            results.append(libwebsocket_write(wsi, in_, length, LWS_WRITE_TEXT))
            starved.clear()

    with context_of(echo, deflate=True, deflate_engine="isal") as context:
        with Served(context) as client:
            peer = Peer(client, "/")
            peer.echo(b"the same words " * 20)
            peer.send(b"lose these words " * 20)
            peer.echo(b"the same words " * 20)
            assert results == [0, -1, 0]
            starved.add("decompress")
            peer.send(b"never seen " * 20)
            assert client.frame().code == 1011
    assert len(results) == 3
    told = [record.getMessage() for record in caplog.records]
    assert [line.split()[0] for line in told] == ["write-refused", "alloc-failed"]
    assert "out of memory" in told[0]


def test_hixie76_messages_are_whole() -> None:
    app = App()
    with context_of(app, rx_fragments=True) as context, Served(context) as client:
        client.open("/", version=76)
        client.send(text76("x" * 100_000))
        serve_until(context, lambda: app.pieces)
        assert app.pieces == [(0, 1, 1, b"x" * 100_000)]


def test_outside_of_receive(caplog: Any) -> None:
    app = App()
    with context_of(app) as context:
        with Served(context) as client:
            client.open("/").send(text("x"))
            serve_until(context, lambda: app.pieces)
            assert [ask(app.wsi) for ask in QUESTIONS] == [-1, -1, -1]
            libwebsocket_set_timer(app.wsi, 0)
            client.leave()
        serve_until(context, lambda: app.closed)
        assert [ask(app.wsi) for ask in QUESTIONS] == [-1, -1, -1]
    assert set(app.other) == {-1}
    assert "fragment-refused" in caplog.text
    for ask in QUESTIONS:
        with pytest.raises(TypeError):
            ask(None)  # type: ignore[arg-type]


def test_of_another_connection() -> None:
    first: list[Any] = []
    told: list[int] = []

    def callback(wsi: Any, reason: Any, user: Any, in_: Any, length: int) -> None:
        if reason == LWS_CALLBACK_ESTABLISHED:
            first.append(wsi)
        elif reason == LWS_CALLBACK_RECEIVE:
            told.append(libwebsocket_frame_is_binary(first[0]))
            libwebsocket_write(wsi, in_, length, LWS_WRITE_TEXT)

    with context_of(callback) as context, Served(context) as one, Served(context) as two:
        one.open("/")
        two.open("/").echo(b"x")
        one.echo(b"y")
        assert told == [-1, 0]
