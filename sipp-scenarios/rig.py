"""A fresh switch in a temporary directory, with the bindings of the scenarios, and SIPp on both of its sides.

Every scenario has a line of its own: caller, callee, middle number, trunks and loopback addresses. So scenarios run
side by side, and a number or an address of one side that shows up on the other is a leak and nothing else.
"""

import asyncio
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Self

from catalogue import (
    CALLEE_PASSWORD,
    CALLER_PASSWORD,
    DIRECTIONS,
    PROFILES,
    SERVICES,
    Before,
    Bound,
    Digest,
    Expected,
    Order,
    Phone,
    Scenario,
    Way,
)
from hook import HookServer
from phones import Sipp, tail, until

from b2bua.app.control import ask
from cdr.record import Record, reveal
from cdr.seal import Seal, format_keyring, new_keyring
from cdr.store.sqlite import RecordStore
from routing import registry
from routing.binding import BindingRequest, Direction
from routing.blocklist import BlockKind, BlockRequest
from routing.caps import NO_CAP_SET
from routing.plan import Block, BlockState
from routing.store.sqlite import Store
from routing.trunks import Peer, format_peer
from routing.windows import CHINA_MS, parse_windows

HERE = Path(__file__).resolve().parent
BLOCK = "70012345678"
OWNER = ("provider-1", "shop-1")
SIP_PORT, OPS_PORT, CALLER_PORT, CALLEE_PORT = 5060, 9700, 5080, 5090
# Each rig has a range of ports on ::1, for its lines and, last, for the switch.
FIRST_PORT_V6, PORTS_V6 = 10_000, 200
# The last four digits of a line's other numbers begin here.
ALIASES, OTHERS = 5000, 6000
# Callers of this range may not call.
BARRED = "170"
DAY_MS, HOUR_MS = 86_400_000, 3_600_000
START_SECONDS = 20.0
STOP_SECONDS = 20.0
RECORD_SECONDS = 10.0
# 64 T1 = 6.4 s for the last transaction, T4 for its ACK, and room for a busy machine
EMPTY_SECONDS = 20.0
MUST_BE_ZERO = ("x700_tripwire_hits_total", "x700_send_failures_total", "x700_journal_lost_lines_total")


@dataclass(frozen=True, slots=True)
class Line:
    """What the runner deals out to one scenario. Addresses lie in 127/8; media is on 127.0.0.1 for all.

    `number` is the one dialled, `shown` the one that the callee sees; `x` and `y` are those of the binding.
    """

    caller: str
    callee: str
    number: str
    shown: str
    x: str
    y: str
    network: int
    index: int

    def address(self, side: int) -> str:
        """Side 1 is the caller's, 2 the first route's, 3 the second route's."""
        return f"127.{self.network}.{side}.{self.index}"


@dataclass(slots=True)
class Result:
    """What came of a scenario; it passed when `problems` is empty. `traces` are SIPp's files, by side."""

    name: str
    problems: list[str] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)
    traces: list[Path] = field(default_factory=list)
    seconds: float = 0.0


class RigError(Exception):
    """The switch or SIPp could not be started: nothing can be said about any scenario."""


