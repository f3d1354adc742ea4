"""TLS: contexts out of the files a listener names, and the names that a certificate shows."""

import ssl
from collections.abc import Callable, Iterable
from ipaddress import ip_address
from typing import Any, Protocol

from b2bua.app.config_values import ClientCertificate

__all__ = ["TlsError", "certificate_names", "client_context", "server_context"]


class TlsError(Exception):
    """A file cannot be used: the listener's key that names it, and what is wrong with the fix."""

    def __init__(self, key: str, text: str) -> None:
        super().__init__(text)
        self.key = key
        self.text = text


class TlsFiles(Protocol):
    """The part of a listener's settings that matters here."""

    @property
    def certificate(self) -> Any: ...
    @property
    def key(self) -> Any: ...
    @property
    def ca(self) -> Any: ...
    @property
    def client_certificate(self) -> ClientCertificate: ...


def server_context(files: TlsFiles) -> ssl.SSLContext:
    """For those who connect to us. TlsError."""
    context = _context(ssl.PROTOCOL_TLS_SERVER, files)
    context.verify_mode = {
        ClientCertificate.NONE: ssl.CERT_NONE,
        ClientCertificate.OPTIONAL: ssl.CERT_OPTIONAL,
        ClientCertificate.REQUIRED: ssl.CERT_REQUIRED,
    }[files.client_certificate]
    return context


def client_context(files: TlsFiles) -> ssl.SSLContext:
    """For connections that we make; they show our certificate where they are asked. TlsError.

    The far end's certificate has to be signed by ``ca``. Its names are not looked at here: which ones count is a matter
    of the trunk, see certificate_names.
    """
    context = _context(ssl.PROTOCOL_TLS_CLIENT, files)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED
    return context


def _context(protocol: int, files: TlsFiles) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    for key in ("certificate", "key"):
        try:
            getattr(files, key).read_bytes()
        except OSError as error:
            raise TlsError(key, f"cannot be read ({error.strerror}); write the path of a PEM file") from None
    try:
        # an empty password, lest OpenSSL asks for one at the terminal
        context.load_cert_chain(files.certificate, files.key, password="")
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise TlsError("key", "is not the key of the certificate; name the two that belong together") from None
        if not _holds_certificate(files.certificate):
            raise TlsError("certificate", "holds no PEM certificate; name a file that begins with one") from None
        fix = "name a PEM file without password (openssl pkey takes it off)"
        raise TlsError("key", f"holds no private key that can be used; {fix}") from None
    try:
        if files.ca is None:
            context.load_default_certs(
                ssl.Purpose.SERVER_AUTH if protocol == ssl.PROTOCOL_TLS_CLIENT else ssl.Purpose.CLIENT_AUTH
            )
        else:
            context.load_verify_locations(files.ca)
    except ssl.SSLError:
        raise TlsError("ca", "holds no PEM certificate; name a file of those that sign the carriers'") from None
    except OSError as error:
        raise TlsError("ca", f"cannot be read ({error.strerror}); write the path of a PEM file") from None
    return context


def _holds_certificate(file: Any) -> bool:
    """Whether there is a certificate in the file that can be read, whatever the key."""
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(file)
    except ssl.SSLError:
        return False
    return True


def certificate_names(certificate: dict[str, Any] | None) -> frozenset[str]:
    """The DNS names, URIs and addresses of a verified certificate (RFC 5922 §7.1: the subject itself is not looked at
    where there are any, and never here); empty when none was shown."""
    entries: Iterable[tuple[str, str]] = (certificate or {}).get("subjectAltName", ())
    return frozenset(_READ[kind](value) for kind, value in entries if kind in _READ)


_READ: dict[str, Callable[[str], str]] = {
    "DNS": str.lower,
    "URI": str,
    "IP Address": lambda value: str(ip_address(value.strip())),  # IPv6 is shown in full, its zeros too
}
