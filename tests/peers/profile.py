"""Where the time of a message goes: CPU time, instructions and system calls for each load.

    python tests/peers/profile.py [names of loads]

Needs strace and valgrind, and the library installed in the interpreter that runs it. CPU time is
taken undisturbed; system calls under strace, instructions under callgrind, each in a run of its
own.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from libwebsockets.benchmark import generator, loads, machine, servers
from libwebsockets.benchmark.generator import Held
from libwebsockets.benchmark.loads import Goal

SECONDS = 2.0
CALLGRIND_SECONDS = 6.0
NAMES = ("text-32", "binary-125-16", "binary-64k", "binary-1m", "handshake", "file-1k", "file-1m")
COST = re.compile(r"^[+-]?\d+|^\*")
GROUPS = (
    ("core", ("_core.",)),
    ("cffi", ("_cffi_backend",)),
    ("Python", ("libpython", "python3", "_struct")),
)


def cpu(goal: Goal, start: loads.Starter, root: Path) -> tuple[float, float]:
    """User and system microseconds of the server for each message."""
    ticks = os.sysconf("SC_CLK_TCK")

    def used(pid: int) -> tuple[float, float]:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return int(fields[11]) / ticks, int(fields[12]) / ticks

    own, theirs = machine.processors()
    with start(goal.load, root, theirs) as server:
        before = used(server.pid)
        measured = generator.run(goal.load, server.port, server.pid, SECONDS, 0, own)
        after = used(server.pid)
    user, system = (1e6 * (b - a) / measured.count for a, b in zip(before, after, strict=True))
    return user, system


def calls(goal: Goal, start: loads.Starter, root: Path) -> Counter[str]:
    """System calls of the server, and the messages under the name "messages"."""
    own, theirs = machine.processors()
    with tempfile.TemporaryDirectory() as folder, start(goal.load, root, theirs) as server:
        output = Path(folder) / "strace"
        tracer = subprocess.Popen(
            ["strace", "-c", "-f", "-o", str(output), "-p", str(server.pid)],
            stderr=subprocess.PIPE,
        )
        assert tracer.stderr is not None
        tracer.stderr.readline()  # "attached"
        measured = generator.run(goal.load, server.port, server.pid, SECONDS, 0, own)
        tracer.send_signal(signal.SIGINT)
        tracer.communicate()
        found = Counter({"messages": measured.count})
        for line in output.read_text().splitlines():
            fields = line.split()
            if len(fields) >= 5 and fields[0][0].isdigit() and fields[-1] != "total":
                found[fields[-1]] += int(fields[3])
    return found


SERVE = """
import sys
from pathlib import Path
from libwebsockets import *
from libwebsockets.benchmark import loads, servers
goal = next(goal for goal in loads.LOADS if goal.load.name == sys.argv[1])
load = goal.load
protocol = LWS_WRITE_TEXT if load.text else LWS_WRITE_BINARY
callback = servers._files(Path(sys.argv[2])) if load.kind == "http" else servers._echo(protocol)
context = libwebsocket_create_context(
    0, callback, 76, 0, None, None, -1, -1, host="127.0.0.1", keepalive_requests=2**31 - 1
)
print(context.port, flush=True)
while libwebsocket_service(context, -1) == 0:
    pass
"""


def instructions(goal: Goal, root: Path) -> Counter[str]:
    """Instructions in user space by where they are, and the messages under "messages"."""
    own, theirs = machine.processors()
    with tempfile.TemporaryDirectory() as folder:
        # Valgrind follows no shell script: the interpreter itself, not a launcher.
        process = subprocess.Popen(
            ["valgrind", "--tool=callgrind", "--instr-atstart=no", "-q",
             f"--callgrind-out-file={folder}/out", sys.executable, "-c", SERVE,
             goal.load.name, str(root)],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        assert process.stdout is not None
        port = int(process.stdout.readline())
        machine.pin(process.pid, theirs)

        def switch(state: str) -> None:
            subprocess.run(
                ["callgrind_control", f"--instr={state}", str(process.pid)],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                check=True,
            )

        with Held(goal.load, port, process.pid, 3600, 0, own) as held:
            while held.count < 10:
                time.sleep(0.1)
            switch("on")
            before = held.count
            time.sleep(CALLGRIND_SECONDS)
            after = held.count
            switch("off")
        process.terminate()
        process.wait()
        found = Counter({"messages": after - before})
        for part in Path(folder).glob("out*"):
            found += by_object(part.read_text(errors="replace"))
    return found


def by_object(text: str) -> Counter[str]:
    """Self cost by shared object, of callgrind's format."""
    names: dict[str, str] = {}
    found: Counter[str] = Counter()
    place, inclusive = "", False
    for line in text.splitlines():
        if line.startswith(("ob=", "cob=")):
            # Written out the first time, a number after that; cob is the callee's.
            number, _, name = line.partition("=")[2].partition(" ")
            names.setdefault(number, name)
            if line[0] == "o":
                place = names[number]
        elif line.startswith("calls="):
            inclusive = True
        elif COST.match(line) and " " in line:
            if not inclusive:
                group = next(
                    (g for g, marks in GROUPS if any(mark in place for mark in marks)), "libc"
                )
                found[group] += int(line.split()[1])
            inclusive = False
    return found


def main() -> int:
    for tool in ("strace", "valgrind"):
        if shutil.which(tool) is None:
            sys.exit(f"needs {tool}")
    machine.processors()
    names = sys.argv[1:] or NAMES
    print("| load | server | user µs | kernel µs | system calls | instructions |")
    print("| --- | --- | --- | --- | --- | --- |")
    with loads.files() as root:
        for goal in loads.LOADS:
            if goal.load.name not in names:
                continue
            for name, start in (("bare C", servers.limit), ("libwebsockets", servers.ours)):
                user, system = cpu(goal, start, root)
                traced = calls(goal, start, root)
                messages = traced.pop("messages")
                told = ", ".join(
                    f"{call} {count / messages:.2f}"
                    for call, count in traced.most_common()
                    if count / messages >= 0.02
                )
                counted = ""
                if name != "bare C":
                    found = instructions(goal, root)
                    turns = found.pop("messages")
                    counted = ", ".join(
                        f"{group} {count / turns:.0f}" for group, count in found.most_common()
                    )
                print(
                    f"| {goal.label} | {name} | {user:.2f} | {system:.2f} | {told} | {counted} |",
                    flush=True,
                )
    return 0


if __name__ == "__main__":
    sys.exit(main())
