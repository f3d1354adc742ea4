"""Session timers (RFC 4028) on the two legs of a call: each refreshes, or is refreshed, by itself.

Profile §4 item 7: session timers fighting across legs; refresh with a changed SDP version; missing refresh leaves
ghosts.
"""

from dataclasses import replace
from itertools import pairwise, product
from typing import Any

import pytest

from b2bua.call.switch import SwitchSettings
from b2bua.sip.message import Message, Request
from b2bua.sip.session_expires import Preference
from b2bua.sip.transaction import ServerTransaction
from tests.call.phone import Phone, PhoneCall, answer_after, description
from tests.call.timers import TimedPhone
from tests.call.world import TRUNKS, World, X
from tests.wire import Conditions, Datagram

HOUR = 3600.0
BOTH_WAYS = pytest.mark.parametrize("side", ["a", "b"])
BY = pytest.mark.parametrize("updates", [True, False], ids=["by_update", "by_reinvite"])
OWN = {"session_refresher": Preference.SWITCH}
THEIRS = {"session_refresher": Preference.PEER}


def sent(world: World, way: str, *words: str, since: float = 0.5) -> list[Message]:
    """What was said of these methods or statuses, each repetition once."""
    seen: dict[bytes, Message] = {}
    for datagram in world.network.log:
        if datagram.way == way and datagram.word in words and datagram.at >= since:
            seen[datagram.data] = datagram.message
    return list(seen.values())


def refreshes(world: World, way: str) -> int:
    return len(sent(world, way, "INVITE", "UPDATE"))


def up(
    *, conditions: Conditions | None = None, updates: bool = True, timed: bool = True, **settings: Any
) -> tuple[World, PhoneCall, PhoneCall]:
    """A call that is up, between phones with the timer, or without."""
    world = World(conditions, settings=settings)
    for phone in (world.caller, world.callee):
        phone.updates = updates
    if timed:
        TimedPhone(world.caller)
        TimedPhone(world.callee)
    world.callee.on_call = lambda call: call.accept()
    call = world.caller.dial(X)
    world.run(0.9)
    return world, call, world.callee.call


def here_and_there(world: World, side: str) -> tuple[Phone, Phone, str, str]:
    """(the phone of this side, the other, way to the first, way to the second)."""
    first = (world.caller, world.callee, ">a", ">b")
    return first if side == "a" else (world.callee, world.caller, ">b", ">a")


def refuse(call: PhoneCall, transaction: ServerTransaction, status: int) -> None:
    """What no method of the phone says of an UPDATE."""
    call._respond(transaction, status)


# who refreshes


@BY
@pytest.mark.parametrize(("asks", "grants"), [*product((None, "", "uac", "uas"), (None, "uac", "uas"))])
@pytest.mark.parametrize("preference", Preference)
def test_session_timers_do_not_fight_across_legs(
    asks: str | None, grants: str | None, preference: Preference, updates: bool
) -> None:
    """Every combination on both legs at once: each side is refreshed by whom it was agreed, and nothing crosses."""
    world = World(settings={"session_refresher": preference})
    for phone in (world.caller, world.callee):
        phone.updates = updates
    a = TimedPhone(world.caller, asks) if asks is not None else None
    b = TimedPhone(world.callee, grants=grants, interval=400) if grants is not None else None
    world.callee.on_call = lambda call: call.accept()
    call = world.caller.dial(X)
    world.run(2 * HOUR)
    call.hang_up()
    (story,) = world.finish()
    assert (story.ended.ended_by, story.ended.reason) == ("caller", "")
    # the caller's side: we are the uas
    a_refreshes = a is not None and (asks == "uac" or (asks == "" and preference is Preference.PEER))
    assert (a is not None and a.refreshing) is a_refreshes
    # the callee's side: we are the uac, and ask only where we have a preference
    wish = {Preference.EITHER: "", Preference.SWITCH: "uac", Preference.PEER: "uas"}[preference]
    b_refreshes = b is not None and (wish or grants) == "uas"
    assert (b is not None and b.refreshing) is b_refreshes
    for timed, way, theirs, interval in ((a, "a", a_refreshes, 600), (b, "b", b_refreshes, 400)):
        count = 2 * HOUR // ((interval if timed is not None else 1800) / 2)
        ours = refreshes(world, f">{way}")
        assert refreshes(world, f"{way}>") == (len(timed.refreshes) if timed is not None else 0)
        if theirs:
            assert timed is not None
            assert ours == 0
            assert abs(len(timed.refreshes) - count) <= 1
        else:
            assert abs(ours - count) <= 1
            assert timed is None or timed.refreshes == []
    methods = {message.method for way in (">a", ">b") for message in sent(world, way, "INVITE", "UPDATE")
               if isinstance(message, Request)}  # fmt: skip
    assert methods <= {"UPDATE" if updates else "INVITE"}


