"""Listening sockets: one for each address family of a port, Unix sockets, and adopted ones."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import socket
from dataclasses import dataclass
from pathlib import Path

from .. import log
from .endpoint import Endpoint

__all__ = [
    "Listener",
    "SocketFile",
    "above_stdio",
    "close_all",
    "files_of",
    "open_listeners",
    "port_of",
]

PORT_ATTEMPTS = 32  # a free port of one family may be in use in the other
NO_FAMILY = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL, errno.EPROTONOSUPPORT)
ANY = {socket.AF_INET: "0.0.0.0", socket.AF_INET6: "::"}
INTERNET = tuple(ANY)
FIRST_PASSED = 3  # sd_listen_fds(3)


@dataclass(frozen=True, slots=True)
class SocketFile:
    """The file that was made for a Unix socket."""

    path: Path
    device: int
    inode: int

    def remove(self) -> None:
        """Removes it, if it is still the one that was made."""
        # It may be gone, or in a folder that this user may not write to any more: nobody is hurt.
        with contextlib.suppress(OSError):
            status = self.path.lstat()
            if (status.st_dev, status.st_ino) == (self.device, self.inode):
                self.path.unlink()


class Listener(socket.socket):
    """A listening socket, non-blocking and close-on-exec."""

    __slots__ = ("made", "secure")

    secure: bool | None  # TLS; None: as the server has a certificate or not
    made: SocketFile | None  # of a Unix socket


def open_listeners(endpoints: tuple[Endpoint, ...], backlog: int) -> list[Listener] | None:
    """Binds and listens in all places.

    Of a port on all addresses, IPv4 and IPv6, the latter as far as the machine has it; port 0 is
    any free one, the same for both. The caller owns the sockets. Returns None, with one ERROR line
    with the errno, if any place cannot be had.
    """
    listeners: list[Listener] = []
    for endpoint in endpoints:
        try:
            opened = _open(endpoint, backlog)
        except OSError as error:
            _failed(endpoint, error)
        except UnicodeError:
            _failed(endpoint, OSError(errno.EINVAL, "the host is no name or address"))
        else:
            for listening in opened:
                listening.secure = endpoint.secure
            listeners += opened
            continue
        for made in files_of(listeners):
            made.remove()
        close_all(listeners)
        return None
    return listeners


def port_of(listeners: list[Listener]) -> int:
    """The port of the first that has one, else 0."""
    for listening in listeners:
        if listening.family in INTERNET:
            port: int = listening.getsockname()[1]
            return port
    return 0


def close_all(listeners: list[Listener]) -> None:
    """Closes sockets; the files of Unix sockets stay."""
    for listening in listeners:
        listening.close()


def files_of(listeners: list[Listener]) -> list[SocketFile]:
    """The files that were made for Unix sockets: to be removed when nobody listens any more."""
    return [listening.made for listening in listeners if listening.made is not None]


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


def _open(endpoint: Endpoint, backlog: int) -> list[Listener]:
    if endpoint.path is not None:
        return [_open_unix(endpoint.path, endpoint.mode, backlog)]
    if endpoint.descriptor is not None:
        return [_adopt(endpoint.descriptor)]
    if endpoint.inherited:
        return [_adopt(number) for number in _passed()]
    assert endpoint.port is not None
    addresses = _addresses(endpoint.host, endpoint.port)
    attempts = PORT_ATTEMPTS if endpoint.port == 0 and len(addresses) > 1 else 1
    while True:
        attempts -= 1
        try:
            return _listen(addresses, endpoint.port, backlog, optional=endpoint.host is None)
        except OSError as error:
            if attempts == 0 or error.errno != errno.EADDRINUSE:
                raise


# ---- ports ----


def _addresses(host: str | None, port: int) -> list[tuple[int, str]]:
    if host is None:
        return list(ANY.items())
    flags = socket.AI_PASSIVE
    # As bytes it takes no codec, whose module may be out of reach: no descriptor, other rights.
    name = host.encode() if host.isascii() else host
    found = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM, flags=flags)
    addresses = [
        (family, str(address[0]) + (f"%{address[3]}" if len(address) == 4 and address[3] else ""))
        for family, _, _, _, address in found
        if family in ANY
    ]
    return list(dict.fromkeys(addresses))


def _listen(
    addresses: list[tuple[int, str]], port: int, backlog: int, optional: bool
) -> list[Listener]:
    listeners: list[Listener] = []
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


def _socket(family: int) -> Listener:
    kind = socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
    listening = Listener(family, kind)
    if listening.fileno() <= 2:
        listening = Listener(fileno=above_stdio(listening.detach()))
    listening.made = None
    return listening


def _listener(family: int, address: str, port: int, backlog: int) -> Listener:
    listening = _socket(family)
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


# ---- Unix sockets ----


def _open_unix(path: bytes, mode: int | None, backlog: int) -> Listener:
    listening = _socket(socket.AF_UNIX)
    file = None if path.startswith(b"\0") else Path(os.fsdecode(path))
    try:
        try:
            listening.bind(path)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or file is None or not _is_stale(file):
                raise
            file.unlink()
            listening.bind(path)
        if file is not None:
            status = file.lstat()
            listening.made = SocketFile(file, status.st_dev, status.st_ino)
            if mode is not None:
                file.chmod(mode)  # before listen(): nobody has connected by an earlier mode
        listening.listen(backlog)
    except BaseException:
        if listening.made is not None:
            listening.made.remove()
        listening.close()
        raise
    return listening


def _is_stale(file: Path) -> bool:
    """Whether a socket lies there that nobody listens on: its server has died."""
    if not file.is_socket() or file.is_symlink():
        return False
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as client:
        return client.connect_ex(str(file)) == errno.ECONNREFUSED


# ---- sockets that listen already ----


def _adopt(descriptor: int) -> Listener:
    """A socket of the caller's, who keeps the descriptor; it becomes non-blocking for both."""
    listening = Listener(fileno=fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 3))
    listening.made = None
    if (
        listening.family not in (*INTERNET, socket.AF_UNIX)
        or listening.type != socket.SOCK_STREAM
        or not listening.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    ):
        listening.close()
        raise OSError(errno.EINVAL, f"descriptor {descriptor} is no listening stream socket")
    listening.setblocking(False)
    return listening


def _passed() -> range:
    """The descriptors that a service manager has passed to this process (sd_listen_fds(3))."""
    process, count = os.environ.get("LISTEN_PID", ""), os.environ.get("LISTEN_FDS", "")
    if process != str(os.getpid()) or not count.isdigit() or not 0 < int(count) < 1024:
        raise OSError(
            errno.ENOENT, "no sockets were passed to this process (LISTEN_PID, LISTEN_FDS)"
        )
    return range(FIRST_PASSED, FIRST_PASSED + int(count))


def _failed(endpoint: Endpoint, error: OSError) -> None:
    if isinstance(error, socket.gaierror):
        name = "EAI"
    else:
        name = errno.errorcode.get(error.errno or 0, str(error.errno))
    log.event(
        logging.ERROR,
        "bind-failed",
        host=endpoint.text if endpoint.port is None else endpoint.host or "*",
        port=endpoint.port,
        errno=name,
        cause=error.strerror or str(error),
    )
