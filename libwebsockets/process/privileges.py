"""Giving up root: groups, then gid, then uid, and proof that they are gone for good."""

from __future__ import annotations

import ctypes
import os

__all__ = ["PrivilegesError", "check_ids", "drop"]

UNCHANGED = -1
ID_MAX = 2**32 - 2  # 2^32 - 1 is the kernel's "leave as it is"

PR_SET_DUMPABLE = 4
PR_SET_NO_NEW_PRIVS = 38
PR_GET_NO_NEW_PRIVS = 39
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_CLEAR_ALL = 4
CAPABILITY_VERSION_3 = 0x20080522


class PrivilegesError(Exception):
    """The privileges that were asked for cannot be had, or root cannot be lost."""


class _CapabilityHeader(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _CapabilityData(ctypes.Structure):
    _fields_ = (
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    )


def check_ids(gid: object, uid: object) -> None:
    """Refuses ids that can be seen to be wrong, before anything is opened or forked.

    -1 leaves an id as it is. Raises ValueError for what is no id at all. Raises PrivilegesError
    for what this process may not do: ids of others without root; and for a uid without a gid as
    root, which would keep root's groups.
    """
    for name, value in (("gid", gid), ("uid", uid)):
        if isinstance(value, bool) or not isinstance(value, int):
            raise ValueError(f"{name} must be a number, not {value!r}")
        if not UNCHANGED <= value <= ID_MAX:
            raise ValueError(f"{name} must be -1 or from 0 to {ID_MAX}, not {value}")
    if os.geteuid() == 0:
        if uid not in (UNCHANGED, 0) and gid == UNCHANGED:
            raise PrivilegesError(f"uid {uid} without a gid: root's groups would stay")
        return
    for name, value, own in (("gid", gid, os.getresgid()), ("uid", uid, os.getresuid())):
        if value != UNCHANGED and own != (value,) * 3:
            raise PrivilegesError(f"{name} {value}: only root may change it")


def drop(gid: int, uid: int) -> None:
    """Changes to gid and uid (-1: leave), for good, and verifies it (CERT POS36-C and POS37-C).

    As root the supplementary groups go first. After a change to another uid the process has no
    capability, can gain none from a program that it executes, and leaves no core file.

    Raises PrivilegesError if anything fails or something is left; the process must then not serve.
    """
    if gid == UNCHANGED and uid == UNCHANGED:
        return
    root = os.geteuid() == 0
    try:
        if root:
            os.setgroups([])
        if gid != UNCHANGED:
            os.setgid(gid)
        if uid != UNCHANGED:
            os.setuid(uid)
    except OSError as error:
        raise PrivilegesError(f"gid {gid}, uid {uid}: {error.strerror}") from error
    if gid != UNCHANGED and os.getresgid() != (gid,) * 3:
        raise PrivilegesError(f"gid is {os.getresgid()}, not {gid}")
    if uid != UNCHANGED and os.getresuid() != (uid,) * 3:
        raise PrivilegesError(f"uid is {os.getresuid()}, not {uid}")
    if root and os.getgroups() not in ([], [gid]):
        raise PrivilegesError(f"supplementary groups {os.getgroups()} are left")
    if uid not in (UNCHANGED, 0):
        _seal()
        if root:
            _verify_lost(gid)


def _seal() -> None:
    """No new privileges, no core file, no ambient capabilities."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
    for option, value in ((PR_SET_NO_NEW_PRIVS, 1), (PR_SET_DUMPABLE, 0)):
        if libc.prctl(option, value, 0, 0, 0) != 0:
            raise PrivilegesError(f"prctl {option}: {os.strerror(ctypes.get_errno())}")
    if libc.prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1:
        raise PrivilegesError("new privileges are not ruled out")
    header = _CapabilityHeader(CAPABILITY_VERSION_3, 0)
    data = (_CapabilityData * 2)()
    if libc.capget(ctypes.byref(header), data) != 0:
        raise PrivilegesError(f"capget: {os.strerror(ctypes.get_errno())}")
    if any(part.effective or part.permitted for part in data):
        raise PrivilegesError("capabilities are left")


def _verify_lost(gid: int) -> None:
    """Tries to become root again, which must fail."""
    attempts = [("uid", os.setuid), ("euid", os.seteuid)]
    if gid != 0:
        attempts += [("gid", os.setgid), ("egid", os.setegid)]
    for name, attempt in attempts:
        try:
            attempt(0)
        except OSError:
            continue
        raise PrivilegesError(f"{name} 0 can be had again")
