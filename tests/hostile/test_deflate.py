"""Hostile rows of section 6: permessage-deflate (RFC 7692)."""

from __future__ import annotations

import os
import random
import time
import zlib

import pytest
from support.deflate import TAIL, Peer, ask, deflate
from support.raw import BINARY, CLOSE, CONTINUATION, PING, TEXT, close_payload, frame, text
from support.row import Row
from support.server import resident

MAX_MESSAGE = 1 << 20
SLACK = 8 << 20  # sections 6 to 8

pytestmark = [pytest.mark.server(deflate=True)]


@pytest.fixture(autouse=True)
def slack(row: Row) -> None:
    row.memory_slack = SLACK


NAME = "permessage-deflate"

# Offer, reply; None: no extension. The fields of one handshake are separated by a line end.
OFFERS = [
    (NAME, NAME),
    (f"x-unknown, {NAME}", NAME),
    (f"{NAME}; server_no_context_takeover", f"{NAME}; server_no_context_takeover"),
    (f"{NAME}; client_no_context_takeover", f"{NAME}; client_no_context_takeover"),
    (f"{NAME}; client_max_window_bits", NAME),
    *[
        (f"{NAME}; server_max_window_bits={bits}", f"{NAME}; server_max_window_bits={bits}")
        for bits in range(9, 16)
    ],
    *[
        (f"{NAME}; client_max_window_bits={bits}", f"{NAME}; client_max_window_bits={bits}")
        for bits in range(8, 15)
    ],
    (f"{NAME}; client_max_window_bits=15", NAME),
    (f'{NAME}; server_max_window_bits="10"', f"{NAME}; server_max_window_bits=10"),
    (f'{NAME};client_max_window_bits="10"', f"{NAME}; client_max_window_bits=10"),
    (f"{NAME}; server_max_window_bits=8", None),
    *[(f"{NAME}; server_max_window_bits{bits}", None) for bits in ("=7", "=16", "=08", "", "=a")],
    *[(f"{NAME}; client_max_window_bits{bits}", None) for bits in ("=7", "=16", "=08", "=a")],
    (f"{NAME}; client_max_window_bits=10; client_max_window_bits=10", None),
    (f"{NAME}; server_no_context_takeover; server_no_context_takeover", None),
    (f"{NAME}; server_no_context_takeover=1", None),
    (f"{NAME}; constructor", None),
    (f"{NAME}; server_max_window_bits=7, {NAME}; server_max_window_bits=11",
     f"{NAME}; server_max_window_bits=11"),
    (f"{NAME}; unknown=1\n{NAME}; client_no_context_takeover",
     f"{NAME}; client_no_context_takeover"),
]  # fmt: skip


def test_PMD_01_offers(row: Row) -> None:
    """Each bad offer is passed over, the next good one taken; nothing else is in the reply."""
    for offer, agreed in OFFERS:
        with row.server.connect() as client:
            reply = ask(client, "/echo", *offer.split("\n")).one("Sec-WebSocket-Extensions")
            assert reply == (None if agreed is None else agreed.encode()), offer
        if agreed:
            with row.server.connect() as client:
                peer = Peer(client, offer=offer.split("\n")[-1].split(", ")[-1])
                for _ in range(3):
                    peer.echo(b"to and fro " * 900)
        else:
            with row.server.connect() as client:
                ask(client, "/echo", *offer.split("\n"))
                client.echo(b"plain all the same" * 10)
    row.expect("ws-extension")


def test_PMD_01_an_offer_may_take_no_more_than_linear_time(row: Row) -> None:
    bad = f"{NAME}; server_max_window_bits=7"
    offer = ", ".join([bad] * 150)
    with row.server.connect() as client:
        assert ask(client, "/echo", offer).one("Sec-WebSocket-Extensions") is None
    row.expect("ws-extension")


def gigabyte() -> bytes:
    """A GiB of zeros, as small as deflate makes it: about 1 MiB."""
    stream = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = bytes(1 << 24)
    parts = [stream.compress(block) for _ in range(64)]
    return b"".join(parts) + stream.flush(zlib.Z_SYNC_FLUSH)[: -len(TAIL)]


def test_PMD_02_bombs(row: Row) -> None:
    bomb = gigabyte()
    assert len(bomb) < 1.1 * MAX_MESSAGE
    before = resident(row.pid)
    peer = Peer(row.connect())
    peer.raw(bomb)
    peer.client.failed(1009)
    assert resident(row.pid) - before < SLACK
    peer = Peer(row.connect())
    peer.raw(deflate(bytes(MAX_MESSAGE + 1)))
    peer.client.failed(1009)
    peer = Peer(row.connect())
    peer.echo(bytes(MAX_MESSAGE))
    row.expect("ws-too-big")


