"""Section 4: frames of versions 7, 8 and 13."""

from __future__ import annotations

import itertools
import random
import struct
import threading
from collections.abc import Callable

import pytest
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
    text,
)
from support.row import Row
from support.server import resident


def opener(path: str = "/sink", version: int = 13) -> Callable[[Client], object]:
    return lambda client: client.open(path, version=version)


def failed(*codes: int) -> Callable[[Client], object]:
    return lambda client: client.failed(*codes)


def fails(row: Row, data: bytes, *codes: int, version: int = 13, cuts: range | None = None) -> None:
    """The bytes end the session with one of those codes, however they are cut."""
    row.ways(data, failed(*codes), before=opener(version=version), cuts=cuts)


def nothing_delivered(row: Row) -> None:
    row.barrier()
    assert not row.found("RECEIVE"), row.found("RECEIVE")[:3]


VERSIONS = pytest.mark.parametrize("version", [7, 8, 13])


@VERSIONS
def test_FR_01_unmasked_frames(row: Row, version: int) -> None:
    row.expect("ws-unmasked")
    for opcode, payload in (
        (TEXT, b"hello"), (BINARY, b"hello"), (PING, b"hello"), (PONG, b""), (TEXT, b""),
        (CLOSE, close_payload(1000)), (TEXT, b"x" * 200),
    ):  # fmt: skip
        data = frame(opcode, payload, mask=None)
        fails(row, data, 1002, version=version, cuts=range(1, min(len(data), 12)))
    nothing_delivered(row)


@VERSIONS
def test_FR_02_reserved_bits(row: Row, version: int) -> None:
    row.expect("ws-rsv")
    begun = frame(TEXT, b"a", fin=False)
    for rsv in range(1, 8):
        fails(row, frame(TEXT, b"hello", rsv=rsv), 1002, version=version)
        for data in (
            frame(BINARY, b"hello", rsv=rsv),
            begun + frame(CONTINUATION, b"b", rsv=rsv),
            frame(PING, b"hello", rsv=rsv),
            frame(CLOSE, close_payload(1000), rsv=rsv),
        ):
            fails(row, data, 1002, version=version, cuts=range(0))
    nothing_delivered(row)


@VERSIONS
def test_FR_03_reserved_opcodes(row: Row, version: int) -> None:
    row.expect("ws-opcode")
    begun = frame(TEXT, b"a", fin=False)
    for opcode in (*range(3, 8), *range(0xB, 0x10)):
        for payload in (b"", b"hello"):
            fails(row, frame(opcode, payload), 1002, version=version)
            fails(row, begun + frame(opcode, payload), 1002, version=version, cuts=range(0))
        # the first byte alone says it
        row.open("/sink", version).send(frame(opcode)[:1]).failed(1002)
    nothing_delivered(row)


@VERSIONS
def test_FR_04_lengths_of_2_63_and_more(row: Row, version: int) -> None:
    row.expect("ws-length")
    before = resident(row.pid)
    for length in (2**64 - 1, 2**63, 2**63 + 5, 0xFFFFFFFF00000000):
        for opcode in (TEXT, BINARY):
            data = frame(opcode, b"x" * 20, form=64, length=length)
            fails(row, data, 1002, version=version)
    assert row.grown(before) < 1 << 20
    nothing_delivered(row)


@VERSIONS
def test_FR_05_too_big_by_the_header_alone(row: Row, version: int) -> None:
    row.expect("ws-too-big")
    before = resident(row.pid)
    codes = (1009,) if version == 13 else (1004, 1009)
    for length in (2**63 - 1, 2**32, 2**31, 2**32 + 5, (1 << 20) + 1):
        fails(row, frame(BINARY, length=length), *codes, version=version)
        # more by what an earlier fragment brought
        data = frame(TEXT, b"abc", fin=False) + frame(CONTINUATION, form=64, length=(1 << 20) - 2)
        fails(row, data, *codes, version=version, cuts=range(0))
    assert row.grown(before) < 1 << 20
    nothing_delivered(row)


@VERSIONS
def test_FR_06_lengths_not_in_the_shortest_form(row: Row, version: int) -> None:
    row.expect("ws-length")
    for form, sizes in ((16, (0, 1, 125)), (64, (0, 1, 125, 126, 65535))):
        for size in sizes:
            data = frame(BINARY, b"x" * size, form=form)
            fails(row, data, 1002, version=version, cuts=range(1, min(len(data), 15)))
    nothing_delivered(row)


SIZES = (0, 1, 125, 126, 127, 128, 65535, 65536, 1 << 20)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.server(max_send_buffer=4 << 20)
def test_FR_07_payload_sizes_masks_and_offsets(row: Row, size: int) -> None:
    row.memory_slack = 4 << 20  # a message of the greatest size is received and echoed
    rng = random.Random(size)
    payload = rng.randbytes(size)
    client = row.open("/binary", timeout=20)
    masks = (bytes(4), b"\xff" * 4, rng.randbytes(4))
    for mask, offset in itertools.product(masks, range(8)):
        # a first message moves the second along the read buffer; a third shows what lies behind it
        first, last = b"f" * offset, b"last"
        client.send(frame(BINARY, first) + frame(BINARY, payload, mask=mask) + frame(BINARY, last))
        assert client.message() == first
        assert client.message() == payload
        assert client.message() == last
    client.leave()


