"""Where a server listens, how many it lets in from one address, whom it believes of another."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import signal
import socket
import stat
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from inprocess import Served, context_of
from support import script
from support.raw import Client, get, upgrade, upgrade76, wait_until

import libwebsockets as lws
from libwebsockets.http.forwarded import Client as Told
from libwebsockets.http.forwarded import client_of
from libwebsockets.http.request import Refusal
from libwebsockets.listening.endpoint import endpoint_of_host, endpoints_of_listen
from libwebsockets.listening.proxies import proxy_networks

ASKING = f"{Path(__file__).parent / 'support' / 'asking.py'}:asking"
OK = b"HTTP/1.1 200 OK\r\n"


def answers(address: Any, request: bytes = get("/")) -> bool:
    """Whether a server answers on a socket address."""
    family = (
        socket.AF_UNIX
        if isinstance(address, str)
        else socket.AF_INET6
        if ":" in address[0]
        else socket.AF_INET
    )
    with socket.socket(family) as client:
        client.settimeout(5)
        client.connect(address)
        client.sendall(request)
        return client.recv(len(OK)) == OK


def address_of(server: Any, since: int = 0) -> Any:
    """The address that the callback of the newest request saw."""
    return server.wait_event("LWS_CALLBACK_HTTP", 5, since, uri="/")["address"]


# ---- places ----


def test_hosts(serve: Any) -> None:
    for host, works, not_works in (
        ("127.0.0.1", ["127.0.0.1"], ["::1", "127.0.0.2"]),
        ("::1", ["::1"], ["127.0.0.1"]),
        (None, ["127.0.0.1", "127.0.0.2", "::1"], []),
    ):
        server = serve(ASKING, host=host)
        for address in works:
            assert answers((address, server.port)), (host, address)
        for address in not_works:
            with pytest.raises(OSError):
                answers((address, server.port))


def test_several_places_at_once(serve: Any, tmp_path: Path, free_port: int) -> None:
    path = tmp_path / "a socket"
    abstract = f"libwebsockets-test-{os.getpid()}"
    places = [f"127.0.0.2:{free_port}", f"unix:{path} mode=620", f"unix:@{abstract}"]
    server = serve(ASKING, host="127.0.0.1", listen=places)
    mark = server.mark()
    for address in (
        ("127.0.0.1", server.port), ("127.0.0.2", free_port), str(path), f"\0{abstract}"
    ):  # fmt: skip
        assert answers(address)
    wait_until(lambda: len(server.found("LWS_CALLBACK_HTTP", mark)) == 4)
    seen = [record["address"][0] for record in server.found("LWS_CALLBACK_HTTP", mark)]
    assert seen == ["127.0.0.1", "127.0.0.1", "unix", "unix"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o620
    server.stop()
    assert not path.exists()


def test_unix_socket_alone_and_left_behind(serve: Any, tmp_path: Path) -> None:
    path = tmp_path / "socket"
    server = serve(ASKING, host=f"unix:{path}")
    assert server.port == 0 and answers(str(path))
    assert serve(ASKING, host=f"unix:{path}", expect_failure=True).logged("bind-failed")
    assert answers(str(path))  # a living server's socket is not taken away
    server.parent.kill()
    server.parent.wait()
    wait_until(lambda: not server.alive())
    assert path.exists()
    second = serve(ASKING, host=f"unix:{path}")
    assert answers(str(path))
    second.stop()
    path.write_text("no socket")
    assert serve(ASKING, host=f"unix:{path}", expect_failure=True).logged("bind-failed")
    assert path.read_text() == "no socket"


def test_a_file_that_took_the_place_of_the_socket_stays(serve: Any, tmp_path: Path) -> None:
    path = tmp_path / "socket"
    server = serve(ASKING, host=f"unix:{path}")
    path.unlink()
    path.write_text("somebody else's")
    assert server.stop() == 0
    assert path.read_text() == "somebody else's"


@pytest.mark.parametrize("host", ["\xfc" * 64, "\udc80"])
def test_a_host_that_can_be_no_name(host: str, caplog: Any) -> None:
    made = lws.libwebsocket_create_context(0, print, 76, 0, None, None, -1, -1, host=host)
    assert made is None
    (record,) = caplog.records
    assert record.getMessage().startswith("bind-failed") and "EINVAL" in record.getMessage()


NETWORK = """
import ctypes
assert ctypes.CDLL(None, use_errno=True).unshare(0x40000000) == 0  # CLONE_NEWNET

