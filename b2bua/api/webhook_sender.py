"""One POST to a webhook: bounded in time and in what is read of the answer, no redirects, no cookies, no proxy.

The text of an error is always ours: what a receiver answers may repeat what it was sent.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from functools import cache
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Final, NamedTuple

import httpx

__all__ = ["Answer", "Send", "sender"]

# Of an answer so much is read, so that its connection can serve again; for more the connection is closed.
LONGEST_ANSWER: Final = 65_536
# Connections that idle are kept so long, in seconds.
KEEP_ALIVE_SECONDS: Final = 30.0


class Answer(NamedTuple):
    """What came of it: `error` is "" when the receiver took the event. `status` is 0 without an answer."""

    status: int
    error: str


Send = Callable[[str, bytes, Mapping[str, str]], Awaitable[Answer]]
"""`await send(url, body, headers)`; never raises for what a receiver does."""


@asynccontextmanager
async def sender(timeout_seconds: float) -> AsyncIterator[Send]:
    """What sends. An answer must be there `timeout_seconds` after the beginning. Over TLS the system's authorities are
    trusted.

    Addresses are not looked at here: what a provider may set is looked at when it sets it.
    """
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=256, keepalive_expiry=KEEP_ALIVE_SECONDS)
    async with httpx.AsyncClient(
        timeout=None,  # one bound on the whole instead of one for each step
        limits=limits,
        verify=_authorities(),
        follow_redirects=False,
        trust_env=False,
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
        headers={"user-agent": "x700", "accept-encoding": "identity"},
    ) as client:

        async def send(url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
            try:
                async with asyncio.timeout(timeout_seconds):
                    return _verdict(await _post(client, url, body, headers))
            except TimeoutError:
                return Answer(0, f"no answer within {timeout_seconds:g} s")
            except httpx.ConnectError:
                return Answer(0, "cannot be connected to")
            except (httpx.HTTPError, httpx.InvalidURL, ssl.SSLError, OSError, ValueError):
                return Answer(0, "broke off, or does not speak HTTP")

        yield send


@cache
def _authorities() -> ssl.SSLContext:
    """Those of the system, read once: it takes a tenth of a second."""
    return ssl.create_default_context()


async def _post(client: httpx.AsyncClient, url: str, body: bytes, headers: Mapping[str, str]) -> int:
    async with client.stream("POST", url, content=body, headers=dict(headers)) as response:
        size = 0
        # not decoded: a few packed bytes may stand for gigabytes
        async for part in response.aiter_raw():
            size += len(part)
            if size > LONGEST_ANSWER:
                break
        return response.status_code


def _verdict(status: int) -> Answer:
    if 200 <= status < 300:
        return Answer(status, "")
    if 300 <= status < 400:
        return Answer(status, f"answered {status}: redirects are not followed")
    return Answer(status, f"answered {status}")
