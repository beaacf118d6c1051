"""The context: rounds in the calling process, arguments, what a callback may do, what is kept."""

from __future__ import annotations

import ctypes
import gc
import logging
import os
import resource
import select
import signal
import socket
import threading
import time
from typing import Any

import cffi
import pytest
from inprocess import Served, context_of, descriptors, echo, serve_until, when
from support.certificates import localhost
from support.raw import Client, frame, get, text

from libwebsockets import (
    LWS_CALLBACK_CLOSED,
    LWS_CALLBACK_ESTABLISHED,
    LWS_CALLBACK_FILTER_PROTOCOL_CONNECTION,
    LWS_CALLBACK_HTTP,
    LWS_CALLBACK_PROTOCOL_INIT,
    LWS_CALLBACK_RECEIVE,
    LWS_CALLBACK_SEND,
    LWS_WRITE_HTTP,
    LWS_WRITE_TEXT,
    libwebsocket_context_destroy,
    libwebsocket_create_context,
    libwebsocket_create_server,
    libwebsocket_service,
    libwebsocket_write,
)


def throw(error: BaseException) -> Any:
    raise error


# ---- Rounds ----


@pytest.mark.parametrize("version", [76, 7, 8, 13])
def test_echo_driven_by_select(version: int) -> None:
    with context_of(echo) as context, Served(context) as client:
        client.open("/", version=version)
        for size in (0, 1, 125, 126, 65535, 65536, 200_000):
            client.echo(b"z" * size, version)


def test_descriptor_is_silent_without_work_and_timers_make_it_readable() -> None:
    with context_of(echo) as context, Served(context) as client:
        client.open("/")
        while libwebsocket_service(context, 0) == 0:
            if not select.select([context.fileno()], [], [], 0)[0]:
                break
        client.send(text("x"))
        assert select.select([context.fileno()], [], [], 5)[0]
        assert client.message() == b"x"
    ticks: list[float] = []
    callback = when(LWS_CALLBACK_SEND, lambda *_: ticks.append(time.monotonic()))
    with context_of(callback, send_interval=0.02) as context, Served(context) as client:
        client.open("/")
        while len(ticks) < 5:
            assert select.select([context.fileno()], [], [], 5)[0], "no timer"
            assert libwebsocket_service(context, 0) == 0
        assert ticks[4] - ticks[0] > 0.06


def test_service_waits_no_longer_than_it_is_told() -> None:
    with context_of(echo) as context:
        start = time.monotonic()
        assert libwebsocket_service(context, 30) == 0
        assert 0.02 < time.monotonic() - start < 2


def test_what_a_callback_wrote_has_left_when_service_returns() -> None:
    with context_of(echo) as context, Served(context) as client:
        client.open("/")
        client.send(text("now"))
        assert libwebsocket_service(context, 5000) == 0
        client.sock.settimeout(0.0)
        assert client.sock.recv(100) == b"\x81\x03now"


@pytest.mark.parametrize("timeout", ["1", 1.0, None, True])
def test_service_wrong_types(timeout: Any) -> None:
    with context_of(echo) as context, pytest.raises(TypeError):
        libwebsocket_service(context, timeout)
    with pytest.raises(TypeError):
        libwebsocket_service(7, 0)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        libwebsocket_context_destroy(None)  # type: ignore[arg-type]


@pytest.mark.parametrize("timeout", [-2, 2**31, 2**70])
def test_service_timeouts_out_of_bounds(timeout: int) -> None:
    with context_of(echo) as context, pytest.raises(ValueError, match=str(timeout)):
        libwebsocket_service(context, timeout)


