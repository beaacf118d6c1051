"""What everything else stands on: the context, the handle of a connection, and refusing.

A context holds the C core's context and the state of every feature. The features (modules over this
one) are functions on contexts and handles; the loop that hands events to them is in dispatch.py.
"""

from __future__ import annotations

import logging
import operator
import os
import struct
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from . import log
from ._core import ffi, lib
from .arena import Arena
from .buffers import Payload
from .constants import (
    LWS_CLOSE_STATUS_NORMAL,
    LWS_CLOSE_STATUS_UNEXPECTED_CONDITION,
    libwebsocket_callback_reasons,
)
from .deflate.streams import Deflation
from .http.access_log import access_log
from .listening.listener import SocketFile
from .listening.proxies import trust
from .options import Settings
from .timer_heap import TimerHeap
from .tls.certificates import Credentials
from .tls.records import SecureConnections
from .waker import Waker

__all__ = [
    "CAUSES",
    "ERROR_CLOSED",
    "ERROR_DEFLATE",
    "ERROR_FULL",
    "ERROR_STATE",
    "ERROR_UTF8",
    "EVENT",
    "GO_ON",
    "INTERRUPTED",
    "NOTHING",
    "NO_SLOT",
    "RAISED",
    "REFUSED",
    "Callback",
    "as_index",
    "check_wsi",
    "context_of",
    "libwebsocket",
    "libwebsocket_context",
    "own_handle",
    "peer_name",
    "refuse",
    "refused",
    "state_error",
]

NO_SLOT: int = lib.LWS_NO_SLOT
ERROR_FULL: int = lib.LWS_ERROR_FULL
ERROR_STATE: int = lib.LWS_ERROR_STATE
ERROR_UTF8: int = lib.LWS_ERROR_UTF8
ERROR_CLOSED: int = lib.LWS_ERROR_CLOSED
ERROR_DEFLATE: int = lib.LWS_ERROR_DEFLATE

CAUSES = {
    ERROR_CLOSED: "the connection is closed or closing",
    ERROR_FULL: "max_send_buffer would be exceeded",
    ERROR_UTF8: "the text is not UTF-8",
    lib.LWS_ERROR_BINARY76: "hixie-76 has whole text messages and nothing else",
    ERROR_STATE: "not now: HTTP bytes on a WebSocket, or the reverse, or no request to answer, "
    "or a fragment of no message, or a message inside another one",
    lib.LWS_ERROR_ARGUMENT: "an argument that the core refuses: a ping or pong over 125 bytes, say",
    lib.LWS_ERROR_MEMORY: "out of memory",
    lib.LWS_ERROR_THREAD: "called from a thread that does not own the context",
    lib.LWS_ERROR_PROCESS: "called from a forked copy of the process that owns the context",
    lib.LWS_ERROR_CLOSE_CODE: "a close code that must not be sent",
}

VERSIONS = {
    lib.LWS_VERSION_HTTP: "HTTP",
    lib.LWS_VERSION_HYBI7: "version 7",
    lib.LWS_VERSION_HYBI8: "version 8",
    lib.LWS_VERSION_RFC6455: "version 13",
    lib.LWS_VERSION_HIXIE76: "hixie-76",
}

FAULTS = [ffi.string(lib.lws_fault_event(fault)).decode() for fault in range(lib.LWS_FAULT_COUNT)]
FAULT_LEVELS = {
    "http-eof-in-head": logging.DEBUG,
    "ws-abnormal": logging.DEBUG,
    "handshake-timeout": logging.INFO,
    "tls-handshake-timeout": logging.INFO,
    "close-timeout": logging.INFO,
    "http-method": logging.INFO,  # a proxy's health check, say
}

# What became of a callback.
GO_ON, REFUSED, RAISED, INTERRUPTED = range(4)

EVENT = struct.Struct("=HHIII")  # struct lws_event

NOTHING = object()  # stands for in_ while there is none: no buffer is identical to it

# Options that the core takes under their own names, in its own units.
CORE_OPTIONS = (
    "max_message",
    "max_send_buffer",
    "max_connections",
    "max_connections_per_ip",
    "keepalive_requests",
    "handshake_timeout",
    "keepalive_timeout",
    "send_timeout",
    "close_timeout",
    "linger_timeout",
    "send_interval",
    "ping_interval",
    "pong_timeout",
    "rx_fragments",
    "deflate_threshold",
)


