"""The C hot path over memory, without a network, each beside its limit and the plain-Python way."""

from __future__ import annotations

import base64
import hashlib
import os
import statistics
import struct
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from .._benchmark import ffi, lib
from . import machine

__all__ = ["SIZES", "Row", "measure"]

SIZES = (32, 125, 1024, 64 * 1024, 2**20)
ROOM = 16  # before and behind a payload
ALIGNED = 64
RUNS = 5
ENOUGH = 4.0  # GB/s of UTF-8 that is not ASCII

ASCII = "The quick brown fox jumps over the lazy dog. "
MIXED = "Größe, naïve café, Ελλάδα, мир; plain words between. "
CJK = "一二三四五六七八九十百千万漢字仮名交じり文章"

MASK = bytes((0x37, 0xFA, 0x21, 0x3D))
KEY = b"dGhlIHNhbXBsZSBub25jZQ=="
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
KEY1 = "4 @1  46546xW%0l 1 5"
KEY2 = "12998 5 Y3 1  .P00"
KEY3 = b"^n:ds[4U"
HEAD = (
    b"GET /chat?room=12 HTTP/1.1\r\nHost: localhost:7681\r\nConnection: Upgrade\r\n"
    b"Pragma: no-cache\r\nCache-Control: no-cache\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64) "
    b"AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Safari/537.36\r\n"
    b"Upgrade: websocket\r\nOrigin: http://localhost:7681\r\nSec-WebSocket-Version: 13\r\n"
    b"Accept-Encoding: gzip, deflate, br\r\nAccept-Language: en-US,en;q=0.9\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n"
)


@dataclass(frozen=True)
class Row:
    """One operation at one size. Times are nanoseconds for one operation."""

    name: str
    size: int  # bytes it handles, 0 if that is no measure of it
    ns: float
    memcpy_ns: float | None  # for as many bytes; None where they are not looked at
    python_ns: float
    target: float | None = None  # of memcpy's speed
    enough: float | None = None  # GB/s with which the target is reached, too

    @property
    def bytes_per_ns(self) -> float | None:
        """GB/s; None where the bytes are not looked at."""
        return self.size / self.ns if self.size and self.memcpy_ns is not None else None

    @property
    def of_memcpy(self) -> float | None:
        """Its speed by memcpy's."""
        return self.memcpy_ns / self.ns if self.memcpy_ns is not None else None

    @property
    def reached(self) -> bool | None:
        """Whether the target is met; None without one."""
        if self.target is None or self.of_memcpy is None or self.bytes_per_ns is None:
            return None
        return self.of_memcpy >= self.target or (
            self.enough is not None and self.bytes_per_ns >= self.enough
        )

    def as_json(self) -> dict[str, Any]:
        """For --json."""
        return {
            "name": self.name,
            "size": self.size,
            "ns": self.ns,
            "gigabytes_per_second": self.bytes_per_ns,
            "memcpy_ns": self.memcpy_ns,
            "of_memcpy": self.of_memcpy,
            "target_of_memcpy": self.target,
            "reached": self.reached,
            "python_ns": self.python_ns,
        }


# ---- the plain-Python ways ----


