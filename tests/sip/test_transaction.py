"""The four transaction machines: every pair of state and input, and every timer, on a virtual clock."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from b2bua.sip.errors import MisuseError
from b2bua.sip.message import Message, Request, Response
from b2bua.sip.parser import parse
from b2bua.sip.serialiser import format_request
from b2bua.sip.timers import GRAIN, TimerQueue, TimerValues
from b2bua.sip.transaction import (
    MACHINES,
    ClientTransaction,
    Flow,
    Input,
    Machine,
    ServerTransaction,
    State,
    Transaction,
    _machine,
    derive,
)
from tests.sip.wire import wire_request, wire_response

UDP = Flow("UDP", "main", ("10.0.0.9", 5060))
TCP = Flow("TCP", "main", ("10.0.0.9", 5060))
TLS = Flow("TLS", "main", ("10.0.0.9", 5061))
REQUEST = b"INVITE sip:b@10.0.0.9 SIP/2.0\r\nVia: v\r\nFrom: f\r\nTo: t\r\nCall-ID: c\r\nCSeq: 1 INVITE\r\n\r\n"


class Layer:
    """An endpoint's part: it keeps what a transaction hands it, with the time."""

    def __init__(self, values: TimerValues | None = None) -> None:
        self.timers = TimerQueue()
        self.values = values or TimerValues()
        self.now = 0.0
        self.sent: list[tuple[float, bytes, bool]] = []
        self.reports: list[tuple[float, Message | None]] = []
        self.over: list[float] = []

    def transmit(self, wire: bytes, flow: Flow, owner: object, retransmission: bool) -> None:
        self.sent.append((self.now, wire, retransmission))

    def report(self, transaction: Any, message: Message | None) -> None:
        self.reports.append((self.now, message))

    def ended(self, transaction: Any) -> None:
        self.over.append(self.now)

    def run(self, until: float = 1e9) -> None:
        """Fire timers as they come due."""
        while (due := self.timers.deadline()) is not None and due <= until:
            self.now = due
            self.timers.fire_due(due)
        self.now = until if until < 1e9 else self.now

    def times(self) -> list[float]:
        """When something was sent."""
        return [now for now, _, _ in self.sent]


def response(status: int) -> Response:
    message = parse(wire_response(status))
    assert isinstance(message, Response)
    return message


def invite_client(layer: Layer, flow: Flow = UDP) -> ClientTransaction:
    transaction = ClientTransaction(layer, "INVITE", "k", flow, REQUEST, "owner")
    transaction.start(layer.now)
    return transaction


def other_client(layer: Layer, flow: Flow = UDP) -> ClientTransaction:
    transaction = ClientTransaction(layer, "BYE", "k", flow, REQUEST, "owner")
    transaction.start(layer.now)
    return transaction


def invite_server(layer: Layer, flow: Flow = UDP) -> ServerTransaction:
    return server(layer, "INVITE", flow)


def other_server(layer: Layer, flow: Flow = UDP) -> ServerTransaction:
    return server(layer, "BYE", flow)


def server(layer: Layer, method: str, flow: Flow) -> ServerTransaction:
    request = parse(wire_request(method))
    assert isinstance(request, Request)
    transaction = ServerTransaction(layer, request, "Via: v\r\n", "k", flow)
    transaction.start(layer.now)
    return transaction


Maker = Callable[..., ClientTransaction] | Callable[..., ServerTransaction]
MAKERS: dict[str, Maker] = {
    "INVITE client": invite_client,
    "INVITE server": invite_server,
    "non-INVITE client": other_client,
    "non-INVITE server": other_server,
}
BY_NAME = {machine.name: machine for machine in MACHINES}

