"""What becomes of a transaction when its message cannot be delivered, and of a request too large for UDP
(RFC 3261 §17.1.4, §17.2.4, §18.1.1)."""

from collections.abc import Callable

import pytest

from b2bua.sip.endpoint import Endpoint, RequestReceived, TransactionFailed
from b2bua.sip.parser import parse
from b2bua.sip.timers import TimerValues
from b2bua.sip.transaction import ClientTransaction, Flow, State
from tests.sip.wire import tokens, wire_request, wire_response

UDP = Flow("UDP", "udp", ("10.0.0.1", 5070))
TCP = Flow("TCP", "tcp", ("10.0.0.1", 5070))
OTHER = Flow("TCP", "tcp", ("10.0.0.9", 5070))
LONG = ("X: " + "y" * 1300,)


def endpoint(heavy: Callable[[Flow], Flow | None] | None = None) -> Endpoint:
    return Endpoint(TimerValues(), tokens("t"), {"udp": "10.0.0.2:5060", "tcp": "10.0.0.2:5062"}, heavy=heavy)


def ask(ours: Endpoint, method: str = "INVITE", flow: Flow = TCP, extra: tuple[str, ...] = ()) -> ClientTransaction:
    return ours.request(method, "sip:b@10.0.0.1", flow, "<sip:a@h>;tag=a", "<sip:b@h>", "c", 7, 0.0, extra=extra)


def reply(ours: Endpoint, transaction: ClientTransaction, status: int) -> None:
    branch = transaction.key.partition(" ")[0]
    via = f"SIP/2.0/TCP 10.0.0.2:5062;branch={branch}"
    ours.receive(wire_response(status, vias=(via,), cseq=f"7 {transaction.method}"), TCP, 0.0)
    ours.take_events()


def last(ours: Endpoint) -> tuple[bytes, Flow]:
    return ours.outgoing[-1]


@pytest.mark.parametrize("method", ["INVITE", "OPTIONS"])
def test_a_request_that_cannot_be_delivered_has_failed_and_says_why(method: str) -> None:
    ours = endpoint()
    transaction = ask(ours, method)
    ours.undelivered(last(ours)[0], 0.0)
    assert ours.take_events() == [TransactionFailed(transaction)]
    assert transaction.unreachable
    assert not ours.clients


def test_one_that_was_not_answered_in_time_is_not_called_unreachable() -> None:
    ours = endpoint()
    transaction = ask(ours)
    ours.wake(32.0)
    assert ours.take_events() == [TransactionFailed(transaction)]
    assert not transaction.unreachable


def test_the_ack_of_a_failure_that_cannot_be_delivered_ends_what_is_left() -> None:
    ours = endpoint()
    transaction = ask(ours, flow=UDP)
    reply(ours, transaction, 486)
    assert transaction.state is State.COMPLETED
    ours.undelivered(last(ours)[0], 0.0)
    assert not transaction.alive
    assert ours.take_events() == []


def test_an_answer_that_cannot_be_delivered_ends_its_transaction() -> None:
    ours = endpoint()
    ours.receive(wire_request(), TCP, 0.0)
    (event,) = ours.take_events()
    assert isinstance(event, RequestReceived)
    ours.respond(event.transaction, 180, 0.0)
    ours.undelivered(last(ours)[0], 0.0)
    assert ours.take_events() == [TransactionFailed(event.transaction)]
    assert not ours.servers


@pytest.mark.parametrize(
    "wire",
    [
        b"rubbish",
        wire_request("ACK"),
        wire_request(),
        wire_response(200, vias=("SIP/2.0/TCP 10.0.0.2:5062;branch=z9hG4bKx",)),
    ],
)
def test_what_belongs_to_no_transaction_is_nothing_to_report(wire: bytes) -> None:
    ours = endpoint()
    ask(ours)
    ours.undelivered(wire, 0.0)
    assert ours.take_events() == []
    assert len(ours.clients) == 1


def test_with_its_connection_a_request_without_any_answer_is_lost() -> None:
    ours = endpoint()
    silent, elsewhere = [ask(ours), ask(ours, "BYE")], ask(ours, flow=OTHER)
    answered = ask(ours, "INFO")
    reply(ours, answered, 200)
    assert ours.connection_lost(TCP, 0.0) is False
    assert ours.take_events() == [TransactionFailed(transaction) for transaction in silent]
    assert set(ours.clients.values()) == {elsewhere, answered}
    assert answered.state is State.COMPLETED


