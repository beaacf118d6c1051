"""The application that test_state_machine.py drives, in the server process."""

from __future__ import annotations

from typing import Any

from program import emit

from libwebsockets import (
    LWS_CALLBACK_CLOSED,
    LWS_CALLBACK_RECEIVE,
    libwebsocket_close_reason,
    libwebsocket_frame_is_binary,
    libwebsocket_get_close_code,
    libwebsocket_get_uri,
    libwebsocket_write,
)

RAISE, REFUSE, REASON = b"raise", b"refuse", b"reason"
EVENTS = {f"LWS_CALLBACK_{name}" for name in ("ESTABLISHED", "RECEIVE", "SEND", "CLOSED")}
ended: set[str] = set()


def app(wsi: Any, reason: Any, user: Any, in_: Any, length: int) -> int:
    """Echoes; three messages end the session. Reports CLOSED, and whatever comes after it."""
    uri = libwebsocket_get_uri(wsi)
    if reason.name in EVENTS and uri in ended:
        emit("AFTER", uri=uri)
    if reason == LWS_CALLBACK_RECEIVE:
        data = bytes(in_)
        if data == RAISE:
            raise ValueError("asked for")
        if data == REFUSE:
            return 1
        if data == REASON:
            libwebsocket_close_reason(wsi, 3456, b"asked for")
            return 0
        libwebsocket_write(wsi, in_, length, libwebsocket_frame_is_binary(wsi))
    elif reason == LWS_CALLBACK_CLOSED:
        ended.add(uri or "")
        code = libwebsocket_get_close_code(wsi)
        emit("CLOSED", uri=uri, code=code, reason=bytes(in_ or b"").hex())
    return 0
