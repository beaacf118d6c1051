"""Section 2: HTTP request parsing."""

from __future__ import annotations

import contextlib
import random
import ssl
import threading
import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime

import pytest
from support.raw import Client, get, head, upgrade, upgrade76
from support.row import Row
from support.server import cpu_seconds

HOST = b"Host: localhost\r\n"
NEXT = get("/smuggled")


def request(*lines: bytes, first: bytes = b"GET / HTTP/1.1") -> bytes:
    """A head of raw field lines behind a Host."""
    return first + b"\r\n" + HOST + b"".join(line + b"\r\n" for line in lines) + b"\r\n"


def refused(*statuses: int) -> Callable[[Client], object]:
    return lambda client: client.refused(*statuses)


def served(uri: str | bytes = "/") -> Callable[[Client], object]:
    return lambda client: client.served(uri)


def no_callback(row: Row) -> None:
    """The application saw nothing of it."""
    row.barrier()
    assert not row.found("HTTP") and not row.found("FILTER") and not row.found("ESTABLISHED")


def edges(data: bytes, *near: int) -> list[int]:
    """Cuts for long data: around its ends and around the places named."""
    places = {1, 2, 3, 4, 5, len(data) - 4, len(data) - 3, len(data) - 2, len(data) - 1}
    for at in near:
        places.update(range(at - 2, at + 3))
    return sorted(places)


def test_HTTP_01_request_line_at_and_over_the_limit(row: Row) -> None:
    row.expect("http-line-too-long")
    for size, uri_only in ((8192, True), (8193, False)):
        target = b"/" + b"a" * (size - len(b"GET / HTTP/1.1"))
        data = get(target)
        assert data.index(b"\r\n") == size
        check = served(target) if uri_only else refused(414)
        row.ways(data, check, cuts=edges(data, 4096, 8192), bytewise=False)
    row.ways(b"GET /" + b"a" * 9000, refused(414), cuts=[8191, 8192, 8193, 8194], bytewise=False)


def test_HTTP_02_field_at_and_over_the_limit(row: Row) -> None:
    row.expect("http-header-too-long")
    for data, check in (
        (get("/", ("X", b"v" * 8191)), served()),
        (get("/", ("X", b"v" * 8192)), refused(431)),
        (get("/", (b"N" * 8193, b"v")), refused(431)),
    ):
        row.ways(data, check, cuts=edges(data, 40, 4096, 8192, 8230), bytewise=False)


def test_HTTP_03_number_of_fields(row: Row) -> None:
    row.expect("http-too-many-headers")
    for count, check in ((100, served()), (101, refused(431))):
        data = get("/", *[(f"A{n}", "v") for n in range(count - 1)])
        row.ways(data, check, cuts=edges(data, 40, 400), bytewise=False)
    many = upgrade("/echo", *[(f"A{n}", "") for n in range(2000)])
    row.ways(many, refused(431), cuts=edges(many, 8192, 16384), bytewise=False)


def test_HTTP_04_endless_field(row: Row) -> None:
    row.expect("http-header-too-long")
    before = cpu_seconds(row.pid)
    client = row.connect()
    client.send(b"GET / HTTP/1.1\r\n" + HOST + b"X: ")
    sent = 0
    while sent < 16384:
        client.send(b"v" * 100)
        sent += 100
    reply = client.response()
    assert reply.status == 431
    while sent < 20_000_000 and not client.send_failed:
        client.send(b"v" * 100)
        sent += 100
    assert client.send_failed, "the server read 20 MB of a refused head"
    assert client.rest() == b""
    assert cpu_seconds(row.pid) - before < 0.1


def test_HTTP_05_head_cut_then_end_of_stream(row: Row) -> None:
    row.expect("http-eof-in-head")
    for data in (get("/x", ("A", "b")), upgrade("/x"), upgrade76("/x")):
        clients = [row.connect().send(data[:size]).fin() for size in range(len(data))]
        for client in clients:
            assert client.rest() == b""
            client.close()
    no_callback(row)


def test_HTTP_06_empty_lines_before_the_request_line(row: Row) -> None:
    row.expect("http-bad-request-line")
    row.ways(b"\r\n" + get(), served())
    row.ways(b"\r\n\r\n" + get(), served())
    row.ways(b"\r\n\r\n\r\n" + get(), refused(400))


