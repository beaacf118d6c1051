"""Timers, wake-ups, watched descriptors, the first and last event: timers.py, waking.py and
context.py.
"""

from __future__ import annotations

import logging
import os
import queue
import select
import socket
import threading
import time
from typing import Any

import pytest
from inprocess import Served, context_of, descriptors, serve_until
from support.raw import text

import libwebsockets as lws
from libwebsockets import (
    LWS_CALLBACK_CLOSED,
    LWS_CALLBACK_ESTABLISHED,
    LWS_CALLBACK_EVENT_WAIT_CANCELLED,
    LWS_CALLBACK_PROTOCOL_DESTROY,
    LWS_CALLBACK_PROTOCOL_INIT,
    LWS_CALLBACK_RECEIVE,
    LWS_CALLBACK_TIMER,
    LWS_WRITE_TEXT,
    libwebsocket_cancel_service,
    libwebsocket_close_reason,
    libwebsocket_context_destroy,
    libwebsocket_create_context,
    libwebsocket_create_server,
    libwebsocket_get_context,
    libwebsocket_get_uri,
    libwebsocket_service,
    libwebsocket_set_timer,
    libwebsocket_watch_fd,
    libwebsocket_write,
    log,
)
from libwebsockets.timer_heap import TimerHeap as Timers


class App:
    def __init__(self) -> None:
        self.seen: list[tuple[Any, Any]] = []
        self.wsis: list[Any] = []
        self.then: Any = None

    def __call__(self, wsi: Any, reason: Any, user: Any, in_: Any, length: int) -> Any:
        self.seen.append((reason, wsi))
        if reason == LWS_CALLBACK_ESTABLISHED:
            self.wsis.append(wsi)
        return self.then(wsi, reason) if self.then else 0

    def count(self, reason: Any) -> int:
        return sum(one == reason for one, _ in self.seen)


def test_a_timer_comes_once_and_not_early() -> None:
    app = App()
    with context_of(app) as context, Served(context) as client:
        client.open("/")
        serve_until(context, lambda: app.wsis)
        start = time.monotonic()
        assert libwebsocket_set_timer(app.wsis[0], 50) == 0
        serve_until(context, lambda: app.count(LWS_CALLBACK_TIMER))
        assert time.monotonic() - start >= 0.05
        assert app.seen[-1] == (LWS_CALLBACK_TIMER, app.wsis[0])
        assert libwebsocket_service(context, 60) == 0
        assert app.count(LWS_CALLBACK_TIMER) == 1


def test_timers_of_many_come_in_order() -> None:
    app = App()
    with context_of(app) as context:
        clients = [Served(context).open("/") for _ in range(5)]
        serve_until(context, lambda: len(app.wsis) == 5)
        for number, wsi in enumerate(app.wsis):
            assert libwebsocket_set_timer(wsi, 60 - 10 * number) == 0
        assert libwebsocket_set_timer(context, 5) == 0
        assert libwebsocket_set_timer(app.wsis[2], 1) == 0  # moved
        assert libwebsocket_set_timer(app.wsis[0], -1) == 0  # taken away
        serve_until(context, lambda: app.count(LWS_CALLBACK_TIMER) == 5)
        fired = [wsi for reason, wsi in app.seen if reason == LWS_CALLBACK_TIMER]
        assert fired[0] is app.wsis[2]
        assert libwebsocket_get_context(fired[1]) is context
        assert fired[1] not in app.wsis
        assert fired[2:] == [app.wsis[4], app.wsis[3], app.wsis[1]]
        for client in clients:
            client.close()


def test_a_timer_may_close_and_set_itself_again() -> None:
    app = App()

    def then(wsi: Any, reason: Any) -> int:
        if reason != LWS_CALLBACK_TIMER:
            return 0
        if app.count(LWS_CALLBACK_TIMER) < 3:
            libwebsocket_set_timer(wsi, 1)
            return 0
        return 1

    app.then = then
    with context_of(app) as context, Served(context) as client:
        client.open("/")
        serve_until(context, lambda: app.wsis)
        libwebsocket_set_timer(app.wsis[0], 0)
        client.closing(1000)
        assert app.count(LWS_CALLBACK_TIMER) == 3


def test_no_timer_of_a_closing_or_closed_session() -> None:
    app = App()
    with context_of(app) as context, Served(context) as client:
        client.open("/")
        serve_until(context, lambda: app.wsis)
        (wsi,) = app.wsis
        assert libwebsocket_set_timer(wsi, 1) == 0
        libwebsocket_close_reason(wsi, 1000)
        assert libwebsocket_set_timer(wsi, 1) == -1
        client.closing(1000)
        client.close()
        serve_until(context, lambda: app.count(LWS_CALLBACK_CLOSED))
        assert libwebsocket_set_timer(wsi, 1) == -1
        for _ in range(5):
            libwebsocket_service(context, 2)
        assert app.count(LWS_CALLBACK_TIMER) == 0


