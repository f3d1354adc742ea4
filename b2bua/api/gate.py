"""What every request of /v1 passes before anything else looks at it: key or signature, rate, size, media type.

So whoever has no key learns nothing, not even which paths there are; and a failure never says why.
"""

import asyncio
import base64
import hashlib
import re
from collections.abc import Iterable, Mapping
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from b2bua.api.auth import Caller
from b2bua.api.context import Context
from b2bua.api.limits import Buckets
from b2bua.api.problem import ProblemError, respond, unavailable
from b2bua.api.signature import Claim, Replays, parse_claim, proves
from b2bua.api.usage import Usage
from routing.access import ApiKey, parse_key
from routing.errors import StoreError

__all__ = ["STREAMED", "Gate"]

PREFIX: Final = "/v1"
CARRYING: Final = frozenset({"POST", "PUT", "PATCH", "DELETE"})

JSON: Final = frozenset({"application/json"})
# Requests whose body is too long to be held: method and path, with the media types they take. Their endpoint reads
# the body piece by piece, and a signature is made over the Content-Digest (RFC 9530), which is compared at the end.
STREAMED: Final[Mapping[tuple[str, str], frozenset[str]]] = {
    ("POST", "/v1/imports"): frozenset({"application/x-ndjson", "text/csv"}),
}
# A body that is held must be there after so long; of one that is read piece by piece, the next piece.
BODY_SECONDS: Final = 60.0
_DIGEST: Final = re.compile(r"sha-256=:([A-Za-z0-9+/]{43}=):", re.ASCII)

Headers = Mapping[bytes, str]


class Gate:
    """ASGI middleware. It leaves a `Caller` in the request's state, and the whole body to be read again."""

    def __init__(self, app: ASGIApp, context: Context, usage: Usage) -> None:
        self._app = app
        self._context = context
        self._usage = usage
        self._buckets = Buckets(context.settings.requests_per_second)
        self._replays = Replays(context.settings.replay_seconds, context.started_ms)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "")
        if scope["type"] != "http" or not (path == PREFIX or path.startswith(f"{PREFIX}/")):
            await self._app(scope, receive, send)
            return
        try:
            receive = await self._admit(scope, receive)
        except ProblemError as error:
            fault = error.fault
            answer = respond(error.status, fault.message, fault.field, fault.rule, headers=error.headers)
        except StoreError as error:
            answer = unavailable(error)
        else:
            await self._app(scope, receive, send)
            return
        await answer(scope, receive, send)

    async def _admit(self, scope: Scope, receive: Receive) -> Receive:
        """What the body may be read with, once everything is in order. ProblemError."""
        headers = _headers(scope["headers"])
        streamed = STREAMED.get((scope["method"], scope["path"]))
        now_ms = self._context.clock()
        authorization = headers.get(b"authorization", "")
        claim = parse_claim(authorization)
        if claim is None:
            self._enter(scope, self._shown(authorization, now_ms), now_ms)
            signing = b""
        else:
            key, signing = self._claimed(claim, now_ms)
        most = self._context.settings.import_bytes if streamed else self._context.settings.body_bytes
        length = headers.get(b"content-length", "")
        if length.isdecimal() and int(length) > most:
            raise _too_large(most)
        digest = ""
        if streamed:
            digest = _declared_digest(headers)
            receive = _bounded(receive, most, digest if claim else "")
        elif scope["method"] in CARRYING:
            try:
                async with asyncio.timeout(BODY_SECONDS):
                    body = await _read(receive, most)
            except TimeoutError:
                raise _too_slow() from None
            digest = hashlib.sha256(body).hexdigest()
            receive = _again(body, receive)
        else:
            body = b""
            digest = hashlib.sha256(body).hexdigest()
        if claim is not None:
            # the body may have come long after the head
            now_ms = self._context.clock()
            self._prove(claim, signing, scope, digest, now_ms)
            self._enter(scope, key, now_ms)
        if streamed or (scope["method"] in CARRYING and body):
            _check_media(headers, streamed or JSON)
        scope["state"]["digest"] = digest
        return receive

    def _shown(self, authorization: str, now_ms: int) -> ApiKey:
        scheme, _, text = authorization.partition(" ")
        parts = (
            parse_key(text) if scheme.lower() == "bearer" and not self._context.settings.signature_required else None
        )
        key = self._context.keys.proved(*parts, now_ms) if parts else None
        if key is None:
            raise _stranger()
        return key

    def _claimed(self, claim: Claim, now_ms: int) -> tuple[ApiKey, bytes]:
        key, signing = self._context.keys.signing(claim.key_id, now_ms)
        if key is None or not self._replays.fresh(claim.at_ms, now_ms):
            raise _stranger()
        return key, signing

    def _prove(self, claim: Claim, signing: bytes, scope: Scope, digest: str, now_ms: int) -> None:
        target = scope["raw_path"].decode("latin-1").partition("?")[0]
        if scope["query_string"]:
            target += "?" + scope["query_string"].decode("latin-1")
        right = bool(digest) and proves(claim, signing, scope["method"], target, digest)
        if not right or not self._replays.fresh(claim.at_ms, now_ms) or not self._replays.first(claim, now_ms):
            raise _stranger()

    def _enter(self, scope: Scope, key: ApiKey, now_ms: int) -> None:
        wait = self._buckets.take(key.id, self._context.monotonic())
        if wait:
            raise ProblemError(429, "too many requests with this key", headers={"Retry-After": str(int(wait) + 1)})
        self._usage.note(key.id, now_ms)
        scope.setdefault("state", {})["caller"] = Caller(key.id, key.role, key.provider)


