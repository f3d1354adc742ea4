"""Asks the verification hook over HTTP, on a thread with an event loop of its own.

Not on the signalling loop: there one question costs about a millisecond, here that thread pays some thirty microseconds
for handing it over and taking the answer; and whatever a server does to its clients (long answers, resets by the
hundred, handshakes) happens elsewhere.
"""

import asyncio
import base64
import hashlib
import hmac
import ssl
import threading
import time
from collections.abc import Callable
from typing import Annotated, NamedTuple

import httpx
import msgspec

from b2bua.app.breaker import RetryBudget
from b2bua.app.config_hooks import Verification, hook_context

__all__ = ["Heard", "HookClient", "parse_answer", "signature_headers"]

# An answer is two short fields; what is longer is none and is not read to its end.
LONGEST_ANSWER = 4096
# Servers close idle connections after five seconds or more: leave before, so that no question meets the closing.
KEEP_ALIVE_SECONDS = 4.0
# With less time left a further try would only be cut off.
SHORTEST_TRY = 0.02


class Answer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the hook may say; anything else is a failure of it."""

    allow: bool
    reason: Annotated[str, msgspec.Meta(pattern="^[A-Za-z0-9_.-]{0,64}$")] = ""


class Heard(NamedTuple):
    """What came of one verification. ``allow`` is None when the hook gave no answer; then ``failures`` says what went
    wrong, once for each try."""

    allow: bool | None
    failures: tuple[str, ...]
    tries: int
    seconds: float


class HookError(Exception):
    """This try has failed; the text is the word that it is counted under."""


_ANSWERS = msgspec.json.Decoder(Answer)


def parse_answer(body: bytes) -> bool:
    """Whether the hook allows it. HookError for anything that is no answer."""
    try:
        return _ANSWERS.decode(body).allow
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise HookError("answer") from error


def signature_headers(secret: str, identifier: str, seconds: int, body: bytes) -> list[tuple[str, str]]:
    """Who asks, by the headers of Standard Webhooks 1.0.0: an HMAC-SHA256 of id, time and body, joined by full stops.
    None without a secret. The key is what stands in base64 behind ``whsec_``, or else the secret itself."""
    if not secret:
        return []
    prefix, _, coded = secret.partition("whsec_")
    key = base64.b64decode(coded) if coded and not prefix else secret.encode()
    signed = b"%b.%d.%b" % (identifier.encode(), seconds, body)
    proof = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    return [
        ("webhook-id", identifier),
        ("webhook-timestamp", str(seconds)),
        ("webhook-signature", f"v1,{proof}"),
    ]


class HookClient:
    """One hook with one set of settings. ``tell(number, heard)`` is called on this client's own thread."""

    def __init__(self, settings: Verification, secret: str, tell: Callable[[int, Heard], None]) -> None:
        self._settings = settings
        self._secret = secret
        self._tell = tell
        self._url = httpx.URL(settings.url)
        self._budget = RetryBudget(settings.retry_percent)
        self._transport: httpx.AsyncHTTPTransport | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="verification", daemon=True)
        self._thread.start()

    def ask(self, number: int, identifier: str, body: bytes) -> None:
        """Put a question on its way; ``tell`` hears of it by its number, within the deadline. From any thread."""
        self._loop.call_soon_threadsafe(self._begin, number, identifier, body)

    def stop(self) -> None:
        """Give up what is under way and end the thread soon. From any thread, once."""
        self._loop.call_soon_threadsafe(self._stop.set)

    def join(self, seconds: float) -> None:
        """Wait for that."""
        self._thread.join(seconds)

    # on the thread

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._serve())
        finally:
            self._loop.close()

    async def _serve(self) -> None:
        await self._stop.wait()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._transport is not None:
            await self._transport.aclose()

    def _begin(self, number: int, identifier: str, body: bytes) -> None:
        task = self._loop.create_task(self._verify(number, identifier, body))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _verify(self, number: int, identifier: str, body: bytes) -> None:
        settings = self._settings
        began = self._loop.time()
        end = began + settings.deadline_ms / 1000
        failures: list[str] = []
        allow: bool | None = None
        self._budget.earn()
        while allow is None:
            left = end - self._loop.time()
            if failures and (left < SHORTEST_TRY or not self._budget.take()):
                break
            try:
                allow = await self._try(identifier, body, min(left, settings.timeout_ms / 1000))
            except (TimeoutError, httpx.TimeoutException):
                failures.append("timeout")
            except httpx.ConnectError:
                failures.append("connect")
            except HookError as error:
                failures.append(str(error))
            except Exception:  # noqa: BLE001 - whatever the far end has come up with: the call must have its answer
                failures.append("broken")
        tries = len(failures) + (allow is not None)
        self._tell(number, Heard(allow, tuple(failures), tries, self._loop.time() - began))

    async def _try(self, identifier: str, body: bytes, seconds: float) -> bool:
        transport = self._open()
        headers = [
            ("host", self._url.netloc.decode("ascii")),
            ("user-agent", "x700"),
            ("accept", "application/json"),
            ("accept-encoding", "identity"),
            ("content-type", "application/json"),
            *signature_headers(self._secret, identifier, int(time.time()), body),
        ]
        waits = dict.fromkeys(("connect", "read", "write", "pool"), seconds)
        request = httpx.Request("POST", self._url, headers=headers, content=body, extensions={"timeout": waits})
        async with asyncio.timeout(seconds):
            response = await transport.handle_async_request(request)
            try:
                if response.status_code != 200:
                    raise HookError("status")
                read = b""
                async for chunk in response.stream:  # type: ignore[union-attr]  # of an async transport
                    read += chunk
                    if len(read) > LONGEST_ANSWER:
                        raise HookError("too_long")
                return parse_answer(read)
            finally:
                await response.aclose()

    def _open(self) -> httpx.AsyncHTTPTransport:
        """The connections. Not a whole client: nothing here follows redirects, keeps cookies or asks a proxy."""
        if self._transport is None:
            most = self._settings.connections
            secure = self._url.scheme == "https"
            self._transport = httpx.AsyncHTTPTransport(
                verify=hook_context(self._settings) if secure else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
                limits=httpx.Limits(
                    max_connections=most, max_keepalive_connections=most, keepalive_expiry=KEEP_ALIVE_SECONDS
                ),
                trust_env=False,
            )
        return self._transport
