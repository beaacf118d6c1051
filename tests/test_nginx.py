"""A real nginx in front, plain and with the PROXY protocol; wrk and curl on files."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.raw import Client, get, wait_until
from support.server import free_port, resident

SUPPORT = Path(__file__).parent / "support"
ASKING = f"{SUPPORT / 'asking.py'}:asking"
HOSTILE = "hostile"
FILING = f"{SUPPORT / 'filing.py'}:files"
Need = Callable[[str, str], str]

CONFIG = """
daemon off; worker_processes 1; pid {folder}/pid; error_log {folder}/error.log;
events {{ worker_connections 256; }}
http {{
    access_log off; client_body_temp_path {folder}/a; proxy_temp_path {folder}/b;
    fastcgi_temp_path {folder}/c; uwsgi_temp_path {folder}/d; scgi_temp_path {folder}/e;
    map $http_upgrade $connection_upgrade {{ default upgrade; '' ''; }}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://127.0.0.1:{upstream};
            proxy_http_version 1.1;
            proxy_set_header Host $host;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection $connection_upgrade;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_set_header X-Forwarded-Proto https;
        }}
    }}
}}
stream {{
    server {{ listen 127.0.0.1:{stream_port}; proxy_pass 127.0.0.1:{upstream}; proxy_protocol on; }}
}}
"""


class Nginx:
    """An nginx of its own: port is HTTP, stream_port hands TCP on behind a PROXY header."""

    def __init__(self, command: str, upstream: int, stream: bool) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="lws-nginx-"))
        self.folder.chmod(0o755)
        self.port, self.stream_port = free_port(), free_port()
        config = CONFIG.format(
            folder=self.folder,
            port=self.port,
            stream_port=self.stream_port,
            upstream=upstream,
        )
        modules = Path("/usr/lib/nginx/modules/ngx_stream_module.so")
        if not stream:
            config = config[: config.index("stream {")]
        elif modules.exists():
            config = f"load_module {modules};{config}"
        (self.folder / "nginx.conf").write_text(config)
        log = (self.folder / "output").open("wb")
        with log:
            self.process = subprocess.Popen(
                [command, "-p", str(self.folder), "-c", str(self.folder / "nginx.conf")],
                stdout=log,
                stderr=log,
            )
        wait_until(self.listens, 10, "nginx")

    def listens(self) -> bool:
        assert self.process.poll() is None, (self.folder / "output").read_text()
        try:
            Client(self.port).close()
        except ConnectionRefusedError:
            return False
        return True

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(10)
        shutil.rmtree(self.folder)


@pytest.fixture
def nginx(need: Need) -> Iterator[Callable[..., Nginx]]:
    started: list[Nginx] = []

    def start(upstream: int, stream: bool = False) -> Nginx:
        started.append(Nginx(need("nginx", "nginx"), upstream, stream))
        return started[-1]

    yield start
    for one in started:
        one.stop()


@pytest.fixture
def site() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="lws-site-"))
    (folder / "zero").write_bytes(b"")
    (folder / "kilo").write_bytes(os.urandom(1024))
    (folder / "mega").write_bytes(os.urandom(1 << 20))
    with (folder / "giga").open("wb") as file:
        file.truncate(5 << 30)
    yield folder
    shutil.rmtree(folder)


def test_reverse_proxy(serve: Any, nginx: Any) -> None:
    server = serve(ASKING, trusted_proxies=["127.0.0.1"], send_interval=0)
    front = nginx(server.port)
    for target in ("/", "/a?b=%20c"):
        mark = server.mark()
        client = Client(front.port)
        reply = client.ask(get(target, ("X-Forwarded-For", "192.0.2.7")))
        assert reply.status == 200
        told = server.wait_event("LWS_CALLBACK_HTTP", 5, mark, uri=target)
        # nginx adds the address that it saw; the one before it is a client's word, but behind
        # a trusted address it is what that one has said
        assert told["address"] == ["192.0.2.7", 0]
    assert client.ask(get("/", method="HEAD")).status == 200
    for status in (400, 405):
        bad = get("/", method="POST") if status == 405 else get("/", ("Forwarded", "for="))
        assert Client(front.port).ask(bad).status in (status, 400)


def test_websockets_through_the_proxy(serve: Any, nginx: Any) -> None:
    server = serve(HOSTILE, trusted_proxies=["127.0.0.1"])
    front = nginx(server.port)
    client = Client(front.port, timeout=10).open("/echo")
    for size in (0, 1, 125, 126, 65535, 65536, 300_000):
        client.echo(b"x" * size)
    client.leave()


def test_files_through_the_proxy(serve: Any, nginx: Any, site: Path) -> None:
    server = serve(FILING, env={"LWS_TEST_ROOT": str(site)}, trusted_proxies=["127.0.0.1"])
    front = nginx(server.port)
    client = Client(front.port, timeout=20)
    for name in ("zero", "kilo", "mega"):
        reply = client.ask(get(f"/{name}"))
        assert reply.status == 200 and reply.body == (site / name).read_bytes(), name
        etag = reply.one("ETag")
        assert etag and client.ask(get(f"/{name}", ("If-None-Match", etag))).status == 304
    reply = client.ask(get("/mega", ("Range", "bytes=1000-1999")))
    assert reply.status == 206 and reply.body == (site / "mega").read_bytes()[1000:2000]


def test_proxy_protocol_of_nginx(serve: Any, nginx: Any, need: Need) -> None:
    if not Path("/usr/lib/nginx/modules/ngx_stream_module.so").exists():
        pytest.skip("needs nginx's stream module: install the Debian package libnginx-mod-stream")
    server = serve(ASKING, trusted_proxies=["127.0.0.1"], proxy_protocol=True, send_interval=0)
    front = nginx(server.port, stream=True)
    mark = server.mark()
    client = Client(front.stream_port)
    assert client.ask(get("/")).status == 200
    told = server.wait_event("LWS_CALLBACK_HTTP", 5, mark)
    assert told["address"] == list(client.sock.getsockname())
    client = Client(front.stream_port).open("/ws")
    told = server.wait_event("LWS_CALLBACK_ESTABLISHED", 5, mark)
    assert told["address"] == list(client.sock.getsockname())


def test_wrk(serve: Any, need: Need, site: Path) -> None:
    wrk = need("wrk", "wrk")
    server = serve(FILING, env={"LWS_TEST_ROOT": str(site)}, keepalive_requests=2**31 - 1)
    before = resident(server.pid)
    for name, connections in (("zero", 32), ("kilo", 32), ("mega", 8), ("giga", 4)):
        ran = subprocess.run(
            [wrk, "-t1", f"-c{connections}", "-d1s", f"http://127.0.0.1:{server.port}/{name}"],
            capture_output=True,
            text=True,
            check=True,
            timeout=30,
        )
        assert "Non-2xx" not in ran.stdout and "Socket errors" not in ran.stdout, ran.stdout
        count = re.search(r"(\d+) requests in", ran.stdout)
        assert count and (int(count[1]) > 20 or name == "giga"), ran.stdout
    assert resident(server.pid) - before < 4 << 20
    assert not server.logged("callback-error")


def test_curl(serve: Any, need: Need, site: Path) -> None:
    curl = need("curl", "curl")
    server = serve(FILING, env={"LWS_TEST_ROOT": str(site)})
    base = f"http://127.0.0.1:{server.port}"

    def fetched(*arguments: str) -> bytes:
        return subprocess.run(
            [curl, "-sS", "--fail", *arguments], capture_output=True, check=True, timeout=60
        ).stdout

    for name in ("zero", "kilo", "mega"):
        got = fetched(f"{base}/{name}")
        assert hashlib.sha1(got).digest() == hashlib.sha1((site / name).read_bytes()).digest()
    assert b"Content-Length: 5368709120" in fetched("-I", f"{base}/giga")
    # the end of it, beyond 4 GiB
    assert fetched("-r", "5368708120-", f"{base}/giga") == b"\0" * 1000
    part = site / "part"
    part.write_bytes((site / "mega").read_bytes()[:1000])
    fetched("-C", "-", "-o", str(part), f"{base}/mega")  # goes on where it was left
    assert part.read_bytes() == (site / "mega").read_bytes()
