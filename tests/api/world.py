"""An API in memory: its application, a store in a file, a clock that stands still, and a client for each role."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from httpx import ASGITransport, AsyncClient, Response

from b2bua.api.app import create_app
from b2bua.api.context import ApiSettings, Context, SwitchUnavailable
from b2bua.api.usage import Usage
from cdr.seal import Seal, new_keyring
from routing.access import Role
from routing.plan import Block, BlockState
from routing.store.keys import KeyReader
from routing.store.sqlite import Store

NOW = 1_795_000_000_000  # in November 2026
HOUR = 3_600_000
DAY = 24 * HOUR
BLOCK = "70012345678"
PROVIDER = "platform-1"
OTHER = "platform-2"
USER = "shop-1"
SCENARIO = "delivery"
A, B = "13800138000", "13900139000"


class Clock:
    """UTC milliseconds that move when told to."""

    def __init__(self) -> None:
        self.now_ms = NOW

    def __call__(self) -> int:
        return self.now_ms

    def seconds(self) -> float:
        return self.now_ms / 1000


class Switch:
    """What stands for the running switch: what it was asked, and what it answers; None is nobody there."""

    def __init__(self) -> None:
        self.asked: list[dict[str, object]] = []
        self.answer: dict[str, object] | Callable[[dict[str, object]], dict[str, object]] | None = {}

    async def ask(self, **request: object) -> dict[str, object]:
        self.asked.append(request)
        if self.answer is None:
            raise SwitchUnavailable
        return self.answer(request) if callable(self.answer) else self.answer


class Client:
    """One key and the requests made with it."""

    def __init__(self, app: FastAPI, key: str, *, raising: bool = True) -> None:
        self.key = key
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._http = AsyncClient(
            transport=ASGITransport(app, raise_app_exceptions=raising), base_url="http://api", headers=headers
        )

    async def __call__(self, method: str, path: str, **request: Any) -> Response:
        return await self._http.request(method, path, **request)

    async def get(self, path: str, **request: Any) -> Response:
        return await self("GET", path, **request)

    async def post(self, path: str, body: object = None, **request: Any) -> Response:
        return await self("POST", path, **({"json": body} if body is not None else {}), **request)

    async def patch(self, path: str, body: object, **request: Any) -> Response:
        return await self("PATCH", path, json=body, **request)

    async def delete(self, path: str, **request: Any) -> Response:
        return await self("DELETE", path, **request)


@dataclass
class World:
    """Everything a test may look at. `platform` and `other` are keys of two providers."""

    directory: Path
    context: Context
    store: Store
    app: FastAPI
    clock: Clock
    switch: Switch
    seal: Seal
    nobody: Client
    operator: Client
    auditor: Client
    platform: Client
    other: Client

    @property
    def usage(self) -> Usage:
        """What the application has noted of keys."""
        usage = self.app.state.usage
        assert isinstance(usage, Usage)
        return usage

    async def key(self, role: Role, provider: str = "", **more: Any) -> str:
        """The text of a new key."""
        _, text = await self.store.keys.add("test", role, provider, now_ms=self.clock(), by="test", **more)
        return text

    def client(self, key: str) -> Client:
        return Client(self.app, key)


@asynccontextmanager
async def world(directory: Path, *, seal: Seal | None = None, **settings: Any) -> AsyncIterator[World]:
    """Two providers with a business user, a scenario and a block each, and keys for everybody. With the seal of a world
    before it, it is that world after a restart."""
    fresh, seal = seal is None, seal or Seal(new_keyring())
    clock, switch = Clock(), Switch()
    path = directory / "bindings.db"
    async with await Store.open(path, seal, quarantine_ms=HOUR) as store:
        for provider, user, prefix in ((PROVIDER, USER, BLOCK), (OTHER, "shop-2", "70012345679")):
            if not fresh:
                break
            await store.registry.enrol(provider, user, SCENARIO, now_ms=NOW, by="test")
            await store.blocks.add(Block(prefix, provider, user, BlockState.ACTIVE), NOW, by="test")
        keys = KeyReader(path, seal)
        context = Context(
            settings=ApiSettings(**{"webhook_private": True, **settings}),
            store=store,
            keys=keys,
            records=directory / "records",
            imports=directory / "imports",
            ask=switch.ask,
            clock=clock,
            monotonic=clock.seconds,
            started_ms=NOW - HOUR,
            seal=seal,
        )
        app = create_app(context)

        async def client(role: Role, provider: str = "") -> Client:
            _, text = await store.keys.add(role.value, role, provider, now_ms=NOW, by="test")
            return Client(app, text)

        async with app.router.lifespan_context(app):
            yield World(
                directory, context, store, app, clock, switch, seal,
                Client(app, ""),
                await client(Role.OPERATOR),
                await client(Role.AUDITOR),
                await client(Role.PROVIDER, PROVIDER),
                await client(Role.PROVIDER, OTHER),
            )  # fmt: skip
        keys.close()
