"""permessage-deflate (RFC 7692): messages inflated with a bound, and deflated on their way out.

What a connection costs: nothing until its first compressed message. Then 44 KiB to inflate with
zlib's largest window, and for sending (window 2^w, memory level m) 2^(w+2) + 2^(m+9) bytes: 256 KiB
at most. A side without context takeover keeps nothing between messages: all such connections of a
context share one compressor for each size of window.
"""

from __future__ import annotations

import importlib
import logging
import zlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from .. import log
from .._core import ffi, lib
from ..buffers import Payload
from ..constants import (
    LWS_CALLBACK_RECEIVE,
    LWS_SEND_BUFFER_POST_PADDING,
    LWS_SEND_BUFFER_PRE_PADDING,
)
from .negotiation import Agreement, negotiate

if TYPE_CHECKING:
    from ..context import libwebsocket_context
    from ..http.request import Request
    from ..options import Settings
    from ..wsi import libwebsocket

__all__ = ["Deflation", "agree", "load_engine", "receive"]

ENGINES = {"zlib": zlib.__name__, "isal": "isal.isal_zlib", "zlib-ng": "zlib_ng.zlib_ng"}

DEFLATED = 8  # the method of every engine
RFC6455: int = lib.LWS_VERSION_RFC6455
IN_BUFFER: int = lib.LWS_EVENT_TEXT_BUFFER  # the bit of a message in a buffer of its own
NOT_FIRST: int = lib.LWS_PIECE_NOT_FIRST
NOT_FINAL: int = lib.LWS_PIECE_NOT_FINAL
WRITE_COMPRESSED = 0x80  # LWS_WRITE_COMPRESSED
PIECE = 65536  # bytes of a piece handed over with rx_fragments

# The end of a flush, which senders take off (RFC 7692, section 7.2.1).
TAIL = b"\x00\x00\xff\xff"
# Empty blocks change nothing behind a whole message; behind one that was cut they give output or an
# error, as it then takes them for the bytes that it lacks.
PROBE = b"\x00\x00\x00\xff\xff" * 32
SLICE = 65536  # bytes inflated at a time: what follows a final block is copied
FINAL_BLOCKS_MAX = 100  # in a message; each costs a new stream


class TooBigError(Exception):
    """A message inflates to more than max_message."""


class BadDataError(Exception):
    """Compressed data that is none, is cut, or goes on behind its end."""


def load_engine(name: object, level: int, mem_level: int) -> Any:
    """The module that compresses: zlib, or one with the same functions.

    Raises TypeError or ValueError for what is no engine, for one that is not installed, and for a
    level that it does not have.
    """
    if not isinstance(name, str):
        raise TypeError(f"deflate_engine must be a str, not {type(name).__name__}")
    if name not in ENGINES:
        raise ValueError(f"deflate_engine must be one of {', '.join(ENGINES)}, not {name!r}")
    try:
        engine: Any = importlib.import_module(ENGINES[name])
    except ImportError:
        raise ValueError(f"deflate_engine {name!r} is not installed") from None
    try:
        engine.compressobj(level, DEFLATED, -15, mem_level)
    except (ValueError, engine.error):
        raise ValueError(f"deflate_level {level} is none of {name}'s") from None
    return engine


class Deflation:
    """The compressed connections of a context, by slot."""

    __slots__ = ("_context", "_sessions", "_settings", "_shared")

    def __init__(self, context: Any, settings: Settings) -> None:
        self._context = context  # the core's
        self._settings = settings
        self._sessions: dict[int, Session] = {}
        self._shared: dict[int, Any] = {}  # compressors without context takeover, by window bits

    def open(self, slot: int, agreement: Agreement) -> None:
        """A connection on which this was agreed is established."""
        self._sessions[slot] = Session(self._settings, agreement, self._shared)

    def close(self, slot: int) -> None:
        """A connection has ended."""
        self._sessions.pop(slot, None)

    def session(self, slot: int) -> Session:
        """The state of a connection that had compressed data."""
        return self._sessions[slot]

    def write(self, slot: int, payload: Payload, protocol: int) -> int:
        """Compresses a message that the core has found right, and sends it.

        The payload is only read. Returns 0 or an error of the core.
        """
        session = self._sessions[slot]
        try:
            data = session.deflate(ffi.buffer(ffi.cast("char *", payload.address), payload.length))
        except MemoryError:
            session.forget()
            return int(lib.LWS_ERROR_MEMORY)
        error: int = lib.lws_write_copy(
            self._context, slot, data, len(data) - len(TAIL), protocol | WRITE_COMPRESSED
        )
        if error:
            session.forget()
        return error


