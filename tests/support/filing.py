"""The application of the file tests: files as its environment and the query say.

/file?path=…          libwebsockets_serve_http_file of that path; further keys are its arguments
/ended                libwebsocket_close_reason, then libwebsockets_serve_http_file of path=…
/ended-root           libwebsocket_close_reason, then libwebsockets_serve_http_root
/status?code=…        libwebsockets_return_http_status
anything else         libwebsockets_serve_http_root of LWS_TEST_ROOT
A WebSocket, and what is recorded, is as in apps.hostile. RESULT tells what a call gave.
"""

from __future__ import annotations

import os
from typing import Any
from urllib.parse import parse_qs, urlsplit

import apps
from program import emit

import libwebsockets as lws

ROOT = os.environ.get("LWS_TEST_ROOT", "")


def files(wsi: Any, reason: int, user: Any, in_: Any, length: int) -> Any:
    if reason != lws.LWS_CALLBACK_HTTP:
        return apps.hostile(wsi, reason, user, in_, length)
    uri = lws.libwebsocket_get_uri(wsi) or ""
    emit("HTTP", uri=uri[:200])
    parts = urlsplit(uri)
    # %00 is refused before any callback
    query = {k: v[-1].replace("[NUL]", "\0") for k, v in parse_qs(parts.query).items()}
    try:
        result: Any = answer(wsi, parts.path, query)
    except (TypeError, ValueError) as error:
        result = f"{type(error).__name__}: {error}"
    if result:
        emit("RESULT", value=result)
    return 0


def answer(wsi: Any, path: str, query: dict[str, str]) -> Any:
    headers: Any = [("X-Name", query["header"])] if "header" in query else None
    if "name" in query:
        headers = [(query["name"], "value")]
    if "mapping" in query and headers is not None:
        headers = dict(headers)
    if query.get("header") == "[LIST]":
        headers = {"X-Name": ["a list"]}
    if path == "/file":
        if query.get("descriptor") == "0":
            os.close(0)
        try:
            return lws.libwebsockets_serve_http_file(
                wsi,
                query["path"],
                query.get("type"),
                cache_control=query.get("cache"),
                headers=headers,
                precompressed="plain" not in query,
            )
        finally:
            if query.get("descriptor") == "0":
                assert os.open(os.devnull, os.O_RDWR) == 0
    if path in ("/ended", "/ended-root"):
        lws.libwebsocket_close_reason(wsi)
        if path == "/ended":
            return lws.libwebsockets_serve_http_file(wsi, query["path"], None)
        return lws.libwebsockets_serve_http_root(wsi, ROOT)
    if path == "/status":
        return lws.libwebsockets_return_http_status(
            wsi, int(query["code"]), query.get("body"), headers=headers
        )
    if path == "/pieces":
        size = query.get("length")
        lws.libwebsockets_write_http_head(
            wsi, 200, headers, content_length=None if size is None else int(size)
        )
        for piece in query.get("write", "").split(","):
            data = piece.encode()
            emit("PIECE", value=lws.libwebsocket_write(wsi, data, len(data), lws.LWS_WRITE_HTTP))
        return None
    result = lws.libwebsockets_serve_http_root(wsi, ROOT, headers=headers)
    return result if "tell" in query else None
