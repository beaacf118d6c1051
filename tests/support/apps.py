"""The callbacks that the tests serve, in the server process. What they do is chosen by the path:

/echo, /binary     what came goes back as text, as binary
/quiet             /echo, without a record of the messages
/sink              takes messages, answers nothing
/tick              SEND writes a count
/hello             ESTABLISHED writes a text
/refuse, /refuse-close  the FILTER callback refuses, or closes
/established-close, /established-nonzero  ESTABLISHED closes
/raise/REASON/NAME the callback raises NAME in that reason
/return/REASON/KEY the callback returns VALUES[KEY] in that reason
/command           a message is a JSON command (see `command`)
anything else      HTTP: 200 with the URI as body; WebSocket: as /echo
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import json
import os
import subprocess
import sys
import threading
import time
from typing import Any

from program import emit

import libwebsockets as lws
from libwebsockets import (
    LWS_CALLBACK_CLOSED,
    LWS_CALLBACK_ESTABLISHED,
    LWS_CALLBACK_FILTER_PROTOCOL_CONNECTION,
    LWS_CALLBACK_HTTP,
    LWS_CALLBACK_RECEIVE,
    LWS_CALLBACK_SEND,
    LWS_WRITE_BINARY,
    LWS_WRITE_HTTP,
    LWS_WRITE_TEXT,
    libwebsocket_get_uri,
    libwebsocket_write,
)

FILE = os.environ.get("LWS_TEST_FILE", "")

VALUES: dict[str, Any] = {
    "none": None, "str": "x", "big": 10**30, "nan": float("nan"), "one": 1, "true": True,
    "minus": -1, "list": [],
}  # fmt: skip


class Session(ctypes.Structure):
    """The user memory of each session, zeroed at its start: what P5 is checked with."""

    _fields_ = [("number", ctypes.c_uint32), ("state", ctypes.c_uint32), ("count", ctypes.c_uint64)]


ESTABLISHED, CLOSED = 1, 2
COPY = object()  # the result of a command in a forked copy of the server: not reported
_numbers = 0
open_sessions: dict[int, Any] = {}
kept: dict[str, Any] = {}


def _name(reason: int) -> str:
    for name in ("ESTABLISHED", "CLOSED", "SEND", "RECEIVE", "HTTP", "FILTER_PROTOCOL_CONNECTION"):
        if reason == getattr(lws, f"LWS_CALLBACK_{name}"):
            return name.partition("_")[0]
    return str(reason)


def _exception(name: str) -> BaseException:
    if name == "SystemExit3":
        return SystemExit(3)
    found = getattr(__import__("builtins"), name)
    made = found("raised by the test")
    assert isinstance(made, BaseException)
    return made


def hostile(wsi: Any, reason: int, user: Any, in_: Any, length: int) -> Any:
    """The application of the hostile rows: records each callback, then does what the path says."""
    session = Session.from_buffer(user)
    uri = libwebsocket_get_uri(wsi)
    if uri is None:  # a callback that compares the URI, as in 2010, must always have one
        emit("VIOLATION", what=f"no URI in {_name(reason)}")
        return 0
    _record(wsi, reason, session, uri, in_, length)
    what = uri.split("/")
    name = _name(reason)
    if len(what) == 4 and what[2] == name:
        if what[1] == "raise":
            raise _exception(what[3])
        if what[1] == "return":
            return VALUES[what[3]]
    if reason == LWS_CALLBACK_RECEIVE:
        return _receive(wsi, uri, session, in_, length)
    if reason == LWS_CALLBACK_SEND:
        if uri == "/tick":
            session.count += 1
            libwebsocket_write(wsi, str(session.count), len(str(session.count)), LWS_WRITE_TEXT)
        elif uri == "/flood":
            session.count += (
                libwebsocket_write(wsi, kept.setdefault("block", b"x" * 65536), 65536, 0) == 0
            )
    elif reason == LWS_CALLBACK_HTTP:
        return _http(wsi, uri)
    elif reason == LWS_CALLBACK_ESTABLISHED:
        if uri == "/hello":
            libwebsocket_write(wsi, b"hello", 5, LWS_WRITE_TEXT)
        elif uri == "/established-close":
            lws.libwebsocket_close_reason(wsi, 1000, b"no")
        elif uri == "/established-nonzero":
            return 1
    elif reason == LWS_CALLBACK_FILTER_PROTOCOL_CONNECTION:
        if uri == "/refuse":
            return 1
        if uri == "/refuse-close":
            lws.libwebsocket_close_reason(wsi, 1000, b"")
    elif reason == LWS_CALLBACK_CLOSED and uri == "/closed-slow":
        time.sleep(0.01)
    return 0


def _record(wsi: Any, reason: int, session: Any, uri: str, in_: Any, length: int) -> None:
    """Reports the callback, and what breaks "ESTABLISHED once, CLOSED once, then nothing"."""
    global _numbers
    if session.state & CLOSED:
        emit("VIOLATION", what=f"{_name(reason)} after CLOSED", uri=uri[:200])
    if reason == LWS_CALLBACK_ESTABLISHED:
        if session.state:
            emit("VIOLATION", what="second ESTABLISHED, or memory not zeroed", uri=uri[:200])
        _numbers += 1
        session.number = _numbers
        session.state = ESTABLISHED
        open_sessions[_numbers] = wsi
        emit("ESTABLISHED", id=_numbers, uri=uri[:200])
    elif reason == LWS_CALLBACK_CLOSED:
        if session.state != ESTABLISHED:
            emit("VIOLATION", what="CLOSED without ESTABLISHED", uri=uri[:200])
        session.state |= CLOSED
        open_sessions.pop(session.number, None)
        code = getattr(wsi, "close_code", None)
        emit("CLOSED", id=session.number, uri=uri[:200], code=code, reason=bytes(in_ or b"").hex())
    elif reason == LWS_CALLBACK_RECEIVE:
        if session.state != ESTABLISHED:
            emit("VIOLATION", what="RECEIVE without ESTABLISHED", uri=uri[:200])
        if uri != "/quiet":
            emit(
                "RECEIVE",
                id=session.number,
                length=length,
                head=bytes(in_[:64]).hex(),
                sha1=hashlib.sha1(in_).hexdigest(),
            )
    elif reason == LWS_CALLBACK_SEND:
        if session.state != ESTABLISHED:
            emit("VIOLATION", what="SEND without ESTABLISHED", uri=uri[:200])
    elif uri != "/quiet":
        emit(_name(reason), uri=uri[:200])


def _receive(wsi: Any, uri: str, session: Any, in_: Any, length: int) -> Any:
    if uri == "/sink":
        return 0
    if uri == "/quiet" and in_[:5] == b"sync ":
        emit("SYNC", number=int(in_[5:]))
    if uri == "/command":
        value = command(wsi, session, in_, json.loads(bytes(in_)))
        if value is not COPY:
            emit("RESULT", value=value)
        return kept.pop("return", 0)
    libwebsocket_write(wsi, in_, length, LWS_WRITE_BINARY if uri == "/binary" else LWS_WRITE_TEXT)
    return 0


def _http(wsi: Any, uri: str) -> Any:
    if uri == "/nothing":
        return 0
    if uri == "/file":
        lws.libwebsockets_serve_http_file(wsi, FILE, "application/octet-stream")
        return 0
    if uri == "/missing":
        lws.libwebsockets_serve_http_file(wsi, FILE + ".missing", "text/plain")
        return 0
    body = uri.encode("utf-8", "surrogateescape")
    reply = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    libwebsocket_write(wsi, reply, len(reply), LWS_WRITE_HTTP)
    if uri == "/raise/after":
        raise ValueError("raised by the test after the reply")
    return 0


def _try(function: Any, *arguments: Any) -> Any:
    """A function's result, or the name of what it raised."""
    try:
        return function(*arguments)
    except Exception as error:
        return type(error).__name__


