"""Section 3: the opening handshake; that of version 76 is in test_handshake76.py."""

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

from hostile.test_http import edges, no_callback, refused, served

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


def test_UP_09_upgrade_fields_on_HEAD_are_ignored(row: Row) -> None:
    """A handshake is a GET (RFC 6455, section 4.1); any other request may have its Upgrade ignored
    (RFC 9110, section 7.8), and HEAD is answered wherever GET is (section 9.3.2).
    """

    def plain(client: Client) -> None:
        reply = client.response(bodiless=True)
        assert reply.status == 200 and reply.one("Content-Length") == b"10240", reply
        client.send(get("/next")).served("/next")

    for data in (upgrade("/file"), upgrade("/file", version="9"), upgrade76("/file", key3=b"")):
        row.ways(data.replace(b"GET ", b"HEAD ", 1), plain)
    row.barrier()
    assert not row.found("ESTABLISHED") and not row.found("FILTER")


def test_UP_10_absolute_targets_of_upgrades(row: Row) -> None:
    for target in ("ws://h/echo", "WSS://h/echo", "http://h:80/echo", "https://h/echo"):
        row.ways(upgrade(target), accepted)
        row.ways(upgrade76(target), accepted76)
    for request in (upgrade("ws://h?a=b"), upgrade76("wss://h?a=b", host="other")):
        mark = row.server.mark()
        reply = row.connect().send(request).response()
        assert reply.status == 101
        assert reply.one("Sec-WebSocket-Location") in (None, b"ws://h/?a=b")
        for event in ("FILTER", "ESTABLISHED"):
            row.server.wait_event(event, 5, mark, uri="/?a=b")


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


@pytest.mark.server(
    origins=["file://", "https://*.example.org", "http://*.example.net:81", "app://*.x.y"],
    fields=[("Origin", "file://")],
)
def test_UP_11_origins_of_files_and_of_any_label(row: Row) -> None:
    row.expect("ws-origin")
    for origin in (
        "file://", "FILE://", "https://a.example.org", "https://A-B.EXAMPLE.org",
        "https://a.example.org:443", "http://a.example.net:81", "app://q.x.y",
    ):  # fmt: skip
        row.ways(upgrade("/echo", ("Origin", origin)), accepted)
    row.barrier()
    mark = row.server.mark()
    for origin in (
        "https://example.org", "https://a.b.example.org", "https://.example.org",
        "https://*.example.org", "https://a.example.org.evil.com", "https://aexample.org",
        "https://a.example.org:444", "http://a.example.org", "http://a.example.net", "file:///",
        "file://h", "file://:80", "http://", "https://", "null", "*", "https://*",
        "https://x/.example.org",
    ):  # fmt: skip
        row.ways(upgrade("/echo", ("Origin", origin)), refused(403))
    row.barrier()
    assert not row.server.found("ESTABLISHED", mark)


@pytest.mark.server(hosts=["*.example.org", "*.example.net:81", "localhost"])
def test_UP_11_hosts_of_any_label(row: Row) -> None:
    row.expect("http-bad-host")
    for host, status in (
        ("a.example.org", 200), ("A.example.ORG:8", 200), ("a.example.net:81", 200),
        ("a.example.net", 421), ("example.org", 421), ("a.b.example.org", 421),
        ("*.example.org", 421), ("a.example.org.evil.com", 421),
    ):  # fmt: skip
        assert row.connect().ask(head("GET / HTTP/1.1", [("Host", host)])).status == status, host


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
        "a,,c",
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


@pytest.mark.server(subprotocols=["known", None])
def test_UP_12_empty_elements_of_lists(row: Row) -> None:
    """RFC 9110, section 5.6.1.2: a recipient MUST ignore a reasonable number of them."""

    def chosen(name: bytes | None) -> Callable[[Client], None]:
        def check(client: Client) -> None:
            reply = client.response()
            assert reply.status == 101 and reply.one("Sec-WebSocket-Protocol") == name, reply
            assert reply.one("Sec-WebSocket-Extensions") is None

        return check

    for values, name in (
        (["known,"], b"known"), ([",known"], b"known"), (["a,,known"], b"known"),
        (["a, \t,known , "], b"known"), (["", "known"], b"known"), (["known", ""], b"known"),
        ([""], None), ([","], None), (["", " , ,"], None),
    ):  # fmt: skip
        row.ways(upgrade("/echo", *map(offer, values)), chosen(name))
        row.connect().send(upgrade76("/echo", *map(offer, values))).response()
    for values in (
        ["a,"], [",a"], ["a,,b"], ["a; x=1 , ,b"], [""], [","], ["a", ""], ["", "a"],
    ):  # fmt: skip
        fields = [("Sec-WebSocket-Extensions", value) for value in values]
        row.ways(upgrade("/echo", *fields), chosen(None))
    row.barrier()
    assert row.found("ESTABLISHED")


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
        "dGhlIHNhbXBsZSBub25jZQ", "dGhlIHNhbXBsZSBub25jZQ=", "====", "=" * 24,
        "dGhlIHNhbXBsZSBub25jZ===", "dGhlIHNhbXBsZSBub25jZQA=",
        b"dGhlIHNhbXBsZSBub25jZQ==, x", b"\xc3\xa4GhlIHNhbXBsZSBub25jZQ==",
    ):  # fmt: skip
        row.ways(upgrade(key=key), refused(400))
    row.ways(upgrade("/echo", ("Sec-WebSocket-Key", KEY)), refused(400))
    long = upgrade(key="A" * 8000)
    row.ways(long, refused(400), cuts=edges(long), bytewise=False)
    no_callback(row)


@pytest.mark.parametrize("version", ["7", "8", "13"])
@pytest.mark.parametrize("key", [b"AQIDBAUGBwgJCgsMDQ4PEC==", b"dGhlIHNhbXBsZSBub25jZR=="])
def test_HY_08_keys_with_bits_under_the_padding(row: Row, version: str, key: bytes) -> None:
    """The first is the example of RFC 6455, section 1.2: 16 bytes decoded is all that is asked."""

    def check(client: Client) -> None:
        reply = client.response()
        assert reply.status == 101 and reply.one("Sec-WebSocket-Accept") == accept_key(key)
        client.echo(b"hello")

    row.ways(upgrade(version=version, key=key), check)


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
