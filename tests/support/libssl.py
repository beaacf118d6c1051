"""A client that has what the interpreter's ssl does not offer: key updates and renegotiation.

It calls the system's libssl through ctypes.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import socket
from typing import Any

import pytest

TLS1_2, TLS1_3 = 0x0303, 0x0304
CTRL_SET_MIN, CTRL_SET_MAX = 123, 124


def _load() -> Any:
    found = ctypes.util.find_library("ssl")
    if found is None:
        pytest.skip("needs libssl: install the Debian package openssl")
    library = ctypes.CDLL(found)
    pointer, size = ctypes.c_void_p, ctypes.c_size_t
    for name, result, arguments in (
        ("TLS_client_method", pointer, []),
        ("SSL_CTX_new", pointer, [pointer]),
        ("SSL_CTX_free", None, [pointer]),
        ("SSL_CTX_ctrl", ctypes.c_long, [pointer, ctypes.c_int, ctypes.c_long, pointer]),
        ("SSL_new", pointer, [pointer]),
        ("SSL_free", None, [pointer]),
        ("SSL_set_tlsext_max_fragment_length", ctypes.c_int, [pointer, ctypes.c_uint8]),
        ("SSL_set_fd", ctypes.c_int, [pointer, ctypes.c_int]),
        ("SSL_connect", ctypes.c_int, [pointer]),
        ("SSL_do_handshake", ctypes.c_int, [pointer]),
        ("SSL_key_update", ctypes.c_int, [pointer, ctypes.c_int]),
        ("SSL_renegotiate", ctypes.c_int, [pointer]),
        ("SSL_read", ctypes.c_int, [pointer, ctypes.c_char_p, ctypes.c_int]),
        ("SSL_set_cipher_list", ctypes.c_int, [pointer, ctypes.c_char_p]),
        ("SSL_get_session", pointer, [pointer]),
        ("SSL_SESSION_get_master_key", size, [pointer, ctypes.c_char_p, size]),
        ("SSL_get_client_random", size, [pointer, ctypes.c_char_p, size]),
        ("SSL_get_server_random", size, [pointer, ctypes.c_char_p, size]),
        ("SSL_write", ctypes.c_int, [pointer, ctypes.c_char_p, ctypes.c_int]),
    ):
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


class LibsslClient:
    """One connection, of one version. Calls block; they return what libssl returns.

    ciphers: those of TLS 1.2 that are offered; fragment: 512 to 4096, the largest record that is
    wanted (RFC 6066, section 4).
    """

    def __init__(self, port: int, version: int, ciphers: bytes = b"", *, fragment: int = 0) -> None:
        self.libssl = _load()
        self.sock = socket.create_connection(("127.0.0.1", port), 5)
        self.sock.setblocking(True)
        self.context = self.libssl.SSL_CTX_new(self.libssl.TLS_client_method())
        for which in (CTRL_SET_MIN, CTRL_SET_MAX):
            assert self.libssl.SSL_CTX_ctrl(self.context, which, version, None) == 1
        self.ssl = self.libssl.SSL_new(self.context)
        if ciphers:
            assert self.libssl.SSL_set_cipher_list(self.ssl, ciphers) == 1
        if fragment:
            code = fragment.bit_length() - 9
            assert self.libssl.SSL_set_tlsext_max_fragment_length(self.ssl, code) == 1
        self.libssl.SSL_set_fd(self.ssl, self.sock.fileno())
        assert self.libssl.SSL_connect(self.ssl) == 1

    def __enter__(self) -> LibsslClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.libssl.SSL_free(self.ssl)
        self.libssl.SSL_CTX_free(self.context)
        self.sock.close()

    def write(self, data: bytes) -> int:
        return int(self.libssl.SSL_write(self.ssl, data, len(data)))

    def read(self, size: int = 65536) -> bytes:
        """What one call brings; nothing at the end or after an error."""
        room = ctypes.create_string_buffer(size)
        got = self.libssl.SSL_read(self.ssl, room, size)
        return room.raw[: max(got, 0)]

    def secrets(self) -> tuple[bytes, bytes, bytes]:
        """The master secret, the client's random number and the server's (TLS 1.2)."""
        found = []
        for source, name, size in (
            (self.libssl.SSL_get_session(self.ssl), "SSL_SESSION_get_master_key", 48),
            (self.ssl, "SSL_get_client_random", 32),
            (self.ssl, "SSL_get_server_random", 32),
        ):
            room = ctypes.create_string_buffer(size)
            assert getattr(self.libssl, name)(source, room, size) == size
            found.append(room.raw)
        return found[0], found[1], found[2]

    def key_update(self) -> bool:
        """Sends a KeyUpdate record (RFC 8446, section 4.6.3)."""
        assert self.libssl.SSL_key_update(self.ssl, 0) == 1
        return bool(self.libssl.SSL_do_handshake(self.ssl) == 1)

    def renegotiate(self) -> bool:
        """Asks for a new handshake (RFC 5246, section 7.4.1.1); False if that is refused."""
        assert self.libssl.SSL_renegotiate(self.ssl) == 1
        return bool(self.libssl.SSL_do_handshake(self.ssl) == 1)