def test_service_from_another_thread_and_from_the_callback(caplog: Any) -> None:
    results: list[int] = []

    def receive(*_: Any) -> None:
        results.append(libwebsocket_service(context, 0))

    with context_of(when(LWS_CALLBACK_RECEIVE, receive)) as context:
        thread = threading.Thread(target=lambda: results.append(libwebsocket_service(context, 0)))
        thread.start()
        thread.join()
        assert results == [-1]
        with Served(context) as client:
            client.open("/").send(text("x"))
            serve_until(context, lambda: len(results) == 2)
    assert results == [-1, -1]
    assert sum("service-refused" in r.getMessage() for r in caplog.records) == 2


def test_nothing_is_left_of_a_context() -> None:
    before = descriptors()
    with context_of(echo) as context, Served(context) as client:
        client.open("/").echo(b"x")
    assert descriptors() <= before
    context = None  # type: ignore[assignment]
    dropped = libwebsocket_create_context(0, echo, 76, 0, None, None, -1, -1, host="127.0.0.1")
    assert dropped is not None
    del dropped
    gc.collect()
    assert descriptors() <= before


def test_destroy_delivers_closed_and_may_be_asked_for_in_the_callback() -> None:
    events: list[str] = []

    def callback(wsi: Any, reason: Any, user: Any, in_: Any, length: int) -> int:
        events.append(reason.name)
        if reason == LWS_CALLBACK_RECEIVE:
            libwebsocket_context_destroy(context)
            assert libwebsocket_write(wsi, in_, length, LWS_WRITE_TEXT) == 0
        return 0

    with context_of(callback) as context, Served(context) as client, Served(context) as other:
        other.open("/")
        client.open("/").send(text("x"))
        while libwebsocket_service(context, 20) == 0:
            pass
        assert events.count("LWS_CALLBACK_CLOSED") == 2
        with pytest.raises(ValueError, match="destroyed"):
            context.fileno()
        libwebsocket_context_destroy(context)
        assert "destroyed" in repr(context)


@pytest.mark.parametrize("secure", [False, True])
def test_the_handler_of_a_signal_may_destroy_the_context_that_waits(
    secure: bool, caplog: Any
) -> None:
    results: list[int] = []

    def handle(_signal: int, frame: Any) -> None:
        while frame is not None and frame.f_code is not libwebsocket_service.__code__:
            frame = frame.f_back
        if frame is not None and not results:  # it has come during the round
            libwebsocket_context_destroy(context)
            results.append(libwebsocket_service(context, 0))

    pair = localhost() if secure else None
    paths = {"certificate": str(pair.certificate), "key": str(pair.key)} if pair else {}
    before = signal.signal(signal.SIGALRM, handle)
    try:
        with context_of(lambda *_: 0, **paths) as context:
            signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)
            assert libwebsocket_service(context, 5000) == 0
            signal.setitimer(signal.ITIMER_REAL, 0)
            assert results == [-1] and "while it runs" in caplog.text
            assert "destroyed" in repr(context)
            assert libwebsocket_service(context, 0) == -1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


# ---- What callbacks do ----


@pytest.mark.parametrize("value", ["", "x", 1.0, float("nan"), b"", [], object()])
def test_wrong_return_types_are_as_if_raised(value: Any, caplog: Any) -> None:
    with context_of(when(LWS_CALLBACK_RECEIVE, lambda *_: value)) as context:
        with Served(context) as client:
            client.open("/").send(text("x"))
            client.closing(1011)
        with Served(context) as fresh:
            fresh.open("/")
    (record,) = [r for r in caplog.records if "callback-error" in r.getMessage()]
    assert record.exc_info[0] is TypeError


@pytest.mark.parametrize("value", [1, -1, True, 10**30, LWS_CALLBACK_HTTP])
def test_other_ints_close(value: int, caplog: Any) -> None:
    def receive(wsi: Any, user: Any, in_: Any, length: int) -> int:
        libwebsocket_write(wsi, b"last", 4, LWS_WRITE_TEXT)
        return value

    with context_of(when(LWS_CALLBACK_RECEIVE, receive)) as context, Served(context) as client:
        client.open("/").send(text("x") + text("never seen"))
        assert client.message() == b"last"
        client.closing(1000)
    assert not caplog.records


