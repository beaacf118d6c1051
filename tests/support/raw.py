"""A WebSocket and HTTP client of raw sockets that can send anything, right or wrong.

Nothing here comes from the code under test: keys and digests are computed by hashlib, frames
are built and read bit by bit from RFC 6455 (section 5.2) and
from draft-hixie-thewebsocketprotocol-76.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import random
import re
import socket
import ssl
import struct
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_DATE = re.compile(rb"[MTWFS][a-z]{2}, \d\d [JFMASOND][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT")
_STATUS_LINE = re.compile(rb"HTTP/1\.1 ([1-5][0-9][0-9]) ([\x20-\x7e]*)")

Field = tuple[str | bytes, str | bytes]


def accept_key(key: bytes) -> bytes:
    """Sec-WebSocket-Accept for a Sec-WebSocket-Key (RFC 6455, section 4.2.2)."""
    return base64.b64encode(hashlib.sha1(key + _GUID).digest())


def hixie_number(key: bytes) -> int:
    """The number of a hixie-76 key: its ASCII digits divided by its spaces."""
    return int(bytes(c for c in key if 0x30 <= c <= 0x39)) // key.count(b" ")


def hixie_digest(key1: bytes, key2: bytes, key3: bytes) -> bytes:
    """The 16 bytes that answer a hixie-76 challenge."""
    numbers = struct.pack(">II", hixie_number(key1), hixie_number(key2))
    return hashlib.md5(numbers + key3).digest()


def hixie_key(number: int, spaces: int, letters: str = "xKq") -> bytes:
    """A hixie-76 key whose number is `number` with that many spaces, none of them at an end."""
    digits = str(number * spaces)
    return (letters + digits[:1] + " " * spaces + digits[1:] + letters[::-1]).encode()


def as_bytes(value: str | bytes) -> bytes:
    return value.encode("latin-1") if isinstance(value, str) else value


def head(request_line: str | bytes, fields: Iterable[Field] = ()) -> bytes:
    """A request head with CR LF line ends."""
    lines = [as_bytes(request_line)]
    lines += [as_bytes(name) + b": " + as_bytes(value) for name, value in fields]
    return b"\r\n".join(lines) + b"\r\n\r\n"


def get(target: str | bytes = "/", *fields: Field, method: str | bytes = "GET") -> bytes:
    """A plain request with a Host."""
    line = as_bytes(method) + b" " + as_bytes(target) + b" HTTP/1.1"
    return head(line, [("Host", "localhost"), *fields])


# The key of RFC 6455, section 1.3.
KEY = b"dGhlIHNhbXBsZSBub25jZQ=="


def upgrade(
    path: str | bytes = "/echo",
    *fields: Field,
    version: str | bytes | None = "13",
    key: str | bytes | None = KEY,
    drop: Iterable[str] = (),
    host: str | bytes = "localhost",
) -> bytes:
    """The upgrade request of versions 7, 8 and 13; `drop` names fields to leave out."""
    all_fields: list[Field] = [("Host", host), ("Upgrade", "websocket"), ("Connection", "Upgrade")]
    if key is not None:
        all_fields.append(("Sec-WebSocket-Key", key))
    if version is not None:
        all_fields.append(("Sec-WebSocket-Version", version))
    kept = [item for item in all_fields if item[0] not in tuple(drop)]
    return head(b"GET " + as_bytes(path) + b" HTTP/1.1", [*kept, *fields])


KEY1, KEY2, KEY3 = b"4 @1  46546xW%0l 1 5", b"12998 5 Y3 1  .P00", b"^n:ds[4U"


def upgrade76(
    path: str | bytes = "/echo",
    *fields: Field,
    key1: bytes | None = KEY1,
    key2: bytes | None = KEY2,
    key3: bytes = KEY3,
    host: str | bytes = "localhost",
    origin: str | bytes = "http://localhost",
) -> bytes:
    """The upgrade request of hixie-76, the eight bytes behind it."""
    all_fields: list[Field] = [
        ("Upgrade", "WebSocket"),
        ("Connection", "Upgrade"),
        ("Host", host),
        ("Origin", origin),
    ]
    if key1 is not None:
        all_fields.append(("Sec-WebSocket-Key1", key1))
    if key2 is not None:
        all_fields.append(("Sec-WebSocket-Key2", key2))
    return head(b"GET " + as_bytes(path) + b" HTTP/1.1", [*all_fields, *fields]) + key3


def mask_bytes(payload: bytes, mask: bytes) -> bytes:
    """Masks or unmasks (RFC 6455, section 5.3)."""
    if not payload or mask == bytes(4):
        return payload
    size = len(payload)
    stream = (mask * (size // 4 + 1))[:size]
    mixed = int.from_bytes(payload, "little") ^ int.from_bytes(stream, "little")
    return mixed.to_bytes(size, "little")


MASK = b"\x37\xfa\x21\x3d"


def frame(
    opcode: int,
    payload: bytes = b"",
    *,
    fin: bool = True,
    rsv: int = 0,
    mask: bytes | None = MASK,
    form: int | None = None,
    length: int | None = None,
) -> bytes:
    """A frame with every bit settable.

    rsv: the three bits, RSV1 the highest (4, 2, 1). mask None: unmasked. form: 7, 16 or 64 bits of
    length, the shortest unless given. length: what the header says, the payload's unless given.
    """
    size = len(payload) if length is None else length
    if form is None:
        form = 7 if size < 126 else 16 if size < 65536 else 64
    first = (0x80 if fin else 0) | rsv << 4 | opcode
    flag = 0x80 if mask is not None else 0
    if form == 7:
        out = bytes([first, flag | size])
    elif form == 16:
        out = bytes([first, flag | 126]) + struct.pack(">H", size)
    else:
        out = bytes([first, flag | 127]) + struct.pack(">Q", size)
    if mask is None:
        return out + payload
    return out + mask + mask_bytes(payload, mask)


def text(payload: str | bytes, **bits: object) -> bytes:
    data = payload.encode() if isinstance(payload, str) else payload
    return frame(TEXT, data, **bits)  # type: ignore[arg-type]


def close_payload(code: int, reason: bytes = b"") -> bytes:
    return struct.pack(">H", code) + reason


def text76(payload: str | bytes) -> bytes:
    """A hixie-76 text frame."""
    return b"\x00" + (payload.encode() if isinstance(payload, str) else payload) + b"\xff"


class Ended(ConnectionError):
    """The stream ended (EOF or reset) where more bytes were wanted."""


@dataclass
class Response:
    status: int
    reason: bytes
    head: bytes
    fields: list[tuple[bytes, bytes]]
    body: bytes = b""

    def all(self, name: str) -> list[bytes]:
        wanted = name.lower().encode()
        return [value for key, value in self.fields if key.lower() == wanted]

    def one(self, name: str) -> bytes | None:
        values = self.all(name)
        assert len(values) <= 1, f"{name} {len(values)} times"
        return values[0] if values else None


@dataclass
class Frame:
    opcode: int
    payload: bytes
    fin: bool
    rsv: int

    @property
    def code(self) -> int:
        """The code of a Close frame; 1005 for none."""
        assert self.opcode == CLOSE, self
        return struct.unpack(">H", self.payload[:2])[0] if self.payload else 1005


# How often each address has connected: a port that was given back may be given out again.
connected: Counter[str] = Counter()


@dataclass
class Client:
    """One connection. Every read ends after `timeout` seconds with TimeoutError."""

    port: int
    host: str = "127.0.0.1"
    timeout: float = 5.0
    rcvbuf: int | None = None
    tls: ssl.SSLContext | None = None
    buffer: bytearray = field(default_factory=bytearray)
    ended: str = ""  # "eof" or "reset"
    send_failed: bool = False

    def __post_init__(self) -> None:
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        self.sock = socket.socket(family, socket.SOCK_STREAM)
        if self.rcvbuf is not None:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self.rcvbuf)
        self.sock.settimeout(self.timeout)
        self.sock.connect((self.host, self.port))
        connected[self.name] += 1
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self.tls is not None:
            self.sock = self.tls.wrap_socket(self.sock, server_hostname="localhost")

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        if hasattr(self, "sock"):  # a connection that nobody holds any more ends
            self.sock.close()

    @property
    def name(self) -> str:
        """The address as the server logs it."""
        address = self.sock.getsockname()
        return f"{address[0]}:{address[1]}"

    # -- bytes

    def send(self, data: bytes) -> Client:
        """Sends all; a server that has closed already is noted, as the reply says what happened."""
        try:
            self.sock.sendall(data)
        except (BrokenPipeError, ConnectionResetError, ssl.SSLEOFError, ssl.SSLZeroReturnError):
            self.send_failed = True
        return self

    def fin(self) -> Client:
        """Half-closes: the server reads EOF."""
        with contextlib.suppress(OSError):  # the server may have reset it already
            # Not SSLSocket's own, which would forget the keys: the server may still have something.
            socket.socket.shutdown(self.sock, socket.SHUT_WR)
        return self

    def reset(self) -> None:
        """Ends the connection with RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def close(self) -> None:
        self.sock.close()

    def fill(self) -> bool:
        """Receives more into the buffer; False at the end of the stream."""
        if self.ended:
            return False
        try:
            data = self.sock.recv(1 << 18)
        except (ConnectionResetError, BrokenPipeError):
            self.ended = "reset"
            return False
        except TimeoutError:
            raise TimeoutError(f"nothing more after {bytes(self.buffer[:200])!r}") from None
        if not data:
            self.ended = "eof"
            return False
        self.buffer += data
        return True

    def take(self, size: int) -> bytes:
        while len(self.buffer) < size:
            if not self.fill():
                raise Ended(f"{self.ended} after {bytes(self.buffer[:200])!r}, {size} bytes wanted")
        data = bytes(self.buffer[:size])
        del self.buffer[:size]
        return data

    def until(self, mark: bytes) -> bytes:
        start = 0
        while (at := self.buffer.find(mark, start)) < 0:
            start = max(0, len(self.buffer) - len(mark))
            if not self.fill():
                raise Ended(f"{self.ended} after {bytes(self.buffer[:200])!r}, {mark!r} wanted")
        return self.take(at + len(mark))

    def rest(self) -> bytes:
        """All that comes until the server ends the stream."""
        while self.fill():
            pass
        data = bytes(self.buffer)
        self.buffer.clear()
        return data

    # -- HTTP

    def response(self, *, bodiless: bool = False) -> Response:
        """Reads one reply, strictly; bodiless: to a HEAD."""
        raw = self.until(b"\r\n\r\n")
        lines = raw[:-4].split(b"\r\n")
        match = _STATUS_LINE.fullmatch(lines[0])
        assert match, f"bad status line {lines[0]!r}"
        fields = []
        for line in lines[1:]:
            assert b"\n" not in line and b"\r" not in line, raw
            name, colon, value = line.partition(b":")
            assert colon and re.fullmatch(rb"[A-Za-z0-9-]+", name), f"bad field {line!r}"
            fields.append((name, value.strip(b" ")))
        reply = Response(int(match[1]), match[2], raw, fields)
        length = reply.one("Content-Length")
        if not bodiless and length is not None and reply.status not in (101, 204, 304):
            reply.body = self.take(int(length))
        return reply

    def ask(self, request: bytes) -> Response:
        bodiless = request.startswith(b"HEAD ")
        return self.send(request).response(bodiless=bodiless)

    def refused(self, *statuses: int, bodiless: bool = False) -> Response:
        """The fixed form of a refusal: a short closed reply that repeats nothing, then EOF."""
        reply = self.response(bodiless=bodiless)
        assert reply.status in statuses, (reply, statuses)
        assert (reply.one("Connection") or b"").lower() == b"close", reply
        length = reply.one("Content-Length")
        assert length is not None and int(length) <= 200, reply
        assert _DATE.fullmatch(reply.one("Date") or b""), reply  # RFC 9110, section 6.6.1
        assert len(reply.head) <= 300, reply
        assert self.rest() == b"", "bytes behind the refusal"
        return reply

    def served(self, uri: str | bytes | None = None) -> Response:
        """A reply of the test application, whose body is the URI; the connection stays open."""
        reply = self.response()
        assert reply.status == 200, reply
        assert uri is None or reply.body == as_bytes(uri), (reply, uri)
        return reply

    # -- WebSocket

    def open(
        self, path: str = "/echo", *fields: Field, version: int = 13, after: bytes = b""
    ) -> Client:
        """A right handshake, the answer checked; `after` goes out in the same write."""
        if version == 76:
            rng = random.Random(path)
            key1 = hixie_key(rng.randrange(1, 1 << 24), rng.randrange(1, 13))
            key2 = hixie_key(rng.randrange(1, 1 << 24), rng.randrange(1, 13))
            key3 = rng.randbytes(8)
            request = upgrade76(path, *fields, key1=key1, key2=key2, key3=key3)
            self.send(request + after)
            reply = self.response()
            assert reply.status == 101, reply
            assert self.take(16) == hixie_digest(key1, key2, key3)
            return self
        key = base64.b64encode(os.urandom(16))
        self.send(upgrade(path, *fields, version=str(version), key=key) + after)
        reply = self.response()
        assert reply.status == 101, reply
        assert reply.one("Sec-WebSocket-Accept") == accept_key(key)
        return self

    def frame(self) -> Frame:
        """Reads one frame of the server (RFC 6455), strictly: unmasked, the shortest length."""
        first, second = self.take(2)
        assert not second & 0x80, "masked frame from the server"
        size = second
        if second == 126:
            size = struct.unpack(">H", self.take(2))[0]
            assert size > 125
        elif second == 127:
            size = struct.unpack(">Q", self.take(8))[0]
            assert size > 65535
        return Frame(first & 0xF, self.take(size), bool(first & 0x80), first >> 4 & 7)

    def frame76(self) -> bytes:
        """Reads one text frame of hixie-76."""
        raw = self.until(b"\xff")
        assert raw[:1] == b"\x00", raw
        return raw[1:-1]

    def message(self, version: int = 13) -> bytes:
        if version == 76:
            return self.frame76()
        got = self.frame()
        assert got.opcode in (TEXT, BINARY) and got.fin and not got.rsv, got
        return got.payload

    def echo(self, payload: bytes, version: int = 13) -> None:
        self.send(text76(payload) if version == 76 else text(payload))
        got = self.message(version)
        assert got == payload, (got[:100], payload[:100])

    def closing(self, code: int, *, reason: bytes | None = None) -> Frame:
        """Expects the server's Close with a code, nothing but control frames before it."""
        while True:
            got = self.frame()
            if got.opcode == CLOSE:
                break
            assert got.opcode in (PING, PONG), f"data before the Close: {got}"
        assert got.code == code, (got, code)
        told = got.payload[2:]
        if reason is not None:
            assert told == reason, got
        elif code != 1000:
            assert len(told) <= 123
        return got

    def failed(self, *codes: int) -> Frame:
        """The fixed form of a failure: one Close of those codes, a short ASCII reason, EOF."""
        got = self.frame()
        while got.opcode == PONG:
            got = self.frame()
        assert got.opcode == CLOSE and got.code in codes, (got, codes)
        assert len(got.payload) <= 34 and all(0x20 <= c < 0x7F for c in got.payload[2:]), got
        self.fin()
        assert self.rest() == b"", "bytes behind the Close"
        return got

    def leave(self) -> None:
        """A right close by the client, to its end; data frames on the way are dropped."""
        self.send(frame(CLOSE, close_payload(1000)))
        while self.frame().opcode != CLOSE:
            pass
        assert self.rest() == b""
        self.close()


def wait_until(condition: object, timeout: float = 5.0, what: str = "") -> None:
    """Polls a condition (a callable) until it is true; fails after `timeout` seconds."""
    assert callable(condition)
    end = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < end, f"not within {timeout} s: {what or condition}"
        time.sleep(0.002)