def test_our_answer_to_the_caller_and_our_invitation_to_the_callee() -> None:
    world, call, _other = up()
    call.hang_up()
    world.finish()
    invite = sent(world, ">b", "INVITE", since=0.0)[0]
    assert (invite.get("session-expires"), invite.get("min-se")) == ("1800", "90")
    assert "timer" in ",".join(invite.all("supported"))
    answer = sent(world, ">a", "200", since=0.0)[0]
    assert (answer.get("session-expires"), answer.get("require")) == ("600;refresher=uas", "timer")


def test_a_caller_without_the_timer_is_told_but_not_asked_for_anything() -> None:
    world, call, _ = up(timed=False)
    call.hang_up()
    world.finish()
    answer = sent(world, ">a", "200", since=0.0)[0]
    assert (answer.get("session-expires"), answer.get("require")) == ("1800;refresher=uas", None)


@pytest.mark.parametrize("updates", [True, False])
def test_without_timers_nothing_is_sent_and_nothing_said(updates: bool) -> None:
    world, call, _ = up(updates=updates, timed=False, session_expires_seconds=0)
    world.run(2 * HOUR)
    call.hang_up()
    world.finish()
    for datagram in world.network.log:
        assert not {"session-expires", "min-se"} & datagram.message.first.keys()
    assert (refreshes(world, ">a"), refreshes(world, ">b")) == (0, 0)


@pytest.mark.parametrize(("seconds", "status"), [(0, 420), (1800, 200)])
def test_a_caller_that_insists_on_the_timer(seconds: int, status: int) -> None:
    world = World(settings={"session_expires_seconds": seconds})
    world.callee.on_call = lambda call: call.accept()
    call = world.caller.dial(X, "Require: timer")
    world.run(1.0)
    assert call.statuses[-1] == status
    call.hang_up()
    world.finish()


@BOTH_WAYS
def test_a_trunk_without_timers(side: str) -> None:
    """The other side has them all the same."""
    without = replace(TRUNKS[0 if side == "a" else 1], session_timers=False)
    world = World(trunks=(without, TRUNKS[1]) if side == "a" else (TRUNKS[0], without))
    world.callee.on_call = lambda call: call.accept()
    call = world.caller.dial(X)
    world.run(2 * HOUR)
    call.hang_up()
    world.finish()
    for datagram in world.network.log:
        if datagram.way == f">{side}":
            assert not {"session-expires", "min-se"} & datagram.message.first.keys()
    assert refreshes(world, f">{side}") == 0
    assert refreshes(world, ">b" if side == "a" else ">a") > 3


def test_a_caller_that_insists_on_the_timer_where_its_trunk_has_none() -> None:
    world = World(trunks=(replace(TRUNKS[0], session_timers=False), TRUNKS[1]))
    call = world.caller.dial(X, "Require: timer")
    (story,) = world.finish()
    assert (call.statuses, story.ended.reason) == ([420], "bad_extension")


