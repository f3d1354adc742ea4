"""The session timer by itself: what it asks of its leg, and when."""

import pytest

from b2bua.call.session_timer import TRIES, SessionTimer
from b2bua.call.statistics import Statistics
from b2bua.sip.message import Response
from b2bua.sip.parser import parse
from b2bua.sip.session_expires import Preference, Proposal, Refresher, SessionExpires, Terms
from b2bua.sip.timers import TimerQueue, TimerValues
from b2bua.sip.transaction import ClientTransaction, Flow

TERMS = Terms(1800, 90, Preference.EITHER)
UNSAID, UAC, UAS = Refresher
FLOW = Flow("UDP", "udp", ("192.0.2.10", 5060))


class FakeLeg:
    """Keeps what the timer asked for: (when, method, its lines)."""

    def __init__(self, wait: float = 0.0) -> None:
        self.timers = TimerQueue()
        self.values = TimerValues()
        self.monotonic = 1000.0
        self.wait = wait
        self.peer_updates = False
        self.busy = False
        self.sent: list[tuple[float, str, tuple[str, ...]]] = []
        self.over: list[tuple[float, bool]] = []
        self.timer = SessionTimer(self, TERMS, Statistics())

    def transmit(self, wire: bytes, flow: Flow, sender: object, retransmission: bool) -> None: ...
    def report(self, transaction: object, message: object) -> None: ...
    def ended(self, transaction: object) -> None: ...

    def glare_wait(self) -> float:
        return self.wait

    def send_refresh(self, lines: tuple[str, ...]) -> ClientTransaction | None:
        if self.busy:
            return None
        method = "UPDATE" if self.peer_updates else "INVITE"
        self.sent.append((self.monotonic, method, lines))
        return ClientTransaction(self, method, str(len(self.sent)), FLOW, b"", self)

    def session_over(self, failed: bool) -> None:
        self.over.append((self.monotonic, failed))
        self.timer.stop()

    def run(self, seconds: float) -> None:
        """Let time pass in steps of a tenth of a second."""
        for _ in range(round(seconds * 10)):
            self.monotonic = round(self.monotonic + 0.1, 3)
            self.timers.fire_due(self.monotonic)


def response(status: int, *lines: str) -> Response:
    head = (
        f"SIP/2.0 {status} Said",
        "Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK1",
        "From: <sip:1@192.0.2.1>;tag=1",
        "To: <sip:2@192.0.2.2>;tag=2",
        "Call-ID: 1",
        "CSeq: 1 INVITE",
        *lines,
        "Content-Length: 0",
    )
    message = parse(("\r\n".join(head) + "\r\n\r\n").encode())
    assert isinstance(message, Response)
    return message


def refreshing(*lines: str, wait: float = 0.0) -> FakeLeg:
    """A leg whose peer has left refreshing to us, every 100 seconds."""
    leg = FakeLeg(wait)
    leg.timer.answered(response(200, "Require: timer", "Session-Expires: 100;refresher=uac", *lines))
    return leg


def times(leg: FakeLeg) -> list[tuple[float, str]]:
    return [(round(at - 1000, 1), method) for at, method, _ in leg.sent]


def near(at: float, seconds: float) -> bool:
    """A deadline that far away may be a quarter of a second late."""
    return seconds <= at - 1000 <= seconds + 0.4


def test_we_refresh_at_half_the_interval() -> None:
    leg = refreshing()
    leg.run(49.9)
    assert leg.sent == []
    leg.run(1.0)
    ((at, method, lines),) = leg.sent
    assert near(at, 50)
    assert method == "INVITE"
    assert lines == ("Supported: timer", "Session-Expires: 100;refresher=uac", "Min-SE: 90")


def test_each_success_counts_anew() -> None:
    leg = refreshing()
    for _ in range(3):
        leg.run(51)
        leg.timer.answered(response(200, "Session-Expires: 100;refresher=uac"))
    assert len(leg.sent) == 3
    assert leg.over == []


def test_a_refresh_without_an_answer_ends_the_session_before_it_expires() -> None:
    """§10: the lesser of 32 seconds and a third of the interval before its end."""
    leg = refreshing()
    leg.run(100)
    assert len(leg.sent) == 1
    ((at, failed),) = leg.over
    assert near(at, 68)
    assert failed