def set(name, value):
    with open("/proc/sys/net/" + name, "w") as stream:
        stream.write(value)
"""
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@needs_root
def test_a_free_port_is_free_in_both_families(tmp_path: Path) -> None:
    """Of the ports that the kernel may choose from some are taken for IPv6, then all.

    It chooses from the lower half as long as that has one.
    """
    source = f"""{NETWORK}
set("ipv4/ip_local_port_range", "40000 40007")
taken = []
def take(port):
    taken.append(socket.socket(socket.AF_INET6))
    taken[-1].setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    taken[-1].bind(("::", port))
    taken[-1].listen()

free = (40001, 40002)
for port in (40000, 40003):
    take(port)
for turn in range(10):
    server = create()
    assert server.port in free, server.port
    assert server.stop(5) == 0
for port in (*free, 40004, 40005, 40006, 40007):
    take(port)
assert create() == -1
"""
    ran = script.run(tmp_path, source)
    assert ran.returncode == 0, ran.stderr
    (line,) = [line for line in ran.stderr.splitlines() if line.startswith("ERROR")]
    assert "bind-failed" in line and "EADDRINUSE" in line


NO_IPV6 = """
#include <errno.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

int socket(int family, int type, int protocol)
{
    if (family == AF_INET6) {
        errno = EAFNOSUPPORT;
        return -1;
    }
    return (int)syscall(SYS_socket, family, type, protocol);
}
"""


def test_a_machine_without_ipv6(tmp_path: Path) -> None:
    """As one that was started with ipv6.disable=1, by a preloaded library."""
    library = tmp_path / "shim.so"
    (tmp_path / "shim.c").write_text(NO_IPV6)
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", library, tmp_path / "shim.c"], check=True)
    source = """
with create() as server:
    assert answers(server.port)
assert create(host="::1") == -1  # what was asked for by name is not left out
"""
    ran = script.run(tmp_path, source, env={**os.environ, "LD_PRELOAD": str(library)})
    assert ran.returncode == 0, ran.stderr
    assert ran.stderr.count("bind-failed") == 1 and "EAFNOSUPPORT" in ran.stderr


ADOPT = """
import os
listening = socket.create_server(("127.0.0.1", 0))
os.dup2(listening.fileno(), 3)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1")
for host in ("fd:3", "systemd"):
    with create(host=host) as server:
        assert server.port == listening.getsockname()[1]
        assert answers(server.port)
    assert socket.socket(fileno=os.dup(3)).getsockname()  # the caller's still
for host in ("fd:0", "fd:999"):
    assert create(host=host) == -1