def test_a_timer_that_is_moved_with_each_message_takes_no_memory() -> None:
    timers = Timers()
    for number in range(100_000):
        timers.set(None, number)
    assert len(timers._heap) < 200
    assert timers.next_due() == 99_999
    assert timers.take_due(99_998) == []
    assert timers.take_due(99_999) == [None]
    assert not timers
    assert timers.next_due() is None


def test_a_timer_whose_session_another_one_closes_does_not_come() -> None:
    """Both are due in the same round."""
    app = App()

    def then(wsi: Any, reason: Any) -> int:
        if reason == LWS_CALLBACK_TIMER:
            for other in app.wsis:
                if other is not wsi:
                    libwebsocket_close_reason(other, 1000)
        return 0

    app.then = then
    with context_of(app) as context, Served(context) as one, Served(context) as two:
        one.open("/")
        two.open("/")
        for wsi in app.wsis:
            assert libwebsocket_set_timer(wsi, 1) == 0
        time.sleep(0.005)  # until both are due
        serve_until(context, lambda: any(reason == LWS_CALLBACK_TIMER for reason, _ in app.seen))
        two.closing(1000)
    assert [wsi for reason, wsi in app.seen if reason == LWS_CALLBACK_TIMER] == app.wsis[:1]


def test_the_only_timer_is_taken_back() -> None:
    app = App()
    with context_of(app) as context:
        assert libwebsocket_set_timer(context, 1) == 0
        assert libwebsocket_set_timer(context, -1) == 0
        time.sleep(0.005)
        assert libwebsocket_service(context, 0) == 0
    assert not [reason for reason, _ in app.seen if reason == LWS_CALLBACK_TIMER]


def test_an_interrupt_beside_the_callback_of_a_timer() -> None:
    """Ctrl-C while the line on an exception is written: it comes out of the round."""

    class Interrupting(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise KeyboardInterrupt

    app = App()
    app.then = lambda wsi, reason: 0 // (reason != LWS_CALLBACK_TIMER)
    handler = Interrupting()
    with context_of(app) as context:
        libwebsocket_set_timer(context, 0)
        log.logger.addHandler(handler)
        try:
            with pytest.raises(KeyboardInterrupt):
                serve_until(context, lambda: False)
        finally:
            log.logger.removeHandler(handler)
        assert libwebsocket_service(context, 0) == 0


def test_wrong_arguments_of_timers() -> None:
    app = App()
    with context_of(app) as context:
        for ms in (-2, 2**31):
            with pytest.raises(ValueError, match=str(ms)):
                libwebsocket_set_timer(context, ms)
        with pytest.raises(TypeError):
            libwebsocket_set_timer(context, 1.5)  # type: ignore[arg-type]
        with pytest.raises(TypeError):
            libwebsocket_set_timer(None, 1)  # type: ignore[arg-type]
        told: list[int] = []
        thread = threading.Thread(target=lambda: told.append(libwebsocket_set_timer(context, 1)))
        thread.start()
        thread.join()
        assert told == [-1]
    assert libwebsocket_set_timer(context, 1) == -1


# ---- Wake-ups ----


def test_another_thread_hands_work_over() -> None:
    jobs: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    app = App()

    def then(wsi: Any, reason: Any) -> None:
        if reason == LWS_CALLBACK_EVENT_WAIT_CANCELLED:
            while not jobs.empty():
                data = jobs.get()
                libwebsocket_write(app.wsis[0], data, len(data), LWS_WRITE_TEXT)

    app.then = then
    with context_of(app) as context, Served(context) as client:
        client.open("/")
        serve_until(context, lambda: app.wsis)

        def work() -> None:
            for number in range(50):
                jobs.put(b"%d" % number)
                assert libwebsocket_cancel_service(context) == 0

        thread = threading.Thread(target=work)
        thread.start()
        assert [client.message() for _ in range(50)] == [b"%d" % n for n in range(50)]
        thread.join()
        assert 1 <= app.count(LWS_CALLBACK_EVENT_WAIT_CANCELLED) <= 50


def test_a_waiting_round_ends() -> None:
    app = App()
    with context_of(app) as context:
        timer = threading.Timer(0.05, libwebsocket_cancel_service, (context,))
        timer.start()
        start = time.monotonic()
        assert libwebsocket_service(context, 20_000) == 0
        assert time.monotonic() - start < 10
        timer.join()
        assert app.count(LWS_CALLBACK_EVENT_WAIT_CANCELLED) == 1
        assert libwebsocket_service(context, 0) == 0
        assert app.count(LWS_CALLBACK_EVENT_WAIT_CANCELLED) == 1
    assert libwebsocket_cancel_service(context) == -1


def test_no_descriptor_is_left() -> None:
    before = descriptors()
    for _ in range(3):
        with context_of(App()):
            pass
    assert descriptors() == before


# ---- Watched descriptors ----


def test_a_watched_descriptor() -> None:
    ours, theirs = socket.socketpair()
    told: list[tuple[int, int, bytes]] = []

    def ready(fd: int, events: int) -> None:
        told.append((fd, events, ours.recv(100)))

    with ours, theirs, context_of(App()) as context:
        assert libwebsocket_watch_fd(context, ours.fileno(), select.EPOLLIN, ready) == 0
        theirs.send(b"a")
        serve_until(context, lambda: told)
        assert told == [(ours.fileno(), select.EPOLLIN, b"a")]
        assert libwebsocket_watch_fd(context, ours.fileno(), select.EPOLLOUT, ready) == 0
        theirs.send(b"b")
        serve_until(context, lambda: len(told) == 2)
        assert told[1] == (ours.fileno(), select.EPOLLOUT, b"b")
        assert libwebsocket_watch_fd(context, ours.fileno(), 0, None) == 0
        theirs.send(b"c")
        for _ in range(5):
            libwebsocket_service(context, 1)
        assert len(told) == 2
        assert libwebsocket_watch_fd(context, ours.fileno(), 0, None) == 0


def test_a_watched_descriptor_that_was_closed_and_given_anew() -> None:
    told: list[int] = []
    with context_of(App()) as context:
        for _ in range(3):
            ours, theirs = socket.socketpair()
            with ours, theirs:
                assert (
                    libwebsocket_watch_fd(
                        context, ours.fileno(), select.EPOLLIN, lambda fd, bits: told.append(bits)
                    )
                    == 0
                )
                theirs.send(b"x")
                count = len(told)
                serve_until(context, lambda count=count: len(told) > count)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(3)])
