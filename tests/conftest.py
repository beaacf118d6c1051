"""Fixtures of all tests: server processes, free ports, skips that name a missing package."""

from __future__ import annotations

import logging
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import pytest
from support.row import Batch, Row
from support.server import FAST, Server
from support.server import free_port as find_free_port

from libwebsockets import log


class Serve(Protocol):
    def __call__(self, app: str | Callable[..., Any], **options: Any) -> Server: ...


def pytest_configure(config: pytest.Config) -> None:
    # A shell that runs the tests in the background has them, and their programs, ignore Ctrl-C.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    config.addinivalue_line("markers", "server(**options): options of the server that `row` starts")


@pytest.fixture(autouse=True)
def _fresh_log() -> None:
    """Lines are limited by the second for the whole process: no test uses up another's."""
    log._forget()


@pytest.fixture
def info_logged(caplog: pytest.LogCaptureFixture) -> None:
    """caplog has the lines of INFO too."""
    caplog.set_level(logging.INFO)


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """serve(app, **options) -> a running Server, ended when the test ends.

    app: a callback defined at the top level of a file, or the name of one in support/apps.py.
    options:
    those of libwebsocket_create_server, and port, protocol, user_area_size, uid, gid, env.
    """
    servers: list[Server] = []

    def start(app: str | Callable[..., Any], **options: Any) -> Server:
        server = Server(app, tmp_path / f"log-{len(servers)}", **options)
        servers.append(server)
        return server

    yield start
    for server in servers:
        server.end()
    for server in servers:
        server.reap()


@pytest.fixture
def free_port() -> int:
    return find_free_port()


@pytest.fixture
def need() -> Callable[[str, str], str]:
    """need(command, package): the command's path, or a skip that names the Debian package."""

    def find(command: str, package: str) -> str:
        found = shutil.which(command)
        if found is None:
            pytest.skip(f"needs {command}: install the Debian package {package}")
        return found

    return find


@pytest.fixture(scope="module")
def batch() -> Iterator[Batch]:
    """The servers of a module's rows; at its end the idle second for all of them (P8)."""
    rows = Batch()
    yield rows
    rows.idle()


@pytest.fixture
def row(
    request: pytest.FixtureRequest, batch: Batch, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Row]:
    """A hostile row: a server of its own with a canary; its postconditions are checked afterwards.

    Its limits of time are short, but those that a loaded machine could reach with bytes under way;
    @pytest.mark.server(name=value) changes options; fields: what own sessions send beside.
    """
    marker = request.node.get_closest_marker("server")
    roomy = {"handshake_timeout": 5.0, "keepalive_timeout": 2.0, "close_timeout": 2.0}
    options = {**FAST, **roomy, "callback_warn": 1.0, **(marker.kwargs if marker else {})}
    folder = tmp_path_factory.mktemp("row")
    fields = options.pop("fields", ())  # what the support's own sessions must send to be let in
    served = folder / "file.bin"
    served.write_bytes(bytes(range(256)) * 40)
    server = Server("hostile", folder / "log", env={"LWS_TEST_FILE": str(served)}, **options)
    made = Row(server, request.node.name, fields)
    batch.rows.append(made)
    yield made
    made.finish()