def test_HTTP_07_line_ends(row: Row) -> None:
    row.expect("http-bad-line-end")
    plain = get("/", ("A", "b"))
    for data in (
        plain.replace(b"\r\n", b"\n"),
        plain.replace(b"\r\n", b"\r"),
        plain.replace(b"\r\n", b"\r\r\n"),
        get("/", ("A", b"b\rc")),
        get("/", ("A", b"b\nX: c")),
        plain[:-2] + b"\n",
        get("/a\rb"),
        get("/a\nb"),
    ):
        row.ways(data, refused(400))
    no_callback(row)


def test_HTTP_08_white_space_around_a_name(row: Row) -> None:
    row.allow("http-obs-fold")  # white space at a line's start is that, too
    row.expect("http-bad-header")
    for line in (b"Host : x", b"Host\t: x", b" Host: x", b"\tHost: x"):
        row.ways(b"GET / HTTP/1.1\r\n" + line + b"\r\n\r\n", refused(400))
    no_callback(row)


def test_HTTP_09_folded_field(row: Row) -> None:
    row.expect("http-obs-fold")
    for fold in (b" c", b"\tc", b" "):
        row.ways(request(b"A: b", fold), refused(400))
    no_callback(row)


def test_HTTP_10_field_names(row: Row) -> None:
    row.expect("http-bad-header")
    bad = [b"colonless", b": x", b"a(b: x", b"a@b: x", b"a b: x", b"\x00a: x", b"a\x00: x"]
    for line in bad:
        row.ways(request(line), refused(400))
    for byte in [*range(0x80, 0x100), 0x7F, *range(1, 9), 0x0B, 0x0C, *range(0x0E, 0x20)]:
        row.connect().send(request(b"a%cb: x" % byte)).refused(400)
    no_callback(row)


def test_HTTP_11_bytes_of_a_value(row: Row) -> None:
    row.expect("http-bad-header")
    for byte in [*range(9), 0x0B, 0x0C, *range(0x0E, 0x20), 0x7F]:
        row.connect().send(request(b"A: x%cy" % byte)).refused(400)
    row.ways(request(b"A: x\x00y"), refused(400))
    no_callback(row)
    row.ways(request(b"A: \tx\ty\x80\xff"), served())
    # hixie-76 gives the origin back: the only value that the client can see again
    origin = b"http://\x80" + bytes(range(0xA0, 0x100)) + b"\tx"
    reply = row.connect().ask(upgrade76("/sink", origin=origin))
    assert reply.status == 101 and reply.one("Sec-WebSocket-Origin") == origin


def test_HTTP_12_host(row: Row) -> None:
    row.expect("http-bad-host")
    for lines in (
        b"",
        b"Host: a\r\nHost: a\r\n",
        b"Host: a\r\nHost: b\r\n",
        b"Host:\r\n",
        b"Host:  \r\n",
        b"Host: a b\r\n",
        b"Host: ../../etc\r\n",
        b"Host: a/b\r\n",
        b"Host: u@a\r\n",
    ):
        row.ways(b"GET / HTTP/1.1\r\n" + lines + b"\r\n", refused(400))
    no_callback(row)
    row.ways(b"GET / HTTP/1.0\r\n\r\n", served())
    for host in (b"a", b"a:80", b"[::1]", b"[::1]:80", b"127.0.0.1:7681", b"a-b.c_d"):
        row.connect().send(head("GET / HTTP/1.1", [("Host", host)])).served("/")


def test_HTTP_13_malformed_content_length(row: Row) -> None:
    row.expect("http-bad-length")
    minus = -len(request(b"Content-Length: -00"))
    for value in (
        b"-1", b"+5", b"5 5", b"0x5", b"5,5", "\u0665".encode(), b"9" * 20, b"%d" % 2**64,
        b"%d" % 2**63, b"%d" % minus, b"", b"5;", b"5.0", b"1e3",
    ):  # fmt: skip
        row.ways(request(b"Content-Length: " + value) + NEXT, refused(400), bytewise=True)
    no_callback(row)


def test_HTTP_14_several_content_lengths(row: Row) -> None:
    row.expect("http-bad-length")
    for values in ((b"5", b"6"), (b"5", b"5"), (b"0", b"5"), (b"0", b"0")):
        data = request(*[b"Content-Length: " + value for value in values])
        row.ways(data + NEXT, refused(400))
    no_callback(row)
    row.ways(request(b"Content-Length: 0"), served())


