"""Requests: what they say, and what is checked before any callback."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

from .. import log
from .._core import ffi, lib
from ..options import Settings
from . import allowed

__all__ = ["Refusal", "Request", "check_request", "log_refusal"]

VERSION_HTTP: int = lib.LWS_VERSION_HTTP
VERSION_HIXIE76: int = lib.LWS_VERSION_HIXIE76
DRAFT_VERSIONS = (lib.LWS_VERSION_HYBI7, lib.LWS_VERSION_HYBI8)
METHOD_HEAD: int = lib.LWS_METHOD_HEAD


class Request:
    """A request that is being answered: its head, as bytes of the connection, valid in the
    round.
    """

    __slots__ = ("_context", "_request", "_slot")

    def __init__(self, context: Any, slot: int) -> None:
        self._context = context
        self._slot = slot
        self._request = lib.lws_request(context, slot)

    @property
    def gone(self) -> bool:
        """Whether there is no request any more: nothing else here may be asked then."""
        return not self._request

    @property
    def plain(self) -> bool:
        """Whether it is what most are: GET of HTTP/1.1 without conditions or a range, and the
        connection stays.
        """
        return bool(self._request.plain)

    @property
    def conditional(self) -> bool:
        """Whether it has conditions or a range (RFC 9110, sections 13 and 14)."""
        return bool(self._request.conditional)

    @property
    def is_head(self) -> bool:
        """Whether the method is HEAD: a reply has no body."""
        return bool(self._request.kind == METHOD_HEAD)

    @property
    def version(self) -> int:
        """What it asks for: enum lws_version."""
        return int(self._request.version)

    @property
    def keep_alive(self) -> bool:
        """Whether the connection may be used again, as far as the request says."""
        return bool(self._request.keep_alive)

    @property
    def minor(self) -> int:
        """0 for HTTP/1.0, 1 for later ones."""
        return int(self._request.minor)

    def field(self, field: int) -> bytes:
        """The first value of one of the core's fields (enum lws_field); empty if absent."""
        return self._slice(self._request.field[field])

    def count(self, field: int) -> int:
        """How many fields of that name there are, up to 255."""
        return int(self._request.count[field])

    def joined(self, field: int, name: bytes) -> bytes | None:
        """All values of one of the core's fields as one list (RFC 9110, section 5.3); None if
        absent.
        """
        count = self._request.count[field]
        if count <= 1:
            return self.field(field) if count else None
        return b", ".join(self.values(name))

    def target(self) -> bytes:
        """The request target, as sent."""
        return self._slice(self._request.target)

    def uri(self) -> bytes:
        """The path with its query, as sent; of an absolute target with an empty path "/" and the
        query.
        """
        uri = self._slice(self._request.uri)
        return b"/" + uri if self._request.empty_path else uri

    def values(self, name: bytes) -> list[bytes]:
        """All values of a field name, in order."""
        cursor = ffi.new("uint32_t *")
        value = ffi.new("struct lws_slice *")
        found = []
        head = lib.lws_request_head(self._context, self._slot)
        while head and lib.lws_head_field(head, self._request, name, len(name), cursor, value):
            found.append(self._slice(value))
        return found

    def host(self) -> bytes:
        """The host that is asked for: of an absolute target, else of the Host field (RFC 9112,
        3.2.2).
        """
        return self.field(lib.LWS_FIELD_HOST)  # the core puts a target's there

    def _slice(self, part: Any) -> bytes:
        head = lib.lws_request_head(self._context, self._slot)
        # The callback may have closed the connection, and its head is gone.
        return bytes(ffi.buffer(head + part.offset, part.length)) if head else b""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request is refused: the HTTP status, the event word and the value that was wrong."""

    status: int
    word: str
    value: bytes


def check_request(
    request: Request, version: int, settings: Settings
) -> tuple[Refusal | None, bytes | None]:
    """Holds a request against the options, before any callback.

    version is enum lws_version. Returns a refusal or None, and the subprotocol to echo or None:
    hosts → 421 (RFC 9110, section 15.5.20); for an upgrade origins → 403 (RFC 6455, section 4.2.2),
    subprotocols and the syntax of extensions → 400.
    """
    if settings.hosts is not None:
        host = request.host()
        if not allowed.host_allowed(host, settings.hosts):
            return Refusal(421, "http-bad-host", host), None
    if version == VERSION_HTTP:
        return None, None
    if settings.origins is not None:
        origins = request.values(b"Origin") if request.count(lib.LWS_FIELD_ORIGIN) else []
        single = len(origins) <= 1
        if version in DRAFT_VERSIONS and request.count(lib.LWS_FIELD_WS_ORIGIN):
            draft = request.values(b"Sec-WebSocket-Origin")
            single = single and len(draft) == 1
            origins = origins + draft
        if not single or not allowed.origin_allowed(origins, settings.origins):
            return Refusal(403, "ws-origin", b", ".join(origins)), None
    values = []
    if request.count(lib.LWS_FIELD_WS_PROTOCOL):
        values = request.values(b"Sec-WebSocket-Protocol")
    offered = allowed.parse_subprotocols(values, version == VERSION_HIXIE76)
    if offered is None:
        return Refusal(400, "ws-protocol", b", ".join(values)), None
    known, chosen = allowed.select_subprotocol(offered, settings.subprotocols)
    if not known:
        return Refusal(400, "ws-protocol", b", ".join(offered)), None
    if version != VERSION_HIXIE76 and request.count(lib.LWS_FIELD_WS_EXTENSIONS):
        for value in request.values(b"Sec-WebSocket-Extensions"):
            if not allowed.extensions_valid(value):
                return Refusal(400, "ws-extension", value), None
    return None, chosen


def log_refusal(peer: str, refusal: Refusal) -> None:
    """One line for a request that the options refuse."""
    log.event(
        logging.WARNING, refusal.word, peer, status=refusal.status, value=bytes(refusal.value)
    )
