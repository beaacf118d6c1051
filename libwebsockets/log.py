"""One-line events on the logger ``libwebsockets``: an event word, the peer, keys with values.

A message is ``EVENT peer=IP:PORT key=value …``; FORMAT puts the level and the process before it.
What a peer sent appears only escaped and cut, so that no log line can be forged, and no event word
can fill a disk: ten lines a second each, then one line that counts what was left out.
"""

import logging
import os
import time
from dataclasses import dataclass

__all__ = [
    "FORMAT",
    "LINES_PER_SECOND",
    "VALUE_MAX",
    "escape",
    "event",
    "logger",
    "report_suppressed",
    "suppressed",
]

FORMAT = "%(levelname)s %(name)s[%(process)d]: %(message)s"
LINES_PER_SECOND = 10
VALUE_MAX = 64  # bytes of a peer's value that are shown

logger = logging.getLogger("libwebsockets")

Value = int | float | str | bytes | bytearray | memoryview


@dataclass(slots=True)
class _Second:
    """What one event word has had of its present second."""

    start: float
    lines: int = 0


_seconds: dict[str, _Second] = {}

# Lines left out that no line has told of yet, for each word. Truth is all that a round looks at.
suppressed: dict[str, int] = {}


def escape(value: bytes | bytearray | memoryview, most: int = VALUE_MAX) -> str:
    """Bytes of a peer as text of printable ASCII without spaces.

    The first `most` bytes; all but 21..7e, and the backslash itself, as ``\\xNN``. value is only
    read.
    """
    return "".join(
        chr(byte) if 0x21 <= byte <= 0x7E and byte != 0x5C else f"\\x{byte:02x}"
        for byte in bytes(value[:most])
    )


def event(
    level: int,
    word: str,
    peer: str | None = None,
    *,
    error: BaseException | None = None,
    **fields: Value | None,
) -> None:
    """Logs one line for an event.

    level is one of the logging module's; word names the event ("ws-origin"); peer is "IP:PORT".
    Fields that are None are left out; bytes are the peer's and are escaped; a str is our own text.
    The traceback of error, if given, follows the line. Over LINES_PER_SECOND lines of one word in a
    second are counted instead (report_suppressed).
    """
    if not logger.isEnabledFor(level):
        return
    now = time.monotonic()
    second = _seconds.get(word)
    if second is None or now - second.start >= 1.0:
        _report(word)
        second = _seconds[word] = _Second(now)
    if second.lines >= LINES_PER_SECOND:
        suppressed[word] = suppressed.get(word, 0) + 1
        return
    second.lines += 1
    parts = [word]
    if peer is not None:
        parts.append(f"peer={peer}")
    parts += [f"{key}={_value(value)}" for key, value in fields.items() if value is not None]
    logger.log(level, "%s", " ".join(parts), exc_info=error)


def report_suppressed(final: bool = False) -> None:
    """Logs the count of every word whose second is over; of all words if this is the end."""
    now = time.monotonic()
    for word in list(suppressed):
        if final or now - _seconds[word].start >= 1.0:
            _report(word)


def _report(word: str) -> None:
    count = suppressed.pop(word, 0)
    if count:
        logger.warning("suppressed event=%s count=%d", word, count)


def _forget() -> None:
    """A forked copy counts for itself."""
    _seconds.clear()
    suppressed.clear()


def _value(value: Value) -> str:
    if isinstance(value, bytes | bytearray | memoryview):
        return escape(value)
    if not isinstance(value, str):
        return str(value)
    text = value.encode("utf-8", "backslashreplace")
    shown = "".join(
        chr(byte) if 0x20 <= byte <= 0x7E and byte not in b'"\\' else f"\\x{byte:02x}"
        for byte in text
    )
    return f'"{shown}"' if " " in shown or not shown else shown


os.register_at_fork(after_in_child=_forget)