def command(wsi: Any, session: Any, in_: Any, order: dict[str, Any]) -> Any:
    """Does one thing in the server process and returns what came of it."""
    do = order["do"]
    if do == "close":
        times = order.get("times", 1)
        reason = bytes.fromhex(order.get("reason", ""))
        return [
            _try(lws.libwebsocket_close_reason, wsi, order.get("code", 1000), reason)
            for _ in range(times)
        ]
    if do == "close-others":  # every session, this one too if asked
        targets = [
            one
            for number, one in open_sessions.items()
            if (number == session.number) <= bool(order.get("self"))
            and libwebsocket_get_uri(one) in ("/echo", "/command")
        ]
        return [_try(lws.libwebsocket_close_reason, one, 1000, b"") for one in targets]
    if do == "write":
        data = bytes.fromhex(order["data"])
        return _try(libwebsocket_write, wsi, data, len(data), order.get("protocol", 0))
    if do == "close-then-write":
        lws.libwebsocket_close_reason(wsi, 1000, b"")
        return _try(libwebsocket_write, wsi, b"late", 4, LWS_WRITE_TEXT)
    if do == "destroy":
        return lws.libwebsocket_context_destroy(lws.libwebsocket_get_context(wsi))
    if do == "return":
        kept["return"] = VALUES[order["key"]]
        return None
    if do == "keep":
        kept["wsi"] = wsi
        kept["view"] = in_
        kept["derived"] = in_[1:3]
        kept["copy"] = bytes(in_[:64])
        return None
    if do == "use-view":
        return {"view": _view("view"), "derived": _view("derived"), "copy": kept["copy"].hex()}
    if do == "use-wsi":
        return _use(kept["wsi"])
    if do == "use-from-thread":
        out: list[Any] = []
        thread = threading.Thread(target=lambda: out.append(_use(wsi)))
        thread.start()
        thread.join()
        return out[0]
    if do == "use-after-fork":
        return _after_fork(wsi)
    if do == "fork":
        return _fork(order["way"])
    if do == "subprocess":
        listing = "import os; print(len(os.listdir('/proc/self/fd')))"
        ran = subprocess.run(
            [sys.executable, "-c", listing], capture_output=True, check=True, close_fds=False
        )
        return int(ran.stdout)
    if do == "sleep":
        time.sleep(order["seconds"])
        return None
    if do == "spin":
        while True:
            pass
    if do == "crash":
        ctypes.string_at(0)
    if do == "uid-back":
        return _uid_back(order["path"])
    if do == "cwd":
        return os.getcwd()
    if do == "stdio":
        return [os.readlink(f"/proc/self/fd/{number}") for number in range(3)]
    if do == "log":
        import logging

        logging.getLogger("libwebsockets").error("said by the test")
        return None
    raise ValueError(do)


