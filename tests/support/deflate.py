"""permessage-deflate as a client does it, built from RFC 7692 over the interpreter's zlib."""

from __future__ import annotations

import zlib
from typing import Any

from .raw import BINARY, CONTINUATION, TEXT, Client, Frame, Response, accept_key, frame, upgrade

TAIL = b"\x00\x00\xff\xff"
KEY = b"dGhlIHNhbXBsZSBub25jZQ=="


def ask(client: Client, path: str, *offers: str | bytes) -> Response:
    """An opening handshake with these Sec-WebSocket-Extensions fields; must succeed."""
    client.send(upgrade(path, *[("Sec-WebSocket-Extensions", offer) for offer in offers], key=KEY))
    reply = client.response()
    assert reply.status == 101, reply
    assert reply.one("Sec-WebSocket-Accept") == accept_key(KEY)
    return reply


def deflate(data: bytes, *, bits: int = 15, level: int = 6) -> bytes:
    """One message without context, its tail taken off (section 7.2.1)."""
    stream = zlib.compressobj(level, zlib.DEFLATED, -bits)
    done = stream.compress(data) + stream.flush(zlib.Z_SYNC_FLUSH)
    assert done.endswith(TAIL)
    return done[: -len(TAIL)]


class Peer:
    """A client on whose connection compression was agreed."""

    def __init__(self, client: Client, path: str = "/echo", offer: str = "permessage-deflate"):
        self.client = client
        self.agreed = ask(client, path, offer).one("Sec-WebSocket-Extensions")
        assert self.agreed is not None
        parameters = {
            name.strip(): value
            for name, _, value in (part.partition(b"=") for part in self.agreed.split(b";"))
        }
        self.bits = int(parameters.get(b"client_max_window_bits") or 15)
        self.server_bits = int(parameters.get(b"server_max_window_bits") or 15)
        self.takeover = b"client_no_context_takeover" not in parameters
        self.server_takeover = b"server_no_context_takeover" not in parameters
        self._deflater: Any = None
        self._inflater: Any = None

    def compressed(self, data: bytes) -> bytes:
        """The payload of the next message."""
        if self._deflater is None or not self.takeover:
            self._deflater = zlib.compressobj(
                6, zlib.DEFLATED, -max(9, self.bits)
            )  # as zlib itself does for 8
        done = self._deflater.compress(data) + self._deflater.flush(zlib.Z_SYNC_FLUSH)
        assert done.endswith(TAIL)
        return bytes(done[: -len(TAIL)])

    def send(self, data: bytes, opcode: int = TEXT, cuts: int = 1) -> None:
        """A compressed message in that many fragments."""
        self.raw(self.compressed(data), opcode, cuts)

    def raw(self, payload: bytes, opcode: int = TEXT, cuts: int = 1) -> None:
        """Bytes as a message that says it is compressed."""
        size = -(-len(payload) // cuts) or 1
        parts = [payload[start : start + size] for start in range(0, len(payload), size)] or [b""]
        out = [
            frame(
                CONTINUATION if number else opcode,
                part,
                rsv=0 if number else 4,
                fin=number == len(parts) - 1,
            )
            for number, part in enumerate(parts)
        ]
        self.client.send(b"".join(out))

    def receive(self, opcode: int = TEXT) -> tuple[bytes, bool]:
        """The next message, and whether it came compressed."""
        got: Frame = self.client.frame()
        assert got.opcode == opcode and got.fin and got.rsv in (0, 4), got
        if not got.rsv:
            return got.payload, False
        if self._inflater is None or not self.server_takeover:
            self._inflater = zlib.decompressobj(-self.server_bits)
        return self._inflater.decompress(got.payload + TAIL), True

    def echo(self, data: bytes, cuts: int = 1) -> None:
        self.send(data, cuts=cuts)
        got, _ = self.receive()
        assert got == data, (len(got), len(data), got[:50], data[:50])


__all__ = ["BINARY", "TAIL", "TEXT", "Peer", "ask", "deflate"]