@pytest.mark.parametrize(
    ("interval", "seconds"), [(90, 60.0), (96, 64.0), (1800, 1768.0)], ids=["third", "even", "32_seconds"]
)
def test_a_peer_that_is_to_refresh_and_does_not_is_given_up(interval: int, seconds: float) -> None:
    leg = FakeLeg()
    leg.timer.answered(response(200, f"Session-Expires: {interval};refresher=uas"))
    leg.run(interval)
    assert leg.sent == []
    ((at, failed),) = leg.over
    assert near(at, seconds)
    assert not failed


def test_a_peer_that_refreshes_keeps_the_session() -> None:
    leg = FakeLeg()
    leg.timer.answered(response(200, "Session-Expires: 90;refresher=uas"))
    for _ in range(4):
        leg.run(50)
        lines = leg.timer.serve(Proposal(True, SessionExpires(90, UAC), 0))
        assert lines == ("Require: timer", "Session-Expires: 90;refresher=uac")
    assert (leg.sent, leg.over) == ([], [])
    leg.run(61)
    assert len(leg.over) == 1


def test_the_tasks_change_hands_as_the_peer_asks() -> None:
    leg = FakeLeg()
    leg.timer.serve(Proposal(True, SessionExpires(90, UAC), 0))
    assert not leg.timer.refreshing
    assert "refresher=uas" in leg.timer.lines()[1]
    leg.timer.serve(Proposal(True, SessionExpires(90, UAS), 0))
    assert leg.timer.refreshing
    assert "refresher=uac" in leg.timer.lines()[1]


@pytest.mark.parametrize("peer_refreshes", [True, False])
def test_without_being_asked_the_sides_keep_their_tasks(peer_refreshes: bool) -> None:
    leg = FakeLeg()
    leg.timer.serve(Proposal(True, SessionExpires(90, UAC if peer_refreshes else UAS), 0))
    leg.timer.serve(Proposal(True, SessionExpires(90), 0))
    leg.timer.serve(Proposal(True, None, 0))
    assert leg.timer.refreshing is not peer_refreshes


def test_a_peer_without_the_timer_is_refreshed_all_the_same() -> None:
    leg = FakeLeg()
    leg.timer.answered(response(200))
    leg.run(901)
    assert [method for _, method in times(leg)] == ["INVITE"]


@pytest.mark.parametrize("status", [400, 403, 405, 420, 488, 500, 501, 503, 603])
def test_a_peer_without_the_timer_may_refuse_for_it_is_there(status: int) -> None:
    leg = FakeLeg()
    leg.timer.answered(response(200))
    for _ in range(3):
        leg.run(901)
        leg.timer.refused(response(status))
    assert len(leg.sent) == 3
    assert leg.over == []


@pytest.mark.parametrize("status", [405, 501])
def test_an_update_that_is_not_known_after_all_becomes_a_reinvite(status: int) -> None:
    leg = refreshing()
    leg.peer_updates = True
    leg.run(51)
    leg.timer.refused(response(status))
    leg.timer.answered(response(200, "Session-Expires: 100;refresher=uac"))
    leg.run(51)
    assert [method for _, method in times(leg)] == ["UPDATE", "INVITE", "INVITE"]


@pytest.mark.parametrize(("wait", "least"), [(4.0, 4.0), (2.1, 2.1), (0.0, 0.1)])
def test_after_491_we_wait_as_the_leg_says_but_never_not_at_all(wait: float, least: float) -> None:
    """RFC 3261 §14.1 counts from 0 for the side that does not own the Call-ID."""
    leg = refreshing(wait=wait)
    leg.run(51)
    refused = leg.monotonic
    leg.timer.refused(response(491))
    leg.run(5)
    (_, again) = leg.sent
    assert least - 0.01 <= again[0] - refused <= least + 0.4


def test_491_for_ever_ends_the_session() -> None:
    leg = refreshing(wait=2.1)
    for _ in range(40):
        count = len(leg.sent)
        leg.run(5)
        if len(leg.sent) > count and not leg.over:
            leg.timer.refused(response(491))
    assert len(leg.over) == 1
    assert near(leg.over[0][0], 68)


def test_while_another_offer_is_under_way_we_wait_as_after_491() -> None:
    leg = refreshing(wait=2.1)
    leg.busy = True
    leg.run(55)
    assert leg.sent == []
    leg.busy = False
    leg.run(5)
    assert len(leg.sent) == 1


