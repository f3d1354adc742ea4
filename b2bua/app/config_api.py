"""What has to be right about the HTTP API's settings together, and its TLS."""

import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from b2bua.app.config_models import Api, Settings
from b2bua.app.config_values import ClientCertificate
from b2bua.app.tls import TlsError, server_context
from routing.trunks import format_peer

__all__ = ["api_tls", "check_api"]

Finding = tuple[str, str, object, str]  # section as shown, key, value, problem and fix


class _Files(NamedTuple):
    certificate: Path
    key: Path
    ca: None = None
    client_certificate: ClientCertificate = ClientCertificate.NONE


def api_tls(api: Api) -> ssl.SSLContext | None:
    """What the API answers with, None for plain HTTP. TlsError."""
    if api.certificate is None or api.key is None:
        return None
    return server_context(_Files(api.certificate, api.key))


def check_api(settings: Settings) -> Iterator[Finding]:
    """Every mistake, in the order of the file. Reads the certificate."""
    api = settings.api
    if api.listen is None:
        return
    if api.listen.port and api.listen == settings.ops.listen:
        yield "api", "listen", format_peer(api.listen), "is taken by ops.listen; write another address or port"
    for one, other in (("certificate", "key"), ("key", "certificate")):
        if getattr(api, one) is not None and getattr(api, other) is None:
            yield "api", other, "", f"is missing beside {one}; write the path of a PEM file, or no {one}"
    try:
        api_tls(api)
    except TlsError as error:
        yield "api", error.key, str(getattr(api, error.key)), error.text
