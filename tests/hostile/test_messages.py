"""Section 5: fragmentation, UTF-8, close."""

from __future__ import annotations

import hashlib
import json
import threading
import time

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
    wait_until,
)
from support.row import Row
from support.server import cpu_seconds, cpu_seconds_at_rest, resident

from hostile.test_frames import VERSIONS, fails, nothing_delivered, opener

# -- Fragmentation


@VERSIONS
def test_FG_01_continuation_of_nothing(row: Row, version: int) -> None:
    row.expect("ws-fragment")
    for fin in (True, False):
        for payload in (b"", b"hello"):
            fails(row, frame(CONTINUATION, payload, fin=fin), 1002, version=version)
    nothing_delivered(row)
    done = frame(TEXT, b"a", fin=False) + frame(CONTINUATION, b"b")
    fails(row, done + frame(CONTINUATION, b"c"), 1002, version=version)


@VERSIONS
def test_FG_02_new_message_inside_a_message(row: Row, version: int) -> None:
    row.expect("ws-fragment")
    for first in (TEXT, BINARY):
        for second in (TEXT, BINARY):
            for fin in (True, False):
                data = frame(first, b"a", fin=False) + frame(second, b"b", fin=fin)
                fails(row, data, 1002, version=version)
    nothing_delivered(row)


@VERSIONS
def test_FG_03_fragmented_control_frames(row: Row, version: int) -> None:
    row.expect("ws-control")
    for opcode in (PING, PONG, CLOSE):
        fails(row, frame(opcode, b"\x03\xe8", fin=False), 1002, version=version)
        data = frame(opcode, fin=False) + frame(CONTINUATION)
        fails(row, data, 1002, version=version)
    nothing_delivered(row)


def test_FG_04_control_frames_between_fragments(row: Row) -> None:
    data = frame(TEXT, b"he", fin=False) + frame(PING, b"now") + frame(PONG, b"x")

    def pong_at_once(client: Client) -> None:
        got = client.frame()
        assert (got.opcode, got.payload) == (PONG, b"now")
        client.send(frame(CONTINUATION, b"llo"))
        assert client.message() == b"hello"
        client.send(frame(TEXT, b"open", fin=False) + frame(CLOSE, close_payload(1000)))
        client.closing(1000)
        assert client.rest() == b""

    row.ways(data, pong_at_once, before=opener("/echo"))
    row.barrier()
    delivered = {bytes.fromhex(record["head"]) for record in row.found("RECEIVE")}
    assert delivered == {b"hello"}


@pytest.mark.server(max_message=65536)
def test_FG_05_fragments_without_end(row: Row) -> None:
    row.expect("ws-too-big")
    sixteen = frame(TEXT, b"x" * 1024, fin=False) + frame(CONTINUATION, b"x" * 1024, fin=False) * 63
    row.open("/sink").send(sixteen + frame(CONTINUATION, b"x")).failed(1009)
    client = row.open("/sink").send(sixteen + frame(CONTINUATION))
    row.wait_event("RECEIVE", length=65536)
    client.leave()
    mark = row.server.mark()
    before = resident(row.pid)
    tiny = frame(CONTINUATION, b"x", fin=False)
    row.open("/sink").send(frame(TEXT, b"", fin=False) + tiny * 65537).failed(1009)
    # empty fragments cost nothing, and nobody else waits for them
    client = row.open("/sink", timeout=20).send(frame(TEXT, b"x", fin=False))
    empty = frame(CONTINUATION, fin=False) * 10_000
    end = time.monotonic() + 1.0
    while time.monotonic() < end:
        client.send(empty)
    assert not client.send_failed
    row.barrier()
    assert row.grown(before) < 2 * 65536 + 65536
    assert not row.server.found("RECEIVE", mark)
    client.send(frame(CONTINUATION, b"y"))
    record = row.server.wait_event("RECEIVE", 5, mark)
    assert bytes.fromhex(record["head"]) == b"xy"
    client.leave()