class libwebsocket:
    """A connection, handed to the callback; opaque. It may be kept, compared and hashed.

    After LWS_CALLBACK_CLOSED it is inert: every function refuses it, and it never names another
    connection. ``close_code`` is None until then, and from then on the code of the peer's Close
    frame: 1005 if that had none, 1006 if there was no Close (RFC 6455, section 7.4.1).

    The other fields are for this package: ``context``, ``slot`` (NO_SLOT: inert) and ``user``, the
    session's memory.
    """

    __slots__ = ("__weakref__", "close_code", "context", "slot", "user")

    def __init__(self, context: libwebsocket_context, slot: int, user: bytearray | None) -> None:
        self.context = context
        self.slot = slot
        self.user = user
        self.close_code: int | None = None

    def __repr__(self) -> str:
        if self.slot == NO_SLOT:
            return f"<{type(self).__name__} closed>"
        version = VERSIONS.get(lib.lws_version(self.context.c, self.slot), "unknown version")
        return f"<libwebsocket {peer_name(self)} {version}>"

    def make_inert(self) -> None:
        """Detaches the handle from its connection, for good."""
        self.slot = NO_SLOT
        self.user = None


class own_handle(libwebsocket):
    """What the callback is given for an event of no connection; inert from the start."""

    __slots__ = ()


Callback = Callable[
    [libwebsocket, libwebsocket_callback_reasons, memoryview | None, memoryview | None, int],
    int | None,
]


class OpenReply(Protocol):
    """What libwebsocket_write asks of the reply that is being given (http/open_reply.py)."""

    wsi: libwebsocket
    checked: bool
    dropping: bool
    failed: bool

    @property
    def open(self) -> bool:
        """Whether bytes may be added."""

    def exceeds(self, length: int) -> bool:
        """Whether that many more bytes are more than the head has announced."""

    def record(self, payload: Payload) -> None:
        """Takes note of bytes that were written."""


_contexts: weakref.WeakSet[libwebsocket_context] = weakref.WeakSet()