@pytest.mark.parametrize("seconds", [0, 1800])
def test_a_peer_that_insists_on_the_timer_in_a_refresh(seconds: int) -> None:
    world, call, _ = up(timed=False, session_expires_seconds=seconds)
    call.request("UPDATE", *call._contact(), "Require: timer", "Session-Expires: 600;refresher=uac")
    call.phone.flush()
    world.run(1.0)
    assert call.heard[-1] == ("UPDATE 200" if seconds else "UPDATE 420")
    call.hang_up()
    world.finish()


def test_an_update_in_the_early_dialog_starts_no_timer() -> None:
    """A session begins with the 2xx to its INVITE."""
    world = World()
    world.caller.updates = True
    world.callee.on_call = answer_after(2.0)
    call = world.caller.dial(X)
    world.run(1.0)
    call.request("UPDATE", *call._contact(), "Supported: timer", "Session-Expires: 600;refresher=uac")
    call.phone.flush()
    world.run(0.5)
    (answer,) = sent(world, ">a", "200", since=0.0)
    assert answer.get("session-expires") is None
    world.run(2.0)
    call.hang_up()
    world.finish()


def test_a_refresh_beside_a_hold_that_still_waits() -> None:
    """UPDATE without an offer is answered at once; the answer to the hold still speaks of the timer as it was asked."""
    world, call, other = up(timed=False)
    other.on_reinvite = lambda call, request: world.network.later(1.0, call.accept)
    call._offered = True
    timer = ("Supported: timer", "Session-Expires: 500;refresher=uac")
    call.request("INVITE", *call._contact(), *timer, body=call.phone.sdp(direction="sendonly"))
    call.phone.flush()
    world.run(0.5)
    call.request("UPDATE", *call._contact(), "Supported: timer", "Session-Expires: 400;refresher=uas")
    call.phone.flush()
    world.run(2.0)
    first, second = sent(world, ">a", "200")
    assert (first.cseq_method, first.get("session-expires")) == ("UPDATE", "400;refresher=uas")
    assert (second.cseq_method, second.get("session-expires")) == ("INVITE", "500;refresher=uac")
    call.hang_up()
    world.finish()


@BOTH_WAYS
@pytest.mark.parametrize(
    "lines", [("Contact: <",), ("Content-Type: application/sdp",)], ids=["bad_contact", "bad_description"]
)
def test_an_answer_to_our_refresh_that_cannot_be_read_keeps_the_session(side: str, lines: tuple[str, ...]) -> None:
    world, call, _ = up(updates=False, timed=False)
    phone, _, _, _there = here_and_there(world, side)

    def spoil(wire: bytes) -> bytes:
        if not wire.startswith(b"SIP/2.0 200") or b"INVITE\r\n" not in wire:
            return wire
        return wire.replace(b"Contact: <", b"Contact: <<") if "Contact" in lines[0] else wire.replace(b"v=0", b"v=9")

    phone.disguise = spoil
    world.run(905.0)
    phone.disguise = lambda wire: wire
    world.run(HOUR)
    call.hang_up()
    (story,) = world.finish()
    assert story.ended.reason == ""


def test_timers_turned_off_while_calls_are_up_are_off_for_new_calls() -> None:
    world, call, _ = up(timed=False)
    off = SwitchSettings(session_expires_seconds=0)
    world.switch.enter(lambda now: world.real.reconfigure(off, TRUNKS, now))
    second = world.caller.dial(X)
    world.run(HOUR)
    assert 3 <= refreshes(world, ">a") <= 4  # of the first call
    assert "session-expires" not in second.responses[-1].first
    call.hang_up()
    second.hang_up()
    world.finish()


# intervals


def test_a_caller_whose_interval_is_too_small_is_told_which_is_not() -> None:
    """§9; the same call with another interval is a new attempt with a record of its own."""
    world = World(settings={"min_se_seconds": 300})
    world.callee.on_call = lambda call: call.accept()
    first = world.caller.dial(X, "Supported: timer", "Session-Expires: 120", call_id="again")
    world.run(1.0)
    (refusal,) = sent(world, ">a", "422", since=0.0)
    assert (refusal.get("min-se"), first.statuses) == ("300", [422])
    second = world.caller.dial(X, "Supported: timer", "Session-Expires: 300", "Min-SE: 300", call_id="again")
    world.run(1.0)
    second.hang_up()
    told = world.finish()
    assert [(story.ended.reason, story.ended.status) for story in told] == [("session_interval", 422), ("", 200)]
    assert sent(world, ">a", "200", since=0.0)[0].get("session-expires") == "300;refresher=uas"


