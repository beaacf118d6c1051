"""A certificate for the test server to try TLS with: self-signed, never on a disk."""

import os
import shutil
import subprocess

__all__ = ["NoCertificateError", "self_signed"]

DAYS = 30


class NoCertificateError(Exception):
    """Why no certificate can be made, in words for the user."""


def self_signed(host: str | None) -> tuple[str, str]:
    """Makes a certificate for localhost and host, and its key, with the openssl command.

    Returns the paths of two files that exist in memory only, for as long as this process runs.
    Raises NoCertificateError.
    """
    command = shutil.which("openssl")
    if command is None:
        raise NoCertificateError(
            "--ssl without --cert and --key makes a certificate with the openssl command, which is "
            "not installed (on Debian: apt-get install openssl)"
        )
    names = ["DNS:localhost", "IP:127.0.0.1", "IP:::1"]
    if host not in (None, "", "localhost", "0.0.0.0", "::", "127.0.0.1", "::1"):
        names.append(
            f"IP:{host}" if ":" in host or host.replace(".", "").isdigit() else f"DNS:{host}"
        )
    descriptors = [os.memfd_create(name, os.MFD_CLOEXEC) for name in ("certificate", "key")]
    certificate, key = (f"/proc/self/fd/{descriptor}" for descriptor in descriptors)
    request = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    subject = [
        "-subj",
        "/CN=libwebsockets test server",
        "-addext",
        "subjectAltName=" + ",".join(names),
    ]
    made = subprocess.run(  # noqa: S603 (the command is openssl, the arguments are ours)
        [
            command,
            *request,
            "-nodes",
            *subject,
            "-days",
            str(DAYS),
            "-out",
            certificate,
            "-keyout",
            key,
        ],
        pass_fds=descriptors,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if made.returncode != 0:
        last = made.stderr.strip().rpartition("\n")[2]
        raise NoCertificateError(f"openssl made no certificate: {last}")
    return certificate, key
