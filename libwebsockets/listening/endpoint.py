"""Where a server listens, as the options ``host`` and ``listen`` say it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

__all__ = ["Endpoint", "endpoint_of_host", "endpoints_of_listen"]

PORT_MAX = 65535
UNIX_PATH_MAX = 107  # sizeof sun_path, less the NUL
DESCRIPTOR_MAX = 2**31 - 1
ADDRESS = re.compile(r"(?:\[(?P<six>[0-9A-Fa-f:.%\w]+)\]|(?P<host>[^\[\]:\s]*)):(?P<port>[0-9]+)")
MODE = re.compile(r"mode=(0?[0-7]{3})")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One of the places to listen: exactly one of port, path, descriptor, inherited is given."""

    text: str  # as it was given, for the log
    host: str | None = None  # None: all addresses, IPv4 and IPv6
    port: int | None = None
    path: bytes | None = None  # of a Unix socket; abstract if it begins with a NUL
    mode: int | None = None  # of that file
    descriptor: int | None = None  # a socket that listens already
    inherited: bool = False  # all sockets that the service manager has passed
    secure: bool | None = None  # TLS; None: as the server has a certificate or not


def endpoint_of_host(host: Any, port: int) -> Endpoint:
    """The option ``host``: an address or name for port, or a place that has no port.

    Raises TypeError, or ValueError with the number that is wrong.
    """
    if host is None:
        return Endpoint("*", None, port)
    if not isinstance(host, str):
        raise TypeError(f"host must be a str or None, not {type(host).__name__}")
    if "\0" in host:
        raise ValueError(f"host has a NUL at {host.index(chr(0))}")
    return _special("host", host) or Endpoint(host, host, port)


def endpoints_of_listen(listen: Any) -> tuple[Endpoint, ...]:
    """The option ``listen``: further places, each a str.

    ``ADDRESS:PORT`` (``[ADDRESS]:PORT`` for IPv6, ``:PORT`` for all addresses), ``unix:PATH``
    (``unix:@NAME`` for an abstract name), ``fd:NUMBER`` or ``systemd``; then, after spaces,
    ``mode=660`` for a Unix socket, ``tls`` or ``plain``. Raises TypeError, or ValueError with
    the number that is wrong.
    """
    if listen is None:
        return ()
    if isinstance(listen, str | bytes) or not isinstance(listen, Iterable):
        raise TypeError(f"listen must be a list of str, not {type(listen).__name__}")
    return tuple(_endpoint(item) for item in listen)


def _endpoint(item: Any) -> Endpoint:
    if not isinstance(item, str):
        raise TypeError(f"listen must hold str, not {type(item).__name__}")
    if "\0" in item:
        raise ValueError(f"listen: {item!r} has a NUL at {item.index(chr(0))}")
    special = _special("listen", item)
    if special is not None:
        return special
    address, _, secure = _words("listen", item)
    match = ADDRESS.fullmatch(address)
    if match is None:
        raise ValueError(
            f"listen: {item!r} is none of 4: ADDRESS:PORT, unix:PATH, fd:NUMBER, systemd"
        )
    port = int(match["port"]) if len(match["port"]) <= 5 else PORT_MAX + 1
    if port > PORT_MAX:
        raise ValueError(f"listen: port must be from 0 to {PORT_MAX}, not {match['port']}")
    host = match["six"] or (match["host"] if match["host"] not in ("", "*") else None)
    return Endpoint(item, host, port, secure=secure)


def _special(option: str, item: str) -> Endpoint | None:
    """A place that has no port; None if it is another one."""
    if not item.startswith(("unix:", "fd:")) and item.partition(" ")[0] != "systemd":
        return None
    address, mode, secure = _words(option, item)
    if address == "systemd":
        return Endpoint(item, inherited=True, secure=secure)
    kind, _, rest = address.partition(":")
    if kind == "fd":
        if not rest.isascii() or not rest.isdigit() or int(rest[:12]) > DESCRIPTOR_MAX:
            raise ValueError(f"{option}: fd must be from 0 to {DESCRIPTOR_MAX}, not {rest!r}")
        return Endpoint(item, descriptor=int(rest), secure=secure)
    path = rest.encode("utf-8", "surrogateescape")
    if path.startswith(b"@"):
        path = b"\0" + path[1:]
    if not 2 <= len(path) <= UNIX_PATH_MAX:
        raise ValueError(
            f"{option}: the path of a Unix socket has 2 to {UNIX_PATH_MAX} bytes, not {len(path)}"
        )
    return Endpoint(item, path=path, mode=mode, secure=secure)


def _words(option: str, item: str) -> tuple[str, int | None, bool | None]:
    """What stands behind the address: it, the mode, and whether TLS is wanted."""
    mode: int | None = None
    secure: bool | None = None
    address = item.strip(" ")
    while " " in address:
        before, _, word = address.rpartition(" ")
        match = MODE.fullmatch(word)
        if match is not None and address.startswith("unix:"):
            mode = int(match[1], 8)
        elif word in ("tls", "plain"):
            secure = word == "tls"
        elif address.startswith("unix:"):
            break  # a path may have spaces
        else:
            raise ValueError(f"{option}: {word!r} in {item!r} is none of 2: tls, plain")
        address = before.rstrip(" ")
    return address, mode, secure