@BOTH_WAYS
@pytest.mark.parametrize("update", [True, False])
def test_a_refresh_whose_interval_is_too_small_is_refused_and_the_call_goes_on(side: str, update: bool) -> None:
    world, call, other = up(timed=False)
    asking = call if side == "a" else other
    lines = ("Supported: timer", "Session-Expires: 30")
    body = b"" if update else asking.phone.sdp()
    asking.request("UPDATE" if update else "INVITE", *asking._contact(), *lines, body=body)
    asking.phone.flush()
    world.run(1.0)
    (refusal,) = sent(world, f">{side}", "422")
    assert refusal.get("min-se") == "90"
    call.hang_up()
    (story,) = world.finish()
    assert story.ended.reason == ""


def test_a_callee_that_wants_a_longer_interval_gets_it() -> None:
    """§7.3: the same call again, with the next CSeq."""
    world = World()
    refused: list[PhoneCall] = []

    def take(call: PhoneCall) -> None:
        if not refused:
            refused.append(call)
            call.refuse(422, "Min-SE: 3600")
        else:
            call.accept()

    world.callee.on_call = take
    call = world.caller.dial(X)
    world.run(1.0)
    assert call.statuses == [100, 200]
    call.hang_up()
    (story,) = world.finish()
    first, second = sent(world, ">b", "INVITE", since=0.0)
    assert (first.call_id, first.from_value, first.to_value) == (second.call_id, second.from_value, second.to_value)
    assert second.cseq == first.cseq + 1
    assert (second.get("session-expires"), second.get("min-se")) == ("3600", "3600")
    assert story.ended.routes == ("carrier-b:200",)


@pytest.mark.parametrize(
    ("minimum", "invites"), [(lambda number: f"Min-SE: {3600 + number}", 4), (lambda number: "Min-SE: 90", 1),
                             (lambda number: "Min-SE: soon", 1), (lambda number: "X-Min-SE: 1", 1)],
)  # fmt: skip
def test_a_callee_that_is_never_content_is_not_asked_for_ever(minimum: Any, invites: int) -> None:
    world = World()
    world.callee.on_call = lambda call: call.refuse(422, minimum(len(world.callee.calls)))
    call = world.caller.dial(X)
    (story,) = world.finish()
    assert len(sent(world, ">b", "INVITE", since=0.0)) == invites
    assert call.statuses == [100, 500]
    assert story.ended.routes == ("carrier-b:422",)


def test_a_call_given_up_between_two_intervals() -> None:
    """CANCEL finds the INVITE that is out."""
    world = World(Conditions(latency=0.1))
    world.callee.on_call = lambda call: (
        call.refuse(422, "Min-SE: 3600") if len(world.callee.calls) == 1 else call.ring()
    )
    call = world.caller.dial(X)
    world.network.later(0.75, call.cancel)
    (story,) = world.finish()
    assert call.statuses[-1] == 487
    assert story.ended.outcome == "cancelled"


@BOTH_WAYS
def test_our_refresh_answered_422_is_repeated_with_a_longer_interval(side: str) -> None:
    world, call, _other = up(updates=False, timed=False)
    phone, _, way, _ = here_and_there(world, side)
    wanted = ["Min-SE: 2400"]
    phone.call.on_reinvite = lambda call, request: call.refuse(422, wanted.pop()) if wanted else call.accept(request)
    world.run(1000.0)
    _first, second = sent(world, way, "INVITE")
    assert (second.get("session-expires"), second.get("min-se")) == ("2400;refresher=uac", "2400")
    call.hang_up()
    (story,) = world.finish()
    assert story.ended.reason == ""


