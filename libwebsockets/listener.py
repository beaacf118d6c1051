"""Listening sockets: one for each address family, all on one port."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import socket

from . import log

__all__ = ["above_stdio", "close_all", "open_listeners", "port_of"]

PORT_ATTEMPTS = 32  # a free port of one family may be in use in the other
NO_FAMILY = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL, errno.EPROTONOSUPPORT)
ANY = {socket.AF_INET: "0.0.0.0", socket.AF_INET6: "::"}


def open_listeners(port: int, host: str | None, backlog: int) -> list[socket.socket] | None:
    """Binds and listens, non-blocking and close-on-exec, on all addresses of host.

    host None: all addresses, IPv4 and IPv6, the latter as far as the machine has it. port 0: any
    free one, the same for all. The caller owns the sockets. Returns None, with one ERROR line with
    the errno, if any address cannot be had.
    """
    if not 0 <= port <= 65535:
        _failed(port, host, OSError(errno.EINVAL, "the port is not from 0 to 65535"))
        return None
    try:
        addresses = _addresses(port, host)
    except OSError as error:
        _failed(port, host, error)
        return None
    except UnicodeError:
        _failed(port, host, OSError(errno.EINVAL, "the host is no name or address"))
        return None
    attempts = PORT_ATTEMPTS if port == 0 and len(addresses) > 1 else 1
    while True:
        attempts -= 1
        try:
            return _listen(addresses, port, backlog, optional=host is None)
        except OSError as error:
            if attempts == 0 or error.errno != errno.EADDRINUSE:
                _failed(port, host, error)
                return None


def port_of(listeners: list[socket.socket]) -> int:
    """The port that the sockets listen on."""
    port: int = listeners[0].getsockname()[1]
    return port


def close_all(listeners: list[socket.socket]) -> None:
    """Closes sockets."""
    for listening in listeners:
        listening.close()


def above_stdio(descriptor: int) -> int:
    """A descriptor of at least 3, close-on-exec, for the same file; closes the given one if it
    moves.

    In a program that was started with descriptors 0 to 2 closed, a socket may be given their
    numbers: what is printed would go to a peer.
    """
    if descriptor > 2:
        return descriptor
    try:
        return fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 3)
    finally:
        os.close(descriptor)


def _addresses(port: int, host: str | None) -> list[tuple[int, str]]:
    if host is None:
        return list(ANY.items())
    flags = socket.AI_PASSIVE
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)
    addresses = [
        (family, str(address[0]) + (f"%{address[3]}" if len(address) == 4 and address[3] else ""))
        for family, _, _, _, address in found
        if family in ANY
    ]
    return list(dict.fromkeys(addresses))


def _listen(
    addresses: list[tuple[int, str]], port: int, backlog: int, optional: bool
) -> list[socket.socket]:
    listeners: list[socket.socket] = []
    try:
        for family, address in addresses:
            try:
                listeners.append(_listener(family, address, port, backlog))
            except OSError as error:
                if not (optional and family == socket.AF_INET6 and error.errno in NO_FAMILY):
                    raise
            else:
                port = port_of(listeners)
    except BaseException:
        close_all(listeners)
        raise
    return listeners


def _listener(family: int, address: str, port: int, backlog: int) -> socket.socket:
    kind = socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
    listening = socket.socket(family, kind)
    if listening.fileno() <= 2:
        listening = socket.socket(fileno=above_stdio(listening.detach()))
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listening.bind((address, port))
        listening.listen(backlog)
    except BaseException:
        listening.close()
        raise
    return listening


def _failed(port: int, host: str | None, error: OSError) -> None:
    if isinstance(error, socket.gaierror):
        name = "EAI"
    else:
        name = errno.errorcode.get(error.errno or 0, str(error.errno))
    log.event(
        logging.ERROR,
        "bind-failed",
        host=host if host is not None else "*",
        port=port,
        errno=name,
        cause=error.strerror or str(error),
    )
