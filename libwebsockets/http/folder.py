"""libwebsockets_serve_http_root: the request answered from a folder."""

from __future__ import annotations

import errno
import functools
import logging
import os
from typing import NamedTuple
from urllib.parse import quote_from_bytes, unquote_to_bytes

from .. import log
from ..core import check_wsi, libwebsocket
from .files import (
    IS_FOLDER,
    NAME_KEPT,
    FileOptions,
    Source,
    checked_answer,
    error_reply,
    kept,
    send_source,
)
from .open_reply import Reply
from .reply import HeaderFields, open_reply, send_head

__all__ = ["libwebsockets_serve_http_root", "path_of"]

INDEX = b"index.html"
TARGET_KEPT = 256  # bytes of a target that is kept with what it means
PLACES_KEPT = 512  # of them


def libwebsockets_serve_http_root(
    wsi: libwebsocket,
    directory: str | bytes | os.PathLike[str] | os.PathLike[bytes],
    *,
    cache_control: str | None = None,
    headers: HeaderFields | None = None,
    precompressed: bool = True,
) -> int:
    """Answers the request that the callback is handling from a folder (LWS_CALLBACK_HTTP).

    The path of the request is decoded once (RFC 3986, section 2.1), its ``.`` and ``..`` are
    resolved (section 5.2.4), and the file is opened below the folder in one step: by openat2 with
    RESOLVE_BENEATH, which follows symbolic links that stay inside; on a kernel without it
    component by component, following none. A folder is answered with its ``index.html``, after a
    redirection (301) to the path with a slash at its end. What begins with a dot is not found.
    The type is by the name of the file; all else is as for libwebsockets_serve_http_file.

    :param wsi: the connection whose request the callback is handling.
    :param directory: the folder; opened anew for each request, so that it may be replaced.
    :param cache_control: as for libwebsockets_serve_http_file, and so headers, precompressed.
    :returns: 0 once the reply is queued, 301 too. -1, with a line in the log, after an error reply,
        as for libwebsockets_serve_http_file (404 too for a path or a link that leaves the folder,
        a folder without ``index.html``, and a name with a dot before it); and, with nothing sent,
        if there is no request to answer.
    :raises TypeError: for arguments of wrong types.
    :raises ValueError: as libwebsockets_serve_http_file, and for a directory with a NUL; nothing is
        sent then.
    """
    check_wsi(wsi)
    site = None
    if type(directory) is str and len(directory) <= NAME_KEPT:
        site = kept(_kept_site, directory, None, cache_control, headers, precompressed)
    if site is None:
        site = _site(directory, checked_answer(None, cache_control, headers, precompressed))
    reply = open_reply(wsi, "file-refused")
    if reply is None:
        return -1
    target, question, query = reply.request.uri().partition(b"?")
    place = site.places.get(target) or site.place(target)
    if isinstance(place, int):
        return error_reply(reply, place, target)
    result = send_source(reply, place.source, target)
    if result != IS_FOLDER:
        return result
    if place.of_folder:  # and its index.html is one
        return error_reply(reply, None, target, 404)
    return _redirect(reply, place.names, question + query)


class Place(NamedTuple):
    """What the path of a request means."""

    names: list[bytes]
    source: Source
    of_folder: bool  # the index of a folder is asked for


class Site:
    """A folder as calls name it, and what was found where: the paths alone, not the files."""

    __slots__ = ("answer", "directory", "places")

    def __init__(self, directory: bytes, answer: FileOptions) -> None:
        self.directory = directory
        self.answer = answer
        self.places: dict[bytes, Place] = {}

    def place(self, target: bytes) -> Place | int:
        """The place that a target without its query means, or an errno."""
        names = path_of(target)
        if names is None:
            return errno.EXDEV  # it is outside of the folder
        if any(name.startswith(b".") for name in names):
            return errno.ENOENT
        of_folder = target.endswith((b"/", b"/.", b"/.."))
        path = b"/".join([*names, INDEX] if of_folder else names)
        place = Place(names, Source(self.directory, path or b".", self.answer), of_folder)
        if len(target) <= TARGET_KEPT:
            if len(self.places) >= PLACES_KEPT:
                self.places = {}
            self.places[target] = place
        return place


def _site(
    directory: str | bytes | os.PathLike[str] | os.PathLike[bytes], answer: FileOptions
) -> Site:
    root = os.fsencode(directory)
    if b"\0" in root:
        raise ValueError(f"directory has a NUL at {root.index(0)}")
    return Site(root, answer)


@functools.lru_cache(maxsize=16)
def _kept_site(
    directory: str,
    content_type: None,
    cache_control: str | None,
    headers: tuple[tuple[str, str], ...] | None,
    precompressed: bool,
) -> Site:
    return _site(directory, checked_answer(content_type, cache_control, headers, precompressed))


def path_of(target: bytes) -> list[bytes] | None:
    """The names on the way to the file that the path of a URI means; None if it leads outside.

    Empty names count for nothing. An encoded slash is part of no file's name, and leads nowhere.
    """
    names: list[bytes] = []
    for part in target.split(b"/"):
        name = unquote_to_bytes(part)
        if b"/" in name or b"\0" in name:
            return None
        if name == b"..":
            if not names:
                return None
            names.pop()
        elif name not in (b"", b"."):
            names.append(name)
    return names


def _redirect(reply: Reply, names: list[bytes], query: bytes) -> int:
    """301 to the same folder with a slash: of our own spelling, so that it names no other host."""
    location = "".join(f"/{quote_from_bytes(name, safe='')}" for name in names) + "/"
    # The core takes only ASCII in a target.
    lines = f"Location: {location}{query.decode('ascii')}\r\nContent-Length: 0\r\n"
    if not send_head(reply, 301, lines, 0, "file-refused"):
        return -1
    reply.complete = True
    log.event(logging.DEBUG, "file-redirect", reply.wsi.context.peer(reply.wsi.slot), to=location)
    return 0
