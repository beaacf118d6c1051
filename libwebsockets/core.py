"""The core's context, made from checked options."""

from __future__ import annotations

import os
from typing import Any

from ._core import ffi, lib
from .arena import Arena
from .listening.proxies import trust
from .options import Settings

__all__ = ["create_core"]


def create_core(settings: Settings, protocol: int, arena: Arena) -> Any:
    """A struct lws_context with these options, receiving into the arena.

    protocol is the oldest version that is accepted. Raises OSError.
    """
    limits = settings.limits
    options = ffi.new("struct lws_options *")
    options.head.request_line = limits["max_request_line"]
    options.head.header_line = limits["max_header_line"]
    options.head.headers = limits["max_headers"]
    options.head.head = limits["max_head"]
    options.oldest = protocol
    options.keep_headers = settings.keep_headers
    options.proxy_protocol = settings.proxy_protocol
    for name in (
        "max_message",
        "max_send_buffer",
        "max_connections",
        "max_connections_per_ip",
        "keepalive_requests",
        "handshake_timeout",
        "keepalive_timeout",
        "send_timeout",
        "close_timeout",
        "linger_timeout",
        "send_interval",
        "ping_interval",
        "pong_timeout",
        "rx_fragments",
        "deflate_threshold",
    ):
        setattr(options, name, limits[name])
    context = lib.lws_context_create(options, arena.pointer)
    if context == ffi.NULL:
        raise OSError(ffi.errno, os.strerror(ffi.errno))
    try:
        trust(context, settings.proxies)
    except OSError:
        lib.lws_context_destroy(context)
        raise
    return context
