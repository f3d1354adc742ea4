"""Messages to feed, and a memory wire with a virtual clock between two endpoints."""

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import count
from random import Random

from b2bua.sip.endpoint import Endpoint, Event
from b2bua.sip.message import Request, Response
from b2bua.sip.parser import parse
from b2bua.sip.timers import TimerValues
from b2bua.sip.transaction import Flow

__all__ = ["Station", "Weather", "Wire", "tokens", "wire_request", "wire_response"]

VIA = "SIP/2.0/UDP 10.0.0.1:5070;branch=z9hG4bK77"
FROM = "<sip:13800138000@10.0.0.1>;tag=caller"
TO = "<sip:700123456789012@10.0.0.2>"


def wire_request(
    method: str = "INVITE",
    uri: str = "sip:700123456789012@10.0.0.2",
    *,
    vias: Sequence[str] = (VIA,),
    from_value: str = FROM,
    to_value: str = TO,
    call_id: str = "call-1",
    cseq: str = "",
    more: Sequence[str] = (),
    body: bytes = b"",
) -> bytes:
    """A request as a plain peer writes it."""
    lines = [
        f"{method} {uri} SIP/2.0",
        *[f"Via: {via}" for via in vias],
        "Max-Forwards: 70",
        f"From: {from_value}",
        f"To: {to_value}",
        f"Call-ID: {call_id}",
        f"CSeq: {cseq or f'1 {method}'}",
        *more,
        f"Content-Length: {len(body)}",
    ]
    return "\r\n".join(lines).encode("utf-8", "surrogateescape") + b"\r\n\r\n" + body


def wire_response(
    status: int,
    *,
    vias: Sequence[str] = (VIA,),
    from_value: str = FROM,
    to_value: str = f"{TO};tag=callee",
    call_id: str = "call-1",
    cseq: str = "1 INVITE",
    more: Sequence[str] = (),
    body: bytes = b"",
) -> bytes:
    """An answer as a plain peer writes it."""
    lines = [
        f"SIP/2.0 {status} Whatever",
        *[f"Via: {via}" for via in vias],
        f"From: {from_value}",
        f"To: {to_value}",
        f"Call-ID: {call_id}",
        f"CSeq: {cseq}",
        *more,
        f"Content-Length: {len(body)}",
    ]
    return "\r\n".join(lines).encode("utf-8", "surrogateescape") + b"\r\n\r\n" + body


def tokens(prefix: str) -> Callable[[], str]:
    """Tokens that are never the same twice, and tell whose they are."""
    numbers = count(1)
    return lambda: f"{prefix}{next(numbers):06d}"


class Station:
    """One endpoint at one address. ``hear`` is the user agent above: it is called with each event and the time."""

    def __init__(self, host: str, port: int, transport: str = "UDP", values: TimerValues | None = None) -> None:
        self.address = (host, port)
        self.transport = transport
        shown = f"[{host}]" if ":" in host else host
        self.endpoint = Endpoint(values or TimerValues(), tokens(f"{port}x"), {"main": f"{shown}:{port}"})
        self.heard: list[tuple[float, Event]] = []
        self.hear: Callable[[Event, float], None] = lambda event, now: None

    def flow(self, peer: tuple[str, int]) -> Flow:
        """The way from here to a peer."""
        return Flow(self.transport, "main", peer)

    def tables(self) -> tuple[int, int, int]:
        """What has to be empty when nothing goes on: server and client transactions, armed timers."""
        return len(self.endpoint.servers), len(self.endpoint.clients), len(self.endpoint.timers)


@dataclass
class Weather:
    """What the wire does to a datagram; chances from 0 to 1, times in seconds."""

    seed: int = 0
    loss: float = 0.0
    duplication: float = 0.0
    delay: float = 0.01
    jitter: float = 0.0
    random: Random = field(init=False)

    def __post_init__(self) -> None:
        self.random = Random(self.seed)

    def arrivals(self, now: float) -> list[float]:
        """When the copies of a datagram sent now arrive; none when it is lost."""
        copies = 0 if self.random.random() < self.loss else 2 if self.random.random() < self.duplication else 1
        return [now + self.delay + self.jitter * self.random.random() for _ in range(copies)]


class Wire:
    """Carries what the stations send, and wakes them when their timers are due."""

    def __init__(self, *stations: Station, weather: Weather | None = None) -> None:
        self.stations = {station.address: station for station in stations}
        self.weather = weather or Weather()
        self.now = 0.0
        self.sent: list[tuple[float, Station, Request | Response]] = []
        self._order = count()
        self._flying: list[tuple[float, int, bytes, Station, tuple[str, int]]] = []
        self._errands: list[tuple[float, int, Callable[[float], None]]] = []

    def later(self, delay: float, errand: Callable[[float], None]) -> None:
        """Have something done by a user agent after ``delay`` seconds."""
        heapq.heappush(self._errands, (self.now + delay, next(self._order), errand))

    def settle(self, now: float) -> None:
        """Hand events to the user agents and take their datagrams until there are none left."""
        for station in self.stations.values():
            while events := station.endpoint.take_events():
                for event in events:
                    station.heard.append((now, event))
                    station.hear(event, now)
        for station in self.stations.values():
            outgoing, station.endpoint.outgoing = station.endpoint.outgoing, []
            for data, flow in outgoing:
                self.sent.append((now, station, parse(data)))
                for arrival in self.weather.arrivals(now):
                    target = self.stations[flow.peer]
                    heapq.heappush(self._flying, (arrival, next(self._order), data, target, station.address))

    def run(self, until: float = 1e9) -> None:
        """Let time pass until nothing is left to happen, or until the given second."""
        self.settle(self.now)
        while True:
            deadlines = [station.endpoint.timers.deadline() for station in self.stations.values()]
            times = [deadline for deadline in deadlines if deadline is not None]
            times += [heap[0][0] for heap in (self._flying, self._errands) if heap]
            if not times or min(times) > until:
                return
            self.now = max(self.now, min(times))
            while self._flying and self._flying[0][0] <= self.now:
                _, _, data, target, source = heapq.heappop(self._flying)
                target.endpoint.receive(data, target.flow(source), self.now)
                self.settle(self.now)
            while self._errands and self._errands[0][0] <= self.now:
                heapq.heappop(self._errands)[2](self.now)
            for station in self.stations.values():
                station.endpoint.wake(self.now)
            self.settle(self.now)
