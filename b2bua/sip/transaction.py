"""The four transaction machines of RFC 3261 §17 with the corrections of RFC 6026, as tables.

One row says: in this state, on this input, do these actions and go to that state. ``Transaction.step`` is the only
place that changes a state. A pair without a row is either on the machine's ignore list or a bug of ours.
"""

from collections.abc import Callable, Iterable
from enum import IntEnum
from math import inf
from typing import Any, Final, NamedTuple, Protocol

from b2bua.sip.errors import MisuseError
from b2bua.sip.message import Message, Request, Response
from b2bua.sip.timers import Timer, TimerQueue, TimerValues

__all__ = [
    "MACHINES",
    "ClientTransaction",
    "Flow",
    "Input",
    "Machine",
    "ServerTransaction",
    "State",
    "Transaction",
    "TransactionLayer",
]


class Flow(NamedTuple):
    """Where a message came from and where its answer goes: transport name, our listener's name, the peer's host and
    port."""

    transport: str
    listener: str
    peer: tuple[str, int]

    @property
    def reliable(self) -> bool:
        """Whether the transport retransmits by itself (§17: then we do not)."""
        return self.transport != "UDP"


class State(IntEnum):
    """All states of the four figures; no machine uses all of them."""

    CALLING = 0
    TRYING = 1
    PROCEEDING = 2
    ACCEPTED = 3
    COMPLETED = 4
    CONFIRMED = 5
    TERMINATED = 6


class Input(IntEnum):
    """What can happen to a transaction. The letters are RFC 3261's and 6026's timers."""

    RECEIVE_1XX = 0
    RECEIVE_2XX = 1
    RECEIVE_FAILURE = 2
    RECEIVE_REQUEST = 3  # the same request once more
    RECEIVE_ACK = 4
    SEND_1XX = 5
    SEND_2XX = 6
    SEND_FAILURE = 7
    RETRANSMIT = 8  # A, E, G
    TIMEOUT = 9  # B, F, H, and the guard
    LINGER = 10  # D, I, J, K, L, M
    TRANSPORT_ERROR = 11
    ABANDON = 12  # call control has given the request up


class TransactionLayer(Protocol):
    """What a transaction needs of the endpoint it lives in."""

    timers: TimerQueue
    values: TimerValues

    def transmit(self, wire: bytes, flow: Flow, sender: object, retransmission: bool) -> None: ...
    def report(self, transaction: Any, message: Message | None) -> None: ...
    def ended(self, transaction: Any) -> None: ...


class Row(NamedTuple):
    """``report``: whether call control hears of it."""

    actions: tuple[Callable[[Any, float], None], ...]
    target: State
    report: bool


class Machine(NamedTuple):
    """One figure. ``rows`` is indexed by state, then input; None marks an absent pair."""

    name: str
    initial: State
    rows: tuple[tuple[Row | None, ...], ...]
    ignored: frozenset[tuple[State, Input]]


