"""What the scanners of Debian say of a port of TLS: sslscan and testssl.sh."""

from __future__ import annotations

import json
import subprocess
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path

from support.certificates import make
from support.server import Server

GOOD = {"TLSv1.2", "TLSv1.3"}
SEVERE = ("MEDIUM", "HIGH", "CRITICAL", "FATAL")
# What only a certificate that a public authority has signed can have.
OF_THE_AUTHORITY = {
    "cert_chain_of_trust",
    "cert_crlDistributionPoints",
    "cert_revocation",
    "cert_ocspURL",
    "cert_caIssuers",
    "cert_extlifeSpan",
    "cert_expirationStatus",  # the tests' own lives 30 days
    "cert_notAfter",
}

Need = Callable[[str, str], str]


def test_sslscan(serve: Callable[..., Server], need: Need) -> None:
    command = need("sslscan", "sslscan")
    server = serve("hostile", tls=True)
    done = subprocess.run(
        [command, "--no-colour", "--xml=-", f"127.0.0.1:{server.port}"],
        capture_output=True,
        timeout=120,
        check=True,
    )
    found = ElementTree.fromstring(done.stdout).find("ssltest")
    assert found is not None
    versions = {
        f"{one.get('type', '').upper()}v{one.get('version')}".replace("TLSV", "TLSv")
        for one in found.iter("protocol")
        if one.get("enabled") == "1"
    }
    assert versions == GOOD
    ciphers = list(found.iter("cipher"))
    assert {one.get("sslversion") for one in ciphers} == GOOD
    for one in ciphers:
        name = one.get("cipher", "")
        assert one.get("strength") in ("strong", "acceptable"), name
        assert name.startswith(("TLS_AES_", "TLS_CHACHA20_", "ECDHE-")), name
        assert "GCM" in name or "CHACHA20" in name, name
    for name in ("renegotiation", "compression"):
        for one in found.iter(name):
            assert one.get("supported") == "0", name
    for one in found.iter("heartbleed"):
        assert one.get("vulnerable") == "0"


def test_testssl(serve: Callable[..., Server], need: Need, tmp_path: Path) -> None:
    command = need("testssl", "testssl.sh")
    pair = make(tmp_path, "scanned", key="RSA")
    server = serve("hostile", tls=pair)
    report = tmp_path / "testssl.json"
    how = ["--quiet", "--color", "0", "--warnings", "batch", "--fast", "--ip", "one", "--sneaky"]
    asked = ["--protocols", "--std", "--fs", "--server-preference", "--server-defaults"]
    done = subprocess.run(
        [command, *how, "--jsonfile", report, *asked, "--vulnerable", f"localhost:{server.port}"],
        capture_output=True,
        text=True,
        timeout=240,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    findings = json.loads(report.read_text())
    ids = {one["id"] for one in findings}
    for looked_at in ("SSLv2", "TLS1", "TLS1_2", "TLS1_3", "heartbleed", "secure_renego"):
        assert looked_at in ids, f"{looked_at} was not looked at:\n{done.stdout[-2000:]}"
    bad = [
        f"{one['id']}: {one['severity']}: {one['finding']}"
        for one in findings
        if one["severity"] in SEVERE and one["id"].split(" ")[0] not in OF_THE_AUTHORITY
    ]
    assert not bad, "\n".join(bad)