@BOTH_WAYS
def test_a_hold_answered_422_is_repeated_and_the_other_side_hears_nothing_of_it(side: str) -> None:
    world, call, _other = up(updates=False, timed=False)
    phone, far, _way, there = here_and_there(world, side)
    wanted = ["Min-SE: 2400"]
    far.call.on_reinvite = lambda call, request: call.refuse(422, wanted.pop()) if wanted else call.accept(request)
    phone.call.hold()
    world.run(2.0)
    assert phone.call.statuses[-1] == 200
    first, second = sent(world, there, "INVITE")
    assert first.body == second.body
    assert second.get("session-expires") == "2400;refresher=uac"
    call.hang_up()
    world.finish()


# refreshes stay on their leg


@BOTH_WAYS
@BY
def test_a_refresh_of_a_peer_is_answered_on_its_leg(side: str, updates: bool) -> None:
    world, call, _other = up(updates=updates, timed=False)
    phone, _, way, there = here_and_there(world, side)
    lines = ("Supported: timer", "Session-Expires: 600;refresher=uac")
    for _ in range(3):
        body = b"" if updates else phone.sdp()
        phone.call._offered = not updates
        phone.call.request("UPDATE" if updates else "INVITE", *phone.call._contact(), *lines, body=body)
        phone.flush()
        world.run(10.0)
    assert refreshes(world, there) == 0
    answers = sent(world, way, "200")
    assert [answer.get("session-expires") for answer in answers] == ["600;refresher=uac"] * 3
    if not updates:
        initial = sent(world, way, "200" if side == "a" else "INVITE", since=0.0)[0]
        assert [answer.body for answer in answers] == [initial.body] * 3  # the very version, too
    call.hang_up()
    world.finish()
    assert world.real.statistics.refreshes_received == 3


@BOTH_WAYS
@pytest.mark.parametrize("method", ["INVITE", "UPDATE"])
def test_a_refresh_with_a_changed_session_description_crosses(side: str, method: str) -> None:
    world, call, _other = up(timed=False)
    phone, _far, _, there = here_and_there(world, side)
    held = phone.sdp(direction="sendonly", version=2)
    phone.call._offered = True
    lines = ("Supported: timer", "Session-Expires: 600;refresher=uac")
    phone.call.request(method, *phone.call._contact(), *lines, body=held)
    phone.flush()
    world.run(1.0)
    (offer,) = sent(world, there, method)
    assert b"a=sendonly" in offer.body
    call.hang_up()
    world.finish()


@BOTH_WAYS
def test_a_changed_version_alone_changes_nothing(side: str) -> None:
    """A peer that counts its versions up with each refresh."""
    world, call, _other = up(timed=False)
    phone, _, _, there = here_and_there(world, side)
    for version in (2, 3):
        phone.call._offered = True
        lines = ("Supported: timer", "Session-Expires: 600;refresher=uac")
        phone.call.request("INVITE", *phone.call._contact(), *lines, body=phone.sdp(version=version))
        phone.flush()
        world.run(1.0)
    assert refreshes(world, there) == 0
    call.hang_up()
    world.finish()


@BOTH_WAYS
def test_a_refresh_after_a_refused_hold_is_asked_of_the_other_side(side: str) -> None:
    """What was offered there last was not taken: only the other side can say what is in force now."""
    world, call, _other = up(timed=False)
    phone, far, _, there = here_and_there(world, side)
    far.call.on_reinvite = lambda call, request: call.refuse(488)
    phone.call.hold()
    world.run(1.0)
    far.call.on_reinvite = PhoneCall.accept
    phone.call._offered = True
    lines = ("Supported: timer", "Session-Expires: 600;refresher=uac")
    phone.call.request("INVITE", *phone.call._contact(), *lines, body=phone.sdp(direction="sendonly"))
    phone.flush()
    world.run(1.0)
    assert len(sent(world, there, "INVITE", "UPDATE")) == 2
    call.hang_up()
    world.finish()