def _python_mask(data: bytes) -> Callable[[], object]:
    def mask() -> bytes:
        size = len(data)
        key = (MASK * (size // 4 + 1))[:size]
        return (int.from_bytes(data, "little") ^ int.from_bytes(key, "little")).to_bytes(
            size, "little"
        )

    return mask


def _python_encode(data: bytes) -> Callable[[], object]:
    def encode() -> bytes:
        size = len(data)
        if size < 126:
            return struct.pack("!BB", 0x82, size) + data
        if size < 65536:
            return struct.pack("!BBH", 0x82, 126, size) + data
        return struct.pack("!BBQ", 0x82, 127, size) + data

    return encode


def _python_decode(data: bytes) -> Callable[[], object]:
    unmask = _python_mask(data)
    head = struct.pack("!BBH", 0x82, 0xFE, len(data) & 0xFFFF) + MASK

    def decode() -> object:
        first, second, length = struct.unpack_from("!BBH", head)
        if first & 0x70 or not second & 0x80 or length > len(data):
            raise ValueError("not a client's frame")
        return unmask()

    return decode


def _python_encode76(text: bytes) -> Callable[[], object]:
    def encode() -> bytes:
        text.decode()
        return b"\x00" + text + b"\xff"

    return encode


def _python_decode76(text: bytes) -> Callable[[], object]:
    frame = b"\x00" + text + b"\xff"

    def decode() -> str:
        return frame[1 : frame.index(b"\xff")].decode()

    return decode


def _python_digest76() -> bytes:
    numbers = []
    for key in (KEY1, KEY2):
        digits = int("".join(letter for letter in key if letter.isdigit()))
        numbers.append(digits // key.count(" "))
    return hashlib.md5(struct.pack("!II", *numbers) + KEY3, usedforsecurity=False).digest()


def _python_accept() -> bytes:
    return base64.b64encode(hashlib.sha1(KEY + GUID, usedforsecurity=False).digest())


def _python_head() -> dict[bytes, bytes]:
    line, *fields = HEAD[:-4].split(b"\r\n")
    method, target, version = line.split(b" ")
    head = {b"method": method, b"target": target, b"version": version}
    for one in fields:
        name, _, value = one.partition(b":")
        head[name.lower()] = value.strip()
    return head


# ---- measuring ----


def _repeat(work: Callable[[int], float], seconds: float) -> float:
    """Nanoseconds for one turn: the median of some runs that take about so long in all."""
    times = 1
    while (took := work(times)) < seconds / RUNS / 2 * 1e9 and times < 2**40:
        times = max(times * 2, int(times * seconds / RUNS * 1e9 / max(took, 1) * 0.9))
    return statistics.median(work(times) / times for _ in range(RUNS))


def _python_ns(work: Callable[[], object], seconds: float) -> float:
    def turns(times: int) -> float:
        began = time.perf_counter_ns()
        for _ in range(times):
            work()
        return time.perf_counter_ns() - began

    return _repeat(turns, seconds)


class _Buffer:
    """A payload with room around it, aligned as a receive buffer is."""

    def __init__(self, data: bytes) -> None:
        self.size = len(data)
        self._memory = bytearray(2 * self.size + 4 * ALIGNED)
        start = ffi.from_buffer("uint8_t[]", self._memory, require_writable=True)
        aligned = -int(ffi.cast("uintptr_t", start)) % ALIGNED
        self.payload = start + (ALIGNED + aligned)
        ffi.memmove(self.payload, data, self.size)

    def ns(self, kind: int, seconds: float) -> float:
        return _repeat(lambda n: float(lib.bench_codec(kind, self.payload, self.size, n)), seconds)


def text_of(sample: str, size: int) -> bytes:
    """Valid UTF-8 of exactly so many bytes: the sample over and over, filled up with ASCII."""
    encoded = (sample * (size // len(sample.encode()) + 1)).encode()
    whole = encoded[:size].decode(errors="ignore").encode()
    return whole + b"." * (size - len(whole))


def measure(seconds: float, say: Callable[[str], None]) -> Iterator[Row]:
    """Measures each row for about so many seconds. say is told what comes next.

    The calling thread runs on the processor of the server meanwhile.
    """
    allowed = os.sched_getaffinity(0)
    machine.pin(0, machine.processors()[1])
    try:
        yield from _all(seconds, say)
    finally:
        os.sched_setaffinity(0, allowed)


def _all(seconds: float, say: Callable[[str], None]) -> Iterator[Row]:
    for size in SIZES:
        binary = bytes(byte * 7 + 3 & 0xFF for byte in range(256)) * (size // 256 + 1)
        yield from _bulk(binary[:size], seconds, say)
    small = _Buffer(b"\0")
    for name, kind, python in (
        ("hixie-76 digest", lib.BENCH_DIGEST76, _python_digest76),
        ("accept key", lib.BENCH_ACCEPT, _python_accept),
        ("request head", lib.BENCH_HEAD, _python_head),
    ):
        say(name)
        size = len(HEAD) if kind == lib.BENCH_HEAD else 0
        yield Row(name, size, small.ns(kind, seconds), None, _python_ns(python, seconds))


def _bulk(binary: bytes, seconds: float, say: Callable[[str], None]) -> Iterator[Row]:
    size = len(binary)
    ascii_text = text_of(ASCII, size)
    memcpy = _Buffer(binary).ns(lib.BENCH_MEMCPY, seconds)
    in_cache = size == 64 * 1024
    for name, kind, data, python, target in (
        ("mask", lib.BENCH_MASK, binary, _python_mask(binary), 0.8),
        ("UTF-8, ASCII", lib.BENCH_UTF8, ascii_text, ascii_text.decode, 0.8),
        ("UTF-8, mixed", lib.BENCH_UTF8, text := text_of(MIXED, size), text.decode, 0.3),
        ("UTF-8, CJK", lib.BENCH_UTF8, text := text_of(CJK, size), text.decode, 0.3),
        ("encode 13, 8, 7", lib.BENCH_ENCODE, binary, _python_encode(binary), None),
        ("decode 13, 8, 7", lib.BENCH_DECODE, binary, _python_decode(binary), None),
        ("encode 76", lib.BENCH_ENCODE76, ascii_text, _python_encode76(ascii_text), None),
        ("decode 76", lib.BENCH_DECODE76, ascii_text, _python_decode76(ascii_text), None),
    ):
        say(f"{name}, {size} B")
        yield Row(
            name,
            size,
            _Buffer(data).ns(kind, seconds),
            None if kind == lib.BENCH_ENCODE else memcpy,  # it looks at no payload byte
            _python_ns(python, seconds),
            target if in_cache else None,
            ENOUGH if kind == lib.BENCH_UTF8 and data is not ascii_text else None,
        )
