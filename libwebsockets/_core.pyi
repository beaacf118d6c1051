# The C core as cffi shows it: csrc/cdef.h declares it, csrc/libwebsockets.h is the contract.

from typing import Any

ffi: Any
lib: Any
