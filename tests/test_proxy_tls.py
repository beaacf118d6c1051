"""The PROXY protocol in front of TLS: a balancer that passes encrypted streams on as they are."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.certificates import localhost
from support.raw import Client, frame, get, hixie_key, text, upgrade, upgrade76, wait_until
from support.server import Server
from test_access_log import lines, served
from test_listeners import ASKING, PROXY_HEADERS, version2

Serve = Callable[..., Server]
BEHIND = {"trusted_proxies": ["127.0.0.1"], "proxy_protocol": True, "send_interval": 0}


class Passed(Client):
    """A client whose TLS begins behind other bytes, in the same segment if it is so cut."""

    def begin(
        self, header: bytes, cut: int | None = None, between: Callable[[], object] = lambda: None
    ) -> Passed:
        """Sends the header and a ClientHello, calls between where they are cut, shakes hands."""
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.object = (
            localhost().client().wrap_bio(self.incoming, self.outgoing, server_hostname="localhost")
        )
        with pytest.raises(ssl.SSLWantReadError):
            self.object.do_handshake()
        first = header + self.outgoing.read()
        super().send(first[:cut])
        if cut is not None:
            between()
            super().send(first[cut:])
        while True:
            try:
                self.object.do_handshake()
                break
            except ssl.SSLWantReadError:
                super().send(self.outgoing.read())
                if not self.receive():
                    raise ConnectionError("the end in the handshake") from None
        return self

    def receive(self) -> bool:
        data = self.sock.recv(1 << 18)
        self.incoming.write(data)
        return bool(data)

    def send(self, data: bytes) -> Client:
        self.object.write(data)
        return super().send(self.outgoing.read())

    def fill(self) -> bool:
        while True:
            try:
                data = self.object.read(1 << 18)
                self.buffer += data
                return bool(data)
            except ssl.SSLWantReadError:
                if not self.receive():
                    return False
            except ssl.SSLZeroReturnError:
                return False


@pytest.fixture
def server(serve: Serve) -> Server:
    return serve(ASKING, tls=True, **BEHIND, handshake_timeout=3.0)


def passed(server: Server, header: bytes) -> Passed:
    return Passed(server.port).begin(header)


@pytest.mark.parametrize(("header", "address"), PROXY_HEADERS)
def test_address_of_the_client(server: Server, header: bytes, address: list[Any] | None) -> None:
    """However the header and the ClientHello behind it are cut."""
    with passed(server, b"PROXY UNKNOWN\r\n") as beat:
        size = len(header)
        for cut in (None, 1, 6, 12, 16, size - 1, size, size + 1, size + 5, size + 100):
            mark = server.mark()
            # What was sent before the cut is known to be read when another has been answered.
            with Passed(server.port).begin(header, cut, lambda: beat.ask(get("/beat"))) as client:
                assert client.ask(get("/")).status == 200
                told = server.wait_event("LWS_CALLBACK_HTTP", 5, mark, uri="/")
                assert told["address"] == (address or list(client.sock.getsockname())), cut
                mark = server.mark()
                assert client.ask(get("/")).status == 200  # it holds for the connection
                again = server.wait_event("LWS_CALLBACK_HTTP", 5, mark, uri="/")
                assert again["address"] == told["address"]


def test_sessions(server: Server) -> None:
    header = version2("2001:db8::1", 4711)
    mark = server.mark()
    with passed(server, header) as client:
        assert client.send(upgrade("/ws")).response().status == 101
        client.send(frame(8))
        assert client.frame().opcode == 8
        for reason in ("FILTER_PROTOCOL_CONNECTION", "ESTABLISHED", "CLOSED"):
            told = server.wait_event(f"LWS_CALLBACK_{reason}", 5, mark)
            assert told["address"] == ["2001:db8::1", 4711], reason
    with passed(server, header) as client:
        keys = {"key1": hixie_key(12345, 3), "key2": hixie_key(54321, 5), "key3": b"8 bytes."}
        reply = client.send(upgrade76("/ws", **keys)).response()
        assert reply.one("Sec-WebSocket-Location") == b"wss://localhost/ws"


def test_access_log(serve: Serve, tmp_path: Path) -> None:
    server = serve(served(tmp_path), tls=True, **BEHIND)
    for header, peer in (
        (b"PROXY TCP4 192.0.2.1 127.0.0.1 4711 443\r\n", "192.0.2.1:4711"),
        (version2("2001:db8::1", 4712), "[2001:db8::1]:4712"),
    ):
        count = len(lines(server))
        with passed(server, header) as client:
            assert client.ask(get("/a")).body == b"body"
            assert client.send(upgrade("/ws")).response().status == 101
            client.send(text("hello"))
            assert client.message() == b"hello"
        wait_until(lambda count=count: len(lines(server)) >= count + 2)  # type: ignore[misc]
        found = [(kind, one["peer"], one["target"]) for kind, one in lines(server)[count:]]
        assert found == [("request", peer, "/a"), ("session", peer, "/ws")]


def test_what_is_no_header(server: Server) -> None:
    """Of a trusted proxy: no TLS without a header before it, and no word about what is wrong."""
    mark = server.mark()
    wrong = [b"", b"PROXY TCP4 1.2.3\r\n", version2("192.0.2.1", 1, 0x22), b"PROXY " + b"x" * 200]
    wrong += [header * 2 for header, _ in PROXY_HEADERS]  # once a connection
    for header in wrong:
        with Passed(server.port) as client, pytest.raises(OSError):
            client.begin(header)
    with server.connect(tls=None) as client:
        reply = client.send(PROXY_HEADERS[0][0] + get("/")).refused(400)
        assert reply.body.startswith(b"this port speaks TLS")
    with server.connect(tls=None) as client:
        assert client.send(PROXY_HEADERS[0][0]).rest() == b""  # in handshake_timeout
    for event in ("proxy-header", "tls-handshake-failed", "tls-handshake-timeout"):
        server.wait_logged(event)
    (late,) = server.logged("tls-handshake-timeout")
    assert "peer=192.0.2.1:4711" in late["message"], late
    assert not server.found("LWS_CALLBACK_HTTP", mark)


def test_of_others_it_is_no_handshake(serve: Serve) -> None:
    server = serve(ASKING, tls=True, trusted_proxies=["192.0.2.1"], proxy_protocol=True)
    for header, _ in PROXY_HEADERS:
        with Passed(server.port) as client, pytest.raises(OSError):
            client.begin(header)
    server.wait_logged("tls-handshake-failed")
    assert not server.found("LWS_CALLBACK_HTTP")
    assert server.connect().ask(get("/")).status == 200


def test_clients_are_counted_not_the_proxy(serve: Serve) -> None:
    server = serve(ASKING, tls=True, **BEHIND, max_connections_per_ip=2)
    header = version2("192.0.2.1", 1)
    held = [passed(server, header) for _ in range(2)]
    with Passed(server.port) as third, pytest.raises(OSError):
        third.begin(header)
    server.wait_logged("conn-limit-ip")
    assert passed(server, version2("192.0.2.2", 1)).ask(get("/")).status == 200
    assert all(client.ask(get("/")).status == 200 for client in held)


def test_plain_and_encrypted_side_by_side(serve: Serve, free_port: int) -> None:
    server = serve(ASKING, tls=True, listen=[f"127.0.0.1:{free_port} plain"], **BEHIND)
    header = version2("192.0.2.1", 4711)
    for client in (passed(server, header), Client(free_port).send(header)):
        mark = server.mark()
        with client:
            assert client.ask(get("/")).status == 200
            told = server.wait_event("LWS_CALLBACK_HTTP", 5, mark, uri="/")
            assert told["address"] == ["192.0.2.1", 4711]
