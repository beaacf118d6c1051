"""Section 3.2: the opening handshake of hixie-76, and its frames."""

from __future__ import annotations

import time

import pytest
from support.raw import (
    KEY1,
    KEY2,
    KEY3,
    Client,
    hixie_digest,
    text76,
    upgrade76,
)
from support.row import Row
from support.server import TLS

from hostile.test_handshake import offer
from hostile.test_http import edges, no_callback, refused

SCHEME = b"wss" if TLS else b"ws"


VECTORS = [
    (b"18x 6]8vM;54 *(5:  {   U1]8  z [  8", b"1_ tx7X d  <  nw  334J702) 7]o}` 0", b"Tm[K T2u",
     b"fQJ,fN/4F4!~K~MH"),
    (KEY1, KEY2, KEY3, b"8jKS'y:G*Co,Wxa-"),
    (b"3e6b263  4 17 80", b"17  9 G`ZD9   2 2b 7X 3 /r90", b"WjN}|M(6", b"n`9eBk9z$R8pOtVb"),
]  # fmt: skip


@pytest.mark.parametrize("key1, key2, key3, digest", VECTORS)
def test_H76_01_the_known_vectors(
    row: Row, key1: bytes, key2: bytes, key3: bytes, digest: bytes
) -> None:
    expected = (
        b"HTTP/1.1 101 WebSocket Protocol Handshake\r\n"
        b"Upgrade: WebSocket\r\n"
        b"Connection: Upgrade\r\n"
        b"Sec-WebSocket-Origin: http://example.com\r\n"
        b"Sec-WebSocket-Location: " + SCHEME + b"://example.com/demo\r\n"
        b"Sec-WebSocket-Protocol: sample\r\n"
        b"\r\n"
    )

    def check(client: Client) -> None:
        assert client.take(len(expected)) == expected
        assert client.take(16) == digest
        client.echo(b"hello", 76)

    data = upgrade76(
        "/demo", offer("sample"), key1=key1, key2=key2, key3=key3,
        host="example.com", origin="http://example.com",
    )  # fmt: skip
    row.ways(data, check)


def refused_keys(row: Row, *pairs: tuple[bytes | None, bytes | None], long: bool = False) -> None:
    for key1, key2 in pairs:
        for first, second in ((key1, key2), (key2, key1)):
            data = upgrade76(key1=first, key2=second)
            if long:
                row.ways(data, refused(400), cuts=edges(data, 200), bytewise=False)
            else:
                row.ways(data, refused(400))
    no_callback(row)


def test_H76_02_key_without_a_space(row: Row) -> None:
    row.expect("ws76-bad-key")
    refused_keys(row, (b"x1y2z", KEY2), (b"x12\t34z", KEY2))


def test_H76_03_number_not_a_multiple(row: Row) -> None:
    row.expect("ws76-bad-key")
    refused_keys(row, (b"x1 y 1z", KEY2), (b"x1 1 1 1z", KEY2))


def test_H76_04_size_of_the_number(row: Row) -> None:
    row.expect("ws76-bad-key")
    key1, key2 = b"a4 294967295", b"a8 5899 34590"  # both (2^32 - 1): one space, two spaces

    def check(client: Client) -> None:
        assert client.response().status == 101
        assert client.take(16) == hixie_digest(key1, key2, KEY3)

    assert int(b"4294967295") == 2**32 - 1 and int(b"8589934590") == 2 * (2**32 - 1)
    row.ways(upgrade76("/sink", key1=key1, key2=key2), check)
    row.barrier()
    mark = row.server.mark()
    for key in (
        b"a4 294967296b",
        b"a85 899345 92b",
        b"a1 8446744073709551616b",
        b"a9 " + b"9" * 30,
    ):
        row.ways(upgrade76(key1=key), refused(400))
        row.ways(upgrade76(key2=key), refused(400))
    long = upgrade76(key1=b"a1 " + b"0" * 4000)
    row.ways(long, refused(400), cuts=edges(long, 200), bytewise=False)
    wrapping = b"a" + b"%d" % (2**64 + 12345) + b" b"
    row.ways(upgrade76(key1=wrapping), refused(400))
    assert not row.server.found("ESTABLISHED", mark)


def test_H76_05_digits(row: Row) -> None:
    row.expect("ws76-bad-key")
    refused_keys(row, (b"x y z", KEY2), (b"123456", KEY2), (b"x \xb2\xb3\xb9 y", KEY2))
    refused_keys(row, ("x ٣٤ y".encode(), KEY2))
    high = bytes(range(0x80, 0x100))
    key1 = b"a1" + high + b" 2b"

    def check(client: Client) -> None:
        assert client.response().status == 101
        assert client.take(16) == hixie_digest(b"a1 2b", KEY2, KEY3)

    row.ways(upgrade76("/sink", key1=key1), check)


def test_H76_06_keys_double_or_missing(row: Row) -> None:
    row.expect("ws76-bad-key")
    row.allow("ws-version")  # with neither key it is no hixie-76 request at all
    for name, key in (("Sec-WebSocket-Key1", KEY1), ("Sec-WebSocket-Key2", KEY2)):
        row.ways(upgrade76("/echo", (name, key)), refused(400))
    row.ways(upgrade76(key2=None), refused(400))
    row.ways(upgrade76(key1=None), refused(400))
    no_callback(row)