class Session:
    """One connection's streams, both made when they are first needed."""

    __slots__ = (
        "_agreement",
        "_deflater",
        "_engine",
        "_final_blocks",
        "_fresh",
        "_inflater",
        "_last",
        "_limits",
        "_produced",
        "_shared",
        "utf8",
    )

    def __init__(self, settings: Settings, agreement: Agreement, shared: dict[int, Any]) -> None:
        self._agreement = agreement
        self._engine = settings.deflate_engine
        self._limits = settings.limits
        self._shared = shared
        self._deflater: Any = None
        self._inflater: Any = None
        self.utf8: int = lib.LWS_UTF8_COMPLETE
        self._begin()

    def _begin(self) -> None:
        """Before a message."""
        self._produced = 0
        self._final_blocks = 0
        self._last = b""
        self._fresh = False  # a final block was the last thing

    def inflate(self, data: Any, final: bool) -> bytes:
        """The next piece of a message; final: the last one.

        data is only read. Produces at most one byte over max_message in a message. Raises
        TooBigError, BadDataError, MemoryError.
        """
        try:
            parts = list(self._inflate(memoryview(data)))
            if final:
                parts += self._end()
        except self._engine.error as error:
            raise BadDataError(str(error)) from None
        if final:
            self._begin()
            if not self._agreement.client_takeover:
                self._inflater = None
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _inflate(self, data: memoryview) -> Iterator[bytes]:
        self._last = (self._last + bytes(data[-len(TAIL) :]))[-len(TAIL) :]
        for start in range(0, len(data), SLICE):
            rest: Any = data[start : start + SLICE]
            while len(rest):
                out, rest = self._feed(rest)
                yield out

    def _feed(self, data: Any) -> tuple[bytes, bytes]:
        """Output, and what lies behind a final block."""
        inflater = self._inflater
        if inflater is None:
            inflater = self._inflater = self._engine.decompressobj(-self._agreement.client_bits)
        out: bytes = inflater.decompress(data, self._limits["max_message"] - self._produced + 1)
        self._produced += len(out)
        if self._produced > self._limits["max_message"]:
            raise TooBigError
        self._fresh = inflater.eof
        if not inflater.eof:
            return out, b""
        self._final_blocks += 1
        if self._final_blocks > FINAL_BLOCKS_MAX:
            raise BadDataError("too many final blocks")
        # A stream ended in the message (section 7.2.3.4). Its sender's next one knows no more than
        # what this piece held.
        bits = self._agreement.client_bits
        self._inflater = self._engine.decompressobj(-bits, zdict=out[-(1 << bits) :])
        return out, inflater.unused_data

    def _end(self) -> list[bytes]:
        """Adds what the sender has taken off, unless it was not taken off, and looks whether the
        message is whole.
        """
        if self._fresh:
            return []
        lacking = b"" if self._last == TAIL else TAIL
        inflater = self._inflater
        if inflater is None:
            raise BadDataError("an empty message")
        if inflater.decompress(lacking + PROBE, 1) or inflater.eof:
            raise BadDataError("cut")
        return []

    def deflate(self, data: Any) -> bytes:
        """A message compressed, TAIL included. data is only read. Raises MemoryError."""
        bits = self._agreement.server_bits
        if self._agreement.server_takeover:
            if self._deflater is None:
                self._deflater = self._new_deflater(bits)
            deflater, flush = self._deflater, self._engine.Z_SYNC_FLUSH
        else:
            if bits not in self._shared:
                self._shared[bits] = self._new_deflater(bits)
            deflater, flush = self._shared[bits], self._engine.Z_FULL_FLUSH
        start: bytes = deflater.compress(data)
        end: bytes = deflater.flush(flush)
        return start + end if start else end

    def _new_deflater(self, bits: int) -> Any:
        limits = self._limits
        return self._engine.compressobj(
            limits["deflate_level"], DEFLATED, -bits, limits["deflate_mem_level"]
        )

    def forget(self) -> None:
        """What was compressed last was not sent: the next message refers to nothing before it."""
        self._deflater = None
        self._shared.pop(self._agreement.server_bits, None)


