"""Two endpoints wired back to back in memory, both stacks real, in fair and foul weather."""

from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from b2bua.sip.endpoint import AckReceived, CancelReceived, Event, RequestReceived, ResponseReceived, TransactionFailed
from b2bua.sip.message import Request
from b2bua.sip.transaction import Flow, ServerTransaction, State
from tests.sip.wire import Station, Weather, Wire


@dataclass
class Caller:
    """Sends one request, ACKs as §13.2.2.4 says, and cancels when told to."""

    wire: Wire
    station: Station
    peer: tuple[str, int]
    method: str = "INVITE"
    cancel_after: float | None = None
    outcomes: list[int] = field(default_factory=list)
    provisional: list[int] = field(default_factory=list)
    cancels: list[int] = field(default_factory=list)
    _ack: bytes = b""
    _cancelling: bool = False

    def start(self) -> None:
        self.station.hear = self.hear
        flow = self.station.flow(self.peer)
        self.transaction = self.station.endpoint.request(
            self.method, "sip:b@h", flow, "<sip:a@h>;tag=a", "<sip:b@h>", "call", 1, self.wire.now
        )

    def hear(self, event: Event, now: float) -> None:
        if isinstance(event, TransactionFailed):
            (self.outcomes if event.transaction is self.transaction else self.cancels).append(408)
            return
        assert isinstance(event, ResponseReceived)
        status = event.response.status
        if event.transaction is not self.transaction:
            self.cancels.append(status)
        elif status < 200:
            self.provisional.append(status)
            if self.cancel_after is not None and not self._cancelling:
                self._cancelling = True
                self.wire.later(self.cancel_after, self._cancel)
        elif status >= 300 or self.method != "INVITE":
            self.outcomes.append(status)
        elif not self._ack:
            self.outcomes.append(status)
            flow = self.station.flow(self.peer)
            to_value = event.response.to_value
            self._ack = self.station.endpoint.acknowledge("sip:b@h", flow, "<sip:a@h>;tag=a", to_value, "call", 1)
        else:
            self.station.endpoint.transmit(self._ack, self.station.flow(self.peer), None, True)

    def _cancel(self, now: float) -> None:
        if self.transaction.state is State.PROCEEDING:
            self.station.endpoint.cancel(self.transaction, now)


@dataclass
class Callee:
    """Answers every new request by a plan of (seconds, status), and repeats its 2xx of an INVITE until the ACK."""

    wire: Wire
    station: Station
    plan: tuple[tuple[float, int], ...] = ((0.05, 180), (0.3, 200))
    requests: int = 0
    cancels: int = 0
    acks: int = 0
    answered: int = 0
    gave_up: bool = False

    def start(self) -> None:
        self.station.hear = self.hear

    def hear(self, event: Event, now: float) -> None:
        if isinstance(event, RequestReceived):
            self.requests += 1
            if event.request.method == "INVITE":
                self.station.endpoint.respond(event.transaction, 100, now)
            for delay, status in self.plan:
                self.wire.later(delay, lambda now, status=status: self._answer(event.transaction, status, now))  # type: ignore[misc]
        elif isinstance(event, CancelReceived):
            self.cancels += 1
            self._answer(event.transaction, 487, now)
        else:
            assert isinstance(event, AckReceived)
            assert event.request.to_tag
            self.acks += 1

    def _answer(self, transaction: ServerTransaction, status: int, now: float) -> None:
        if transaction.state not in (State.TRYING, State.PROCEEDING):
            return
        wire = self.station.endpoint.respond(transaction, status, now)
        if status >= 200:
            self.answered = status
        if transaction.method == "INVITE" and 200 <= status < 300:
            values = self.station.endpoint.values
            self._repeat(wire, transaction.flow, values.t1, now + values.timeout)

    def _repeat(self, wire: bytes, flow: Flow, interval: float, give_up_at: float) -> None:
        def again(now: float) -> None:
            if self.acks:
                return
            if now >= give_up_at:
                self.gave_up = True
                return
            self.station.endpoint.transmit(wire, flow, None, True)
            self._repeat(wire, flow, min(2 * interval, self.station.endpoint.values.t2), give_up_at)

        self.wire.later(interval, again)