# how each state is reached by what happens on the wire and in call control
PATHS: dict[str, dict[State, Sequence[Input]]] = {
    "INVITE client": {
        State.CALLING: [],
        State.PROCEEDING: [Input.RECEIVE_1XX],
        State.ACCEPTED: [Input.RECEIVE_1XX, Input.RECEIVE_2XX],
        State.COMPLETED: [Input.RECEIVE_FAILURE],
        State.TERMINATED: [Input.TIMEOUT],
    },
    "INVITE server": {
        State.PROCEEDING: [Input.SEND_1XX],
        State.ACCEPTED: [Input.SEND_2XX],
        State.COMPLETED: [Input.SEND_FAILURE],
        State.CONFIRMED: [Input.SEND_FAILURE, Input.RECEIVE_ACK],
        State.TERMINATED: [Input.TIMEOUT],
    },
    "non-INVITE client": {
        State.TRYING: [],
        State.PROCEEDING: [Input.RECEIVE_1XX],
        State.COMPLETED: [Input.RECEIVE_2XX],
        State.TERMINATED: [Input.TIMEOUT],
    },
    "non-INVITE server": {
        State.TRYING: [],
        State.PROCEEDING: [Input.SEND_1XX],
        State.COMPLETED: [Input.SEND_2XX],
        State.TERMINATED: [Input.TIMEOUT],
    },
}

# Every pair. A cell holds two letters of the state that follows, * when call control hears of it, > when something is
# sent; - is ignored; ! is our own mistake and raises. The columns are the inputs in their order.
GRIDS = {
    "INVITE client": """
                1XX   2XX   FAIL  REQ ACK s1XX sOK sFAIL  A    B    D,M  ERR  ABANDON
    CALLING     PR*   AC*   CO*>  !   !   !    !   !      CA>  TE*  !    TE*  CA
    TRYING      !     !     !     !   !   !    !   !      !    !    !    !    !
    PROCEEDING  PR*   AC*   CO*>  !   !   !    !   !      !    TE*  !    TE*  PR
    ACCEPTED    -     AC*   -     !   !   !    !   !      !    !    TE   -    -
    COMPLETED   -     -     CO>   !   !   !    !   !      !    !    TE   TE   -
    CONFIRMED   !     !     !     !   !   !    !   !      !    !    !    !    !
    TERMINATED  !     !     !     !   !   !    !   !      !    !    !    !    -
    """,
    "INVITE server": """
                1XX   2XX   FAIL  REQ ACK s1XX sOK sFAIL  G    H    I,L  ERR  ABANDON
    CALLING     !     !     !     !   !   !    !   !      !    !    !    !    !
    TRYING      !     !     !     !   !   !    !   !      !    !    !    !    !
    PROCEEDING  !     !     !     PR> -   PR>  AC> CO>    !    TE*  !    TE*  TE
    ACCEPTED    !     !     !     -   -   !    !   !      !    !    TE   -    !
    COMPLETED   !     !     !     CO> CF  !    !   !      CO>  TE   !    TE   !
    CONFIRMED   !     !     !     -   -   !    !   !      !    !    TE   -    !
    TERMINATED  !     !     !     !   !   !    !   !      !    !    !    !    !
    """,
    "non-INVITE client": """
                1XX   2XX   FAIL  REQ ACK s1XX sOK sFAIL  E    F    K    ERR  ABANDON
    CALLING     !     !     !     !   !   !    !   !      !    !    !    !    !
    TRYING      PR    CO*   CO*   !   !   !    !   !      TR>  TE*  !    TE*  !
    PROCEEDING  -     CO*   CO*   !   !   !    !   !      PR>  TE*  !    TE*  !
    ACCEPTED    !     !     !     !   !   !    !   !      !    !    !    !    !
    COMPLETED   -     -     -     !   !   !    !   !      !    !    TE   -    !
    CONFIRMED   !     !     !     !   !   !    !   !      !    !    !    !    !
    TERMINATED  !     !     !     !   !   !    !   !      !    !    !    !    !
    """,
    "non-INVITE server": """
                1XX   2XX   FAIL  REQ ACK s1XX sOK sFAIL  -    F    J    ERR  ABANDON
    CALLING     !     !     !     !   !   !    !   !      !    !    !    !    !
    TRYING      !     !     !     -   !   PR>  CO> CO>    !    TE*  !    TE*  TE
    PROCEEDING  !     !     !     PR> !   PR>  CO> CO>    !    TE*  !    TE*  !
    ACCEPTED    !     !     !     !   !   !    !   !      !    !    !    !    !
    COMPLETED   !     !     !     CO> !   !    !   !      !    !    TE   TE   !
    CONFIRMED   !     !     !     !   !   !    !   !      !    !    !    !    !
    TERMINATED  !     !     !     !   !   !    !   !      !    !    !    !    !
    """,
}
LETTERS = {
    "CA": State.CALLING,
    "TR": State.TRYING,
    "PR": State.PROCEEDING,
    "AC": State.ACCEPTED,
    "CO": State.COMPLETED,
    "CF": State.CONFIRMED,
    "TE": State.TERMINATED,
}


