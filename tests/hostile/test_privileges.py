"""Section 12: dropping privileges. As root, in a container of its own."""

from __future__ import annotations

import os
import resource
import signal
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest
from conftest import Serve
from support import script
from support.raw import Client, text, wait_until
from support.server import FAST, Server, alive, descriptors

from hostile.test_process import failing, waited

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")

TARGET = 61234  # a uid and gid that nobody has


def status(pid: int) -> dict[str, list[str]]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.split() for name, _, value in (line.partition(":") for line in lines)}


def result(server: Server, client: Client, order: str) -> Any:
    mark = server.mark()
    client.send(text(order))
    return server.wait_event("RESULT", 5, mark)["value"]


def dropped(server: Server, *, uid: int = TARGET, gid: int = TARGET) -> None:
    told = status(server.pid)
    assert told["Uid"] == [str(uid)] * 4, told["Uid"]
    assert told["Gid"] == [str(gid)] * 4, told["Gid"]
    assert told["Groups"] in ([], [str(gid)]), told["Groups"]


def test_PV_01_ids_and_groups(serve: Serve) -> None:
    popen = {"extra_groups": [0, 4, 27]}
    server = serve("hostile", uid=TARGET, gid=TARGET, popen=popen, **FAST)
    dropped(server)
    assert set(status(server.parent.pid)["Groups"]) == {"0", "4", "27"}, "the parent stays as it is"
    server.wait_logged("privileges-dropped")
    server.connect().open("/echo").echo(b"it serves")


def test_PV_02_root_cannot_be_had_back(serve: Serve, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    secret.chmod(0o600)
    server = serve("hostile", uid=TARGET, gid=TARGET, **FAST)
    client = server.connect().open("/command")
    answers = result(server, client, f'{{"do": "uid-back", "path": "{secret}"}}')
    first = int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text())
    if first <= 1:  # then anybody may bind port 1
        answers.pop("bind")
    assert set(answers.values()) == {"PermissionError"}, answers
    told = status(server.pid)
    for name in ("CapPrm", "CapEff", "CapAmb", "CapInh"):
        assert int(told[name][0], 16) == 0, (name, told[name])
    assert told["NoNewPrivs"] == ["1"]


SHIM = r"""
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

/* FAIL names the calls, HOW the errno; 0: says that it succeeded and does nothing. */
static int fails(const char *name, int *result)
{
    const char *which = getenv("FAIL"), *how = getenv("HOW");
    if (!which || !how || strcmp(which, name) != 0)
        return 0;
    errno = atoi(how);
    *result = errno ? -1 : 0;
    return 1;
}

#define SHIM(name, parameters, arguments) \
    int name parameters \
    { \
        int result; \
        return fails(#name, &result) ? result : (int)syscall arguments; \
    }

#include <stdarg.h>
#include <stdio.h>
#include <sys/syscall.h>
SHIM(setgroups, (size_t n, const gid_t *list), (SYS_setgroups, n, list))
SHIM(setgid, (gid_t gid), (SYS_setgid, gid))
SHIM(setuid, (uid_t uid), (SYS_setuid, uid))
SHIM(seteuid, (uid_t uid), (SYS_setresuid, -1, uid, -1))
SHIM(capget, (void *header, void *data), (SYS_capget, header, data))

/* One of its options: "prctl 38". */
int prctl(int option, ...)
{
    unsigned long argument;
    char name[16];
    int result;
    va_list more;

    va_start(more, option);
    argument = va_arg(more, unsigned long);
    va_end(more);
    snprintf(name, sizeof name, "prctl %d", option);
    return fails(name, &result) ? result : (int)syscall(SYS_prctl, option, argument, 0, 0, 0);
}
"""


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shim")
    source, library = folder / "shim.c", folder / "shim.so"
    source.write_text("#define _GNU_SOURCE\n#include <grp.h>\n" + SHIM)
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", library, source], check=True)
    return library


@pytest.mark.parametrize("call", ["setgroups", "setgid", "setuid"])
@pytest.mark.parametrize("errno", [1, 11, 0])
def test_PV_03_each_call_fails(call: str, errno: int, shim: Path, tmp_path: Path) -> None:
    """EPERM, EAGAIN, and a call that lies: nothing is served as root."""
    source = f"""
import resource
os.register_at_fork(after_in_child=lambda: os.write(1, b"%d\\n" % os.getpid()))
server = create(uid={TARGET}, gid={TARGET})
assert server == -1, server
assert children() == []
"""
    source = "os.setgroups([0, 4])\n" + source if call != "setgroups" else source
    environment = {**os.environ, "LD_PRELOAD": str(shim), "HOW": str(errno), "FAIL": call}
    if call == "setgroups":  # groups that a lying call would leave
        environment_groups: dict[str, Any] = {"extra_groups": [0, 4]}
    else:
        environment_groups = {}
    ran = script.run(tmp_path, source, env=environment, **environment_groups)
    assert ran.returncode == 0, ran.stderr
    lines = [line for line in ran.stderr.splitlines() if line.startswith("ERROR")]
    assert len(lines) == 1 and "privileges-failed" in lines[0], ran.stderr
    for pid in ran.stdout.split():
        assert not alive(int(pid))


