"""An application that reports what it can ask of each request and session."""

from __future__ import annotations

from typing import Any

from program import emit

import libwebsockets as lws


def asking(wsi: Any, reason: int, _user: Any, _in: Any, _length: int) -> int:
    """Reports what each function answers in every callback; `kept` once the handle is inert."""
    told = look(wsi)
    emit(lws.libwebsocket_callback_reasons(reason).name, **told)
    if reason == lws.LWS_CALLBACK_HTTP:
        lws.libwebsockets_return_http_status(wsi, 200)
        after = look(wsi)
        emit("AFTER", same=after == told)
        if "kept" in globals():
            emit("INERT", **look(globals()["kept"]))
    elif reason == lws.LWS_CALLBACK_CLOSED:
        globals()["kept"] = wsi
    return 0


def look(wsi: Any) -> dict[str, Any]:
    fields = lws.libwebsocket_get_headers(wsi)
    twice = lws.libwebsocket_get_header(wsi, "X-TWICE")
    return {
        "uri": lws.libwebsocket_get_uri(wsi),
        "fields": fields and [[name.decode("latin-1"), v.decode("latin-1")] for name, v in fields],
        "twice": twice and twice.decode("latin-1"),
        "missing": lws.libwebsocket_get_header(wsi, b"missing"),
        "method": lws.libwebsocket_get_method(wsi),
        "address": lws.libwebsocket_get_peer_address(wsi),
    }


def silent(_wsi: Any, _reason: int, _user: Any, _in: Any, _length: int) -> int:
    return 0
