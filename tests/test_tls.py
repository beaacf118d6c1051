"""TLS as an application sees it: https and wss on one port, renewal, an SSLContext of its own."""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from inprocess import Served, ServedSecurely, context_of
from support import script
from support.certificates import Pair, localhost, make
from support.libssl import TLS1_2, LibsslClient
from support.raw import Client, Ended, frame, get, hixie_key, text, upgrade76, wait_until
from support.server import Server, resident

from libwebsockets import (
    LWS_CALLBACK_ESTABLISHED,
    LWS_CALLBACK_HTTP,
    LWS_CALLBACK_RECEIVE,
    LWS_WRITE_TEXT,
    libwebsocket_create_context,
    libwebsocket_service,
    libwebsocket_write,
    libwebsockets_serve_http_file,
)
from libwebsockets.tls import certificates

Serve = Callable[..., Server]


def test_https_and_keep_alive(serve: Serve) -> None:
    server = serve("hostile", tls=True)
    with server.connect() as client:
        for number in range(3):
            assert client.ask(get(f"/{number}")).body == b"/%d" % number
        client.send(get("/a") + get("/b") + get("/c", ("Connection", "close")))
        assert [client.response().body for _ in range(3)] == [b"/a", b"/b", b"/c"]
        # The end is a close_notify, not a stream that was cut.
        assert isinstance(client.sock, ssl.SSLSocket)
        client.sock.suppress_ragged_eofs = False
        assert client.sock.recv(10) == b""


@pytest.mark.parametrize("version", [7, 8, 13, 76])
def test_wss(serve: Serve, version: int) -> None:
    server = serve("hostile", tls=True, max_message=1 << 21, max_send_buffer=1 << 22)
    with server.connect() as client:
        client.open(version=version)
        for size in (0, 1, 125, 126, 8192, 16384, 65535, 65536, 1 << 20):
            client.echo(b"x" * size, version)
    server.wait_event("CLOSED")


def test_location_of_hixie_76(serve: Serve) -> None:
    server = serve("hostile", tls=True)
    with server.connect() as client:
        keys = {"key1": hixie_key(12345, 3), "key2": hixie_key(54321, 5), "key3": b"8 bytes."}
        reply = client.send(upgrade76("/echo", **keys)).response()
        assert reply.status == 101
        assert reply.one("Sec-WebSocket-Location") == b"wss://localhost/echo"


def test_alpn(serve: Serve) -> None:
    server = serve("hostile", tls=True)
    for offered, chosen in ((["h2", "http/1.1"], "http/1.1"), (["h2"], None)):
        context = localhost().client()
        context.set_alpn_protocols(offered)
        with server.connect(tls=context) as client:
            assert isinstance(client.sock, ssl.SSLSocket)
            assert client.sock.selected_alpn_protocol() == chosen
            assert client.ask(get("/")).status == 200


def peer_certificate(client: Client) -> bytes | None:
    assert isinstance(client.sock, ssl.SSLSocket)
    return client.sock.getpeercert(binary_form=True)


def trusting_none() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def put(pair: Pair, certificate: Path, key: Path) -> None:
    shutil.copyfile(pair.certificate, certificate)
    shutil.copyfile(pair.key, key)


def test_renewal_without_a_restart(serve: Serve, tmp_path: Path) -> None:
    old, new = make(tmp_path, "old"), make(tmp_path, "new", key="RSA")
    used = Pair(tmp_path / "used.pem", tmp_path / "used.key")
    put(old, used.certificate, used.key)
    server = serve("hostile", tls=used)
    der = {name: ssl.PEM_cert_to_DER_cert(pair.certificate.read_text())
           for name, pair in (("old", old), ("new", new))}  # fmt: skip
    with server.connect() as before:
        before.open()
        put(new, used.certificate, used.key)
        os.kill(server.pid, signal.SIGHUP)
        server.wait_logged("tls-reload")
        with server.connect(tls=trusting_none()) as after:
            assert peer_certificate(after) == der["new"]
            after.open().echo(b"with the new one")
        before.echo(b"goes on with the old one")

        # A bad file: one ERROR line that names it, and the last good one stays in force.
        used.key.write_text("junk")
        os.kill(server.pid, signal.SIGHUP)
        line = server.wait_logged("tls-config")
        assert line["level"] == "ERROR" and f"file={used.key} " in line["message"], line
        with server.connect(tls=trusting_none()) as after:
            assert peer_certificate(after) == der["new"]
        before.echo(b"still")
    assert len(server.logged("tls-config")) == 1


