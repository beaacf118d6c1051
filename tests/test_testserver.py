"""python -m libwebsockets.testserver: its options, what it serves, how it ends."""

from __future__ import annotations

import importlib
import itertools
import os
import re
import signal
import socket
import ssl
import struct
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import esprima  # type: ignore[import-untyped]
import pytest
from conformance.running import SECONDS, TheTestServer
from inprocess import Served, context_of
from support.certificates import make
from support.raw import text, upgrade
from websockets.exceptions import ConnectionClosedOK, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from libwebsockets import libwebsocket_close_reason

HERE = Path(__file__).resolve().parent
FILES = HERE.parent / "test-server"
MOST = 200  # messages that are waited through for one


@pytest.fixture(scope="module")
def server() -> Iterator[TheTestServer]:
    with TheTestServer() as running:
        yield running


def opened(server: TheTestServer) -> ClientConnection:
    return connect(f"ws://127.0.0.1:{server.port}/", compression=None, open_timeout=SECONDS)


def run(*options: str, path: str | None = None) -> subprocess.CompletedProcess[str]:
    """The test server, for options with which it ends by itself."""
    return subprocess.run(
        [sys.executable, "-m", "libwebsockets.testserver", *options],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        cwd="/",
        env={**os.environ, "PATH": path or os.environ["PATH"]},
        check=False,
    )


class TestCommandLine:
    def test_help_names_every_option_and_default(self) -> None:
        done = run("--help")
        assert (done.returncode, done.stderr) == (0, "")
        for option in ("--port", "--protocol", "--host", "--uid", "--gid"):
            assert option in done.stdout
        assert "7681" in done.stdout
        assert "default: 76)" in done.stdout

    def test_unknown_option_is_refused(self) -> None:
        done = run("--prot")
        assert done.returncode == 2
        assert "--prot" in done.stderr

    def test_address_to_open_is_printed(self, server: TheTestServer) -> None:
        assert re.search(r"http://localhost:\d+/", server.out.text())

    def test_verbose(self) -> None:
        with TheTestServer("--verbose") as server:
            with urllib.request.urlopen(server.url, timeout=SECONDS) as reply:
                size = len(reply.read())
            line = server.err.wait("libwebsockets.access").string
            assert "method=GET target=/ status=200" in line and f"bytes={size} " in line

    def test_port_in_use(self, server: TheTestServer) -> None:
        done = run("--port", str(server.port))
        assert done.returncode == 1
        assert done.stdout == ""
        assert "Traceback" not in done.stderr
        assert re.search(r"address.*in use", done.stderr, re.IGNORECASE)

    def test_unsupported_protocol(self) -> None:
        done = run("--port", "0", "--protocol", "77")
        assert done.returncode == 1
        assert "77" in done.stderr
        assert "Traceback" not in done.stderr

    @pytest.mark.parametrize("options", [("--uid", "-2"), ("--port", "65536")])
    def test_number_that_cannot_be(self, options: tuple[str, str]) -> None:
        done = run("--port", "0", *options)
        assert done.returncode == 1
        assert options[1] in done.stderr
        assert "Traceback" not in done.stderr

    def test_host(self) -> None:
        with TheTestServer("--host", "127.0.0.1") as local:
            assert local.url == f"http://127.0.0.1:{local.port}/"
            with opened(local) as connection:
                assert connection.recv(SECONDS) == "0"
            with (
                pytest.raises(ConnectionRefusedError),
                socket.create_connection(("127.0.0.2", local.port), 1),
            ):
                pass

    def test_protocol_13_refuses_hixie_76(self) -> None:
        with TheTestServer("--protocol", "13") as modern:
            with opened(modern) as connection:
                assert connection.recv(SECONDS) == "0"
            with (
                pytest.raises(InvalidStatus) as refusal,
                connect(
                    f"ws://127.0.0.1:{modern.port}/",
                    additional_headers={"Sec-WebSocket-Version": "8"},
                ),
            ):
                pass
            assert refusal.value.response.status_code in (400, 426)

    @pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give up")
    def test_uid_and_gid(self) -> None:
        with TheTestServer("--uid", "65534", "--gid", "65534") as server:
            children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children")
            (child,) = children.read_text().split()
            status = Path(f"/proc/{child}/status").read_text()
            assert re.search(r"^Uid:(\t65534){4}$", status, re.MULTILINE)
            assert re.search(r"^Gid:(\t65534){4}$", status, re.MULTILINE)
            with opened(server) as connection:
                assert connection.recv(SECONDS) == "0"


