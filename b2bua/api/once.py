"""POST requests that bear an Idempotency-Key are done once: whoever asks again, with the same key and the same request,
gets the answer of the first time for a day.

The answer is kept in the transaction of its effect, so a crash leaves both or neither. Only successes are kept: what
was refused has done nothing and may be asked again.
"""

import hashlib
from typing import Final

import msgspec
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from b2bua.api.context import Context
from b2bua.api.gate import PREFIX
from b2bua.api.problem import respond, status_of, unavailable
from routing.errors import BindingError, StoreError

__all__ = ["HEADER", "LONGEST_KEY", "Once", "done_once"]

HEADER: Final = "Idempotency-Key"
LONGEST_KEY: Final = 64

# New bindings and files of them have tokens of their own, kept with the binding or the import itself.
ELSEWHERE: Final = frozenset({"/v1/bindings", "/v1/bindings/batch", "/v1/imports"})
# What is asked of the switch is the same done twice. What waits for somebody out there must not hold the store
# meanwhile, and trying a webhook twice does no harm.
SWITCH: Final = "/v1/calls"
OUTSIDE: Final = "/test"
# Who was behind a number is noted each time that it is told.
TRACE: Final = "/holders"


def done_once(method: str, path: str) -> bool:
    """Whether a request of this kind is done once under its Idempotency-Key, here."""
    return (
        method == "POST"
        and path.startswith(f"{PREFIX}/")
        and path not in ELSEWHERE
        and not path.startswith(SWITCH)
        and not path.endswith((OUTSIDE, TRACE))
    )


class Once:
    """ASGI middleware, behind the gate."""

    def __init__(self, app: ASGIApp, context: Context) -> None:
        self._app = app
        self._context = context

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        key = _key(scope)
        if not key:
            await self._app(scope, receive, send)
            return
        if len(key) > LONGEST_KEY or not key.isprintable():
            answer = respond(422, f"must be 1 to {LONGEST_KEY} printable characters", HEADER, "form")
        else:
            try:
                answer = await self._once(scope, receive, key)
            except BindingError as error:
                answer = respond(status_of(error), error.message, error.field, error.rule)
            except StoreError as error:
                answer = unavailable(error)
        await answer(scope, receive, send)

    async def _once(self, scope: Scope, receive: Receive, key: str) -> Response:
        store, caller = self._context.store, scope["state"]["caller"]
        target = scope["raw_path"] + b"?" + scope["query_string"]
        fingerprint = hashlib.sha256(target + b"\n" + scope["state"]["digest"].encode()).digest()
        held = _Held()
        try:
            async with store.transaction():
                now_ms = self._context.clock()
                known = await store.answers.find(caller.asker, key, fingerprint, now_ms)
                if known is not None:
                    return _replayed(*known)
                await self._app(scope, receive, held.send)
                if not 200 <= held.status < 300:
                    raise _Undone
                text = msgspec.json.encode((held.headers, held.kept().decode())).decode()
                await store.answers.keep(caller.asker, key, fingerprint, held.status, text, now_ms)
        except _Undone:
            pass
        return Response(bytes(held.body), held.status, held.headers)


class _Undone(Exception):
    """The answer is no success: what was begun is undone."""


class _Held:
    """An answer that is not sent before its effect is safe."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body = bytearray()

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {name.decode(): value.decode() for name, value in message.get("headers", ())}
            self.headers.pop("content-length", None)
        elif message["type"] == "http.response.body":
            self.body += message.get("body", b"")

    def kept(self) -> bytes:
        """The body as it may be shown again: a secret that is shown once is not in it."""
        if b'"secret"' not in self.body:
            return bytes(self.body)
        body = msgspec.json.decode(self.body)
        return msgspec.json.encode({**body, "secret": None})


def _key(scope: Scope) -> str:
    if scope["type"] != "http" or not done_once(scope["method"], scope["path"]):
        return ""
    for name, value in scope["headers"]:
        if name == b"idempotency-key":
            return str(value.decode("latin-1"))
    return ""


def _replayed(status: int, text: str) -> Response:
    headers, body = msgspec.json.decode(text)
    return Response(body, status, {**headers, "Idempotent-Replayed": "true"})
