"""Section 3: the opening handshake."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from support.raw import (
    CLOSE,
    KEY,
    KEY1,
    KEY2,
    KEY3,
    TEXT,
    Client,
    Ended,
    Field,
    accept_key,
    frame,
    get,
    head,
    hixie_digest,
    text,
    text76,
    upgrade,
    upgrade76,
)
from support.row import Row
from support.server import TLS

from hostile.test_http import edges, no_callback, refused, served

SCHEME = b"wss" if TLS else b"ws"
ACCEPT = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


def accepted(client: Client) -> None:
    """A 101 for the key of the RFC, and the session works."""
    reply = client.response()
    assert reply.status == 101, reply
    assert reply.one("Sec-WebSocket-Accept") == ACCEPT
    client.echo(b"hello")


def accepted76(client: Client) -> None:
    reply = client.response()
    assert reply.status == 101, reply
    assert client.take(16) == hixie_digest(KEY1, KEY2, KEY3)
    client.echo(b"hello", 76)


# -- 3.1 All versions


def test_UP_01_other_upgrades_and_http_1_0(row: Row) -> None:
    for token in ("h2c", "foo", "websocket2", "h2c, foo"):
        row.ways(get("/", ("Upgrade", token), ("Connection", "Upgrade")), served("/"))
    row.ways(upgrade("/old").replace(b"HTTP/1.1", b"HTTP/1.0"), served("/old"))
    row.barrier()
    assert not row.found("ESTABLISHED")


def test_UP_02_connection_token(row: Row) -> None:
    row.expect("ws-bad-upgrade")
    for connection in ("keep-alive", "upgraded", "up grade", ""):
        data = upgrade("/echo", ("Connection", connection), drop=["Connection"])
        row.ways(data, refused(400))
    row.ways(upgrade(drop=["Connection"]), refused(400))
    no_callback(row)
    for connection in ("keep-alive, Upgrade", "UPGRADE", "upgrade", "a ,upgrade"):
        data = upgrade("/echo", ("Connection", connection), drop=["Connection"])
        row.ways(data, accepted)
    for token in ("WebSocket", "WEBSOCKET", "websocket"):
        row.ways(upgrade("/echo", ("Upgrade", token), drop=["Upgrade"]), accepted)


def test_UP_03_method_and_body_of_an_upgrade(row: Row) -> None:
    row.expect("http-method", "http-body-refused")
    post = upgrade().replace(b"GET ", b"POST ", 1)
    row.ways(post, refused(405))
    row.ways(upgrade("/echo", ("Content-Length", "5")) + b"hello", refused(413))
    row.ways(upgrade76().replace(b"GET ", b"POST ", 1), refused(405))
    no_callback(row)


def test_UP_04_versions_not_known(row: Row) -> None:
    row.expect("ws-version")

    def required(client: Client) -> None:
        reply = client.refused(426)
        assert reply.one("Sec-WebSocket-Version") == b"13, 8, 7"

    row.ways(upgrade(version=None, key=None), required)
    row.connect().send(upgrade(version=None)).refused(400, 426)
    for version in ("0", "6", "9", "12", "14", "255"):
        row.ways(upgrade(version=version), required)
    for version in ("013", "13x", "", "x", "-1", "13 8"):
        row.ways(upgrade(version=version), refused(400))
    for version in ("256", "99999999999"):  # a number, but none that the grammar knows
        row.ways(upgrade(version=version), refused(400, 426))
    row.ways(upgrade("/echo", ("Sec-WebSocket-Version", "13")), refused(400))
    row.ways(upgrade("/echo", ("Sec-WebSocket-Version", "8")), refused(400))
    no_callback(row)


def test_UP_05_two_versions_at_once(row: Row) -> None:
    row.expect("ws-version")
    for version in ("7", "8", "13"):
        mixed = upgrade(
            "/echo", ("Sec-WebSocket-Key1", KEY1), ("Sec-WebSocket-Key2", KEY2), version=version
        )
        row.ways(mixed + KEY3, refused(400))
    one_key = upgrade("/echo", ("Sec-WebSocket-Key1", KEY1))
    row.ways(one_key, refused(400))
    no_callback(row)


@pytest.mark.server(origins=["http://good.example"], fields=[("Origin", "http://good.example")])
def test_UP_06_origins(row: Row) -> None:
    row.expect("ws-origin")
    bad = (  # the first two first: their log lines are looked at
        "http://\x80\xff\tx\\x41", "http://" + "\xff" * 500,
        "http://other.example", "null", "http://good.example.evil.com", "http://good.example:81",
        "https://good.example", "http://good.example/", "http://evil.com#http://good.example", "",
    )  # fmt: skip
    for origin in bad:
        row.ways(upgrade("/echo", ("Origin", origin)), refused(403))
        row.connect().send(upgrade76(origin=origin)).refused(403)
        for version in ("7", "8"):
            data = upgrade("/echo", ("Sec-WebSocket-Origin", origin), version=version)
            row.connect().send(data).refused(403)
    row.barrier()
    for line in row.server.logged("ws-origin"):
        assert len(line["message"]) < 64 * 4 + 100, "a value of the peer is cut at 64 bytes"
    double = [("Origin", "http://good.example"), ("Origin", "http://good.example")]
    row.connect().send(upgrade("/echo", *double)).refused(400, 403)
    no_callback(row)
    for origin in ("http://good.example", "HTTP://GOOD.EXAMPLE"):
        row.ways(upgrade("/echo", ("Origin", origin)), accepted)
        row.ways(upgrade76(origin=origin), accepted76)
        for version in ("7", "8"):
            data = upgrade("/echo", ("Sec-WebSocket-Origin", origin), version=version)
            row.ways(data, accepted)


@pytest.mark.server(hosts=["good.example", "localhost"])
def test_UP_07_hosts(row: Row) -> None:
    row.expect("http-bad-host")
    for host in ("evil.example", "good.example.evil.com", "127.0.0.1"):
        origin = ("Origin", f"http://{host}")
        row.ways(upgrade("/echo", origin, host=host), refused(421))
        row.ways(head("GET / HTTP/1.1", [("Host", host), origin]), refused(421))
        row.connect().send(upgrade76(host=host, origin=origin[1])).refused(421)
    no_callback(row)
    row.ways(upgrade("/echo", host="GOOD.example"), accepted)
    row.ways(head("GET / HTTP/1.1", [("Host", "good.example")]), served("/"))


def offer(value: str | bytes) -> Field:
    return ("Sec-WebSocket-Protocol", value)


@pytest.mark.server(subprotocols=["known", "b"], fields=[("Sec-WebSocket-Protocol", "b")])
def test_UP_08_subprotocols(row: Row) -> None:
    row.expect("ws-protocol", "http-bad-line-end", "http-header-too-long")

    def chosen(name: bytes) -> Callable[[Client], None]:
        def check(client: Client) -> None:
            reply = client.response()
            assert reply.status == 101 and reply.one("Sec-WebSocket-Protocol") == name, reply
            client.echo(b"hello")

        return check

    row.ways(upgrade("/echo", offer("known")), chosen(b"known"))
    row.ways(upgrade("/echo", offer("a, known, b")), chosen(b"known"))
    row.ways(upgrade("/echo", offer("a"), offer("b")), chosen(b"b"))
    many = upgrade("/echo", offer(", ".join(f"p{n}" for n in range(1000)) + ", known"))
    row.ways(many, chosen(b"known"), cuts=edges(many), bytewise=False)
    row.barrier()
    mark = row.server.mark()
    for value in (
        "kn\xf6wn\ty",
        "unknown",
        "KNOWN",
        "",
        ",",
        "a,,b",
        "known,",
        "known b",
        "known;b",
        "kn\xf6wn",
    ):
        row.ways(upgrade("/echo", offer(value)), refused(400))
    row.ways(upgrade("/echo", offer(b"known\r\nX: y"), ("A", b"b\nc")), refused(400))
    spaces = upgrade("/echo", offer("b" + " " * 8000 + "x"))
    start = time.perf_counter()
    row.ways(spaces, refused(400), cuts=edges(spaces), bytewise=False)
    row.connect().send(upgrade("/echo", offer("b" + " " * 32000 + "x"))).refused(431)
    assert time.perf_counter() - start < 2
    row.ways(upgrade(), refused(400))
    row.barrier()
    assert not row.server.found("ESTABLISHED", mark)


def test_UP_08_no_subprotocols_given(row: Row) -> None:
    """As in 2010 any offer is taken; the first name of the list."""
    for offered, name in (("dumb", b"dumb"), ("a, b", b"a"), (None, None)):
        data = upgrade("/echo", *([offer(offered)] if offered else []))
        reply = row.connect().ask(data)
        assert reply.status == 101 and reply.one("Sec-WebSocket-Protocol") == name, reply


# -- 3.2 Version 76

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


# -- 3.3 Versions 7, 8 and 13


@pytest.mark.parametrize("version", ["7", "8", "13"])
def test_HY_01_the_example_of_the_rfc(row: Row, version: str) -> None:
    def check(client: Client) -> None:
        reply = client.response()
        assert reply.status == 101
        assert reply.one("Upgrade") == b"websocket"
        assert reply.one("Connection") == b"Upgrade"
        assert reply.one("Sec-WebSocket-Accept") == ACCEPT == accept_key(KEY)
        assert reply.one("Sec-WebSocket-Extensions") is None
        assert reply.one("Sec-WebSocket-Protocol") is None
        client.echo(b"hello")

    row.ways(upgrade(version=version), check)


def test_HY_02_keys(row: Row) -> None:
    row.expect("ws-bad-key")
    for key in (
        None, "", "AAAAAAAAAAAAAAAAAAAA", "AAAAAAAAAAAAAAAAAAAAAA", "AAAAAAAAAAAAAAAAAAAAAAA=",
        "AAAAAAAAAAAAAAAAAAAA====", "A" * 24, "--__AAAAAAAAAAAAAAAAAA==",
        "AAAAAAAA AAAAAAAAAAAAA==",
        "dGhlIHNhbXBsZSBub25jZQ", "dGhlIHNhbXBsZSBub25jZQ=", "dGhlIHNhbXBsZSBub25jZR==", "====",
        b"dGhlIHNhbXBsZSBub25jZQ==, x", b"\xc3\xa4GhlIHNhbXBsZSBub25jZQ==",
    ):  # fmt: skip
        row.ways(upgrade(key=key), refused(400))
    row.ways(upgrade("/echo", ("Sec-WebSocket-Key", KEY)), refused(400))
    long = upgrade(key="A" * 8000)
    row.ways(long, refused(400), cuts=edges(long), bytewise=False)
    no_callback(row)


@pytest.mark.parametrize("version", ["7", "8", "13"])
def test_HY_03_frames_behind_the_handshake(row: Row, version: str) -> None:
    frames = [text("one"), text("two"), text("three")]

    def all_three(client: Client) -> None:
        assert client.response().status == 101
        assert [client.message() for _ in range(3)] == [b"one", b"two", b"three"]

    row.ways(upgrade(version=version) + b"".join(frames), all_three)
    client = row.connect().send(upgrade(version=version) + frames[0][:5])
    assert client.response().status == 101
    client.send(frames[0][5:])
    assert client.message() == b"one"


def test_HY_04_the_client_goes_at_once(row: Row) -> None:
    for path in ("/echo", "/hello", "/tick"):
        for request in (upgrade(path), upgrade76(path)):
            for _ in range(20):
                client = row.connect().send(request).fin()
                client.rest()
                row.connect().send(request).reset()
                client = row.connect().send(request)
                client.take(12)
                client.reset()
    row.barrier()
    # at the end of the row each of those that were established has had its one CLOSED
    assert row.found("ESTABLISHED")


def leave_with_requests_under_way(row: Row) -> None:
    """Peers that go by RST while requests of theirs lie in the present round."""
    for _ in range(200):
        row.open("/tick").reset()
        for request in (get("/a") * 20, get("/file") * 20, get("/a") * 20 + upgrade() + text("x")):
            client = row.connect().send(request)
            client.fill()  # the first reply: the server is at the others now
            client.reset()
        row.connect().send(upgrade("/hello") + text("x") * 5).reset()
        row.connect().send(upgrade76() + text76("x") * 5).reset()
    row.barrier()
    assert row.found("HTTP") and row.found("ESTABLISHED")


def test_HY_04_the_client_goes_with_requests_under_way(row: Row) -> None:
    row.own("write-refused")
    leave_with_requests_under_way(row)


@pytest.mark.server(hosts=["localhost"], origins=[None, "http://localhost"])
def test_HY_04_the_client_goes_before_its_request_is_checked(row: Row) -> None:
    row.own("write-refused")
    leave_with_requests_under_way(row)


def test_HY_05_the_callback_refuses(row: Row) -> None:
    row.expect("callback-error")
    for version in (13, 76):
        request = upgrade if version == 13 else upgrade76
        row.connect().send(request("/refuse")).refused(403)
        row.connect().send(request("/raise/FILTER/ValueError")).refused(500)
        closed = row.connect().send(request("/refuse-close")).rest()
        assert b" 101 " not in closed, closed
        for path in ("/established-close", "/established-nonzero", "/raise/ESTABLISHED/ValueError"):
            client = row.connect().send(request(path))
            assert client.response().status == 101
            if version == 76:
                assert client.take(16) and client.take(2) == b"\xff\x00"
                assert client.send(b"\xff\x00").rest() == b""
                continue
            code = 1011 if "raise" in path else 1000
            assert client.closing(code).opcode == CLOSE
            client.send(frame(CLOSE, b""))
            assert client.rest() == b""
    row.barrier()
    paths = {record["uri"] for record in row.found("ESTABLISHED")}
    assert not any(path.startswith("/refuse") or "FILTER" in path for path in paths)


def test_HY_06_extensions(row: Row) -> None:
    row.expect("ws-extension")
    row.allow("http-header-too-long")

    def offering(value: str) -> bytes:
        return upgrade("/echo", ("Sec-WebSocket-Extensions", value))

    def ignored(client: Client) -> None:
        reply = client.response()
        assert reply.status == 101 and reply.one("Sec-WebSocket-Extensions") is None, reply
        client.echo(b"hello")

    start = time.perf_counter()
    for value in ("foo", "foo; bar=1, baz", 'foo; bar="x"', "permessage-deflate; constructor"):
        row.ways(offering(value), ignored)
    many = offering(", ".join(f"e{n}; a=b" for n in range(500)))
    row.ways(many, ignored, cuts=edges(many), bytewise=False)
    two = upgrade("/echo", ("Sec-WebSocket-Extensions", "a"), ("Sec-WebSocket-Extensions", "b; c"))
    row.ways(two, ignored)
    row.barrier()
    mark = row.server.mark()
    for value in ("a;", "a b", "=x", '"a"', 'a; b="c', "a; b=", "a; =b", "a/b", "a;;b", 'a; b=""'):
        row.ways(offering(value), refused(400))
    long = offering('a="' + '\\"' * 4000)
    row.ways(long, refused(400), cuts=edges(long), bytewise=False)
    row.connect().send(offering('a="' + '\\"' * 30_000)).refused(431)
    row.barrier()
    assert not row.server.found("ESTABLISHED", mark)
    for value in (
        "",
        "a,,b",
        ",",
    ):  # lists may have empty items (RFC 9110, section 5.6.1); or be refused
        assert row.connect().ask(offering(value)).status in (101, 400)
    assert time.perf_counter() - start < 20


@pytest.mark.server(handshake_timeout=0.5)
def test_HY_07_head_that_trickles(row: Row) -> None:
    row.expect("handshake-timeout")
    data = upgrade()
    client = row.connect()
    start = time.monotonic()
    for byte in data:
        client.send(bytes([byte]))
        if time.monotonic() - start > 3:
            break
        client.sock.settimeout(0.05)  # the pace, ended by the reply
        try:
            client.fill()
            break
        except TimeoutError:
            pass
    client.sock.settimeout(5)
    took = time.monotonic() - start
    assert client.response().status == 408
    assert 0.4 < took < 1.0, f"the deadline came after {took:.3f} s"
    silent = row.connect()
    assert silent.rest() == b"", "a reply to a client that sent nothing"
    no_callback(row)


def test_HY_03_first_frame_is_never_lost_at_any_cut(row: Row) -> None:
    """The lost-bytes class once more: the cut lies around the end of the head."""
    request = upgrade("/echo")
    data = request + frame(TEXT, b"x" * 300)

    def check(client: Client) -> None:
        assert client.response().status == 101
        assert client.message() == b"x" * 300

    near = range(len(request) - 6, len(request) + 16)
    row.ways(data, check, cuts=near, bytewise=False)
    with pytest.raises((Ended, AssertionError)):
        row.ways(get("/x"), check, cuts=[], bytewise=False)  # the check can fail