class Rig:
    """One switch with the settings of a profile and the lines of the scenarios that need them."""

    def __init__(self, profile: str, scenarios: Sequence[Scenario]) -> None:
        self.profile = profile
        self._network, self._claim = _claim_network()
        self._lines = {scenario.name: self._line(scenario, index) for index, scenario in enumerate(scenarios, 1)}
        self._scenarios = scenarios
        self.directory = Path(tempfile.mkdtemp(prefix=f"x700-{profile}-"))
        self._config = self.directory / "x700.toml"
        self._data = self.directory / "data"
        self._log = self.directory / "switch.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._media = Peer(f"127.{self._network}.4.1", CALLEE_PORT)
        self._media_turn = threading.Lock()  # there is one media server's address for all lines
        self._hook = HookServer(self._address(), {scenario.name: scenario.hook for scenario in scenarios})
        self._keyring = new_keyring()
        self._seal = Seal(self._keyring)

    def _line(self, scenario: Scenario, index: int) -> Line:
        x = f"{_block(scenario.order, index)}{index:04}"
        y = f"{x[:11]}{ALIASES + index:04}" if scenario.order.two else ""
        number, shown = (y, x) if y and scenario.bound is Bound.BACK else (x, y or x)
        caller = scenario.identity or f"{BARRED if scenario.order.barred else '138'}00138{index:03}"
        return Line(caller, f"13900139{index:03}", number, shown, x, y, self._network, index)

    # ------------------------------------------------------------------ the switch

    def __enter__(self) -> Self:
        self._data.mkdir()
        keys = self._data / "keyring"
        keys.touch(mode=0o600)
        keys.write_text(format_keyring(self._keyring))
        self._config.write_text(self._settings())
        passwords = self._data / "passwords"
        passwords.touch(mode=0o600)
        passwords.write_text("".join(line for scenario in self._scenarios for line in self._passwords(scenario)))
        asyncio.run(self._provide())
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "b2bua.app.cli", "run", "--config", str(self._config)],
                cwd=HERE.parent,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        try:
            self._await_ready()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        code = self._stop()
        if code and error is None:
            raise RigError(f"the switch ended with {code}:\n{tail(self._log)}")

    def remove(self) -> None:
        """Give the addresses back and delete the temporary directory with every log in it."""
        self._hook.close()
        self._claim.close()
        shutil.rmtree(self.directory, ignore_errors=True)

    def _settings(self) -> str:
        sip = "".join(f"{key} = {value}\n" for key, value in PROFILES[self.profile].items())
        trunks = "".join(text for scenario in self._scenarios for text in self._trunks(scenario))
        services = SERVICES.get(self.profile, "").format(media=format_peer(self._media), hook=self._hook.url)
        return f"""\
[node]
name = "scenarios-{self.profile}"
data_dir = "{self._data}"
[sip]
listen = "{self._address()}:{SIP_PORT}"
{sip}[keys]
file = "keyring"
[ops]
listen = "{self._address()}:{OPS_PORT}"
control_socket = "control.sock"
[api]
listen = ""
[log]
level = "debug"
{services}{self._listeners()}{trunks}"""

    def _address(self) -> str:
        return f"127.{self._network}.0.1"

    def _listeners(self) -> str:
        return "".join(
            f'[[listener]]\nname = "{name}"\ntransport = "{way.transport}"\n'
            f'listen = "{format_peer(self._entrance(way))}"\n'
            for name, way in (("tcp", Way.TCP), ("udp-v6", Way.UDP_V6), ("tcp-v6", Way.TCP_V6))
        )

    def _entrance(self, way: Way) -> Peer:
        """Where the switch takes what comes this way. IPv6 has one loopback address, so ports tell rigs and lines
        apart there."""
        return Peer("::1", self._port_v6(PORTS_V6 - 1)) if way.ipv6 else Peer(self._address(), SIP_PORT)

    def _port_v6(self, number: int) -> int:
        return FIRST_PORT_V6 + PORTS_V6 * self._network + number

    def _place(self, scenario: Scenario, line: Line, side: int) -> Peer:
        """The signalling address of a phone."""
        if scenario.ways[min(side, 2) - 1].ipv6:
            return Peer("::1", self._port_v6(line.index))
        return Peer(line.address(side), CALLER_PORT if side == 1 else CALLEE_PORT)

    def _trunks(self, scenario: Scenario) -> Iterator[str]:
        line = self._lines[scenario.name]
        user = CALLER_PASSWORD[0]
        asked = f'digest_realm = "x700"\ndigest_users = ["{user}-{line.index}"]\ndigest_algorithms = ["MD5"]\n'
        asked = asked if scenario.digest is Digest.CALLER else ""
        name = f'username = "{CALLEE_PASSWORD[0]}"\n' if scenario.digest is Digest.CALLEE else ""
        here, there = (f'transport = "{way.transport}"\n' for way in scenario.ways)
        caller = format_peer(self._place(scenario, line, 1))
        called = f'"{line.caller}"' if scenario.order.before is Before.BACK else ""
        yield _trunk(f"caller-{line.index}", caller, called, 10) + here + asked
        for route in range(max(1, len(scenario.callees))):
            peer = format_peer(self._place(scenario, line, 2 + route))
            yield _trunk(f"callee-{line.index}-{route + 1}", peer, f'"{line.callee}"', 10 + route) + there + name

    def _passwords(self, scenario: Scenario) -> Iterator[str]:
        index = self._lines[scenario.name].index
        if scenario.digest is Digest.CALLER:
            yield f"caller-{index} {CALLER_PASSWORD[0]}-{index} password {CALLER_PASSWORD[1]}\n"
        elif scenario.digest is Digest.CALLEE:
            yield f"callee-{index}-1 {CALLEE_PASSWORD[0]} password {CALLEE_PASSWORD[1]}\n"

    async def _provide(self) -> None:
        now = int(time.time() * 1000)
        async with await Store.open(self._data / "bindings.db", self._seal) as store:
            await store.registry.enrol(*OWNER, "delivery", now_ms=now - 5000, by="rig")
            await store.blocks.add(Block(BLOCK, *OWNER, BlockState.ACTIVE), now - 5000, by="rig")
            for scenario in self._scenarios:
                await _provide(store, scenario, self._lines[scenario.name], now)

    def _await_ready(self) -> None:
        url = f"http://{self._address()}:{OPS_PORT}/ready"

        def ready() -> bool:
            if self._process is None or self._process.poll() is not None:
                raise RigError(f"the switch ended at its start:\n{tail(self._log)}")
            try:
                with urllib.request.urlopen(url, timeout=1) as answer:
                    return bool(answer.status == 200)
            except (urllib.error.URLError, OSError):
                return False

        if not until(ready, bool, START_SECONDS):
            raise RigError(f"the switch is not ready after {START_SECONDS:.0f} s:\n{tail(self._log)}")

    def _stop(self) -> int:
        """End the switch as systemd would; its exit code."""
        if self._process is None:
            return 0
        self._process.send_signal(signal.SIGTERM)
        try:
            return self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()

    # ------------------------------------------------------------------ one scenario

    def run(self, scenario: Scenario) -> Result:
        """Run both sides and check their verdicts and the records. Thread-safe: a line belongs to one scenario."""
        result = Result(scenario.name)
        line = self._lines[scenario.name]
        began = time.monotonic()
        if scenario.order.before is not Before.NONE:
            self._run_before(scenario, line, result)
        with ExitStack() as stack:
            quiet = None if scenario.callees else stack.enter_context(_listen(line.address(2)))
            callees = []
            if scenario.media is not None:
                stack.enter_context(self._media_turn)
                media = Sipp(self._media_server(scenario, line), self.directory, f"{scenario.name}.media")
                stack.callback(media.stop)
                media.await_socket("udp", self._media)
                callees.append(media)
            for route, phone in enumerate(scenario.callees):
                callee = Sipp(
                    self._callee(scenario, line, phone, route), self.directory, f"{scenario.name}.uas{route + 1}"
                )
                stack.callback(callee.stop)
                callee.await_socket(scenario.ways[1].transport, self._place(scenario, line, 2 + route))
                callees.append(callee)
            caller = Sipp(self._caller(scenario, line), self.directory, f"{scenario.name}.uac")
            stack.callback(caller.stop)
            deadline = time.monotonic() + scenario.seconds + 5
            for sipp in (caller, *callees):
                code = sipp.wait(deadline)
                result.traces += sipp.traces
                if code != 0:
                    result.problems.append(f"{sipp.title} ended with {code}: {sipp.complaint()}")
            if quiet is not None and (heard := _heard(quiet)):
                result.problems.append(f"the callee was reached: {heard}")
        self._check_records(scenario, line, result)
        result.seconds = time.monotonic() - began
        return result

    def _run_before(self, scenario: Scenario, line: Line, result: Result) -> None:
        """The call that is over before the scenario begins; its record has another Call-ID than those that count."""
        back = scenario.order.before is Before.BACK
        number, shown = (line.shown, line.number) if back else (line.number, line.shown)
        if scenario.order.before is Before.OTHER:
            number = shown = _other(line)
        here, there = (2, 1) if back else (1, 2)
        places = self._place(scenario, line, here), self._place(scenario, line, there)
        numbers = (line.callee, line.caller) if back else (line.caller, line.callee)
        common = ["-mi", "127.0.0.1", "-bind_local", "-nostdin", "-m", "1", "-timeout", "15s", "-timeout_error"]
        common += ["-key", "caller", numbers[0], "-key", "callee", numbers[1]]
        with ExitStack() as stack:
            phones = []
            for title, side, place, other, dialled in (
                ("uas", there, places[1], ("caller_address", places[0]), shown),
                ("uac", here, places[0], ("callee_address", places[1]), number),
            ):
                target = [format_peer(self._entrance(scenario.ways[0])), "-cid_str", f"before-{scenario.name}-%u"]
                command = [
                    "sipp",
                    *(target if title == "uac" else ()),
                    "-sf",
                    str(HERE / f"{title}_caller_hangs_up.xml"),
                ]
                command += ["-i", place.host, "-ci", line.address(side), "-p", str(place.port), "-s", dialled, *common]
                command += ["-key", other[0], other[1].host]
                phones.append(Sipp(command, self.directory, f"{scenario.name}.before.{title}"))
                stack.callback(phones[-1].stop)
                phones[-1].await_socket("udp", place)
            for sipp in phones:
                code = sipp.wait(time.monotonic() + 20.0)
                result.traces += sipp.traces
                if code != 0:
                    result.problems.append(f"{sipp.title} ended with {code}: {sipp.complaint()}")

    def _sipp(self, scenario: Scenario, phone: Phone, line: Line, side: int, other: str) -> list[str]:
        place = self._place(scenario, line, side)
        transport = "t1" if scenario.ways[min(side, 2) - 1].transport == "tcp" else "u1"
        other_side = 1 if other == "caller" else 1 + max(1, len(scenario.callees))
        options = [
            "-i", place.host, "-ci", line.address(side), "-mi", "127.0.0.1", "-p", str(place.port), "-bind_local",
            "-t", transport, "-nostdin",
            "-m", str(scenario.calls), "-r", "20", "-timer_resol", "5",
            "-timeout", f"{scenario.seconds}s", "-timeout_error", *phone.options,
            "-s", scenario.number or (line.number if side == 1 else line.shown),
            "-key", "caller", line.caller, "-key", "callee", line.callee,
            "-key", f"{other}_address", self._place(scenario, line, other_side).host,
        ]  # fmt: skip
        if scenario.order.two:  # what must not be seen on this side
            options += ["-key", "alias", line.shown if side == 1 else line.number]
        return options + [word for key, value in phone.keys for word in ("-key", key, value)]

    def _caller(self, scenario: Scenario, line: Line) -> list[str]:
        options = self._sipp(scenario, scenario.caller, line, 1, "callee")
        target = format_peer(self._entrance(scenario.ways[0]))
        names = ["-cid_str", f"{scenario.name}-%u-%p", "-d", str(scenario.hold_ms)]
        if scenario.digest is Digest.CALLER:
            names += ["-au", f"{CALLER_PASSWORD[0]}-{line.index}", "-auth_uri", f"{line.number}@{target}"]
        if scenario.media is not None:  # the other side of this call
            options[options.index("callee_address") + 1] = self._media.host
        return ["sipp", target, "-sf", str(HERE / f"uac_{scenario.caller.file}.xml"), *names, *options]

    def _callee(self, scenario: Scenario, line: Line, phone: Phone, route: int) -> list[str]:
        options = self._sipp(scenario, phone, line, 2 + route, "caller")
        return ["sipp", "-sf", str(HERE / f"uas_{phone.file}.xml"), *options]

    def _media_server(self, scenario: Scenario, line: Line) -> list[str]:
        assert scenario.media is not None
        address = self._media.host
        options = self._sipp(scenario, scenario.media, line, 2, "caller")
        options[options.index("-i") + 1] = options[options.index("-ci") + 1] = address
        return ["sipp", "-sf", str(HERE / f"uas_{scenario.media.file}.xml"), *options]

    # ------------------------------------------------------------------ what it leaves behind

    def _check_records(self, scenario: Scenario, line: Line, result: Result) -> None:
        wanted = scenario.calls if scenario.record else 0
        result.records = until(lambda: self._records(scenario.name), lambda found: len(found) >= wanted, RECORD_SECONDS)
        if len(result.records) != wanted:
            result.problems.append(f"{len(result.records)} records, expected {wanted}")
        for record in result.records:
            if scenario.record is not None:
                result.problems += _differences(scenario.record, record)
            if record.binding_id:
                result.problems += self._misfits(scenario, line, record)

    def _misfits(self, scenario: Scenario, line: Line, record: Record) -> Iterator[str]:
        """What a record says wrongly of its binding and of who was behind it (R11)."""
        a, b = f"+86{line.caller}", f"+86{line.callee}"
        back = scenario.bound is Bound.BACK
        parties = reveal(record, self._seal)
        pairs: tuple[tuple[str, object, object], ...] = (
            ("parties", (b, a) if back else (a, b), (parties.a, parties.b)),
            ("calling", "b" if back else "a", record.calling),
            ("x", line.x, record.x),
            ("y", line.y, record.y),
            ("mode", scenario.order.mode, record.mode),
            ("order_id", scenario.name, record.order_id),
            ("ingress", f"caller-{line.index}", record.ingress),
            ("partial", False, record.partial),
        )
        yield from (f"record: {name} is {got!r}, expected {wanted!r}" for name, wanted, got in pairs if wanted != got)

    def _records(self, name: str) -> list[Record]:
        """The records of a scenario's calls, found by the Call-ID that its caller used."""
        store = RecordStore(self._data / "records")
        found = asyncio.run(store.list(limit=1000)).records
        return [r for r in found if reveal(r, self._seal).ingress_call_id.startswith(f"{name}-")]

    def leftovers(self) -> dict[str, int]:
        """The switch's tables that do not become empty in time, with their sizes."""
        return until(self._full_tables, lambda tables: not tables, EMPTY_SECONDS)

    def _full_tables(self) -> dict[str, int]:
        sizes = ask(self._data / "control.sock", command="tables")["tables"]
        if not isinstance(sizes, dict) or not sizes:
            raise RigError("the switch does not tell the sizes of its tables")
        return {name: size for name, size in sizes.items() if size}

    def miscounts(self) -> list[str]:
        """Scenarios with more or fewer records than attempts, once the recorder has read the whole journal."""
        until(lambda: self._metrics()["x700_journal_lag_bytes"] == 0, bool, RECORD_SECONDS)
        found = []
        for scenario in self._scenarios:
            wanted, got = scenario.calls if scenario.record else 0, len(self._records(scenario.name))
            if wanted != got:
                found.append(f"{scenario.name}: {got} records of {wanted} attempts")
        return found

    def alarms(self) -> list[str]:
        """What the switch itself says went wrong: counters that must stay at zero, and errors in its log."""
        metrics = self._metrics()
        found = [f"{name} is {metrics[name]:.0f}" for name in MUST_BE_ZERO if metrics[name]]
        errors = ('"level": "error"', '"level": "critical"', "Traceback")
        return found + [line for line in self._log.read_text().splitlines() if any(word in line for word in errors)]

    def _metrics(self) -> dict[str, float]:
        with urllib.request.urlopen(f"http://{self._address()}:{OPS_PORT}/metrics", timeout=5) as answer:
            lines = answer.read().decode().splitlines()
        return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if line[0] != "#")}

    def clear_numbers(self) -> list[str]:
        """Files of the switch, its log among them, that hold a real number in clear."""
        secrets = {number for line in self._lines.values() for number in (line.caller, line.callee) if number[0] == "1"}
        found = []
        for path in (self._log, *self._data.rglob("*")):
            if path.is_file():
                content = path.read_bytes().rstrip(b"\0")  # the journal reserves its segments
                found += [f"{path.name}: {number}" for number in sorted(secrets) if number.encode() in content]
        return found


