"""A memory network with a virtual clock, and the real switch on it, fed in the shell's rhythm.

Nothing sleeps here: the clock jumps to whatever happens next. Every datagram that is sent is kept, lost or not, so that
a test may look at all that has crossed.
"""

import heapq
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from itertools import count
from math import inf
from typing import Protocol

from b2bua.call.stored import Kept, Mark, Stored, Write
from b2bua.call.switch import Now, Switch
from b2bua.call.trunk_state import Change
from b2bua.sip.errors import ParseError
from b2bua.sip.message import Message
from b2bua.sip.parser import parse
from b2bua.sip.transaction import Flow
from cdr import record
from routing.decide import Query, Refusal, Route

__all__ = [
    "START_MS",
    "SWITCH",
    "Address",
    "Conditions",
    "Datagram",
    "Network",
    "Script",
    "SwitchNode",
    "answer_text",
    "lose",
    "nth",
    "request_text",
    "tokens",
]

Address = tuple[str, int]

SWITCH: Address = ("192.0.2.1", 5060)
START_MS = 1_800_000_000_000
# Longer than any call of a test lasts.
PATIENCE = 6 * 3600.0


@dataclass(eq=False)
class Datagram:
    """One datagram on its way; ``written`` is how many records the switch had handed over when it let this go."""

    number: int
    at: float
    source: Address
    target: Address
    data: bytes
    way: str  # "a>" from the side called a to the switch, ">a" from the switch to it
    written: int = 0
    lost: bool = False

    @cached_property
    def message(self) -> Message:
        """What it says."""
        return parse(self.data)

    @cached_property
    def readable(self) -> bool:
        """Whether it says anything at all."""
        try:
            return bool(self.message)
        except ParseError:
            return False

    @property
    def word(self) -> str:
        """Method or status, as a trace would name it."""
        return self.data.split(b" ", 2)[1 if self.data.startswith(b"SIP/2.0") else 0].decode("latin-1")


@dataclass
class Conditions:
    """What the network does to datagrams. Probabilities from 0 to 1, times in seconds.

    It is a fair network: the same datagram is not lost more than ``most_losses`` times, so whoever goes on trying gets
    through. ``drop`` names datagrams to lose beyond that.
    """

    latency: float = 0.01
    jitter: float = 0.0
    loss: float = 0.0
    duplication: float = 0.0
    most_losses: int = 3
    seed: int = 0
    drop: Callable[[Datagram], bool] | None = None
    losses: dict[tuple[str, bytes], int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)

    def delays(self, datagram: Datagram) -> list[float]:
        """When the copies of a datagram arrive; none for a lost one."""
        if self.drop is not None and self.drop(datagram):
            return []
        chance = self._random.random
        if self.loss and chance() < self.loss:
            key = (datagram.way, datagram.data)
            self.losses[key] = self.losses.get(key, 0) + 1
            if self.losses[key] <= self.most_losses:
                return []
        copies = 2 if self.duplication and chance() < self.duplication else 1
        return [self.latency + (chance() * self.jitter if self.jitter else 0.0) for _ in range(copies)]


def nth(number: int, way: str = "") -> Callable[[Datagram], bool]:
    """Lose the ``number``-th datagram (from 0) that goes this way; '' counts all of them."""
    seen = count()

    def drop(datagram: Datagram) -> bool:
        return way in ("", datagram.way) and next(seen) == number

    return drop


def lose(times: int, way: str, word: str) -> Callable[[Datagram], bool]:
    """Lose the first ``times`` datagrams of this method or status that go this way."""
    seen = count()

    def drop(datagram: Datagram) -> bool:
        return (datagram.way, datagram.word) == (way, word) and next(seen) < times

    return drop


def tokens(name: str) -> Callable[[], str]:
    """Sixteen hexadecimal digits at a time, the same in every run."""
    source = random.Random(name)
    return lambda: f"{source.getrandbits(64):016x}"


class Node(Protocol):
    """Whoever has an address on the network."""

    def receive(self, data: bytes, source: Address) -> None: ...
    def wake(self) -> None: ...
    def deadline(self) -> float | None: ...