def test_a_success_of_another_request_meanwhile_makes_the_refresh_needless() -> None:
    leg = refreshing()
    leg.busy = True
    leg.run(51)
    leg.busy = False
    leg.timer.answered(response(200, "Session-Expires: 100;refresher=uac"))
    leg.run(45)
    assert leg.sent == []


def test_422_raises_the_interval_at_once() -> None:
    leg = refreshing()
    leg.run(51)
    leg.timer.refused(response(422, "Min-SE: 600"))
    assert leg.sent[1][2] == ("Supported: timer", "Session-Expires: 600;refresher=uac", "Min-SE: 600")


def test_422_is_believed_so_many_times() -> None:
    leg = refreshing()
    leg.run(51)
    for minimum in range(200, 2000, 200):
        leg.timer.refused(response(422, f"Min-SE: {minimum}"))
        leg.run(0.1)
    assert len(leg.sent) == 1 + TRIES


def test_what_the_peer_named_as_its_minimum_stands_in_our_requests() -> None:
    """§7.4: the largest of all."""
    leg = FakeLeg()
    leg.timer.serve(Proposal(True, SessionExpires(7200, UAS), 3600))
    leg.timer.serve(Proposal(True, SessionExpires(7200, UAS), 120))
    assert leg.timer.lines()[1:] == ("Session-Expires: 3600;refresher=uac", "Min-SE: 3600")
    assert leg.timer.too_small(Proposal(True, SessionExpires(1800), 0)) == ("Min-SE: 3600",)
    assert leg.timer.too_small(Proposal(False, SessionExpires(1800), 0)) == ()


@pytest.mark.parametrize(
    ("lines", "wait"), [((), 5), (("Retry-After: 7",), 7), (("Retry-After: 7 (soon);duration=9",), 7)]
)
@pytest.mark.parametrize("status", [488, 500, 503, 600])
def test_a_refusal_is_followed_by_another_try(status: int, lines: tuple[str, ...], wait: int) -> None:
    leg = refreshing()
    leg.run(51)
    refused = leg.monotonic
    leg.timer.refused(response(status, *lines))
    leg.run(10)
    assert wait <= leg.sent[1][0] - refused <= wait + 0.4


@pytest.mark.parametrize("lines", [("Retry-After: soon",), ("Retry-After: 99999999999",), ("Retry-After: ٣",)])
def test_a_retry_after_that_makes_no_sense_is_none(lines: tuple[str, ...]) -> None:
    leg = refreshing()
    leg.run(51)
    leg.timer.refused(response(500, *lines))
    leg.run(6)
    assert len(leg.sent) == 2


def test_the_end_does_not_wait_for_a_late_retry() -> None:
    leg = refreshing()
    leg.run(51)
    leg.timer.refused(response(500, "Retry-After: 3000"))
    leg.run(30)
    assert leg.over
    assert len(leg.sent) == 1


def test_a_peer_that_goes_on_refusing_loses_the_session() -> None:
    """§10: not for ever."""
    leg = refreshing()
    leg.run(51)
    for _ in range(TRIES + 2):
        if leg.timer.request is not None:
            leg.timer.refused(response(488))
        leg.run(5.4)
    assert len(leg.sent) == 1 + TRIES
    ((at, failed),) = leg.over
    assert near(at, 68)
    assert failed


def test_the_timer_can_be_turned_off_by_the_peer() -> None:
    """§7.2: then nobody but us cares, and a refusal does no harm."""
    leg = refreshing()
    leg.run(51)
    leg.timer.answered(response(200))
    leg.run(901)
    leg.timer.refused(response(500))
    leg.run(901)
    assert leg.over == []
    assert len(leg.sent) == 3


def test_nothing_fires_after_the_end() -> None:
    leg = refreshing()
    leg.timer.stop()
    leg.run(200)
    assert (leg.sent, leg.over, len(leg.timers)) == ([], [], 0)


def test_what_is_counted() -> None:
    statistics = Statistics()
    leg = FakeLeg()
    timer = leg.timer = SessionTimer(leg, TERMS, statistics)
    timer.serve(Proposal(True, SessionExpires(90, UAC), 0))  # the call itself is no refresh
    assert statistics.refreshes_received == 0
    timer.serve(Proposal(True, SessionExpires(90, UAC), 0))
    timer.serve(Proposal(True, None, 0))  # nor is a re-INVITE that says nothing of it
    assert statistics.refreshes_received == 1
    timer.answered(response(200, "Session-Expires: 90;refresher=uac"))
    leg.run(46)
    assert statistics.refreshes_sent == 1
