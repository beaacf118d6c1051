"""What an opening handshake may ask for: hosts, origins, subprotocols, extension syntax.

Each check takes time linear in the bytes it is given. Peers' bytes are only read.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

__all__ = [
    "extensions_valid",
    "host_allowed",
    "host_set",
    "origin_allowed",
    "origin_set",
    "parse_subprotocols",
    "select_subprotocol",
    "subprotocol_list",
]

TOKEN_CHARACTER = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]"  # RFC 9110, section 5.6.2
TOKEN = re.compile(TOKEN_CHARACTER + rb"+")
NAME76 = re.compile(rb"[\x20-\x7e]+")  # hixie-76 (section 4.1): any printable text
AUTHORITY = re.compile(rb"(\[[0-9a-f:.]+\]|[^\[\]:/?#@]*)(?::([0-9]*))?")
ORIGIN = re.compile(rb"([a-z][a-z0-9+.\-]*)://(\[[0-9a-f:.]+\]|[^\[\]:/?#@]*)(?::([0-9]+))?")
WILDCARD = re.compile(rb"\*\.[^*.][^*]*")  # of a host: a first label that may be any
LABEL = re.compile(rb"[^*.]+(\..+)")  # a host, and what follows its first label
DEFAULT_PORTS = {b"http": 80, b"ws": 80, b"https": 443, b"wss": 443}

# RFC 6455, section 9.1: a quoted value must be a token once it is unquoted. A list element may be
# empty (RFC 9110, section 5.6.1.2).
EXTENSION = re.compile(
    rb"[ \t]*(?:T+"
    rb'(?:[ \t]*;[ \t]*T+(?:[ \t]*=[ \t]*(?:T+|"(?:\\?T)+"))?)*'
    rb"[ \t]*)?(?:,|\Z)".replace(b"T", TOKEN_CHARACTER)
)


# ---- Hosts ----


def host_set(hosts: Any) -> frozenset[tuple[bytes, int | None]] | None:
    """Checks the option ``hosts``. Raises TypeError, or ValueError for what is not a
    ``host[:port]``, its first label perhaps ``*``.
    """
    if hosts is None:
        return None
    parsed = []
    for host in _items("hosts", hosts):
        authority = split_authority(_ascii("hosts", host))
        if authority is None or not authority[0] or not _stars_allowed(authority[0]):
            raise ValueError(
                f"hosts: {host!r} is not a host name or address with or without a port; "
                "only the whole first label may be *"
            )
        parsed.append(authority)
    return frozenset(parsed)


def host_allowed(host: bytes, hosts: frozenset[tuple[bytes, int | None]]) -> bool:
    """Whether a Host value is one of hosts. An item without a port matches any port, and ``*`` as
    its first label exactly one label.
    """
    authority = split_authority(host)
    if authority is None or b"*" in authority[0]:
        return False
    name, port = authority
    names = [name, _starred(name)]
    return any((name, port) in hosts or (name, None) in hosts for name in names)


def split_authority(authority: bytes) -> tuple[bytes, int | None] | None:
    """``host[:port]`` in lower case and the port (None if absent); None if it is neither."""
    match = AUTHORITY.fullmatch(authority.strip(b" \t").lower())
    if match is None:
        return None
    digits = match[2]
    if digits and (len(digits) > 5 or int(digits) > 65535):
        return None
    return match[1], int(digits) if digits else None


# ---- Origins ----


def origin_set(origins: Any) -> frozenset[bytes | None] | None:
    """Checks the option ``origins``. Raises TypeError, or ValueError for what is not an origin,
    the first label of its host perhaps ``*``.
    """
    if origins is None:
        return None
    parsed: list[bytes | None] = []
    for origin in _items("origins", origins):
        normal = None if origin is None else normal_origin(_ascii("origins", origin))
        if origin is not None and normal is None:
            raise ValueError(f"origins: {origin!r} is not scheme://host, with or without :port")
        if normal is not None and not _stars_allowed(_host_of(normal)):
            raise ValueError(f"origins: {origin!r}: only the whole first label may be *")
        parsed.append(normal)
    return frozenset(parsed)


def origin_allowed(values: list[bytes], origins: frozenset[bytes | None]) -> bool:
    """Whether each of the Origin values of a request is in origins; with no value, whether None
    is. ``*`` as the first label of an item matches exactly one label.
    """
    if not values:
        return None in origins
    return all(_origin_listed(normal_origin(value), origins) for value in values)


def _origin_listed(normal: bytes | None, origins: frozenset[bytes | None]) -> bool:
    if normal is None or b"*" in normal:
        return False
    if normal in origins:
        return True
    scheme, separator, authority = normal.partition(b"://")
    return bool(separator) and scheme + separator + _starred(authority) in origins


def normal_origin(origin: bytes) -> bytes | None:
    """An origin (RFC 6454, section 6.2) in one spelling, ``null`` too; None if it is not one.

    The host may be empty where the scheme has no default port: ``file://``, as some browsers and
    web views send for pages from files.
    """
    origin = origin.strip(b" \t").lower()
    if origin == b"null":
        return origin
    match = ORIGIN.fullmatch(origin)
    if match is None:
        return None
    scheme, host, digits = match.groups()
    if not host and (scheme in DEFAULT_PORTS or digits is not None):
        return None
    if digits is None:
        return b"%b://%b" % (scheme, host)
    if len(digits) > 5 or int(digits) > 65535:
        return None
    port = int(digits)
    if DEFAULT_PORTS.get(scheme) == port:
        return b"%b://%b" % (scheme, host)
    return b"%b://%b:%d" % (scheme, host, port)


# ---- Wildcards ----


def _stars_allowed(host: bytes) -> bool:
    """Whether a host of an option has no ``*``, or one for its whole first label."""
    return b"*" not in host or WILDCARD.fullmatch(host) is not None


def _starred(host: bytes) -> bytes:
    """A host with ``*`` for its first label; itself if it has only one."""
    match = LABEL.fullmatch(host)
    return host if match is None else b"*" + match[1]


def _host_of(origin: bytes) -> bytes:
    """The host of a normal origin; empty for ``null``."""
    authority = split_authority(origin.partition(b"://")[2])
    return b"" if authority is None else authority[0]


# ---- Subprotocols ----


def subprotocol_list(subprotocols: Any) -> tuple[bytes | None, ...] | None:
    """Checks the option ``subprotocols``. Raises TypeError, or ValueError for what is not a
    token.
    """
    if subprotocols is None:
        return None
    names: list[bytes | None] = []
    for name in _items("subprotocols", subprotocols):
        raw = None if name is None else _ascii("subprotocols", name)
        if raw is not None and TOKEN.fullmatch(raw) is None:
            raise ValueError(f"subprotocols: {name!r} is not a token")
        names.append(raw)
    return tuple(names)


def parse_subprotocols(values: list[bytes], hixie76: bool) -> list[bytes] | None:
    """The names in the Sec-WebSocket-Protocol fields of a request, in order; None if malformed.

    Empty list elements are ignored (RFC 9110, section 5.6.1.2), and so are empty fields.
    """
    pattern = NAME76 if hixie76 else TOKEN
    elements = [name.strip(b" \t") for value in values for name in value.split(b",")]
    names = [name for name in elements if name]
    if any(pattern.fullmatch(name) is None for name in names):
        return None
    return names


def select_subprotocol(
    offered: list[bytes], known: tuple[bytes | None, ...] | None
) -> tuple[bool, bytes | None]:
    """Chooses a subprotocol: whether the handshake goes on, and the name to echo.

    known None: the client's first name, as in 2010. Else the first of known that was offered; a
    client that offers nothing needs None in known.
    """
    if known is None:
        return True, offered[0] if offered else None
    if not offered:
        return None in known, None
    names = set(offered)
    chosen = next((name for name in known if name is not None and name in names), None)
    return chosen is not None, chosen


# ---- Extensions ----


def extensions_valid(value: bytes) -> bool:
    """Whether a Sec-WebSocket-Extensions value is well formed (RFC 6455, section 9.1); it may be
    empty.
    """
    position = 0
    while True:
        match = EXTENSION.match(value, position)
        if match is None:
            return False
        position = match.end()
        if not match[0].endswith(b","):
            return True


# ---- Options ----


def _items(name: str, values: Any) -> list[Any]:
    if isinstance(values, str | bytes) or not isinstance(values, Iterable):
        raise TypeError(f"{name} must be a list of str, not {type(values).__name__}")
    return list(values)


def _ascii(name: str, value: Any) -> bytes:
    if not isinstance(value, str):
        raise TypeError(f"{name} must hold str, not {type(value).__name__}")
    try:
        return value.encode("ascii")
    except UnicodeEncodeError:
        raise ValueError(f"{name}: {value!r} is not ASCII") from None