os.environ["LISTEN_PID"] = "1"
assert create(host="systemd") == -1
plain = socket.socket()
assert create(host=f"fd:{plain.fileno()}") == -1
context = libwebsocket_create_context(0, echo, 76, 0, None, None, -1, -1, host="fd:3")
assert context.port == listening.getsockname()[1]
libwebsocket_context_destroy(context)
"""


def test_sockets_that_listen_already(tmp_path: Path) -> None:
    script.passed(tmp_path, ADOPT, stdin=-3)


def test_one_place_that_cannot_be_had_is_all(serve: Any, tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        places = [f"unix:{path}", f"127.0.0.1:{port}"]
        server = serve(ASKING, listen=places, expect_failure=True)
    assert "EADDRINUSE" in server.logged("bind-failed")[0]["message"]
    assert not path.exists()


def test_tls_without_a_certificate(serve: Any) -> None:
    server = serve(ASKING, listen=["127.0.0.1:0 tls"], expect_failure=True)
    assert server.logged("tls-config")


@pytest.mark.parametrize(
    "listen",
    ["127.0.0.1:80", [1], ["127.0.0.1"], ["127.0.0.1:65536"], ["127.0.0.1:999999999999"], ["unix:"],
     ["unix:" + "x" * 108], ["fd:x"], ["fd:-1"], ["fd:99999999999"], [":80 ssl"], ["a b:80"],
     ["::1:80"], ["a\0:80"], ["[::1]"], ["systemd x"]],
)  # fmt: skip
def test_wrong_places(listen: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="listen"):
        endpoints_of_listen(listen)


@given(st.text(max_size=40))
def test_any_text_is_a_place_or_refused(text: str) -> None:
    with contextlib.suppress(ValueError):
        endpoints_of_listen([text])
    with contextlib.suppress(ValueError):
        assert endpoint_of_host(text, 80).text == text


# ---- connections of one address ----


def test_connections_per_address(serve: Any) -> None:
    server = serve(ASKING, max_connections_per_ip=10)
    clients = [server.connect() for _ in range(20)]
    allowed = 0
    for client in clients:
        reply = client.ask(get("/"))
        allowed += reply.status == 200
        if reply.status == 503:
            assert client.rest() == b""
    assert allowed == 10 and server.logged("conn-limit-ip")
    with socket.create_connection(
        ("127.0.0.1", server.port), 5, source_address=("127.0.0.2", 0)
    ) as other:
        other.sendall(get("/"))
        assert other.recv(len(OK)) == OK
    for client in clients:
        client.close()

    def free_again() -> bool:
        with server.connect() as client:
            return client.send(get("/")).response().status == 200

    wait_until(free_again)
    with contextlib.ExitStack() as stack:
        for number in range(2, 202):  # many addresses, so that the table grows and shrinks
            client = socket.create_connection(
                ("127.0.0.1", server.port), 5, source_address=(f"127.0.1.{number}", 0)
            )
            stack.enter_context(client)
            client.sendall(get("/"))
            assert client.recv(len(OK)) == OK
    wait_until(free_again)


def test_ipv6_is_counted_by_its_network(serve: Any) -> None:
    server = serve(ASKING, max_connections_per_ip=2)
    clients = [Client(server.port, host="::1") for _ in range(3)]
    assert sorted(client.ask(get("/")).status for client in clients) == [200, 200, 503]


# ---- proxies ----


FORWARDED = [
    ([("X-Forwarded-For", "192.0.2.1")], ["192.0.2.1", 0]),
    ([("X-Forwarded-For", "203.0.113.9, 192.0.2.1")], ["192.0.2.1", 0]),
    ([("X-Forwarded-For", "192.0.2.1, 127.0.0.1")], ["192.0.2.1", 0]),
    ([("X-Forwarded-For", "6.6.6.6"), ("X-Forwarded-For", "192.0.2.1")], ["192.0.2.1", 0]),
    ([("X-Forwarded-For", "192.0.2.1:4711")], ["192.0.2.1", 4711]),
    ([("X-Forwarded-For", "2001:db8::1")], ["2001:db8::1", 0]),
    ([("X-Forwarded-For", "[2001:db8::1]:80")], ["2001:db8::1", 80]),
    ([("X-Forwarded-For", "::ffff:192.0.2.1")], ["192.0.2.1", 0]),
    ([("Forwarded", "for=192.0.2.1")], ["192.0.2.1", 0]),
    ([("Forwarded", "for=6.6.6.6, For=192.0.2.1;proto=https;by=_x")], ["192.0.2.1", 0]),
    ([("Forwarded", 'for="[2001:db8::1]:4711"')], ["2001:db8::1", 4711]),
    ([("Forwarded", "for=192.0.2.1"), ("X-Forwarded-For", "192.0.2.1")], ["192.0.2.1", 0]),
    # PX-01: empty elements are ignored (RFC 9110, section 5.6.1.2)
    ([("X-Forwarded-For", "6.6.6.6, , 192.0.2.1")], ["192.0.2.1", 0]),
    ([("X-Forwarded-For", "192.0.2.1,")], ["192.0.2.1", 0]),
    ([("X-Forwarded-For", "192.0.2.1, , 127.0.0.1 ,")], ["192.0.2.1", 0]),
    ([("X-Forwarded-For", "192.0.2.1"), ("X-Forwarded-For", "")], ["192.0.2.1", 0]),
    ([("X-Forwarded-For", ""), ("Forwarded", "for=192.0.2.1")], ["192.0.2.1", 0]),
    ([("Forwarded", "for=192.0.2.1, ,")], ["192.0.2.1", 0]),
    ([("Forwarded", ",for=6.6.6.6,, for=192.0.2.1;;proto=https; ,")], ["192.0.2.1", 0]),
    ([("Forwarded", ""), ("X-Forwarded-For", "192.0.2.1")], ["192.0.2.1", 0]),
]


def test_forwarded_fields_of_a_trusted_proxy(serve: Any) -> None:
    server = serve(ASKING, trusted_proxies=["127.0.0.0/8"], max_connections_per_ip=1)
    client = server.connect()
    others = [server.connect() for _ in range(5)]  # the limit is not held against a proxy
    for fields, address in FORWARDED:
        mark = server.mark()
        assert client.ask(get("/", *fields)).status == 200
        assert address_of(server, mark) == address, fields
        mark = server.mark()
        client.ask(get("/"))  # the next request on the connection may be of another client
        assert address_of(server, mark) == list(client.sock.getsockname()), fields
    for fields in ([("X-Forwarded-For", "rubbish")], [("X-Forwarded-For", "")],
                   [("X-Forwarded-For", "999.0.0.1:80")], [("Forwarded", "for=unknown")],
                   [("Forwarded", "for=_hidden")], [("X-Forwarded-For", ", ,")],
                   [("Forwarded", ", ;,")], [("Forwarded", "")]):  # fmt: skip
        mark = server.mark()
        assert client.ask(get("/", *fields)).status == 200
        assert address_of(server, mark) == list(client.sock.getsockname()), fields
    for fields in (
        [("Forwarded", "for=192.0.2.1"), ("X-Forwarded-For", "192.0.2.2")],
        [("Forwarded", 'for="')],
        [("Forwarded", "for 192.0.2.1")],
    ):
        with server.connect() as refused:
            refused.send(get("/", *fields)).refused(400)
    assert server.logged("http-bad-forwarded")
    assert all(other.ask(get("/")).status == 200 for other in others)


def test_forwarded_fields_on_sessions(serve: Any) -> None:
    server = serve(ASKING, trusted_proxies=["127.0.0.1"], send_interval=0)
    fields = [("X-Forwarded-For", "192.0.2.1"), ("X-Forwarded-Proto", "https")]
    mark = server.mark()
    client = server.connect().send(upgrade("/ws", *fields))
    assert client.response().status == 101
    client.reset()
    for reason in ("FILTER_PROTOCOL_CONNECTION", "ESTABLISHED", "CLOSED"):
        told = server.wait_event(f"LWS_CALLBACK_{reason}", 5, mark)
        assert told["address"] == ["192.0.2.1", 0], reason
    reply = server.connect().send(upgrade76("/ws", *fields)).response()
    assert reply.one("Sec-WebSocket-Location") == b"wss://localhost/ws"
    reply = server.connect().send(upgrade76("/ws", fields[0])).response()
    assert reply.one("Sec-WebSocket-Location") == b"ws://localhost/ws"


@pytest.mark.parametrize(
    ("fields", "scheme"),
    [
        ([("X-Forwarded-Proto", "wss")], "wss"),
        ([("X-Forwarded-Proto", "WSS")], "wss"),
        ([("X-Forwarded-Proto", "https,")], "wss"),
        ([("X-Forwarded-Proto", "http, wss, ")], "wss"),
        ([("X-Forwarded-Proto", "wss"), ("X-Forwarded-Proto", "")], "wss"),
        ([("X-Forwarded-Proto", "wss, ws")], "ws"),
        ([("X-Forwarded-Proto", "wssx")], "ws"),
        ([("X-Forwarded-Proto", ",")], "ws"),
        ([("Forwarded", "for=192.0.2.1;proto=wss")], "wss"),
        ([("Forwarded", "proto=ws;for=192.0.2.1")], "ws"),
    ],
)
def test_PX_02_protocols_of_a_client(fields: Any, scheme: str) -> None:
    """What the request came by, as far as its reply shows: the location of hixie-76."""
    with context_of(print, trusted_proxies=["127.0.0.1"]) as context, Served(context) as client:
        reply = client.send(upgrade76("/ws", *fields)).response()
        assert reply.one("Sec-WebSocket-Location") == f"{scheme}://localhost/ws".encode()


def test_a_trusted_network_of_ipv6(serve: Any) -> None:
    server = serve(ASKING, trusted_proxies=["::1/128"])
    for host, address in (("::1", ["192.0.2.1", 0]), ("127.0.0.1", None)):
        mark = server.mark()
        with Client(server.port, host=host) as client:
            client.ask(get("/", ("X-Forwarded-For", "192.0.2.1")))
            assert address_of(server, mark) == (address or list(client.sock.getsockname()))


def test_nobody_else_is_believed(serve: Any) -> None:
    server = serve(ASKING, trusted_proxies=["192.0.2.0/24", "unix:"])
    for fields, _ in FORWARDED:
        mark = server.mark()
        client = server.connect()
        assert client.ask(get("/", *fields)).status == 200
        assert address_of(server, mark) == list(client.sock.getsockname())


def version2(
    address: str, port: int, command: int = 0x21, more: bytes = b"", family: int | None = None
) -> bytes:
    packed = ipaddress.ip_address(address).packed
    if family is None:
        family = 0x11 if len(packed) == 4 else 0x21
    body = packed * 2 + struct.pack(">HH", port, 80) + more
    signature = b"\r\n\r\n\0\r\nQUIT\n"
    return signature + struct.pack(">BBH", command, family, len(body)) + body


PROXY_HEADERS = [
    (b"PROXY TCP4 192.0.2.1 127.0.0.1 4711 80\r\n", ["192.0.2.1", 4711]),
    (b"PROXY TCP6 2001:db8::1 ::1 4711 80\r\n", ["2001:db8::1", 4711]),
    (b"PROXY UNKNOWN\r\n", None),
    (version2("192.0.2.1", 4711), ["192.0.2.1", 4711]),
    (version2("2001:db8::1", 4711, more=b"\x04\0\x01x"), ["2001:db8::1", 4711]),
    (version2("192.0.2.1", 4711, command=0x20), None),
]


def test_proxy_protocol(serve: Any) -> None:
    server = serve(
        ASKING, trusted_proxies=["127.0.0.1"], proxy_protocol=True, send_interval=0,
        handshake_timeout=3.0,
    )  # fmt: skip
    for header, address in PROXY_HEADERS:
        sent = header + get("/")
        beat = server.connect().send(b"PROXY UNKNOWN\r\n" + get("/beat"))
        assert beat.response().status == 200
        for cut in (*range(len(header) + 3), len(sent)):
            mark = server.mark()
            client = server.connect().send(sent[:cut])
            if cut % 5 == 1:  # the server is known to have read the first part
                assert beat.ask(get("/beat")).status == 200
            client.send(sent[cut:])
            assert client.response().status == 200
            assert address_of(server, mark) == (address or list(client.sock.getsockname()))
            if cut == len(sent):
                mark = server.mark()
                assert client.ask(get("/")).status == 200  # once a connection
                address_of(server, mark)  # its record has come: the next one is the next client's
            client.close()
    mark = server.mark()
    client = server.connect().send(PROXY_HEADERS[0][0] + upgrade("/ws"))
    assert client.response().status == 101
    told = server.wait_event("LWS_CALLBACK_ESTABLISHED", 5, mark)
    assert told["address"] == ["192.0.2.1", 4711]
    mark = server.mark()
    for wrong in (get("/"), b"PROXY TCP4 1.2.3\r\n", version2("192.0.2.1", 1, 0x22), b"\r\n\r\n\0x",
                  b"PROXY " + b"x" * 200):  # fmt: skip
        with server.connect() as client:
            assert client.send(wrong).rest() == b""
    assert server.logged("proxy-header")
    silent = server.connect().send(b"PROXY TCP4 192.")
    assert silent.rest() == b""  # in handshake_timeout, without an HTTP reply
    assert not server.found("LWS_CALLBACK_HTTP", mark)


@pytest.mark.parametrize(
    "header",
    [b"PROXY UNKNOWN\r\n", b"PROXY UNKNOWN ffff::1 x 1 2\r\n",
     version2("192.0.2.1", 4711, command=0x20), version2("192.0.2.1", 4711, family=0x00),
     version2("192.0.2.1", 4711, family=0x12), version2("192.0.2.1", 4711, family=0x31)],
)  # fmt: skip
def test_PX_03_a_client_that_is_not_named_is_not_believed(serve: Any, header: bytes) -> None:
    """The proxy passes on what the client sent: its own X-Forwarded-For is anybody's word."""
    server = serve(ASKING, trusted_proxies=["127.0.0.1"], proxy_protocol=True, send_interval=0)
    fields = [("X-Forwarded-For", "6.6.6.6"), ("X-Forwarded-Proto", "https")]
    client = server.connect().send(header)
    for more in (fields, [("Forwarded", "for=6.6.6.6")], [("Forwarded", 'for="')]):
        mark = server.mark()
        assert client.ask(get("/", *more)).status == 200
        assert address_of(server, mark) == list(client.sock.getsockname()), more
    reply = server.connect().send(header + upgrade76("/ws", *fields)).response()
    assert reply.one("Sec-WebSocket-Location") == b"ws://localhost/ws"
    # One that is named and is itself a proxy of ours speaks for its client.
    mark = server.mark()
    chain = b"PROXY TCP4 127.0.0.1 127.0.0.1 1 2\r\n"
    server.connect().ask(chain + get("/", ("X-Forwarded-For", "192.0.2.1")))
    assert address_of(server, mark) == ["192.0.2.1", 0]


