"""Certificates for the tests, made with the openssl command, and clients that trust them."""

from __future__ import annotations

import functools
import shutil
import ssl
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass(frozen=True)
class Pair:
    """A certificate and its key, as PEM files."""

    certificate: Path
    key: Path

    def client(self, **versions: ssl.TLSVersion) -> ssl.SSLContext:
        """A client that trusts this certificate alone; minimum, maximum: its versions."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(self.certificate)
        for end, version in versions.items():
            setattr(context, f"{end}_version", version)
        return context


def openssl(*arguments: str | Path) -> None:
    """Runs the openssl command."""
    found = shutil.which("openssl")
    if found is None:
        pytest.skip("needs openssl: install the Debian package openssl")
    subprocess.run([found, *map(str, arguments)], check=True, capture_output=True)


KEYS = {
    "EC": "ec_paramgen_curve:prime256v1",
    "RSA": "rsa_keygen_bits:2048",
    "EC 224": "ec_paramgen_curve:secp224r1",  # which no TLS client offers
    "RSA 512": "rsa_keygen_bits:512",
}
PAST = "20200101000000Z", "20200201000000Z"


def make(
    folder: Path,
    name: str = "localhost",
    *,
    key: str = "EC",
    days: int = 30,
    dates: tuple[str, str] | None = None,
    passphrase: str = "",
    extension: str = "",
) -> Pair:
    """A self-signed certificate of localhost, in NAME.pem and NAME.key.

    days: until it expires, negative for one that has; dates: from when to when, in their place. key
    is one of KEYS; extension goes into the certificate too.
    """
    if days < 0:
        dates = PAST
    pair = Pair(folder / f"{name}.pem", folder / f"{name}.key")
    secret = ["-aes256", "-pass", f"pass:{passphrase}"] if passphrase else []
    algorithm = key.partition(" ")[0]
    openssl("genpkey", "-algorithm", algorithm, "-pkeyopt", KEYS[key], *secret, "-out", pair.key)
    use = ["-passin", f"pass:{passphrase}"] if passphrase else []
    names = "subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1"
    subject = ["-subj", f"/CN={name}", "-addext", names]
    if extension:
        subject += ["-addext", extension]
    if dates is None:
        asked = [*subject, "-days", str(days)]
        openssl("req", "-x509", "-key", pair.key, *use, *asked, "-out", pair.certificate)
    else:
        request = folder / f"{name}.csr"
        openssl("req", "-new", "-key", pair.key, *use, *subject, "-out", request)
        # -days takes no negative number; -not_after is newer than Debian's openssl.
        configuration = folder / "ca.cnf"
        (folder / "index").write_text("")
        configuration.write_text(
            "[ca]\ndefault_ca=own\n[own]\ndatabase=index\nnew_certs_dir=.\nrand_serial=yes\n"
            "default_md=sha256\npolicy=any\nunique_subject=no\n[any]\ncommonName=supplied\n"
        )
        subprocess.run(
            [
                *("openssl", "ca", "-batch", "-selfsign", "-config"),
                configuration,
                *("-startdate", dates[0], "-enddate", dates[1]),
                "-keyfile",
                pair.key,
                "-in",
                request,
                "-out",
                pair.certificate,
            ],
            cwd=folder,
            check=True,
            capture_output=True,
        )
    return pair


@functools.cache
def localhost() -> Pair:
    """The certificate that all servers of a run have unless a test says otherwise."""
    return make(Path(tempfile.mkdtemp(prefix="lws-certificates-")))
