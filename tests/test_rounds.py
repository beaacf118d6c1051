"""What else may happen in a round: an interrupt, a fork, a session closed by another's callback."""

from __future__ import annotations

import contextlib
import logging
import os
import resource
import select
import socket
import threading
from collections import Counter
from typing import Any

import pytest
from inprocess import Served, ServedSecurely, context_of, descriptors, serve_until, when
from support.certificates import localhost
from support.raw import frame, get, text, upgrade

from libwebsockets import (
    LWS_CALLBACK_CLOSED,
    LWS_CALLBACK_ESTABLISHED,
    LWS_CALLBACK_RECEIVE,
    LWS_CALLBACK_RECEIVE_PONG,
    LWS_CALLBACK_SEND,
    LWS_WRITE_TEXT,
    libwebsocket_close_reason,
    libwebsocket_context_destroy,
    libwebsocket_get_uri,
    libwebsocket_service,
    libwebsocket_write,
    log,
)


class OnceRaising(logging.Handler):
    """Where the log goes to when a signal comes, or a disk is full: once."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error: BaseException | None = error

    def emit(self, record: logging.LogRecord) -> None:
        error, self.error = self.error, None
        if error is not None:
            raise error


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError("no space")])
@pytest.mark.parametrize("secure", [False, True])
def test_what_is_raised_beside_the_callback(
    error: BaseException, secure: bool, caplog: Any
) -> None:
    """It loses no event of the round that lies behind it."""
    handler = OnceRaising(error)
    pair = localhost()
    options = {"certificate": str(pair.certificate), "key": str(pair.key)} if secure else {}

    def receive(wsi: Any, user: Any, in_: Any, length: int) -> int:
        if in_ == b"raise":
            log.logger.addHandler(handler)
            raise ValueError("to be logged")
        return libwebsocket_write(wsi, in_, length, LWS_WRITE_TEXT)

    with context_of(when(LWS_CALLBACK_RECEIVE, receive), **options) as context:
        try:
            with (ServedSecurely if secure else Served)(context) as client:
                client.open("/").send(text("raise") + text("next"))
                if isinstance(error, KeyboardInterrupt):
                    with pytest.raises(KeyboardInterrupt):
                        serve_until(context, lambda: False)
                assert client.message() == b"next"
                assert handler.error is None
        finally:
            log.logger.removeHandler(handler)
    assert ("event-failed" in caplog.text) == isinstance(error, OSError)


def test_forked_copy_of_the_callback_serves_nothing() -> None:
    """The copy's round ends at once, and so does what it does with the context."""
    reader, writer = os.pipe()
    copies: list[int] = []

    def receive(wsi: Any, user: Any, in_: Any, length: int) -> int:
        copies.append(os.fork())
        return libwebsocket_write(wsi, in_, length, LWS_WRITE_TEXT)

    callback = when(LWS_CALLBACK_RECEIVE, receive)
    with context_of(callback) as context, Served(context) as client, Served(context) as other:
        client.open("/")
        client.send(text("fork"))
        other.send(get("/"))  # in the same round, behind the message
        try:
            result = libwebsocket_service(context, 5000)
        finally:
            if copies and copies[0] == 0:
                again = libwebsocket_service(context, 0)
                libwebsocket_context_destroy(context)
                libwebsocket_context_destroy(context)
                os.write(writer, repr((result, again, repr(context))).encode())
                os._exit(0)
        os.close(writer)
        with os.fdopen(reader) as stream:
            assert stream.read() == "(0, -1, '<libwebsocket_context destroyed>')"
        assert os.waitpid(copies[0], 0)[1] == 0
        assert client.message() == b"fork"
        assert other.response().status == 404