class Transaction(Timer):
    """What the four share: a state, the wire form to send again, and two clocks (retransmission and expiry) on one
    timer."""

    __slots__ = (
        "_expire_at",
        "_expire_input",
        "_interval",
        "_retransmit_at",
        "flow",
        "key",
        "layer",
        "machine",
        "owner",
        "state",
        "wire",
    )

    def __init__(self, layer: TransactionLayer, machine: Machine, key: str, flow: Flow) -> None:
        super().__init__()
        self.layer = layer
        self.machine = machine
        self.key = key
        self.flow = flow
        self.state = machine.initial
        self.wire: bytes | None = None
        self.owner: Any = None
        self._interval = 0.0
        self._retransmit_at = inf
        self._expire_at = inf
        self._expire_input = Input.LINGER

    @property
    def alive(self) -> bool:
        """Whether it still stands in its endpoint's table."""
        return self.state is not State.TERMINATED

    @property
    def unreachable(self) -> bool:
        """Whether it has ended because its message could not be delivered, and not for want of an answer."""
        return self._expire_input is Input.TRANSPORT_ERROR

    @property
    def echo(self) -> tuple[str, ...]:
        """What the peer itself said that this transaction says back to it."""
        return ()

    def step(self, happened: Input, now: float, message: Message | None = None) -> bool:
        """Take one input; False when the machine ignores it here. ``now`` is monotonic seconds."""
        row = self.machine.rows[self.state][happened]
        if row is None:
            if (self.state, happened) not in self.machine.ignored:
                raise MisuseError(f"{self.machine.name}: {happened.name} in {self.state.name}")
            return False
        self.state = row.target
        for action in row.actions:
            action(self, now)
        if row.report:
            self.layer.report(self, message)
        if row.target is State.TERMINATED:
            self.layer.timers.cancel(self)
            self.layer.ended(self)
            if not row.report:
                # nobody asks any more, and an owner that keeps its transactions would live in a circle with them
                self.owner = None
        return True

    def fire(self, now: float) -> None:
        """The earlier of the two clocks has come."""
        self.step(Input.RETRANSMIT if self._retransmit_at <= now else self._expire_input, now)

    def _arm(self, now: float) -> None:
        self.layer.timers.set(self, min(self._retransmit_at, self._expire_at), now)

    # actions of the tables

    def note_unreachable(self, now: float) -> None:
        """The end came because nothing could be sent (§17.1.4, §17.2.4)."""
        self._expire_input = Input.TRANSPORT_ERROR

    def send_again(self, now: float) -> None:
        """Transmit the last wire form."""
        if self.wire is not None:
            self.layer.transmit(self.wire, self.flow, self, True)

    def start_retransmission(self, now: float) -> None:
        """A, E, G: T1, and then longer and longer; never over a reliable transport."""
        if not self.flow.reliable:
            self._interval = self.layer.values.t1
            self._retransmit_at = now + self._interval
        self._arm(now)

    def double(self, now: float) -> None:
        """Timer A has no ceiling (§17.1.1.2)."""
        self._interval *= 2
        self._retransmit_at = now + self._interval
        self._arm(now)

    def double_to_t2(self, now: float) -> None:
        """Timers E and G double up to T2 (§17.1.2.2, §17.2.1)."""
        self._interval = min(2 * self._interval, self.layer.values.t2)
        self._retransmit_at = now + self._interval
        self._arm(now)

    def slow_to_t2(self, now: float) -> None:
        """A provisional answer sets timer E to T2 (§17.1.2.2)."""
        if not self.flow.reliable:
            self._interval = self.layer.values.t2
            self._retransmit_at = now + self._interval
            self._arm(now)

    def start_timeout(self, now: float) -> None:
        """B, F, H."""
        self._expire(self.layer.values.timeout, Input.TIMEOUT, now)

    def start_guard(self, now: float) -> None:
        """The far end may ring for long; call control's limits come first, this one only makes sure that they did."""
        self._retransmit_at = inf
        self._expire(self.layer.values.guard, Input.TIMEOUT, now)

    def linger(self, now: float) -> None:
        """D, L, M: 64·T1 whatever the transport; J: 0 when it is reliable, which is below."""
        self._retransmit_at = inf
        self._expire(self.layer.values.timeout, Input.LINGER, now)

    def linger_unreliable(self, now: float) -> None:
        """D and J over a reliable transport are zero (§17.1.1.2, §17.2.2)."""
        self._retransmit_at = inf
        self._expire(0.0 if self.flow.reliable else self.layer.values.timeout, Input.LINGER, now)

    def linger_t4(self, now: float) -> None:
        """I and K: T4, zero over a reliable transport."""
        self._retransmit_at = inf
        self._expire(0.0 if self.flow.reliable else self.layer.values.t4, Input.LINGER, now)

    def forget_wire(self, now: float) -> None:
        """What will never be sent again needs no memory."""
        self.wire = None

    def _expire(self, delay: float, happened: Input, now: float) -> None:
        self._expire_at = now + delay
        self._expire_input = happened
        self._arm(now)


