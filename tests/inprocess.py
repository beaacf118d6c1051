"""A context served in the test's own process and thread, while its clients wait for bytes."""

from __future__ import annotations

import contextlib
import os
import select
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from support.certificates import localhost
from support.raw import Client

from libwebsockets import (
    LWS_CALLBACK_RECEIVE,
    LWS_WRITE_TEXT,
    libwebsocket_context,
    libwebsocket_context_destroy,
    libwebsocket_create_context,
    libwebsocket_service,
    libwebsocket_write,
)


class Served(Client):
    """A raw client that runs the context whenever it has to wait, by select on its fileno()."""

    def __init__(self, context: libwebsocket_context, timeout: float = 5.0) -> None:
        self.context = context
        super().__init__(context.port, timeout=timeout)

    def fill(self) -> bool:
        serve_until(self.context, lambda: bool(select.select([self.sock], [], [], 0)[0]))
        return super().fill()


class ServedSecurely(Served):
    """A client of a context in the same thread, its TLS in memory."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.object = (
            localhost().client().wrap_bio(self.incoming, self.outgoing, server_hostname="localhost")
        )
        self.step(self.object.do_handshake)

    def step(self, function: Callable[..., Any], *arguments: Any) -> Any:
        while True:
            with contextlib.suppress(ssl.SSLWantReadError):
                result = function(*arguments)
                self.sock.sendall(self.outgoing.read())
                return result
            self.sock.sendall(self.outgoing.read())
            clear, self.buffer = self.buffer, bytearray()
            assert super().fill()
            self.incoming.write(bytes(self.buffer))
            self.buffer = clear

    def send(self, data: bytes) -> Client:
        self.step(self.object.write, data)
        return self

    def fill(self) -> bool:
        data = self.step(self.object.read, 65536)
        self.buffer += data
        return bool(data)


def serve_until(
    context: libwebsocket_context, condition: Callable[[], object], timeout: float = 5.0
) -> None:
    """Runs rounds when the context's descriptor says there is work, until the condition holds."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true"
        if select.select([context.fileno()], [], [], 0.02)[0]:
            assert libwebsocket_service(context, 0) == 0


def echo(wsi: Any, reason: Any, user: Any, in_: Any, length: int) -> int:
    if reason == LWS_CALLBACK_RECEIVE:
        return libwebsocket_write(wsi, in_, length, LWS_WRITE_TEXT)
    return 0


def when(wanted: Any, action: Any) -> Any:
    """A callback that does something for one reason and echoes otherwise."""

    def callback(wsi: Any, reason: Any, user: Any, in_: Any, length: int) -> Any:
        if reason == wanted:
            return action(wsi, user, in_, length)
        return echo(wsi, reason, user, in_, length)

    return callback


@contextmanager
def context_of(
    callback: Callable[..., Any],
    user_area_size: int = 0,
    protocol: int = 76,
    certificate: str | None = None,
    key: str | None = None,
    **options: Any,
) -> Iterator[libwebsocket_context]:
    """A context on a free port of the loopback address."""
    options = {"host": "127.0.0.1", "send_interval": 0, **options}
    context = libwebsocket_create_context(
        0, callback, protocol, user_area_size, certificate, key, -1, -1, **options
    )
    assert context is not None
    try:
        yield context
    finally:
        libwebsocket_context_destroy(context)


def descriptors() -> set[str]:
    """The open descriptors of this process."""
    return set(os.listdir("/proc/self/fd"))
