"""A peer whose network goes away: run in a network namespace of its own, as root.

The server runs here; the client in a second namespace, joined by a pair of virtual interfaces. Once
the session is established one end is taken down, so that nothing arrives any more, no FIN either.
Prints the seconds from then to CLOSED.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import Any

from libwebsockets import (
    LWS_CALLBACK_CLOSED,
    LWS_CALLBACK_ESTABLISHED,
    libwebsocket_create_context,
    libwebsocket_get_close_code,
    libwebsocket_service,
)

CLIENT = """
import sys
sys.stdin.readline()
from raw import Client
client = Client(int(sys.argv[1]), host="198.18.0.1").open("/")
sys.stdin.readline()
"""

times: list[float] = []


def callback(wsi: Any, reason: int, user: Any, in_: Any, length: int) -> int:
    if reason == LWS_CALLBACK_ESTABLISHED:
        times.append(time.monotonic())
    elif reason == LWS_CALLBACK_CLOSED:
        times.append(time.monotonic())
        assert libwebsocket_get_close_code(wsi) == 1006
    return 0


def main() -> None:
    context = libwebsocket_create_context(
        0, callback, 76, 0, None, None, -1, -1, ping_interval=0.3, pong_timeout=0.3
    )
    assert context is not None
    client = subprocess.Popen(
        ["unshare", "-n", sys.executable, "-c", CLIENT, str(context.port)],
        stdin=subprocess.PIPE,
        cwd=os.path.dirname(os.path.abspath(__file__)),
    )
    here = os.readlink("/proc/self/ns/net")
    while os.readlink(f"/proc/{client.pid}/ns/net") == here:
        time.sleep(0.01)
    for command in (
        f"ip link add v0 type veth peer name v1 netns {client.pid}",
        "ip addr add 198.18.0.1/30 dev v0",
        "ip link set v0 up",
        f"nsenter -t {client.pid} -n ip addr add 198.18.0.2/30 dev v1",
        f"nsenter -t {client.pid} -n ip link set v1 up",
    ):
        subprocess.run(command.split(), check=True)
    assert client.stdin
    client.stdin.write(b"go\n")
    client.stdin.flush()
    end = time.monotonic() + 20
    while len(times) < 2:
        assert time.monotonic() < end, f"no end: {times}"
        libwebsocket_service(context, 100)
        if len(times) == 1:
            subprocess.run(["ip", "link", "set", "v0", "down"], check=True)
    client.kill()
    client.wait()
    print(times[1] - times[0])


if __name__ == "__main__":
    main()