A, B = ("10.0.0.1", 5061), ("10.0.0.2", 5062)


def pair(
    weather: Weather | None = None,
    method: str = "INVITE",
    plan: tuple[tuple[float, int], ...] = ((0.05, 180), (0.3, 200)),
    cancel_after: float | None = None,
    transport: str = "UDP",
    hosts: tuple[str, str] = (A[0], B[0]),
) -> tuple[Wire, Caller, Callee]:
    a, b = Station(hosts[0], A[1], transport), Station(hosts[1], B[1], transport)
    wire = Wire(a, b, weather=weather)
    caller, callee = Caller(wire, a, b.address, method, cancel_after), Callee(wire, b, plan)
    caller.start()
    callee.start()
    return wire, caller, callee


def talk(wire: Wire, until: float = 1e9) -> list[str]:
    """What was sent until then, in order, by method or status and the sequence's method."""
    wire.run(until)
    return [
        message.method if isinstance(message, Request) else f"{message.status} {message.cseq_method}"
        for _, _, message in wire.sent
    ]


def assert_all_over(wire: Wire) -> None:
    for station in wire.stations.values():
        assert station.tables() == (0, 0, 0)
        assert station.endpoint.timers.deadline() is None
        assert station.endpoint.events == []
        assert station.endpoint.drops["malformed"] == 0


def assert_over_at(wire: Wire, end: float) -> None:
    """The last table empties at that time, and not before."""
    wire.run(end - 0.01)
    assert sum(sum(station.tables()) for station in wire.stations.values()) > 0
    wire.run(end + 0.3)
    assert sum(sum(station.tables()) for station in wire.stations.values()) == 0
    wire.run()
    assert_all_over(wire)


@pytest.mark.parametrize("hosts", [(A[0], B[0]), ("2001:db8::1", "2001:db8::2")], ids=["IPv4", "IPv6"])
@pytest.mark.parametrize("transport", ["UDP", "TCP"])
def test_a_call_is_answered(transport: str, hosts: tuple[str, str]) -> None:
    wire, caller, callee = pair(transport=transport, hosts=hosts)
    assert talk(wire, 5.0) == ["INVITE", "100 INVITE", "180 INVITE", "200 INVITE", "ACK"]
    assert (caller.provisional, caller.outcomes) == ([100, 180], [200])
    assert (callee.requests, callee.acks, callee.gave_up) == (1, 1, False)
    assert_over_at(wire, 32.3)  # L and M


@pytest.mark.parametrize(("transport", "stays"), [("UDP", 32.32), ("TCP", 0.33)])
def test_a_call_is_refused(transport: str, stays: float) -> None:
    wire, caller, callee = pair(plan=((0.3, 486),), transport=transport)
    assert talk(wire, 0.305) == ["INVITE", "100 INVITE"]
    assert talk(wire, 0.325) == ["INVITE", "100 INVITE", "486 INVITE", "ACK"]
    assert caller.outcomes == [486]
    assert callee.acks == 0  # the ACK of a failure ends in the transaction
    assert_over_at(wire, stays)  # D and I


def test_a_call_is_cancelled() -> None:
    wire, caller, callee = pair(plan=((0.05, 180), (9.0, 200)), cancel_after=1.0)
    assert talk(wire) == ["INVITE", "100 INVITE", "180 INVITE", "CANCEL", "200 CANCEL", "487 INVITE", "ACK"]
    assert (caller.cancels, caller.outcomes, callee.cancels) == ([200], [487], 1)
    assert_all_over(wire)


def test_a_cancel_crosses_the_answer() -> None:
    wire, caller, callee = pair(plan=((0.05, 180), (1.0, 200)), cancel_after=0.985)
    assert talk(wire) == ["INVITE", "100 INVITE", "180 INVITE", "CANCEL", "200 INVITE", "200 CANCEL", "ACK"]
    assert (caller.cancels, caller.outcomes, callee.cancels) == ([200], [200], 0)
    assert_all_over(wire)