def in_fragments(client: Client, row: Row, size: int) -> float:
    """Sends a message in fragments of 64 bytes; the CPU seconds it costs."""
    count = size // 64
    piece = bytes(range(64))
    data = (
        frame(BINARY, piece, fin=False)
        + frame(CONTINUATION, piece, fin=False) * (count - 2)
        + frame(CONTINUATION, piece)
    )
    mark = row.server.mark()
    start = cpu_seconds_at_rest(row.pid)
    client.send(data)
    record = row.server.wait_event("RECEIVE", 20, mark)
    took = cpu_seconds_at_rest(row.pid) - start
    assert record["length"] == size
    assert record["sha1"] == hashlib.sha1(piece * count).hexdigest()
    return took


@pytest.mark.server(max_message=16 << 20)
def test_FG_06_many_small_fragments(row: Row) -> None:
    client = row.open("/sink", timeout=20)
    in_fragments(client, row, 4 << 20)
    # The server's CPU time, the best of five. One doubling may meet the end of a cache or the luck
    # of huge pages; four of them tell linear (16 times the time) from what grows with the square.
    least = min(in_fragments(client, row, 1 << 20) for _ in range(5))
    most = min(in_fragments(client, row, 16 << 20) for _ in range(5))
    assert most < 2.5**4 * least, f"{least:.4f} s for 1 MiB, {most:.4f} s for 16 MiB"
    client.leave()


# -- UTF-8

INVALID = [
    "80", "bf", "c080", "c1bf", "e08080", "e09fbf", "eda080", "edbfbf", "f0808080", "f08fbfbf",
    "f4908080", "f7bfbfbf", "f888808080", "fc8480808080", "fe", "ff", "c2", "e0a0", "efbf",
    "f09080", "f48fbf", "c241", "e0a041", "f0908041", "c3c3a9", "61c3a980",
]  # fmt: skip
VALID = [
    "\0", "\x7f", "\x80", "\u07ff", "\u0800", "\ud7ff", "\ue000", "\ufffd", "\ufffe", "\uffff",
    "\U00010000", "\U0010ffff", "a\u00e9\u20ac\U0001f600z",
]  # fmt: skip


@VERSIONS
def test_U8_01_invalid_text(row: Row, version: int) -> None:
    row.expect("ws-utf8")
    for code in INVALID:
        bad = bytes.fromhex(code)
        for data in (text(bad), text(b"abc" + bad), text(b"x" * 40 + bad + b"y" * 40)):
            fails(row, data, 1007, version=version, cuts=range(6, min(len(data), 14)))
        split = frame(TEXT, bad[:1], fin=False) + frame(CONTINUATION, bad[1:])
        fails(row, split, 1007, version=version, cuts=range(0))
    nothing_delivered(row)


def test_U8_02_edges_of_valid_text(row: Row) -> None:
    client = row.open("/echo")
    for point in VALID:
        for around in ("", "x" * 15, "x" * 70):
            client.echo((around + point + around).encode("utf-8"))
    client.leave()


def test_U8_03_code_points_cut(row: Row) -> None:
    payload = "a\u00e9\u20ac\U0001f600\U0010ffffz".encode()

    def whole(client: Client) -> None:
        assert client.message() == payload

    row.ways(text(payload), whole, before=opener("/echo"))
    for cut in range(len(payload) + 1):
        data = frame(TEXT, payload[:cut], fin=False) + frame(CONTINUATION, payload[cut:])
        row.ways(data, whole, before=opener("/echo"))
    each = frame(TEXT, b"", fin=False) + b"".join(
        frame(CONTINUATION, payload[at : at + 1], fin=False) for at in range(len(payload))
    )
    row.ways(each + frame(CONTINUATION), whole, before=opener("/echo"))


def test_U8_04_message_ends_inside_a_code_point(row: Row) -> None:
    row.expect("ws-utf8")
    for cut in range(1, 4):
        data = frame(TEXT, b"a" + "\U0001f600".encode()[:cut], fin=False) + frame(CONTINUATION)
        fails(row, data, 1007)
    nothing_delivered(row)