class libwebsocket_context:
    """A server in the calling process: its connections, its listeners, its epoll descriptor.

    Made by libwebsocket_create_context; owned by the thread that made it. ``port`` is the port
    that it listens on, ``fileno()`` what another loop can watch.

    All other fields and methods are for this package.
    """

    __slots__ = (
        "__weakref__",
        "access",
        "arena",
        "begun",
        "c",
        "callback",
        "callback_warn",
        "closing_handles",
        "deflation",
        "destroy_asked",
        "dispatching",
        "event_count",
        "events",
        "files",
        "foreign",
        "handles",
        "in_",
        "in_length",
        "in_offset",
        "inflated",
        "interrupt",
        "owner",
        "peer_text",
        "port",
        "reply",
        "secure",
        "serving",
        "settings",
        "timers",
        "unpacking",
        "user",
        "user_area_size",
        "waker",
        "watch_numbers",
        "watched",
    )

    def __init__(
        self,
        callback: Callback,
        protocol: int,
        user_area_size: int,
        settings: Settings,
        credentials: Credentials | None,
        port: int,
    ) -> None:
        self.port = port
        self.callback = callback
        self.settings = settings
        self.user_area_size = user_area_size
        self.callback_warn = settings.callback_warn
        self.arena = Arena()
        self.c: Any = _make_core(settings, protocol, self.arena)
        room = lib.lws_events_room(self.c) * EVENT.size
        self.events = memoryview(ffi.buffer(lib.lws_events(self.c), room))
        self.peer_text = ffi.new("char[]", lib.LWS_PEER_SIZE)
        # The handle of each slot; None too once a close was asked for, so that the rest of the
        # round's messages are passed over by the one comparison that the loop makes anyway.
        self.handles: list[libwebsocket | None] = []
        self.closing_handles: dict[int, libwebsocket] = {}
        self.watched: dict[int, Callable[[int], None]] = {}
        self.watch_numbers: dict[int, int] = {}  # of the program's own descriptors
        self.unpacking: Iterator[tuple[Any, ...]] | None = None  # the events under way
        self.event_count = 0  # how many they are
        self.inflated: tuple[int, int] | None = None  # kind and code of an inflated fragment
        self.deflation = Deflation(self.c, settings)
        self.timers: TimerHeap[libwebsocket | None] = TimerHeap()  # None: the context's own
        self.user = bytearray(user_area_size) if user_area_size else None
        self.begun = False  # LWS_CALLBACK_PROTOCOL_INIT went well
        self.waker = Waker()
        self.in_: object = NOTHING  # the message that the callback is handling
        self.in_offset = 0
        self.in_length = 0
        self.reply: OpenReply | None = None
        self.interrupt: BaseException | None = None
        self.secure: SecureConnections | None = None
        if credentials is not None:
            self.secure = SecureConnections(self.c, self.arena, credentials, self.peer)
        self.access = access_log(self.c, self.peer)
        self.dispatching = False
        self.serving = False  # in libwebsocket_service
        self.destroy_asked = False
        self.owner = threading.get_ident()
        self.files: list[SocketFile] = []  # of Unix sockets, to be removed at the end
        self.foreign = False  # this is a forked copy
        _contexts.add(self)

    def fileno(self) -> int:
        """The epoll descriptor: readable whenever libwebsocket_service has work, timers included.

        To be watched for reading, not to be read from or closed. Raises ValueError once destroyed.
        """
        if self.c is None:
            raise ValueError("the context has been destroyed")
        descriptor: int = lib.lws_fileno(self.c)
        return descriptor

    def __repr__(self) -> str:
        state = f"port {self.port}" if self.c is not None else "destroyed"
        return f"<libwebsocket_context {state}>"

    def __del__(self) -> None:
        if getattr(self, "c", None) is not None:
            lib.lws_context_destroy(self.c)

    # ---- Handles ----

    def handle_of(self, slot: int) -> libwebsocket:
        """The handle of a slot, made if there is none, with user memory of its own for the
        request.
        """
        handles = self.handles
        if slot >= len(handles):
            handles.extend([None] * (slot + 1 - len(handles)))
        user = bytearray(self.user_area_size) if self.user_area_size else None
        wsi = handles[slot]
        if wsi is None:
            wsi = handles[slot] = libwebsocket(self, slot, user)
        else:
            wsi.user = user
        return wsi

    def make_own_handle(self) -> libwebsocket:
        """A handle for the events of no connection."""
        return own_handle(self, NO_SLOT, self.user)

    def mark_closing(self, wsi: libwebsocket) -> None:
        """From now on a connection gets its CLOSED, but no message and no SEND."""
        slot = wsi.slot
        if self.handles[slot] is wsi:
            self.handles[slot] = None
            self.closing_handles[slot] = wsi

    def take_handle(self, slot: int) -> libwebsocket | None:
        """Takes the handle of a connection that has ended away from its slot."""
        wsi = self.closing_handles.pop(slot, None)
        if slot < len(self.handles):
            if wsi is None:
                wsi = self.handles[slot]
            self.handles[slot] = None
        return wsi

    def abandon(self) -> None:
        """This is a forked copy of the process that owns the context: it serves nothing."""
        self.foreign = True
        self.handles[:] = [None] * len(self.handles)
        self.closing_handles.clear()

    # ---- Calling the callback, but for the loop's own calls ----

    def call(
        self,
        wsi: libwebsocket,
        reason: libwebsocket_callback_reasons,
        in_: memoryview | None = None,
        length: int = 0,
    ) -> int:
        """Calls the callback; what it raises is logged here. Returns GO_ON, REFUSED, …"""
        user = wsi.user
        try:
            result = self.callback(
                wsi, reason, None if user is None else memoryview(user), in_, length
            )
            return REFUSED if _asks_to_close(result) else GO_ON
        except BaseException as error:
            return self._raised(wsi, reason, error)

    def deliver(
        self,
        wsi: libwebsocket,
        reason: libwebsocket_callback_reasons,
        in_: memoryview | None,
        length: int,
    ) -> bool:
        """Calls the callback and releases in_. Returns whether somebody keeps a view of it."""
        self.conclude(wsi, self.call(wsi, reason, in_, length))
        try:
            if in_ is not None:
                in_.release()
        except BufferError:
            return True
        return False

    def returned(self, wsi: libwebsocket, result: object) -> None:
        """The callback of a message or of SEND has returned something other than 0 and None."""
        if _asks_to_close(result):
            self.conclude(wsi, REFUSED)

    def failed(
        self, wsi: libwebsocket, reason: libwebsocket_callback_reasons, error: BaseException
    ) -> None:
        """The callback of a message or of SEND has raised."""
        self.conclude(wsi, self._raised(wsi, reason, error))

    def _raised(
        self, wsi: libwebsocket, reason: libwebsocket_callback_reasons, error: BaseException
    ) -> int:
        if isinstance(error, KeyboardInterrupt | SystemExit):
            self.interrupt = self.interrupt or error
            return INTERRUPTED
        log.event(
            logging.ERROR, "callback-error", self.peer(wsi.slot), reason=reason.name, error=error
        )
        return RAISED

    def conclude(self, wsi: libwebsocket, outcome: int) -> None:
        """Closes a session whose callback did not say to go on."""
        if self.foreign:
            return  # a forked copy, which may have destroyed its context too
        if outcome == REFUSED:
            code = LWS_CLOSE_STATUS_NORMAL
        elif outcome == RAISED:
            code = LWS_CLOSE_STATUS_UNEXPECTED_CONDITION
        else:
            return  # an interrupt stops the server, with a close code of its own
        lib.lws_close(self.c, wsi.slot, code, ffi.NULL, 0)
        self.mark_closing(wsi)

    # ---- The rest ----

    def peer(self, slot: int) -> str:
        """The peer of a slot as "IP:PORT", "-" if there is none."""
        if slot == NO_SLOT or self.c is None or lib.lws_peer(self.c, slot, self.peer_text) < 0:
            return "-"
        peer: str = ffi.string(self.peer_text).decode()
        return peer

    def log_fault(self, slot: int, fault: int, first: bytes = b"") -> None:
        """One line for what a peer did wrong. first: method and target of a request refused."""
        word = FAULTS[fault] if fault < len(FAULTS) else "unknown"
        log.event(
            FAULT_LEVELS.get(word, logging.WARNING),
            word,
            self.peer(slot),
            status=lib.lws_fault_status(fault) or None,
            code=lib.lws_fault_close_code(fault) or None,
        )
        if self.access is not None and lib.lws_fault_status(fault):
            self.access.fault(slot, lib.lws_fault_status(fault), first)

    def watch(
        self, descriptor: int, events: int, number: int, ready: Callable[[int], None]
    ) -> None:
        """Calls ready(events) in a round whenever one of the EPOLL* bits is ready.

        Raises OSError.
        """
        error = lib.lws_watch(self.c, descriptor, events, number)
        if error < 0:
            raise OSError(-error, os.strerror(-error))
        if events:
            self.watched[number] = ready


