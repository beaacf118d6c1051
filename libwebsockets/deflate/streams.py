"""The streams of permessage-deflate (RFC 7692): inflated with a bound, and deflated.

What a connection costs: nothing until its first compressed message. Then 44 KiB to inflate with
zlib's largest window, and for sending (window 2^w, memory level m) 2^(w+2) + 2^(m+9) bytes: 256 KiB
at most. A side without context takeover keeps nothing between messages: all such connections of a
context share one compressor for each size of window.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .._core import ffi, lib
from ..buffers import Payload
from ..options import Settings
from .engine import DEFLATED
from .negotiation import Agreement

__all__ = ["BadDataError", "Deflation", "Session", "TooBigError"]

WRITE_COMPRESSED = 0x80  # LWS_WRITE_COMPRESSED
WRITE_UNCOMPRESSED = 0x100  # LWS_WRITE_UNCOMPRESSED
FULL: int = lib.LWS_ERROR_FULL

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
        """Compresses a message that the core has found valid, and sends it.

        One that does not become smaller goes as it is, which RFC 7692, section 6, allows for any
        message; with context takeover only if it would not fit otherwise, because a new window
        costs more than the few bytes. So what fits into max_send_buffer before it is compressed
        fits afterwards. The payload is only read. Returns 0 or an error of the core.
        """
        session = self._sessions[slot]
        memory: Any = ffi.cast("uint8_t *", payload.address)
        try:
            data: Any = session.deflate(ffi.buffer(memory, payload.length))
        except MemoryError:
            session.forget()
            return int(lib.LWS_ERROR_MEMORY)
        length = len(data) - len(TAIL)
        smaller = length < payload.length
        error = FULL
        if smaller or session.takeover:
            error = self._write(slot, data, length, protocol | WRITE_COMPRESSED)
        if error == FULL and not smaller:
            session.skip()
            return self._write(slot, memory, payload.length, protocol | WRITE_UNCOMPRESSED)
        if error:
            session.forget()
        return error

    def _write(self, slot: int, data: Any, length: int, protocol: int) -> int:
        return int(lib.lws_write_copy(self._context, slot, data, length, protocol))


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
        """The next fragment of a message; final: the last one.

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
        # what this fragment held.
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

    @property
    def takeover(self) -> bool:
        """Whether messages refer to earlier ones."""
        return self._agreement.server_takeover

    def skip(self) -> None:
        """What was compressed last goes uncompressed: the peer's window does not have it."""
        self._deflater = None  # the shared ones keep nothing between messages

    def forget(self) -> None:
        """What was compressed last was not sent: the next message refers to nothing before it."""
        self._deflater = None
        self._shared.pop(self._agreement.server_bits, None)
