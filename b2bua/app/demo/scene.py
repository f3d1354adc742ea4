"""The scene: a fresh switch, a block, a binding, two phones played by SIPp, and a call each way."""

import asyncio
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path

from b2bua.app.cli_cdr import row
from b2bua.app.cli_common import Row
from b2bua.app.config import Settings, load
from b2bua.app.demo.messages import Traced, count_digits, parse_trace
from b2bua.app.notify import Listener
from b2bua.app.storage import binding_store
from cdr.seal import format_keyring, new_keyring
from cdr.store.sqlite import RecordStore
from routing.binding import BindingRequest
from routing.numbers import bare_digits, parse_subscriber
from routing.plan import Block, BlockState

A, B = "13800138000", "13900139000"
BLOCK, X = "70012345678", "700123456780001"
OWNER, USER = "provider-1", "shop-1"
LOOPBACK = "127.0.0.1"
START_SECONDS = 20.0
CALL_SECONDS = 20
STOP_SECONDS = 40.0
TAIL_LINES = 20

Say = Callable[[str], None]


class DemoError(Exception):
    """The scene could not be played; the text says what stood in the way."""


@dataclass(frozen=True, slots=True)
class Phone:
    """A party: its letter, its real number (national form), and the port its carrier's side listens on."""

    party: str
    number: str
    port: int

    @property
    def digits(self) -> str:
        return bare_digits(parse_subscriber(self.number) or "")


@dataclass(frozen=True, slots=True)
class Call:
    """One call: who called whom, SIPp's verdict on both sides, and every message each side sent and received."""

    caller: Phone
    callee: Phone
    completed: bool
    at_caller: tuple[Traced, ...]
    at_callee: tuple[Traced, ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of the scene."""

    a: Phone
    b: Phone
    calls: tuple[Call, ...]
    records: tuple[Row, ...]

    def at(self, phone: Phone) -> tuple[Traced, ...]:
        """Every message at a party's side, both calls."""
        return tuple(
            message
            for call in self.calls
            for side, messages in ((call.caller, call.at_caller), (call.callee, call.at_callee))
            if side == phone
            for message in messages
        )

    @property
    def digits_of_b_at_a(self) -> int:
        return count_digits(self.at(self.a), self.b.digits)

    @property
    def digits_of_a_at_b(self) -> int:
        return count_digits(self.at(self.b), self.a.digits)

    @property
    def right(self) -> bool:
        """Both calls completed, nothing leaked, and each call left its record."""
        answered = [record for record in self.records if record["outcome"] == "answered"]
        leaks = self.digits_of_a_at_b + self.digits_of_b_at_a
        return all(call.completed for call in self.calls) and not leaks and len(answered) == len(self.calls)


def play(directory: Path, say: Say) -> Outcome:
    """Play the scene in an empty directory. DemoError when it cannot be played to its end."""
    port, port_a, port_b = free_ports(3)
    a, b = Phone("A", A, port_a), Phone("B", B, port_b)
    settings = _settings(directory, port, a, b)
    asyncio.run(_provide(settings))
    say(f"block {BLOCK} of {USER}, binding of A {a.number} and B {b.number} through {X}")
    with _switch(directory):
        say(f"switch on {LOOPBACK}:{port}, recorder beside it; A's carrier on port {port_a}, B's on {port_b}")
        calls = []
        for caller, callee in ((a, b), (b, a)):
            say(f"{caller.party} dials {X}")
            calls.append(_call(directory, port, caller, callee))
    # the switch has drained and the recorder has emptied the journal: every record is there now
    return Outcome(a, b, tuple(calls), tuple(asyncio.run(_records(settings))))


def free_ports(count: int) -> list[int]:
    """UDP ports that were free a moment ago."""
    with ExitStack() as stack:
        ports = []
        for _ in range(count):
            probe = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            probe.bind((LOOPBACK, 0))
            ports.append(int(probe.getsockname()[1]))
        return ports


def _settings(directory: Path, port: int, a: Phone, b: Phone) -> Settings:
    keyring = directory / "keyring"
    keyring.touch(mode=0o600)
    keyring.write_text(format_keyring(new_keyring()))
    config = directory / "x700.toml"
    trunks = "".join(
        f'[[trunk]]\nname = "carrier-{phone.party.lower()}"\npeers = ["{LOOPBACK}:{phone.port}"]\n'
        f'prefixes = ["{phone.number[:3]}"]\nprobe_seconds = 0\n'
        for phone in (a, b)
    )
    config.write_text(
        f'[node]\nname = "demo"\ndata_dir = "{directory}"\n[sip]\nlisten = "{LOOPBACK}:{port}"\ndrain_seconds = 5\n'
        f'[journal]\nsegment_mib = 1\n[ops]\nlisten = "{LOOPBACK}:0"\n[api]\nlisten = ""\n{trunks}'
    )
    return load(config, {})


async def _provide(settings: Settings) -> None:
    now_ms = int(time.time() * 1000)
    async with binding_store(settings) as store:
        await store.registry.enrol(OWNER, USER, "delivery", now_ms=now_ms, by="demo")
        await store.blocks.add(Block(BLOCK, OWNER, USER, BlockState.ACTIVE), now_ms, by="demo")
        request = BindingRequest(
            x=X,
            a=A,
            b=B,
            business_user=USER,
            scenario="delivery",
            order_id="order-1",
            real_name="verified-1",
            consent="consent-1",
            expires_ms=now_ms + 3_600_000,
        )
        await store.bindings.bind(request, now_ms, by="demo")


async def _records(settings: Settings) -> list[Row]:
    page = await RecordStore(settings.records.directory).list()
    seal = settings.seal()
    return [row(record, seal, show_numbers=False) for record in reversed(page.records)]


@contextmanager
def _switch(directory: Path) -> Iterator[None]:
    """Switch and recorder, ready; at the end stopped in order."""
    log = directory / "x700.log"
    # what is set for another switch on this machine must not reach this one
    environ = {name: value for name, value in os.environ.items() if not name.startswith("X700_")}
    with Listener() as listener, log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "b2bua.app.cli", "run", "--config", str(directory / "x700.toml")],
            env=environ | listener.environ,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            _await_ready(process, listener, log)
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                code = process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                code = process.wait()
    if code != 0:
        raise DemoError(f"the switch stopped with {code}:\n{_tail(log)}")


