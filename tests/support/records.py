"""Protected records of TLS 1.2 of any content: what no library sends, such as floods of alerts.

libssl makes the handshake; from its secrets the keys are derived (RFC 5246, sections 5, 6.3 and
8.1), and records are sealed and opened here (RFC 5288) with libcrypto's AES-GCM.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import hashlib
import hmac
import struct
from typing import Any

import pytest

from .libssl import TLS1_2, LibsslClient

ALERT, HANDSHAKE, DATA = 21, 22, 23
CIPHER = b"ECDHE-ECDSA-AES128-GCM-SHA256"
TAG, NONCE = 16, 8
SET_TAG, GET_TAG = 0x11, 0x10


def _prf(secret: bytes, seed: bytes, size: int) -> bytes:
    """P_SHA256 (RFC 5246, section 5)."""
    out, link = b"", seed
    while len(out) < size:
        link = hmac.digest(secret, link, hashlib.sha256)
        out += hmac.digest(secret, link + seed, hashlib.sha256)
    return out[:size]


def _libcrypto() -> Any:
    found = ctypes.util.find_library("crypto")
    if found is None:
        pytest.skip("needs libcrypto: install the Debian package openssl")
    library = ctypes.CDLL(found)
    library.EVP_CIPHER_CTX_new.restype = ctypes.c_void_p
    library.EVP_aes_128_gcm.restype = ctypes.c_void_p
    return library


class _Gcm:
    """AES-128-GCM with one key."""

    def __init__(self, key: bytes, salt: bytes) -> None:
        self.libcrypto, self.key, self.salt = _libcrypto(), key, salt

    def run(self, sealing: bool, nonce: bytes, extra: bytes, data: bytes, tag: bytes) -> bytes:
        """Seals data, tag behind it, or opens it and checks the tag."""
        library, pointer = self.libcrypto, ctypes.c_void_p
        context = pointer(library.EVP_CIPHER_CTX_new())
        out = ctypes.create_string_buffer(len(data) + TAG)
        done = ctypes.c_int()
        found = ctypes.create_string_buffer(tag, TAG)
        try:
            kind = pointer(library.EVP_aes_128_gcm())
            steps = [
                library.EVP_CipherInit_ex(
                    context, kind, None, self.key, self.salt + nonce, int(sealing)
                ),
                library.EVP_CipherUpdate(context, None, ctypes.byref(done), extra, len(extra)),
                library.EVP_CipherUpdate(context, out, ctypes.byref(done), data, len(data)),
            ]
            if not sealing:
                steps.append(library.EVP_CIPHER_CTX_ctrl(context, SET_TAG, TAG, found))
            steps.append(library.EVP_CipherFinal_ex(context, None, ctypes.byref(done)))
            if sealing:
                steps.append(library.EVP_CIPHER_CTX_ctrl(context, GET_TAG, TAG, found))
            assert steps == [1] * len(steps), steps
        finally:
            library.EVP_CIPHER_CTX_free(context)
        return out.raw[: len(data)] + (found.raw if sealing else b"")


class Records(LibsslClient):
    """A connection whose records are made here from the end of the handshake on.

    Neither `write` nor `read` of LibsslClient may be used: the counts of records are here.
    """

    def __init__(self, port: int) -> None:
        super().__init__(port, TLS1_2, CIPHER)
        self.sock.settimeout(10)
        master, client, server = self.secrets()
        block = _prf(master, b"key expansion" + server + client, 2 * 16 + 2 * 4)
        self._out = _Gcm(block[:16], block[32:36])
        self._in = _Gcm(block[16:32], block[36:40])
        self._sent = self._received = 1  # Finished was the first
        self._buffer = b""

    def sealed(self, kind: int, payload: bytes) -> bytes:
        """The next record."""
        number = struct.pack(">Q", self._sent)
        self._sent += 1
        extra = number + struct.pack(">BHH", kind, 0x0303, len(payload))
        body = number + self._out.run(True, number, extra, payload, b"")
        return struct.pack(">BHH", kind, 0x0303, len(body)) + body

    def send(self, data: bytes) -> None:
        """Sends sealed records; a server that has closed already shows when they are answered."""
        try:
            self.sock.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            return

    def receive(self) -> tuple[int, bytes] | None:
        """Content type and payload of the server's next record; None at the end."""
        while True:
            if len(self._buffer) >= 5:
                kind, _, size = struct.unpack(">BHH", self._buffer[:5])
                if len(self._buffer) >= 5 + size:
                    break
            try:
                got = self.sock.recv(65536)
            except ConnectionResetError:
                got = b""
            if not got:
                return None
            self._buffer += got
        body, self._buffer = self._buffer[5 : 5 + size], self._buffer[5 + size :]
        nonce, data, tag = body[:NONCE], body[NONCE:-TAG], body[-TAG:]
        extra = struct.pack(">QBHH", self._received, kind, 0x0303, len(data))
        self._received += 1
        return kind, self._in.run(False, nonce, extra, data, tag)

    def rest(self) -> list[tuple[int, bytes]]:
        """All records until the server ends the stream."""
        return list(iter(self.receive, None))