def cells() -> list[tuple[str, State, Input, str]]:
    found = []
    for name, grid in GRIDS.items():
        for line in grid.strip().splitlines()[1:]:
            state, *marks = line.split()
            assert len(marks) == len(Input)
            found += [(name, State[state], happened, mark) for happened, mark in zip(Input, marks, strict=True)]
    return found


CELLS = cells()


def happen(transaction: Transaction, happened: Input, now: float) -> bool:
    """Let one input come to a transaction the way the endpoint does."""
    message: Message | None = None
    if isinstance(transaction, ClientTransaction) and happened <= Input.RECEIVE_FAILURE:
        status = {Input.RECEIVE_1XX: 180, Input.RECEIVE_2XX: 200, Input.RECEIVE_FAILURE: 486}[happened]
        message = response(status)
        transaction.failure_to = message.to_value
    elif happened in (Input.SEND_1XX, Input.SEND_2XX, Input.SEND_FAILURE):
        transaction.wire = f"answer {happened.name}".encode()
    return transaction.step(happened, now, message)


def reach(name: str, state: State, layer: Layer, flow: Flow = UDP) -> Transaction:
    """A transaction in that state; states that its machine does not have are forced."""
    transaction = MAKERS[name](layer, flow)
    assert transaction.machine is BY_NAME[name]
    if state in PATHS[name]:
        for happened in PATHS[name][state]:
            assert happen(transaction, happened, layer.now)
    else:
        transaction.state = state
    assert transaction.state is state
    layer.sent.clear()
    layer.reports.clear()
    return transaction


def test_the_grids_hold_every_pair_once() -> None:
    assert len(CELLS) == len({cell[:3] for cell in CELLS}) == len(MACHINES) * len(State) * len(Input)


@pytest.mark.parametrize(("name", "state", "happened", "mark"), CELLS, ids=lambda value: getattr(value, "name", value))
def test_a_pair_of_state_and_input(name: str, state: State, happened: Input, mark: str) -> None:
    layer = Layer()
    transaction = reach(name, state, layer)
    ended = list(layer.over)
    machine = BY_NAME[name]
    listed = (state, happened) in machine.ignored
    if mark == "!":
        assert not listed
        with pytest.raises(MisuseError, match=f"{name}: {happened.name} in {state.name}"):
            happen(transaction, happened, 1.0)
    elif mark == "-":
        assert listed
        assert not happen(transaction, happened, 1.0)
    else:
        assert not listed
        assert happen(transaction, happened, 1.0)
        target = LETTERS[mark[:2]]
        assert transaction.state is target
        assert len(layer.sent) == mark.count(">")
        assert len(layer.reports) == mark.count("*")
        assert layer.over[len(ended) :] == ([0.0] if target is State.TERMINATED else [])
        assert transaction.alive is (target is not State.TERMINATED)
        assert len(layer.timers) == (target is not State.TERMINATED)
        return
    assert transaction.state is state
    assert (layer.sent, layer.reports, layer.over) == ([], [], ended)


def test_the_tables_hold_what_the_grids_say_and_nothing_more() -> None:
    handled = {cell[:3] for cell in CELLS if cell[3] not in "!-"}
    for machine in MACHINES:
        rows = {
            (machine.name, state, happened)
            for state in State
            for happened in Input
            if machine.rows[state][happened] is not None
        }
        assert rows == {cell for cell in handled if cell[0] == machine.name}
        assert {(machine.name, *pair) for pair in machine.ignored} == {
            cell[:3] for cell in CELLS if cell[0] == machine.name and cell[3] == "-"
        }


def test_a_pair_that_stands_twice_is_our_mistake() -> None:
    row = (State.CALLING, Input.TIMEOUT, (), State.TERMINATED, False)
    with pytest.raises(MisuseError, match="stands twice"):
        _machine("m", State.CALLING, [row, row], [])
    with pytest.raises(MisuseError, match="both handled and ignored"):
        _machine("m", State.CALLING, [row], [(State.CALLING, Input.TIMEOUT)])


# the way to the end

