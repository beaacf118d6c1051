"""The server process: what the child of libwebsocket_create_server does until it leaves."""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import select
import signal
import sys
import time
import traceback
from types import FrameType
from typing import NoReturn

from .. import log
from .._core import lib
from ..arguments import Arguments
from ..context import begin, end, make_context
from ..core import libwebsocket_context
from ..dispatch import reset_all, run_round
from ..listening.listener import Listener
from . import privileges

__all__ = ["READY", "run"]

READY = b"ready"
IGNORED = (signal.SIGPIPE, signal.SIGHUP, signal.SIGUSR1)
STOPPING = (signal.SIGTERM, signal.SIGINT)
WATCH_LIFE, WATCH_SIGNAL = 0, 1  # numbers of watched descriptors
SUPPRESSED_WAIT_MS = 1000
STUCK_GRACE = 0.25  # seconds for a callback to return after the second request to stop
STATUS_INTERRUPTED = 130
STATUS_FAILED = 1


class NotServingError(Exception):
    """Why the child cannot serve: an event word and a cause, for the parent to log."""

    def __init__(self, word: str, cause: str) -> None:
        super().__init__(word, cause)
        self.word = word
        self.cause = cause


def run(arguments: Arguments, listeners: list[Listener], life: int, ready: int) -> NoReturn:
    """The child's whole life; all signals are blocked at first. Leaves by os._exit.

    life is the read end of the life pipe; ready takes READY, or the reason for not serving.
    """
    status = STATUS_FAILED
    try:
        try:
            server = _prepare(arguments, listeners, life, ready)
        except NotServingError as reason:
            os.write(ready, f"{reason.word}\n{reason.cause}".encode("utf-8", "replace"))
        else:
            os.write(ready, READY)
            os.close(ready)
            status = server.serve()
    except BaseException:
        # A fault of this library: it must be seen, and must not go up into the parent's program.
        with contextlib.suppress(Exception):
            traceback.print_exc()
    finally:
        _leave(status)


def _leave(status: int) -> NoReturn:
    """Ends the process with what its callback has printed, but without the parent's atexit
    hooks.
    """
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            with contextlib.suppress(Exception):
                stream.flush()
    os._exit(status)


def _prepare(arguments: Arguments, listeners: list[Listener], life: int, ready: int) -> _Server:
    # Objects of the parent that own descriptors must not be collected here: they would close
    # numbers that are connections by then.
    gc.freeze()
    _open_stdio()
    _close_others({life, ready, *(listening.fileno() for listening in listeners)})
    _reset_signals()
    try:
        privileges.drop(arguments.gid, arguments.uid)
    except privileges.PrivilegesError as error:
        raise NotServingError("privileges-failed", str(error)) from error
    if (arguments.gid, arguments.uid) != (-1, -1):
        log.event(
            logging.INFO, "privileges-dropped", gid=os.getgid(), uid=os.getuid(), pid=os.getpid()
        )
    context = make_context(arguments, listeners)
    if context is None:
        raise NotServingError(
            "context-failed", "the server process has no context; see its own log"
        )
    try:
        server = _Server(context, arguments, life)
    except OSError as error:
        raise NotServingError("context-failed", error.strerror or str(error)) from error
    if not begin(context):
        raise NotServingError("context-failed", "the callback refused LWS_CALLBACK_PROTOCOL_INIT")
    return server


def _open_stdio() -> None:
    """Descriptors 0 to 2 that are closed become /dev/null: no connection may have their numbers."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            # It gets the lowest number that is free: this one, as those below it are open.
            os.open(os.devnull, os.O_RDWR)
            os.set_inheritable(descriptor, True)


def _close_others(keep: set[int]) -> None:
    """Closes every descriptor but 0 to 2, those to keep, and those that log handlers write to."""
    keep = keep | {0, 1, 2} | _log_descriptors()
    start = 3
    for descriptor in sorted(keep):
        if descriptor >= start:
            os.closerange(start, descriptor)
            start = descriptor + 1
    os.closerange(start, os.sysconf("SC_OPEN_MAX"))


def _log_descriptors() -> set[int]:
    """Descriptors of the handlers that log events go to."""
    found = set()
    logger: logging.Logger | None = log.logger
    while logger is not None:
        for handler in logger.handlers:
            # StreamHandler and FileHandler have a stream, SocketHandler a sock.
            for name in ("stream", "sock", "socket"):
                with contextlib.suppress(Exception):
                    found.add(int(getattr(handler, name).fileno()))
        logger = logger.parent if logger.propagate else None
    return found


def _reset_signals() -> None:
    """Default actions for all that the parent's program handles itself."""
    signal.set_wakeup_fd(-1)
    signal.setitimer(signal.ITIMER_REAL, 0)
    for number in signal.valid_signals():
        if number in IGNORED:
            signal.signal(number, signal.SIG_IGN)
        elif callable(signal.getsignal(number)):
            signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)


