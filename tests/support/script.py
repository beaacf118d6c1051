"""Small Python programs of the tests, each run as a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from .server import PRELOAD, sanitizer_environment

# What every script begins with. The logger's lines go to standard error, as any program's would.
PRELUDE = """
import logging, os, signal, socket, sys, threading, time
from libwebsockets import *
logging.basicConfig(level=logging.INFO)

def echo(wsi, reason, user, in_, length):
    if reason == LWS_CALLBACK_RECEIVE:
        libwebsocket_write(wsi, in_, length, LWS_WRITE_TEXT)
    return 0

def create(port=0, callback=echo, gid=-1, uid=-1, **options):
    return libwebsocket_create_server(port, callback, 76, 0, None, None, gid, uid, **options)

def answers(port):
    "Whether a server answers a request on that port."
    with socket.create_connection(("127.0.0.1", port), 5) as sock:
        sock.settimeout(5)
        sock.sendall(b"GET / HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n")
        return sock.recv(12) == b"HTTP/1.1 404"

def children():
    "The children of this process, zombies too."
    with open("/proc/self/task/%d/children" % os.getpid()) as stream:
        return [int(pid) for pid in stream.read().split()]
"""


def write(folder: Path, source: str, name: str = "script.py") -> Path:
    path = folder / name
    path.write_text(PRELUDE + source)
    return path


def start(folder: Path, source: str, *arguments: object, **popen: Any) -> subprocess.Popen[str]:
    """Starts a script; its output is text in pipes unless said otherwise."""
    command = [sys.executable, *popen.pop("python", ()), str(write(folder, source))]
    popen.setdefault("stdout", subprocess.PIPE)
    popen.setdefault("stderr", subprocess.PIPE)
    if PRELOAD:
        mine = popen.get("env") or os.environ
        with_runtimes = sanitizer_environment(folder / "script.report")
        preload = " ".join(filter(None, (with_runtimes["LD_PRELOAD"], mine.get("LD_PRELOAD"))))
        popen["env"] = {**mine, **with_runtimes, "LD_PRELOAD": preload}
    return subprocess.Popen([*command, *map(str, arguments)], text=True, **popen)


def run(
    folder: Path, source: str, *arguments: object, timeout: float = 30, **popen: Any
) -> subprocess.CompletedProcess[str]:
    """Runs a script to its end; fails if it hangs. Checks nothing else."""
    process = start(folder, source, *arguments, **popen)
    try:
        out, err = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
        raise AssertionError(f"the script hangs\n{out}\n{err}") from None
    reports = [path.read_text() for path in folder.glob("*.report.*")]
    assert not reports, "P6: " + "\n".join(reports)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def passed(folder: Path, source: str, *arguments: object, **popen: Any) -> str:
    """Runs a script that must succeed; its standard output."""
    ran = run(folder, source, *arguments, **popen)
    assert ran.returncode == 0, f"status {ran.returncode}\n{ran.stdout}\n{ran.stderr}"
    return ran.stdout


def end(process: subprocess.Popen[str], number: int = signal.SIGKILL) -> None:
    """Ends a process that a test has started."""
    if process.poll() is None:
        os.kill(process.pid, number)
    process.wait(10)


def read_when_written(path: Path, timeout: float = 10) -> str:
    """The content of a file that a script writes in one go, once it is there."""
    limit = time.monotonic() + timeout
    while not (path.exists() and path.read_text().endswith("\n")):
        assert time.monotonic() < limit, f"{path.name} was not written"
        time.sleep(0.005)
    return path.read_text()
