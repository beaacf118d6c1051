"""The floors of the Python package: nothing is imported upwards (contract: pyproject.toml)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:  # pragma: no cover - the same module under its earlier name
    import tomli as tomllib

ROOT = Path(__file__).parent.parent
# Its command, wherever the interpreter finds the module.
LINT = "from importlinter.cli import lint_imports_command; lint_imports_command()"
# Above all floors: what users start, and the package's face.
TOPS = {"libwebsockets", "libwebsockets.benchmark", "libwebsockets.testserver"}


def layers() -> set[str]:
    """The modules that the contract names."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    (contract,) = contracts["contracts"]
    return {name.strip() for layer in contract["layers"] for name in layer.split("|")}


def test_nothing_is_imported_upwards() -> None:
    linted = subprocess.run(
        [sys.executable, "-c", LINT, "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert linted.returncode == 0, linted.stdout + linted.stderr


def test_every_module_has_its_floor() -> None:
    modules = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in (ROOT / "libwebsockets").rglob("*.py")
        if path.name not in ("__init__.py", "__main__.py")
    }
    placed = {name for name in modules if name.rpartition(".")[0] not in TOPS - {"libwebsockets"}}
    assert placed == layers()
