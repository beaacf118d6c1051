# The benchmark's C as cffi shows it: csrc/benchmark/cdef.h declares it, benchmark.h explains it.

from typing import Any

ffi: Any
lib: Any