class Network:
    """Addresses, datagrams on their way, and the clock: ``now`` in seconds from 0."""

    def __init__(self, conditions: Conditions | None = None) -> None:
        self.conditions = conditions or Conditions()
        self.now = 0.0
        self.log: list[Datagram] = []
        self.written: Callable[[], int] = lambda: 0
        self._nodes: dict[Address, Node] = {}
        self._sides: dict[Address, str] = {}
        self._agenda: list[tuple[float, int, Callable[[], object]]] = []
        self._order = count()

    def attach(self, address: Address, node: Node, side: str = "") -> None:
        """Give a node its address; ``side`` names the party that it stands for."""
        self._nodes[address] = node
        self._sides[address] = side

    def side_of(self, address: Address) -> str:
        """The party behind an address, '' for none."""
        return self._sides.get(address, "")

    def later(self, delay: float, action: Callable[[], object]) -> None:
        """Do something ``delay`` seconds from now."""
        heapq.heappush(self._agenda, (self.now + delay, next(self._order), action))

    def send(self, source: Address, target: Address, data: bytes) -> None:
        """Put a datagram on its way."""
        way = f">{self.side_of(target)}" if source == SWITCH else f"{self.side_of(source)}>"
        datagram = Datagram(len(self.log), self.now, source, target, data, way, self.written())
        self.log.append(datagram)
        delays = self.conditions.delays(datagram)
        datagram.lost = not delays
        for delay in delays:
            self.later(delay, lambda: self._deliver(datagram))

    def run(self, seconds: float) -> None:
        """Let time pass."""
        end = self.now + seconds
        while self._step(end):
            pass
        self.now = end

    def run_out(self) -> None:
        """Run until nothing is left to happen."""
        end = self.now + PATIENCE
        while self._step(inf):
            assert self.now < end, "the network does not come to rest"

    def toward(self, side: str) -> list[Datagram]:
        """What the switch has sent to a party."""
        return [datagram for datagram in self.log if datagram.way == f">{side}"]

    def trace(self) -> str:
        """The ladder as text, for the reader of a failure."""
        return "\n".join(f"{d.at:9.3f} {d.number:3} {d.way:3} {d.word}{' LOST' if d.lost else ''}" for d in self.log)

    def _deliver(self, datagram: Datagram) -> None:
        node = self._nodes.get(datagram.target)
        if node is not None:
            node.receive(datagram.data, datagram.source)

    def _step(self, end: float) -> bool:
        at = self._agenda[0][0] if self._agenda else inf
        sleeper: Node | None = None
        for node in self._nodes.values():
            deadline = node.deadline()
            if deadline is not None and deadline < at:
                at, sleeper = deadline, node
        if at > end or at == inf:
            return False
        self.now = max(self.now, at)
        if sleeper is not None:
            sleeper.wake()
        else:
            heapq.heappop(self._agenda)[2]()
        return True


class Shelf:
    """The disk that messages are kept on. ``works`` says whether an order can be carried out, ``delay`` how long it
    takes, None for ever."""

    def __init__(self) -> None:
        self.kept: dict[str, Kept] = {}
        self.works: Callable[[Write | Mark], bool] = lambda order: True
        self.delay: float | None = 0.001
        self.seen: list[Write | Mark] = []

    def take(self, orders: Sequence[Write | Mark], node: "SwitchNode") -> None:
        if self.delay is not None:
            node.network.later(self.delay, partial(self._carry_out, orders, node))

    def _carry_out(self, orders: Sequence[Write | Mark], node: "SwitchNode") -> None:
        told = []
        for order in orders:
            self.seen.append(order)
            good = self.works(order)
            if isinstance(order, Write):
                if good:
                    self.kept[order.message.record_id] = Kept(order.message, Stored.WAITING, 0, order.due_ms)
                told.append((order.message.record_id, good))
                continue
            if good and order.record_id in self.kept:
                kept = self.kept[order.record_id]
                self.kept[order.record_id] = Kept(kept.message, order.state, order.tries, order.due_ms)
            if order.told:
                told.append((order.record_id, good))
        if told:
            node.enter(lambda now: node.switch.on_disk(told, now))


class SwitchNode:
    """The switch with the shell's rhythm around it: feed, answer queries, take records, send.

    ``decide`` answers a query after ``delay`` seconds; with ``held`` set, queries wait in ``waiting`` for ``release``.
    """

    def __init__(self, network: Network, switch: Switch, decide: Callable[[Query], Route | Refusal]) -> None:
        self.network = network
        self.switch = switch
        self.decide = decide
        self.delay = 0.0
        self.held = False
        self.waiting: list[Query] = []
        self.records: list[record.Event] = []
        self.disk: Callable[[Sequence[record.Event]], bool] = lambda records: True  # whether it takes them
        self.shelf = Shelf()
        self.notices: list[tuple[str, str]] = []
        self.changes: list[Change] = []
        network.attach(SWITCH, self)
        network.written = lambda: len(self.records)

    @property
    def now(self) -> Now:
        return Now(self.network.now, START_MS + round(self.network.now * 1000))

    def receive(self, data: bytes, source: Address) -> None:
        flow = Flow("UDP", "udp", source)
        if self.switch.admits(flow, self.now.monotonic):
            self.switch.receive(data, flow, self.now)
        self.pump()

    def wake(self) -> None:
        self.switch.wake(self.now)
        self.pump()

    def deadline(self) -> float | None:
        return self.switch.deadline()

    def enter(self, entry: Callable[[Now], object]) -> object:
        """An operator's command."""
        result = entry(self.now)
        self.pump()
        return result

    def release(self) -> None:
        """Answer the queries that were held."""
        waiting, self.waiting = self.waiting, []
        for query in waiting:
            self._answer(query)

    def pump(self) -> None:
        while queries := self.switch.queries():
            for query in queries:
                if self.held:
                    self.waiting.append(query)
                elif self.delay:
                    self.network.later(self.delay, partial(self._answer, query))
                else:
                    self.switch.decided(query, self.decide(query), self.now)
        records = self.switch.records()
        if records and not self.disk(records):
            self.switch.unwritten(records, self.now)
            records = records + self.switch.records()
        self.records += records
        for wire, flow in self.switch.outgoing():
            self.network.send(SWITCH, flow.peer, wire)
        if orders := self.switch.messages.take_orders():
            self.shelf.take(orders, self)
        self.notices += self.switch.notices
        self.switch.notices.clear()
        self.changes += self.switch.changes()

    def _answer(self, query: Query) -> None:
        self.switch.decided(query, self.decide(query), self.now)
        self.pump()