class TestSsl:
    def fetch(self, url: str, trusted: Path | None) -> bytes:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        if trusted is None:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        else:
            context.load_verify_locations(trusted)
        with urllib.request.urlopen(url, timeout=SECONDS, context=context) as reply:
            body: bytes = reply.read()
            return body

    def test_files(self, tmp_path: Path) -> None:
        pair = make(tmp_path)
        files = ("--cert", str(pair.certificate), "--key", str(pair.key))
        with TheTestServer("--ssl", *files) as server:
            assert b"<html" in self.fetch(server.url, pair.certificate)

    def test_self_signed_certificate_is_made(self) -> None:
        with TheTestServer("--ssl", "--host", "127.0.0.1") as server:
            assert server.url == f"https://127.0.0.1:{server.port}/"
            assert b"<html" in self.fetch(server.url, None)
            # In memory only: nothing of it is left open in the server or lies anywhere.
            der = ssl.get_server_certificate(("127.0.0.1", server.port))
            assert der.startswith("-----BEGIN CERTIFICATE-----")

    @pytest.mark.parametrize(
        ("host", "name"),
        [
            ("::1", "https://[::1]:"),
            ("127.0.0.2", "https://127.0.0.2:"),
            ("0.0.0.0", "//localhost:"),
        ],
    )
    def test_certificate_for_the_address(self, host: str, name: str) -> None:
        with TheTestServer("--ssl", "--host", host) as server:
            assert name in server.url
            address = "127.0.0.1" if host == "0.0.0.0" else host
            context = ssl.create_default_context(
                cadata=ssl.get_server_certificate((address, server.port))
            )
            with socket.create_connection((address, server.port), SECONDS) as plain:
                with context.wrap_socket(plain, server_hostname=address) as sock:
                    assert sock.getpeercert()

    def test_openssl_that_fails(self, tmp_path: Path) -> None:
        command = tmp_path / "openssl"
        command.write_text("#!/bin/sh\necho a word; echo no entropy >&2; exit 1\n")
        command.chmod(0o755)
        done = run("--ssl", path=f"{tmp_path}:/bin:/usr/bin")
        assert done.returncode == 1
        assert done.stderr.endswith("openssl made no certificate: no entropy\n")

    def test_without_openssl_it_says_what_is_missing(self) -> None:
        done = run("--ssl", path="/nonexistent")
        assert done.returncode == 1
        assert "openssl" in done.stderr and "Traceback" not in done.stderr

    @pytest.mark.parametrize(
        "options",
        [("--ssl", "--cert", "x"), ("--ssl", "--key", "x"), ("--cert", "x", "--key", "y")],
    )
    def test_options_that_do_not_go_together(self, options: tuple[str, ...]) -> None:
        done = run(*options)
        assert done.returncode == 2
        assert "--cert and --key" in done.stderr

    def test_bad_file(self) -> None:
        done = run("--ssl", "--cert", "/nonexistent", "--key", "/nonexistent")
        assert done.returncode == 1
        assert "tls-config file=/nonexistent" in done.stderr


class TestEnd:
    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_signal_ends_it_cleanly(self, number: signal.Signals) -> None:
        with TheTestServer() as server, opened(server) as connection:
            assert connection.recv(SECONDS) == "0"
            server.process.send_signal(number)
            with pytest.raises(ConnectionClosedOK) as closing:
                for _ in range(MOST):
                    connection.recv(SECONDS)
            assert closing.value.rcvd is not None
            assert closing.value.rcvd.code == 1001
            assert server.process.wait(SECONDS) == 0
            assert "Traceback" not in server.err.rest()

    def test_a_server_that_is_killed_is_an_error(self) -> None:
        with TheTestServer() as server:
            (child,) = (
                Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children")
                .read_text()
                .split()
            )
            os.kill(int(child), signal.SIGKILL)
            assert server.process.wait(SECONDS) == 1
            assert "server-died" in server.err.rest()

    def test_port_is_free_again(self) -> None:
        with TheTestServer() as server:
            port = server.port
            server.process.send_signal(signal.SIGINT)
            assert server.process.wait(SECONDS) == 0
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), 1)


