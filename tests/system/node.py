"""A node of real processes in a temporary directory, and what its operator can ask of it."""

import asyncio
import json
import os
import random
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple, TypeVar

from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from b2bua.app.control import ask
from b2bua.app.notify import Listener
from cdr.record import Parties, Record, reveal
from cdr.seal import Seal, format_keyring, new_keyring
from cdr.store.sqlite import RecordStore
from routing.binding import BindingRequest
from routing.plan import Block, BlockState
from routing.store.sqlite import Store
from routing.trunks import Peer
from tests.system.phones import Manner, Phones, now_ms
from tests.system.wire import free_port

ROOT = Path(__file__).resolve().parents[2]
DAY_MS = 86_400_000
BLOCK = "70012345678"
BUSINESS = "shop-1"
CALLER = "13800138000"


class Line(NamedTuple):
    """A middle number, who is behind it besides CALLER, and how he takes a call."""

    x: str
    callee: str
    manner: Manner


ANSWERED = Line(f"{BLOCK}0001", "13900139001", Manner())
HANGS_UP = Line(f"{BLOCK}0002", "13900139002", Manner(ring_seconds=0.3, talk_seconds=0.3))
BUSY = Line(f"{BLOCK}0003", "13900139003", Manner(486))
RINGS = Line(f"{BLOCK}0004", "01087654321", Manner(ring_seconds=30.0))
LINES = (ANSWERED, HANGS_UP, BUSY, RINGS)
UNBOUND = f"{BLOCK}0099"

# Everything that is waited for comes soon on an idle machine; on a busy one it may take its time.
PATIENCE = 60.0
POLL = 0.05
# A transaction is gone after 64 T1 (RFC 3261 section 17): with these soon, and loopback is far quicker still.
TIMERS = {"t1_ms": 100, "t2_ms": 800, "t4_ms": 1000}

Value = TypeVar("Value")
Settings = Mapping[str, Mapping[str, object]]


class Stored(NamedTuple):
    """A record and what was sealed in it."""

    record: Record
    parties: Parties


def until(probe: Callable[[], Value], what: str, seconds: float = PATIENCE) -> Value:
    """The first value that is true; AssertionError, saying what was waited for, when none comes."""
    end = time.monotonic() + seconds
    while not (value := probe()):
        assert time.monotonic() < end, f"waited {seconds:.0f} s for {what}"
        time.sleep(POLL)
    return value


class Process:
    """One of the node's programs. `lines` is all it has written so far, to either stream."""

    def __init__(self, words: Iterable[str], environ: Mapping[str, str], largest_file: int) -> None:
        self._listener = Listener()
        self._popen = subprocess.Popen(
            [sys.executable, "-m", "b2bua.app.cli", *words],
            cwd=ROOT,
            env={**environ, **self._listener.environ},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            preexec_fn=(lambda: limit_files(0, largest_file)) if largest_file else None,
        )
        self.pid = self._popen.pid
        self.lines: list[str] = []
        self.states: list[str] = []
        self.killed = False
        self._drain = threading.Thread(target=self._read, daemon=True)
        self._drain.start()

    def _read(self) -> None:
        assert self._popen.stdout is not None
        with self._popen.stdout as stream:
            self.lines.extend(line.decode().rstrip("\n") for line in stream)

    def wait_ready(self) -> "Process":
        """Return when it has told its manager that it is ready."""
        until(self._ready, "READY=1")
        return self

    def _ready(self) -> bool:
        assert self._popen.poll() is None, "ended at its start: " + "\n".join(self.lines)
        return "READY=1" in self.told()

    def told(self) -> list[str]:
        """Every state that it has told its manager."""
        self.states += self._listener.states()
        return self.states

    @property
    def running(self) -> bool:
        return self._popen.poll() is None

    def signal(self, number: signal.Signals) -> None:
        self._popen.send_signal(number)

    def wait(self) -> int:
        """The exit code, once all its output is read."""
        code = self._popen.wait(PATIENCE)
        self._drain.join(PATIENCE)
        return code

    def stop(self) -> int:
        """SIGTERM and the exit code."""
        self.signal(signal.SIGTERM)
        return self.wait()

    def kill(self) -> None:
        """kill -9."""
        self.killed = True
        self._popen.kill()
        self.wait()

    def close(self) -> None:
        """Leave nothing behind."""
        if self.running:
            self.kill()
        self.told()
        self._listener.close()

    def logged(self) -> list[dict[str, object]]:
        """Its log; what is no JSON object is left out here and found by `complaints`."""
        return [entry for line in list(self.lines) if (entry := _entry(line)) is not None]

    def events(self, name: str) -> list[dict[str, object]]:
        """The log entries of one event."""
        return [entry for entry in self.logged() if entry.get("event") == name]

    def complaints(self) -> list[str]:
        """Lines that no log may hold: tracebacks, and what is not one JSON object."""
        lines = self.lines[:-1] if self.killed else self.lines
        return [line for line in lines if _entry(line) is None or "Traceback" in line]


def _entry(line: str) -> dict[str, object] | None:
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    return entry if isinstance(entry, dict) else None


