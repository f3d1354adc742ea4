"""Where a provider may point a webhook: not at this host, nor at what only this host can reach."""

import asyncio
import ipaddress
import socket
from collections.abc import Iterable
from contextlib import suppress
from typing import Final
from urllib.parse import urlsplit

from routing.errors import BindingError

__all__ = ["admit_address", "admit_name"]

RESOLVE_SECONDS: Final = 3.0


def admit_address(url: str) -> None:
    """BindingError for an address, however it is written, that is not of the public Internet, and for localhost.

    Names are not resolved, so nothing is waited for. What is no URL is for others to refuse.
    """
    host = _host(url)
    if host == "localhost" or host.endswith(".localhost"):
        raise _inside()
    with suppress(OSError, UnicodeError):  # a name
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
        _check(str(place[0]) for *_, place in found)


async def admit_name(url: str) -> None:
    """The same of every address that a name has now; a name that has none leads nowhere."""
    admit_address(url)
    loop = asyncio.get_running_loop()
    with suppress(OSError, UnicodeError):  # TimeoutError is an OSError
        async with asyncio.timeout(RESOLVE_SECONDS):
            found = await loop.getaddrinfo(_host(url), None, type=socket.SOCK_STREAM)
        _check(str(place[0]) for *_, place in found)


def _host(url: str) -> str:
    try:
        return (urlsplit(url).hostname or "").rstrip(".")
    except ValueError:
        return ""


def _check(addresses: Iterable[str]) -> None:
    for text in addresses:
        address = ipaddress.ip_address(text.partition("%")[0])
        address = getattr(address, "ipv4_mapped", None) or address
        if not address.is_global or address.is_multicast:
            raise _inside()


def _inside() -> BindingError:
    return BindingError("url", "form", "must lead to the public Internet; ask the operator to set another")