class _Server:
    """The service loop, and what ends it."""

    def __init__(self, context: libwebsocket_context, arguments: Arguments, life: int) -> None:
        self.context = context
        context.serving = True  # whoever destroys it asks to stop
        self.credentials = arguments.credentials
        self.reload = False
        self.grace = arguments.settings.shutdown_grace
        self.requests = 0  # to stop: the first gracefully, the next at once
        # Ctrl-C reaches the parent too, which then closes the life pipe: both are one request.
        self.interrupted = False
        self.parent_left = False
        self.status = 0
        self.cause = "a callback asked for it"
        self.parent = os.getppid()
        self.life = life
        self.wakeup, wakeup_write = os.pipe()
        os.set_blocking(self.wakeup, False)
        os.set_blocking(wakeup_write, False)
        context.watch(life, select.EPOLLIN, WATCH_LIFE, self._parent_left)
        context.watch(self.wakeup, select.EPOLLIN, WATCH_SIGNAL, self._signalled)
        # A signal between the handler and epoll_wait would be slept over without the pipe.
        signal.set_wakeup_fd(wakeup_write, warn_on_full_buffer=False)
        for number in STOPPING:
            signal.signal(number, self._stop_signal)
        if self.credentials is not None:
            signal.signal(signal.SIGHUP, self._reload_signal)
        signal.pthread_sigmask(signal.SIG_SETMASK, [])

    def serve(self) -> int:
        """Serves until something ends it. Returns the exit status."""
        context = self.context
        while not self.requests:
            run_round(context, SUPPRESSED_WAIT_MS if log.suppressed else -1)
            self._after_round()
        log.event(logging.INFO, "shutdown", pid=os.getpid(), cause=self.cause)
        lib.lws_stop(context.c)
        deadline = time.monotonic() + self.grace
        while self.requests == 1 and lib.lws_connections(context.c):
            left = deadline - time.monotonic()
            if left <= 0:
                break
            run_round(context, int(left * 1000) + 1)
            self._after_round()
        if lib.lws_connections(context.c):
            reset_all(context)
        end(context)
        if os.getppid() != self.parent:
            log.event(logging.WARNING, "parent-died", pid=os.getpid(), parent=self.parent)
        log.report_suppressed(final=True)
        return self.status

    def _after_round(self) -> None:
        """After each round: is this still the server, and has a callback asked for the end?"""
        context = self.context
        if self.reload and self.credentials is not None:
            self.reload = False
            self.credentials.reload()
        interrupt = context.interrupt
        if interrupt is None and not context.foreign and not context.destroy_asked:
            return
        if context.destroy_asked:
            context.destroy_asked = False
            self.cause = "libwebsocket_context_destroy"
            self.requests += 1
        if interrupt is not None:
            context.interrupt = None
            self.status = _exit_status(interrupt)
            self.requests += 1
        if context.foreign:
            _leave(self.status)  # a copy that a callback forked: it serves nothing

    def _parent_left(self, _events: int) -> None:
        """The life pipe has no writer any more: the parent has closed it, or has died."""
        self.context.watch(self.life, 0, WATCH_LIFE, self._parent_left)
        self.parent_left = True
        if not self.interrupted:
            self.cause = "the life pipe is closed"
            self.requests += 1

    def _signalled(self, _events: int) -> None:
        with contextlib.suppress(BlockingIOError):
            while os.read(self.wakeup, 512):
                pass

    def _reload_signal(self, _number: int, _frame: FrameType | None) -> None:
        self.reload = True

    def _stop_signal(self, number: int, _frame: FrameType | None) -> None:
        again = self.interrupted
        self.interrupted = again or number == signal.SIGINT
        if number == signal.SIGINT and self.parent_left and not again:
            return
        self.cause = signal.Signals(number).name
        self.requests += 1
        if self.requests > 1:
            # The loop ends at once, unless it is in a callback that never returns.
            signal.signal(signal.SIGALRM, self._stuck)
            signal.setitimer(signal.ITIMER_REAL, STUCK_GRACE)

    def _stuck(self, _number: int, _frame: FrameType | None) -> None:
        log.event(logging.WARNING, "shutdown", pid=os.getpid(), cause="a callback does not return")
        lib.lws_abort_all(self.context.c)
        _leave(self.status)


def _exit_status(interrupt: BaseException) -> int:
    """As the interpreter would: KeyboardInterrupt 130, SystemExit by its code."""
    if not isinstance(interrupt, SystemExit):
        return STATUS_INTERRUPTED
    code = interrupt.code
    if code is None:
        return 0
    if isinstance(code, int):
        return code & 0xFF
    with contextlib.suppress(Exception):
        print(code, file=sys.stderr)
    return 1
