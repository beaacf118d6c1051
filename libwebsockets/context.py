"""The context: the Python half of the round, connections and their handles."""

from __future__ import annotations

import logging
import os
import struct
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from typing import Any

from . import lifecycle, log
from ._core import ffi, lib
from .arena import Arena
from .arguments import Arguments, Callback
from .constants import (
    LWS_CALLBACK_CLOSED,
    LWS_CALLBACK_RECEIVE,
    LWS_CALLBACK_RECEIVE_PONG,
    LWS_CALLBACK_SEND,
    LWS_CALLBACK_SERVER_WRITEABLE,
    LWS_CLOSE_STATUS_NORMAL,
    LWS_CLOSE_STATUS_UNEXPECTED_CONDITION,
    LWS_SEND_BUFFER_POST_PADDING,
    LWS_SEND_BUFFER_PRE_PADDING,
    libwebsocket_callback_reasons,
)
from .core import create_core
from .deflate import messages as deflate
from .http.access_log import access_log
from .http.answer import GO_ON, INTERRUPTED, RAISED, REFUSED, answer_forwarded, answer_request
from .http.request import Reply
from .listening.listener import Listener, SocketFile
from .timers import Timers, run_timers
from .tls.records import SecureConnections
from .waking import Waker, awoken
from .wsi import NO_SLOT, libwebsocket, make_inert, own_handle

__all__ = ["libwebsocket_context"]

EVENT = struct.Struct("=HHIII")  # struct lws_event
BINARY: int = lib.LWS_EVENT_BINARY
SEND: int = lib.LWS_EVENT_SEND
BINARY_BUFFER: int = lib.LWS_EVENT_BINARY_BUFFER
REQUEST: int = lib.LWS_EVENT_REQUEST
CLOSED: int = lib.LWS_EVENT_CLOSED
GONE: int = lib.LWS_EVENT_GONE
FAULT: int = lib.LWS_EVENT_FAULT
WATCH: int = lib.LWS_EVENT_WATCH
WRITABLE: int = lib.LWS_EVENT_WRITABLE
PONG: int = lib.LWS_EVENT_PONG
SECURE: int = lib.LWS_EVENT_SECURE
SECURE_END: int = lib.LWS_EVENT_SECURE_END
HTTP: int = lib.LWS_VERSION_HTTP

FAULTS = [ffi.string(lib.lws_fault_event(fault)).decode() for fault in range(lib.LWS_FAULT_COUNT)]
FAULT_LEVELS = {
    "http-eof-in-head": logging.DEBUG,
    "ws-abnormal": logging.DEBUG,
    "handshake-timeout": logging.INFO,
    "tls-handshake-timeout": logging.INFO,
    "close-timeout": logging.INFO,
}

ZERO = 0
NOTHING = object()  # stands for in_ while there is none: no buffer is identical to it

_contexts: weakref.WeakSet[libwebsocket_context] = weakref.WeakSet()


