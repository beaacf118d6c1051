"""What is built from the tree: an abi3 wheel, and an sdist that builds it."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

TREE = Path(__file__).resolve().parent.parent
LIMITED = not sysconfig.get_config_var("Py_GIL_DISABLED")


def run(*command: str, cwd: Path) -> None:
    # Optimisation is not what is looked at here, and takes most of the time.
    environment = {**os.environ, "CFLAGS": "-O0"}
    ran = subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, check=False, timeout=300
    )
    assert ran.returncode == 0, ran.stdout[-3000:] + ran.stderr[-3000:]


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sdist")
    tree = folder / "tree"
    # Of a copy: a build leaves its traces beside the sources.
    names = subprocess.run(
        ["git", "ls-files", "-z"], cwd=TREE, capture_output=True, check=False
    ).stdout.split(b"\0")
    files = [TREE / os.fsdecode(name) for name in names if name]
    if not files:  # no repository: an unpacked sdist
        files = [p for p in TREE.rglob("*") if p.is_file() and ".so" not in p.suffixes]
    for file in files:
        if file.is_file():
            copy = tree / file.relative_to(TREE)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(file.read_bytes())
    run(sys.executable, "-m", "build", "--sdist", "--no-isolation", "--outdir", ".", "tree",
        cwd=folder)  # fmt: skip
    (made,) = folder.glob("*.tar.gz")
    return made


@pytest.fixture(scope="module")
def wheel(sdist: Path) -> Path:
    """Built from the sdist alone."""
    folder = sdist.parent / "unpacked"
    with tarfile.open(sdist) as archive:
        if hasattr(tarfile, "data_filter"):
            archive.extractall(folder, filter="data")
        else:
            archive.extractall(folder)
    (tree,) = folder.iterdir()
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", "..", str(tree),
        cwd=tree)  # fmt: skip
    (made,) = folder.glob("*.whl")
    return made


def test_sdist_holds_all_that_is_needed(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    for file in ("LICENSE", "README.md", "CHANGELOG.md", "setup.py", "pyproject.toml"):
        assert file in names
    for folder in ("csrc", "libwebsockets", "test-server", "tests"):
        for path in (TREE / folder).glob("*"):
            if path.suffix in (".c", ".h", ".py", ".pyi", ".html", ".ico"):
                assert str(path.relative_to(TREE)) in names
    assert not [name for name in names if name.endswith((".so", ".o", ".pyc"))]


def test_wheel_is_abi3_and_complete(wheel: Path) -> None:
    if LIMITED:
        assert "-cp310-abi3-linux" in wheel.name
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        (metadata,) = [name for name in names if name.endswith(".dist-info/METADATA")]
        told = archive.read(metadata).decode()
    for path in (TREE / "libwebsockets").glob("*.py*"):
        if path.suffix in (".py", ".pyi") or path.name == "py.typed":
            assert f"libwebsockets/{path.name}" in names
    assert "libwebsockets/py.typed" in names
    for name in ("__init__.py", "__main__.py", "test.html", "favicon.ico"):
        assert f"libwebsockets/testserver/{name}" in names
    extensions = sorted(name for name in names if name.endswith(".so"))
    assert len(extensions) == 2
    if LIMITED:
        assert extensions == ["libwebsockets/_benchmark.abi3.so", "libwebsockets/_core.abi3.so"]
    assert not [name for name in names if name.startswith(("tests/", "csrc/"))]
    required = [
        line
        for line in told.splitlines()
        if line.startswith("Requires-Dist:") and "extra ==" not in line
    ]
    assert len(required) == 1
    assert required[0].startswith("Requires-Dist: cffi")
    assert "Requires-Python: >=3.10" in told


def test_wheel_runs_from_its_archive(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "installed")
    code = (
        "import sys; sys.path.insert(0, 'installed'); import libwebsockets; "
        "assert 'installed' in libwebsockets.__file__; "
        "s = libwebsockets.libwebsocket_create_server(0, lambda *a: 0, 76, 0, None, None, -1, -1, "
        "host='127.0.0.1'); assert s.port > 0; assert s.stop() == 0"
    )
    run(sys.executable, "-c", code, cwd=tmp_path)