class ClientTransaction(Transaction):
    """A request of ours. ``acknowledge`` builds the ACK of a failure when one arrives (INVITE only).

    ``tag`` is the owner's to use: which of its questions this request carries. ``challenged`` keeps the wire form of a
    request that was answered 401 or 407, ``tried`` the challenges that it was meant to answer (RFC 3261 §22.2).
    ``fallback`` is the flow and Via of a large request that goes over TCP, should that not be had (§18.1.1).
    """

    __slots__ = ("challenged", "failure_to", "fallback", "method", "tag", "tried")

    def __init__(self, layer: TransactionLayer, method: str, key: str, flow: Flow, wire: bytes, owner: object) -> None:
        super().__init__(layer, INVITE_CLIENT if method == "INVITE" else NON_INVITE_CLIENT, key, flow)
        self.method = method
        self.wire = wire
        self.owner = owner
        self.failure_to = ""
        self.tag = 0
        self.challenged: bytes | None = None
        self.tried: tuple[tuple[str, str], ...] = ()
        self.fallback: tuple[Flow, str] | None = None

    @property
    def echo(self) -> tuple[str, ...]:
        """The To of a failure stands in its ACK."""
        return (self.failure_to,)

    def start(self, now: float) -> None:
        """Send the request for the first time."""
        assert self.wire is not None
        self.layer.transmit(self.wire, self.flow, self, False)
        self._expire_at = now + self.layer.values.timeout
        self._expire_input = Input.TIMEOUT
        self.start_retransmission(now)

    def fall_back(self, now: float) -> bool:
        """The transport of a large request is not to be had: send it over the other one, as if for the first time."""
        fallback, self.fallback = self.fallback, None
        if fallback is None or self.wire is None or self.state not in (State.CALLING, State.TRYING):
            return False
        self.flow, via = fallback
        start = self.wire.index(b"\r\nVia: ")
        end = self.wire.index(b"\r\n", start + 2)
        self.wire = b"%b\r\nVia: %b%b" % (self.wire[:start], via.encode(), self.wire[end:])
        self.start(now)
        return True

    def receive(self, response: Response, now: float) -> None:
        """An answer with our branch."""
        status = response.status
        if status >= 300:
            self.failure_to = response.to_value
            if status in (401, 407) and self.state is not State.COMPLETED:
                self.challenged = self.wire
            self.step(Input.RECEIVE_FAILURE, now, response)
        else:
            self.step(Input.RECEIVE_2XX if status >= 200 else Input.RECEIVE_1XX, now, response)

    def acknowledge(self, now: float) -> None:
        """ACK of a failure: sent now and again on every retransmission of the failure (§17.1.1.3)."""
        if self.wire is not None:  # else it was stopped on its way out, and nobody is to hear of it again
            self.wire = derive(self.wire, "ACK", self.failure_to)
            self.layer.transmit(self.wire, self.flow, self, False)


class ServerTransaction(Transaction):
    """A request of the peer, with the lines every answer to it echoes (§8.2.6.2)."""

    __slots__ = ("after_tag", "before_tag", "method", "request_tag", "to_tag")

    def __init__(self, layer: TransactionLayer, request: Request, vias: str, key: str, flow: Flow) -> None:
        super().__init__(layer, INVITE_SERVER if request.method == "INVITE" else NON_INVITE_SERVER, key, flow)
        self.method = request.method
        self.before_tag = f"{vias}From: {request.from_value}\r\nTo: {request.to_value}"
        self.request_tag = request.to_tag
        self.to_tag = ""  # ours, once we have one for this dialog
        self.after_tag = f"\r\nCall-ID: {request.call_id}\r\nCSeq: {request.cseq} {request.method}\r\n"

    @property
    def echo(self) -> tuple[str, ...]:
        """§8.2.6.2."""
        return self.before_tag, self.after_tag

    def start(self, now: float) -> None:
        """Nothing is sent yet; only the net is spread."""
        self.start_guard(now)

    def send(self, status: int, wire: bytes, now: float) -> None:
        """An answer to the request."""
        happened = Input.SEND_1XX if status < 200 else Input.SEND_2XX if status < 300 else Input.SEND_FAILURE
        if self.machine.rows[self.state][happened] is None:
            raise MisuseError(f"{self.machine.name}: answer {status} in {self.state.name}")
        self.wire = wire
        self.step(happened, now)

    def send_wire(self, now: float) -> None:
        """Transmit what ``send`` was given."""
        assert self.wire is not None
        self.layer.transmit(self.wire, self.flow, self, False)


