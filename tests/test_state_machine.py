"""Random sequences against a real server and a model of it: hypothesis draws what a session does.

Each sequence is one connection: messages in random cuts, fragments, control frames, pauses, closes
from either side, callbacks that raise or close. Afterwards its echoes are exact to the byte, CLOSED
came exactly once with the right code, and nothing after it.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.deflate import Peer
from support.raw import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    Client,
    close_payload,
    frame,
    text76,
)
from support.server import Server

SEQUENCES = 2000
RAISE, REFUSE, REASON = b"raise", b"refuse", b"reason"  # as the application knows them
APP = f"{Path(__file__).resolve().parent / 'support' / 'sequences.py'}:app"

payloads = st.one_of(
    st.binary(max_size=40),
    st.sampled_from([0, 125, 126, 127, 65535, 65536, 70_000]).map(bytes),
)
texts = st.one_of(st.text(max_size=30), st.sampled_from(["é" * 63, "x" * 70_000, "€" * 30_000]))
steps = st.one_of(
    st.tuples(st.just("text"), texts.map(str.encode), st.integers(1, 4)),
    st.tuples(st.just("binary"), payloads, st.integers(1, 4)),
    st.tuples(st.just("ping"), st.binary(max_size=125), st.just(0)),
    st.tuples(st.just("pong"), st.binary(max_size=125), st.just(0)),
    st.tuples(st.just("pause"), st.just(b""), st.just(0)),
)
ends = st.sampled_from(
    ["close", "empty close", "fin", "reset", "raise", "refuse", "reason", "bad opcode", "bad text"]
)
kinds = st.sampled_from(["13", "13", "8", "76", "deflate"])

# What the server's Close says, and the code that CLOSED is told; None: no Close of the server's.
ENDS: dict[str, tuple[int | None, int]] = {
    "close": (3210, 3210),
    "empty close": (1005, 1005),
    "fin": (None, 1006),
    "reset": (None, 1006),
    "raise": (1011, 1011),
    "refuse": (1000, 1000),
    "reason": (3456, 3456),
    "bad opcode": (1002, 1006),
    "bad text": (1007, 1006),
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    running = Server(APP, tmp_path_factory.mktemp("machine") / "log", deflate=True)
    yield running
    running.reap()


def pieces(data: bytes, count: int) -> list[bytes]:
    size = max(1, -(-len(data) // count))
    return [data[at : at + size] for at in range(0, len(data), size)] or [b""]


class Session:
    """One connection and the model of it: what must come back, in order."""

    def __init__(self, server: Server, kind: str, number: int) -> None:
        self.uri = f"/{number}"
        self.kind = kind
        self.client = Client(server.port, timeout=20)
        self.peer = None
        if kind == "deflate":
            self.peer = Peer(self.client, self.uri)
        else:
            self.client.open(self.uri, version=int(kind))
        self.out = b""  # not sent yet: bytes are sent in cuts of their own
        self.wanted: list[tuple[int, bytes]] = []

    def take(self, step: tuple[str, bytes, int]) -> None:
        what, data, count = step
        if what == "pause":
            self.look()
        elif self.kind == "76":
            if what == "text":
                self.out += text76(data)
                self.wanted.append((TEXT, data))
        elif what in ("ping", "pong"):
            self.out += frame(PING if what == "ping" else PONG, data)
            if what == "ping":
                self.wanted.append((PONG, data))
        else:
            opcode = TEXT if what == "text" else BINARY
            body = self.peer.compressed(data) if self.peer else data
            parts = pieces(body, count)
            for n, part in enumerate(parts):
                rsv = 4 if self.peer and n == 0 else 0
                last = n == len(parts) - 1
                self.out += frame(0 if n else opcode, part, fin=last, rsv=rsv)
            self.wanted.append((opcode, data))

    def send(self, cuts: list[int]) -> None:
        edges = sorted({cut % (len(self.out) + 1) for cut in cuts})
        for start, end in zip([0, *edges], [*edges, len(self.out)], strict=True):
            self.client.send(self.out[start:end])
        self.out = b""

    def look(self) -> None:
        """Everything that was sent so far has come back; pongs may overtake messages."""
        self.send([])
        pongs = [one for one in self.wanted if one[0] == PONG]
        messages = [one for one in self.wanted if one[0] != PONG]
        while pongs or messages:
            opcode, data = self.receive()
            expected = (pongs if opcode == PONG else messages).pop(0)
            assert (opcode, data) == expected
        self.wanted = []

    def receive(self) -> tuple[int, bytes]:
        if self.kind == "76":
            return TEXT, self.client.frame76()
        got = self.client.frame()
        assert got.fin
        if got.rsv:
            assert self.peer
            if self.peer._inflater is None:
                self.peer._inflater = zlib.decompressobj(-15)
            return got.opcode, self.peer._inflater.decompress(got.payload + b"\0\0\xff\xff")
        return got.opcode, got.payload

    def end(self, how: str) -> tuple[int, ...]:
        """Ends the session; returns the codes that CLOSED may be told."""
        client = self.client
        said, told = ENDS[how]
        word = {"raise": RAISE, "refuse": REFUSE, "reason": REASON}.get(how)
        if how == "reset":
            client.reset()
            return (1006,)
        if how == "fin":
            client.fin()
            assert client.rest() == b""
            return (1006,)
        if self.kind == "76":
            client.send(text76(word) if word else b"\xff\x00" if "close" in how else b"\xff\x01")
            assert client.take(2) == b"\xff\x00"
            if word:
                client.send(b"\xff\x00")
            assert client.rest() == b""
            return (1005,) if word or "close" in how else (1006,)
        if word:
            client.send(frame(TEXT, word))
        elif how == "close":
            client.send(frame(CLOSE, close_payload(3210, b"bye")))
        elif how == "empty close":
            client.send(frame(CLOSE))
        else:
            bad = frame(3) if how == "bad opcode" else frame(TEXT, b"\xff")
            client.send(bad + frame(CONTINUATION, b"never looked at"))
        closing = client.frame()
        assert closing.opcode == CLOSE and closing.code == said, closing
        if word:
            client.send(frame(CLOSE, closing.payload))
        client.fin()
        assert client.rest() == b""
        return (told,)


numbers = iter(range(10**9))


@settings(
    max_examples=SEQUENCES,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
    derandomize=True,
)
@given(
    kind=kinds,
    sequence=st.lists(steps, max_size=6),
    cuts=st.lists(st.integers(0, 300), max_size=3),
    how=ends,
)
def test_sequences(
    server: Server,
    kind: str,
    sequence: list[tuple[str, bytes, int]],
    cuts: list[int],
    how: str,
) -> None:
    session = Session(server, kind, next(numbers))
    special = (RAISE, REFUSE, REASON)
    for step in sequence:
        if step[1] not in special:
            session.take(step)
    session.send(cuts)
    session.look()
    codes = session.end(how)
    mark = max(0, server.mark() - 50)
    closed = server.wait_event("CLOSED", 10, mark, uri=session.uri)
    assert closed["code"] in codes
    if how == "close" and kind != "76":
        assert closed["reason"] == b"bye".hex()
    session.client.close()


def test_afterwards(server: Server) -> None:
    """CLOSED once for each of all the sequences, nothing after it, and the server lives."""
    closed = [record["uri"] for record in server.found("CLOSED")]
    assert len(closed) == len(set(closed))
    assert not server.found("AFTER")
    assert server.alive()
    assert len(closed) >= SEQUENCES
