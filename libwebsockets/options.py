"""The keyword options of a server: their names, units, defaults and bounds."""

from __future__ import annotations

import math
import resource
import ssl
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypedDict

from .deflate.engine import load_engine
from .http import allowed
from .listening.endpoint import Endpoint, endpoint_of_host, endpoints_of_listen
from .listening.proxies import Network, proxy_networks

__all__ = ["DEFAULTS", "LIMITS", "Limit", "Options", "Settings", "settings_from_options"]

UINT32_HALF = 2**31 - 1
HEAD_MAX = 65536  # a head is parsed in one piece
NOFILE_RESERVE = 32  # descriptors kept for listeners, pipes, files and the callback's own
NOFILE_UNLIMITED = 2**20


class Options(TypedDict, total=False):
    """Keyword options of libwebsocket_create_server and libwebsocket_create_context.

    Sizes are bytes, times are seconds. Defaults and meaning are in LIMITS and in the comments.
    """

    host: str | None  # address or name to listen on; None: all addresses, IPv4 and IPv6
    listen: Iterable[str] | None  # further places to listen: see listening/endpoint.py
    trusted_proxies: Iterable[str] | None  # addresses and networks whose word on clients counts
    proxy_protocol: bool  # connections of trusted_proxies begin with a PROXY header
    backlog: int
    # None: any origin or Host. In both "*" for a whole first label matches exactly one label.
    origins: Iterable[str | None] | None  # None as an item: no Origin field
    hosts: Iterable[str] | None  # an item without a port is that host at any port
    subprotocols: Iterable[str | None] | None  # None: any; None as an item: no subprotocol offered
    ssl_context: ssl.SSLContext | None
    keep_headers: bool  # a session keeps the header fields of its request
    max_request_line: int
    max_header_line: int
    max_headers: int
    max_head: int
    max_body: int
    max_message: int
    max_send_buffer: int
    max_connections: int | None
    max_connections_per_ip: int  # of an IPv4 address, of a /64 of IPv6; 0: no limit
    keepalive_requests: int
    handshake_timeout: float
    keepalive_timeout: float
    send_timeout: float
    close_timeout: float
    linger_timeout: float
    send_interval: float
    shutdown_grace: float
    callback_warn: float
    ping_interval: float
    pong_timeout: float
    rx_fragments: bool
    deflate: bool
    deflate_engine: str  # "zlib", "isal" or "zlib-ng"
    deflate_context_takeover: bool
    deflate_threshold: int
    deflate_level: int
    deflate_mem_level: int
    deflate_window_bits: int


@dataclass(frozen=True, slots=True)
class Limit:
    """A number that an option sets: its default and the least and greatest that are taken."""

    default: int | float
    least: int | float
    most: int | float
    seconds: bool = False


def _seconds(default: float, least: float = 0.001) -> Limit:
    # The core counts milliseconds in 32 bits; half of them leaves room for arithmetic.
    return Limit(default, least, UINT32_HALF / 1000, seconds=True)


LIMITS = {
    "backlog": Limit(1024, 1, 65535),
    "max_request_line": Limit(8192, 16, HEAD_MAX),  # 414 over it
    "max_header_line": Limit(8192, 16, HEAD_MAX),  # 431
    "max_headers": Limit(100, 1, 65535),  # 431
    "max_head": Limit(16384, 64, HEAD_MAX),  # 431
    "max_body": Limit(0, 0, 0),  # 413; bodies are not taken yet
    "max_message": Limit(2**20, 1, UINT32_HALF),  # close 1009
    "max_send_buffer": Limit(2**20, 1, UINT32_HALF),  # libwebsocket_write returns -1
    "max_connections": Limit(0, 1, 2**24),  # 503; the default is by RLIMIT_NOFILE
    "max_connections_per_ip": Limit(0, 0, 2**24),  # 503
    "keepalive_requests": Limit(1000, 1, UINT32_HALF),
    "handshake_timeout": _seconds(10.0),  # from accept to a complete head
    "keepalive_timeout": _seconds(5.0),  # between two HTTP requests
    "send_timeout": _seconds(30.0),  # without a byte taken by the peer
    "close_timeout": _seconds(10.0),  # for the peer's Close, then for its FIN
    "linger_timeout": _seconds(1.0),  # a refusal is read out so that it is not lost
    "send_interval": _seconds(0.05, 0.0),  # period of LWS_CALLBACK_SEND; 0: never
    "shutdown_grace": _seconds(10.0, 0.0),
    "callback_warn": _seconds(1.0),
    "ping_interval": _seconds(20.0, 0.0),  # silence after which a peer is pinged; 0: never
    "pong_timeout": _seconds(20.0),  # close 1011
    "deflate_threshold": Limit(64, 0, UINT32_HALF),  # shorter messages are sent as they are
    "deflate_level": Limit(1, 0, 9),
    "deflate_mem_level": Limit(8, 1, 9),
    "deflate_window_bits": Limit(15, 9, 15),
}

