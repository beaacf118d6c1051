"""The access log: a line for each request and each session, on the logger ``libwebsockets.access``.

Off until that logger is given a level of its own: ``setLevel(logging.INFO)``, before the server is
created, as the level is looked at once.

    request peer=IP:PORT method=GET target=/x status=200 bytes=12 seconds=0.001
    session peer=IP:PORT method=GET target=/x status=101 bytes=12 seconds=3.210 code=1000

A request's bytes are those of the body, its seconds those until the reply was given to the core; a
session's bytes are all that its peer took, its seconds those it lasted. What a peer sent is escaped
and cut; ``-`` stands for what is not known, as in a request line that cannot be read.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .._core import lib
from ..log import escape
from .request import Request

__all__ = ["AccessLog", "Entry", "access_log"]

METHOD_MAX = 32  # bytes of a method that are shown
TARGET_MAX = 1024  # and of a target
UPGRADED = 101

logger = logging.getLogger("libwebsockets.access")
if logger.level == logging.NOTSET:
    # Else a program that shows INFO lines would have one for each request.
    logger.setLevel(logging.CRITICAL + 1)


@dataclass(frozen=True, slots=True)
class Entry:
    """A request, or the session it opened, while its line cannot be written yet."""

    peer: str
    method: str
    target: str
    began: float
    sent: int  # bytes on the connection until then


def access_log(core: Any, peer: Callable[[int], str]) -> AccessLog | None:
    """The log of a context; None if nobody wants it."""
    return AccessLog(core, peer) if logger.isEnabledFor(logging.INFO) else None


class AccessLog:
    """Writes the lines of one context. peer(slot) names the peer of a slot."""

    __slots__ = ("_core", "_peer", "_sessions")

    def __init__(self, core: Any, peer: Callable[[int], str]) -> None:
        self._core = core
        self._peer = peer
        self._sessions: dict[int, Entry] = {}

    def open(self, slot: int, request: Request) -> Entry:
        """A request has come; its bytes are copied."""
        method = "HEAD" if request.is_head else "GET"
        target = escape(request.target(), TARGET_MAX)
        sent = lib.lws_sent(self._core, slot)
        return Entry(self._peer(slot), method, target, time.monotonic(), sent)

    def close(self, slot: int, entry: Entry, status: int | None, size: int) -> None:
        """It is answered: writes its line, or begins that of its session. size: of the body."""
        if status == UPGRADED:
            self._sessions[slot] = entry
        else:
            self.request(entry, status, size)

    def request(self, entry: Entry, status: int | None, size: int = 0) -> None:
        """The line of a request."""
        logger.info(
            "request peer=%s method=%s target=%s status=%s bytes=%d seconds=%.3f",
            entry.peer,
            entry.method,
            entry.target,
            "-" if status is None else status,
            size,
            time.monotonic() - entry.began,
        )

    def fault(self, slot: int, status: int, first: bytes) -> None:
        """The line of a request that the core has refused.

        first: its method and target, one space between them, as far as they came.
        """
        method, _, target = first.partition(b" ")
        shown = escape(method, METHOD_MAX) or "-", escape(target, TARGET_MAX) or "-"
        self.request(Entry(self._peer(slot), *shown, time.monotonic(), 0), status)

    def end(self, slot: int, code: int) -> None:
        """The line of a session, when it has ended."""
        entry = self._sessions.pop(slot, None)
        if entry is None:
            return
        logger.info(
            "session peer=%s method=%s target=%s status=%d bytes=%d seconds=%.3f code=%d",
            entry.peer,
            entry.method,
            entry.target,
            UPGRADED,
            lib.lws_sent(self._core, slot) - entry.sent,
            time.monotonic() - entry.began,
            code,
        )