@pytest.mark.parametrize("raises", [False, True])
def test_forked_copy_may_destroy_its_context_and_refuse_or_raise(
    raises: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing of the session is the copy's to close; the log says no more than what was raised."""
    reader, writer = os.pipe()
    copies: list[int] = []

    def receive(wsi: Any, user: Any, in_: Any, length: int) -> int:
        copies.append(os.fork())
        if copies[0] == 0:
            libwebsocket_context_destroy(context)
            if raises:
                raise KeyError("the copy's")
            return 1
        return libwebsocket_write(wsi, in_, length, LWS_WRITE_TEXT)

    with context_of(when(LWS_CALLBACK_RECEIVE, receive)) as context, Served(context) as client:
        client.open("/")
        client.send(text("fork"))
        try:
            libwebsocket_service(context, 5000)
        finally:
            if copies and copies[0] == 0:
                words = [record.getMessage().split()[0] for record in caplog.records]
                os.write(writer, repr(words).encode())
                os._exit(0)
        os.close(writer)
        with os.fdopen(reader) as stream:
            assert stream.read() == repr(["callback-error"] if raises else [])
        assert os.waitpid(copies[0], 0)[1] == 0
        assert client.message() == b"fork"


def test_destroyed_by_another_thread() -> None:
    """It is the owner's to end, who is told of the sessions, and who may be waiting just then."""
    before = descriptors()
    seen: list[Any] = []

    def callback(wsi: Any, reason: Any, user: Any, in_: Any, length: int) -> int:
        if reason in (LWS_CALLBACK_ESTABLISHED, LWS_CALLBACK_CLOSED):
            seen.append((reason, wsi, threading.get_ident()))
        return 0

    with context_of(callback) as context:
        with Served(context) as client:
            client.open("/")
            thread = threading.Thread(target=libwebsocket_context_destroy, args=(context,))
            thread.start()
            assert libwebsocket_service(context, 5000) == 0
            thread.join()
            while libwebsocket_service(context, 0) == 0:
                pass
            with pytest.raises(ConnectionResetError):
                client.sock.recv(1)
    (_, wsi, owner), closed = seen
    assert closed == (LWS_CALLBACK_CLOSED, wsi, owner)
    assert owner == threading.get_ident()
    assert repr(wsi) == "<libwebsocket closed>"
    assert libwebsocket_get_uri(wsi) is None
    assert descriptors() == before


def test_nothing_of_a_session_that_a_callback_closed_earlier_in_the_round() -> None:
    """A large message, a pong and a compressed message are passed over, as small ones are."""
    seen: list[Any] = []
    sessions: dict[str, Any] = {}

    def callback(wsi: Any, reason: Any, user: Any, in_: Any, length: int) -> int:
        if reason == LWS_CALLBACK_ESTABLISHED:
            sessions[libwebsocket_get_uri(wsi) or ""] = wsi
        elif reason in (LWS_CALLBACK_RECEIVE, LWS_CALLBACK_RECEIVE_PONG):
            seen.append((wsi, bytes(in_[:5])))
            assert libwebsocket_close_reason(sessions["/closed"], 1000) == 0
        return 0

    large = frame(1, b"l" * 300_000, fin=False)
    deflated = frame(1, b"\x02\x00", rsv=4)
    with context_of(callback, deflate=True) as context:
        for before, last in (
            (large, frame(0, b"end")), (b"", frame(10, b"pong")), (b"", deflated),
        ):  # fmt: skip
            with Served(context) as closer, Served(context) as closed:
                closer.open("/closer")
                offer = ("Sec-WebSocket-Extensions", "permessage-deflate")
                closed.send(upgrade("/closed", offer))
                assert closed.response().status == 101
                closed.send(before + frame(9, b"read"))
                assert closed.frame().payload == b"read"
                while select.select([context.fileno()], [], [], 0)[0]:
                    libwebsocket_service(context, 0)  # none is ready: they come as they are sent
                closer.send(text("close"))
                closed.send(last)
                assert libwebsocket_service(context, 5000) == 0
                closed.closing(1000)
            assert seen == [(sessions["/closer"], b"close")]
            seen.clear()


def test_no_send_to_a_session_that_another_one_closed_in_the_same_round() -> None:
    """Both SENDs are among the events of one round; the first one's callback closes the other."""
    sessions: list[Any] = []
    sent: list[Any] = []

    def callback(wsi: Any, reason: Any, user: Any, in_: Any, length: int) -> int:
        if reason == LWS_CALLBACK_ESTABLISHED:
            sessions.append(wsi)
        elif reason == LWS_CALLBACK_SEND and len(sessions) == 2:
            sent.append(wsi)
            for other in sessions:
                if other is not wsi:
                    libwebsocket_close_reason(other, 1000)
        return 0

    with (
        context_of(callback, send_interval=0.02) as context,
        Served(context) as one,
        Served(context) as two,
    ):
        one.open("/")
        two.open("/")
        serve_until(context, lambda: len(sent) > 2)
        assert len(set(sent)) == 1, "SEND came to the session that was closed"


def test_every_session_is_told_of_its_end_however_many_there_are() -> None:
    """More than the events of one round."""
    sessions = 4500
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limits[1] < 3 * sessions:
        pytest.skip(f"needs {3 * sessions} descriptors")
    counts: Counter[Any] = Counter()

    def callback(wsi: Any, reason: Any, user: Any, in_: Any, length: int) -> int:
        counts[reason] += 1
        return 0

    resource.setrlimit(resource.RLIMIT_NOFILE, (limits[1], limits[1]))
    try:
        with (
            contextlib.ExitStack() as clients,
            context_of(callback, max_connections=sessions, max_connections_per_ip=0) as context,
        ):
            for _ in range(sessions):
                sock = socket.create_connection(("127.0.0.1", context.port))
                clients.enter_context(sock)
                sock.sendall(upgrade())
                libwebsocket_service(context, 0)
            serve_until(context, lambda: counts[LWS_CALLBACK_ESTABLISHED] == sessions)
            libwebsocket_context_destroy(context)
            assert counts[LWS_CALLBACK_CLOSED] == sessions
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