TIMERS = (Input.RETRANSMIT, Input.TIMEOUT, Input.LINGER)


def reachable(machine: Machine) -> set[State]:
    found = {machine.initial}
    while True:
        more = {row.target for state in found for row in machine.rows[state] if row is not None} - found
        if not more:
            return found
        found |= more


@pytest.mark.parametrize("machine", MACHINES, ids=[machine.name for machine in MACHINES])
def test_in_the_table_a_timer_leads_from_every_state_to_the_end(machine: Machine) -> None:
    states = reachable(machine)
    assert states == set(PATHS[machine.name])
    for state in states - {State.TERMINATED}:
        rows = [row for happened in TIMERS if (row := machine.rows[state][happened]) is not None]
        assert {row.target for row in rows} <= {state, State.TERMINATED}
        assert State.TERMINATED in {row.target for row in rows}


@pytest.mark.parametrize("flow", [UDP, TCP, TLS], ids=["UDP", "TCP", "TLS"])
@pytest.mark.parametrize(
    ("name", "state"),
    [(name, state) for name, paths in PATHS.items() for state in paths if state is not State.TERMINATED],
    ids=lambda value: getattr(value, "name", value),
)
def test_on_the_clock_timers_alone_end_every_state(name: str, state: State, flow: Flow) -> None:
    layer = Layer()
    transaction = reach(name, state, layer, flow)
    layer.run()
    assert transaction.state is State.TERMINATED
    assert len(layer.over) == 1
    assert len(layer.timers) == 0
    assert layer.timers.deadline() is None
    assert layer.now <= layer.values.guard
    if flow.reliable:
        assert not any(again for _, _, again in layer.sent)


@given(
    st.sampled_from(sorted(MAKERS)),
    st.sampled_from([UDP, TCP]),
    st.lists(st.tuples(st.sampled_from(list(Input)), st.sampled_from([0.0, 0.1, 0.7, 3.0, 20.0])), max_size=12),
)
def test_whatever_happens_timers_lead_to_the_end(name: str, flow: Flow, history: list[tuple[Input, float]]) -> None:
    layer = Layer()
    transaction = MAKERS[name](layer, flow)
    for happened, pause in history:
        row = transaction.machine.rows[transaction.state][happened]
        if happened not in TIMERS and row is not None:
            happen(transaction, happened, layer.now)
        layer.run(layer.now + pause)
    layer.run()
    assert transaction.state is State.TERMINATED
    assert len(layer.over) == 1
    assert len(layer.timers) == 0
    assert layer.timers.deadline() is None


# timers: what is sent when, and when it ends

DOUBLING = [0.0, 0.5, 1.5, 3.5, 7.5, 15.5, 31.5]  # A: no ceiling
TO_T2 = [0.0, 0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5]  # E and G: up to T2


def test_timers_a_and_b_of_an_invite_that_nobody_answers() -> None:
    layer = Layer()
    transaction = invite_client(layer)
    layer.run()
    assert layer.times() == DOUBLING
    assert [again for _, _, again in layer.sent] == [False] + [True] * 6
    assert {wire for _, wire, _ in layer.sent} == {REQUEST}
    assert layer.reports == [(32.0, None)]
    assert layer.over == [32.0]
    assert not transaction.alive


def test_timers_e_and_f_of_a_request_that_nobody_answers() -> None:
    layer = Layer()
    other_client(layer)
    layer.run()
    assert layer.times() == TO_T2
    assert layer.reports == [(32.0, None)]
    assert layer.over == [32.0]


@pytest.mark.parametrize("make", [invite_client, other_client])
def test_over_a_reliable_transport_b_and_f_stand_alone(make: Maker) -> None:
    layer = Layer()
    make(layer, TCP)
    layer.run()
    assert layer.times() == [0.0]
    assert layer.reports == [(32.0, None)]


def test_a_provisional_answer_to_an_invite_stops_timers_a_and_b() -> None:
    layer = Layer()
    transaction = invite_client(layer)
    layer.run(2.0)
    transaction.receive(response(180), 2.0)
    layer.run(layer.values.guard)
    assert layer.times() == [0.0, 0.5, 1.5]
    assert transaction.state is State.PROCEEDING
    layer.run()
    assert layer.over == [pytest.approx(2.0 + layer.values.guard, abs=GRAIN)]
    assert [message for _, message in layer.reports][-1] is None


