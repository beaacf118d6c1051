"""Opens a file by a path that may not leave a folder, whatever links and renames do meanwhile."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable

__all__ = ["open_beneath", "open_by_steps", "open_folder"]

SYS_OPENAT2 = 437  # the same on every architecture
RESOLVE_NO_MAGICLINKS = 0x02  # no /proc/PID/fd/…
RESOLVE_BENEATH = 0x08
RACES = 16  # EAGAIN: a rename happened while ".." was resolved
# A kernel before 5.6, or a filter of system calls that does not know it.
ABSENT = (errno.ENOSYS, errno.EPERM)


def open_folder(path: str | bytes) -> int:
    """A descriptor that stands for a folder and can do nothing else. Raises OSError."""
    return os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)


def open_by_steps(folder: int, path: bytes, flags: int) -> int:
    """As open_beneath, component by component: no symbolic link is followed, none at all."""
    *parents, last = path.split(b"/")
    step = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    with contextlib.ExitStack() as opened:
        for name in parents:
            folder = os.open(_single(name), step, dir_fd=folder)
            opened.callback(os.close, folder)
        return os.open(_single(last), flags | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)


def _single(name: bytes) -> bytes:
    if name in (b"", b".."):
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
    return name


def _opener() -> Callable[[int, bytes, int], int]:
    """openat2 where the kernel has it (the one way without a race between check and open)."""
    try:
        import ctypes  # noqa: PLC0415 - an interpreter may be built without it
    except ImportError:
        return open_by_steps

    class OpenHow(ctypes.Structure):
        """struct open_how (openat2(2))."""

        _fields_ = (
            ("flags", ctypes.c_uint64),
            ("mode", ctypes.c_uint64),
            ("resolve", ctypes.c_uint64),
        )

    syscall = ctypes.CDLL(None, use_errno=True).syscall
    syscall.restype = ctypes.c_long
    syscall.argtypes = (
        ctypes.c_long,
        ctypes.c_int,
        ctypes.c_char_p,
        ctypes.POINTER(OpenHow),
        ctypes.c_size_t,
    )

    def open_at_once(folder: int, path: bytes, flags: int) -> int:
        how = OpenHow(flags | os.O_CLOEXEC, 0, RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS)
        for _ in range(RACES):
            descriptor: int = syscall(SYS_OPENAT2, folder, path, how, ctypes.sizeof(how))
            if descriptor >= 0:
                return descriptor
            error = ctypes.get_errno()
            if error not in (errno.EAGAIN, errno.EINTR):
                break
        raise OSError(error, os.strerror(error))

    try:
        root = open_folder("/")
        try:
            os.close(open_at_once(root, b".", os.O_PATH | os.O_DIRECTORY))
        finally:
            os.close(root)
    except OSError as error:
        if error.errno in ABSENT:
            return open_by_steps
    return open_at_once


_open = _opener()


def open_beneath(folder: int, path: bytes, flags: int) -> int:
    """Opens path, relative to folder, close-on-exec, without ever leaving folder.

    folder is a descriptor as of open_folder and stays the caller's; path is not empty and holds no
    NUL. Symbolic links that stay inside are followed where the kernel has openat2; where it
    has not, none is. Returns a descriptor, the caller's. Raises OSError: EXDEV for a path that
    leaves the folder, else as open(2).
    """
    return _open(folder, path, flags)
