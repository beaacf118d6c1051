"""TLS, in memory: the core moves records, the interpreter's ssl decrypts and encrypts them.

The core cuts what a peer sends into whole records (LWS_EVENT_SECURE). They go through a memory BIO
into an SSLObject, whose plaintext is put where the records lay, and decoded there as on a plain
connection. So a round's work for a connection is bounded by its share of bytes, the descriptor is
never touched here, and a copy of the process that a callback forks has nothing to disturb.
"""

from __future__ import annotations

import logging
import re
import ssl
import time
from collections.abc import Callable
from typing import Any

from .. import log
from .._core import ffi, lib
from ..arena import Arena
from .certificates import Credentials, reason_of

__all__ = ["SecureConnections"]

NO_SLOT: int = lib.LWS_NO_SLOT
# Records that bring no data, in a second: key updates, renegotiations, alerts, empty ones.
IDLE_RECORDS = 100
UNKNOWN = 1 << 16
SPEAKS_TLS = b"this port speaks TLS: use https or wss\n"
FIRST = 8  # bytes of a connection that are looked at
PLAIN = re.compile(rb"[A-Z]+(?: |\Z)")  # how HTTP begins; a record begins with 20 to 24


def plain_refusal(first: bytes) -> bytes:
    """What a client gets that speaks HTTP without TLS; first: how its request begins."""
    date = ffi.new("char[]", lib.LWS_HTTP_DATE_LENGTH)
    lib.lws_http_date(int(time.time()), date)
    body = b"" if first.startswith(b"HEAD") else SPEAKS_TLS
    return (
        b"HTTP/1.1 400 Bad Request\r\nDate: %b\r\nContent-Type: text/plain\r\n"
        b"Content-Length: %d\r\nConnection: close\r\n\r\n%b"
    ) % (bytes(ffi.buffer(date)), len(SPEAKS_TLS), body)


class Connection:
    """The TLS of one connection."""

    __slots__ = (
        "decrypt",
        "encrypt",
        "first",
        "handshake",
        "idle_records",
        "incoming",
        "outgoing",
        "second",
        "shaken",
        "unwrap",
    )

    def __init__(self, context: ssl.SSLContext, first: bytes) -> None:
        self.first = first  # bytes that came: to tell HTTP from TLS that failed
        self.incoming = ssl.MemoryBIO()
        self.outgoing = ssl.MemoryBIO()
        tls = context.wrap_bio(self.incoming, self.outgoing, server_side=True)
        self.handshake = tls.do_handshake
        self.decrypt: Callable[[int, memoryview], int] = tls.read  # type: ignore[assignment]
        self.encrypt: Callable[[Any], int] = tls.write
        self.unwrap = tls.unwrap
        self.shaken = False
        self.second = 0.0  # the start of the one in which idle_records are counted
        self.idle_records = 0


class SecureConnections:
    """The TLS of a context's connections, by slot."""

    __slots__ = ("_arena", "_bytes", "_c", "_credentials", "_length", "_peer", "connections")

    def __init__(
        self, c: Any, arena: Arena, credentials: Credentials, peer: Callable[[int], str]
    ) -> None:
        self._c = c
        self._arena = arena
        self._credentials = credentials
        self._peer = peer
        self.connections: dict[int, Connection] = {}
        self._bytes = ffi.new("const uint8_t **")
        self._length = ffi.new("uint32_t *")

    def forget(self, slot: int) -> None:
        """The connection of a slot is no more."""
        self.connections.pop(slot, None)

    def receive(self, slot: int, offset: int, length: int, records: int) -> None:
        """Decrypts the records of an event, and has the core decode them."""
        connection = self.connections.get(slot)
        if connection is None:
            first = bytes(self._arena.view[offset : offset + min(length, FIRST)])
            connection = self.connections[slot] = Connection(self._credentials.context, first)
        view = self._arena.view
        connection.incoming.write(view[offset : offset + length])
        if not connection.shaken:
            if not self._shake(slot, connection, offset):
                return
            records = UNKNOWN  # how many the handshake took is not known
        decrypt = connection.decrypt
        total = read = 0
        ended = False
        failure: ssl.SSLError | None = None
        try:
            # One read gives one record's data; what else a record brings gives none.
            while read < records:
                size = decrypt(length - total, view[offset + total : offset + length])
                if size == 0:
                    ended = True  # close_notify: what comes after it is dropped
                    break
                total += size
                read += 1
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as error:
            failure = error
        if total or ended:
            lib.lws_feed(self._c, slot, offset, total, ended)
        if connection.outgoing.pending:
            self._push(slot, connection)
        if failure is not None:
            self._fail(slot, "tls-error", reason_of(failure))
        elif read < records and records != UNKNOWN and not ended:
            self._count_idle(slot, connection, records - read)

    def flush(self) -> None:
        """Encrypts what was written, and sends it. Before each wait of the core."""
        bytes_, length = self._bytes, self._length
        while (slot := lib.lws_secure_next(self._c, bytes_, length)) != NO_SLOT:
            connection = self.connections.get(slot)
            size = length[0]
            if connection is None or not connection.shaken:
                self._push(slot, connection)
                continue
            try:
                if size:
                    done = 0
                    while done < size:
                        done += connection.encrypt(ffi.buffer(bytes_[0] + done, size - done))
                else:
                    connection.unwrap()
            except ssl.SSLWantReadError:
                pass  # the peer's close_notify is not waited for
            except ssl.SSLError as error:
                if size:
                    self._push(slot, connection)
                    self._fail(slot, "tls-error", reason_of(error))
                    continue
            self._push(slot, connection)

    def _shake(self, slot: int, connection: Connection, offset: int) -> bool:
        """Goes on with the handshake. Returns whether it is complete."""
        try:
            connection.handshake()
        except ssl.SSLWantReadError:
            self._push(slot, connection)
            return False
        except (ssl.SSLError, OSError, ValueError) as error:
            reason = reason_of(error)
            # Many alerts are an attack, whenever they come (CVE-2016-8610).
            word = "tls-error" if "alerts" in reason else "tls-handshake-failed"
            if PLAIN.match(connection.first):
                connection.outgoing.write(plain_refusal(connection.first))
            self._push(slot, connection)
            self._fail(slot, word, reason)
            return False
        connection.shaken = True
        self._push(slot, connection)
        lib.lws_feed(self._c, slot, offset, 0, False)
        return True

    def _push(self, slot: int, connection: Connection | None) -> None:
        """Sends what TLS has to send."""
        records = connection.outgoing.read() if connection is not None else b""
        lib.lws_secure_send(self._c, slot, records, len(records))

    def _fail(self, slot: int, word: str, cause: str) -> None:
        log.event(logging.INFO, word, self._peer(slot), cause=cause)
        lib.lws_secure_fail(self._c, slot)

    def _count_idle(self, slot: int, connection: Connection, count: int) -> None:
        """A peer may not have us work for nothing: over IDLE_RECORDS in a second it is closed."""
        now = time.monotonic()
        if now - connection.second >= 1.0:
            connection.second = now
            connection.idle_records = 0
        connection.idle_records += count
        if connection.idle_records > IDLE_RECORDS:
            self._fail(slot, "tls-renegotiation", f"over {IDLE_RECORDS} a second bring no data")