@BOTH_WAYS
def test_another_answer_to_our_refresh_is_news_for_the_other_side(side: str) -> None:
    world, call, _other = up(updates=False, timed=False)
    phone, _far, way, there = here_and_there(world, side)
    moved = description("198.51.100.99", origin=phone.address[0], version=2)
    phone.call.on_reinvite = lambda call, request: call.accept(request, sdp=moved)
    world.run(905.0)
    assert len(sent(world, way, "INVITE")) == 1
    assert b"c=IN IP4 198.51.100.99" in sent(world, there, "INVITE")[-1].body
    call.hang_up()
    world.finish()


def test_a_delayed_offer_in_a_refresh_is_asked_of_the_other_side() -> None:
    world, call, _other = up(timed=False)
    call._offered = False
    call.request("INVITE", *call._contact(), "Supported: timer", "Session-Expires: 600;refresher=uac")
    call.phone.flush()
    world.run(1.0)
    assert len(sent(world, ">b", "INVITE")) == 1
    call.hang_up()
    world.finish()


# refreshes that meet


@BY
def test_both_peers_and_the_switch_refresh_at_once(updates: bool) -> None:
    """Both legs at the same instant, in both directions: no offer is lost and the call goes on."""
    world, call, _other = up(conditions=Conditions(latency=0.2), updates=updates, timed=False)
    lines = ("Supported: timer", "Session-Expires: 1800;refresher=uac")

    def refresh(phone: Phone) -> None:
        phone.call._offered = not updates
        body = b"" if updates else phone.sdp()
        phone.call.request("UPDATE" if updates else "INVITE", *phone.call._contact(), *lines, body=body)
        phone.flush()

    for phone in (world.caller, world.callee):
        world.network.later(900.3 - world.network.now, lambda phone=phone: refresh(phone))
    world.run(1800.0)
    call.hang_up()
    (story,) = world.finish()
    assert (story.ended.ended_by, story.ended.reason) == ("caller", "")


@BOTH_WAYS
@pytest.mark.parametrize("lead", [0.05, 0.15, 0.25, 0.35, -0.05, -0.15])
def test_a_hold_that_crosses_our_refresh(side: str, lead: float) -> None:
    """One of the two hears 491 and asks again; the session is refreshed either way."""
    world, call, _other = up(conditions=Conditions(latency=0.1), updates=False, timed=False)
    phone, *_ = here_and_there(world, side)
    world.network.later(900.5 - world.network.now - lead, phone.call.hold)
    world.run(3 * HOUR)
    assert phone.call.statuses[-1] in (200, 491)
    call.hang_up()
    (story,) = world.finish()
    assert (story.ended.ended_by, story.ended.reason) == ("caller", "")


@BOTH_WAYS
def test_our_refresh_answered_491_is_sent_again(side: str) -> None:
    world, call, _other = up(updates=False, timed=False)
    phone, _, _way, _ = here_and_there(world, side)
    times: list[float] = []

    def busy(call: PhoneCall, request: Request) -> None:
        times.append(world.network.now)
        if len(times) < 3:
            call.refuse(491)
        else:
            call.accept(request)

    phone.call.on_reinvite = busy
    world.run(950.0)
    assert len(times) == 3
    for before, after in pairwise(times):
        assert (0.1 <= after - before <= 2.3) if side == "a" else (2.1 <= after - before <= 4.3)
    call.hang_up()
    (story,) = world.finish()
    assert story.ended.reason == ""


@BOTH_WAYS
@BY
def test_a_refresh_may_be_lost_now_and_then(side: str, updates: bool) -> None:
    dropped: list[Datagram] = []

    def drop(datagram: Datagram) -> bool:
        if datagram.at > 1 and datagram.way == f">{side}" and datagram.word in ("INVITE", "UPDATE"):
            dropped.append(datagram)
            return len(dropped) % 3 != 0
        return False

    world, call, _other = up(conditions=Conditions(drop=drop), updates=updates, timed=False)
    world.run(2 * HOUR)
    call.hang_up()
    (story,) = world.finish()
    assert story.ended.reason == ""
    assert len(dropped) >= 20