def _stranger() -> ProblemError:
    return ProblemError(401, "not authorised", headers={"WWW-Authenticate": "Bearer"})


def _too_large(most: int) -> ProblemError:
    return ProblemError(413, f"the body is longer than {most} bytes", headers={"Connection": "close"})


def _too_slow() -> ProblemError:
    return ProblemError(408, f"the body did not come within {BODY_SECONDS:g} s", headers={"Connection": "close"})


def _headers(raw: Iterable[tuple[bytes, bytes]]) -> dict[bytes, str]:
    return {name: value.decode("latin-1") for name, value in raw}


def _declared_digest(headers: Headers) -> str:
    """The SHA-256 of a Content-Digest field in hexadecimal digits, '' without one."""
    match = _DIGEST.search(headers.get(b"content-digest", ""))
    return base64.b64decode(match[1]).hex() if match else ""


def _check_media(headers: Headers, types: frozenset[str]) -> None:
    media = headers.get(b"content-type", "").partition(";")[0].strip().lower()
    encoding = headers.get(b"content-encoding", "identity").strip().lower()
    if media not in types or encoding != "identity":
        raise ProblemError(415, f"send {' or '.join(sorted(types))}, not compressed")


async def _read(receive: Receive, most: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise ProblemError(400, "the body did not come whole")
        part = message.get("body", b"")
        size += len(part)
        if size > most:
            raise _too_large(most)
        parts.append(part)
        if not message.get("more_body"):
            return b"".join(parts)


def _again(body: bytes, receive: Receive) -> Receive:
    """The body once more, in one piece; then what comes after it."""
    held: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> Message:
        return held.pop() if held else await receive()

    return again


def _bounded(receive: Receive, most: int, digest: str) -> Receive:
    """The body as it comes, up to a size; at its end its SHA-256 has to be this one, '' for any."""
    size = 0
    whole = False
    hasher = hashlib.sha256()

    async def bounded() -> Message:
        nonlocal size, whole
        try:
            async with asyncio.timeout(None if whole else BODY_SECONDS):
                message = await receive()
        except TimeoutError:
            raise _too_slow() from None
        if message["type"] == "http.request":
            whole = not message.get("more_body")
            part = message.get("body", b"")
            size += len(part)
            if size > most:
                raise _too_large(most)
            if digest:
                hasher.update(part)
                if not message.get("more_body") and hasher.hexdigest() != digest:
                    raise _stranger()
        return message

    return bounded