class Script:
    """An agent that says what the test writes, byte for byte, and never of itself: for what no user agent would send.

    ``inbox`` holds every datagram it got; ``react`` is called with each of them.
    """

    def __init__(self, network: Network, address: Address, side: str = "") -> None:
        self.network = network
        self.address = address
        self.inbox: list[bytes] = []
        self.react: Callable[[bytes], None] | None = None
        network.attach(address, self, side)

    def send(self, data: bytes | str) -> None:
        self.network.send(self.address, SWITCH, data.encode() if isinstance(data, str) else data)

    def receive(self, data: bytes, source: Address) -> None:
        self.inbox.append(data)
        if self.react is not None:
            self.react(data)

    def wake(self) -> None:
        raise AssertionError("a script has no timers")

    def deadline(self) -> None:
        return None

    @property
    def words(self) -> list[str]:
        """Methods and statuses received, in order."""
        return [data.split(b" ", 2)[1 if data.startswith(b"SIP/2.0") else 0].decode() for data in self.inbox]

    def last(self, word: str) -> Message:
        """The last message of this method or status."""
        for data, name in zip(reversed(self.inbox), reversed(self.words), strict=True):
            if name == word:
                return parse(data)
        raise AssertionError(f"no {word} among {self.words}")


_branches = count(1)


def request_text(
    method: str,
    uri: str,
    source: Address,
    *,
    number: str = "",
    from_value: str = "",
    to_value: str = "",
    call_id: str = "",
    cseq: int = 1,
    branch: str = "",
    via: str = "",
    lines: Sequence[str] = (),
    without: str = "",
    body: str = "",
    content_type: str = "application/sdp",
) -> str:
    """A request as text. ``lines`` are further header lines; a standard line of the name ``without`` is left out."""
    host, port = source
    branch = branch or f"z9hG4bK-script-{next(_branches)}"
    user = f"{number}@" if number else ""
    head = [
        f"{method} {uri} SIP/2.0",
        via or f"Via: SIP/2.0/UDP {host}:{port};branch={branch};rport",
        "Max-Forwards: 70",
        f"From: {from_value or f'<sip:{user}{host}>;tag=script'}",
        f"To: {to_value or f'<{uri}>'}",
        f"Call-ID: {call_id or f'{branch}-call'}",
        f"CSeq: {cseq} {method}",
        f"Contact: <sip:{user}{host}:{port}>",
        *lines,
        f"Content-Type: {content_type}" if body else "",
        f"Content-Length: {len(body.encode())}",
    ]
    kept = [line for line in head if line and line.partition(":")[0] != without]
    return "\r\n".join(kept) + "\r\n\r\n" + body


def answer_text(
    request: Message,
    status: int,
    source: Address,
    *,
    tag: str = "scripted",
    contact: str | None = None,
    lines: Sequence[str] = (),
    body: str = "",
    phrase: str = "Fine",
) -> str:
    """An answer to a request of the switch as text; ``contact`` '' leaves that line out."""
    vias = [f"Via: {value}" for value in request.all("via")]
    to_value = request.to_value if request.to_tag or status == 100 or not tag else f"{request.to_value};tag={tag}"
    if contact is None:
        contact = f"<sip:{source[0]}:{source[1]}>" if status < 300 else ""
    head = [
        f"SIP/2.0 {status} {phrase}",
        *vias,
        f"From: {request.from_value}",
        f"To: {to_value}",
        f"Call-ID: {request.call_id}",
        f"CSeq: {request.cseq} {request.cseq_method}",
        f"Contact: {contact}" if contact else "",
        *lines,
        "Content-Type: application/sdp" if body else "",
        f"Content-Length: {len(body.encode())}",
    ]
    return "\r\n".join(line for line in head if line) + "\r\n\r\n" + body