# the end


@BOTH_WAYS
@BY
@pytest.mark.parametrize("status", [408, 481])
def test_a_peer_that_does_not_know_the_call_any_more(side: str, updates: bool, status: int) -> None:
    """§10: BYE on both legs, and the record says why."""
    world, _call, _other = up(updates=updates, timed=False)
    phone, far, way, _there = here_and_there(world, side)
    phone.call.on_reinvite = lambda call, request: call.refuse(status)
    phone.call.on_update = lambda call, transaction, request: refuse(call, transaction, status)
    (story,) = world.finish(agree=False)
    assert (story.ended.outcome, story.ended.ended_by, story.ended.reason) == ("answered", "switch", "refresh_failed")
    assert world.real.statistics.sessions_expired == 1
    assert 895_000 < story.ended.talk_ms < 905_000
    assert far.call.heard[-1] == "BYE"
    assert sent(world, way, "BYE")


@BOTH_WAYS
@BY
def test_a_peer_that_has_vanished_is_noticed_at_the_next_refresh(side: str, updates: bool) -> None:
    """Missing refresh leaves no ghosts: 64·T1 after half the interval, both legs are down."""
    gone = (f">{side}", f"{side}>")
    world, _call, _other = up(
        conditions=Conditions(drop=lambda d: d.at > 60 and d.way in gone), updates=updates, timed=False
    )
    _phone, far, _, _there = here_and_there(world, side)
    (story,) = world.finish(agree=False, answers=False)
    assert (story.ended.outcome, story.ended.reason) == ("answered", "refresh_failed")
    assert world.real.statistics.sessions_expired == 1
    assert 930_000 < story.ended.talk_ms < 935_000
    assert far.call.heard[-1] == "BYE"


@BOTH_WAYS
def test_a_peer_that_promised_to_refresh_and_does_not(side: str) -> None:
    """§10: min(32 s, a third) before the session would expire; a vanished peer looks no different."""
    world = World(settings=THEIRS)
    a = TimedPhone(world.caller, "uac", silent=side == "a")
    b = TimedPhone(world.callee, silent=side == "b")
    world.callee.on_call = lambda call: call.accept()
    world.caller.dial(X)
    (story,) = world.finish()
    assert (a.refreshing, b.refreshing) == (True, True)
    assert (story.ended.outcome, story.ended.ended_by, story.ended.reason, story.ended.q850) == (
        "answered", "switch", "session_expired", 102,
    )  # fmt: skip
    assert 568_000 <= story.ended.talk_ms <= 568_500
    assert world.caller.call.heard[-1] == world.callee.call.heard[-1] == "BYE"
    assert world.real.statistics.sessions_expired == 1


@BOTH_WAYS
def test_a_refresh_that_is_refused_again_and_again(side: str) -> None:
    """The peer keeps the timer, so the session would expire there: three more tries, then BYE."""
    world = World(settings=OWN)
    TimedPhone(world.caller, "uas")
    TimedPhone(world.callee)
    world.callee.on_call = lambda call: call.accept()
    world.caller.dial(X)
    world.run(0.9)
    phone, _, way, _ = here_and_there(world, side)
    phone.call.on_reinvite = lambda call, request: call.refuse(488)
    (story,) = world.finish()
    assert story.ended.reason == "refresh_failed"
    assert 568_000 <= story.ended.talk_ms <= 568_500
    assert len(sent(world, way, "INVITE")) == 4


@BOTH_WAYS
def test_a_peer_without_the_timer_that_refuses_our_refresh_is_alive(side: str) -> None:
    world, call, _other = up(updates=False, timed=False)
    phone, *_ = here_and_there(world, side)
    phone.call.on_reinvite = lambda call, request: call.refuse(488)
    world.run(2 * HOUR)
    call.hang_up()
    (story,) = world.finish()
    assert (story.ended.ended_by, story.ended.reason) == ("caller", "")