def _await_ready(process: subprocess.Popen[bytes], listener: Listener, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while "READY=1" not in listener.states():
        if process.poll() is not None:
            raise DemoError(f"the switch ended at its start:\n{_tail(log)}")
        if time.monotonic() > deadline:
            raise DemoError(f"the switch is not ready after {START_SECONDS:.0f} s:\n{_tail(log)}")
        select.select([listener], [], [], 0.1)


def _call(directory: Path, port: int, caller: Phone, callee: Phone) -> Call:
    """One call by two SIPp processes, which judge each their side by their exit code."""
    name = f"{caller.party}-{callee.party}"
    traces = [directory / f"{name}-{side}.messages" for side in ("caller", "callee")]
    with ExitStack() as stack:
        here = files("b2bua.app.demo")
        uac, uas = (str(stack.enter_context(as_file(here / f"{side}.xml"))) for side in ("uac", "uas"))
        answering = _sipp(["-sf", uas], callee, traces[1])
        stack.callback(_end, answering)
        _await_socket(callee.port, answering)
        target = [f"{LOOPBACK}:{port}", "-sf", uac, "-key", "number", X, "-cid_str", f"{caller.number}-%u"]
        calling = _sipp(target, caller, traces[0])
        stack.callback(_end, calling)
        codes = [process.wait(CALL_SECONDS + 5) for process in (calling, answering)]
    at_caller, at_callee = (
        parse_trace(trace.read_bytes().decode("utf-8", "replace")) if trace.exists() else () for trace in traces
    )
    return Call(caller, callee, codes == [0, 0], at_caller, at_callee)


def _sipp(what: list[str], phone: Phone, trace: Path) -> subprocess.Popen[bytes]:
    options = [
        *("-i", LOOPBACK, "-p", str(phone.port), "-m", "1", "-nostdin"),
        *("-timeout", f"{CALL_SECONDS}s", "-timeout_error"),
        *("-key", "own", phone.number, "-key", "party", phone.party),
        *("-trace_msg", "-message_file", str(trace)),
    ]
    with trace.with_suffix(".out").open("wb") as output:
        return subprocess.Popen(
            ["sipp", *what, *options],
            cwd=trace.parent,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )


def _await_socket(port: int, process: subprocess.Popen[bytes]) -> None:
    """Until SIPp receives on its port, or has ended."""
    row = f":{port:04X} "
    deadline = time.monotonic() + 5
    while row not in Path("/proc/net/udp").read_text() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.kill()
        process.wait()


def _tail(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-TAIL_LINES:])