def _block(order: Order, index: int) -> str:
    """The block in which the numbers of a line lie."""
    return f"7001235{index:04}" if order.own else BLOCK


def _other(line: Line) -> str:
    """Another number that leads the caller of a line to its callee."""
    return f"{line.x[:11]}{OTHERS + line.index:04}"


async def _provide(store: Store, scenario: Scenario, line: Line, now: int) -> None:
    """Put what a scenario needs into the store: its owner, its binding, and what forbids its call."""
    order, (provider, user), terms = scenario.order, OWNER, "delivery"
    if scenario.bound is Bound.NEVER or scenario.identity:
        return
    if order.own:
        provider, user = f"{scenario.name}.provider", f"{scenario.name}.user"
        await store.registry.enrol(provider, user, terms, now_ms=now - 5000, by="rig")
        await store.blocks.add(
            Block(_block(order, line.index), provider, user, BlockState.ACTIVE), now - 5000, by="rig"
        )
        owner = await store.registry.get(registry.BusinessUser, user)
        assert owner is not None
        await store.registry.change(replace(owner, caps=order.user_caps), now, by="rig")
    if order.caps != NO_CAP_SET or order.closed:
        terms = scenario.name
        hour = (now + CHINA_MS) // HOUR_MS
        windows = parse_windows([f"{(hour + 11) % 24:02}:00-{(hour + 13) % 24:02}:00"]) if order.closed else ()
        await store.registry.add(registry.Scenario(user, terms, windows=windows, caps=order.caps), now, by="rig")
    a, b = (line.callee, line.caller) if scenario.bound is Bound.BACK else (line.caller, line.callee)
    group = ""
    if order.grouped:
        group = (await store.groups.add(user, scenario.name, [f"13700137{line.index:03}", a], now, by="rig")).id
    made, lasts = (now - 3000, 1000) if scenario.bound is Bound.EXPIRED else (now, DAY_MS)
    starts = now + HOUR_MS if scenario.bound is Bound.LATER else made
    request = BindingRequest(
        x=line.x,
        y=line.y,
        a=a if order.default or not group else f"13700137{line.index:03}",
        b=b,
        mode=order.mode,
        group=group,
        business_user=user,
        scenario=terms,
        order_id=scenario.name,
        real_name="rn-1",
        consent="cs-1",
        starts_ms=starts,
        expires_ms=starts + lasts,
        direction=DIRECTIONS.get(scenario.bound, Direction.BOTH),
        most_calls=order.most_calls,
    )
    binding = await store.bindings.bind(request, made, by="rig")
    if scenario.bound is Bound.ENDED:
        await store.bindings.end(binding.id, now, by="rig")
    if order.before is Before.OTHER:
        await store.bindings.bind(replace(request, x=_other(line)), made, by="rig")
    if order.frozen:
        await store.blocks.move(_block(order, line.index), BlockState.FROZEN, now, by="rig", reason="rig")
    if order.barred:
        await store.blocklist.set_range(BARRED, False, now, by="rig", reason="rig")
    if order.blocked is not None:
        value = {
            BlockKind.CALLER: line.caller,
            BlockKind.CALLEE: line.callee,
            BlockKind.X: line.y or line.x,
            BlockKind.BLOCK: line.x[:11],
            BlockKind.BINDING: binding.id,
            BlockKind.BUSINESS_USER: user,
            BlockKind.PROVIDER: provider,
        }[order.blocked]
        await store.blocklist.add(BlockRequest(order.blocked, value, "rig"), now, by="rig")


