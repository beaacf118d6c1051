"""Conditional and range requests, and content codings: pure functions over field values (RFC 9110).

Peers' bytes are only read, and each function takes time linear in them.
"""

from __future__ import annotations

import calendar
import re
from datetime import datetime, timezone

__all__ = [
    "UNSATISFIABLE",
    "accepted_codings",
    "etag_listed",
    "is_etag",
    "parse_date",
    "parse_range",
]

OPAQUE = rb'"[\x21\x23-\x7e\x80-\xff]*"'
ETAG = re.compile(rb"(W/)?(" + OPAQUE + rb")")
ETAG_ITEM = re.compile(rb"[ \t,]*(W/)?(" + OPAQUE + rb")[ \t]*(?=,|\Z)")

# Not calendar's names, which are those of the locale.
MONTH_NAMES = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
MONTHS = {name: number for number, name in enumerate(MONTH_NAMES, 1)}
TIME = rb"(?P<hour>\d\d):(?P<minute>\d\d):(?P<second>\d\d)"
MONTH = rb"(?P<month>" + "|".join(MONTH_NAMES).encode() + rb")"
# Section 5.6.7: the form that is sent, and the two that must be understood as well.
DATES = [
    re.compile(
        rb"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), (?P<day>\d\d) "
        + MONTH
        + rb" (?P<year>\d{4}) "
        + TIME
        + rb" GMT"
    ),
    re.compile(
        rb"(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day, (?P<day>\d\d)-"
        + MONTH
        + rb"-(?P<year>\d\d) "
        + TIME
        + rb" GMT"
    ),
    re.compile(
        rb"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun) "
        + MONTH
        + rb" (?P<day>[ \d]\d) "
        + TIME
        + rb" (?P<year>\d{4})"
    ),
]

RANGE = re.compile(rb"([0-9]*)-([0-9]*)")
POSITION_DIGITS = 19  # a position of more digits is after the end of any file
FARTHEST = 10**POSITION_DIGITS
UNSATISFIABLE = (-1, -1)

ALIASES = {b"x-gzip": b"gzip"}  # section 8.4.1.3
QUALITY = re.compile(rb"[ \t]*;[ \t]*q=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)[ \t]*", re.IGNORECASE)


def is_etag(value: bytes) -> bool:
    """Whether a value is one entity tag, weak or strong (section 8.8.3)."""
    return ETAG.fullmatch(value) is not None


def etag_listed(value: bytes, etag: bytes, weak: bool) -> bool:
    """Whether a list of entity tags, or ``*``, has a strong one (sections 13.1.1 and 13.1.2).

    weak: compared without regard to ``W/``; else a weak tag in the list matches nothing (section
    8.8.3.2). What follows a malformed item is not looked at.
    """
    if value.strip(b" \t") == b"*":
        return True
    position = 0
    while match := ETAG_ITEM.match(value, position):
        if match[2] == etag and (weak or match[1] is None):
            return True
        position = match.end()
    return False


def parse_date(value: bytes) -> int | None:
    """An HTTP date (section 5.6.7) in seconds since 1970; None for what is none."""
    for pattern in DATES:
        match = pattern.fullmatch(value)
        if match is not None:
            break
    else:
        return None
    part = match.groupdict()
    year = int(part["year"])
    if len(part["year"]) == 2:
        # More than 50 years ahead is of the century before.
        this_year = datetime.now(timezone.utc).year
        year += this_year - this_year % 100
        if year > this_year + 50:
            year -= 100
    # A leap second is the first of the next minute.
    leap = part["second"] == b"60"
    try:
        moment = datetime(
            year,
            MONTHS[part["month"].decode()],
            int(part["day"]),
            int(part["hour"]),
            int(part["minute"]),
            59 if leap else int(part["second"]),
            tzinfo=timezone.utc,
        )
    except ValueError:
        return None
    return calendar.timegm(moment.timetuple()) + leap


def parse_range(value: bytes, size: int) -> tuple[int, int] | None:
    """The one range of bytes that a Range field asks for, of a representation of size bytes.

    Returns its first byte and the one after its last; UNSATISFIABLE (416); or None where the field
    is to be ignored: another unit, malformed (white space before the "=", say), or more ranges than
    one (section 14.2 allows the whole as the answer to those).
    """
    unit, equals, ranges = value.partition(b"=")
    if not equals or unit.lower() != b"bytes":
        return None
    found = [item for part in ranges.split(b",") if (item := part.strip(b" \t"))]
    match = RANGE.fullmatch(found[0]) if len(found) == 1 else None
    if match is None or not (match[1] or match[2]):
        return None
    first, last = _position(match[1]), _position(match[2])
    if first is None:
        assert last is not None
        if last == 0 or size == 0:
            return UNSATISFIABLE
        return max(0, size - last), size
    if last is not None and last < first:
        return None
    if first >= size:
        return UNSATISFIABLE
    return first, size if last is None else min(last + 1, size)


def accepted_codings(value: bytes, known: tuple[bytes, ...]) -> list[bytes]:
    """Those of the known content codings that an Accept-Encoding field accepts (section 12.5.3).

    The best first: by the field's quality, then in the order of known. Malformed items count
    for nothing; ``x-gzip`` is gzip (section 8.4.1.3).
    """
    qualities: dict[bytes, float] = {}
    for item in value.split(b","):
        coding, semicolon, _ = item.partition(b";")
        quality = 1.0
        if semicolon:
            match = QUALITY.fullmatch(item, len(coding))
            if match is None:
                continue
            quality = float(match[1])
        name = coding.strip(b" \t").lower()
        qualities[ALIASES.get(name, name)] = quality
    rest = qualities.get(b"*", 0.0)
    wanted = [coding for coding in known if qualities.get(coding, rest) > 0]
    return sorted(wanted, key=lambda coding: -qualities.get(coding, rest))


def _position(digits: bytes) -> int | None:
    if not digits:
        return None
    digits = digits.lstrip(b"0") or b"0"
    return int(digits) if len(digits) <= POSITION_DIGITS else FARTHEST