def test_a_provisional_answer_slows_timer_e_to_t2_and_leaves_f() -> None:
    layer = Layer()
    transaction = other_client(layer)
    layer.run(1.0)
    transaction.receive(response(100), 1.0)
    assert layer.reports == []
    layer.run()
    assert layer.times() == [0.0, 0.5, 5.0, 9.0, 13.0, 17.0, 21.0, 25.0, 29.0]
    assert layer.reports == [(32.0, None)]


def test_a_provisional_answer_over_a_reliable_transport_starts_no_timer_e() -> None:
    layer = Layer()
    transaction = other_client(layer, TCP)
    transaction.receive(response(100), 0.0)
    layer.run()
    assert layer.times() == [0.0]
    assert layer.over == [32.0]


def test_a_cancelled_invite_in_proceeding_is_given_up_after_64_t1() -> None:
    layer = Layer()
    transaction = invite_client(layer)
    transaction.receive(response(180), 0.0)
    layer.run(100.0)
    transaction.step(Input.ABANDON, 100.0)
    layer.run()
    assert layer.over == [132.0]


def test_an_invite_given_up_before_any_answer_is_repeated_until_there_is_one_to_cancel_after() -> None:
    layer = Layer()
    transaction = invite_client(layer)
    layer.run(1.0)
    transaction.step(Input.ABANDON, 1.0)
    layer.run()
    assert layer.times() == [0.0, 0.5, 1.5, 3.5, 7.5, 15.5, 31.5]
    assert layer.over == [32.0]


def test_timers_g_and_h_of_a_failure_that_is_not_acknowledged() -> None:
    layer = Layer()
    transaction = invite_server(layer)
    transaction.send(486, b"busy", 0.0)
    layer.run()
    assert layer.times() == TO_T2
    assert [again for _, _, again in layer.sent] == [False] + [True] * 10
    assert layer.over == [32.0]
    assert layer.reports == []


def test_over_a_reliable_transport_timer_h_stands_alone() -> None:
    layer = Layer()
    invite_server(layer, TCP).send(486, b"busy", 0.0)
    layer.run()
    assert layer.times() == [0.0]
    assert layer.over == [32.0]


def client_after(make: Callable[..., ClientTransaction], status: int) -> Callable[[Layer, Flow], Transaction]:
    def reached(layer: Layer, flow: Flow) -> Transaction:
        transaction = make(layer, flow)
        transaction.receive(response(status), layer.now)
        return transaction

    return reached


def server_after(
    make: Callable[..., ServerTransaction], status: int, ack: bool = False
) -> Callable[[Layer, Flow], Transaction]:
    def reached(layer: Layer, flow: Flow) -> Transaction:
        transaction = make(layer, flow)
        transaction.send(status, b"answer", layer.now)
        if ack:
            transaction.step(Input.RECEIVE_ACK, layer.now)
        return transaction

    return reached


@pytest.mark.parametrize(
    ("reached", "unreliable", "reliable"),
    [
        pytest.param(client_after(invite_client, 486), 32.0, 0.0, id="D: INVITE client after a failure"),
        pytest.param(client_after(invite_client, 200), 32.0, 32.0, id="M: INVITE client after a 2xx"),
        pytest.param(client_after(other_client, 200), 5.0, 0.0, id="K: client after a 2xx"),
        pytest.param(client_after(other_client, 500), 5.0, 0.0, id="K: client after a failure"),
        pytest.param(server_after(invite_server, 200), 32.0, 32.0, id="L: INVITE server after a 2xx"),
        pytest.param(server_after(invite_server, 486, ack=True), 5.0, 0.0, id="I: INVITE server after the ACK"),
        pytest.param(server_after(other_server, 200), 32.0, 0.0, id="J: server after a 2xx"),
        pytest.param(server_after(other_server, 404), 32.0, 0.0, id="J: server after a failure"),
    ],
)
def test_how_long_an_ended_transaction_stays(
    reached: Callable[[Layer, Flow], Transaction], unreliable: float, reliable: float
) -> None:
    for flow, stays in ((UDP, unreliable), (TCP, reliable)):
        layer = Layer()
        layer.run(100.0)
        transaction = reached(layer, flow)
        sent = len(layer.sent)
        layer.run(100.0 + stays - 0.01)
        assert transaction.alive or not stays
        layer.run()
        assert layer.over == [100.0 + stays]
        assert len(layer.sent) == sent  # and it says nothing more by itself
        assert not any(message is None for _, message in layer.reports)