# Of the options that are no limits: all others are None.
DEFAULTS: dict[str, Any] = {
    "keep_headers": True,
    "proxy_protocol": False,
    "rx_fragments": False,  # messages are handed over in fragments
    "deflate": False,  # permessage-deflate is agreed to where a client offers it
    "deflate_context_takeover": True,  # compressed messages refer to earlier ones
    "deflate_engine": "zlib",
}


@dataclass(frozen=True, slots=True)
class Settings:
    """Checked options. Limits are in the units of the core: bytes and milliseconds."""

    endpoints: tuple[Endpoint, ...]
    ssl_context: ssl.SSLContext | None
    origins: frozenset[bytes | None] | None
    hosts: frozenset[tuple[bytes, int | None]] | None
    subprotocols: tuple[bytes | None, ...] | None
    deflate: bool
    deflate_engine: Any  # a module like zlib
    deflate_context_takeover: bool
    limits: dict[str, int]
    keep_headers: bool
    proxies: tuple[Network, ...]
    proxy_protocol: bool

    @property
    def shutdown_grace(self) -> float:
        """Seconds that a stopping server waits for its connections."""
        return self.limits["shutdown_grace"] / 1000

    @property
    def callback_warn(self) -> float:
        """Seconds of callbacks in one round that are worth a line in the log."""
        return self.limits["callback_warn"] / 1000


def settings_from_options(options: Options, port: int = 0) -> Settings:
    """Checks options and fills in the defaults; port is the one of ``host``.

    Raises TypeError for an unknown name or a wrong type, ValueError for a value out of bounds, with
    the number that was wrong.
    """
    given: dict[str, Any] = dict(options)
    endpoints = (
        endpoint_of_host(given.pop("host", None), port),
        *endpoints_of_listen(given.pop("listen", None)),
    )
    proxies = proxy_networks(given.pop("trusted_proxies", None))
    proxy_protocol = _flag(given, "proxy_protocol")
    if proxy_protocol and not proxies:
        raise ValueError("proxy_protocol needs trusted_proxies, which has 0 of them")
    ssl_context = given.pop("ssl_context", None)
    if ssl_context is not None and not isinstance(ssl_context, ssl.SSLContext):
        raise TypeError(f"ssl_context must be an SSLContext, not {type(ssl_context).__name__}")
    origins = allowed.origin_set(given.pop("origins", None))
    hosts = allowed.host_set(given.pop("hosts", None))
    subprotocols = allowed.subprotocol_list(given.pop("subprotocols", None))
    keep_headers = _flag(given, "keep_headers")
    if given.get("max_connections", 0) is None:
        del given["max_connections"]
    limits = {}
    for name, limit in LIMITS.items():
        if name in given:
            limits[name] = _checked(name, given.pop(name), limit)
        elif name == "max_connections":
            limits[name] = _default_connections()
        else:
            limits[name] = _checked(name, limit.default, limit)
    limits["rx_fragments"] = _flag(given, "rx_fragments")
    deflate = _flag(given, "deflate")
    takeover = _flag(given, "deflate_context_takeover")
    name = given.pop("deflate_engine", DEFAULTS["deflate_engine"])
    engine = load_engine(name, limits["deflate_level"], limits["deflate_mem_level"])
    if given:
        raise TypeError(f"unknown option {min(given)!r}")
    return Settings(
        endpoints,
        ssl_context,
        origins,
        hosts,
        subprotocols,
        deflate,
        engine,
        takeover,
        limits,
        keep_headers,
        proxies,
        proxy_protocol,
    )


def _flag(given: dict[str, Any], name: str) -> bool:
    value = given.pop(name, DEFAULTS[name])
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be a bool, not {type(value).__name__}")
    return value


def _checked(name: str, value: Any, limit: Limit) -> int:
    kinds = (int, float) if limit.seconds else (int,)
    if isinstance(value, bool) or not isinstance(value, kinds):
        unit = "a number of seconds" if limit.seconds else "an int"
        raise TypeError(f"{name} must be {unit}, not {type(value).__name__}")
    if not math.isfinite(value) or not limit.least <= value <= limit.most:
        raise ValueError(f"{name} must be from {limit.least} to {limit.most}, not {value}")
    return round(value * 1000) if limit.seconds else int(value)


def _default_connections() -> int:
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if soft == resource.RLIM_INFINITY:
        soft = NOFILE_UNLIMITED
    return max(1, min(soft, NOFILE_UNLIMITED) - NOFILE_RESERVE)
