"""The arguments that libwebsocket_create_server and libwebsocket_create_context have in common."""

from __future__ import annotations

import logging
import operator
import os
from dataclasses import dataclass
from typing import Any

from . import log
from .core import Callback
from .options import Options, Settings, settings_from_options
from .process import privileges
from .tls import certificates
from .tls.certificates import Credentials

__all__ = ["Arguments", "check_arguments"]

PROTOCOLS = (76, 7, 8, 13)  # the oldest protocol version to accept, oldest first
PORT_MAX = 65535
USER_AREA_MAX = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Arguments:
    """Checked arguments of a server."""

    port: int
    callback: Callback
    protocol: int
    user_area_size: int
    gid: int
    uid: int
    settings: Settings
    credentials: Credentials | None = None  # None: not encrypted


def check_arguments(
    port: int,
    callback: Callback | None,
    protocol: int,
    user_area_size: int,
    ssl_cert_filepath: str | os.PathLike[str] | None,
    ssl_private_key_filepath: str | os.PathLike[str] | None,
    gid: int,
    uid: int,
    options: Options,
) -> Arguments | None:
    """Checks everything that can be checked before a socket is opened.

    Returns None, with one ERROR line that names the cause, for what C answers with -1. Raises
    TypeError or ValueError, with the number that was wrong, for what a compiler would have refused.
    """
    port = _int("port", port)
    if not 0 <= port <= PORT_MAX:
        raise ValueError(f"port must be from 0 to {PORT_MAX}, not {port}")
    protocol = _int("protocol", protocol)
    user_area_size = _int("user_area_size", user_area_size)
    if not 0 <= user_area_size <= USER_AREA_MAX:
        raise ValueError(f"user_area_size must be from 0 to {USER_AREA_MAX}, not {user_area_size}")
    if callback is not None and not callable(callback):
        raise TypeError(f"callback must be callable, not {type(callback).__name__}")
    settings = settings_from_options(options, port)
    try:
        privileges.check_ids(gid, uid)
    except privileges.PrivilegesError as error:
        log.event(logging.ERROR, "privileges-failed", cause=str(error))
        return None
    if callback is None:
        log.event(logging.ERROR, "callback-missing", cause="the callback is None")
        return None
    if protocol not in PROTOCOLS:
        log.event(
            logging.ERROR, "protocol-unsupported", protocol=protocol, cause="not 76, 7, 8 or 13"
        )
        return None
    try:
        credentials = certificates.choose(
            ssl_cert_filepath, ssl_private_key_filepath, settings.ssl_context
        )
    except certificates.CertificateError as error:
        log.event(logging.ERROR, "tls-config", file=error.file, cause=error.cause)
        return None
    if credentials is None and any(endpoint.secure for endpoint in settings.endpoints):
        log.event(logging.ERROR, "tls-config", cause="listen says tls; there is no certificate")
        return None
    return Arguments(port, callback, protocol, user_area_size, gid, uid, settings, credentials)


def _int(name: str, value: Any) -> int:
    if isinstance(value, bool):
        raise TypeError(f"{name} must be an int, not bool")
    try:
        return operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be an int, not {type(value).__name__}") from None
