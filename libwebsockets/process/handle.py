"""libwebsocket_create_server: a server in a process of its own, and the handle on it."""

from __future__ import annotations

import contextlib
import logging
import os
import select
import signal
import sys
import time
import warnings
from types import TracebackType
from typing import TYPE_CHECKING

from .. import log
from ..arguments import Arguments, check_arguments
from ..core import Callback
from ..listening import listener
from ..listening.listener import Listener, SocketFile
from ..options import Options
from . import child as process

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

__all__ = ["libwebsocket_create_server", "libwebsocket_server"]

TERM_GRACE = 1.0  # seconds from SIGTERM, the second request to stop, to SIGKILL
POLL_LONGEST = 0.05
REASON_MAX = 4096  # bytes of a child's reason for not serving

_running: dict[int, libwebsocket_server] = {}  # by pid: what is to be reaped


class libwebsocket_server(int):
    """A running server process, as the parent sees it.

    As an int it is a descriptor of the parent, the write end of a pipe, or -1 if no server was
    started. The server lives as long as that end is open: it stops gracefully when the parent
    closes it or dies, however it dies. Dropping the object does not close it.

    ``pid`` is the server's process (-1: none), ``port`` the port that it listens on. Leaving a
    ``with`` block stops the server.
    """

    pid: int
    port: int
    _files: list[SocketFile]
    _grace: float
    _open: bool
    _status: int | None

    def __new__(cls, descriptor: int, pid: int = -1, port: int = 0, grace: float = 0.0) -> Self:
        self = super().__new__(cls, descriptor)
        self.pid = pid
        self.port = port
        self._files = []  # of Unix sockets, to be removed at the end
        self._grace = grace
        self._open = descriptor >= 0
        self._status = None
        return self

    def __repr__(self) -> str:
        if self.pid < 0:
            return "<libwebsocket_server -1>"
        return f"<libwebsocket_server port {self.port} pid {self.pid}>"

    def __enter__(self) -> Self:
        self._check_started()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def stop(self, timeout: float | None = None) -> int:
        """Stops the server and waits for its end.

        It stops accepting, finishes replies, closes every WebSocket with 1001 and leaves; after
        timeout seconds (None: ``shutdown_grace`` and one more) it is sent SIGTERM, a second later
        SIGKILL.

        Returns the exit status as wait() does. A server that has ended already is no error. Raises
        ValueError if no server was started.
        """
        self._check_started()
        self._close()
        status = self.wait(self._grace + 1.0 if timeout is None else timeout)
        for number in (signal.SIGTERM, signal.SIGKILL):
            if status is not None:
                break
            # Not reaped yet, so the pid is still the server's.
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)
            status = self.wait(TERM_GRACE if number == signal.SIGTERM else None)
        assert status is not None
        return status

    def wait(self, timeout: float | None = None) -> int | None:
        """Waits for the end of the server and takes its exit status; it is no zombie afterwards.

        timeout is in seconds; None: for ever. Returns the exit status (0 after a graceful stop,
        130 if the callback raised KeyboardInterrupt), minus the number of the signal that killed
        it (logged as ``server-died``), or None if it still runs. Raises ValueError if no server
        was started.
        """
        self._check_started()
        if self._status is None and _wait_pid(self.pid, timeout):
            self._reap()
        return self._status

    def _reap(self) -> None:
        """Takes the status of the ended server."""
        _running.pop(self.pid, None)
        for made in self._files:
            made.remove()
        try:
            _, status = os.waitpid(self.pid, 0)
        except ChildProcessError:
            log.event(
                logging.WARNING,
                "server-status-unknown",
                pid=self.pid,
                cause="SIGCHLD is ignored, or the status was taken by somebody else",
            )
            self._status = 0
            return
        self._status = os.waitstatus_to_exitcode(status)
        if self._status < 0:
            log.event(
                logging.ERROR, "server-died", pid=self.pid, port=self.port, signal=-self._status
            )

    def _close(self) -> None:
        """Closes the life pipe: the server stops."""
        if self._open:
            self._open = False
            # The caller may have closed it as a C program would.
            with contextlib.suppress(OSError):
                os.close(int(self))

    def _check_started(self) -> None:
        if self.pid < 0:
            raise ValueError("no server was started: libwebsocket_create_server returned -1")