def derive(wire: bytes, method: str, to_value: str | None = None, added: str = "") -> bytes:
    """The CANCEL (§9.1) or the ACK of a failure (§17.1.1.3) that belongs to an INVITE of ours, from its wire form."""
    kept = (b"Via:", b"Max-Forwards:", b"Route:", b"From:", b"To:", b"Call-ID:", b"CSeq:")
    head = wire.partition(b"\r\n\r\n")[0].split(b"\r\n")
    name = method.encode()
    lines = [name + head[0][head[0].index(b" ") :]]
    for line in head[1:]:
        if line.startswith(kept):
            if line.startswith(b"CSeq:"):
                line = line[: line.rindex(b" ") + 1] + name
            elif to_value is not None and line.startswith(b"To:"):
                line = b"To: " + to_value.encode("utf-8", "surrogateescape")
            lines.append(line)
    if added:
        lines.append(added.encode())
    lines.append(b"Content-Length: 0\r\n\r\n")
    return b"\r\n".join(lines)


_Rows = Iterable[tuple[State, Input, tuple[Callable[[Any, float], None], ...], State, bool]]
REPORT: Final = True
QUIET: Final = False


def _machine(name: str, initial: State, rows: _Rows, ignored: Iterable[tuple[State, Input]]) -> Machine:
    table: list[list[Row | None]] = [[None] * len(Input) for _ in State]
    for state, happened, actions, target, report in rows:
        if table[state][happened] is not None:
            raise MisuseError(f"{name}: {state.name}, {happened.name} stands twice")
        table[state][happened] = Row(actions, target, report)
    unheard = frozenset(ignored)
    for state, happened in unheard:
        if table[state][happened] is not None:
            raise MisuseError(f"{name}: {state.name}, {happened.name} is both handled and ignored")
    return Machine(name, initial, tuple(tuple(line) for line in table), unheard)


_S, _I = State, Input
_C, _T, _V = ClientTransaction, Transaction, ServerTransaction

# RFC 3261 figure 5 as corrected by RFC 6026 §7.2: Accepted, timer M
INVITE_CLIENT: Final = _machine(
    "INVITE client",
    State.CALLING,
    [
        (_S.CALLING, _I.RETRANSMIT, (_T.send_again, _T.double), _S.CALLING, QUIET),
        (_S.CALLING, _I.TIMEOUT, (), _S.TERMINATED, REPORT),
        (_S.CALLING, _I.TRANSPORT_ERROR, (_T.note_unreachable,), _S.TERMINATED, REPORT),
        # §9.1: no CANCEL before a provisional answer, so the INVITE goes on until there is one, or timer B
        (_S.CALLING, _I.ABANDON, (), _S.CALLING, QUIET),
        (_S.CALLING, _I.RECEIVE_1XX, (_T.start_guard,), _S.PROCEEDING, REPORT),
        (_S.CALLING, _I.RECEIVE_2XX, (_T.forget_wire, _T.linger), _S.ACCEPTED, REPORT),
        (_S.CALLING, _I.RECEIVE_FAILURE, (_C.acknowledge, _T.linger_unreliable), _S.COMPLETED, REPORT),
        (_S.PROCEEDING, _I.RECEIVE_1XX, (), _S.PROCEEDING, REPORT),
        (_S.PROCEEDING, _I.RECEIVE_2XX, (_T.forget_wire, _T.linger), _S.ACCEPTED, REPORT),
        (_S.PROCEEDING, _I.RECEIVE_FAILURE, (_C.acknowledge, _T.linger_unreliable), _S.COMPLETED, REPORT),
        (_S.PROCEEDING, _I.ABANDON, (_T.start_timeout,), _S.PROCEEDING, QUIET),  # §9.1: 64·T1 after CANCEL
        (_S.PROCEEDING, _I.TIMEOUT, (), _S.TERMINATED, REPORT),
        (_S.PROCEEDING, _I.TRANSPORT_ERROR, (_T.note_unreachable,), _S.TERMINATED, REPORT),
        (_S.ACCEPTED, _I.RECEIVE_2XX, (), _S.ACCEPTED, REPORT),  # call control ACKs again
        (_S.ACCEPTED, _I.LINGER, (), _S.TERMINATED, QUIET),
        (_S.COMPLETED, _I.RECEIVE_FAILURE, (_T.send_again,), _S.COMPLETED, QUIET),
        (_S.COMPLETED, _I.LINGER, (), _S.TERMINATED, QUIET),
        (_S.COMPLETED, _I.TRANSPORT_ERROR, (), _S.TERMINATED, QUIET),
    ],
    ignored=[
        (_S.ACCEPTED, _I.RECEIVE_1XX),  # late, or another branch of a fork still ringing
        (_S.ACCEPTED, _I.RECEIVE_FAILURE),
        (_S.ACCEPTED, _I.TRANSPORT_ERROR),
        (_S.ACCEPTED, _I.ABANDON),
        (_S.COMPLETED, _I.RECEIVE_1XX),
        (_S.COMPLETED, _I.RECEIVE_2XX),
        (_S.COMPLETED, _I.ABANDON),
        (_S.TERMINATED, _I.ABANDON),
    ],
)