@pytest.mark.parametrize(
    ("call", "errno", "cause"),
    [
        ("prctl 38", 1, "prctl 38: Operation not permitted"),
        ("prctl 38", 0, "new privileges are not ruled out"),
        ("prctl 4", 22, "prctl 4: Invalid argument"),
        ("capget", 14, "capget: Bad address"),
        ("seteuid", 0, "euid 0 can be had again"),
    ],
)
def test_PV_03_what_seals_the_drop_fails(
    call: str, errno: int, cause: str, shim: Path, tmp_path: Path
) -> None:
    source = f"""
assert create(uid={TARGET}, gid={TARGET}) == -1
assert children() == []
"""
    environment = {**os.environ, "LD_PRELOAD": str(shim), "HOW": str(errno), "FAIL": call}
    told = failing(tmp_path, source, env=environment)
    (line,) = [line for line in told.splitlines() if line.startswith("ERROR")]
    assert "privileges-failed" in line and cause in line


@pytest.mark.parametrize("securebits", [1 << 2, 1 << 4])
def test_PV_03_capabilities_that_outlive_the_uid(securebits: int, tmp_path: Path) -> None:
    """SECBIT_NO_SETUID_FIXUP keeps them in force, SECBIT_KEEP_CAPS within reach."""
    source = f"""
import ctypes
assert ctypes.CDLL(None, use_errno=True).prctl(28, {securebits}, 0, 0, 0) == 0
assert create(uid={TARGET}, gid={TARGET}) == -1
assert children() == []
"""
    assert "capabilities are left" in failing(tmp_path, source)


def test_PV_03_more_groups_left_than_the_reason_has_room_for(shim: Path, tmp_path: Path) -> None:
    source = f"""
assert create(uid={TARGET}, gid={TARGET}) == -1
assert children() == []
"""
    environment = {**os.environ, "LD_PRELOAD": str(shim), "HOW": "0", "FAIL": "setgroups"}
    groups = list(range(100_000, 102_000))
    told = failing(tmp_path, source, env=environment, extra_groups=groups)
    (line,) = [line for line in told.splitlines() if line.startswith("ERROR")]
    assert "supplementary groups [100000, 100001," in line and len(line) < 5000


@pytest.mark.parametrize("call", ["setgroups", "setuid"])
def test_PV_03_in_the_calling_process(call: str, shim: Path, tmp_path: Path) -> None:
    path = tmp_path / "socket"
    source = f"""
before = os.listdir("/proc/self/fd")
ids = {TARGET}, {TARGET}
assert libwebsocket_create_context(
    0, echo, 76, 0, None, None, *ids, host="unix:{path}") is None
assert os.listdir("/proc/self/fd") == before
"""
    environment = {**os.environ, "LD_PRELOAD": str(shim), "HOW": "1", "FAIL": call}
    told = failing(tmp_path, source, env=environment)
    assert f'privileges-failed cause="gid {TARGET}, uid {TARGET}: Operation not perm' in told
    assert not path.exists()


def test_PV_03_user_namespace_without_setgroups(tmp_path: Path) -> None:
    source = f"""
import ctypes
if ctypes.CDLL(None, use_errno=True).unshare(0x10000000) != 0:  # CLONE_NEWUSER
    print("no user namespaces")
    sys.exit()
for name, text in (("setgroups", "deny"), ("uid_map", "0 0 1"), ("gid_map", "0 0 1")):
    with open("/proc/self/" + name, "w") as stream:
        stream.write(text)
assert create(uid={TARGET}, gid={TARGET}) == -1
assert children() == []
"""
    ran = script.run(tmp_path, source)
    assert ran.returncode == 0, ran.stderr
    if "no user namespaces" in ran.stdout:
        pytest.skip(
            "needs user namespaces: kernel.unprivileged_userns_clone or a privileged container"
        )
    assert "privileges-failed" in ran.stderr, ran.stderr


def test_PV_04_not_root(tmp_path: Path) -> None:
    source = f"""
forks = []
os.register_at_fork(before=lambda: forks.append(1))
os.setgroups([])
os.setgid({TARGET})
os.setuid({TARGET})
assert create(uid=0, gid=0) == -1
assert create(uid={TARGET + 1}, gid={TARGET + 1}) == -1
assert create(uid=-1, gid=0) == -1
assert forks == [], "forked before the check"
"""
    told = failing(tmp_path, source)
    lines = [line for line in told.splitlines() if "privileges-failed" in line]
    assert len(lines) == 3, told