@pytest.mark.skipif(os.getuid() != 0, reason="needs root, to give it up")
def test_key_is_not_read_after_privileges_are_dropped(serve: Serve, tmp_path: Path) -> None:
    pair = make(tmp_path)
    pair.key.chmod(0o600)
    tmp_path.chmod(0o755)
    server = serve("hostile", tls=pair, uid=65534, gid=65534)
    with server.connect() as client:
        client.open().echo(b"with root's key")
    os.kill(server.pid, signal.SIGHUP)
    line = server.wait_logged("tls-config")
    assert line["level"] == "ERROR" and "denied" in line["message"], line
    with server.connect() as client:
        client.open().echo(b"the old one is in force")


def test_chain_is_sent(serve: Serve, tmp_path: Path) -> None:
    leaf, other = make(tmp_path, "leaf"), make(tmp_path, "issuer")
    chain = tmp_path / "chain.pem"
    chain.write_text(leaf.certificate.read_text() + other.certificate.read_text())
    server = serve("hostile", tls=Pair(chain, leaf.key))
    shown = subprocess.run(
        ["openssl", "s_client", "-showcerts", "-connect", f"127.0.0.1:{server.port}"],
        input=b"", capture_output=True, timeout=20, check=False,
    ).stdout.decode()  # fmt: skip
    assert shown.count("BEGIN CERTIFICATE") == 2
    assert "Compression: NONE" in shown
    assert "Max Early Data: 0" in shown or "Early data was not sent" in shown


