"""Files as replies: validators, types, precompressed forms, and the pure functions behind them."""

from __future__ import annotations

import errno
import gzip
import os
import re
import subprocess
import sys
import time
from email.utils import formatdate, parsedate_to_datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from inprocess import Served, context_of
from support.raw import get
from support.server import Server

from libwebsockets import (
    LWS_CALLBACK_HTTP,
    libwebsockets_serve_http_file,
    libwebsockets_serve_http_root,
)
from libwebsockets._core import lib
from libwebsockets.http.conditions import (
    UNSATISFIABLE,
    accepted_codings,
    etag_listed,
    parse_date,
    parse_range,
)
from libwebsockets.http.folder import path_of

FILING = f"{Path(__file__).parent / 'support' / 'filing.py'}:files"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "root"
    folder.mkdir()
    (folder / "page.html").write_text("<p>page")
    return folder


@pytest.fixture
def server(root: Path, serve: Any) -> Server:
    started = serve(FILING, env={"LWS_TEST_ROOT": str(root)})
    assert isinstance(started, Server)
    return started


def test_validators_change_with_the_file_and_are_understood(server: Server, root: Path) -> None:
    client = server.connect()
    first = client.ask(get("/page.html"))
    etag, modified = first.one("ETag"), first.one("Last-Modified")
    assert etag and re.fullmatch(rb'"[!#-~]+"', etag)  # strong
    assert modified
    status = (root / "page.html").stat()
    assert parsedate_to_datetime(modified.decode()).timestamp() == int(status.st_mtime)
    assert str(status.st_ino).encode() not in etag
    for fields, code in (
        ([("If-None-Match", etag)], 304),
        ([("If-None-Match", b'"x", W/' + etag)], 304),
        ([("If-None-Match", '"x"'), ("If-None-Match", etag)], 304),
        ([("If-None-Match", '"x"')], 200),
        ([("If-None-Match", '"x"'), ("If-Modified-Since", modified)], 200),  # the tag goes before
        ([("If-Modified-Since", modified)], 304),
        ([("If-Match", etag)], 200),
        ([("If-Match", b"W/" + etag)], 412),
        ([("If-Unmodified-Since", modified)], 200),
        ([("If-Match", etag), ("If-None-Match", etag)], 304),
        ([("Range", "bytes=0-2"), ("If-Range", etag)], 206),
        ([("Range", "bytes=0-2"), ("If-Range", b"W/" + etag)], 200),
        ([("Range", "bytes=0-2"), ("If-Range", '"x"')], 200),
        ([("Range", "bytes=0-2"), ("If-Range", "rubbish")], 200),
        ([("Range", "bytes=0-2"), ("If-None-Match", etag)], 304),
    ):
        reply = client.ask(get("/page.html", *fields))
        assert reply.status == code, (fields, reply.head)
        assert reply.one("ETag") == (etag if code != 412 else reply.one("ETag"))
        assert reply.body == {200: b"<p>page", 206: b"<p>"}.get(code, b"")
        head = client.ask(get("/page.html", *fields, method="HEAD"))
        assert head.status == (200 if code == 206 else code)
    os.utime(root / "page.html", ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    assert client.ask(get("/page.html")).one("ETag") != etag  # a nanosecond later


def test_a_date_is_a_validator_for_a_range_only_if_its_second_is_over(
    server: Server, root: Path
) -> None:
    client = server.connect()
    os.utime(root / "page.html", (1_000_000_000, 1_000_000_000))
    modified = client.ask(get("/page.html")).one("Last-Modified")
    assert modified == b"Sun, 09 Sep 2001 01:46:40 GMT"
    fields = [("Range", "bytes=1-1"), ("If-Range", modified)]
    assert client.ask(get("/page.html", *fields)).status == 206
    os.utime(root / "page.html", (4_000_000_000, 4_000_000_000))
    modified = client.ask(get("/page.html")).one("Last-Modified") or b""
    fields = [("Range", "bytes=1-1"), ("If-Range", modified)]
    assert client.ask(get("/page.html", *fields)).status == 200


@pytest.mark.parametrize("year", [1700, 2500])
def test_files_of_other_centuries(server: Server, root: Path, year: int) -> None:
    """Later than 64 bits of nanoseconds reach, as far as the file system takes it."""
    page = root / "page.html"
    seconds = int((year - 1970) * 365.2425 * 86400)
    os.utime(page, (seconds, seconds))
    kept = page.stat().st_mtime_ns // 1_000_000_000
    client = server.connect()
    reply = client.ask(get("/page.html"))
    modified = reply.one("Last-Modified")
    assert modified
    again = client.ask(get("/page.html", ("If-Modified-Since", modified)))
    if year < 2026:
        assert modified == formatdate(min(kept, 9223372035), usegmt=True).encode()
        assert again.status == 304
    else:  # RFC 9110, section 8.8.2.1: it is not of the future
        assert modified == reply.one("Date")
        assert again.status == 200 and again.one("Last-Modified") == again.one("Date")


def test_types_by_name(server: Server, root: Path) -> None:
    client = server.connect()
    for name, content_type in (
        ("page.html", b"text/html; charset=utf-8"),
        ("a.css", b"text/css; charset=utf-8"),
        ("a.txt", b"text/plain; charset=utf-8"),
        ("a.png", b"image/png"),
        ("a.json", b"application/json"),
        ("a.tar.gz", b"application/gzip"),
        ("a.unknown-to-all", b"application/octet-stream"),
        ("none", b"application/octet-stream"),
    ):
        (root / name).write_bytes(b"x")
        reply = client.ask(get(f"/{name}"))
        assert reply.one("Content-Type") == content_type, name
        assert reply.one("Content-Encoding") is None


def test_precompressed_forms(server: Server, root: Path) -> None:
    page = b"body {}" * 100
    (root / "a.css").write_bytes(page)
    (root / "a.css.gz").write_bytes(gzip.compress(page))
    (root / "a.css.br").write_bytes(b"as if brotli")
    client = server.connect()
    tags = set()
    for accept, coding in (
        (None, None),
        ("identity", None),
        ("gzip", b"gzip"),
        ("gzip, deflate, br", b"br"),
        ("br;q=0.5, gzip;q=0.8", b"gzip"),
        ("gzip;q=0", None),
        ("*", b"br"),
        ("*;q=0.1, br;q=0", b"gzip"),
        ("gzip;q=2", None),
        ("GZIP", b"gzip"),
        ("x-gzip", b"gzip"),
        ("X-Gzip;q=0.5, identity", b"gzip"),
        ("x-gzip;q=0", None),
        (",gzip, ,", b"gzip"),
    ):
        fields = [] if accept is None else [("Accept-Encoding", accept)]
        reply = client.ask(get("/a.css", *fields))
        assert reply.one("Content-Encoding") == coding, accept
        assert reply.one("Vary") == b"Accept-Encoding"
        assert reply.one("Content-Type") == b"text/css; charset=utf-8"
        assert reply.body == (
            page
            if coding is None
            else b"as if brotli"
            if coding == b"br"
            else gzip.compress(page)[:4] + reply.body[4:]
        )
        if coding == b"gzip":
            assert gzip.decompress(reply.body) == page
        tags.add(reply.one("ETag"))
    assert len(tags) == 3
    os.utime(root / "a.css.br", (1, 1))  # older than the file: it may be of another content
    assert client.ask(get("/a.css", ("Accept-Encoding", "br"))).one("Content-Encoding") is None
    (root / "a.css.gz").unlink()
    (root / "a.css.gz").mkdir()
    assert client.ask(get("/a.css", ("Accept-Encoding", "gzip"))).body == page
    plain = client.ask(get(f"/file?path={root}/a.css&plain=1", ("Accept-Encoding", "gzip")))
    assert plain.body == page and plain.one("Vary") is None


def test_replies_of_the_application(server: Server) -> None:
    client = server.connect()
    reply = client.ask(get("/status?code=418&body=caf%C3%A9&header=v"))
    assert reply.status == 418 and reply.body.decode() == "café"
    assert reply.one("X-Name") == b"v" and reply.one("Date")
    reply = client.ask(get("/status?code=404"))
    assert reply.body == b"404 Not Found\n" and reply.one("Content-Type") == b"text/plain"
    assert client.ask(get("/status?code=404", method="HEAD")).one("Content-Length") == b"14"
    for code in (204, 304):
        reply = client.ask(get(f"/status?code={code}&body=x"))
        assert reply.status == code and reply.one("Content-Length") is None
    for code in (100, 199, 600, 0, -1):
        mark = server.mark()
        assert client.ask(get(f"/status?code={code}")).status == 404
        assert str(code) in server.wait_event("RESULT", 5, mark)["value"]
    old = server.connect()
    reply = old.ask(b"GET /status?code=200 HTTP/1.0\r\n\r\n")
    assert reply.one("Connection") == b"close" and old.rest() == b""
    old = server.connect()
    reply = old.ask(b"GET /status?code=200 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
    assert reply.one("Connection") == b"keep-alive"
    assert old.ask(get("/status?code=200")).status == 200


def test_a_reply_in_pieces(server: Server) -> None:
    client = server.connect()
    for length, pieces, status in (
        ("6", "abc,def", [0, 0]),
        ("3", "abc,d", [0, -1]),
        ("0", "", [0]),
    ):
        mark = server.mark()
        reply = client.ask(get(f"/pieces?length={length}&write={pieces}"))
        assert reply.body == pieces.replace(",", "").encode()[: int(length)]
        server.wait_event("PIECE", 5, mark, value=status[-1])
        assert [record["value"] for record in server.found("PIECE", mark)] == status
    head = client.ask(get("/pieces?length=6&write=abc,def", method="HEAD"))
    assert head.one("Content-Length") == b"6"
    assert client.ask(get("/status?code=200")).status == 200  # no byte of a body was between them
    short = server.connect()
    assert short.send(get("/pieces?length=6&write=abc")).response(bodiless=True).status == 200
    assert short.rest() == b"abc"  # closed, so that the fault is seen
    endless = server.connect()
    reply = endless.ask(get("/pieces?write=abc,def"))
    assert reply.one("Connection") == b"close" and reply.one("Content-Length") is None
    assert endless.rest() == b"abcdef"


# ---- pure functions ----


@given(st.integers(0, 2**62), st.integers(0, 2**62), st.integers(0, 2**40))
def test_ranges_lie_in_the_file(first: int, last: int, size: int) -> None:
    for text in (f"bytes={first}-{last}", f"bytes={first}-", f"bytes=-{last}"):
        found = parse_range(text.encode(), size)
        if found is None:
            assert last < first
        elif found != UNSATISFIABLE:
            assert 0 <= found[0] < found[1] <= size


@given(st.binary(max_size=60))
def test_rubbish_is_answered(value: bytes) -> None:
    parse_range(value, 10)
    parse_range(b"bytes=" + value, 10)
    assert etag_listed(value, b'"never"', True) in (b"*" in value, False)
    assert parse_date(value) is None
    accepted_codings(value, (b"br", b"gzip"))
    names = path_of(b"/" + value)
    assert names is None or not set(names) & {b"", b".", b".."}


def test_dates_in_three_forms() -> None:
    for text in (
        b"Sun, 06 Nov 1994 08:49:37 GMT",
        b"Sunday, 06-Nov-94 08:49:37 GMT",
        b"Sun Nov  6 08:49:37 1994",
    ):
        assert parse_date(text) == 784111777, text
    # Two digits are of this century, unless that is more than 50 years ahead.
    assert parse_date(b"Thursday, 01-Jan-26 00:00:00 GMT") == 1767225600
    assert parse_date(b"Sat, 31 Dec 2016 23:59:60 GMT") == 1483228800
    for text in (b"Sun, 06 Nov 1994 08:49:37 UTC", b"Sun, 06 Nov 1994 24:00:00 GMT", b""):
        assert parse_date(text) is None, text


def test_dates_are_understood_in_every_locale(tmp_path: Path) -> None:
    """Under names of months that are not English, set before the library is loaded."""
    folder = tmp_path / "xx_XX.UTF-8"
    made = subprocess.run(
        ["localedef", "--no-archive", "-i", "de_DE", "-f", "UTF-8", str(folder)],
        capture_output=True, check=False,
    )  # fmt: skip
    assert folder.exists(), made.stderr
    code = """
import locale, time
locale.setlocale(locale.LC_ALL, "xx_XX.UTF-8")
assert time.strftime("%b", (2026, 3, 1, 0, 0, 0, 0, 60, 0)) == "M\\xe4r"
from libwebsockets.http.conditions import parse_date
from libwebsockets.http.reply import http_date
for month in "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split():
    assert parse_date(b"Sun, 06 %b 1994 08:49:37 GMT" % month.encode()), month
assert abs(parse_date(http_date().encode()) - time.time()) < 5
"""
    environment = {**os.environ, "LOCPATH": str(tmp_path), "PYTHONUTF8": "1"}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment, timeout=30)


def test_both_ways_to_open_beneath(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "a" / "b").mkdir(parents=True)
    (root / "a" / "b" / "file").write_text("in")
    (root / "link").symlink_to("a")
    (tmp_path / "out").write_text("out")
    (root / "out").symlink_to("../out")
    folder = os.open(root, os.O_PATH | os.O_DIRECTORY)
    try:
        for opener in (lib.lws_open_beneath, lib.lws_open_by_steps):
            descriptor = opener(folder, b"a/b/file", os.O_RDONLY)
            assert os.read(descriptor, 9) == b"in" and not os.get_inheritable(descriptor)
            os.close(descriptor)
            os.close(opener(folder, b".", os.O_RDONLY))
            for path in (b"../out", b"out", b"a/../../out", b"/etc/passwd", b"missing"):
                refused = -opener(folder, path, os.O_RDONLY)
                assert refused in (errno.EXDEV, errno.ELOOP, errno.ENOENT), path
        os.close(lib.lws_open_beneath(folder, b"link/b/file", os.O_RDONLY))
        refused = -lib.lws_open_by_steps(folder, b"link/b/file", os.O_RDONLY)
        assert refused in (errno.ELOOP, errno.ENOTDIR)
    finally:
        os.close(folder)


def test_nothing_of_a_file_is_kept_for_the_next_request(server: Server, root: Path) -> None:
    page = root / "page.html"
    client = server.connect()
    first = client.ask(get("/page.html"))
    assert first.body == b"<p>page"
    status = page.stat()
    with page.open("r+b") as file:  # the same inode, size and, set back, time
        file.write(b"<p>PAGE")
    os.utime(page, ns=(status.st_atime_ns, status.st_mtime_ns))
    second = client.ask(get("/page.html"))
    assert second.body == b"<p>PAGE" and second.one("ETag") == first.one("ETag")

    page.write_text("<p>longer")
    third = client.ask(get("/page.html"))
    assert third.body == b"<p>longer" and third.one("ETag") != first.one("ETag")
    page.unlink()
    assert client.ask(get("/page.html")).status == 404
    page.mkdir()
    assert client.ask(get("/page.html")).status == 301
    page.rmdir()
    (root / "other").write_text("<p>other")
    page.symlink_to("other")
    assert client.ask(get("/page.html")).body == b"<p>other"

    # The whole folder is replaced.
    root.rename(root.with_name("before"))
    assert client.ask(get("/page.html")).status == 404
    root.mkdir()
    page.write_text("<p>anew")
    assert client.ask(get("/page.html")).body == b"<p>anew"
    for number in range(10):  # more contents than heads are kept of
        page.write_text(f"<p>{number}")
        os.utime(page, (number, number))
        reply = client.ask(get("/page.html"))
        assert reply.body == b"<p>%d" % number
        assert reply.one("Last-Modified") == b"Thu, 01 Jan 1970 00:00:%02d GMT" % number


def test_the_head_is_of_this_request_not_of_the_last(server: Server, root: Path) -> None:
    page = (root / "page.html").read_bytes()
    client = server.connect()
    for _ in range(2):
        plain = client.ask(get("/page.html"))
        assert plain.status == 200 and plain.body == page
        assert plain.one("Connection") is None
        head = client.ask(get("/page.html", method="HEAD"))
        assert head.status == 200 and head.body == b""
        assert head.one("Content-Length") == b"%d" % len(page)
        assert head.one("ETag") == plain.one("ETag")
        with server.connect() as other:
            reply = other.ask(get("/page.html", ("Connection", "close")))
            assert reply.one("Connection") == b"close" and reply.body == page
        with server.connect() as other:
            other.send(b"GET /page.html HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
            reply = other.response()
            assert reply.one("Connection") == b"keep-alive" and reply.body == page
        assert client.ask(get("/page.html", ("Range", "bytes=1-1"))).body == page[1:2]

    date = client.ask(get("/page.html")).one("Date")
    deadline = time.monotonic() + 10
    renewed = date
    while renewed == date:
        assert time.monotonic() < deadline
        with server.connect() as other:
            renewed = other.ask(get("/page.html")).one("Date")


def test_a_coding_is_of_the_form_that_is_sent(server: Server, root: Path) -> None:
    """One inode under two names: nothing but the name tells the codings apart."""
    page = root / "page.html"
    (root / "page.html.gz").write_bytes(b"compressed")
    os.link(root / "page.html.gz", root / "page.html.br")
    client = server.connect()
    for accept, coding in (
        ("gzip", b"gzip"),
        ("br", b"br"),
        ("br, gzip", b"br"),
        ("gzip, br;q=0.5", b"gzip"),
        ("gzip" + " " * 300, b"gzip"),
        ("identity", None),
    ):
        for _ in range(2):
            reply = client.ask(get("/page.html", ("Accept-Encoding", accept)))
            assert reply.one("Content-Encoding") == coding, accept
            assert reply.body == (page.read_bytes() if coding is None else b"compressed")
    os.utime(page, (4_000_000_000, 4_000_000_000))  # both forms are older now
    reply = client.ask(get("/page.html", ("Accept-Encoding", "br")))
    assert reply.one("Content-Encoding") is None and reply.body == page.read_bytes()


def test_many_and_long_targets(server: Server, root: Path) -> None:
    """More than are kept with what they mean, or longer: each is answered all the same."""
    for number in range(600):
        if number % 100 == 0:
            client = server.connect()
        assert client.ask(get("/" + "./" * (number % 7) + f"page.html?{number}")).status == 200
        assert client.ask(get(f"/missing-{number}")).status == 404
    assert client.ask(get("/" + "./" * 200 + "page.html")).body == b"<p>page"
    page = root / ("p" * 200)
    page.write_text("long")
    (root / ("d" * 200)).mkdir()
    assert client.ask(get(f"/{'d' * 200}/../{'p' * 200}")).body == b"long"
    (root / "d" / "index.html").mkdir(parents=True)
    assert client.ask(get("/d/")).status == 404


def test_a_file_for_a_connection_that_the_callback_has_closed(server: Server, root: Path) -> None:
    mark = server.mark()
    for target in (f"/ended?path={root}/page.html", "/ended?path=/dev/null", "/ended-root"):
        client = server.connect()
        client.send(get(target)[:20])
        client.send(get(target)[20:])
        assert client.rest() == b""
        assert server.wait_event("RESULT", 5, mark)["value"] == -1
        mark = server.mark()


def test_options_are_of_this_call_not_of_the_last(server: Server, root: Path) -> None:
    client = server.connect()
    for target in (f"/file?path={root}/page.html", "/page.html?"):
        for _ in range(2):
            for value in ("one", "two"):
                for how in ("", "&mapping=1"):
                    reply = client.ask(get(f"{target}&header={value}{how}"))
                    assert reply.one("X-Name") == value.encode() and reply.body == b"<p>page"
            assert client.ask(get(target)).one("X-Name") is None
            mark = server.mark()
            assert client.ask(get(f"{target}&header=[LIST]")).status == 404
            told = server.wait_event("RESULT", 5, mark)["value"]
            assert told == "TypeError: headers must hold str, not list"
    target = f"/file?path={root}/page.html"
    for option, field in (("type", "Content-Type"), ("cache", "Cache-Control")):
        for value in ("a/b", "c/d", "a/b"):
            reply = client.ask(get(f"{target}&{option}={value}"))
            assert reply.one(field) == value.encode()
    assert client.ask(get(target)).one("Vary") == b"Accept-Encoding"
    assert client.ask(get(f"{target}&plain=1")).one("Vary") is None
    assert client.ask(get(target)).one("Vary") == b"Accept-Encoding"
    (root / "page.html").write_text("p" * 3000)
    long = "v" * 3000  # of a head that is not kept
    for _ in range(2):
        reply = client.ask(get(f"{target}&mapping=1&header={long}"))
        assert reply.one("X-Name") == long.encode() and reply.body == b"p" * 3000
    name = "n" * 1100
    assert client.ask(get(f"/file?path={name}")).status == 404


def test_arguments_of_every_kind(root: Path) -> None:
    """Names as bytes and paths, wrong types, a second reply: in this process, to see what comes."""
    seen: list[Any] = []
    served: list[Any] = []
    page = root / "page.html"
    calls: list[tuple[Any, tuple[Any, ...], dict[str, Any]]] = [
        (libwebsockets_serve_http_file, (7, "text/plain"), {}),
        (libwebsockets_serve_http_file, (str(page), b"text/plain"), {}),
        (libwebsockets_serve_http_file, (str(page), None), {"cache_control": b"no-store"}),
        (libwebsockets_serve_http_root, (None,), {}),
        (libwebsockets_serve_http_root, (b"a\0b",), {}),
        (libwebsockets_serve_http_root, ("a\0b",), {}),
        (libwebsockets_serve_http_root, (str(root),), {"headers": [("X", 1)]}),
    ]
    good: list[tuple[Any, tuple[Any, ...], dict[str, Any]]] = [
        (libwebsockets_serve_http_file, (os.fsencode(page), None), {}),
        (libwebsockets_serve_http_file, (page, None), {"headers": iter([("X-Name", "v")])}),
        (libwebsockets_serve_http_root, (os.fsencode(root),), {}),
        (libwebsockets_serve_http_root, (root,), {"headers": {"X-Name": "v"}}),
        (libwebsockets_serve_http_root, ("/" * 1100 + str(root),), {}),
    ]

    def callback(wsi: Any, reason: int, _user: Any, _in: Any, _length: int) -> int:
        if reason == LWS_CALLBACK_HTTP:
            for function, arguments, options in calls:
                try:
                    seen.append(function(wsi, *arguments, **options))
                except (TypeError, ValueError) as error:
                    seen.append(type(error))
            function, arguments, options = good[len(served)]
            assert function(wsi, *arguments, **options) == 0
            assert libwebsockets_serve_http_file(wsi, str(page), None) == -1
            assert libwebsockets_serve_http_root(wsi, str(root)) == -1
            assert seen == [TypeError] * 4 + [ValueError] * 2 + [TypeError], seen
            seen.clear()
            served.append(function)
        return 0

    with context_of(callback) as context, Served(context) as client:
        for _ in good:
            reply = client.ask(get("/page.html"))
            assert reply.status == 200 and reply.body == b"<p>page"
    assert len(served) == len(good)