def test_PV_04_not_root_and_nothing_to_change(tmp_path: Path) -> None:
    """One's own ids are no change; what rules out new privileges is done all the same."""
    source = f"""
socket.getaddrinfo("127.0.0.1", 0)  # what it imports, that user may not read
os.setgroups([])
os.setgid({TARGET})
os.setuid({TARGET})
with create(uid={TARGET}, gid={TARGET}) as server:
    with open(f"/proc/{{server.pid}}/status") as stream:
        assert "NoNewPrivs:\\t1\\n" in stream.read()
    assert answers(server.port)
for only in ({{"gid": {TARGET}}}, {{"uid": {TARGET}}}):
    with create(**only) as server:
        assert answers(server.port)
"""
    script.passed(tmp_path, source)


def test_PV_05_one_of_them_and_odd_values(serve: Serve, tmp_path: Path) -> None:
    source = f"""
assert create(uid={TARGET}) == -1  # root's groups would stay
for uid in (-2, 2**32 - 1, 2**32):
    for arguments in ({{"uid": uid, "gid": {TARGET}}}, {{"gid": uid}}):
        try:
            create(**arguments)
        except ValueError as error:
            assert str(uid) in str(error), error
        else:
            raise AssertionError(arguments)
for arguments in ({{"uid": "nobody", "gid": {TARGET}}}, {{"gid": "nogroup"}}, {{"uid": 1.5}}):
    try:
        create(**arguments)
    except (TypeError, ValueError):
        pass
    else:
        raise AssertionError(arguments)
assert children() == []
"""
    assert "privileges-failed" in failing(tmp_path, source)
    only_gid = serve("hostile", gid=TARGET, **FAST)
    dropped(only_gid, uid=0)
    unchanged = serve("hostile", **FAST)
    assert status(unchanged.pid)["Uid"] == ["0"] * 4
    group_of_root = serve("hostile", uid=TARGET, gid=0, **FAST)
    dropped(group_of_root, gid=0)
    root = serve("hostile", uid=0, gid=0, **FAST)
    assert status(root.pid)["Uid"] == ["0"] * 4


def test_PV_06_privileged_port_bound_before_the_drop(tmp_path: Path) -> None:
    """Port 443; the key of the row comes with TLS. In a network namespace: nobody else has it."""
    source = f"""
import ctypes, fcntl, struct
assert ctypes.CDLL(None, use_errno=True).unshare(0x40000000) == 0  # CLONE_NEWNET
with socket.socket() as sock:  # the loopback interface up
    fcntl.ioctl(sock, 0x8914, struct.pack("16sh14x", b"lo", 0x1 | 0x40))
server = create(port=443, uid={TARGET}, gid={TARGET})
assert server != -1 and server.port == 443 and answers(443)
with open(f"/proc/{{server.pid}}/status") as stream:
    assert "Uid:\\t{TARGET}\\t" in stream.read()
assert server.stop(5) == 0
"""
    script.passed(tmp_path, source)


def test_PV_07_descriptors_of_the_parent(tmp_path: Path) -> None:
    source = f"""
kept = [open(os.devnull) for _ in range(20)] + [open(__file__) for _ in range(10)]
kept += [socket.socket() for _ in range(19)]
numbers = [one.fileno() for one in kept] + [os.open("/", os.O_RDONLY)]
assert len(numbers) == 50
for number in numbers:
    os.set_inheritable(number, True)
server = create(uid={TARGET}, gid={TARGET})
print(server.pid, server.port, flush=True)
sys.stdin.read()
assert server.stop(5) == 0
"""
    process = script.start(tmp_path, source, stdin=subprocess.PIPE)
    assert process.stdout and process.stdin
    pid, port = map(int, process.stdout.readline().split())
    with socket.create_connection(("127.0.0.1", port), 5):
        pass
    wait_until(lambda: len(descriptors(pid)) <= 12, 2)
    found = {number: what for number, what in descriptors(pid).items() if number > 2}
    for number, what in found.items():
        own = what.startswith(("socket:", "pipe:", "anon_inode:[eventpoll]", "anon_inode:[timerfd]",
                               "anon_inode:[eventfd]"))  # fmt: skip
        assert own, f"{number} is {what}"
    # one listener, or one for each family; the life pipe; what wakes the loop; epoll
    assert sum(what.startswith("socket:") for what in found.values()) <= 4, found
    assert sum(what.startswith("pipe:") for what in found.values()) <= 3, found
    err = process.communicate()[1]
    assert process.returncode == 0, err


def test_PV_08_crash_leaves_no_core(serve: Serve, tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    work.chmod(0o777)
    soft, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))  # the server inherits it
    try:
        server = serve("hostile", uid=TARGET, gid=TARGET, popen={"cwd": work}, **FAST)
    finally:
        resource.setrlimit(resource.RLIMIT_CORE, (soft, hard))
    # what is not dumpable belongs to root in /proc, whoever runs it
    assert os.stat(f"/proc/{server.pid}/mem").st_uid == 0
    client = server.connect().open("/command")
    assert result(server, client, '{"do": "cwd"}') in ("/", str(work))
    client.send(text('{"do": "crash"}'))
    assert waited(server) == -signal.SIGSEGV
    assert list(work.iterdir()) == [], "a core file"