@pytest.mark.parametrize("tls", [False, True])
def test_PX_04_long_headers(serve: Any, tls: bool) -> None:
    """Further fields, certificates for one, may take as many bytes as 16 bits can count."""
    server = serve(ASKING, trusted_proxies=["127.0.0.1"], proxy_protocol=True, tls=tls)

    def ready(client: Client) -> Client:
        """The same client, past its TLS handshake."""
        if tls:
            assert server.tls is not None
            client.sock = server.tls.wrap_socket(client.sock, server_hostname="localhost")
        return client

    for size in (4068, 4069, 8192, 65535 - 12):
        header = version2("192.0.2.1", 4711, more=bytes(size))
        for cut in (0, 16, 4096, 8192, len(header) - 1, len(header)):
            mark = server.mark()
            client = server.connect(tls=None).send(header[:cut])
            if cut % 3 == 0:  # the server has read the first part
                beat = server.connect(tls=None).send(b"PROXY UNKNOWN\r\n")
                assert ready(beat).ask(get("/beat")).status == 200
            client.send(header[cut:])
            assert ready(client).ask(get("/")).status == 200, (size, cut)
            assert address_of(server, mark) == ["192.0.2.1", 4711]
            client.close()


def test_proxy_protocol_of_others_is_no_request(serve: Any) -> None:
    server = serve(ASKING, trusted_proxies=["192.0.2.1"], proxy_protocol=True)
    for header, _ in PROXY_HEADERS:
        with server.connect() as client:
            reply = client.send(header + get("/")).response()
            assert reply.status in (400, 405, 501, 505)
    assert server.connect().ask(get("/")).status == 200


