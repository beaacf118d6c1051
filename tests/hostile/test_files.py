"""Section 11: static files. SF-12 has no test: nothing in the library compares secrets."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from support.raw import Client, Response, get, wait_until
from support.row import Batch, Row
from support.server import FAST, Server, descriptors, resident

INSIDE = b"of the inside\n"
SECRET = b"of the outside: never to be seen\n"
NOBODY = 65534


class Site:
    """A folder to serve, beside a file that must never be served."""

    def __init__(self) -> None:
        self.base = Path(tempfile.mkdtemp(prefix="lws-files-"))
        self.base.chmod(0o755)
        self.root = self.base / "root"
        self.root.mkdir()
        (self.root / "folder").mkdir()
        (self.root / "folder" / "index.html").write_bytes(INSIDE)
        (self.root / "empty").mkdir()
        (self.root / "a.txt").write_bytes(INSIDE)
        (self.base / "secret.txt").write_bytes(SECRET)
        (self.base / "etc").mkdir()
        (self.base / "etc" / "passwd").write_bytes(SECRET)

    def sparse(self, name: str, size: int) -> Path:
        path = self.root / name
        with path.open("wb") as file:
            file.truncate(size)
        return path


@pytest.fixture
def site() -> Iterator[Site]:
    made = Site()
    yield made
    shutil.rmtree(made.base)


@pytest.fixture
def row(request: pytest.FixtureRequest, batch: Batch, site: Site, tmp_path: Path) -> Iterator[Row]:
    """As the `row` of all hostile tests, with the application of files; not as root."""
    roomy = {"handshake_timeout": 5.0, "keepalive_timeout": 5.0, "close_timeout": 2.0}
    roomy["callback_warn"] = 1.0  # opening files takes as long as the machine lets it
    ids: dict[str, Any] = {"uid": NOBODY, "gid": NOBODY} if os.getuid() == 0 else {}
    marker = request.node.get_closest_marker("server")
    server = Server(
        f"{Path(__file__).parent.parent / 'support' / 'filing.py'}:files",
        tmp_path / "log",
        env={"LWS_TEST_ROOT": str(site.root)},
        **{**FAST, **roomy, **ids, **(marker.kwargs if marker else {})},
    )
    made = Row(server, request.node.name)
    batch.rows.append(made)
    made.allow("privileges-dropped")
    yield made
    made.finish()


def ask(row: Row, target: str | bytes, *fields: tuple[str, str | bytes], **how: Any) -> Response:
    with row.connect() as client:
        return client.ask(get(target, *fields, **how))


def file_target(path: Path | str, **query: str) -> str:
    items = {"path": str(path), **query}
    return "/file?" + "&".join(f"{key}={quote(value)}" for key, value in items.items())


def test_SF_01_paths_that_leave_the_root(row: Row) -> None:
    row.expect("file-outside-root")
    row.allow("http-bad-target", "file-error")
    for target in (
        "/../../etc/passwd",
        "/../etc/passwd",
        "/%2e%2e/etc/passwd",
        "/%2E%2e/secret.txt",
        "/..%2fsecret.txt",
        "/..%2Fetc%2fpasswd",
        "/%252e%252e/secret.txt",
        "/.%00./secret.txt",
        "/..\\secret.txt",
        "/..%5csecret.txt",
        "//etc/passwd",
        "/./../secret.txt",
        "/folder/../../secret.txt",
        "/folder/%2e%2e/%2e%2e/secret.txt",
        "/%c0%ae%c0%ae/secret.txt",
        "/%c0%ae%c0%ae%c0%afsecret.txt",
        "/....//secret.txt",
        f"/{row.server.log_path}",
    ):
        reply = ask(row, target)
        assert reply.status in (400, 404), (target, reply)
        assert SECRET not in reply.body + reply.head
    assert ask(row, "/folder/../a.txt").body == INSIDE
    assert ask(row, "/./a%2etxt").body == INSIDE


def test_SF_02_symbolic_links(row: Row, site: Site) -> None:
    row.expect("file-outside-root")
    row.allow("file-error")
    (site.root / "out").symlink_to("../secret.txt")
    (site.root / "out-absolute").symlink_to(site.base / "secret.txt")
    (site.root / "out-folder").symlink_to("../etc")
    (site.root / "in").symlink_to("a.txt")
    (site.root / "loop").symlink_to("loop")
    for target in ("/out", "/out-absolute", "/out-folder/passwd", "/out-folder", "/loop"):
        reply = ask(row, target)
        assert reply.status == 404, (target, reply)
    assert ask(row, "/in").body == INSIDE


def test_SF_02_links_swapped_meanwhile(row: Row, site: Site) -> None:
    row.own("file-outside-root", "file-error")
    (site.root / "parent").mkdir()
    (site.root / "parent" / "passwd").write_bytes(INSIDE)
    (site.root / "swap").symlink_to("parent")
    (site.root / "other").symlink_to("../etc")
    stop = threading.Event()
    swaps = 0

    def swap() -> None:
        nonlocal swaps
        link = site.root / "next"
        while not stop.is_set():
            link.symlink_to("../etc" if swaps % 2 else "parent")
            link.rename(site.root / "swap")
            swaps += 1

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        seen = set()
        client = row.connect()
        for _ in range(900):
            reply = client.ask(get("/swap/passwd"))
            seen.add(reply.status)
            assert reply.body == INSIDE if reply.status == 200 else reply.status == 404, reply
    finally:
        stop.set()
        thread.join()
    assert seen == {200, 404} and swaps > 100, (seen, swaps)


def test_SF_03_what_is_no_regular_file(row: Row, site: Site) -> None:
    row.expect("file-not-regular")
    row.allow("file-error")
    os.mkfifo(site.root / "fifo", 0o666)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(site.root / "socket"))
        (site.root / "socket").chmod(0o666)
        start = time.monotonic()
        assert ask(row, "/fifo").status == 403
        assert ask(row, "/socket").status == 403
        for path in ("/dev/zero", "/dev/tty", "/dev/null"):
            assert ask(row, file_target(path)).status in (403, 404), path
        assert ask(row, file_target("/proc/self/mem")).status in (403, 500)
        assert time.monotonic() - start < 1.0
    reply = ask(row, "/folder?a=b")
    assert reply.status == 301 and reply.one("Location") == b"/folder/?a=b"
    assert ask(row, "/folder/").body == INSIDE
    assert ask(row, "/empty/").status == 404
    assert ask(row, "/a.txt/").status == 404
    assert ask(row, file_target(site.root)).status == 404
    reply = ask(row, "//folder")  # not the folder of a host of that name
    assert reply.status == 301 and reply.one("Location") == b"/folder/"


def test_SF_04_files_that_cannot_be_opened(row: Row, site: Site) -> None:
    row.expect("file-error")
    (site.root / "closed").write_bytes(SECRET)
    (site.root / "closed").chmod(0)
    assert ask(row, "/missing").status == 404
    assert ask(row, "/" + "n" * 5000).status == 404
    assert ask(row, file_target("n" * 5000)).status == 404
    assert ask(row, file_target("a[NUL]b")).status == 404
    if os.getuid() == 0 or not os.access(site.root / "closed", os.R_OK):
        assert ask(row, "/closed").status == 403
    assert ask(row, file_target(site.root / "a.txt", descriptor="0")).body == INSIDE


@pytest.mark.server(uid=-1, gid=-1)  # the limit of another user may not be changed
def test_SF_04_no_descriptor_is_left(row: Row, site: Site) -> None:
    row.own("file-error")
    client = row.connect()
    assert client.ask(get("/a.txt")).status == 200
    before = resource.prlimit(row.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(row.pid, resource.RLIMIT_NOFILE, (max(descriptors(row.pid)) + 1, before[1]))
    try:
        assert client.ask(get("/a.txt")).status == 503
        assert client.ask(get(file_target(site.root / "a.txt"))).status == 503
    finally:
        resource.prlimit(row.pid, resource.RLIMIT_NOFILE, before)
    assert client.ask(get("/a.txt")).body == INSIDE


def drop(client: Client, size: int) -> int:
    """Reads size bytes of a body and forgets them; how many came."""
    room = bytearray(1 << 20)
    came = len(client.buffer)
    client.buffer.clear()
    while came < size:
        got = client.sock.recv_into(room, min(len(room), size - came))
        if not got:
            break
        came += got
    return came


def head_of(client: Client) -> Response:
    """The head of a reply whose body is still to be read."""
    return client.response(bodiless=True)


def test_SF_05_sizes(row: Row, site: Site) -> None:
    for size in (0, 1, 2**31 + 1, 5 << 30):
        site.sparse("large", size)
        reply = ask(row, "/large", method="HEAD")
        assert reply.status == 200 and reply.one("Content-Length") == b"%d" % size
        if size:
            reply = ask(row, "/large", ("Range", "bytes=-1"))
            assert reply.status == 206 and reply.body == b"\0"
            wanted = b"bytes %d-%d/%d" % (size - 1, size - 1, size)
            assert reply.one("Content-Range") == wanted
    row.barrier()
    before = resident(row.pid)
    # across 2^32
    client = row.connect(timeout=60).send(get("/large", ("Range", "bytes=4227858432-4362076159")))
    assert head_of(client).one("Content-Length") == b"%d" % (128 << 20)
    assert drop(client, 128 << 20) == 128 << 20
    assert resident(row.pid) - before < 1 << 20
    assert client.ask(get("/a.txt")).body == INSIDE
    client.send(get("/large"))
    assert head_of(client).one("Content-Length") == b"%d" % (5 << 30)
    assert drop(client, 64 << 20) == 64 << 20
    assert resident(row.pid) - before < 1 << 20


def test_SF_06_a_file_that_changes_while_it_is_sent(row: Row, site: Site) -> None:
    row.expect("file-truncated")
    size = 64 << 20
    path = site.sparse("cut", size)
    client = row.connect(rcvbuf=4096).send(get("/cut"))
    assert head_of(client).one("Content-Length") == b"%d" % size
    os.truncate(path, 1 << 20)
    assert drop(client, size) < size
    client.close()

    path = site.sparse("grown", size)
    client = row.connect(rcvbuf=4096).send(get("/grown"))
    head_of(client)
    os.truncate(path, size + 1000)
    assert drop(client, size) == size
    assert client.ask(get("/a.txt")).body == INSIDE  # nothing more of the file came before it

    for change in (Path.unlink, lambda path: (site.root / "a.txt").rename(path)):
        path = site.sparse("replaced", size)
        client = row.connect(rcvbuf=4096).send(get("/replaced"))
        head_of(client)
        change(path)
        assert drop(client, size) == size


def test_SF_07_ranges(row: Row, site: Site) -> None:
    row.expect("file-range")
    content = bytes(range(256)) * 4
    (site.root / "bytes").write_bytes(content)
    many = "bytes=" + ",".join(f"{at}-" for at in range(2000))[:8000]
    for asked, span in (
        ("bytes=0-0", (0, 1)),
        ("bytes=-1", (1023, 1024)),
        ("bytes=5-", (5, 1024)),
        ("bytes=0-18446744073709551615", (0, 1024)),
        ("bytes=-18446744073709551616", (0, 1024)),
        ("bytes=1023-1023", (1023, 1024)),
        ("bytes= 3-4 ", (3, 5)),
        ("BYTES=3-4", (3, 5)),
    ):
        reply = ask(row, "/bytes", ("Range", asked))
        assert reply.status == 206 and reply.body == content[slice(*span)], (asked, reply.head)
        wanted = b"bytes %d-%d/1024" % (span[0], span[1] - 1)
        assert reply.one("Content-Range") == wanted, asked
    for asked in ("bytes=-0", "bytes=1024-", "bytes=5000-6000", "bytes=99999999999999999999-"):
        reply = ask(row, "/bytes", ("Range", asked))
        assert reply.status == 416 and reply.one("Content-Range") == b"bytes */1024", asked
    for asked in ("bytes=,3-4", "bytes=3-4,", "bytes=, ,3-4 , "):  # empty elements
        reply = ask(row, "/bytes", ("Range", asked))
        assert reply.status == 206 and reply.body == content[3:5], asked
    for asked in (
        "bytes = 0-8", "bytes =0-8", "bytes\t=0-8", "bytes=0 -8", "bytes=0- 8", "bytes=,",
        "bytes=9-5", "lines=1-2", "bytes=", "bytes=-", "bytes=a-b", "bytes=1-2,5-6", many, "bytes",
        "bytes=0x1-2", "bytes=-1-2", "bytes=+1-2", "bytes=" + "9" * 8000 + "-1",
    ):  # fmt: skip
        reply = ask(row, "/bytes", ("Range", asked))
        assert reply.status == 200 and reply.body == content, asked
    reply = ask(row, "/bytes", ("Range", "bytes=" + "9" * 8000 + "-"))
    assert reply.status == 416
    reply = ask(row, "/bytes", ("Range", "bytes=0-0"), ("Range", "bytes=1-1"))
    assert reply.status == 200
    site.sparse("nothing", 0)
    assert ask(row, "/nothing", ("Range", "bytes=0-")).status == 416
    assert ask(row, "/nothing", ("Range", "bytes=-5")).status == 416


@pytest.mark.parametrize("coding", ["identity", "gzip"])
def test_SF_13_one_tag_for_one_file_on_every_machine(row: Row, site: Site, coding: str) -> None:
    """Copies with other inodes, as two machines have them, and the forms of one file."""
    accept = ("Accept-Encoding", coding)
    tags = set()
    for name in ("one", "two"):
        (site.root / name).mkdir()
        for form in ("page", "page.gz"):
            (site.root / name / form).write_bytes(b"the same")
            os.utime(site.root / name / form, ns=(1, 1_700_000_000_123_456_789))
        reply = ask(row, f"/{name}/page", accept)
        assert (reply.one("Content-Encoding") or b"identity") == coding.encode()
        tags.add(reply.one("ETag"))
    assert len(tags) == 1
    other = ask(row, "/one/page", ("Accept-Encoding", {"gzip": "x"}.get(coding, "gzip")))
    assert other.one("ETag") not in tags  # another form of the same size and time
    for change in ({"size": 1}, {"ns": 1}):
        if "size" in change:
            (site.root / "two" / "page").write_bytes(b"another!!")
            (site.root / "two" / "page.gz").write_bytes(b"another!!")
        for form in ("page", "page.gz"):
            ns = 1_700_000_000_123_456_789 + change.get("ns", 0)
            os.utime(site.root / "two" / form, ns=(1, ns))
        assert ask(row, "/two/page", accept).one("ETag") not in tags


def test_SF_14_a_file_of_the_future(row: Row, site: Site) -> None:
    """Last-Modified is never later than Date (RFC 9110, section 8.8.2.1), in replies that follow
    too.
    """
    for _ in range(2):
        for ahead in (3600, 40 * 365 * 86400):
            os.utime(site.root / "a.txt", (time.time() + ahead, time.time() + ahead))
            for fields in ([], [("If-None-Match", '"x"')], [("Range", "bytes=0-1")]):
                reply = ask(row, "/a.txt", *fields)
                assert reply.status in (200, 206)
                assert reply.one("Last-Modified") == reply.one("Date"), reply
        time.sleep(1.1)  # Date goes on


def test_SF_15_a_head_over_max_send_buffer(serve: Any, site: Site) -> None:
    """The file is there: 500 and not 404, and the connection stays."""
    server = serve(
        f"{Path(__file__).parent.parent / 'support' / 'filing.py'}:files", max_send_buffer=2000
    )
    client = server.connect()
    for method in ("GET", "HEAD", "GET"):
        target = file_target(site.root / "a.txt", header="x" * 2500)
        reply = client.send(get(target, method=method)).response(bodiless=method == "HEAD")
        assert reply.status == 500 and reply.one("Connection") is None, reply
    assert client.ask(get(file_target(site.root / "a.txt"))).body == INSIDE
    assert client.ask(get(file_target(site.root / "b.txt"))).status == 404
    assert all("max_send_buffer" in line["message"] for line in server.logged("file-refused"))
    assert server.wait_event("RESULT")["value"] == -1


def test_SF_08_conditions(row: Row) -> None:
    for name, value, status in (
        ("If-Modified-Since", "yesterday", 200),
        ("If-Modified-Since", "Fri, 31 Dec 9999 23:59:59 GMT", 304),
        ("If-Modified-Since", "Fri, 31 Dec 99999 23:59:59 GMT", 200),
        ("If-Modified-Since", "Sat, 31 Feb 2026 23:59:59 GMT", 200),
        ("If-Modified-Since", "Thu, 01 Jan 1970 00:00:00 GMT", 200),
        ("If-Modified-Since", "0" * 8000, 200),
        ("If-None-Match", "*", 304),
        ("If-None-Match", '"' * 8000, 200),
        ("If-None-Match", ", " * 4000 + '"', 200),
        ("If-Match", "*", 200),
        ("If-Match", '"other"', 412),
        ("If-Match", "rubbish", 412),
        ("If-Unmodified-Since", "Thu, 01 Jan 1970 00:00:00 GMT", 412),
        ("If-Unmodified-Since", "rubbish", 200),
    ):
        reply = ask(row, "/a.txt", (name, value))
        assert reply.status == status, (name, value[:60], reply.head)
        assert reply.body == (INSIDE if status == 200 else b"")


def test_SF_09_what_the_application_may_not_send(row: Row, site: Site) -> None:
    path = site.root / "a.txt"
    for query in (
        {"type": "text/html\r\nX: y"},
        {"type": "text/html\n"},
        {"type": "a[NUL]b"},
        {"type": "x" * 600},
        {"type": "caf\xe9"},
        {"type": " "},
        {"header": "a\r\nSet-Cookie: b"},
        {"header": "a\nb"},
        {"header": "a[NUL]"},
        {"header": "v" * 5000},
        {"name": "X Y"},
        {"name": "X:"},
        {"name": "N" * 200},
        {"name": "content-LENGTH"},
        {"name": "Transfer-Encoding"},
        {"name": "ETag"},
        {"cache": "no-store\r\nX: y"},
        {"cache": "x" * 600},
    ):
        mark = row.server.mark()
        reply = ask(row, file_target(path, **query))
        assert reply.status == 404 and not reply.all("X") and not reply.all("Set-Cookie"), query
        told = row.server.wait_event("RESULT", 5, mark)["value"]
        assert told.startswith("ValueError") and any(c.isdigit() for c in told), (query, told)
    reply = ask(row, file_target(path, cache="no-store", header="v", type="text/plain"))
    assert reply.one("Cache-Control") == b"no-store" and reply.one("X-Name") == b"v"
    assert reply.one("Content-Type") == b"text/plain" and reply.body == INSIDE


def test_SF_10_names(row: Row, site: Site) -> None:
    row.expect("file-error")
    for name in (b".hidden", b"x.php~", b"a ", b"trailing.", b"UPPER", b"caf\xc3\xa9", b"\xff\xfe"):
        with open(os.fsencode(site.root) + b"/" + name, "wb") as file:
            file.write(INSIDE)
    (site.root / ".git").mkdir()
    (site.root / ".git" / "config").write_bytes(SECRET)
    for target in ("/.hidden", "/%2ehidden", "/.git/config", "/.git/", "/folder/../.hidden"):
        assert ask(row, target).status == 404, target
    for target in ("/x.php~", "/a%20", "/trailing.", "/UPPER", "/caf%c3%a9", "/%ff%fe"):
        assert ask(row, target).body == INSIDE, target
    for target in ("/x.php", "/a", "/trailing", "/upper", "/UPPER.", "/a.txt%20", "/A.TXT"):
        assert ask(row, target).status == 404, target


def test_SF_11_clients_that_leave(row: Row, site: Site) -> None:
    site.sparse("large", 1 << 30)
    clients = []
    for _ in range(100):
        client = row.connect(rcvbuf=4096).send(get("/large"))
        assert head_of(client).status == 200
        clients.append(client)
    opened = [name for name in descriptors(row.pid).values() if name.endswith("/large")]
    assert len(opened) == 100
    for client in clients:
        client.reset()
    row.barrier()
    row.barrier()

    def none_left() -> bool:
        return not any(name.endswith("/large") for name in descriptors(row.pid).values())

    wait_until(none_left, 1.0)


def test_SL_03_slow_readers_of_a_large_file(row: Row, site: Site) -> None:
    site.sparse("large", 64 << 20)
    before = resident(row.pid)
    clients = [row.connect(rcvbuf=2048).send(get("/large")) for _ in range(100)]
    for client in clients:
        assert head_of(client).status == 200
    grown = resident(row.pid) - before
    assert grown < 100 * (128 << 10), f"{grown >> 10} KiB for 100 slow readers"
    for client in clients:
        with contextlib.suppress(OSError):
            client.reset()