@pytest.mark.server(handshake_timeout=0.5)
def test_H76_07_key3_that_does_not_come(row: Row) -> None:
    row.expect("handshake-timeout")
    start = time.monotonic()
    stalled = [row.connect().send(upgrade76(key3=KEY3[:size])) for size in range(8)]
    ended = [row.connect().send(upgrade76(key3=KEY3[:size])).fin() for size in range(8)]
    for client in ended:
        assert client.rest() == b""
    assert time.monotonic() - start < 0.45, "the ends of stream waited for the deadline"
    for client in stalled:
        client.refused(408)
    assert 0.4 < time.monotonic() - start < 1.5
    no_callback(row)


def test_H76_08_raw_key3_and_a_first_frame(row: Row) -> None:
    for key3 in (
        bytes(8),
        b"\r\n\r\n\r\n\r\n",
        b"\xff" * 8,
        b" 234567 ",
        b"\x00hi\xff\xff\x00\r\n",
    ):

        def check(client: Client, key3: bytes = key3) -> None:
            assert client.response().status == 101
            assert client.take(16) == hixie_digest(KEY1, KEY2, key3)
            assert client.frame76() == b"first"
            client.echo(b"second", 76)

        row.ways(upgrade76(key3=key3) + text76("first"), check)


def test_H76_09_values_that_are_echoed(row: Row) -> None:
    row.expect("http-bad-header", "http-bad-line-end", "http-header-too-long", "http-line-too-long")
    row.allow("http-bad-target", "http-bad-request-line", "http-bad-host")
    for bad in (b"a\nX: y", b"a\rX: y", b"a\x00b"):
        row.ways(upgrade76(origin=b"http://" + bad), refused(400))
        row.ways(upgrade76(host=bad), refused(400))
        row.ways(upgrade76(b"/" + bad), refused(400))
    for too_long in (
        upgrade76(origin=b"o" * 8192),
        upgrade76(host=b"h" * 8192),
        upgrade76(b"/" + b"p" * 8192),
    ):
        row.ways(too_long, refused(431, 414), cuts=edges(too_long, 8192), bytewise=False)
    no_callback(row)
    origin, path = b"http://" + b"o" * 7900, b"/sink?" + b"p" * 7900
    reply = row.connect().ask(upgrade76(path, origin=origin))
    assert reply.status == 101
    assert reply.one("Sec-WebSocket-Origin") == origin
    assert reply.one("Sec-WebSocket-Location") == SCHEME + b"://localhost" + path


def open76(client: Client) -> None:
    client.open("/echo", version=76)


def closed76(client: Client) -> None:
    """A fault of hixie-76: ff 00, then the end; no message in between."""
    assert client.rest() == b"\xff\x00"


@pytest.mark.server(max_message=65536)
def test_H76_10_frames_and_the_limit(row: Row) -> None:
    row.expect("ws-too-big")

    def hello(client: Client) -> None:
        assert client.frame76() == b"hello"

    row.ways(text76("hello"), hello, before=open76)
    for lead in range(1, 0x80):
        row.open(version=76).send(b"%cskipped\xff" % lead + text76("hello")).frame76()
    row.ways(b"\x01skipped\xff" + text76("hello"), hello, before=open76)
    row.open(version=76).echo(b"x" * 65536, 76)
    for first in (b"\x00", b"\x01", b"\x7f"):
        data = first + b"x" * 65537
        row.ways(data, closed76, before=open76, cuts=edges(data, 65536), bytewise=False)
    row.barrier()
    assert {record["length"] for record in row.found("RECEIVE")} == {5, 65536}


def test_H76_11_lengths(row: Row) -> None:
    row.expect("ws-protocol-error")

    def base128(value: int) -> bytes:
        out = [value & 0x7F]
        while value := value >> 7:
            out.append(0x80 | value & 0x7F)
        return bytes(reversed(out))

    def hello(client: Client) -> None:
        assert client.frame76() == b"hello"

    for data in (b"\x80" * 1001, b"\x80" + base128(2**63), b"\xfe" + base128(2**64 - 1)):
        row.ways(
            data,
            closed76,
            before=open76,
            cuts=range(1, min(len(data), 20)),
            bytewise=len(data) < 20,
        )
    for lead in (0x80, 0x81, 0xFE):
        skipped = b"%c" % lead + base128(100) + b"\x00\xff" * 50
        row.ways(skipped + text76("hello"), hello, before=open76)
    row.barrier()
    assert {record["length"] for record in row.found("RECEIVE")} == {5}


def test_H76_12_closing_and_bad_text(row: Row) -> None:
    row.expect("ws-protocol-error")
    row.allow("ws-utf8")
    row.ways(b"\xff\x00", closed76, before=open76)
    row.ways(b"\xff\x00" + text76("late") + b"\xff\x00", closed76, before=open76)
    for bad in (
        b"\xff\x01",
        b"\xff\x05hello",
        text76(b"\xc0\x80"),
        text76(b"a\x80"),
        text76(b"\xe2\x82"),
    ):
        row.ways(bad, closed76, before=open76)
    row.barrier()
    assert not row.found("RECEIVE")


def test_H76_12_binary_write(row: Row) -> None:
    row.own("write-refused")
    client = row.open("/command", version=76)
    mark = row.server.mark()
    client.send(text76('{"do": "write", "data": "00ff", "protocol": 1}'))
    assert row.server.wait_event("RESULT", 5, mark)["value"] == -1
    client.send(text76('{"do": "write", "data": "6f6b", "protocol": 0}'))
    assert client.frame76() == b"ok"