def _view(name: str) -> str:
    """What a view kept from an earlier callback shows now: its bytes, or what it raises."""
    try:
        return bytes(kept[name]).hex()
    except ValueError as error:
        return type(error).__name__


def _use(wsi: Any) -> dict[str, Any]:
    """What each function answers for a handle."""
    return {
        "write": _try(libwebsocket_write, wsi, b"x", 1, LWS_WRITE_TEXT),
        "uri": _try(libwebsocket_get_uri, wsi),
        "close": _try(lws.libwebsocket_close_reason, wsi, 1000, b""),
        "file": _try(lws.libwebsockets_serve_http_file, wsi, FILE, "text/plain"),
        "repr": isinstance(repr(wsi), str),
    }


def _after_fork(wsi: Any) -> Any:
    """What each function answers in a forked copy of the server."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 1
        with contextlib.suppress(BaseException):
            os.write(writer, json.dumps(_use(wsi)).encode())
            status = 0
        os._exit(status)
    os.close(writer)
    with os.fdopen(reader) as stream:
        told = json.loads(stream.read() or "null")
    os.waitpid(pid, 0)
    return told


def _fork(way: str) -> Any:
    pid = os.fork()
    if pid == 0:
        if way == "exit":
            os._exit(0)
        emit("FORKED", pid=os.getpid())
        return COPY  # into the server's loop: the library must end this copy
    if way == "exit":
        os.waitpid(pid, 0)
    else:
        kept.setdefault("children", []).append(pid)
    return pid


def _uid_back(path: str) -> dict[str, Any]:
    """Tries to have root again in each way there is."""
    import socket

    def opened() -> str:
        with open(path) as stream:
            return stream.read()

    def bound() -> None:
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 1))

    return {
        "setuid": _try(os.setuid, 0),
        "setgid": _try(os.setgid, 0),
        "seteuid": _try(os.seteuid, 0),
        "setgroups": _try(os.setgroups, [0]),
        "open": _try(opened),
        "bind": _try(bound),
    }


def echo(wsi: Any, reason: int, user: Any, in_: Any, length: int) -> int:
    """The smallest echo server: no records, no session memory needed."""
    if reason == LWS_CALLBACK_RECEIVE:
        libwebsocket_write(wsi, in_, length, LWS_WRITE_TEXT)
    return 0
