"""An API as a process of its own, in a directory of its own."""

import asyncio
import os
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

from httpx import Client

from cdr.seal import Seal, format_keyring, new_keyring
from routing.access import Role
from routing.plan import Block, BlockState
from routing.store.sqlite import Store
from tests.api.world import BLOCK, NOW, PROVIDER, SCENARIO, USER
from tests.system.node import Process, until

T = TypeVar("T")


class ApiNode:
    """Settings, keys, a block, and whatever processes a test starts."""

    def __init__(self, directory: Path, settings: str = "", listen: str = "127.0.0.1:0") -> None:
        self.directory = directory
        keyring = new_keyring()
        self.seal = Seal(keyring)
        keys = directory / "keyring"
        keys.touch(mode=0o600)
        keys.write_text(format_keyring(keyring))
        self.config = directory / "x700.toml"
        self.config.write_text(
            f'[node]\ndata_dir = "{directory}"\n[sip]\nlisten = "127.0.0.1:0"\n[ops]\nlisten = "127.0.0.1:0"\n'
            f'[api]\nlisten = "{listen}"\n{settings}'
            '[[trunk]]\nname = "carrier-a"\npeers = ["127.0.0.1:5070"]\n'
        )
        self.processes: list[Process] = []
        self.port = 0

        async def fill(store: Store) -> str:
            await store.registry.enrol(PROVIDER, USER, SCENARIO, now_ms=NOW, by="test")
            for prefix in (BLOCK, "70012345679", "70012345680"):
                await store.blocks.add(Block(prefix, PROVIDER, USER, BlockState.ACTIVE), NOW, by="test")
            _, key = await store.keys.add("test", Role.PROVIDER, PROVIDER, now_ms=NOW, by="test")
            return key

        self.key = self.store(fill)

    def store(self, work: Callable[[Store], Awaitable[T]]) -> T:
        """Do something with the store, from this process."""

        async def run() -> T:
            async with await Store.open(self.directory / "bindings.db", self.seal) as store:
                return await work(store)

        return asyncio.run(run())

    def start(self, *words: str) -> Process:
        """Start `x700 WORDS`, as `x700 api` when there are none."""
        clean = {name: value for name, value in os.environ.items() if not name.startswith("X700_")}
        process = Process([*(words or ("api",)), "--config", str(self.config)], clean, 0)
        self.processes.append(process)
        return process

    def ready(self) -> Process:
        """An API that answers."""
        process = self.start().wait_ready()
        self.port = int(str(until(lambda: process.events("started"), "its log")[0]["api"]).rpartition(":")[2])
        return process

    def client(self, tls: ssl.SSLContext | None = None, **headers: str) -> Client:
        """A client with the provider's key."""
        scheme = "https" if tls else "http"
        return Client(
            base_url=f"{scheme}://127.0.0.1:{self.port}",
            headers={"Authorization": f"Bearer {self.key}", **headers},
            verify=tls or False,
            timeout=60,
        )

    def close(self) -> None:
        """End what still runs, and find fault with what was logged."""
        for process in self.processes:
            process.close()
        complaints = [line for process in self.processes for line in process.complaints()]
        assert not complaints, "\n".join(complaints)