def test_all_timers_follow_the_settings() -> None:
    values = TimerValues(t1=0.1, t2=0.4, t4=1.0)
    layer = Layer(values)
    other_client(layer)
    layer.run()
    assert layer.times()[:6] == pytest.approx([0.0, 0.1, 0.3, 0.7, 1.1, 1.5])
    assert layer.over == [pytest.approx(6.4, abs=GRAIN)]


def test_a_wake_that_comes_very_late_repeats_once_and_ends() -> None:
    layer = Layer()
    invite_client(layer)
    layer.now = 1000.0
    layer.timers.fire_due(1000.0)
    assert layer.times() == [0.0, 1000.0]
    assert layer.over == [1000.0]


# what is repeated and what is absorbed


def test_a_repeated_invite_gets_the_last_provisional_answer_again() -> None:
    layer = Layer()
    transaction = invite_server(layer)
    assert transaction.step(Input.RECEIVE_REQUEST, 0.0)
    assert layer.sent == []  # nothing to say yet
    transaction.send(100, b"trying", 0.0)
    transaction.send(180, b"ringing", 0.0)
    transaction.step(Input.RECEIVE_REQUEST, 0.0)
    assert [(wire, again) for _, wire, again in layer.sent] == [
        (b"trying", False),
        (b"ringing", False),
        (b"ringing", True),
    ]


def test_accepted_absorbs_repeated_invites_and_leaves_the_2xx_to_the_dialog() -> None:
    layer = Layer()
    transaction = invite_server(layer)
    transaction.send(200, b"ok", 0.0)
    for second in range(31):
        layer.run(float(second))
        assert not transaction.step(Input.RECEIVE_REQUEST, layer.now)
        assert not transaction.step(Input.RECEIVE_ACK, layer.now)
        assert not transaction.step(Input.TRANSPORT_ERROR, layer.now)
    assert [wire for _, wire, _ in layer.sent] == [b"ok"]
    assert layer.reports == []
    assert transaction.wire is None  # nothing is kept that is not needed
    layer.run()
    assert layer.over == [32.0]


def test_accepted_passes_every_repetition_of_the_2xx_up_and_nothing_else() -> None:
    layer = Layer()
    transaction = invite_client(layer)
    for status in (200, 180, 200, 486, 202):
        transaction.receive(response(status), layer.now)
    statuses = [message.status for _, message in layer.reports if isinstance(message, Response)]
    assert statuses == [200, 200, 202]
    assert len(layer.sent) == 1
    layer.run()
    assert layer.over == [32.0]  # timer M runs from the first 2xx


def test_a_failure_is_acknowledged_each_time_and_told_once() -> None:
    layer = Layer()
    transaction = invite_client(layer)
    for status in (486, 486, 180, 200, 503):
        transaction.receive(response(status), layer.now)
    statuses = [message.status for _, message in layer.reports if isinstance(message, Response)]
    assert statuses == [486]
    acks = [wire for _, wire, _ in layer.sent[1:]]
    assert len(acks) == 3
    assert set(acks) == {acks[0]}
    assert acks[0].startswith(b"ACK sip:b@10.0.0.9 SIP/2.0\r\n")
    assert response(486).to_value.encode() in acks[0]


def test_a_final_answer_is_given_once() -> None:
    for make in (invite_server, other_server):
        layer = Layer()
        transaction = make(layer)
        transaction.send(404, b"not found", 0.0)
        for status in (100, 200, 404):
            with pytest.raises(MisuseError, match=f"answer {status} in COMPLETED"):
                transaction.send(status, b"again", 0.0)
        transaction.step(Input.RECEIVE_REQUEST, 0.0)
        assert [wire for _, wire, _ in layer.sent] == [b"not found", b"not found"]


def test_a_completed_request_of_ours_ignores_what_still_comes() -> None:
    layer = Layer()
    transaction = other_client(layer)
    for status in (100, 183, 200, 200, 500, 100):
        transaction.receive(response(status), layer.now)
    assert [message.status for _, message in layer.reports if isinstance(message, Response)] == [200]
    layer.run()
    assert layer.times() == [0.0]
    assert layer.over == [5.0]