class TestHttp:
    def fetch(self, server: TheTestServer, path: str) -> tuple[str, bytes]:
        url = f"http://127.0.0.1:{server.port}{path}"
        with urllib.request.urlopen(url, timeout=SECONDS) as reply:
            assert reply.status == 200
            return reply.headers["Content-Type"], reply.read()

    @pytest.mark.parametrize("path", ["/", "/test.html", "/none", "/../../etc/passwd", "/?a=b"])
    def test_every_path_is_the_page(self, server: TheTestServer, path: str) -> None:
        kind, body = self.fetch(server, path)
        assert kind == "text/html; charset=utf-8"
        assert body == (FILES / "test.html").read_bytes()

    def test_favicon(self, server: TheTestServer) -> None:
        kind, body = self.fetch(server, "/favicon.ico")
        assert kind == "image/x-icon"
        assert body == (FILES / "favicon.ico").read_bytes()

    def test_path_is_logged_on_one_line_without_raw_bytes(self, server: TheTestServer) -> None:
        with socket.create_connection(("127.0.0.1", server.port), SECONDS) as raw:
            raw.sendall(b"GET /logged\x1b[31m HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            while raw.recv(65536):
                pass
        self.fetch(server, "/" + "long" * 500)
        line = server.err.wait("serving '/longlong").string
        assert len(line) < 200
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\xff]", server.err.text())


class TestCallback:
    def numbers(self, connection: ClientConnection, count: int) -> list[str | bytes]:
        return [connection.recv(SECONDS) for _ in range(count)]

    def until(self, connection: ClientConnection, wanted: str) -> list[str | bytes]:
        """What comes before the message that is wanted."""
        before: list[str | bytes] = []
        for _ in range(MOST):
            message = connection.recv(SECONDS)
            if message == wanted:
                return before
            before.append(message)
        raise AssertionError(f"no {wanted!r} among {MOST} messages")

    def test_a_message_that_cannot_be_sent_closes(self) -> None:
        """It asks for the end of a session on which it may not write any more."""
        callback = importlib.import_module("libwebsockets.testserver.__main__").callback
        results: list[tuple[str, int]] = []

        def closed_before(wsi: Any, reason: Any, *rest: Any) -> int:
            event = reason.name.removeprefix("LWS_CALLBACK_")
            if event in ("SEND", "RECEIVE"):
                libwebsocket_close_reason(wsi, 1000)
                results.append((event, callback(wsi, reason, *rest)))
                return results[-1][1]
            return int(callback(wsi, reason, *rest))

        with context_of(closed_before, user_area_size=8, send_interval=0.01) as context:
            with Served(context) as client:
                client.open("/").closing(1000)
            with Served(context) as client:
                client.send(upgrade("/") + text("to be echoed"))
                assert client.response().status == 101
                client.closing(1000)
        assert results == [("SEND", 1), ("RECEIVE", 1)]

    def test_each_session_counts_for_itself(self, server: TheTestServer) -> None:
        with opened(server) as first:
            assert self.numbers(first, 5) == list("01234")
            with opened(server) as second:
                assert self.numbers(second, 3) == list("012")
            later = int(first.recv(SECONDS))
            assert later >= 5

    def test_reset_sets_the_number_to_0(self, server: TheTestServer) -> None:
        with opened(server) as connection:
            assert self.numbers(connection, 5) == list("01234")
            connection.send("reset\n")
            under_way = self.until(connection, "0")
            assert under_way == [str(n) for n in range(5, 5 + len(under_way))]
            assert self.numbers(connection, 3) == list("123")

    @pytest.mark.parametrize(
        "text", ["", "x", "reset", "reset\n\n", "12345678", "\0", "é" * 40_000]
    )
    def test_other_text_comes_back_as_it_was_sent(self, server: TheTestServer, text: str) -> None:
        with opened(server) as connection:
            connection.send(text)
            before = self.until(connection, text)
            assert before == [str(n) for n in range(len(before))]
            assert self.numbers(connection, 2) == [str(len(before)), str(len(before) + 1)]