def test_a_function_that_interrupts(error: BaseException) -> None:
    calls: list[int] = []

    def ready(fd: int, events: int) -> None:
        calls.append(os.read(fd, 1)[0])
        raise error

    read, write = os.pipe()
    try:
        with context_of(App()) as context:
            assert libwebsocket_watch_fd(context, read, select.EPOLLIN, ready) == 0
            for count in (1, 2):  # it is watched still
                os.write(write, bytes([count]))
                with pytest.raises(type(error)):
                    serve_until(context, lambda: False)
        assert calls == [1, 2]
    finally:
        os.close(read)
        os.close(write)


def test_a_descriptor_that_another_ones_function_ends_in_the_same_round() -> None:
    calls: list[int] = []
    pipes = [os.pipe() for _ in range(2)]
    reads = [read for read, _ in pipes]

    def ready(fd: int, events: int) -> None:
        calls.append(fd)
        for read in reads:
            libwebsocket_watch_fd(context, read, 0, None)

    try:
        with context_of(App()) as context:
            for read, write in pipes:
                assert libwebsocket_watch_fd(context, read, select.EPOLLIN, ready) == 0
                os.write(write, b"x")
            for _ in range(3):
                assert libwebsocket_service(context, 0) == 0
        assert len(calls) == 1
    finally:
        for ends in pipes:
            os.close(ends[0])
            os.close(ends[1])


def test_a_function_that_raises_is_not_called_again(caplog: Any) -> None:
    ours, theirs = socket.socketpair()
    calls: list[int] = []

    def ready(fd: int, events: int) -> None:
        calls.append(fd)
        raise ValueError("of the test")

    with ours, theirs, context_of(App()) as context:
        libwebsocket_watch_fd(context, ours.fileno(), select.EPOLLIN, ready)
        theirs.send(b"x")
        serve_until(context, lambda: calls)
        for _ in range(5):
            libwebsocket_service(context, 1)
        assert len(calls) == 1
        assert caplog.text.count("callback-error") == 1


