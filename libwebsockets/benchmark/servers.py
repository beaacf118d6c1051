"""The servers that are measured: one written with the public API, and the bare C one."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import (
    LWS_CALLBACK_CLOSED,
    LWS_CALLBACK_ESTABLISHED,
    LWS_CALLBACK_HTTP,
    LWS_CALLBACK_RECEIVE,
    LWS_WRITE_BINARY,
    LWS_WRITE_TEXT,
    libwebsocket,
    libwebsocket_buffer,
    libwebsocket_create_server,
    libwebsocket_get_uri,
    libwebsocket_write,
    libwebsockets_serve_http_file,
)
from .._benchmark import lib
from . import machine
from .generator import Load

__all__ = ["USER_AREA", "Server", "limit", "ours"]

USER_AREA = 16  # bytes of session data, as a real server has some
BACKLOG = 4096
LIMIT_STREAM_FROM = 512 * 1024  # from this size on the bare server passes bytes on as they come

Callback = Any


@dataclass(frozen=True)
class Server:
    """A running server."""

    name: str
    port: int
    pid: int


def _echo(protocol: int) -> Callback:
    def callback(wsi: Any, reason: int, user: Any, in_: Any, length: int) -> int:  # noqa: ARG001
        if reason == LWS_CALLBACK_RECEIVE:
            return libwebsocket_write(wsi, in_, length, protocol)
        return 0

    return callback


def _files(root: Path) -> Callback:
    paths = {f"/{path.name}": str(path) for path in root.iterdir()}

    def callback(wsi: Any, reason: int, user: Any, in_: Any, length: int) -> int:  # noqa: ARG001
        if reason == LWS_CALLBACK_HTTP:
            path = paths.get(libwebsocket_get_uri(wsi) or "")
            if path is not None:
                libwebsockets_serve_http_file(wsi, path, "text/html")
        return 0

    return callback


def _broadcast(protocol: int, size: int) -> Callback:
    sessions: dict[libwebsocket, None] = {}
    buffer = libwebsocket_buffer(size)

    def callback(wsi: Any, reason: int, user: Any, in_: Any, length: int) -> int:  # noqa: ARG001
        if reason == LWS_CALLBACK_RECEIVE:
            buffer[:length] = in_
            for session in sessions:
                libwebsocket_write(session, buffer, length, protocol)
        elif reason == LWS_CALLBACK_ESTABLISHED:
            sessions[wsi] = None
        elif reason == LWS_CALLBACK_CLOSED:
            sessions.pop(wsi, None)
        return 0

    return callback


@contextlib.contextmanager
def ours(load: Load, root: Path, processor: int) -> Iterator[Server]:
    """A server through libwebsocket_create_server, with a callback that fits the load.

    Nothing is tuned but the length of HTTP connections: all other options are the defaults.
    """
    protocol = LWS_WRITE_TEXT if load.text else LWS_WRITE_BINARY
    if load.kind == "http":
        callback = _files(root)
    elif load.kind == "broadcast":
        callback = _broadcast(protocol, load.size)
    else:
        callback = _echo(protocol)
    with libwebsocket_create_server(
        0,
        callback,
        76,
        USER_AREA if load.kind == "idle" else 0,
        None,
        None,
        -1,
        -1,
        host="127.0.0.1",
        backlog=BACKLOG,
        keepalive_requests=2**31 - 1,
    ) as server:
        machine.pin(server.pid, processor)
        yield Server("libwebsockets", server.port, server.pid)


@contextlib.contextmanager
def limit(load: Load, root: Path, processor: int) -> Iterator[Server]:
    """The bare C server that fits the load, in a process of its own."""
    kind = lib.BENCH_LIMIT_ECHO
    if load.kind == "http":
        kind = lib.BENCH_LIMIT_HTTP
    elif load.kind == "broadcast":
        kind = lib.BENCH_LIMIT_BROADCAST
    elif load.size >= LIMIT_STREAM_FROM:
        kind = lib.BENCH_LIMIT_STREAM
    with socket.create_server(("127.0.0.1", 0), backlog=BACKLOG) as listener:
        listener.setblocking(False)
        port = listener.getsockname()[1]
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            _serve_limit(listener, kind, root / load.path.lstrip("/"), processor, parent)
    try:
        yield Server("bare C", port, pid)
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def _serve_limit(
    listener: socket.socket, kind: int, file: Path, processor: int, parent: int
) -> None:
    """The child: never returns."""
    error = -1
    try:
        machine.pin(0, processor)
        descriptor = os.open(file, os.O_RDONLY) if kind == lib.BENCH_LIMIT_HTTP else -1
        error = lib.bench_limit_serve(listener.fileno(), kind, descriptor, parent)
    finally:
        os.write(2, f"the bare server ended: {os.strerror(-error)}\n".encode())
        os._exit(1)
