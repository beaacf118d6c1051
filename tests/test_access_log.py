"""The logger libwebsockets.access: a line for each request and session, when it is asked for."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

import pytest
from support.raw import close_payload, frame, get, text, upgrade, wait_until

import libwebsockets as lws

FIELDS = re.compile(r"([a-z]+)=(\S+)")


def logged(_wsi: Any, reason: int, _user: Any, _in: Any, _length: int) -> int:
    """Turns the log on where it is loaded, which is before the server is created."""
    uri = lws.libwebsocket_get_uri(_wsi)
    if reason == lws.LWS_CALLBACK_HTTP:
        if uri == "/close":
            return 1
        if uri == "/file":
            return lws.libwebsockets_serve_http_file(_wsi, __file__, "text/x-python")
        if uri == "/raise":
            raise ValueError(uri)
        if uri != "/none":
            return lws.libwebsockets_return_http_status(_wsi, 200, "body")
    if reason == lws.LWS_CALLBACK_FILTER_PROTOCOL_CONNECTION and uri == "/refuse":
        return 1
    if reason == lws.LWS_CALLBACK_RECEIVE:
        lws.libwebsocket_write(_wsi, _in, _length, lws.LWS_WRITE_TEXT)
    return 0


def lines(server: Any) -> list[tuple[str, dict[str, str]]]:
    """The lines so far: request or session, and the fields of each."""
    found = []
    for record in server.logs():
        if record.get("name") == "libwebsockets.access":
            kind, _, rest = record["message"].partition(" ")
            assert record["message"].isascii() and record["message"].isprintable()
            found.append((kind, dict(FIELDS.findall(rest))))
    return found


ON = """
import logging
logging.getLogger("libwebsockets.access").setLevel(logging.INFO)
"""


def served(folder: Path) -> str:
    """The callback above in a file that turns the log on."""
    path = folder / "served.py"
    source = Path(__file__).read_text()
    start, end = source.index("def logged"), source.index("def lines")
    path.write_text(
        f"import libwebsockets as lws\nfrom typing import Any\n{ON}\n{source[start:end]}"
    )
    return f"{path}:logged"


def test_a_line_for_each_request(serve: Any, tmp_path: Path) -> None:
    server = serve(served(tmp_path), hosts=["localhost"])
    size = (tmp_path / "served.py").stat().st_size
    client = server.connect()
    name = client.name
    expected = []
    for target, method, status, sent in (
        ("/a?b=c", "GET", "200", "4"), ("/a", "HEAD", "200", "0"), ("/none", "GET", "404", "0"),
        ("/file", "GET", "200", str(size)), ("http://localhost/x", "GET", "200", "4"),
        ("ws://localhost?%", "GET", "200", "4"),
        ("/" + "y" * 2000, "GET", "200", "4"),
    ):  # fmt: skip
        client.ask(get(target, method=method))
        expected.append((method, target[:1024], status, sent, name))
    for target, status in (("/raise", "500"), ("/close", "-")):
        with server.connect() as other:
            other.send(get(target)).rest()
            expected.append(("GET", target, status, "0", other.name))
    with server.connect() as other:
        other.send(upgrade("/refuse")).rest()
        expected.append(("GET", "/refuse", "403", "0", other.name))
    with server.connect() as other:
        other.send(get("http://elsewhere/")).rest()
        expected.append(("GET", "http://elsewhere/", "421", "0", other.name))
    for request, method, target, status in (
        (b"rubbish\r\n\r\n", "-", "-", "400"), (b"\x16\x03\x01", "-", "-", "400"),
        (get("/", method="OPTIONS"), "OPTIONS", "/", "405"),
        (get("*", method="OPTIONS"), "OPTIONS", "*", "405"),
        (get("/x?y", ("Content-Length", "5"), method="POST"), "POST", "/x?y", "413"),
        (get("/\x1b[m", method="FOO"), "FOO", "/\\x1b[m", "400"),
        (get("/", method="F" * 50), "F" * 32, "/", "501"),
        (get("/a b"), "GET", "/a\\x20b", "400"), (get("/%"), "GET", "/%", "400"),
        (get("/old").replace(b"1.1", b"2.0"), "GET", "/old", "505"),
        (get("/no", ("a b", "c")), "GET", "/no", "400"),
        (get("/many", *[("A", "b")] * 200), "GET", "/many", "431"),
        (b"HEAD /" + b"y" * 9000, "HEAD", "/" + "y" * 1023, "414"),
        (upgrade("/ws", version="9"), "GET", "/ws", "426"),
        (get("/cut", ("A", "b"))[:-2] + b"\n", "GET", "/cut", "400"),
    ):  # fmt: skip
        with server.connect() as other:
            other.send(request).rest()
            expected.append((method, target, status, "0", other.name))
    wait_until(lambda: len(lines(server)) >= len(expected))
    found = lines(server)
    assert [kind for kind, _ in found] == ["request"] * len(expected)
    names = ("method", "target", "status", "bytes", "peer")
    assert [tuple(one[name] for name in names) for _, one in found] == expected
    assert all(0 <= float(one["seconds"]) < 5 for _, one in found)


@pytest.mark.parametrize("how", [{}, {"tls": True}])
def test_a_line_for_requests_that_come_in_parts(serve: Any, tmp_path: Path, how: Any) -> None:
    """What is refused from kept bytes, at the deadline too, is named as well."""
    server = serve(served(tmp_path), handshake_timeout=0.5, **how)
    expected = []
    for cuts, method, target, status in (
        ((get("/", method="OPTIONS"), 3, 12), "OPTIONS", "/", "405"),
        ((get("/a%", ("A", "b" * 300)), 5, 30, 300), "GET", "/a%", "400"),
        ((b"GET /slow HTTP/1.1\r\nHost: h\r\n", 7), "GET", "/slow", "408"),
        ((b"POST /slower", 7), "POST", "/slower", "408"), ((b"GE", 1), "-", "-", "408"),
    ):  # fmt: skip
        with server.connect() as other:
            data, *at = cuts
            for start, stop in zip([0, *at], [*at, len(data)], strict=True):
                other.send(data[start:stop])
                assert server.connect().ask(get("/beat")).status == 200  # it has been read
            assert other.rest().startswith(b"HTTP/1.1 " + status.encode())
            expected.append((method, target, status, other.name))
    names = ("method", "target", "status", "peer")

    def found() -> list[Any]:
        kept = [one for _, one in lines(server) if one["target"] != "/beat"]
        return [tuple(one[name] for name in names) for one in kept]

    wait_until(lambda: len(found()) >= len(expected))
    assert found() == expected


def test_a_health_check_is_no_warning(serve: Any, tmp_path: Path) -> None:
    server = serve(served(tmp_path))
    for method, status in (("OPTIONS", 405), ("POST", 405), ("FOO", 501)):
        with server.connect() as client:
            client.send(get("/", method=method)).refused(status)
    wait_until(lambda: len(server.logged("http-method")) == 3)
    assert {line["level"] for line in server.logged("http-method")} == {"INFO"}


def test_a_forwarded_field_that_is_refused_has_its_line(serve: Any, tmp_path: Path) -> None:
    server = serve(served(tmp_path), trusted_proxies=["127.0.0.1"])
    server.connect().send(get("/x", ("Forwarded", 'for="'))).refused(400)
    wait_until(lambda: bool(lines(server)))
    ((kind, one),) = lines(server)
    assert (kind, one["method"], one["target"], one["status"]) == ("request", "GET", "/x", "400")


def test_a_line_for_each_session(serve: Any, tmp_path: Path) -> None:
    server = serve(served(tmp_path), send_interval=0)
    for code, last in (("1000", frame(8, close_payload(1000))), ("1006", b"")):
        count = len(lines(server))
        client = server.connect().send(upgrade("/ws"))
        assert client.response().status == 101
        client.send(text("x" * 1000))
        assert client.message() == b"x" * 1000
        name = client.name
        client.send(last)
        if not last:
            client.reset()
        wait_until(lambda count=count: len(lines(server)) > count)  # type: ignore[misc]
        kind, one = lines(server)[-1]
        assert kind == "session" and one["code"] == code and one["target"] == "/ws"
        assert one["status"] == "101" and one["peer"] == name
        assert 1000 < int(one["bytes"]) < 1400 and 0 <= float(one["seconds"]) < 5


def test_no_line_of_a_session_whose_request_was_interrupted(caplog: Any) -> None:
    """An interrupt between the 101 and the start of its line: there is none to end."""
    from libwebsockets.http.access_log import AccessLog

    with caplog.at_level(logging.INFO, "libwebsockets.access"):
        AccessLog(None, str).end(7, 1000)
    assert caplog.records == []


def test_off_by_default(serve: Any) -> None:
    server = serve(f"{Path(__file__).parent / 'support' / 'asking.py'}:asking")
    assert server.connect().ask(get("/")).status == 200
    assert server.wait_event("LWS_CALLBACK_HTTP")
    server.stop()
    assert lines(server) == []


def test_a_level_of_ones_own_stays() -> None:
    import importlib

    from libwebsockets.http import access_log as access

    before = access.logger.level
    assert not access.logger.isEnabledFor(logging.INFO)
    try:
        access.logger.setLevel(logging.DEBUG)
        importlib.reload(access)
        assert access.logger.level == logging.DEBUG
    finally:
        access.logger.setLevel(before)