def test_HTTP_15_transfer_encoding_that_could_smuggle(row: Row) -> None:
    row.expect("http-smuggle")
    row.allow("http-bad-header")  # the vertical tab
    for lines in (
        (b"Transfer-Encoding: chunked", b"Content-Length: 5"),
        (b"Content-Length: 5", b"Transfer-Encoding: chunked"),
        (b"Content-Length: 0", b"Transfer-Encoding: chunked"),
        (b"Transfer-Encoding: xchunked",),
        (b"Transfer-Encoding: chunked, identity",),
        (b"Transfer-Encoding: \x0bchunked",),
        (b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"),
        (b"Transfer-Encoding: identity", b"Transfer-Encoding: chunked"),
        (b"Transfer-Encoding:",),
        (b"Transfer-Encoding: ,",),
        (b"Transfer-Encoding: gzip",),
        (b"Transfer-Encoding: chunked, chunked",),
        (b"Transfer-Encoding: gzip chunked",),
        (b'Transfer-Encoding: x;a="b, chunked"',),
        (b"Transfer-Encoding: gzip, chunked", b"Content-Length: 5"),
    ):
        row.ways(request(*lines) + b"0\r\n\r\n" + NEXT, refused(400))
    no_callback(row)


def test_HTTP_16_chunked_body(row: Row) -> None:
    row.expect("http-body-refused")
    for value in (b"chunked", b"Chunked", b"gzip, chunked", b", x;a=b ,,CHUNKED,"):
        body = b"%x\r\n" % len(NEXT) + NEXT + b"\r\n0\r\n\r\n"
        row.ways(request(b"Transfer-Encoding: " + value) + body + NEXT, refused(501))
    no_callback(row)


def test_HTTP_17_bodies_and_expectations(row: Row) -> None:
    row.expect("http-body-refused")
    length, ready = b"Content-Length: 5", b"Expect: 100-continue"
    for method in (b"GET", b"POST"):
        first = method + b" / HTTP/1.1"
        row.ways(request(length, first=first) + b"hello" + NEXT, refused(413))
        row.ways(request(length, ready, first=first) + b"hello" + NEXT, refused(413))
        row.ways(request(length, ready, first=first), refused(413))
    row.ways(request(b"Expect: x"), refused(417))
    row.ways(request(b"Expect: 100-continue, x"), refused(417))
    no_callback(row)
    row.ways(request(b"Expect: ,100-continue, "), served())
    row.ways(request(b"Expect:"), served())


def test_HTTP_18_methods(row: Row) -> None:
    row.expect("http-method")

    def not_allowed(client: Client) -> None:
        assert client.refused(405).one("Allow") == b"GET, HEAD"

    for first in (b"POST /", b"PUT /", b"TRACE /", b"CONNECT a:1", b"OPTIONS *", b"DELETE /"):
        row.ways(request(first=first + b" HTTP/1.1"), not_allowed)
    for first in (b"FOO /", b"get /", b"GETX /", b"G /"):
        row.ways(request(first=first + b" HTTP/1.1"), refused(501))
    no_callback(row)


def test_HTTP_19_versions(row: Row) -> None:
    row.expect("http-version")
    row.allow("http-bad-request-line")
    for first in (b"GET / HTTP/2.0", b"PRI * HTTP/2.0", b"GET / HTTP/0.9", b"GET / HTTP/3.0"):
        row.ways(request(first=first), refused(505))
    for first in (
        b"GET / HTTP/1.1x", b"GET / http/1.1", b"GET /", b"GET / ", b"GET  / HTTP/1.1",
        b"GET /  HTTP/1.1", b"GET / HTTP/1.1 ", b"GET / HTTP/11", b"GET / HTTP/1,1",
        b"GET\t/ HTTP/1.1",
    ):  # fmt: skip
        row.ways(request(first=first), refused(400))
    no_callback(row)

    def twice(client: Client) -> None:
        client.served("/")
        client.send(get("/again")).served("/again")

    def closes(client: Client) -> None:
        client.served("/")
        assert client.rest() == b""

    row.ways(request(first=b"GET / HTTP/1.2"), twice)
    row.ways(request(first=b"GET / HTTP/1.0"), closes)


def test_HTTP_20_targets(row: Row) -> None:
    row.expect("http-bad-target")
    row.allow("http-version", "http-bad-request-line")  # an empty target, one with a space
    bad = [b"", b"x", b"/a b", b"/%zz", b"/%", b"/%4", b"/%00", b"/a#b", b"*", b"a:1", b"/\x7f"]
    for target in bad:
        row.ways(request(first=b"GET " + target + b" HTTP/1.1"), refused(400))
    for byte in range(0x80, 0x100):
        row.connect().send(request(first=b"GET /%c HTTP/1.1" % byte)).refused(400)
    no_callback(row)
    row.ways(request(first=b"GET //h/p HTTP/1.1"), served("//h/p"))
    for target in (b"/?", b"/a?b=c&d", b"/%41%ff", b"/a/../b", b"/:@!$'()*+,;=~-._"):
        row.connect().send(get(target)).served(target)


def test_HTTP_25_a_query_is_the_applications(row: Row) -> None:
    """Browsers send a lone % as it is; in the path, which may name a file, it stays a fault."""
    row.expect("http-bad-target")
    for query in (b"discount=10%", b"%", b"%zz&%4", b"a=%00", b"a#b", b'{}|\\^`"<>', b"?//"):
        row.ways(request(first=b"GET /?" + query + b" HTTP/1.1"), served(b"/?" + query))
    row.barrier()
    mark = row.server.mark()
    for target in (
        b"/%?a",
        b"/10%/?a",
        b"/%0?0",
        b"/a#b?c",
        b"/?a\x7f",
        b"/?\x80",
        b"/?\xff",
        b"?a",
    ):
        row.ways(request(first=b"GET " + target + b" HTTP/1.1"), refused(400))
    row.barrier()
    assert not row.server.found("HTTP", mark)


def test_HTTP_26_absolute_targets(row: Row) -> None:
    """RFC 9112, section 3.2.2: a server MUST accept the absolute form."""
    row.expect("http-bad-target")
    for target, uri in (
        (b"http://h/p", "/p"), (b"https://h:443/p?q", "/p?q"), (b"ws://h/p", "/p"),
        (b"wss://h/p", "/p"), (b"HTTP://h", "/"), (b"Ws://h", "/"), (b"wSS://[::1]:1/", "/"),
        (b"http://a.org?hail=all", "/?hail=all"), (b"wss://h?", "/?"), (b"http://h?/a%", "/?/a%"),
    ):  # fmt: skip
        row.ways(request(first=b"GET " + target + b" HTTP/1.1"), served(uri))
    head_ = request(first=b"GET ws://h?a=b HTTP/1.1") + get("/next")
    row.ways(head_, lambda client: (client.served("/?a=b"), client.served("/next")))
    row.barrier()
    mark = row.server.mark()
    for target in (
        b"ftp://h/", b"wsx://h/", b"ws:/h/", b"ws://", b"http://?a", b"http:///p", b"http://u@h/",
        b"http://h:x/", b"http://h/%", b"h/p",
    ):  # fmt: skip
        row.ways(request(first=b"GET " + target + b" HTTP/1.1"), refused(400))
    row.barrier()
    assert not row.server.found("HTTP", mark)


@pytest.mark.server(hosts=["good", "localhost"])
def test_HTTP_26_the_host_of_an_absolute_target_counts(row: Row) -> None:
    row.expect("http-bad-host")
    for target, status in (
        ("ws://good/", 200), ("http://good?x", 200), ("ws://evil/", 421),
        ("http://evil?good/", 421),
    ):  # fmt: skip
        head_ = head(f"GET {target} HTTP/1.1", [("Host", "good" if status == 421 else "evil")])
        assert row.connect().ask(head_).status == status, target


def test_HTTP_27_every_refusal_has_a_date(row: Row) -> None:
    """RFC 9110, section 6.6.1; in the middle of a year, and by our own clock."""
    row.allow(
        "http-method", "http-bad-target", "http-too-many-headers", "ws-version", "http-version"
    )
    for data in (
        get("/%"), get(method="OPTIONS"), get(method="FOO"), get("/nothing"), upgrade(version="9"),
        get("/", *[("A", "b")] * 200), b"GET / HTTP/2.0\r\n\r\n",
    ):  # fmt: skip
        before = int(time.time())
        reply = row.connect().ask(data)
        assert reply.status >= 400
        date = parsedate_to_datetime((reply.one("Date") or b"").decode()).timestamp()
        assert before <= date <= time.time(), reply


def test_HTTP_28_no_body_after_the_refusal_of_a_head_that_is_too_long(row: Row) -> None:
    """What is refused before its end may be a HEAD all the same (RFC 9110, section 9.3.2)."""
    row.expect("http-too-many-headers", "http-line-too-long", "http-header-too-long")
    for data, status in (
        (get("/", *[("A", "b")] * 200, method="HEAD"), 431),
        (b"HEAD /" + b"a" * 9000, 414),
        (get("/", ("X", b"v" * 9000), method="HEAD"), 431),
    ):
        row.connect().send(data).refused(status, bodiless=True)


def test_HTTP_21_pipelining(row: Row) -> None:
    three = get("/a", ("Connection", "keep-alive"), ("Cookie", "x")) + get("/b") + get("/c?d")

    def in_order(client: Client) -> None:
        for uri in ("/a", "/b", "/c?d"):
            client.served(uri)

    row.ways(three, in_order)
    # 10 000 in one connection, some under way at any time: the lingering close reads out no more
    client = row.connect(timeout=20)
    ten = get("/nothing") * 10
    for number in range(1, 1001):
        if number % 10 == 1:
            client.send(ten)
        reply = client.response()
        assert reply.status == 404, reply
        last = (reply.one("Connection") or b"").lower() == b"close"
        assert last == (number == 1000), f"Connection: close on reply {number}"
    client.send(ten * 900)
    assert client.rest() == b""
    row.barrier()
    assert len([r for r in row.found("HTTP") if r["uri"] == "/nothing"]) == 1000
    # all in one write: as many answers as can be had, in order, and no further callback
    flood = row.connect(timeout=20)
    sender = threading.Thread(target=flood.send, args=(get("/flood") * 10_000,))
    sender.start()
    replies = flood.rest().count(b"HTTP/1.1 200 OK")
    sender.join()
    assert 0 < replies <= 1000
    row.barrier()
    assert len([r for r in row.found("HTTP") if r["uri"] == "/flood"]) == 1000


def test_HTTP_22_replies_without_a_body(row: Row) -> None:
    row.expect("http-bad-header")

    def in_place(client: Client) -> None:
        first = client.response(bodiless=True)
        assert first.status == 200 and first.one("Content-Length") == b"10240"
        second = client.response(bodiless=True)
        assert second.status == 404 and second.one("Content-Length") != b"0"
        client.served("/x")

    row.ways(get("/file", method="HEAD") + get("/nothing", method="HEAD") + get("/x"), in_place)
    bad = get("/", ("a b", "c"), method="HEAD")
    row.ways(bad, lambda client: client.refused(400, bodiless=True))


def client_hello() -> bytes:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = ssl.create_default_context().wrap_bio(incoming, outgoing, server_hostname="localhost")
    with contextlib.suppress(ssl.SSLWantReadError):
        tls.do_handshake()
    return outgoing.read()


@pytest.mark.server(handshake_timeout=0.5)
def test_HTTP_23_other_protocols_and_noise(row: Row) -> None:
    row.expect("http-bad-request-line")
    row.allow("http-method", "http-bad-line-end", "handshake-timeout", "http-bad-header")
    sslv2 = bytes.fromhex(
        "802e0100020015000000100100800200800300800400800500800600400700c0"
    ) + bytes(16)
    for data in (client_hello(), sslv2, b"SSH-2.0-OpenSSH_9.2p1\r\n", bytes(1000)):
        with row.connect() as client:
            reply = client.send(data).rest()
            assert reply == b"" or reply.startswith(b"HTTP/1.1 400 "), reply
    rng = random.Random(0)
    for _ in range(10):
        clients = [row.connect().send(rng.randbytes(4096)) for _ in range(50)]
        for client in clients:
            reply = client.rest()
            assert reply == b"" or reply.startswith(b"HTTP/1.1 4"), reply
            client.close()
    no_callback(row)


def test_HTTP_24_terminal_codes_and_formats_in_the_log(row: Row) -> None:
    row.expect("http-bad-header")
    row.allow("http-bad-target", "http-bad-request-line")
    escape = b"\x1b[31mred\x1b]0;title\x07"
    for data in (
        get(b"/" + escape),
        get("/", ("User-Agent", escape)),
        get("/", ("Origin", escape)),
    ):
        row.ways(data, refused(400))
    row.connect().send(upgrade("/echo", ("Origin", escape))).refused(400)
    no_callback(row)
    row.connect().send(get("/x%0d%0aSet-Cookie:%20a")).served("/x%0d%0aSet-Cookie:%20a")
    row.connect().send(get("/%25s%25n" * 900)).served(None)
    row.connect().send(get("/", ("User-Agent", "%s%n%" * 1600))).served("/")
    row.connect().send(get("/" + "%" * 8000)).refused(400)
    row.barrier()
    for line in row.server.logs():
        assert len(line["message"]) < 600 and "\n" not in line["message"]


def test_HTTP_04_head_limit_over_many_fields(row: Row) -> None:
    """The same limit for a head of many fields, none of them too long: work stays linear."""
    row.expect("http-header-too-long")
    row.allow("http-too-many-headers")
    start = time.perf_counter()
    data = get("/", *[(f"A{n}", b"v" * 1000) for n in range(20)])
    row.ways(data, refused(431), cuts=edges(data, 8192, 16384), bytewise=False)
    assert time.perf_counter() - start < 5