# RFC 3261 figure 7 as corrected by RFC 6026 §7.1: Accepted, timer L
INVITE_SERVER: Final = _machine(
    "INVITE server",
    State.PROCEEDING,
    [
        (_S.PROCEEDING, _I.RECEIVE_REQUEST, (_T.send_again,), _S.PROCEEDING, QUIET),
        (_S.PROCEEDING, _I.SEND_1XX, (_V.send_wire,), _S.PROCEEDING, QUIET),
        (_S.PROCEEDING, _I.SEND_2XX, (_V.send_wire, _T.forget_wire, _T.linger), _S.ACCEPTED, QUIET),
        (
            _S.PROCEEDING,
            _I.SEND_FAILURE,
            (_V.send_wire, _T.start_timeout, _T.start_retransmission),
            _S.COMPLETED,
            QUIET,
        ),
        (_S.PROCEEDING, _I.TIMEOUT, (), _S.TERMINATED, REPORT),
        (_S.PROCEEDING, _I.TRANSPORT_ERROR, (_T.note_unreachable,), _S.TERMINATED, REPORT),
        (_S.PROCEEDING, _I.ABANDON, (), _S.TERMINATED, QUIET),  # §26.3.2.4: a stranger's request leaves nothing behind
        (_S.ACCEPTED, _I.LINGER, (), _S.TERMINATED, QUIET),
        (_S.COMPLETED, _I.RECEIVE_REQUEST, (_T.send_again,), _S.COMPLETED, QUIET),
        (_S.COMPLETED, _I.RETRANSMIT, (_T.send_again, _T.double_to_t2), _S.COMPLETED, QUIET),
        (_S.COMPLETED, _I.RECEIVE_ACK, (_T.forget_wire, _T.linger_t4), _S.CONFIRMED, QUIET),
        (_S.COMPLETED, _I.TIMEOUT, (), _S.TERMINATED, QUIET),  # H: the ACK never came, and nothing hangs on it
        (_S.COMPLETED, _I.TRANSPORT_ERROR, (), _S.TERMINATED, QUIET),
        (_S.CONFIRMED, _I.LINGER, (), _S.TERMINATED, QUIET),
    ],
    ignored=[
        (_S.PROCEEDING, _I.RECEIVE_ACK),  # an ACK before any final answer
        (_S.ACCEPTED, _I.RECEIVE_REQUEST),  # RFC 6026 §7.1: absorbed; the 2xx is retransmitted by the dialog
        (_S.ACCEPTED, _I.RECEIVE_ACK),  # an ACK of a 2xx with the INVITE's branch: the dialog takes it
        (_S.ACCEPTED, _I.TRANSPORT_ERROR),
        (_S.CONFIRMED, _I.RECEIVE_ACK),
        (_S.CONFIRMED, _I.RECEIVE_REQUEST),
        (_S.CONFIRMED, _I.TRANSPORT_ERROR),
    ],
)