@pytest.mark.parametrize("value", [None, 0, False, LWS_CALLBACK_ESTABLISHED])
def test_zeros_go_on(value: Any) -> None:
    with context_of(when(LWS_CALLBACK_RECEIVE, lambda *_: value)) as context:
        with Served(context) as client:
            client.open("/").send(text("x") + text("y") + frame(9, b"still"))
            assert client.frame().payload == b"still"


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(3)])
@pytest.mark.parametrize("size", [2, 300_000])
def test_interrupts_come_out_of_service_after_the_round(error: BaseException, size: int) -> None:
    events: list[bytes] = []

    def receive(wsi: Any, user: Any, in_: Any, length: int) -> None:
        events.append(bytes(in_[:2]))
        if len(events) == 1:
            raise error

    with context_of(when(LWS_CALLBACK_RECEIVE, receive)) as context:
        with Served(context) as client:
            client.open("/").send(text("1" * size) + text("22"))
            with pytest.raises(type(error)) as raised:
                serve_until(context, lambda: False)
            assert raised.value is error
            serve_until(context, lambda: events == [b"11", b"22"])
            client.send(frame(9, b"still"))
            assert client.frame().payload == b"still"


@pytest.mark.parametrize(
    "error", [ValueError("x"), MemoryError(), GeneratorExit(), RecursionError()]
)
@pytest.mark.parametrize("size", [2, 300_000])
def test_errors_close_one_connection(error: BaseException, size: int, caplog: Any) -> None:
    def receive(wsi: Any, user: Any, in_: Any, length: int) -> Any:
        return (
            throw(error) if in_[:1] == b"r" else echo(wsi, LWS_CALLBACK_RECEIVE, user, in_, length)
        )

    with context_of(when(LWS_CALLBACK_RECEIVE, receive)) as context:
        with Served(context) as client, Served(context) as other:
            client.open("/")
            other.open("/")
            client.send(text("r" * size))
            client.closing(1011)
            other.echo(b"alive")
    (record,) = [r for r in caplog.records if "callback-error" in r.getMessage()]
    assert record.exc_info[1] is error


@pytest.mark.parametrize(
    ("reason", "status"), [(LWS_CALLBACK_FILTER_PROTOCOL_CONNECTION, 403), (None, 101)]
)
def test_filter(reason: Any, status: int) -> None:
    with context_of(when(reason, lambda *_: 1)) as context, Served(context) as client:
        if status == 101:
            client.open("/")
            return
        with pytest.raises(AssertionError, match="status=403"):
            client.open("/")


def test_send_that_returns_non_zero_closes() -> None:
    with context_of(when(LWS_CALLBACK_SEND, lambda *_: 1), send_interval=0.01) as context:
        with Served(context) as client:
            client.open("/").closing(1000)


# ---- Memory ----


def test_message_is_released_when_the_callback_returns() -> None:
    kept: list[Any] = []
    with context_of(when(LWS_CALLBACK_RECEIVE, lambda w, u, in_, n: kept.append(in_))) as context:
        with Served(context) as client:
            client.open("/")
            for size in (10, 300_000):
                client.send(text("k" * size))
                serve_until(context, lambda: kept)
                with pytest.raises(ValueError, match="released"):
                    kept.pop()[0]


FFI = cffi.FFI()


class Pair(ctypes.Structure):
    _fields_ = (("first", ctypes.c_ubyte), ("second", ctypes.c_ubyte))


DERIVED = {
    "slice": lambda in_: in_[1:],
    "cast": lambda in_: in_.cast("b")[1:],
    "view": memoryview,
    "ctypes": lambda in_: Pair.from_buffer(in_),
    "readonly": lambda in_: in_.toreadonly(),
    "cffi": lambda in_: FFI.buffer(FFI.from_buffer(in_)),  # it locks in_ itself
}


