"""The application of the rows about time: `hostile`, and paths that say or disturb the time.

/itimer   ESTABLISHED: from now on SIGALRM comes every millisecond, and no system call is restarted
/alarms   HTTP: how many have come
/time     HTTP: the wall clock in seconds
"""

from __future__ import annotations

import signal
import time
from typing import Any

from apps import hostile

from libwebsockets import (
    LWS_CALLBACK_ESTABLISHED,
    LWS_CALLBACK_HTTP,
    LWS_WRITE_HTTP,
    libwebsocket_get_uri,
    libwebsocket_write,
)

alarms = 0


def _count(_number: int, _frame: object) -> None:
    global alarms
    alarms += 1


def timing(wsi: Any, reason: int, user: Any, in_: Any, length: int) -> Any:
    uri = libwebsocket_get_uri(wsi)
    if reason == LWS_CALLBACK_ESTABLISHED and uri == "/itimer":
        signal.signal(signal.SIGALRM, _count)
        signal.siginterrupt(signal.SIGALRM, True)
        signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
    if reason == LWS_CALLBACK_HTTP and uri in ("/alarms", "/time"):
        body = b"%d" % (alarms if uri == "/alarms" else time.time())
        reply = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
        libwebsocket_write(wsi, reply, len(reply), LWS_WRITE_HTTP)
        return 0
    return hostile(wsi, reason, user, in_, length)
