"""The application of the soak: echoes, counts, and raises now and then.

/tick, /flood   SEND writes a count, or 64 KiB as long as the queue takes them
/state          HTTP: what is open, as JSON
/file           HTTP: a file
anything else   HTTP: its URI; WebSocket: an echo
"""

from __future__ import annotations

import json
import os
from typing import Any

import libwebsockets as lws
from libwebsockets.core import context_of

FILE = os.environ.get("LWS_TEST_FILE", "")
BLOCK = b"x" * 65536
RAISES = 997  # every so many callbacks of a reason

counts: dict[int, int] = dict.fromkeys(lws.libwebsocket_callback_reasons, 0)


def soaking(wsi: Any, reason: int, user: Any, in_: Any, length: int) -> int:
    uri = lws.libwebsocket_get_uri(wsi)
    if reason == lws.LWS_CALLBACK_HTTP and uri == "/state":
        return state(wsi)
    counts[reason] = counts.get(reason, 0) + 1
    if counts[reason] % RAISES == 0:
        raise ValueError("raised by the soak")
    if reason == lws.LWS_CALLBACK_RECEIVE:
        lws.libwebsocket_write(wsi, in_, length, lws.LWS_WRITE_TEXT)
    elif reason == lws.LWS_CALLBACK_SEND:
        if uri == "/tick":
            text = str(counts[reason])
            lws.libwebsocket_write(wsi, text, len(text), lws.LWS_WRITE_TEXT)
        elif uri == "/flood":
            lws.libwebsocket_write(wsi, BLOCK, len(BLOCK), lws.LWS_WRITE_TEXT)
    elif reason == lws.LWS_CALLBACK_ESTABLISHED:
        lws.libwebsocket_set_timer(wsi, 3_600_000)  # never due: it ends with its connection
    elif reason == lws.LWS_CALLBACK_HTTP:
        if uri == "/file":
            lws.libwebsockets_serve_http_file(wsi, FILE, "application/octet-stream")
        elif uri != "/nothing":
            answer(wsi, (uri or "").encode("utf-8", "surrogateescape"))
    return 0


def answer(wsi: Any, body: bytes) -> int:
    reply = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
    return lws.libwebsocket_write(wsi, reply, len(reply), lws.LWS_WRITE_HTTP)


def state(wsi: Any) -> int:
    """Sessions and timers that are open; how many callbacks there were of each reason."""
    told = {
        "sessions": counts[lws.LWS_CALLBACK_ESTABLISHED] - counts[lws.LWS_CALLBACK_CLOSED],
        "timers": len(context_of(wsi).timers),
        "established": counts[lws.LWS_CALLBACK_ESTABLISHED],
        "received": counts[lws.LWS_CALLBACK_RECEIVE],
        "requests": counts[lws.LWS_CALLBACK_HTTP],
    }
    return answer(wsi, json.dumps(told).encode())