class libwebsocket_context:
    """A server in the calling process: its connections, its listeners, its epoll descriptor.

    Made by libwebsocket_create_context; owned by the thread that made it. ``port`` is the port
    that it listens on, ``fileno()`` what another loop can watch.
    """

    __slots__ = (
        "__weakref__",
        "_access",
        "_arena",
        "_begun",
        "_c",
        "_callback",
        "_closing_handles",
        "_count",
        "_deflation",
        "_destroy",
        "_dispatching",
        "_events",
        "_files",
        "_foreign",
        "_handles",
        "_in",
        "_in_length",
        "_in_offset",
        "_interrupt",
        "_owner",
        "_peer_text",
        "_piece",
        "_reply",
        "_secure",
        "_serving",
        "_settings",
        "_timers",
        "_unpacking",
        "_user",
        "_user_area_size",
        "_waker",
        "_warn",
        "_watch_numbers",
        "_watched",
        "port",
    )

    def __init__(self, arguments: Arguments, port: int) -> None:
        settings = arguments.settings
        self.port = port
        self._callback: Callback = arguments.callback
        self._settings = settings
        self._user_area_size = arguments.user_area_size
        self._warn = settings.callback_warn
        self._arena = Arena()
        self._c: Any = create_core(settings, arguments.protocol, self._arena)
        room = lib.lws_events_room(self._c) * EVENT.size
        self._events = memoryview(ffi.buffer(lib.lws_events(self._c), room))
        self._peer_text = ffi.new("char[]", lib.LWS_PEER_SIZE)
        # The handle of each slot; None too once a close was asked for, so that the rest of the
        # round's messages are passed over by the one comparison that the loop makes anyway.
        self._handles: list[libwebsocket | None] = []
        self._closing_handles: dict[int, libwebsocket] = {}
        self._watched: dict[int, Callable[[int], None]] = {}
        self._watch_numbers: dict[int, int] = {}  # of the program's own descriptors
        self._unpacking: Iterator[tuple[Any, ...]] | None = None  # the events under way
        self._count = 0  # how many they are
        self._piece: tuple[int, int] | None = None  # of an inflated message: kind, code
        self._deflation = deflate.Deflation(self._c, settings)
        self._timers = Timers()
        self._user = bytearray(arguments.user_area_size) if arguments.user_area_size else None
        self._begun = False
        self._waker = Waker()
        self._in: object = NOTHING  # the message that the callback is handling
        self._in_offset = 0
        self._in_length = 0
        self._reply: Reply | None = None
        self._interrupt: BaseException | None = None
        self._secure: SecureConnections | None = None
        if arguments.credentials is not None:
            self._secure = SecureConnections(
                self._c, self._arena, arguments.credentials, self._peer
            )
        self._access = access_log(self._c, self._peer)
        self._dispatching = False
        self._serving = False  # in libwebsocket_service
        self._destroy = False
        self._owner = threading.get_ident()
        self._files: list[SocketFile] = []  # of Unix sockets, to be removed at the end
        self._foreign = False  # this is a forked copy
        _contexts.add(self)
        self._waker.attach(self)

    def fileno(self) -> int:
        """The epoll descriptor: readable whenever libwebsocket_service has work, timers included.

        To be watched for reading, not to be read from or closed. Raises ValueError once destroyed.
        """
        if self._c is None:
            raise ValueError("the context has been destroyed")
        descriptor: int = lib.lws_fileno(self._c)
        return descriptor

    def __repr__(self) -> str:
        state = f"port {self.port}" if self._c is not None else "destroyed"
        return f"<libwebsocket_context {state}>"

    def __del__(self) -> None:
        if getattr(self, "_c", None) is not None:
            lib.lws_context_destroy(self._c)

    # ---- The round ----

    def _round(self, timeout_ms: int) -> int:
        """One round. Returns the number of events, or an error of the core.

        What a KeyboardInterrupt or SystemExit asked for is in _interrupt afterwards: the rest of
        the round's events are handled first.
        """
        if self._secure is not None:
            self._secure.flush()
        count: int = lib.lws_service(self._c, timeout_ms)
        if count > 0:
            began = time.monotonic()
            events = EVENT.iter_unpack(self._events[: count * EVENT.size])
            self._unpacking = events
            self._count = count
            self._dispatching = True
            while not self._dispatch_all(events):
                pass
            if self._secure is not None:
                count = self._dispatch_appended(count)
            self._dispatching = False
            self._unpacking = None
            self._in = NOTHING
            took = time.monotonic() - began
            if took > self._warn:
                log.event(logging.WARNING, "callback-slow", seconds=round(took, 3), events=count)
            if self._arena.referenced():
                self._renew_arena()
        if self._timers and not self._foreign:
            self._run_timers()
        if log.suppressed:
            log.report_suppressed()
        return count

    def _run_timers(self) -> None:
        self._dispatching = True
        try:
            run_timers(self)
        except (KeyboardInterrupt, SystemExit) as error:
            self._interrupt = self._interrupt or error
        finally:
            self._dispatching = False

    def _dispatch_appended(self, done: int) -> int:
        """The events of what was decrypted in this round. Returns the number of all events."""
        while (count := lib.lws_event_count(self._c)) > done:
            events = EVENT.iter_unpack(self._events[done * EVENT.size : count * EVENT.size])
            self._unpacking = events
            self._count = count
            while not self._dispatch_all(events):
                pass
            done = count
        return done

    def _flush(self) -> None:
        """Sends what was written, without receiving."""
        if self._secure is not None:
            self._secure.flush()
        lib.lws_flush(self._c)

    def _dispatch_all(self, events: Iterator[tuple[Any, ...]]) -> bool:
        try:
            self._dispatch(events)
        except (KeyboardInterrupt, SystemExit) as error:
            # A signal handler's, between two callbacks.
            self._interrupt = self._interrupt or error
        except Exception as error:
            # No memory for a view, say. The event is lost, the server is not.
            log.event(logging.ERROR, "event-failed", error=error)
        else:
            return True
        return False

    def _dispatch(self, events: Iterator[tuple[Any, ...]]) -> None:
        """Hands each event of a round to the callback. Every line here is paid for each message."""
        handles = self._handles
        callback = self._callback
        arena = self._arena.view
        for kind, code, slot, offset, length in events:
            if kind <= BINARY:
                wsi = handles[slot]
                if wsi is None:
                    continue
                in_ = arena[offset : offset + length]
                self._in = in_
                self._in_offset = offset
                self._in_length = length
                user = wsi._user
                try:
                    result = callback(
                        wsi,
                        LWS_CALLBACK_RECEIVE,
                        None if user is None else memoryview(user),
                        in_,
                        length,
                    )
                    if result is not None and result is not ZERO:
                        self._settle(wsi, result)
                except BaseException as error:
                    self._failed(wsi, LWS_CALLBACK_RECEIVE, error)
                try:
                    in_.release()
                except BufferError:
                    continue  # somebody looks at it still: _renew_arena leaves him the memory
            elif kind == SEND:
                wsi = handles[slot]
                if wsi is not None:
                    user = wsi._user
                    try:
                        result = callback(
                            wsi,
                            LWS_CALLBACK_SEND,
                            None if user is None else memoryview(user),
                            None,
                            0,
                        )
                        if result is not None and result is not ZERO:
                            self._settle(wsi, result)
                    except BaseException as error:
                        self._failed(wsi, LWS_CALLBACK_SEND, error)
            elif not self._foreign:
                self._in = NOTHING
                self._rare(kind, code, slot, offset, length)

    def _rare(self, kind: int, code: int, slot: int, offset: int, length: int) -> None:
        """Every event but a small message and SEND."""
        if kind == SECURE and self._secure is not None:
            self._secure.receive(slot, offset, length, code)
        elif kind <= BINARY_BUFFER:
            self._large(slot, offset, length)
        elif kind == REQUEST:
            if self._settings.proxies and lib.lws_trusted(self._c, slot):
                answer_forwarded(self, slot, offset)
            else:
                answer_request(self, slot, offset)
        elif kind == CLOSED:
            self._closed(slot, code, offset, length)
        elif kind == GONE:
            wsi = self._take_handle(slot)
            if wsi is not None:
                make_inert(wsi)
        elif kind == FAULT:
            self._log_fault(slot, offset)
        elif kind == WATCH:
            watcher = self._watched.get(slot)
            if watcher is not None:
                watcher(offset)
        elif kind == WRITABLE:
            self._tell(slot, LWS_CALLBACK_SERVER_WRITEABLE, None, 0)
        elif kind == PONG:
            in_ = self._arena.view[offset : offset + length] if length else None
            self._tell(slot, LWS_CALLBACK_RECEIVE_PONG, in_, length)
        elif kind == SECURE_END and self._secure is not None:
            self._secure.forget(slot)
        else:  # LWS_EVENT_COMPRESSED, with its flags
            deflate.receive(self, slot, kind, code, offset, length)

    def _large(self, slot: int, number: int, length: int) -> None:
        """A message in a buffer of its own, which goes to whoever keeps a view of it."""
        wsi = self._handles[slot]
        if wsi is None:
            return
        payload = lib.lws_message(self._c, number)
        # With the room around it, so that the message and its slices can be written back in place.
        first = LWS_SEND_BUFFER_PRE_PADDING
        exporter = ffi.buffer(payload - first, first + length + LWS_SEND_BUFFER_POST_PADDING)
        unused = sys.getrefcount(exporter)
        in_ = memoryview(exporter)[first : first + length]
        self._in = in_
        self._in_offset = lib.LWS_ARENA_SIZE + number
        self._in_length = length
        kept = self._deliver(wsi, LWS_CALLBACK_RECEIVE, in_, length)
        self._in = NOTHING
        if kept or sys.getrefcount(exporter) > unused:
            lib.lws_message_keep(self._c, number)
            weakref.finalize(exporter, lib.lws_message_free, payload).atexit = False

    def _tell(
        self,
        slot: int,
        reason: libwebsocket_callback_reasons,
        in_: memoryview | None,
        length: int,
    ) -> None:
        """An event of a connection that may be closing already."""
        wsi = self._handles[slot]
        if wsi is not None:
            self._deliver(wsi, reason, in_, length)

    def _deliver(
        self,
        wsi: libwebsocket,
        reason: libwebsocket_callback_reasons,
        in_: memoryview | None,
        length: int,
    ) -> bool:
        """Calls the callback and releases in_; whether somebody keeps a view of it."""
        self._conclude(wsi, self._call(wsi, reason, in_, length))
        try:
            if in_ is not None:
                in_.release()
        except BufferError:
            return True
        return False

    def _own(self) -> libwebsocket:
        """A handle for the events of no connection."""
        return own_handle(self, NO_SLOT, self._user)

    def _awoken(self, _events: int) -> None:
        awoken(self)

    def _renew_arena(self) -> None:
        """After a round in which somebody kept a view: nobody may see the next round's bytes."""
        lib.lws_flush(self._c)  # what is queued may still lie in the arena
        before = self._arena.view  # the memory lives until the core has let go of it
        self._arena.renew()
        lib.lws_set_arena(self._c, self._arena.pointer)
        del before

    # ---- Callbacks other than the loop's ----

    def _call(
        self,
        wsi: libwebsocket,
        reason: libwebsocket_callback_reasons,
        in_: memoryview | None = None,
        length: int = 0,
    ) -> int:
        """Calls the callback; what it raises is logged here. Returns GO_ON, REFUSED, …"""
        user = wsi._user
        try:
            result = self._callback(
                wsi, reason, None if user is None else memoryview(user), in_, length
            )
            return REFUSED if asks_to_close(result) else GO_ON
        except BaseException as error:
            return self._raised(wsi, reason, error)

    def _raised(
        self, wsi: libwebsocket, reason: libwebsocket_callback_reasons, error: BaseException
    ) -> int:
        if isinstance(error, KeyboardInterrupt | SystemExit):
            self._interrupt = self._interrupt or error
            return INTERRUPTED
        log.event(
            logging.ERROR, "callback-error", self._peer(wsi._slot), reason=reason.name, error=error
        )
        return RAISED

    def _settle(self, wsi: libwebsocket, result: object) -> None:
        """The callback of a message or of SEND has returned something."""
        if asks_to_close(result):
            self._conclude(wsi, REFUSED)

    def _failed(
        self, wsi: libwebsocket, reason: libwebsocket_callback_reasons, error: BaseException
    ) -> None:
        """The callback of a message or of SEND has raised."""
        self._conclude(wsi, self._raised(wsi, reason, error))

    def _conclude(self, wsi: libwebsocket, outcome: int) -> None:
        """Closes a session whose callback did not say to go on."""
        if self._foreign:
            return  # a forked copy, which may have destroyed its context too
        if outcome == REFUSED:
            code = LWS_CLOSE_STATUS_NORMAL
        elif outcome == RAISED:
            code = LWS_CLOSE_STATUS_UNEXPECTED_CONDITION
        else:
            return  # an interrupt stops the server, with a close code of its own
        lib.lws_close(self._c, wsi._slot, code, ffi.NULL, 0)
        self._closing(wsi)

    def _closing(self, wsi: libwebsocket) -> None:
        """No message and no SEND any more for a connection; only its CLOSED."""
        slot = wsi._slot
        if self._handles[slot] is wsi:
            self._handles[slot] = None
            self._closing_handles[slot] = wsi

    def _take_handle(self, slot: int) -> libwebsocket | None:
        """The handle of a connection that has ended; the slot has none any more."""
        wsi = self._closing_handles.pop(slot, None)
        if slot < len(self._handles):
            if wsi is None:
                wsi = self._handles[slot]
            self._handles[slot] = None
        return wsi

    def _closed(self, slot: int, code: int, offset: int, length: int) -> None:
        wsi = self._take_handle(slot)
        assert wsi is not None  # it is told of sessions only
        wsi.close_code = code
        if self._access is not None:
            self._access.end(slot, code)
        self._deflation.close(slot)
        if self._timers:
            self._timers.cancel(wsi)
        reason = self._arena.view[offset : offset + length] if length else None
        self._call(wsi, LWS_CALLBACK_CLOSED, reason, length)
        make_inert(wsi)
        if reason is not None:
            try:
                reason.release()
            except BufferError:
                return  # as for in_

    def _handle(self, slot: int) -> libwebsocket:
        """The handle of a slot, made if there is none, with user memory of its own for the
        request.
        """
        handles = self._handles
        if slot >= len(handles):
            handles.extend([None] * (slot + 1 - len(handles)))
        user = bytearray(self._user_area_size) if self._user_area_size else None
        wsi = handles[slot]
        if wsi is None:
            wsi = handles[slot] = libwebsocket(self, slot, user)
        else:
            wsi._user = user
        return wsi

    # ---- The rest ----

    def _peer(self, slot: int) -> str:
        """The peer of a slot as "IP:PORT", "-" if there is none."""
        if slot == NO_SLOT or self._c is None or lib.lws_peer(self._c, slot, self._peer_text) < 0:
            return "-"
        peer: str = ffi.string(self._peer_text).decode()
        return peer

    def _log_fault(self, slot: int, fault: int) -> None:
        word = FAULTS[fault] if fault < len(FAULTS) else "unknown"
        log.event(
            FAULT_LEVELS.get(word, logging.WARNING),
            word,
            self._peer(slot),
            status=lib.lws_fault_status(fault) or None,
            code=lib.lws_fault_close_code(fault) or None,
        )
        if self._access is not None and lib.lws_fault_status(fault):
            self._access.fault(slot, lib.lws_fault_status(fault))

    def _watch(
        self, descriptor: int, events: int, number: int, ready: Callable[[int], None]
    ) -> None:
        """Calls ready(events) in a round whenever one of the EPOLL* bits is ready."""
        error = lib.lws_watch(self._c, descriptor, events, number)
        if error < 0:
            raise OSError(-error, os.strerror(-error))
        if events:
            self._watched[number] = ready

    def _listen(self, listeners: list[Listener]) -> None:
        """Hands listening sockets to the core, which closes them."""
        for listening in listeners:
            secure = self._secure is not None if listening.secure is None else listening.secure
            error = lib.lws_listen(self._c, listening.fileno(), secure)
            if error < 0:
                raise OSError(-error, os.strerror(-error))
            listening.detach()

    def _close_down(self) -> None:
        """Resets what is open, delivers each CLOSED, and frees everything."""
        if self._foreign:
            self._c = None  # the owner's memory and sockets; the copy's end with the copy
            return
        lib.lws_stop(self._c)
        self._reset_all()
        for wsi in (*self._handles, *self._closing_handles.values()):
            if wsi is not None:  # pragma: no cover - each has had its last event by now
                make_inert(wsi)
        self._handles.clear()
        self._closing_handles.clear()
        for made in self._files:
            made.remove()
        lifecycle.end(self)
        self._watched.clear()
        self._waker.close()
        c, self._c = self._c, None
        self._events.release()
        lib.lws_context_destroy(c)

    def _reset_all(self) -> None:
        """Resets all connections and delivers each CLOSED: a round has room for some thousands."""
        lib.lws_abort_all(self._c)
        for _ in range(len(self._handles) // 1024 + 1):
            self._round(0)

    def _abandon(self) -> None:
        """This is a forked copy of the process that owns the context: it serves nothing."""
        self._foreign = True
        self._handles[:] = [None] * len(self._handles)
        self._closing_handles.clear()


def asks_to_close(result: object) -> bool:
    """What a callback's return value says. Raises TypeError for what is no int and not None."""
    if result is None:
        return False
    if not isinstance(result, int):
        raise TypeError(f"the callback must return an int or None, not {type(result).__name__}")
    return result != 0


def _abandon_all() -> None:
    for context in _contexts:
        context._abandon()


os.register_at_fork(after_in_child=_abandon_all)
