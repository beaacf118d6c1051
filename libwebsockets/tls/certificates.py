"""Certificates and keys: PEM files into an SSLContext, and once more when they are renewed."""

from __future__ import annotations

import logging
import os
import ssl
import time
from pathlib import Path
from typing import NoReturn

from .. import log

__all__ = ["CertificateError", "Credentials", "choose"]

# TLS 1.2 with forward secrecy and AEAD (RFC 9325, section 4.2); those of TLS 1.3 are all so.
CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
PEM_MAX = 1 << 20  # bytes of a file
DAY = 86400
# X509_V_ERR_CERT_NOT_YET_VALID and X509_V_ERR_CERT_HAS_EXPIRED.
NOT_YET_VALID, EXPIRED = 9, 10


class CertificateError(Exception):
    """Why there is no TLS: the file and the cause."""

    def __init__(self, file: str | None, cause: str) -> None:
        super().__init__(file, cause)
        self.file = file
        self.cause = cause


class Credentials:
    """What new connections are encrypted with.

    ``context`` is the SSLContext of the next one. It comes from the two files, which ``reload``
    reads again, or is the caller's own.
    """

    __slots__ = ("_certificate", "_key", "context")

    def __init__(self, context: ssl.SSLContext, certificate: str = "", key: str = "") -> None:
        self.context = context
        self._certificate = certificate
        self._key = key

    def reload(self) -> bool:
        """Reads the files again, for new connections; those that are open keep what they have.

        If they are no good, what was in force stays, with one ERROR line. Returns whether new
        files are in force now. The caller's own context is left alone.
        """
        if not self._certificate:
            log.event(logging.INFO, "tls-reload", cause="ssl_context is the application's to renew")
            return False
        try:
            self.context = load(self._certificate, self._key)
        except CertificateError as error:
            log.event(logging.ERROR, "tls-config", file=error.file, cause=error.cause)
            return False
        log.event(logging.INFO, "tls-reload", file=self._certificate)
        return True


def choose(
    certificate: str | os.PathLike[str] | None,
    key: str | os.PathLike[str] | None,
    context: ssl.SSLContext | None,
) -> Credentials | None:
    """What the arguments of a server ask for; None: no encryption.

    As in 2010 it takes both files; one alone does not ask for TLS, which is logged. Raises
    CertificateError if there can be no TLS, TypeError and ValueError for wrong arguments.
    """
    for name, path in (("ssl_cert_filepath", certificate), ("ssl_private_key_filepath", key)):
        if path is not None and not isinstance(path, str | os.PathLike):
            raise TypeError(f"{name} must be a path or None, not {type(path).__name__}")
    if context is not None:
        if certificate is not None or key is not None:
            raise ValueError("ssl_context takes the place of the 2 file paths: not both")
        if context.protocol == ssl.PROTOCOL_TLS_CLIENT:
            raise CertificateError(None, "ssl_context is one of a client")
        return Credentials(context)
    if certificate is None or key is None:
        if certificate is not key:
            log.event(
                logging.WARNING,
                "tls-config",
                cause="not encrypted: a certificate or a key alone does not ask for TLS",
            )
        return None
    names = os.path.abspath(certificate), os.path.abspath(key)  # noqa: PTH100 (a str is wanted)
    return Credentials(load(*names), *names)


def load(certificate: str, key: str) -> ssl.SSLContext:
    """An SSLContext of a server with a certificate, its chain behind it in the file, and its key.

    TLS 1.2 and 1.3 (RFC 9325), no renegotiation, no compression, no early data, ALPN "http/1.1".
    Session tickets are encrypted with a key of this context, which no other process or restart
    has. Raises CertificateError, also for a certificate that has expired; never asks for a
    passphrase.
    """
    pem = _read(certificate)
    _read(key)
    leaf = _leaf(certificate, pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS)
    context.options |= (
        ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    )
    context.set_alpn_protocols(["http/1.1"])
    context.num_tickets = 1
    try:
        context.load_cert_chain(certificate, key, _refuse_passphrase)
    except CertificateError:
        raise CertificateError(key, "it has a passphrase") from None
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            cause = "it is not the certificate's key"
        elif error.reason in ("EE_KEY_TOO_SMALL", "CA_MD_TOO_WEAK", "CA_KEY_TOO_SMALL"):
            raise CertificateError(certificate, reason_of(error)) from error
        else:
            cause = f"it is no private key in PEM ({reason_of(error)})"
        raise CertificateError(key, cause) from error
    except OSError as error:
        raise CertificateError(key, error.strerror or str(error)) from error
    _check_dates(certificate, context, leaf)
    return context


def reason_of(error: Exception) -> str:
    """What OpenSSL says, in a few words, without the place in its source."""
    reason = getattr(error, "reason", None) or str(error) or type(error).__name__
    return str(reason).lower().replace("_", " ")


def _refuse_passphrase() -> NoReturn:
    raise CertificateError(None, "passphrase")


def _read(path: str) -> str:
    try:
        with Path(path).open("rb") as file:
            return file.read(PEM_MAX).decode("latin-1")
    except OSError as error:
        raise CertificateError(path, error.strerror or str(error)) from error


def _leaf(path: str, pem: str) -> bytes:
    """The first certificate of a file, in DER."""
    start = pem.find(ssl.PEM_HEADER)
    end = pem.find(ssl.PEM_FOOTER, start)
    if start < 0 or end < 0:
        raise CertificateError(path, "it holds no certificate in PEM")
    try:
        leaf = ssl.PEM_cert_to_DER_cert(pem[start : end + len(ssl.PEM_FOOTER)])
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=leaf)
    except (ValueError, ssl.SSLError) as error:
        raise CertificateError(path, f"its certificate is broken ({reason_of(error)})") from error
    return leaf


def _check_dates(path: str, server: ssl.SSLContext, leaf: bytes) -> None:
    """Holds the certificate against the clock, by a handshake in memory with one who trusts it."""
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    client.load_verify_locations(cadata=leaf)
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(down, up, server_side=False),
        server.wrap_bio(up, down, server_side=True),
    ]
    for _ in range(4):
        for end in ends:
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
            except ssl.SSLCertVerificationError as error:
                if error.verify_code == EXPIRED:
                    raise CertificateError(path, "its certificate has expired") from None
                if error.verify_code == NOT_YET_VALID:
                    log.event(
                        logging.WARNING,
                        "tls-config",
                        file=path,
                        cause="its certificate is not valid yet",
                    )
                return  # whatever else may be wrong with it is for the clients to say
            except ssl.SSLError as error:
                raise CertificateError(path, reason_of(error)) from error
    verified = ends[0].getpeercert()
    assert verified is not None
    expires = verified["notAfter"]
    assert isinstance(expires, str)
    if ssl.cert_time_to_seconds(expires) - time.time() < DAY:
        log.event(logging.WARNING, "tls-config", file=path, cause="it expires within a day")
