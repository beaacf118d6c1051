"""The answer to a request: what the callback writes, what is made of its return value, the 101."""

from __future__ import annotations

import logging

from .. import log
from .._core import ffi, lib
from ..constants import (
    LWS_CALLBACK_ESTABLISHED,
    LWS_CALLBACK_FILTER_PROTOCOL_CONNECTION,
    LWS_CALLBACK_HTTP,
    LWS_CLOSE_STATUS_NORMAL,
)
from ..core import (
    CAUSES,
    GO_ON,
    REFUSED,
    libwebsocket,
    libwebsocket_context,
)
from ..deflate.messages import agree
from ..deflate.negotiation import Agreement
from .forwarded import client_of, set_peer
from .open_reply import Reply
from .request import Refusal, Request, check_request, log_refusal

__all__ = ["answer_forwarded", "answer_request"]

HTTP: int = lib.LWS_VERSION_HTTP
RFC6455: int = lib.LWS_VERSION_RFC6455


def answer_request(context: libwebsocket_context, slot: int, version: int) -> None:
    """Answers a request: it must be refused, upgraded or replied to in its round.

    version is enum lws_version: what it asks for.
    """
    request = Request(context.c, slot)
    if request.gone:
        return  # the peer has reset the connection in this very round
    refusal, subprotocol = check_request(request, version, context.settings)
    if refusal is not None:
        _refuse(context, slot, request, refusal)
        return
    access = context.access
    entry = None if access is None else access.open(slot, request)
    wsi = context.handle_of(slot)
    reply = context.reply = Reply(wsi, request)
    try:
        if version == HTTP:
            _answer_http(context, wsi, reply)
        else:
            _answer_upgrade(context, wsi, reply, subprotocol)
    finally:
        context.reply = None
        if access is not None and entry is not None:
            access.close(slot, entry, reply.status, reply.body_bytes)


def answer_forwarded(context: libwebsocket_context, slot: int, version: int) -> None:
    """Answers a request by way of a trusted proxy, which may speak for others in the next one."""
    request = Request(context.c, slot)
    client = None if request.gone else client_of(request, context.settings.proxies)
    if isinstance(client, Refusal):
        _refuse(context, slot, request, client)
        return
    before = None if client is None else set_peer(context.c, slot, client)
    answer_request(context, slot, version)
    if before is not None and lib.lws_version(context.c, slot) == HTTP:
        lib.lws_set_peer(context.c, slot, before, False, ffi.new("struct lws_address *"))


def _refuse(context: libwebsocket_context, slot: int, request: Request, refusal: Refusal) -> None:
    log_refusal(context.peer(slot), refusal)
    access = context.access
    entry = None if access is None else access.open(slot, request)
    lib.lws_refuse(context.c, slot, refusal.status, False)
    if access is not None and entry is not None:
        access.request(entry, refusal.status)


def _answer_http(context: libwebsocket_context, wsi: libwebsocket, reply: Reply) -> None:
    """Calls the callback for a request that is no upgrade, and sees to it that it is answered."""
    slot = wsi.slot
    outcome = context.call(wsi, LWS_CALLBACK_HTTP)
    if reply.refused:
        if outcome != GO_ON:
            lib.lws_close(context.c, slot, LWS_CLOSE_STATUS_NORMAL, ffi.NULL, 0)
    elif reply.written:
        lib.lws_reply_end(context.c, slot, outcome == GO_ON and reply.reusable)
    elif outcome == GO_ON:
        # Without a reply nothing is there; one that did not fit is another matter.
        reply.status = 500 if reply.failed else 404
        lib.lws_refuse(context.c, slot, reply.status, True)
    elif outcome == REFUSED:
        lib.lws_close(context.c, slot, LWS_CLOSE_STATUS_NORMAL, ffi.NULL, 0)
    else:
        reply.status = 500
        lib.lws_refuse(context.c, slot, 500, False)


def _answer_upgrade(
    context: libwebsocket_context, wsi: libwebsocket, reply: Reply, subprotocol: bytes | None
) -> None:
    """Asks the callback about an upgrade, and makes it a session."""
    slot = wsi.slot
    outcome = context.call(wsi, LWS_CALLBACK_FILTER_PROTOCOL_CONNECTION)
    if context.handles[slot] is not wsi or reply.refused:
        return  # it was closed or answered in the callback
    if reply.written:
        lib.lws_reply_end(context.c, slot, False)
        return
    if outcome != GO_ON:
        reply.status = 403 if outcome == REFUSED else 500
        lib.lws_refuse(context.c, slot, reply.status, False)
        return
    name = ffi.NULL if subprotocol is None else subprotocol
    agreed = _agree(context, slot, reply.request) if context.settings.deflate else None
    extensions = ffi.NULL if agreed is None else agreed.reply
    error = lib.lws_upgrade(
        context.c,
        slot,
        name,
        len(subprotocol or b""),
        extensions,
        0 if agreed is None else len(agreed.reply),
        agreed is not None,
    )
    if error != 0:
        cause = CAUSES.get(error, f"error {error}")
        log.event(logging.WARNING, "upgrade-failed", context.peer(slot), cause=cause)
        reply.status = 500
        lib.lws_refuse(context.c, slot, 500, False)
        return
    reply.status = 101
    context.reply = None
    if agreed is not None:
        context.deflation.open(slot, agreed)
    context.conclude(wsi, context.call(wsi, LWS_CALLBACK_ESTABLISHED))


def _agree(context: libwebsocket_context, slot: int, request: Request) -> Agreement | None:
    """Compression, which only RFC 6455 has."""
    if request.version != RFC6455 or not request.count(lib.LWS_FIELD_WS_EXTENSIONS):
        return None
    return agree(context, slot, request.values(b"Sec-WebSocket-Extensions"))