def test_the_lines_that_every_answer_echoes() -> None:
    request = parse(wire_request("BYE", to_value="<sip:b@h>;tag=ours", cseq="7 BYE"))
    assert isinstance(request, Request)
    transaction = ServerTransaction(Layer(), request, "Via: a\r\nVia: b\r\n", "k", UDP)
    assert transaction.before_tag == f"Via: a\r\nVia: b\r\nFrom: {request.from_value}\r\nTo: <sip:b@h>;tag=ours"
    assert transaction.after_tag == "\r\nCall-ID: call-1\r\nCSeq: 7 BYE\r\n"
    assert (transaction.request_tag, transaction.to_tag, transaction.method) == ("ours", "", "BYE")


def test_what_a_transaction_says_back_to_the_peer() -> None:
    transaction = invite_server(Layer())
    assert transaction.echo == (transaction.before_tag, transaction.after_tag)
    client = invite_client(Layer())
    client.receive(response(486), 0.0)
    assert client.echo == (response(486).to_value,)
    assert Transaction(Layer(), MACHINES[0], "k", UDP).echo == ()


@pytest.mark.parametrize(("transport", "reliable"), [("UDP", False), ("TCP", True), ("TLS", True)])
def test_only_udp_needs_repetition(transport: str, reliable: bool) -> None:
    assert Flow(transport, "main", ("h", 1)).reliable is reliable


# CANCEL and the ACK of a failure, out of the INVITE's wire form

INVITE = format_request(
    "INVITE",
    "sip:13800138000@10.0.0.9;user=phone",
    "SIP/2.0/UDP 10.0.0.2:5060;branch=z9hG4bKabc;rport",
    "<sip:700123456789012@10.0.0.2>;tag=ours",
    "<sip:13800138000@10.0.0.9>",
    "call-9",
    314,
    17,
    ("<sip:p1@10.0.0.3;lr>", "<sip:p2@10.0.0.4;lr>"),
    ("Contact: <sip:10.0.0.2>", "Require: 100rel", "Supported: timer", "P-Asserted-Identity: <sip:7@x>"),
    "application/sdp",
    b"v=0\r\nTo: not a header\r\nCSeq: 1 INVITE\r\n\r\nVia: x\r\n",
)


def test_a_cancel_is_the_invite_without_what_is_the_invites_own() -> None:
    assert derive(INVITE, "CANCEL") == (
        b"CANCEL sip:13800138000@10.0.0.9;user=phone SIP/2.0\r\n"
        b"Via: SIP/2.0/UDP 10.0.0.2:5060;branch=z9hG4bKabc;rport\r\n"
        b"Max-Forwards: 17\r\n"
        b"Route: <sip:p1@10.0.0.3;lr>\r\n"
        b"Route: <sip:p2@10.0.0.4;lr>\r\n"
        b"From: <sip:700123456789012@10.0.0.2>;tag=ours\r\n"
        b"To: <sip:13800138000@10.0.0.9>\r\n"
        b"Call-ID: call-9\r\n"
        b"CSeq: 314 CANCEL\r\n"
        b"Content-Length: 0\r\n"
        b"\r\n"
    )


def test_the_ack_of_a_failure_has_the_to_of_the_failure() -> None:
    theirs = '"B \udcff" <sip:13800138000@10.0.0.9>;tag=theirs'
    ack = derive(INVITE, "ACK", theirs)
    assert ack.startswith(b"ACK sip:13800138000@10.0.0.9;user=phone SIP/2.0\r\n")
    invite, message = parse(INVITE), parse(ack)
    assert message.to_value == theirs
    assert (message.cseq, message.cseq_method) == (314, "ACK")
    assert (message.via, message.call_id, message.from_value) == (invite.via, invite.call_id, invite.from_value)
    assert message.all("route") == invite.all("route")
    assert message.get("max-forwards") == "17"
    assert message.body == b""
    assert message.get("contact") is message.get("require") is message.get("content-type") is None


def test_the_ack_of_an_ack_is_the_same_ack() -> None:
    ack = derive(INVITE, "ACK", "<sip:b@h>;tag=1")
    assert derive(ack, "ACK", "<sip:b@h>;tag=1") == ack