def test_a_refresh_that_only_ever_rings_does_not_keep_the_session() -> None:
    world, _call, other = up(updates=False, timed=False)
    other.on_reinvite = lambda call, request: call.ring(100)
    (story,) = world.finish(agree=False, answers=False)
    assert story.ended.reason == "refresh_failed"
    assert 1_768_000 <= story.ended.talk_ms <= 1_769_000


@BOTH_WAYS
@BY
@pytest.mark.parametrize("delay", [0.0, 0.005, 0.015, 0.025])
def test_a_call_that_ends_while_a_refresh_is_out(side: str, updates: bool, delay: float) -> None:
    world, _call, _other = up(updates=updates, timed=False)
    phone, *_ = here_and_there(world, side)
    world.network.later(900.25 - world.network.now + delay, phone.call.hang_up)
    (story,) = world.finish()
    assert story.ended.reason == ""


@pytest.mark.parametrize("updates", [True, False])
def test_the_longest_call_ends_both_legs_however_well_refreshed(updates: bool) -> None:
    world = World(settings={"longest_call_seconds": 4 * HOUR})
    for phone in (world.caller, world.callee):
        phone.updates = updates
    TimedPhone(world.caller, "uac")
    TimedPhone(world.callee)
    world.callee.on_call = lambda call: call.accept()
    world.caller.dial(X)
    (story,) = world.finish()
    assert (story.ended.reason, story.ended.ended_by) == ("longest_call", "switch")
    assert 4 * 3_600_000 <= story.ended.talk_ms <= 4 * 3_600_000 + 500
    assert world.caller.call.heard[-1] == world.callee.call.heard[-1] == "BYE"


@BOTH_WAYS
@pytest.mark.parametrize("state", ["refreshing", "refreshed", "holding", "glare", "unconfirmed"])
def test_the_longest_call_ends_both_legs_in_every_state(side: str, state: str) -> None:
    """Whatever is under way at that moment."""
    drop = None
    if state == "unconfirmed":  # the ACK of our last 2xx is under way for ever

        def drop(datagram: Datagram) -> bool:
            return datagram.at > 895 and (datagram.way, datagram.word) == (f"{side}>", "ACK")

    world, _call, _other = up(
        conditions=Conditions(latency=0.1, drop=drop), updates=False, timed=False, longest_call_seconds=900.0
    )
    phone, far, *_ = here_and_there(world, side)
    later, now = world.network.later, world.network.now
    if state == "refreshing":
        phone.call.on_reinvite = lambda call, request: call.ring(100)
    elif state == "holding":
        far.call.on_reinvite = lambda call, request: call.ring(100)
        later(890.0 - now, phone.call.hold)
    elif state == "unconfirmed":
        later(896.0 - now, phone.call.hold)
    elif state == "glare":
        later(899.9 - now, phone.call.hold)
        later(899.9 - now, far.call.hold)
    (story,) = world.finish()
    assert (story.ended.reason, story.ended.ended_by) == ("longest_call", "switch")
    assert 900_000 <= story.ended.talk_ms <= 901_000


# the clock


@pytest.mark.parametrize("jump", [-10 * 365 * 86_400_000, -3_600_000, 3_600_000, 10 * 365 * 86_400_000])
def test_a_jump_of_the_wall_clock_ends_no_call_and_keeps_none(jump: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Timers read monotonic seconds only; what records say of moments is the wall clock's affair."""
    told = []
    for start in (0, jump):
        world, call, _other = up()
        monkeypatch.setattr("tests.wire.START_MS", 1_800_000_000_000 + max(start, -1_700_000_000_000))
        world.run(HOUR)
        call.hang_up()
        world.network.run_out()
        world.finished = True
        log = [(datagram.way, datagram.word, datagram.at) for datagram in world.network.log]
        told.append((log, [type(event).__name__ for event in world.switch.records]))
        durations = [getattr(event, "talk_ms", None) for event in world.switch.records]
        assert durations[-1] == pytest.approx(HOUR * 1000, abs=2000)
        monkeypatch.undo()
    assert told[0] == told[1]