def test_file_of_64_mib_to_a_slow_reader(serve: Serve, tmp_path: Path) -> None:
    """Sending a file costs memory that does not grow with it."""
    file = tmp_path / "file"
    block = bytes(range(256)) * 256
    with file.open("wb") as stream:
        for _ in range(1024):
            stream.write(block)
    server = serve("hostile", tls=True, env={"LWS_TEST_FILE": str(file)})
    with server.connect() as warm:
        warm.ask(get("/file"))
    before = resident(server.pid)
    most = 0
    with server.connect(rcvbuf=8192) as client:
        client.send(get("/file"))
        head = client.until(b"\r\n\r\n")
        assert b"Content-Length: 67108864\r\n" in head
        at = 0
        while at < 64 << 20:
            if not client.buffer:
                assert client.fill(), f"{client.ended} at {at}"
            data = bytes(client.buffer)
            client.buffer.clear()
            start = at % 65536
            assert data == (block * (len(data) // 65536 + 2))[start : start + len(data)]
            at += len(data)
            most = max(most, resident(server.pid)) if at % (1 << 20) < len(data) else most
    assert most - before < 2 << 20


def echo(wsi: Any, reason: int, user: Any, in_: Any, length: int) -> int:
    if reason == LWS_CALLBACK_RECEIVE:
        libwebsocket_write(wsi, in_, length, LWS_WRITE_TEXT)
    elif reason == LWS_CALLBACK_HTTP:
        libwebsockets_serve_http_file(wsi, __file__, "text/plain")
    return 0


@pytest.mark.parametrize("own", [False, True], ids=["files", "ssl_context"])
def test_in_the_calling_process(own: bool) -> None:
    pair = localhost()
    options: dict[str, Any] = {"certificate": str(pair.certificate), "key": str(pair.key)}
    if own:
        mine = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        mine.load_cert_chain(pair.certificate, pair.key)
        options = {"ssl_context": mine}
    with context_of(echo, **options) as context:
        client = ServedSecurely(context)
        assert client.ask(get("/")).body == Path(__file__).read_bytes()
        client.open()
        for size in (1, 70_000, 300_000):
            client.echo(b"y" * size)
        client.send(text("a") + frame(9, b"ping") + text("b"))
        assert client.frame().opcode == 10
        assert [client.message(), client.message()] == [b"a", b"b"]
        client.close()


def test_ssl_context_of_a_client_is_refused(caplog: pytest.LogCaptureFixture) -> None:
    wrong = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made = libwebsocket_create_context(0, echo, 76, 0, None, None, -1, -1, ssl_context=wrong)
    assert made is None
    assert "tls-config" in caplog.text
    with pytest.raises(ValueError, match="2 file paths"):
        libwebsocket_create_context(0, echo, 76, 0, "a", "b", -1, -1, ssl_context=wrong)


DATE = "%Y%m%d%H%M%SZ"


@pytest.mark.parametrize(
    ("begins", "ends", "extension", "told"),
    [
        (86400, 2 * 86400, "", "its certificate is not valid yet"),
        (-86400, 3600, "", "it expires within a day"),
        (-86400, 2 * 86400, "", None),
        # What else a client may say of it is not the server's to know.
        (None, None, "extendedKeyUsage=clientAuth", None),
    ],
)
def test_certificates_to_be_warned_of(
    begins: int | None,
    ends: int | None,
    extension: str,
    told: str | None,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    dates = None
    if begins is not None and ends is not None:
        now = time.time()
        both = [time.strftime(DATE, time.gmtime(now + offset)) for offset in (begins, ends)]
        dates = both[0], both[1]
    pair = make(tmp_path, dates=dates, extension=extension)
    with context_of(echo, certificate=str(pair.certificate), key=str(pair.key)):
        pass
    lines = [(record.levelname, record.getMessage()) for record in caplog.records]
    if told is None:
        assert lines == []
    else:
        assert lines == [("WARNING", f'tls-config file={pair.certificate} cause="{told}"')]


def test_a_key_that_goes_while_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Renewed between the look at it and OpenSSL's own: one line, as for one that is absent."""
    pair = make(tmp_path)
    read = certificates._read

    def read_and_remove(path: str) -> str:
        text = read(path)
        if path == str(pair.key):
            pair.key.unlink()
        return text

    monkeypatch.setattr(certificates, "_read", read_and_remove)
    files = str(pair.certificate), str(pair.key)
    assert libwebsocket_create_context(0, echo, 76, 0, *files, -1, -1) is None
    (record,) = caplog.records
    assert record.getMessage() == f'tls-config file={pair.key} cause="No such file or directory"'


def test_sighup_leaves_the_ssl_context_of_the_application(tmp_path: Path) -> None:
    pair = localhost()
    source = f"""
import ssl
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain({str(pair.certificate)!r}, {str(pair.key)!r})
with create(ssl_context=context, host="127.0.0.1") as server:
    for turn in range(2):
        client = ssl.create_default_context(cafile={str(pair.certificate)!r})
        with socket.create_connection(("127.0.0.1", server.port)) as sock:
            with client.wrap_socket(sock, server_hostname="localhost") as tls:
                os.kill(server.pid, signal.SIGHUP)
                tls.sendall(b"GET / HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n")
                assert tls.recv(12) == b"HTTP/1.1 404"
"""
    ran = script.run(tmp_path, source)
    assert ran.returncode == 0, ran.stderr
    assert "ssl_context is the application's to renew" in ran.stderr
    assert "ERROR" not in ran.stderr


def test_small_records_by_the_wish_of_the_client(serve: Serve, tmp_path: Path) -> None:
    """max_fragment_length (RFC 6066, section 4): one piece of plaintext is many records."""
    file = tmp_path / "file"
    file.write_bytes(bytes(range(256)) * 1000)
    server = serve("hostile", tls=True, env={"LWS_TEST_FILE": str(file)})
    with LibsslClient(server.port, TLS1_2, fragment=512) as client:
        client.write(get("/file"))
        got = b""
        while len(got.partition(b"\r\n\r\n")[2]) < 256_000:
            part = client.read()
            assert 0 < len(part) <= 512
            got += part
        assert got.endswith(file.read_bytes())


def test_stopping_leaves_no_unfinished_handshake(serve: Serve) -> None:
    """Nothing was said, or half a ClientHello."""
    server = serve("hostile", tls=True, handshake_timeout=20.0, shutdown_grace=20.0)
    hello = ssl.MemoryBIO()
    begun = localhost().client().wrap_bio(ssl.MemoryBIO(), hello, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        begun.do_handshake()
    whole = hello.read()
    with contextlib.ExitStack() as stack:
        clients = []
        for said in (b"", whole[:40], whole):
            client = stack.enter_context(server.connect(tls=None))
            client.send(said)
            clients.append(client)
        assert clients[-1].take(1) == b"\x16"  # the ServerHello: all of it has been read
        assert server.stop() == 0
        for client in clients:
            with contextlib.suppress(Ended, ConnectionError):
                client.rest()


@pytest.mark.parametrize("ends", [False, True])
def test_what_openssl_cannot_encrypt(ends: bool, caplog: pytest.LogCaptureFixture) -> None:
    """No memory, say: the one connection ends, with one line if something is lost."""

    def fail(*_: object) -> int:
        raise ssl.SSLError("no memory")

    pair = localhost()
    caplog.set_level("INFO")
    with context_of(echo, certificate=str(pair.certificate), key=str(pair.key)) as context:
        with ServedSecurely(context) as client, ServedSecurely(context) as other:
            client.open()
            other.open()
            assert context.secure is not None
            (connection, _) = context.secure.connections.values()
            setattr(connection, "unwrap" if ends else "encrypt", fail)
            client.send(frame(8, b"\x03\xe8") if ends else text("lost"))
            if ends:
                assert client.frame().code == 1000
            with contextlib.suppress(ConnectionError, AssertionError, ssl.SSLError):
                assert not client.fill()
            other.echo(b"untouched")
    told = [record.getMessage() for record in caplog.records if "tls-error" in record.getMessage()]
    assert len(told) == (0 if ends else 1)
    assert all("no memory" in line for line in told)


@pytest.mark.parametrize("known", [True, False])
def test_nothing_leaves_in_clear(known: bool) -> None:
    """Should the core have bytes for a connection without a complete handshake: they are lost."""
    pair = localhost()
    wsis: list[Any] = []

    def callback(wsi: Any, reason: int, user: Any, in_: Any, length: int) -> int:
        if reason == LWS_CALLBACK_ESTABLISHED:
            wsis.append(wsi)
        return 0

    with context_of(callback, certificate=str(pair.certificate), key=str(pair.key)) as context:
        with ServedSecurely(context) as client:
            client.open()
            assert context.secure is not None
            connections = context.secure.connections
            ((slot, connection),) = connections.items()
            connection.shaken = False
            if not known:
                connections.clear()
            assert libwebsocket_write(wsis[0], b"secret", 6, LWS_WRITE_TEXT) == 0
            assert libwebsocket_service(context, 0) == 0
            assert not select.select([client.sock], [], [], 0)[0]
            connection.shaken = True
            connections[slot] = connection
            assert libwebsocket_write(wsis[0], b"public", 6, LWS_WRITE_TEXT) == 0
            assert libwebsocket_service(context, 0) == 0
            assert client.message() == b"public"


def test_one_file_alone_does_not_ask_for_tls(caplog: pytest.LogCaptureFixture) -> None:
    pair = localhost()
    with context_of(echo, certificate=str(pair.certificate)) as context:
        client = Served(context)
        assert client.ask(get("/")).status == 200
        client.close()
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "tls-config" in caplog.text


def test_connections_over_the_limit_are_closed(serve: Serve) -> None:
    server = serve("hostile", tls=True, max_connections=2)
    with server.connect() as one, server.connect() as two:
        one.open().echo(b"1")
        two.open().echo(b"2")
        with socket.create_connection(("127.0.0.1", server.port), 5) as third:
            assert third.recv(100) == b"", "no plain bytes on a port of TLS"
    wait_until(lambda: server.logged("conn-limit"), 2)


def test_stopping_says_goodbye(serve: Serve) -> None:
    server = serve("hostile", tls=True)
    with server.connect() as client:
        client.open()
        server.order(do="stop")
        assert client.frame().code == 1001
        client.send(frame(8, b"\x03\xe9"))
        assert client.rest() == b""
    assert server.wait_event("STOPPED")["status"] == 0


def has_no_memory_left_of(connections: int, server: Server) -> None:
    for _ in range(connections):
        with server.connect() as client:
            client.open().echo(b"x" * 1000)
    wait_until(
        lambda: len(server.found("CLOSED")) == len(server.found("ESTABLISHED")), 10, "all CLOSED"
    )


def test_many_connections_leave_nothing(serve: Serve) -> None:
    server = serve("hostile", tls=True)
    has_no_memory_left_of(30, server)
    before = resident(server.pid)
    has_no_memory_left_of(150, server)
    assert resident(server.pid) - before < 2 << 20