class Node:
    """Settings, keys, a block and the bindings of LINES, in a directory of its own; addresses of its own in 127/8."""

    def __init__(self, directory: Path, phones: Phones, settings: Settings | None = None) -> None:
        self.directory = directory
        self.data = directory / "data"
        self.data.mkdir(exist_ok=True)
        self.config = directory / "x700.toml"
        self.phones = phones
        host = f"127.{random.randint(10, 250)}.{random.randint(1, 250)}.1"
        self.sip = Peer(host, free_port(host, socket.SOCK_DGRAM))
        self.ops = Peer(host, free_port(host, socket.SOCK_STREAM))
        self.api = Peer(host, free_port(host, socket.SOCK_STREAM))
        phones.caller.target = self.sip
        keyring = new_keyring()
        self.seal = Seal(keyring)
        keys = self.data / "keyring"
        keys.touch(mode=0o600)
        keys.write_text(format_keyring(keyring))
        self.processes: list[Process] = []
        self.write_config(settings or {})

    def write_config(self, settings: Settings) -> None:
        """The settings of every test, with these on top."""
        tables: dict[str, dict[str, object]] = {
            "node": {"name": "system-test", "data_dir": str(self.data)},
            "sip": {"listen": f"{self.sip.host}:{self.sip.port}", **TIMERS},
            "journal": {"segment_mib": 1},
            "ops": {"listen": f"{self.ops.host}:{self.ops.port}", "control_socket": "control.sock"},
            "api": {"listen": f"{self.api.host}:{self.api.port}", "webhook_private": True},
            "log": {"level": "debug"},
        }
        for name, values in settings.items():
            tables.setdefault(name, {}).update(values)
        text = "".join(f"[{name}]\n{_toml(values)}" for name, values in tables.items())
        trunks: tuple[dict[str, object], ...] = (
            {"name": "caller", "peers": [self.phones.caller.me], "networks": ["127.0.0.1"], "prefixes": []},
            {"name": "callee", "peers": [self.phones.callee.me], "probe_seconds": 0},
            {"name": "noisy", "peers": ["127.0.0.2:5060"], "networks": ["127.0.0.2"], "prefixes": []},
        )
        self.config.write_text(text + "".join(f"[[trunk]]\n{_toml(trunk)}" for trunk in trunks))

    def provide(self) -> "Node":
        """Fill the binding store: each middle number of LINES joins CALLER and its callee, both ways."""

        async def fill() -> None:
            async with await self.store() as store:
                await store.registry.enrol("provider-1", BUSINESS, "delivery", now_ms=now_ms(), by="test")
                await store.blocks.add(Block(BLOCK, "provider-1", BUSINESS, BlockState.ACTIVE), now_ms(), by="test")
                for line in LINES:
                    await store.bindings.bind(binding(line.x, line.callee), now_ms(), by="test")

        asyncio.run(fill())
        return self

    async def store(self) -> Store:
        """The binding store, for writing."""
        return await Store.open(self.data / "bindings.db", self.seal)

    def start(
        self,
        *words: str,
        environ: Mapping[str, str] | None = None,
        largest_file: int = 0,
        config: Path | None = None,
    ) -> Process:
        """Start `x700 WORDS --config …`; it is ended with the node at the latest. `largest_file`: see `limit_files`."""
        clean = {name: value for name, value in os.environ.items() if not name.startswith("X700_")}
        words = (*words, "--config", str(config or self.config))
        process = Process(words, {**clean, **(environ or {})}, largest_file)
        self.processes.append(process)
        return process

    def switch(self) -> Process:
        """A switch that is ready."""
        return self.start("switch").wait_ready()

    def recorder(self) -> Process:
        """A recorder that is ready."""
        return self.start("recorder").wait_ready()

    def page(self, name: str) -> tuple[int, str]:
        """Status and text of one of the switch's pages; (0, '') when it does not answer."""
        try:
            with urllib.request.urlopen(f"http://{self.ops.host}:{self.ops.port}/{name}", timeout=10) as answer:
                return int(answer.status), answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def metrics(self) -> dict[str, Metric]:
        """/metrics by family, as Prometheus reads it."""
        status, text = self.page("metrics")
        assert status == 200, text
        return {family.name: family for family in text_string_to_metric_families(text)}

    def count(self, family: str, **labels: str) -> float:
        """The sum of a family's samples that have these labels."""
        samples = self.metrics()[family].samples
        return sum(sample.value for sample in samples if labels.items() <= sample.labels.items())

    def ask(self, **command: object) -> dict[str, object]:
        """A command to the control socket."""
        return ask(self.data / "control.sock", **command)

    def tables(self) -> dict[str, int]:
        """How many entries each table of the switch has."""
        tables = self.ask(command="tables")["tables"]
        assert isinstance(tables, dict)
        return tables

    def stored(self) -> list[Stored]:
        """Every record there is, oldest first."""

        async def read() -> list[Record]:
            store, cursor, found = RecordStore(self.data / "records"), "", list[Record]()
            while True:
                page = await store.list(limit=1000, cursor=cursor)
                found += page.records
                cursor = page.cursor
                if not cursor:
                    return found[::-1]

        return [Stored(record, reveal(record, self.seal)) for record in asyncio.run(read())]

    def record(self) -> list[Stored]:
        """Let a recorder read the journal to its end, stop it, and return every record."""
        assert self.recorder().stop() == 0
        return self.stored()

    def close(self) -> None:
        """End what still runs, and find fault with what was logged."""
        for process in self.processes:
            process.close()
        complaints = [line for process in self.processes for line in process.complaints()]
        assert not complaints, "\n".join(complaints)


def binding(x: str, callee: str, caller: str = CALLER) -> BindingRequest:
    """A binding of a day that joins two parties through a middle number of BLOCK."""
    return BindingRequest(
        x=x, a=caller, b=callee, business_user=BUSINESS, scenario="delivery", order_id=f"order-{x[-4:]}",
        real_name="rn-1", consent="cs-1", expires_ms=now_ms() + DAY_MS,
    )  # fmt: skip


def limit_files(pid: int, size: int | None) -> None:
    """Let a process (0: this one) write no file beyond so many bytes; None takes the limit back."""
    _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (hard if size is None else size, hard))


def _toml(values: Mapping[str, object]) -> str:
    return "".join(f"{key} = {json.dumps(value)}\n" for key, value in values.items())