def test_connections_behind_a_proxy_are_counted_by_client(serve: Any) -> None:
    server = serve(
        ASKING, trusted_proxies=["127.0.0.1"], proxy_protocol=True, max_connections_per_ip=2
    )
    clients = []
    statuses = []
    for _ in range(3):
        client = server.connect().send(version2("192.0.2.1", 1) + get("/"))
        statuses.append(client.response().status)
        clients.append(client)
    assert statuses == [200, 200, 503]
    assert server.connect().send(version2("192.0.2.2", 1) + get("/")).response().status == 200


@pytest.mark.parametrize("proxies", ["127.0.0.1", [1], ["x"], ["1.2.3.4/33"], ["10.0.0.1/8"]])
def test_wrong_proxies(proxies: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="trusted_proxies"):
        proxy_networks(proxies)


def test_proxy_protocol_needs_proxies() -> None:
    with pytest.raises(ValueError, match="0"):
        lws.libwebsocket_create_context(0, print, 76, 0, None, None, -1, -1, proxy_protocol=True)


class Fields:
    """A request as far as client_of looks at it."""

    def __init__(self, **fields: list[bytes]) -> None:
        self.fields = fields

    def values(self, name: bytes) -> list[bytes]:
        return self.fields.get(name.decode().replace("-", "_"), [])


@given(st.binary(max_size=80), st.binary(max_size=80))
def test_any_field_is_understood_or_refused(first: bytes, second: bytes) -> None:
    networks = proxy_networks(["10.0.0.0/8"])
    for fields in ({"Forwarded": [first]}, {"X_Forwarded_For": [first, second]},
                   {"X_Forwarded_Proto": [first]}):  # fmt: skip
        told = client_of(Fields(**fields), networks)  # type: ignore[arg-type]
        assert told is None or isinstance(told, Told | Refusal)


@pytest.fixture(autouse=True)
def no_alarm() -> Iterator[None]:
    """A test here waits for servers and sockets: none may wait for ever."""
    signal.alarm(120)
    yield
    signal.alarm(0)