def _trunk(name: str, peer: str, prefixes: str, priority: int) -> str:
    routes = f"prefixes = [{prefixes}]\npriority = {priority}\nprobe_seconds = 0\n"
    return f'[[trunk]]\nname = "{name}"\npeers = ["{peer}"]\n{routes}'


def _claim_network() -> tuple[int, socket.socket]:
    """A second octet of 127/8 for one rig, and the socket that keeps other runs on this machine off it."""
    for network in random.sample(range(1, 255), 254):
        claim = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            claim.bind((f"127.{network}.0.2", SIP_PORT))
        except OSError:
            claim.close()
        else:
            return network, claim
    raise RigError("no free network in 127.0.0.0/8")


def _listen(address: str) -> socket.socket:
    quiet = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    quiet.bind((address, CALLEE_PORT))
    quiet.setblocking(False)
    return quiet


def _heard(quiet: socket.socket) -> str:
    """The first line of a call that reached the socket; '' when none did."""
    try:
        return quiet.recv(65_535).split(b"\r\n")[0].decode(errors="replace")
    except BlockingIOError:
        return ""


def _differences(expected: Expected, record: Record) -> Iterator[str]:
    pairs: tuple[tuple[str, object, object], ...] = (
        ("outcome", expected.outcome, record.outcome),
        ("status", expected.status, record.status),
        ("q850", expected.q850, record.q850),
        ("ended_by", expected.ended_by, record.ended_by),
        ("reason", expected.reason, record.reason),
        ("routes", expected.routes, len(record.routes)),
    )
    for name, wanted, got in pairs:
        if wanted is not None and wanted != got:
            yield f"record: {name} is {got!r}, expected {wanted!r}"
