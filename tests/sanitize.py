"""The tests under AddressSanitizer, UBSan and a leak check: python tests/sanitize.py [PYTEST ARGS].

A copy of the tree is built with both sanitizers outside of the checkout and pytest runs over it.
Every interpreter of the run has the runtimes preloaded, and nothing else has: other programs (perl,
a browser) inherit nothing. Any report of any process, of a server that has given up root too, fails
the run. Leaks are looked for at the end of each process; CPython has some of its own, so only those
whose stack goes through a C file of this project count.

The interpreter that runs this must have the packages of the `test` extra.
"""

from __future__ import annotations

import os
import re
import resource
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import venv
import xml.etree.ElementTree as ElementTree
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# What is run: all that reaches the C core through sockets or calls. The files of a group run one
# after the other, the groups at the same time.
GROUPS = (
    ("tests/hostile",),
    tuple(
        f"tests/test_{name}.py"
        for name in (
            "context", "wsi", "buffers", "conformance", "port_2010", "testserver", "files",
            "headers", "flow", "pieces", "broadcast", "timers", "tls", "listeners", "proxy_tls",
            "replies", "rounds",
        )
    ),
)  # fmt: skip

# What of it is left out, and why. What the support says of memory (P4) and of slow callbacks is
# left out by the support itself, and cuts at every byte, which the C tests make.
LEFT_OUT = {
    "[7]": "the core has one path for 7, 8 and 13",
    "[8]": "the core has one path for 7, 8 and 13",
    "FG_06": "compares times",
    "PMD_08": "measures memory",
    "PMD_10": "measures memory",
    "RX_03": "measures CPU time",
    "RX_06": "measures CPU time",
    "RX_10": "the soak measures memory",
    "SL_03": "measures memory",
    "slow_reader": "measures memory",
    "many_connections_leave_nothing": "measures memory",
    "what_a_session_keeps": "measures memory",
    "PR_18": "starts 200 servers, each slow to start then",
    "websocat": "a client with limits of time of its own",
    "forked_copy": "a fork beside a thread that ends may find the sanitizer's heap locked for ever",
    "test_shim": "a preloaded library of its own makes malloc fail",
    "test_slowhttptest": "measures times",
}

# Run by every interpreter before anything else. The leak check is asked for here, as a server
# leaves by _exit; a process that has given up root is not dumpable (prctl 3): it cannot look there.
STARTUP = """
import atexit, ctypes, os, sys

# Each runtime has a report file of its own, but the call that sets it binds to the first one's.
for runtime in {runtimes!r}:
    ctypes.CDLL(runtime).__sanitizer_set_report_path({reports!r})

sys.executable = {python!r}
others = [name for name in os.environ.pop("LD_PRELOAD", "").split() if name not in {runtimes!r}]
if others:
    os.environ["LD_PRELOAD"] = " ".join(others)

STARTED = os.getpid()

def check_leaks():
    c = ctypes.CDLL(None)
    forked = "pytest" in sys.modules and os.getpid() != STARTED  # beside threads: their locks
    if "libwebsockets._core" in sys.modules and not forked and c.prctl(3, 0, 0, 0, 0) == 1:
        c.__lsan_do_recoverable_leak_check()

def leave(status, _exit=os._exit):
    check_leaks()
    _exit(status)

@atexit.register
def check_all_but_parents():  # the program that only waits for its server
    if not sys.argv[0].endswith("program.py"):
        check_leaks()

os._exit = leave
"""

IGNORED = shutil.ignore_patterns(
    ".git", ".*cache", "build", "dist", "*.so", "*.egg-info", "__pycache__", ".venv"
)


def runtimes() -> list[str]:
    """The paths of the two runtimes; libasan comes first, as it must."""
    found = []
    for name in ("libasan.so", "libubsan.so"):
        printed = subprocess.run(
            ["gcc", f"-print-file-name={name}"], capture_output=True, text=True, check=True
        )
        path = Path(printed.stdout.strip())
        assert path.is_absolute(), f"gcc has no {name}"
        found.append(str(path.resolve()))
    return found