def libwebsocket_create_server(
    port: int,
    callback: Callback | None,
    protocol: int,
    user_area_size: int,
    ssl_cert_filepath: str | os.PathLike[str] | None,
    ssl_private_key_filepath: str | os.PathLike[str] | None,
    gid: int,
    uid: int,
    **options: Unpack[Options],
) -> libwebsocket_server:
    """Starts a server for WebSockets and HTTP in a process of its own.

    Binds and listens, forks, gives up root in the child, and returns once the child serves. The
    child keeps descriptors 0 to 2, the listening sockets, its pipes and what its log handlers
    write to; all others are closed in it, so the callback opens for itself what it needs. It never
    returns from here and leaves by ``os._exit``: no ``atexit`` function of the caller runs in it.

    :param port: TCP port, 0 for any free one (``.port`` of the result tells which). It goes with
        the option ``host``, and is not looked at where that names a place without ports.
    :param callback: called as ``callback(wsi, reason, user, in_, length)`` in the server process,
        and returns 0 or None to go on, any other int to close the connection once what was written
        has left. An exception is logged and closes that one connection (1011, or HTTP 500).
        KeyboardInterrupt and SystemExit stop the server. ``user`` is the session's own memory, a
        writable memoryview of user_area_size bytes, zeroed at first, None if the size is 0.
        ``in_`` is on LWS_CALLBACK_RECEIVE the message, a writable memoryview of length bytes,
        released when the callback returns; on LWS_CALLBACK_CLOSED the reason, if the peer gave
        one; else None.
    :param protocol: the oldest protocol version that is accepted: 76 (hixie-76 and all newer
        ones), 7, 8 or 13 (that Sec-WebSocket-Version and newer).
    :param user_area_size: bytes of session memory, as by ``ctypes.sizeof``.
    :param ssl_cert_filepath: with ssl_private_key_filepath: TLS, and nothing else, on the port. A
        PEM file with the certificate, and behind it the chain up to the root. Both files are read
        here, before privileges are dropped. SIGHUP to ``.pid`` has the server read them again, for
        new connections, as the user that it is by then; a bad file leaves the old ones in force,
        with one ERROR line.
    :param ssl_private_key_filepath: PEM, without a passphrase. One of the two alone: no TLS, as in
        2010, and a WARNING.
    :param gid: group to change to, -1 to stay. As root the supplementary groups are dropped too.
    :param uid: user to change to, -1 to stay; as root only together with a gid.
    :param options: see ``Options``: sizes in bytes, times in seconds.
    :returns: the running server, an int of at least 0. -1, with one ERROR line in the log that
        names the cause: port in use or not allowed, no right to change user, unsupported protocol
        version, no callback, no process, a certificate or key that is no good (``tls-config``, with
        the file: absent, unreadable, not PEM, expired, not its key, or with a passphrase).
    :raises TypeError: for arguments of wrong types and unknown options.
    :raises ValueError: for numbers out of bounds, with the number.
    """
    arguments = check_arguments(
        port,
        callback,
        protocol,
        user_area_size,
        ssl_cert_filepath,
        ssl_private_key_filepath,
        gid,
        uid,
        options,
    )
    if arguments is None:
        return libwebsocket_server(-1)
    _reap_ended()
    settings = arguments.settings
    listeners = listener.open_listeners(settings.endpoints, settings.limits["backlog"])
    if listeners is None:
        return libwebsocket_server(-1)
    try:
        return _start(arguments, listeners)
    except OSError as error:
        log.event(logging.ERROR, "fork-failed", errno=error.errno, cause=error.strerror)
        for made in listener.files_of(listeners):
            made.remove()
        return libwebsocket_server(-1)
    finally:
        listener.close_all(listeners)


def _start(arguments: Arguments, listeners: list[Listener]) -> libwebsocket_server:
    """Forks the server. Raises OSError if there can be no pipe or no process."""
    life_read, life_write = _pipe()
    try:
        ready_read, ready_write = _pipe()
    except OSError:
        os.close(life_read)
        os.close(life_write)
        raise
    # What is still unwritten here would be written by the child a second time.
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
    # Until the child has handlers of its own, no signal may run the parent's in it.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        with warnings.catch_warnings():
            # The child takes no lock of another thread: it is what Python 3.12 warns of.
            warnings.simplefilter("ignore", DeprecationWarning)
            pid = os.fork()
    except OSError:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for descriptor in (life_read, life_write, ready_read, ready_write):
            os.close(descriptor)
        raise
    if pid == 0:
        process.run(arguments, listeners, life_read, ready_write)  # never returns
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    os.close(life_read)
    os.close(ready_write)
    server = libwebsocket_server(
        life_write, pid, listener.port_of(listeners), arguments.settings.shutdown_grace
    )
    server._files = listener.files_of(listeners)
    try:
        report = _read_all(ready_read)
    except BaseException:
        server.stop(0.0)
        raise
    finally:
        os.close(ready_read)
    if report == process.READY:
        _running[pid] = server
        return server
    word, _, cause = report.decode("utf-8", "replace").partition("\n")
    server._close()
    server.wait()
    if word:
        log.event(logging.ERROR, word, cause=cause)
    else:
        log.event(logging.ERROR, "server-died", pid=pid, cause="it ended before it served")
    return libwebsocket_server(-1)


def _pipe() -> tuple[int, int]:
    """A close-on-exec pipe whose descriptors are not those of stdio."""
    read, write = os.pipe()
    try:
        read = listener.above_stdio(read)
    except OSError:
        os.close(write)
        raise
    try:
        return read, listener.above_stdio(write)
    except OSError:
        os.close(read)
        raise


def _read_all(descriptor: int) -> bytes:
    report = b""
    while len(report) < REASON_MAX:
        part = os.read(descriptor, REASON_MAX)
        if not part:
            break
        report += part
    return report


def _reap_ended() -> None:
    """Takes the status of servers that ended unnoticed, so that they are no zombies for ever."""
    for server in list(_running.values()):
        server.wait(0.0)


def _wait_pid(pid: int, timeout: float | None) -> bool:
    """Waits until a child has ended, leaving its status to be taken; False if the time is over."""
    deadline = None if timeout is None else time.monotonic() + timeout
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    except (OSError, AttributeError):  # a kernel without it
        return _poll_pid(pid, deadline)
    try:
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        left = None if deadline is None else max(0.0, deadline - time.monotonic()) * 1000
        return bool(poll.poll(left))
    finally:
        os.close(descriptor)


def _poll_pid(pid: int, deadline: float | None) -> bool:
    pause = 0.001
    while True:
        try:
            if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
                return True
        except ChildProcessError:
            return True
        if deadline is not None and time.monotonic() >= deadline:
            return False
        time.sleep(pause)
        pause = min(pause * 2, POLL_LONGEST)