@pytest.mark.parametrize("transport", ["UDP", "TCP"])
@pytest.mark.parametrize("status", [200, 404])
def test_another_request_is_answered(status: int, transport: str) -> None:
    wire, caller, callee = pair(method="OPTIONS", plan=((0.1, status),), transport=transport)
    assert talk(wire) == ["OPTIONS", f"{status} OPTIONS"]
    assert (caller.outcomes, callee.requests) == ([status], 1)
    assert_all_over(wire)


def test_a_slow_answer_to_another_request_is_asked_for_again() -> None:
    wire, caller, _ = pair(method="OPTIONS", plan=((2.0, 200),))
    assert talk(wire) == ["OPTIONS"] * 3 + ["200 OPTIONS"]
    assert caller.outcomes == [200]
    assert wire.stations[B].endpoint.retransmissions_in == 2
    assert_all_over(wire)


@pytest.mark.parametrize(("method", "times"), [("INVITE", 7), ("OPTIONS", 11)])
def test_nobody_is_there(method: str, times: int) -> None:
    wire, caller, callee = pair(Weather(loss=1.0), method)
    assert talk(wire) == [method] * times
    assert caller.outcomes == [408]
    assert callee.requests == 0
    assert wire.now == 32.0
    assert_all_over(wire)


def test_a_2xx_that_is_never_acknowledged_is_repeated_and_given_up() -> None:
    wire, _, callee = pair()
    wire.run(0.315)
    wire.weather.loss = 1.0
    wire.run()
    assert callee.gave_up
    assert_all_over(wire)


def judge(wire: Wire, caller: Caller, callee: Callee, expected: set[int]) -> None:
    """What must hold whatever the weather was."""
    assert_all_over(wire)
    assert len(caller.outcomes) == 1, "exactly one end"
    (outcome,) = caller.outcomes
    assert outcome in expected | {408}
    if callee.requests == 0:
        assert outcome == 408
    elif outcome != 408:
        assert outcome == callee.answered
    assert callee.requests <= 1, "a repetition is never taken for a new request"
    assert callee.cancels <= 1
    if callee.acks:
        assert outcome == callee.answered == 200
    if callee.gave_up:
        assert callee.acks == 0
    if wire.weather.loss == 0:
        assert outcome != 408


weathers = st.builds(
    Weather,
    seed=st.integers(0, 2**32),
    loss=st.sampled_from([0.0, 0.1, 0.3]),
    duplication=st.sampled_from([0.0, 0.2, 0.5]),
    delay=st.sampled_from([0.001, 0.02]),
    jitter=st.sampled_from([0.0, 0.05, 0.4]),
)


@settings(deadline=None)
@given(weathers)
def test_an_answered_call_in_any_weather(weather: Weather) -> None:
    wire, caller, callee = pair(weather)
    wire.run()
    judge(wire, caller, callee, {200})


@settings(deadline=None)
@given(weathers, st.sampled_from([302, 404, 486, 503, 603]), st.sampled_from([0.0, 0.2, 5.0]))
def test_a_refused_call_in_any_weather(weather: Weather, status: int, delay: float) -> None:
    wire, caller, callee = pair(weather, plan=((delay / 2, 183), (delay, status)))
    wire.run()
    judge(wire, caller, callee, {status})


@settings(deadline=None)
@given(weathers, st.sampled_from([0.0, 0.1, 0.5, 0.9, 1.0, 1.1, 3.0]), st.sampled_from([200, 486]))
def test_a_cancelled_call_in_any_weather(weather: Weather, after: float, status: int) -> None:
    wire, caller, callee = pair(weather, plan=((0.05, 180), (1.0, status)), cancel_after=after)
    wire.run()
    judge(wire, caller, callee, {status, 487})


@settings(deadline=None)
@given(weathers, st.sampled_from([200, 202, 404, 500]), st.sampled_from([0.0, 0.7, 6.0]), st.booleans())
def test_another_request_in_any_weather(weather: Weather, status: int, delay: float, provisional: bool) -> None:
    plan = ((delay / 2, 183), (delay, status)) if provisional else ((delay, status),)
    wire, caller, callee = pair(weather, "INFO", plan)
    wire.run()
    judge(wire, caller, callee, {status})