def test_PMD_03_fragments_that_are_too_big_together(row: Row) -> None:
    peer = Peer(row.connect())
    peer.send(os.urandom(16) + bytes(MAX_MESSAGE - 15), cuts=40)
    peer.client.failed(1009)
    peer = Peer(row.connect())
    peer.echo(bytes(MAX_MESSAGE), cuts=40)
    row.expect("ws-too-big")


CORRUPT = {
    "garbage": bytes(random.Random(1).randbytes(300)),
    "block type 3": b"\x07" + b"x" * 10,
    "wrong complement": b"\x00\x05\x00\x00\x00hello",
    "distance past the window": b"\x02\x03\x00",
    "cut": deflate(random.Random(2).randbytes(50).hex().encode() * 3)[:-40],
    "cut at the end": deflate(random.Random(3).randbytes(500).hex().encode())[:-1],
    "nothing at all": b"",
}


@pytest.mark.parametrize("kind", CORRUPT)
def test_PMD_04_corrupt_data(row: Row, kind: str) -> None:
    for cuts in (1, 2, 5):
        peer = Peer(row.connect())
        peer.raw(CORRUPT[kind], cuts=cuts)
        peer.client.failed(1007)
    row.expect("ws-inflate")
    assert not row.found("RECEIVE")


def test_PMD_05_reserved_bits(row: Row) -> None:
    data = deflate(b"x" * 100)
    for bad in (
        frame(TEXT, data[:4], rsv=4, fin=False) + frame(CONTINUATION, data[4:], rsv=4),
        frame(PING, b"x", rsv=4),
        frame(TEXT, data, rsv=6),
        frame(TEXT, data, rsv=2),
        frame(TEXT, data, rsv=1),
    ):
        peer = Peer(row.connect())
        peer.client.send(bad)
        peer.client.failed(1002)
    client = row.open()
    client.send(frame(TEXT, data, rsv=4)).failed(1002)
    row.expect("ws-rsv")


def test_PMD_06_plain_messages_between(row: Row) -> None:
    peer = Peer(row.connect())
    for number in range(50):
        data = b"the same words again and again %d" % number
        peer.echo(data * 5)
        peer.client.send(text(data))
        got, was_compressed = peer.receive()
        assert got == data and not was_compressed


def final(data: bytes) -> bytes:
    """A message that ends with a final block (section 7.2.3.4), and the byte behind it."""
    stream = zlib.compressobj(6, zlib.DEFLATED, -15)
    return stream.compress(data) + stream.flush()


def test_PMD_07_ends(row: Row) -> None:
    peer = Peer(row.connect())
    word = b"a final word, " * 9

    def comes_back(payload: bytes, expected: bytes, cuts: int = 1) -> None:
        peer.raw(payload, cuts=cuts)
        got, _ = peer.receive()
        assert got == expected

    for cuts in (1, 2, 7):
        comes_back(final(word) + b"\x00", word, cuts)
        comes_back(final(word), word, cuts)
        comes_back(final(word) + final(word) + b"\x00", word * 2, cuts)
        comes_back(final(word) * 3, word * 3, cuts)
        comes_back(final(word) + deflate(word), word * 2, cuts)
        comes_back(deflate(word) + TAIL, word, cuts)
        comes_back(b"\x00", b"", cuts)
        comes_back(final(b""), b"", cuts)
        comes_back(b"\x00\x00\x00\xff\xff" * 3 + deflate(word), word, cuts)
    for behind in (final(word) + b"extra", deflate(word) + TAIL + b"extra", final(word) + b"\xff"):
        bad = Peer(row.connect())
        bad.raw(behind)
        bad.client.failed(1007)
    bad = Peer(row.connect())
    bad.raw(final(b"") * 200)
    bad.client.failed(1007)
    row.expect("ws-inflate")


TAKEOVER = {
    "with": "",
    "without at the server": "; server_no_context_takeover",
    "without at the client": "; client_no_context_takeover",
    "without": "; server_no_context_takeover; client_no_context_takeover",
    "small windows": "; server_max_window_bits=9; client_max_window_bits=9",
}


@pytest.mark.parametrize("kind", TAKEOVER)
def test_PMD_08_many_messages(row: Row, kind: str) -> None:
    peer = Peer(row.connect(), "/quiet", NAME + TAKEOVER[kind])
    rng = random.Random(kind)
    pool = rng.randbytes(20_000).hex().encode() + b"lorem ipsum " * 2500
    sizes = [0, 1, 63, 64, 65, 70_000] + [int(2 ** rng.uniform(0, 11)) for _ in range(1_950)]
    sizes += [rng.randrange(70_000) for _ in range(44)]
    grown = 0
    for number, size in enumerate(sizes):
        at = rng.randrange(len(pool) - size + 1) if size < len(pool) else 0
        data = pool[at : at + size]
        peer.send(data, cuts=1 + number % 3)
        got, was_compressed = peer.receive()
        assert got == data
        assert was_compressed == (len(data) >= 64)
        if number == len(sizes) // 2:
            grown = resident(row.pid)
    assert resident(row.pid) - grown < 2 << 20


