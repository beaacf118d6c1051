"""The preloaded shim (shim.c) from the test's side: built once, told what shall fail, and when."""

from __future__ import annotations

import mmap
import os
import struct
import subprocess
from pathlib import Path

HERE = Path(__file__).resolve().parent

CALLS = (
    "none", "accept4", "recv", "send", "sendmsg", "sendfile", "epoll_wait", "epoll_ctl", "malloc",
    "realloc", "setuid", "setgid", "setgroups", "fork", "listen",
)  # fmt: skip
SHORT = 0  # in the place of an errno: the call falls short

_PLAN = struct.Struct("=IIIiI")
_SIZE = _PLAN.size + 4 * len(CALLS)


def build(folder: Path) -> Path:
    """Compiles the shim into a folder."""
    shim = folder / "shim.so"
    compiler = os.environ.get("CC", "cc")
    flags = ["-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror", "-fno-builtin"]
    subprocess.run([compiler, *flags, str(HERE / "shim.c"), "-o", str(shim)], check=True)
    return shim


class Faults:
    """What is to fail in one server. The environment that it needs is in `env`."""

    def __init__(self, shim: Path, path: Path) -> None:
        path.write_bytes(bytes(_SIZE))
        path.chmod(0o666)
        with open(path, "r+b") as file:
            self._control = mmap.mmap(file.fileno(), _SIZE)
        self.env = {"LD_PRELOAD": str(shim), "LWS_FAULT_CONTROL": str(path)}

    def plan(self, call: str, after: int, error: int, times: int = 1) -> None:
        """The call fails with an errno, or falls short, after so many that go well."""
        self.none()
        self._control[4 : _PLAN.size] = _PLAN.pack(0, after, times, error, 0)[4:]
        self._control[:4] = struct.pack("=I", CALLS.index(call))  # last: now it counts

    def none(self) -> None:
        self._control[:4] = bytes(4)

    @property
    def fired(self) -> int:
        """How many calls have failed since `plan`."""
        fired = _PLAN.unpack_from(self._control)[4]
        assert isinstance(fired, int)
        return fired

    def count(self, call: str) -> int:
        """How often the call was made while it was the one to fail."""
        at = _PLAN.size + 4 * CALLS.index(call)
        (count,) = struct.unpack_from("=I", self._control, at)
        assert isinstance(count, int)
        return count