def test_U8_05_invalid_early_in_a_frame_that_never_ends(row: Row) -> None:
    row.expect("ws-utf8")
    for bad in (b"\xff", b"\xc0\x80", b"\xed\xa0\x80"):
        start = time.monotonic()
        data = frame(TEXT, b"a" * 100 + bad + b"b" * 1000, length=1 << 20)
        row.open("/sink").send(data).failed(1007)
        begun = frame(TEXT, b"a" + bad, fin=False)
        row.open("/sink").send(begun).failed(1007)
        assert time.monotonic() - start < 1.0
    nothing_delivered(row)


def test_U8_06_binary_is_free_and_own_text_is_checked(row: Row) -> None:
    row.own("write-refused")
    client = row.open("/binary")
    for code in INVALID:
        client.send(frame(BINARY, bytes.fromhex(code)))
        assert client.message() == bytes.fromhex(code)
    client.leave()
    client = row.open("/command")
    for code in INVALID:
        answer = row.result(client, {"do": "write", "data": code, "protocol": 0})
        assert answer in (-1, "ValueError"), (code, answer)
    assert row.result(client, {"do": "write", "data": "6f6b", "protocol": 0}) == 0
    assert client.message() == b"ok", "something of the refused text was sent"
    client.leave()


# -- Close


def echoes(payload: bytes) -> object:
    def check(client: Client) -> None:
        got = client.frame()
        assert got.opcode == CLOSE and got.payload[:2] == payload[:2], got
        assert len(got.payload) <= 125
        assert client.rest() == b""

    return check


@VERSIONS
def test_CL_01_size_of_the_close_payload(row: Row, version: int) -> None:
    row.expect("ws-close-code", "ws-control")
    start = opener(version=version)
    for payload in (b"", close_payload(1000), close_payload(1000, b"r" * 123)):
        row.ways(frame(CLOSE, payload), echoes(payload), before=start)  # type: ignore[arg-type]
    fails(row, frame(CLOSE, b"\x03"), 1002, version=version)
    fails(row, frame(CLOSE, close_payload(1000, b"r" * 124)), 1002, version=version)


@VERSIONS
def test_CL_02_codes_that_may_be_sent(row: Row, version: int) -> None:
    codes = [*range(1000, 1004), *range(1007, 1015), 3000, 3001, 3999, 4000, 4001, 4999]
    codes += range(3010, 5000, 97)
    for code in codes:
        client = row.open("/sink", version).send(frame(CLOSE, close_payload(code, b"bye")))
        client.closing(code)
        assert client.rest() == b""
    row.ways(
        frame(CLOSE, close_payload(4999, b"bye")),
        echoes(close_payload(4999)),  # type: ignore[arg-type]
        before=opener(version=version),
    )
    row.barrier()
    told = {record["code"] for record in row.found("CLOSED")}
    assert told in (set(codes), {None}), "CLOSED was called with other codes"


@VERSIONS
def test_CL_03_codes_that_may_not_be_sent(row: Row, version: int) -> None:
    row.expect("ws-close-code")
    for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535):
        fails(row, frame(CLOSE, close_payload(code, b"bye")), 1002, version=version)


@VERSIONS
def test_CL_04_reason_that_is_not_utf8(row: Row, version: int) -> None:
    row.expect("ws-utf8")
    for code in INVALID:
        data = frame(CLOSE, close_payload(1000, bytes.fromhex(code)))
        fails(row, data, 1007, version=version, cuts=range(0))
    fails(row, frame(CLOSE, close_payload(1000, b"ok\xc3")), 1007, version=version)


def test_CL_05_frames_behind_the_close(row: Row) -> None:
    data = (
        frame(CLOSE, close_payload(3000))
        + text("late")
        + frame(PING, b"late")
        + frame(CLOSE, close_payload(3001))
        + frame(0xF, b"not even a frame", rsv=7)
    )

    def one_close(client: Client) -> None:
        client.closing(3000)
        assert client.rest() == b""

    row.ways(data, one_close, before=opener("/echo"))
    nothing_delivered(row)


