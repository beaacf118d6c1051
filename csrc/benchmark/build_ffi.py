"""Builds libwebsockets._benchmark: the load generator, the bare server and the codec's loops.

It holds a copy of the codec of its own, compiled as the library's is, and needs nothing of it.
"""

import os
from pathlib import Path

from cffi import FFI

HERE = Path(__file__).resolve().parent
CORE = HERE.parent
SOURCES = sorted(HERE.glob("*.c"))
CODEC = sorted((CORE / "codec").glob("*.c"))
FLAGS = ["-std=gnu11", "-D_GNU_SOURCE=1", "-O3", "-fvisibility=hidden", "-fno-wrapv"]


def relative(path: Path) -> str:
    """A source as setuptools wants it: relative to the folder of setup.py."""
    return os.path.relpath(path, CORE.parent)


ffibuilder = FFI()
ffibuilder.cdef((HERE / "cdef.h").read_text())
ffibuilder.set_source(
    "libwebsockets._benchmark",
    '#include "benchmark.h"',
    sources=[relative(path) for path in SOURCES + CODEC],
    include_dirs=[relative(HERE), relative(CORE)],
    extra_compile_args=FLAGS,
    py_limited_api=True,
)

if __name__ == "__main__":
    ffibuilder.compile(verbose=True)
