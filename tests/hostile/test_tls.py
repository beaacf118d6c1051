"""Section 10: TLS."""

from __future__ import annotations

import os
import random
import socket
import ssl
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from support.certificates import Pair, localhost, make
from support.libssl import TLS1_2, TLS1_3, LibsslClient
from support.raw import TEXT, Client, frame, get, text, upgrade, wait_until
from support.records import ALERT, DATA, HANDSHAKE, Records
from support.row import Row
from support.server import Server, cpu_seconds

secure = pytest.mark.server(tls=True)
in_a_hurry = pytest.mark.server(tls=True, handshake_timeout=0.5)


def hello(context: ssl.SSLContext | None = None) -> bytes:
    """A ClientHello, in its record."""
    context = context or localhost().client()
    out = ssl.MemoryBIO()
    tls = context.wrap_bio(ssl.MemoryBIO(), out, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    return out.read()


def record(kind: int, payload: bytes, version: int = 0x0303) -> bytes:
    """A TLS record in clear (RFC 8446, section 5.1)."""
    return bytes([kind]) + version.to_bytes(2, "big") + len(payload).to_bytes(2, "big") + payload


NO_RENEGOTIATION, USER_CANCELED, CLOSE_NOTIFY = b"\x01\x64", b"\x01\x5a", b"\x01\x00"  # warnings


def bare(row: Row) -> Client:
    """A connection without TLS of its own."""
    return row.connect(tls=None)


def raw_send(client: Client, data: bytes) -> None:
    """Bytes beneath the TLS of a client."""
    try:
        while data:
            data = data[os.write(client.sock.fileno(), data) :]
    except (BrokenPipeError, ConnectionResetError):
        client.send_failed = True


def gone(client: Client) -> None:
    """The server has ended the stream, in whatever way."""
    try:
        client.rest()
    except ssl.SSLError:
        return  # its alert


@in_a_hurry
def test_TLS_01_handshakes_that_do_not_come_to_an_end(row: Row) -> None:
    row.expect("tls-handshake-timeout")
    silent, slow, stopped = bare(row), bare(row), bare(row)
    data = hello()
    stopped.send(data)
    assert stopped.take(1) == bytes([HANDSHAKE])  # the ServerHello has come
    start = time.monotonic()
    for at in range(len(data) - 1):
        slow.send(data[at : at + 1])
        row.rounds()  # others are served meanwhile
        if time.monotonic() - start > 0.7:
            break
    for client in (silent, slow, stopped):
        gone(client)
    wait_until(lambda: len(row.server.logged("tls-handshake-timeout")) == 3)


def endless_hello() -> bytes:
    size = 16 << 20
    body = b"\x01" + (size - 1).to_bytes(3, "big") + bytes(size)
    return b"".join(record(HANDSHAKE, body[at : at + 16384]) for at in range(0, size, 16384))


NOT_TLS: dict[str, Callable[[], bytes]] = {
    "http": lambda: get("/"),
    "upgrade": upgrade,
    "random": lambda: random.Random(2).randbytes(100_000),
    "hello of 16 MiB": endless_hello,
    "record too long": lambda: bytes([HANDSHAKE, 3, 3, 0xFF, 0xFF]) + bytes(0xFFFF),
    "empty records": lambda: record(HANDSHAKE, b"") * 10_000,
    "empty data": lambda: record(DATA, b"") * 10_000,
    "sslv2": lambda: b"\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10" + bytes(0x25),
}


@pytest.mark.parametrize("what", NOT_TLS)
@secure
def test_TLS_02_what_is_no_tls(row: Row, what: str) -> None:
    row.expect("tls-handshake-failed")
    client = bare(row).send(NOT_TLS[what]())
    answer = client.rest()
    if what in ("http", "upgrade"):
        assert answer.startswith(b"HTTP/1.1 400 "), answer[:100]
    else:
        assert answer == b"" or answer[0] == ALERT, answer[:100]
    assert not row.found("HTTP")


@secure
def test_TLS_11_http_on_a_port_of_tls(row: Row) -> None:
    """A browser with the wrong scheme reads why, in clear; HEAD gets no body."""
    row.expect("tls-handshake-failed")

    def told(client: Client) -> None:
        reply = client.refused(400)
        assert reply.body.startswith(b"this port speaks TLS") and reply.body.count(b"\n") == 1

    for method in ("GET", "POST", "OPTIONS", "DELETE", "CONNECT", "PROPFIND"):
        told(bare(row).send(get("/", method=method)))
    told(bare(row).send(upgrade()))
    bare(row).send(get("/", method="HEAD")).refused(400, bodiless=True)
    client = bare(row).send(b"G")
    row.rounds()  # it is alone in its round
    told(client.send(get("/")[1:]))
    for other in (b"SSH-2.0-OpenSSH_9.2p1\r\n", b"get / HTTP/1.1\r\n\r\n", b"\x00" * 100):
        assert not bare(row).send(other).rest().startswith(b"HTTP")
    row.barrier()
    assert not row.found("HTTP") and row.server.logged("tls-handshake-failed")


def without_1_3(ciphers: str) -> ssl.SSLContext:
    context = localhost().client(maximum=ssl.TLSVersion.TLSv1_2)
    context.set_ciphers(f"{ciphers}:@SECLEVEL=0")
    return context


def test_TLS_03_what_is_good_is_taken(serve: Callable[..., Server]) -> None:
    server = serve("hostile", tls=True)
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        with server.connect(tls=localhost().client(minimum=version, maximum=version)) as client:
            assert isinstance(client.sock, ssl.SSLSocket)
            client.open().echo(b"hello")
            assert client.sock.compression() is None
            name, _, bits = client.sock.cipher() or ("", "", 0)
            assert ("GCM" in name or "CHACHA20" in name) and bits >= 128, name
            assert version == ssl.TLSVersion.TLSv1_3 or name.startswith("ECDHE-"), name


@secure
def test_TLS_03_old_versions_and_weak_ciphers(row: Row) -> None:
    row.expect("tls-handshake-failed")
    for ciphers in ("ECDHE+AES+SHA", "ECDHE+AES+SHA256", "kRSA+AESGCM", "eNULL", "DHE+AESGCM"):
        with pytest.raises((ssl.SSLError, ConnectionResetError)):
            row.connect(tls=without_1_3(ciphers))
    with pytest.warns(DeprecationWarning):
        old = localhost().client(minimum=ssl.TLSVersion.TLSv1, maximum=ssl.TLSVersion.TLSv1_1)
    old.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.raises((ssl.SSLError, ConnectionResetError)):
        row.connect(tls=old)
    # SSL 3.0: no library speaks it any more, but its hello is like that of TLS 1.2.
    data = bytearray(hello(without_1_3("ALL")))
    data[1:3] = data[9:11] = b"\x03\x00"
    answer = bare(row).send(bytes(data)).rest()
    assert answer[0] == ALERT and answer[5] == 2, answer


@secure
def test_TLS_04_renegotiation(row: Row) -> None:
    row.allow("tls-error")  # the client's own alert
    with LibsslClient(row.server.port, TLS1_2) as client:
        client.write(upgrade("/echo"))
        assert client.read().startswith(b"HTTP/1.1 101 ")
        assert not client.renegotiate()  # libssl takes the warning as the end


def shaken(row: Row, path: str = "/echo") -> Records:
    """A session of TLS 1.2 whose records are made by hand."""
    client = Records(row.server.port)
    client.send(client.sealed(DATA, upgrade(path)))
    kind, head = client.receive() or (0, b"")
    assert kind == DATA and head.startswith(b"HTTP/1.1 101 "), (kind, head)
    return client


@secure
def test_TLS_04_renegotiations_that_are_refused(row: Row) -> None:
    again = hello(without_1_3("ALL"))[5:]
    with shaken(row) as client:
        for number in range(20):  # as many as a client may try
            client.send(client.sealed(HANDSHAKE, again))
            assert client.receive() == (ALERT, NO_RENEGOTIATION)
            client.send(client.sealed(DATA, text(b"%d" % number)))
            told = b"%d" % number
            assert client.receive() == (DATA, bytes([0x81, len(told)]) + told)


@pytest.mark.parametrize("between", [False, True])
@secure
def test_TLS_04_renegotiation_a_thousand_times(row: Row, between: bool) -> None:
    """between: with data before each, so that not one of them stands behind another."""
    row.expect("tls-renegotiation")
    again = hello(without_1_3("ALL"))[5:]
    before = cpu_seconds(row.pid)
    with shaken(row, "/sink") as client:
        flood = []
        for _ in range(1000):
            if between:
                flood.append(client.sealed(DATA, text("x")))
            flood.append(client.sealed(HANDSHAKE, again))
        client.send(b"".join(flood))
        told = client.rest()
        row.wait_event("CLOSED", code=1006)
    assert set(told) <= {(ALERT, NO_RENEGOTIATION), (ALERT, CLOSE_NOTIFY)}, set(told)
    assert len(told) < 300, "far fewer than were asked for"
    assert cpu_seconds(row.pid) - before < 0.5


@secure
def test_TLS_04_key_updates(row: Row) -> None:
    row.expect("tls-renegotiation")
    with LibsslClient(row.server.port, TLS1_3) as client:
        client.write(upgrade("/echo"))
        assert client.read().startswith(b"HTTP/1.1 101 ")
        for _ in range(50):
            assert client.key_update()
        client.write(text("after 50"))
        assert client.read() == b"\x81\x08after 50"
        before = cpu_seconds(row.pid)
        for _ in range(10_000):
            if not client.key_update():
                break
        row.wait_event("CLOSED", code=1006)
        assert cpu_seconds(row.pid) - before < 0.5


@secure
def test_TLS_05_alerts_in_clear(row: Row) -> None:
    row.expect("tls-error")
    row.allow("tls-handshake-failed")
    before = cpu_seconds(row.pid)
    client = bare(row).send(hello() + record(ALERT, NO_RENEGOTIATION) * 10_000)
    client.rest()
    client = bare(row).send(record(ALERT, NO_RENEGOTIATION, 0x0301) * 10_000)
    client.rest()
    established = row.open("/echo")
    raw_send(established, record(ALERT, NO_RENEGOTIATION) * 10_000)
    row.wait_event("CLOSED", code=1006)
    assert cpu_seconds(row.pid) - before < 0.5


@pytest.mark.parametrize("alert", [NO_RENEGOTIATION, USER_CANCELED])
@secure
def test_TLS_05_alerts_after_the_handshake(row: Row, alert: bytes) -> None:
    """Ten thousand warnings, protected as they must be, TLS 1.2."""
    row.expect("tls-error")
    before = cpu_seconds(row.pid)
    with shaken(row, "/sink") as client:
        client.send(b"".join(client.sealed(ALERT, alert) for _ in range(10_000)))
        told = client.rest()
        row.wait_event("CLOSED", code=1006)
    assert all(kind == ALERT for kind, _ in told), told
    assert cpu_seconds(row.pid) - before < 0.5


@secure
def test_TLS_05_alerts_between_data(row: Row) -> None:
    """libssl counts warnings in a row alone: these are broken up by data, and bring nothing."""
    row.expect("tls-renegotiation")
    before = cpu_seconds(row.pid)
    with shaken(row, "/sink") as client:
        flood = []
        for _ in range(2500):
            flood += [client.sealed(ALERT, USER_CANCELED) for _ in range(4)]
            flood.append(client.sealed(DATA, text("x")))
        client.send(b"".join(flood))
        client.rest()
        row.wait_event("CLOSED", code=1006)
    assert len(row.found("RECEIVE")) < 1000, "it was closed long before the last"
    assert cpu_seconds(row.pid) - before < 0.5


def broken_pair(folder: Path, what: str) -> tuple[Pair, Path]:
    """Files that are no good, and the one that is to be named."""
    good = make(folder, "good")
    other = make(folder, "other")
    junk = folder / "junk.pem"
    junk.write_text("no PEM here\n")
    half = folder / "half.pem"
    half.write_text(good.certificate.read_text()[:200] + "\n-----END CERTIFICATE-----\n")
    absent = folder / "absent.pem"
    if what == "expired":
        made = make(folder, "expired", days=-1)
        return made, made.certificate
    if what in ("RSA 512", "EC 224"):
        made = make(folder, "weak", key=what)
        return made, made.certificate
    if what == "passphrase":
        made = make(folder, "secret", passphrase="secret")
        return made, made.key
    certificate, key, named = {
        "certificate absent": (absent, good.key, absent),
        "key absent": (good.certificate, absent, absent),
        "certificate a folder": (folder, good.key, folder),
        "key a folder": (good.certificate, folder, folder),
        "certificate not PEM": (junk, good.key, junk),
        "certificate broken": (half, good.key, half),
        "certificate empty": (Path(os.devnull), good.key, Path(os.devnull)),
        "key not PEM": (good.certificate, junk, junk),
        "key of another": (good.certificate, other.key, other.key),
        "swapped": (good.key, good.certificate, good.key),
    }[what]
    return Pair(certificate, key), named


@pytest.mark.parametrize(
    "what",
    [
        "certificate absent",
        "key absent",
        "certificate a folder",
        "key a folder",
        "certificate not PEM",
        "certificate broken",
        "certificate empty",
        "key not PEM",
        "key of another",
        "swapped",
        "expired",
        "passphrase",
        "RSA 512",
        "EC 224",
    ],
)
def test_TLS_06_files_that_are_no_good(tmp_path: Path, what: str) -> None:
    pair, named = broken_pair(tmp_path, what)
    server = Server("hostile", tmp_path / "log", tls=pair, expect_failure=True)
    (line,) = server.logged("tls-config")
    assert line["level"] == "ERROR"
    assert line["pid"] == server.parent.pid, "before the fork"
    assert f"file={named} " in line["message"], line["message"]
    assert "cause=" in line["message"]
    server.reap()


@secure
def test_TLS_07_failure_on_one_connection_leaves_the_others(row: Row) -> None:
    row.expect("tls-error")
    bad, good = row.open("/echo"), row.open("/echo")
    good.echo(b"before")
    for _ in range(3):
        raw_send(bad, record(DATA, random.Random(7).randbytes(64)))
        good.echo(b"after")
    gone(bad)
    assert row.wait_event("CLOSED", code=1006)
    good.echo(b"at last")


@secure
def test_TLS_08_records_and_frames_that_do_not_match(row: Row) -> None:
    client = row.open("/echo")
    client.send(text("first") + text("second"))  # one record
    assert client.message() == b"first"
    assert client.message() == b"second"
    many = [b"%d" % number for number in range(1500)]
    client.send(b"".join(text(one) for one in many)[:16384])
    whole = b"".join(text(one) for one in many)
    client.send(whole[16384:])
    for one in many:
        assert client.message() == one
    largest = random.Random(8).randbytes(16384 - 8).hex().encode()[: 16384 - 8]
    client.send(frame(TEXT, largest))  # a record of the most that one may have
    assert client.message() == largest
    for at in (1, 2, 3, 5, 9):  # a frame in two records
        data = frame(TEXT, b"cut in two")
        client.send(data[:at])
        row.rounds()
        client.send(data[at:])
        assert client.message() == b"cut in two"
    client.send(frame(TEXT, b"x" * (1 << 20)))
    assert client.message() == b"x" * (1 << 20)


@secure
def test_TLS_08_records_cut_anywhere(row: Row) -> None:
    """A client whose records come in pieces, and several in one."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = localhost().client().wrap_bio(incoming, outgoing, server_hostname="localhost")
    client = bare(row)

    def exchange(step: Callable[[], object], size: int) -> object:
        while True:
            try:
                result = step()
                data = outgoing.read()
                for at in range(0, len(data), size):
                    client.send(data[at : at + size])
                    row.rounds()
                return result
            except ssl.SSLWantReadError:
                data = outgoing.read()
                for at in range(0, len(data), size):
                    client.send(data[at : at + size])
                    row.rounds()
                if not client.buffer:
                    assert client.fill()
                incoming.write(bytes(client.buffer))
                client.buffer.clear()

    exchange(tls.do_handshake, 7)
    exchange(lambda: tls.write(upgrade("/echo")), 3)
    assert bytes(exchange(lambda: tls.read(65536), 1)).startswith(b"HTTP/1.1 101 ")  # type: ignore[call-overload]
    exchange(lambda: tls.write(text("a byte a time")), 1)
    assert exchange(lambda: tls.read(65536), 1) == b"\x81\x0da byte a time"
    tls.write(text("one"))
    tls.write(text("two"))
    exchange(lambda: tls.write(text("three")), 1 << 20)  # three records in one segment
    got = b""
    while len(got) < 5 + 5 + 7:
        part = exchange(lambda: tls.read(65536), 1)
        assert isinstance(part, bytes)
        got += part
    assert got == b"\x81\x03one\x81\x03two\x81\x05three"


@secure
def test_TLS_09_short_writes(row: Row) -> None:
    rng = random.Random(9)
    client = row.open("/binary", rcvbuf=4096)
    sizes = [200_000, 3, 300_000, 70_000, 1, 100_000]
    messages = [rng.randbytes(size) for size in sizes]
    for message in messages:
        client.send(frame(2, message))
    row.barrier()
    for message in messages:
        assert client.message() == message
    client.echo(b"goes on")


@secure
def test_TLS_10_ends_of_the_stream(row: Row) -> None:
    row.open("/echo").fin()  # no close_notify
    row.wait_event("CLOSED", code=1006)

    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = localhost().client().wrap_bio(incoming, outgoing, server_hostname="localhost")
    client = bare(row)
    while True:
        try:
            tls.do_handshake()
            break
        except ssl.SSLWantReadError:
            client.send(outgoing.read())
            assert client.fill()
            incoming.write(bytes(client.buffer))
            client.buffer.clear()
    tls.write(get("/one"))
    last = outgoing.read()
    with pytest.raises(ssl.SSLWantReadError):
        tls.unwrap()
    # The request is answered, what comes after the close_notify is not looked at.
    client.send(last + outgoing.read() + record(DATA, bytes(64)))
    incoming.write(client.rest())
    incoming.write_eof()
    reply = tls.read(65536)
    assert reply.startswith(b"HTTP/1.1 200 ") and reply.endswith(b"/one"), reply
    with pytest.raises(ssl.SSLZeroReturnError):  # the server's close_notify
        tls.read(1)


def test_TLS_10_tickets(serve: Callable[..., Server]) -> None:
    context = localhost().client()
    first, second = serve("hostile", tls=True), serve("hostile", tls=True)

    def connect(port: int, session: ssl.SSLSession | None) -> ssl.SSLSocket:
        sock = socket.create_connection(("127.0.0.1", port), 5)
        wrapped = context.wrap_socket(sock, server_hostname="localhost", session=session)
        wrapped.sendall(get("/x"))
        assert wrapped.recv(65536)
        return wrapped

    with connect(first.port, None) as client:
        session = client.session
        assert session is not None and session.has_ticket
    with connect(first.port, session) as client:
        assert client.session_reused
    with connect(second.port, session) as client:
        assert not client.session_reused, "a full handshake after a restart"
    wait_until(first.alive, 1)
