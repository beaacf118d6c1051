"""Builds the extension libwebsockets._core from the sources in codec/ and service/."""

import os
from pathlib import Path

from cffi import FFI

HERE = Path(__file__).resolve().parent
SOURCES = sorted([*(HERE / "codec").glob("*.c"), *(HERE / "service").glob("*.c")])

# The interpreter's own flags hold -fwrapv, which would hide signed overflow from the sanitizers.
FLAGS = ["-std=gnu11", "-D_GNU_SOURCE=1", "-O3", "-fvisibility=hidden", "-fno-wrapv"]
SANITIZE = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-g", "-O1"]


def relative(path: Path) -> str:
    """A source as setuptools wants it: relative to the folder of setup.py."""
    return os.path.relpath(path, HERE.parent)


ffibuilder = FFI()
ffibuilder.cdef((HERE / "cdef.h").read_text())
sanitize = SANITIZE if os.environ.get("LWS_SANITIZE") else []
coverage = ["--coverage", "-O0"] if os.environ.get("LWS_COVERAGE") else []
ffibuilder.set_source(
    "libwebsockets._core",
    '#include "service/service.h"',
    sources=[relative(path) for path in SOURCES],
    include_dirs=[relative(HERE)],
    extra_compile_args=FLAGS + sanitize + coverage,
    extra_link_args=sanitize[:1] + coverage[:1],
    py_limited_api=True,
)

if __name__ == "__main__":
    ffibuilder.compile(verbose=True)