@VERSIONS
def test_FR_08_frames_cut_anywhere(row: Row, version: int) -> None:
    two = frame(TEXT, b"first message") + frame(BINARY, b"s" * 130) + frame(PING, b"p")

    def both(client: Client) -> None:
        # the pong may overtake the echoes, which wait for the callback
        got = [client.frame() for _ in range(3)]
        data = [one.payload for one in got if one.opcode != PONG]
        assert data == [b"first message", b"s" * 130], got
        assert [one.payload for one in got if one.opcode == PONG] == [b"p"], got

    row.ways(two, both, before=opener("/echo", version))
    large = frame(BINARY, b"L" * 65536)
    assert large[1] == 0xFF

    def whole(client: Client) -> None:
        assert client.message() == b"L" * 65536

    row.ways(large, whole, before=opener("/echo", version), cuts=range(1, 16), bytewise=False)
    client = row.open("/echo", version)
    for byte in large[:15]:
        client.send(bytes([byte]))
        row.barrier()
    client.send(large[15:])
    whole(client)


@VERSIONS
def test_FR_09_control_frames_are_short(row: Row, version: int) -> None:
    row.expect("ws-control")
    row.allow("ws-length")  # a control frame in a longer form is both
    for opcode in (PING, PONG, CLOSE):
        fails(row, frame(opcode, b"x" * 126), 1002, version=version, cuts=range(1, 12))
        for form in (16, 64):
            fails(row, frame(opcode, b"\x03\xe8", form=form), 1002, version=version)
        fails(row, frame(opcode, length=65536), 1002, version=version)
    payload = bytes(range(125))

    def pong(client: Client) -> None:
        got = client.frame()
        assert (got.opcode, got.payload) == (PONG, payload)

    row.ways(frame(PING, payload), pong, before=opener(version=version))
    row.ways(frame(PING), lambda client: client.frame().opcode == PONG or pytest.fail("no pong"),
             before=opener(version=version))  # fmt: skip
    nothing_delivered(row)


def test_FR_10_pings_that_nobody_reads_the_pongs_of(row: Row) -> None:
    count = 10_000
    pings = b"".join(frame(PING, struct.pack(">I", n) + b"x" * 100) for n in range(count))
    before = resident(row.pid)
    client = row.open("/sink", rcvbuf=4096, timeout=20)
    sender = threading.Thread(target=client.send, args=(pings,))
    sender.start()
    row.barrier()
    assert row.grown(before) < 1 << 20
    last = -1
    while last != count - 1:
        got = client.frame()
        assert got.opcode == PONG, got
        number = struct.unpack(">I", got.payload[:4])[0]
        assert number > last, "an older pong behind a newer one"
        last = number
    sender.join()
    assert row.grown(before) < 1 << 20
    client.leave()


def test_FR_11_pongs_that_nobody_asked_for(row: Row) -> None:
    client = row.open("/echo", timeout=20)
    for payload in (b"", b"wrong", b"x" * 125):
        client.send(frame(PONG, payload))
    client.echo(b"hello")
    client.send(frame(PONG, b"again") * 100_000 + text("hello"))
    assert client.message() == b"hello"
    client.send(frame(TEXT, b"he", fin=False) + frame(PONG) * 1000 + frame(CONTINUATION, b"llo"))
    assert client.message() == b"hello"
    client.leave()


def noise(rng: random.Random) -> bytes:
    """4 KiB: half of the runs pure noise, half frames that are nearly right."""
    if rng.random() < 0.5:
        return rng.randbytes(4096)
    out = bytearray()
    while len(out) < 4096:
        opcode = rng.choice((TEXT, BINARY, CONTINUATION, PING, PONG, TEXT))
        payload = b"abc" * rng.choice((0, 1, 10, 41, 42, 43, 100))
        out += frame(opcode, payload, fin=rng.random() < 0.8, mask=rng.randbytes(4))
    for _ in range(rng.randrange(3)):
        out[rng.randrange(len(out))] ^= 1 << rng.randrange(8)
    return bytes(out[:4096])


@pytest.mark.parametrize("part", range(4))
def test_FR_12_noise_behind_a_handshake(row: Row, part: int) -> None:
    events = ("rsv", "opcode", "unmasked", "length", "control", "fragment", "utf8", "too-big")
    row.allow("ws-close-code", *[f"ws-{event}" for event in events])
    rng = random.Random(part)
    for _ in range(50):
        clients = [row.server.connect().open("/sink") for _ in range(50)]
        for client in clients:
            client.send(noise(rng)).fin()
        for client in clients:
            with client:
                while client.buffer or client.fill():
                    got = client.frame()
                    assert got.opcode in (PONG, CLOSE), got
                    if got.opcode == CLOSE:
                        assert not got.payload or got.code in (1002, 1007, 1009), got
                        assert client.rest() == b""