def test_PMD_08_binary_too(row: Row) -> None:
    peer = Peer(row.connect(), "/binary")
    data = bytes(range(256)) * 10
    peer.send(data, BINARY, cuts=3)
    assert peer.receive(BINARY) == (data, True)


def test_PMD_09_invalid_text(row: Row) -> None:
    euro = "€".encode()
    for bad in (b"\xc0\x80" * 50, b"ok" * 50 + euro[:2], b"\xed\xa0\x80" + b"x" * 99):
        for cuts in (1, 2, 9):
            peer = Peer(row.connect())
            peer.send(bad, cuts=cuts)
            peer.client.failed(1007)
    row.expect("ws-utf8")
    assert not row.found("RECEIVE")
    peer = Peer(row.connect())
    peer.echo(euro * 400, cuts=30)


@pytest.mark.server(tls=False, deflate=True)  # the memory of TLS is another matter
@pytest.mark.parametrize("kind", ["with", "without"])
def test_PMD_10_memory_of_connections(row: Row, kind: str) -> None:
    """300 connections (a third of the row's, as all of them hold descriptors here too)."""
    count, bound = 300, 320 << 10 if kind == "with" else 48 << 10
    row.memory_slack = count * (320 << 10)  # freed, but not given back to the kernel by malloc
    before = resident(row.pid)
    peers = [Peer(row.connect(), "/quiet", NAME + TAKEOVER[kind]) for _ in range(count)]
    idle = resident(row.pid) - before
    assert idle < count * (8 << 10), f"{idle >> 10} KiB before any message"
    for peer in peers:
        peer.echo(b"a message that is worth it " * 400)
    used = (resident(row.pid) - before) / count
    assert used < bound, f"{used / 1024:.0f} KiB a connection"


@pytest.mark.parametrize("takeover", [True, False])
def test_PMD_13_what_may_be_received_can_be_echoed(row: Row, takeover: bool) -> None:
    """Random bytes grow by a few when they are compressed: the limit on the way out has room for
    what the limit on the way in has taken.
    """
    noise = random.Random(13).randbytes(MAX_MESSAGE)
    offer = NAME if takeover else f"{NAME}; server_no_context_takeover"
    peer = Peer(row.connect(), "/binary", offer)
    for size in (MAX_MESSAGE, MAX_MESSAGE - 1, 100, MAX_MESSAGE):
        peer.send(noise[:size], BINARY)
        got, compressed = peer.receive(BINARY)
        assert got == noise[:size], (len(got), size)
        assert not compressed or (takeover and size == 100)
        for _ in range(2):  # the window is still the same on both sides
            peer.send(b"to and fro " * 900, BINARY)
            assert peer.receive(BINARY) == (b"to and fro " * 900, True)


@pytest.mark.server(deflate=True, max_send_buffer=20_000)
def test_PMD_14_the_line_names_the_length_that_counted(row: Row) -> None:
    """What counts is the length before compression, whatever becomes of it: the same message fits
    on every connection or on none.
    """
    row.own("send-overflow")
    rng = random.Random(14)
    for message in (rng.randbytes(20_001), b"x" * 70_000):
        peer = Peer(row.connect(), "/binary")
        seen = len(row.server.logged("send-overflow"))
        peer.send(message, BINARY)
        peer.send(b"short enough", BINARY)
        assert peer.receive(BINARY)[0] == b"short enough"
        row.barrier()
        (line,) = row.server.logged("send-overflow")[seen:]
        assert f" length={len(message)} " in line["message"], line
    for message in (rng.randbytes(20_000), b"x" * 20_000):
        peer = Peer(row.connect(), "/binary")
        peer.send(message, BINARY)
        assert peer.receive(BINARY)[0] == message


def test_PMD_11_empty_blocks(row: Row) -> None:
    peer = Peer(row.connect())
    start = time.perf_counter()
    peer.raw(b"\x00\x00\x00\xff\xff" * (MAX_MESSAGE // 5) + b"\x00", cuts=7)
    got, _ = peer.receive()
    assert got == b""
    assert time.perf_counter() - start < 1.0
    peer.raw(b"\x00\x00\x00\xff\xff" * (10 * MAX_MESSAGE // 5))
    peer.client.failed(1009)
    row.expect("ws-too-big")


def test_PMD_12_corrupt_data_and_a_close_behind_it(row: Row) -> None:
    """The peer's own Close is in the round already: nothing more than its answer is sent."""
    for _ in range(5):
        peer = Peer(row.connect())
        bad = frame(TEXT, CORRUPT["nothing at all"], rsv=4)
        peer.client.send(bad + frame(CLOSE, close_payload(1000)))
        assert peer.client.frame().code in (1000, 1007)
        peer.client.rest()
        peer.client.close()
    row.expect("ws-inflate")