@pytest.mark.parametrize("size", [10, 70_000, 300_000])
@pytest.mark.parametrize("kind", DERIVED)
def test_what_was_derived_from_a_message_never_changes(kind: str, size: int) -> None:
    kept: list[Any] = []

    def receive(wsi: Any, user: Any, in_: Any, length: int) -> int:
        if in_[:1] == b"k":
            kept.append(DERIVED[kind](in_))
            kept.append(bytes(kept[0]))
        return libwebsocket_write(wsi, in_, length, LWS_WRITE_TEXT)

    with context_of(when(LWS_CALLBACK_RECEIVE, receive)) as context, Served(context) as client:
        client.open("/").echo(b"k" * size)
        for turn in range(20):
            client.echo(bytes([65 + turn]) * size)
        assert bytes(kept[0]) == kept[1]
        before = kept[1]
        kept[:1] = []
        gc.collect()
        client.echo(b"z" * size)
        assert kept[0] == before


def test_reason_of_a_close_that_is_kept_never_changes() -> None:
    kept: list[Any] = []
    action = when(LWS_CALLBACK_CLOSED, lambda w, u, in_, n: kept.append(DERIVED["cffi"](in_)))
    with context_of(action) as context:
        for reason in (b"first", b"other"):
            with Served(context) as client:
                client.open("/").send(frame(8, b"\x03\xe8" + reason)).closing(1000)
                serve_until(context, lambda reason=reason: len(kept) == 1 + (reason == b"other"))
    assert [bytes(one) for one in kept] == [b"first", b"other"]


def test_numpy_arrays_over_a_message_never_change() -> None:
    numpy = pytest.importorskip("numpy")
    kept: list[Any] = []

    def receive(wsi: Any, user: Any, in_: Any, length: int) -> int:
        if in_[:1] == b"k":
            kept.append(numpy.frombuffer(in_, dtype="u1"))
        return libwebsocket_write(wsi, in_, length, LWS_WRITE_TEXT)

    with context_of(when(LWS_CALLBACK_RECEIVE, receive)) as context, Served(context) as client:
        client.open("/")
        for size in (64, 300_000):
            client.echo(b"k" * size)
            for _ in range(5):
                client.echo(b"o" * size)
    assert [array.tobytes() for array in kept] == [b"k" * 64, b"k" * 300_000]


def test_user_memory_of_a_session_is_nobody_elses() -> None:
    kept: list[Any] = []

    def callback(wsi: Any, reason: Any, user: Any, in_: Any, length: int) -> int:
        if reason == LWS_CALLBACK_ESTABLISHED:
            pair = Pair.from_buffer(user)
            assert (pair.first, pair.second) == (0, 0)
            pair.first = len(kept) + 1
            kept.append(pair)
        return echo(wsi, reason, user, in_, length)

    with context_of(callback, ctypes.sizeof(Pair)) as context:
        for _ in range(3):
            with Served(context) as client:
                client.open("/").echo(b"x")
                client.leave()
    assert [pair.first for pair in kept] == [1, 2, 3]


# ---- Requests ----


def reply(*parts: bytes) -> Any:
    def http(wsi: Any, *_: Any) -> None:
        for part in parts:
            assert libwebsocket_write(wsi, part, len(part), LWS_WRITE_HTTP) == 0

    return when(LWS_CALLBACK_HTTP, http)