# RFC 3261 figure 6
NON_INVITE_CLIENT: Final = _machine(
    "non-INVITE client",
    State.TRYING,
    [
        (_S.TRYING, _I.RETRANSMIT, (_T.send_again, _T.double_to_t2), _S.TRYING, QUIET),
        (_S.TRYING, _I.TIMEOUT, (), _S.TERMINATED, REPORT),
        (_S.TRYING, _I.TRANSPORT_ERROR, (_T.note_unreachable,), _S.TERMINATED, REPORT),
        (_S.TRYING, _I.RECEIVE_1XX, (_T.slow_to_t2,), _S.PROCEEDING, QUIET),
        (_S.TRYING, _I.RECEIVE_2XX, (_T.forget_wire, _T.linger_t4), _S.COMPLETED, REPORT),
        (_S.TRYING, _I.RECEIVE_FAILURE, (_T.forget_wire, _T.linger_t4), _S.COMPLETED, REPORT),
        (_S.PROCEEDING, _I.RETRANSMIT, (_T.send_again, _T.double_to_t2), _S.PROCEEDING, QUIET),
        (_S.PROCEEDING, _I.TIMEOUT, (), _S.TERMINATED, REPORT),
        (_S.PROCEEDING, _I.TRANSPORT_ERROR, (_T.note_unreachable,), _S.TERMINATED, REPORT),
        (_S.PROCEEDING, _I.RECEIVE_2XX, (_T.forget_wire, _T.linger_t4), _S.COMPLETED, REPORT),
        (_S.PROCEEDING, _I.RECEIVE_FAILURE, (_T.forget_wire, _T.linger_t4), _S.COMPLETED, REPORT),
        (_S.COMPLETED, _I.LINGER, (), _S.TERMINATED, QUIET),
    ],
    ignored=[
        (_S.PROCEEDING, _I.RECEIVE_1XX),
        (_S.COMPLETED, _I.RECEIVE_1XX),
        (_S.COMPLETED, _I.RECEIVE_2XX),
        (_S.COMPLETED, _I.RECEIVE_FAILURE),
        (_S.COMPLETED, _I.TRANSPORT_ERROR),
    ],
)

# RFC 3261 figure 8
NON_INVITE_SERVER: Final = _machine(
    "non-INVITE server",
    State.TRYING,
    [
        (_S.TRYING, _I.SEND_1XX, (_V.send_wire,), _S.PROCEEDING, QUIET),
        (_S.TRYING, _I.SEND_2XX, (_V.send_wire, _T.linger_unreliable), _S.COMPLETED, QUIET),
        (_S.TRYING, _I.SEND_FAILURE, (_V.send_wire, _T.linger_unreliable), _S.COMPLETED, QUIET),
        (_S.TRYING, _I.TIMEOUT, (), _S.TERMINATED, REPORT),
        (_S.TRYING, _I.TRANSPORT_ERROR, (_T.note_unreachable,), _S.TERMINATED, REPORT),
        (_S.TRYING, _I.ABANDON, (), _S.TERMINATED, QUIET),  # as above
        (_S.PROCEEDING, _I.RECEIVE_REQUEST, (_T.send_again,), _S.PROCEEDING, QUIET),
        (_S.PROCEEDING, _I.SEND_1XX, (_V.send_wire,), _S.PROCEEDING, QUIET),
        (_S.PROCEEDING, _I.SEND_2XX, (_V.send_wire, _T.linger_unreliable), _S.COMPLETED, QUIET),
        (_S.PROCEEDING, _I.SEND_FAILURE, (_V.send_wire, _T.linger_unreliable), _S.COMPLETED, QUIET),
        (_S.PROCEEDING, _I.TIMEOUT, (), _S.TERMINATED, REPORT),
        (_S.PROCEEDING, _I.TRANSPORT_ERROR, (_T.note_unreachable,), _S.TERMINATED, REPORT),
        (_S.COMPLETED, _I.RECEIVE_REQUEST, (_T.send_again,), _S.COMPLETED, QUIET),
        (_S.COMPLETED, _I.LINGER, (), _S.TERMINATED, QUIET),
        (_S.COMPLETED, _I.TRANSPORT_ERROR, (), _S.TERMINATED, QUIET),
    ],
    ignored=[
        (_S.TRYING, _I.RECEIVE_REQUEST),  # nothing to repeat yet
    ],
)

MACHINES: Final = (INVITE_CLIENT, INVITE_SERVER, NON_INVITE_CLIENT, NON_INVITE_SERVER)