def test_wrong_arguments_of_watching(tmp_path: Any) -> None:
    with context_of(App()) as context, (tmp_path / "x").open("wb") as file:
        nothing = lambda fd, events: None  # noqa: E731
        assert libwebsocket_watch_fd(context, file.fileno(), select.EPOLLIN, nothing) == -1
        assert libwebsocket_watch_fd(context, 10**6, select.EPOLLIN, nothing) == -1
        with pytest.raises(ValueError, match="-1"):
            libwebsocket_watch_fd(context, -1, select.EPOLLIN, nothing)
        with pytest.raises(ValueError, match=str(2**32)):
            libwebsocket_watch_fd(context, 0, 2**32, nothing)
        with pytest.raises(TypeError):
            libwebsocket_watch_fd(context, 0, select.EPOLLIN, None)
        pipes = [os.pipe() for _ in range(70)]
        told = {libwebsocket_watch_fd(context, read, select.EPOLLIN, nothing) for read, _ in pipes}
        assert told == {0, -1}
        for read, write in pipes:
            libwebsocket_watch_fd(context, read, 0, None)
            os.close(read)
            os.close(write)
    assert libwebsocket_watch_fd(context, 0, select.EPOLLIN, nothing) == -1


# ---- First and last ----


def test_init_and_destroy() -> None:
    app = App()
    told: list[Any] = []

    def callback(wsi: Any, reason: Any, user: Any, in_: Any, length: int) -> int:
        app(wsi, reason, user, in_, length)
        if reason in (LWS_CALLBACK_PROTOCOL_INIT, LWS_CALLBACK_PROTOCOL_DESTROY):
            user[0] += 1
            told.append((user[0], in_, length, libwebsocket_get_uri(wsi)))
            assert libwebsocket_write(wsi, b"x", 1, LWS_WRITE_TEXT) == -1
        return 0

    with context_of(callback, 4) as context:
        with Served(context) as client:
            client.open("/")
            serve_until(context, lambda: app.wsis)
            libwebsocket_context_destroy(context)
    reasons = [reason for reason, _ in app.seen]
    assert reasons[0] == LWS_CALLBACK_PROTOCOL_INIT
    assert reasons[-2:] == [LWS_CALLBACK_CLOSED, LWS_CALLBACK_PROTOCOL_DESTROY]
    assert told == [(1, None, 0, ""), (2, None, 0, "")]


@pytest.mark.parametrize("how", ["one", "raises"])
def test_init_may_refuse(how: str, caplog: Any) -> None:
    seen: list[Any] = []

    def callback(wsi: Any, reason: Any, user: Any, in_: Any, length: int) -> int:
        seen.append(reason)
        if how == "raises":
            raise ValueError("no database")
        return 1

    before = descriptors()
    assert libwebsocket_create_context(0, callback, 76, 0, None, None, -1, -1) is None
    assert seen == [LWS_CALLBACK_PROTOCOL_INIT]
    assert libwebsocket_create_server(0, callback, 76, 0, None, None, -1, -1) == -1
    assert "LWS_CALLBACK_PROTOCOL_INIT" in caplog.text
    assert descriptors() == before


def test_in_the_server_process(tmp_path: Any) -> None:
    """INIT and DESTROY once, a timer and a thread, where the server forks."""
    path = tmp_path / "told"

    def tell(line: str) -> None:
        with path.open("a") as file:
            file.write(f"{line} {os.getpid()}\n")

    def callback(wsi: Any, reason: Any, user: Any, in_: Any, length: int) -> int:
        if reason == LWS_CALLBACK_PROTOCOL_INIT:
            tell("init")
            libwebsocket_set_timer(wsi, 1)
        elif reason == LWS_CALLBACK_TIMER:
            tell("timer")
            threading.Thread(target=libwebsocket_cancel_service, args=(wsi,)).start()
        elif reason == LWS_CALLBACK_EVENT_WAIT_CANCELLED:
            tell("cancelled")
        elif reason == LWS_CALLBACK_PROTOCOL_DESTROY:
            tell("destroy")
        elif reason == LWS_CALLBACK_RECEIVE:
            libwebsocket_write(wsi, in_, length, LWS_WRITE_TEXT)
        return 0

    with libwebsocket_create_server(0, callback, 76, 0, None, None, -1, -1) as server:
        deadline = time.monotonic() + 10
        while "cancelled" not in path.read_text():
            assert time.monotonic() < deadline
        from support.raw import Client

        with Client(server.port) as client:
            client.open("/").send(text("hello"))
            assert client.message() == b"hello"
        assert server.stop() == 0
    lines = [line.split() for line in path.read_text().splitlines()]
    assert [line[0] for line in lines] == ["init", "timer", "cancelled", "destroy"]
    assert {line[1] for line in lines} == {str(server.pid)}
    assert lws.libwebsocket_server is type(server)