def test_CL_06_both_sides_close_at_once(row: Row) -> None:
    order = json.dumps({"do": "close", "code": 1000})
    for _ in range(20):
        client = row.open("/command")
        client.send(text(order) + frame(CLOSE, close_payload(3001)))
        assert client.frame().opcode == CLOSE
        assert client.rest() == b"", "more than one Close"
    wait_until(lambda: len(row.found("CLOSED")) == 20)
    assert {record["code"] for record in row.found("CLOSED")} <= {3001, None}


@pytest.mark.server(close_timeout=0.5)
def test_CL_07_peer_that_does_not_end_the_close(row: Row) -> None:
    row.expect("close-timeout")
    order = text(json.dumps({"do": "close", "code": 1000}))
    silent = row.open("/command").send(order)
    start = time.monotonic()
    silent.closing(1000)
    silent.rest()
    assert 0.4 < time.monotonic() - start < 1.5
    assert silent.ended in ("eof", "reset")
    answers = row.open("/command").send(order)
    answers.closing(1000)
    start = time.monotonic()
    answers.send(frame(CLOSE, close_payload(1000)))
    assert answers.rest() == b"", "the server must end the stream first (section 7.1.1)"
    assert time.monotonic() - start < 0.4 and answers.ended == "eof"
    asks = row.open("/sink").send(frame(CLOSE, close_payload(1000)))
    start = time.monotonic()
    asks.closing(1000)
    assert asks.rest() == b""
    assert time.monotonic() - start < 0.4
    wait_until(lambda: len(row.found("CLOSED")) == 3)


def test_CL_08_streams_that_just_end(row: Row) -> None:
    row.expect("ws-abnormal")
    for path in ("/echo", "/tick"):
        row.open(path).fin().rest()
        row.open(path).reset()
        row.open(path).send(text("half a frame")[:9]).fin().rest()
        row.open(path).send(text("half a frame")[:9]).reset()
        row.open(path).send(frame(TEXT, b"a", fin=False)).fin().rest()
    half_closed = row.open("/flood", rcvbuf=4096)
    row.barrier()
    half_closed.fin()
    burnt = cpu_seconds(row.pid)
    wait_until(lambda: len(row.found("CLOSED")) == 11, 5)
    assert cpu_seconds(row.pid) - burnt < 0.25, "a busy loop on the half-closed socket"
    assert {record["code"] for record in row.found("CLOSED")} <= {1006, None}
    for version in (76,):
        row.open("/echo", version).fin().rest()
        row.open("/echo", version).send(b"\x00half").reset()
    wait_until(lambda: len(row.found("CLOSED")) == 13, 5)


def test_CL_09_the_application_closes_wrongly(row: Row) -> None:
    row.own("close-refused")
    client = row.open("/command")
    for code in (1005, 1006, 1015, 0, 70000, 999, 5000, -1):
        answer = row.result(client, {"do": "close", "code": code})
        assert answer in ([-1], ["ValueError"], ["OverflowError"]), (code, answer)
    for reason in (b"ok\xc3", b"\xff", b"\xed\xa0\x80"):
        answer = row.result(client, {"do": "close", "reason": reason.hex()})
        assert answer in ([-1], ["ValueError"]), (reason, answer)
    client.send(frame(PING, b"still"))
    assert client.frame().payload == b"still", "something was sent for a refused close"
    # a long reason is cut at the end of a code point
    for unit in ("r", "\u00e9", "\u20ac", "\U0001f600"):
        client = row.open("/command")
        reason = (unit * 200).encode()[:200] if unit == "r" else (unit * 60).encode()
        assert row.result(client, {"do": "close", "code": 4000, "reason": reason.hex()}) == [0]
        size = len(unit.encode())
        client.closing(4000, reason=reason[: 123 // size * size] if len(reason) > 123 else reason)
        client.send(frame(CLOSE, close_payload(4000)))
        assert client.rest() == b""


def test_CL_08_queued_output_is_dropped_with_the_stream(row: Row) -> None:
    """A reset while the peer's replies wait: CLOSED comes at once, nothing is kept."""
    row.own("write-refused")
    client = row.open("/echo", rcvbuf=4096)
    sender = threading.Thread(target=client.send, args=(text(b"x" * 60_000) * 8,))
    sender.start()
    sender.join(5)
    client.reset()
    row.wait_event("CLOSED")