OK = b"HTTP/1.1 200 OK\r\n"
KEPT = [
    (OK + b"Content-Length: 5\r\n\r\nhello",),
    (OK + b"Content-Length: 5\r\n\r\n", b"he", b"llo"),
    (OK + b"content-length: 0\r\n\r\n",),
    (b"HTTP/1.1 204 No Content\r\n\r\n",),
    (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",),
    (b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\nx",),
    (OK + b"X-Other: 1\r\nContent-Length: 5\r\n\r\nhello",),
    (OK + b"Connection: upgrade\r\nContent-Length: 5\r\n\r\nhello",),
]
CLOSED = [
    (OK + b"\r\nhello",),
    (OK + b"Content-Length: 6\r\n\r\nhello",),
    (OK + b"Content-Length: 4\r\n\r\nhello",),
    (OK, b"Content-Length: 5\r\n\r\nhello"),
    (OK + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello",),
    (OK + b"Content-Length: 5\r\nConnection: x, Close\r\n\r\nhello",),
    (OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",),
    (b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello",),
    (b"hello",),
    (b"rubbish\r\nContent-Length: 5\r\n\r\nhello",),
    (b"HTTP/1.1 103 Early Hints\r\nContent-Length: 0\r\n\r\n",),
]


@pytest.mark.parametrize("parts", KEPT)
def test_raw_replies_after_which_the_connection_goes_on(parts: tuple[bytes, ...]) -> None:
    with context_of(reply(*parts)) as context, Served(context) as client:
        client.send(get("/") + get("/"))
        whole = b"".join(parts)
        assert client.take(len(whole)) == whole
        assert client.take(len(whole)) == whole


@pytest.mark.parametrize("parts", CLOSED)
def test_raw_replies_that_end_with_the_connection(parts: tuple[bytes, ...]) -> None:
    with context_of(reply(*parts)) as context, Served(context) as client:
        client.send(get("/") + get("/"))
        assert client.rest() == b"".join(parts)


def test_exceptions_of_the_http_callback() -> None:
    with context_of(when(LWS_CALLBACK_HTTP, lambda *_: throw(KeyError(1)))) as context:
        with Served(context) as client:
            client.send(get("/") + get("/")).refused(500)

    def half(wsi: Any, *_: Any) -> None:
        libwebsocket_write(wsi, OK, len(OK), LWS_WRITE_HTTP)
        raise KeyError(1)

    with context_of(when(LWS_CALLBACK_HTTP, half)) as context, Served(context) as client:
        client.send(get("/"))
        assert client.rest() == OK


def test_most_connections_by_the_limit_of_descriptors(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sandbox may say that there is no limit; Linux itself has no such answer."""
    with context_of(echo, max_connections=None) as context:
        own = context.settings.limits["max_connections"]
    assert own == resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 32
    unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    monkeypatch.setattr(resource, "getrlimit", lambda _: unlimited)
    with context_of(echo) as context:
        assert context.settings.limits["max_connections"] >= own


def test_init_that_interrupts(caplog: Any) -> None:
    before = descriptors()
    action = when(LWS_CALLBACK_PROTOCOL_INIT, lambda *_: throw(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        create(callback=action)
    assert descriptors() == before
    assert caplog.records == []


# ---- Arguments ----


def create(**changes: Any) -> Any:
    arguments = {
        "port": 0,
        "callback": echo,
        "protocol": 76,
        "user_area_size": 0,
        "ssl_cert_filepath": None,
        "ssl_private_key_filepath": None,
        "gid": -1,
        "uid": -1,
        "host": "127.0.0.1",
    }
    arguments.update(changes)
    return libwebsocket_create_context(**arguments)


WRONG: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"port": "80"}, TypeError, "port"),
    ({"port": True}, TypeError, "port must be an int, not bool"),
    ({"port": -1}, ValueError, "-1"),
    ({"port": 65536}, ValueError, "65536"),
    ({"callback": 3}, TypeError, "callback"),
    ({"protocol": "76"}, TypeError, "protocol"),
    ({"user_area_size": -1}, ValueError, "-1"),
    ({"user_area_size": 1.5}, TypeError, "user_area_size"),
    ({"ssl_cert_filepath": 3}, TypeError, "ssl_cert_filepath"),
    ({"uid": -2}, ValueError, "-2"),
    ({"gid": 2**32 - 1}, ValueError, "4294967295"),
    ({"uid": 2**32}, ValueError, "4294967296"),
    ({"uid": "nobody"}, ValueError, "nobody"),
    ({"host": 1}, TypeError, "host"),
    ({"unknown": 1}, TypeError, "unknown"),
    ({"max_message": 0}, ValueError, "not 0"),
    ({"max_message": 2**31}, ValueError, "2147483648"),
    ({"max_message": 1.0}, TypeError, "max_message"),
    ({"max_message": True}, TypeError, "max_message"),
    ({"max_body": 1}, ValueError, "not 1"),
    ({"handshake_timeout": 0}, ValueError, "not 0"),
    ({"handshake_timeout": float("nan")}, ValueError, "nan"),
    ({"send_timeout": float("inf")}, ValueError, "inf"),
    ({"send_interval": -0.1}, ValueError, "-0.1"),
    ({"origins": "http://a"}, TypeError, "origins"),
    ({"origins": ["a"]}, ValueError, "'a'"),
    ({"hosts": ["a:70000"]}, ValueError, "70000"),
    ({"hosts": ["a/b"]}, ValueError, "a/b"),
    ({"subprotocols": ["a b"]}, ValueError, "a b"),
    ({"subprotocols": [1]}, TypeError, "int"),
    ({"ssl_context": 1}, TypeError, "ssl_context"),
    ({"origins": ["http://a:65536"]}, ValueError, "65536"),
    ({"subprotocols": "a"}, TypeError, "must be a list of str, not str"),
    ({"subprotocols": ["\xe9"]}, ValueError, "is not ASCII"),
    ({"deflate_engine": 1}, TypeError, "deflate_engine must be a str, not int"),
    ({"deflate_engine": "lzma"}, ValueError, "not 'lzma'"),
    ({"deflate_engine": "isal", "deflate_level": 9}, ValueError, "deflate_level 9"),
]


@pytest.mark.parametrize(("changes", "error", "told"), WRONG)
def test_arguments_that_a_compiler_would_refuse(
    changes: dict[str, Any], error: type[Exception], told: str
) -> None:
    with pytest.raises(error, match=told):
        create(**changes)


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"callback": None}, "callback-missing"),
    ({"protocol": 77}, "protocol-unsupported"),
    ({"protocol": 0}, "protocol-unsupported"),
    ({"host": "203.0.113.7"}, "bind-failed"),
    ({"host": "300.1.1.1"}, "bind-failed"),
    ({"ssl_cert_filepath": "a.pem", "ssl_private_key_filepath": "b.pem"}, "tls-config"),
]


@pytest.mark.parametrize(("changes", "word"), REFUSED)
def test_what_fails_at_run_time(changes: dict[str, Any], word: str, caplog: Any) -> None:
    before = descriptors()
    assert create(**changes) is None
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert record.getMessage().startswith(word)
    assert descriptors() == before


def test_port_in_use(caplog: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert create(port=taken.getsockname()[1]) is None
    assert "EADDRINUSE" in caplog.text


def test_all_addresses_are_the_default() -> None:
    context = create(host=None)
    try:
        for host in ("127.0.0.1", "::1") if socket.has_ipv6 else ("127.0.0.1",):
            with Client(context.port, host=host) as client:
                client.send(get("/"))
                serve_until(context, lambda: select.select([client.sock], [], [], 0)[0])
                assert client.response().status == 404
    finally:
        libwebsocket_context_destroy(context)


def test_a_context_beside_a_server_process() -> None:
    with context_of(echo) as context, Served(context) as client:
        client.open("/").echo(b"before")
        with libwebsocket_create_server(
            0, echo, 76, 0, None, None, -1, -1, host="127.0.0.1"
        ) as server:
            with Client(server.port) as other:
                other.open("/").echo(b"there")
            assert server.stop() == 0
            assert not os.path.exists(f"/proc/{server.pid}")
        client.echo(b"after")