def _make_core(settings: Settings, protocol: int, arena: Arena) -> Any:
    """A struct lws_context with these options, receiving into the arena.

    protocol is the oldest version that is accepted. Raises OSError.
    """
    limits = settings.limits
    options = ffi.new("struct lws_options *")
    options.head.request_line = limits["max_request_line"]
    options.head.header_line = limits["max_header_line"]
    options.head.headers = limits["max_headers"]
    options.head.head = limits["max_head"]
    options.oldest = protocol
    options.keep_headers = settings.keep_headers
    options.proxy_protocol = settings.proxy_protocol
    for name in CORE_OPTIONS:
        setattr(options, name, limits[name])
    context = lib.lws_context_create(options, arena.pointer)
    if context == ffi.NULL:
        raise OSError(ffi.errno, os.strerror(ffi.errno))
    try:
        trust(context, settings.proxies)
    except OSError:
        lib.lws_context_destroy(context)
        raise
    return context


def _asks_to_close(result: object) -> bool:
    """What a callback's return value says. Raises TypeError if it is not an int or None."""
    if result is None:
        return False
    if not isinstance(result, int):
        raise TypeError(f"the callback must return an int or None, not {type(result).__name__}")
    return result != 0


def _abandon_all() -> None:
    for context in _contexts:
        context.abandon()


os.register_at_fork(after_in_child=_abandon_all)


# ---- Checking arguments, and refusing ----


def check_wsi(wsi: object) -> None:
    """Raises TypeError for anything that is not a libwebsocket."""
    if not isinstance(wsi, libwebsocket):
        raise TypeError(f"wsi must be a libwebsocket, not {type(wsi).__name__}")


def context_of(wsi_or_context: libwebsocket | libwebsocket_context) -> libwebsocket_context:
    """The context that is meant. Raises TypeError for anything that is neither."""
    if isinstance(wsi_or_context, libwebsocket):
        return wsi_or_context.context
    if isinstance(wsi_or_context, libwebsocket_context):
        return wsi_or_context
    raise TypeError(
        f"a libwebsocket or a libwebsocket_context is wanted, not {type(wsi_or_context).__name__}"
    )


def as_index(name: str, value: Any) -> int:
    """An argument as an int. Raises TypeError with the argument's name."""
    try:
        return operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be an int, not {type(value).__name__}") from None


def peer_name(wsi: libwebsocket) -> str:
    """The peer as "IP:PORT", "-" if it is not known, or not known any more."""
    return "-" if wsi.slot == NO_SLOT else wsi.context.peer(wsi.slot)


def state_error(wsi: libwebsocket) -> int:
    """Why a function that needs a request, or a session, cannot be used now: the error of a wrong
    thread or process, else ERROR_STATE.
    """
    version: int = lib.lws_version(wsi.context.c, wsi.slot)
    return version if version < 0 else ERROR_STATE


def refuse(wsi: libwebsocket, level: int, word: str, error: int, **fields: log.Value | None) -> int:
    """Logs one line with the cause of an error of the core, and returns -1."""
    cause = CAUSES.get(error, f"error {error}")
    log.event(level, word, peer_name(wsi), error=None, **fields, cause=cause)
    return -1


def refused(word: str, error: int) -> int:
    """Logs one line with the cause of an error that belongs to no connection, and returns -1."""
    log.event(logging.WARNING, word, cause=CAUSES.get(error, f"error {error}"))
    return -1