def agree(context: libwebsocket_context, slot: int, request: Request) -> Agreement | None:
    """Compression, if the client offers it in a way that can be agreed to; only to RFC 6455."""
    if request.version != RFC6455 or not request.count(lib.LWS_FIELD_WS_EXTENSIONS):
        return None
    settings = context._settings
    agreed, passed_over = negotiate(
        request.values(b"Sec-WebSocket-Extensions"),
        settings.limits["deflate_window_bits"],
        settings.deflate_context_takeover,
    )
    if passed_over is not None:
        log.event(logging.INFO, "ws-extension", context._peer(slot), declined=passed_over)
    return agreed


def receive(
    context: libwebsocket_context, slot: int, kind: int, code: int, offset: int, length: int
) -> None:
    """A compressed message, or a piece of one: inflated, validated and handed to the callback."""
    wsi = context._handles[slot]
    if wsi is None:
        return
    session = context._deflation.session(slot)
    if kind & IN_BUFFER:
        data = memoryview(ffi.buffer(lib.lws_message(context._c, offset), length))
    else:
        data = context._arena.view[offset : offset + length]
    final = not code & NOT_FINAL
    text = not kind & 1
    fault = 0
    try:
        memory = _padded(session.inflate(data, final))
        if text and not _is_text(session, memory, final):
            fault = lib.LWS_FAULT_WS_UTF8
    except TooBigError:
        fault = lib.LWS_FAULT_WS_TOO_BIG
    except BadDataError:
        fault = lib.LWS_FAULT_WS_INFLATE
    except MemoryError:
        fault = lib.LWS_FAULT_ALLOC_FAILED
    finally:
        data.release()
    if fault:
        if lib.lws_fail_message(context._c, slot, fault) != 0:
            context._log_fault(slot, fault)  # its own Close was in the same round
        context._closing(wsi)
        return
    _hand_over(context, wsi, kind & 1, code, memory)


def _padded(data: bytes) -> bytearray:
    """A message with the room around it that libwebsocket_write wants."""
    memory = bytearray(LWS_SEND_BUFFER_PRE_PADDING + len(data) + LWS_SEND_BUFFER_POST_PADDING)
    memory[LWS_SEND_BUFFER_PRE_PADDING:-LWS_SEND_BUFFER_POST_PADDING] = data
    return memory


def _is_text(session: Session, memory: bytearray, final: bool) -> bool:
    length = len(memory) - LWS_SEND_BUFFER_PRE_PADDING - LWS_SEND_BUFFER_POST_PADDING
    start = ffi.from_buffer("uint8_t[]", memory) + LWS_SEND_BUFFER_PRE_PADDING
    state = lib.lws_utf8(session.utf8, start, length)
    session.utf8 = lib.LWS_UTF8_COMPLETE if final else state
    if final:
        return bool(state == lib.LWS_UTF8_COMPLETE)
    return bool(state != lib.LWS_UTF8_INVALID)


def _hand_over(
    context: libwebsocket_context, wsi: libwebsocket, kind: int, code: int, memory: bytearray
) -> None:
    """Calls the callback: once, or for each 64 KiB of what a piece has become."""
    first = LWS_SEND_BUFFER_PRE_PADDING
    end = len(memory) - LWS_SEND_BUFFER_POST_PADDING
    whole = memoryview(memory)
    step = PIECE if context._settings.limits["rx_fragments"] else max(1, end - first)
    for start in range(first, max(end, first + 1), step):
        stop = min(start + step, end)
        part = code & NOT_FIRST if start == first else NOT_FIRST
        part |= code & NOT_FINAL if stop == end else NOT_FINAL
        in_ = whole[start:stop]
        context._piece = kind, part
        try:
            context._deliver(wsi, LWS_CALLBACK_RECEIVE, in_, stop - start)
        finally:
            context._piece = None
        if context._handles[wsi._slot] is not wsi:
            return