def build(work: Path, how: str) -> Path:
    """A copy of the tree in work/tree, built in place as a variable of csrc/build_ffi.py says."""
    tree = work / "tree"
    shutil.copytree(ROOT, tree, ignore=IGNORED)
    (tree / "libwebsockets/testserver").symlink_to("../test-server")
    built = subprocess.run(
        [sys.executable, "setup.py", "-q", "build_ext", "--inplace"],
        cwd=tree,
        env={**os.environ, how: "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if built.returncode:
        sys.exit(built.stdout)
    return tree


def interpreter(work: Path, tree: Path, preloaded: list[str]) -> Path:
    """A virtual environment whose python has the runtimes preloaded; the command to start it."""
    home = work / "venv"
    venv.create(home, symlinks=True, with_pip=False)
    python = home / "bin/python"
    real = home / "bin/python-bare"
    os.symlink(Path(sys.executable).resolve(), real)
    python.unlink()
    python.write_text(
        "#!/bin/sh\n"
        f'export LD_PRELOAD="{" ".join(preloaded)}${{LD_PRELOAD:+ $LD_PRELOAD}}"\n'
        f'exec "{real}" "$@"\n'
    )
    python.chmod(0o755)
    name = f"python{sys.version_info.major}.{sys.version_info.minor}"
    packages = home / "lib" / name / "site-packages"
    (packages / "sanitized_startup.py").write_text(
        STARTUP.format(
            python=str(python), runtimes=preloaded, reports=os.fsencode(work / "reports/report")
        )
    )
    (packages / "0.pth").write_text(
        f"import sanitized_startup\n{tree}\n{sysconfig.get_path('purelib')}\n"
        f"{sysconfig.get_path('platlib')}\n"
    )
    return python


def ours(report: str) -> list[str]:
    """What of a report must not be: all of it, but leaks without a frame in a C file of ours."""
    if "LeakSanitizer: detected memory leaks" not in report:
        return [report]
    blocks = re.split(r"\n\n+", report)
    return [
        block for block in blocks if "leak of" in block and re.search(r"\bcsrc/[\w/]+\.c", block)
    ]


def choice(tree: Path, group: tuple[str, ...]) -> list[str]:
    """The arguments of pytest for a group: those of its files that there are, without LEFT_OUT."""
    files = [name for name in group if (tree / name).exists()]
    return [*files, "-k", f"not ({' or '.join(LEFT_OUT)})"]


def passed(junit: Path) -> bool:
    """The verdict of the tests: at least one ran, none failed, none was skipped."""
    suites = list(ElementTree.parse(junit).getroot().iter("testsuite")) if junit.exists() else []
    total, skipped, failures, errors = (
        sum(int(suite.get(name, 0)) for suite in suites)
        for name in ("tests", "skipped", "failures", "errors")
    )
    print(f"sanitized: {total} tests, {skipped} skipped, {failures} failed, {errors} in error")
    return total > 0 and not failures and not errors


def main() -> int:
    work = Path(tempfile.mkdtemp(prefix="sanitize-"))
    try:
        work.chmod(0o755)  # a server that has given up root reads its modules from here
        reports = work / "reports"
        reports.mkdir()
        reports.chmod(0o1777)  # and writes its report there
        tree = build(work, "LWS_SANITIZE")
        preloaded = runtimes()
        python = interpreter(work, tree, preloaded)
        options = f"log_path={reports}/report:exitcode=99"
        environment = {
            **os.environ,
            "PYTHONMALLOC": "malloc",
            "LWS_TEST_PRELOAD": " ".join(preloaded),
            "ASAN_OPTIONS": f"{options}:detect_leaks=1:leak_check_at_exit=0:handle_segv=0"
            ":detect_stack_use_after_return=1:strict_string_checks=1:check_initialization_order=1",
            "UBSAN_OPTIONS": f"{options}:halt_on_error=1:print_stacktrace=1",
        }
        for name, reason in LEFT_OUT.items():
            print(f"left out: {name}: {reason}")
        given = sys.argv[1:]
        groups = [given] if given else [choice(tree, group) for group in GROUPS]
        runs = []
        for number, group in enumerate(groups):
            junit, folder = work / f"{number}.xml", work / f"tmp-{number}"
            command = [python, "-m", "pytest", "-q", f"--junitxml={junit}", f"--basetemp={folder}"]
            runs.append((subprocess.Popen([*command, *group], cwd=tree, env=environment), junit))
        ended = [process.wait() == 0 for process, _ in runs]
        verdicts = [passed(junit) for _, junit in runs]
        texts = [path.read_text(errors="replace") for path in reports.iterdir()]
        found = [block for text in texts for block in ours(text)]
        for block in found:
            print(block)
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        print(
            f"sanitized: {len(texts)} reports, {len(found)} of them ours; "
            f"{used.ru_utime + used.ru_stime:.0f} s of CPU"
        )
        return 0 if all(ended) and all(verdicts) and not found else 1
    finally:
        shutil.rmtree(work)


if __name__ == "__main__":
    sys.exit(main())