ES3_NODES = """
    ArrayExpression AssignmentExpression BinaryExpression BlockStatement BreakStatement
    CallExpression CatchClause ConditionalExpression ContinueStatement DoWhileStatement
    EmptyStatement ExpressionStatement ForInStatement ForStatement FunctionDeclaration
    FunctionExpression Identifier IfStatement LabeledStatement Literal LogicalExpression
    MemberExpression StaticMemberExpression ComputedMemberExpression NewExpression
    ObjectExpression Program Script Property ReturnStatement SequenceExpression SwitchCase
    SwitchStatement ThisExpression ThrowStatement TryStatement UnaryExpression UpdateExpression
    VariableDeclaration VariableDeclarator WhileStatement WithStatement
"""

# What came with ES5, HTML5 engines after 2010 or later: an old engine would stop at it.
LATER_NAMES = """
    JSON classList querySelector querySelectorAll textContent dataset addEventListener remove
    forEach map filter reduce some every indexOf bind trim keys isArray create defineProperty
    Promise fetch Symbol Map Set requestAnimationFrame includes startsWith endsWith padStart now
"""

RESERVED_IN_ES3 = """
    abstract boolean break byte case catch char class const continue debugger default delete do
    double else enum export extends false final finally float for function goto if implements
    import in instanceof int interface long native new null package private protected public
    return short static super switch synchronized this throw throws transient true try typeof var
    void volatile while with
"""


@pytest.fixture(scope="module")
def script() -> str:
    page = (FILES / "test.html").read_text(encoding="utf-8")
    (script,) = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    return str(script)


class TestFiles:
    def test_script_is_es3(self, script: str) -> None:
        seen: list[str] = []

        def visit(node: Any, _metadata: object) -> None:
            kind = node.type
            seen.append(kind)
            where = f"line {node.loc.start.line} of the script"
            assert kind in ES3_NODES.split(), f"{kind}, {where}"
            if kind == "VariableDeclaration":
                assert node.kind == "var", where
            if kind == "Property":
                assert node.kind == "init", where
                assert not node.shorthand and not node.computed, where
                assert getattr(node.key, "name", "") not in RESERVED_IN_ES3.split(), where
            if kind.endswith("MemberExpression") and not node.computed:
                assert node.property.name not in RESERVED_IN_ES3.split(), where

        esprima.parseScript(script, {"loc": True}, visit)
        assert len(seen) > 500, "the walk must have visited the script"

    def test_script_has_no_trailing_comma(self, script: str) -> None:
        values = [token.value for token in esprima.tokenize(script)]
        assert len(values) > 500
        pairs = set(itertools.pairwise(values))
        assert not pairs & {(",", "}"), (",", "]"), (",", ")")}

    def test_script_uses_no_later_names(self, script: str) -> None:
        names = {token.value for token in esprima.tokenize(script) if token.type == "Identifier"}
        # performance.now is asked for before it is called.
        assert names & set(LATER_NAMES.split()) <= {"now"}

    def test_page_loads_nothing_from_elsewhere(self) -> None:
        page = (FILES / "test.html").read_text(encoding="utf-8")
        assert set(re.findall(r"(?:src|href|action)=\"([^\"]*)\"", page)) == {"/favicon.ico", "#"}
        assert "@import" not in page
        assert "url(" not in page

    def test_favicon_is_one_16_by_16_icon(self) -> None:
        icon = (FILES / "favicon.ico").read_bytes()
        assert struct.unpack_from("<HHHBB", icon) == (0, 1, 1, 16, 16)
        size, offset = struct.unpack_from("<II", icon, 14)
        assert offset + size == len(icon)