def test_an_answer_on_its_way_may_come_over_another_connection_until_the_peer_is_unreachable() -> None:
    ours = endpoint()
    ringing = ask(ours)
    reply(ours, ringing, 180)
    assert ours.connection_lost(TCP, 0.0) is True
    assert ours.take_events() == []
    ours.unreachable(OTHER, 0.0)
    assert ours.take_events() == []
    ours.unreachable(TCP, 0.0)
    assert ours.take_events() == [TransactionFailed(ringing)]


def test_an_answered_invite_outlives_its_connection() -> None:
    ours = endpoint()
    answered = ask(ours)
    reply(ours, answered, 200)
    assert ours.connection_lost(TCP, 0.0) is False
    ours.unreachable(TCP, 0.0)
    assert ours.take_events() == []
    assert answered.alive


# datagrams that reached nobody


@pytest.mark.parametrize("method", ["INVITE", "OPTIONS"])
def test_a_request_that_icmp_sends_back_has_failed(method: str) -> None:
    ours = endpoint()
    transaction = ask(ours, method, UDP)
    ours.bounced(last(ours)[0][:150], 0.0)  # ICMP quotes the beginning
    assert ours.take_events() == [TransactionFailed(transaction)]
    assert transaction.unreachable


def test_in_a_dialog_it_is_repeated_until_the_peer_is_back() -> None:
    ours = endpoint()
    transaction = ours.request("BYE", "sip:b@h", UDP, "<sip:a@h>;tag=a", "<sip:b@h>;tag=b", "c", 7, 0.0)
    ours.bounced(last(ours)[0], 0.0)
    ours.wake(0.5)
    assert (transaction.state, len(ours.outgoing)) == (State.TRYING, 2)


def test_what_was_answered_is_not_sent_back_any_more() -> None:
    ours = endpoint()
    transaction = ask(ours, flow=UDP)
    wire = last(ours)[0]
    reply(ours, transaction, 180)
    ours.bounced(wire, 0.0)
    assert transaction.state is State.PROCEEDING


@pytest.mark.parametrize("start", [b"", b"SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP h;branch=z9hG4bKt000001", b"\xff" * 90])
def test_other_datagrams_that_come_back_are_nobodys(start: bytes) -> None:
    ours = endpoint()
    ask(ours, flow=UDP)
    ours.bounced(start, 0.0)
    assert ours.take_events() == []


# too large for UDP


def test_a_large_request_takes_the_heavy_way_with_its_via() -> None:
    ours = endpoint(lambda flow: TCP)
    transaction = ask(ours, flow=UDP, extra=LONG)
    wire, flow = last(ours)
    assert flow == transaction.flow == TCP
    assert len(wire) > 1300
    assert parse(wire).first["via"].startswith("SIP/2.0/TCP 10.0.0.2:5062;branch=")
    ours.wake(5.0)
    assert len(ours.outgoing) == 1, "nothing is repeated over TCP"


@pytest.mark.parametrize(
    ("heavy", "flow", "extra"),
    [(lambda flow: TCP, UDP, ()), (lambda flow: None, UDP, LONG), (None, UDP, LONG), (lambda flow: None, TCP, LONG)],
)
def test_all_others_go_as_they_are(
    heavy: Callable[[Flow], Flow | None] | None, flow: Flow, extra: tuple[str, ...]
) -> None:
    ours = endpoint(heavy)
    transaction = ask(ours, flow=flow, extra=extra)
    assert (transaction.flow, transaction.fallback) == (flow, None)


def test_a_large_request_goes_over_udp_where_tcp_is_refused_and_is_repeated_there() -> None:
    ours = endpoint(lambda flow: TCP)
    transaction = ask(ours, flow=UDP, extra=LONG)
    heavy = last(ours)[0]
    ours.undelivered(heavy, 1.0)
    wire, flow = last(ours)
    assert flow == transaction.flow == UDP
    assert parse(wire).first["via"].startswith("SIP/2.0/UDP 10.0.0.2:5060;branch=")
    assert wire.replace(b"UDP 10.0.0.2:5060", b"TCP 10.0.0.2:5062") == heavy
    ours.wake(1.5)
    assert len(ours.outgoing) == 3
    assert ours.take_events() == []
    ours.wake(33.0)
    assert ours.take_events() == [TransactionFailed(transaction)]


def test_a_large_request_that_was_stopped_on_its_way_out_does_not_come_back() -> None:
    ours = endpoint(lambda flow: TCP)
    transaction = ask(ours, flow=UDP, extra=LONG)
    heavy = last(ours)[0]
    transaction.wire = None  # what the tripwire does
    ours.undelivered(heavy, 1.0)
    assert not transaction.alive
    assert len(ours.outgoing) == 1
