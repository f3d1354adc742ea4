"""What is measured: a switch with journal and binding store in a directory of its own, and the recorder beside it."""

import asyncio
import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from b2bua.app.config import Settings, load
from b2bua.app.demo.scene import free_ports
from b2bua.app.notify import Listener
from b2bua.app.storage import binding_store
from cdr.seal import format_keyring, new_keyring
from cdr.store.sqlite import RecordStore
from routing.binding import BindingRequest
from routing.plan import Block, BlockState
from tests.bench.machine import ROOT, BenchError, Machine

LOOPBACK = "127.0.0.1"
BLOCK, USER = "70012345678", "shop-1"
BINDINGS = 2000
BINDING_MS = 3_600_000
# One carrier's gateway plays all callers here; the guard against floods stays in the path without deciding anything.
SOURCE_MESSAGES = 50_000
START_SECONDS = 20.0
# Calls that a failed run left up are let go after this.
DRAIN_SECONDS = 1
STOP_SECONDS = 15.0
RECORDER_SECONDS = 30.0
TAIL_LINES = 20


@dataclass(frozen=True, slots=True)
class Node:
    """A node with its stores filled. `orders` is the file that callers take middle number and own number from."""

    directory: Path
    settings: Settings
    caller_port: int
    callee_port: int
    orders: Path
    transport: str

    @property
    def port(self) -> int:
        """Where the switch listens."""
        return self.settings.sip.listen.port

    @property
    def config(self) -> Path:
        return self.directory / "x700.toml"


def make_node(
    directory: Path, transport: str = "udp", store: Path | None = None, orders: Sequence[tuple[str, str]] = ()
) -> Node:
    """Write settings and keys, and fill the store through its own interface. Both trunks use the transport.

    A `store` that is there already has its keyring beside it; then `orders` are what callers dial, and their numbers.
    """
    port, caller_port, callee_port, api_port = free_ports(4)
    keyring = directory / "keyring"
    keyring.touch(mode=0o600)
    ready = None if store is None else store.with_name(f"{store.name}.keyring").read_text(encoding="ascii")
    keyring.write_text(ready or format_keyring(new_keyring()))
    place = "" if store is None else f'[routing]\nstore = "{store}"\n'
    # over TCP whoever connects has a port of the system's choice
    sources = f'networks = ["{LOOPBACK}"]\n' if transport == "tcp" else ""
    trunks = "".join(
        f'[[trunk]]\nname = "{name}"\npeers = ["{LOOPBACK}:{peer}"]\nprefixes = ["{prefix}"]\nprobe_seconds = 0\n'
        f'transport = "{transport}"\n{networks}'
        for name, peer, prefix, networks in (
            ("carrier-a", caller_port, "138", sources),
            ("carrier-b", callee_port, "139", ""),
        )
    )
    if transport == "tcp":
        trunks += f'[[listener]]\nname = "tcp"\ntransport = "tcp"\nlisten = "{LOOPBACK}:{port}"\n'
    config = directory / "x700.toml"
    config.write_text(
        f'[node]\nname = "bench"\ndata_dir = "{directory}"\n'
        f'[sip]\nlisten = "{LOOPBACK}:{port}"\ndrain_seconds = {DRAIN_SECONDS}\n'
        f"[limits]\nsource_messages_per_second = {SOURCE_MESSAGES}\nsource_burst = {SOURCE_MESSAGES}\n"
        f'[ops]\nlisten = "{LOOPBACK}:0"\n[api]\nlisten = "{LOOPBACK}:{api_port}"\n{place}{trunks}'
    )
    node = Node(directory, load(config, {}), caller_port, callee_port, directory / "orders.csv", transport)
    dialled = orders or [(request.x, request.a) for request in asyncio.run(_provide(node.settings))]
    node.orders.write_text("SEQUENTIAL\n" + "".join(f"{x};{caller};\n" for x, caller in dialled))
    return node


async def _provide(settings: Settings) -> list[BindingRequest]:
    now_ms = time.time_ns() // 1_000_000
    requests = [
        BindingRequest(
            x=f"{BLOCK}{number:04d}",
            a=f"138{number:08d}",
            b=f"139{number:08d}",
            business_user=USER,
            scenario="delivery",
            order_id=f"order-{number}",
            real_name=f"verified-{number}",
            consent=f"consent-{number}",
            expires_ms=now_ms + BINDING_MS,
        )
        for number in range(BINDINGS)
    ]
    async with binding_store(settings) as store:
        await store.registry.enrol("provider-1", USER, "delivery", now_ms=now_ms, by="bench")
        await store.blocks.add(Block(BLOCK, "provider-1", USER, BlockState.ACTIVE), now_ms, by="bench")
        for request in requests:
            await store.bindings.bind(request, now_ms, by="bench")
    return requests


async def count_answered(node: Node) -> int:
    """Records of answered calls that the recorder has stored."""
    store = RecordStore(node.settings.records.directory)
    try:
        return (await store.count()).get("answered", 0)
    finally:
        await store.close()


@contextmanager
def switch(machine: Machine, node: Node) -> Iterator[int]:
    """The switch on its core, ready; gives its process id. BenchError when it does not start."""
    with _service(machine, node, "switch", machine.switch, STOP_SECONDS) as pid:
        yield pid


@contextmanager
def api(machine: Machine, node: Node) -> Iterator[int]:
    """The API on the core of the switch, which has most of it to spare at the rates that are judged."""
    with _service(machine, node, "api", machine.switch, STOP_SECONDS) as pid:
        yield pid


@contextmanager
def recorder(machine: Machine, node: Node) -> Iterator[int]:
    """The recorder on the other core. At the end it has stored all that the journal held."""
    with _service(machine, node, "recorder", machine.rest, RECORDER_SECONDS) as pid:
        yield pid


@contextmanager
def _service(machine: Machine, node: Node, name: str, core: int, patience: float) -> Iterator[int]:
    log = node.directory / f"{name}.log"
    command = [sys.executable, "-m", "b2bua.app.cli", name, "--config", str(node.config)]
    # what is set for another switch on this machine must not reach this one
    environ = {variable: value for variable, value in os.environ.items() if not variable.startswith("X700_")}
    with Listener() as listener:
        process = machine.start(command, core, str(log), ROOT, environ | listener.environ)
        try:
            _await_ready(process, listener, name, log)
            yield process.pid
            if process.poll() is not None:
                raise BenchError(f"the {name} ended by itself with {process.returncode}:\n{_tail(log)}")
        finally:
            machine.stop(process, patience)


def _await_ready(process: subprocess.Popen[bytes], listener: Listener, name: str, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while "READY=1" not in listener.states():
        if process.poll() is not None or time.monotonic() > deadline:
            raise BenchError(f"the {name} did not start:\n{_tail(log)}")
        select.select([listener], [], [], 0.1)


def _tail(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-TAIL_LINES:])
