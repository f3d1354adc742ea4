"""The last check before a datagram leaves: builders broken on purpose, and why the alarm answers no questions."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from b2bua.call import exit as exit_module
from b2bua.call.caller import CallerLeg
from b2bua.call.leg import Leg
from b2bua.call.privacy import Invitation, invitation, reveals
from b2bua.call.session import Session
from b2bua.sip.dialog import Dialog
from b2bua.sip.transaction import ClientTransaction
from tests.call.invariants import Story
from tests.call.phone import Phone, PhoneCall, Stage, answer_after, refuse_with
from tests.call.world import NUMBER_A, NUMBER_B, TRUNKS, World, X
from tests.wire import Conditions

DIGITS_A = NUMBER_A.removeprefix("+86").encode()
DIGITS_B = NUMBER_B.removeprefix("+86").encode()


def words(world: World, side: str) -> list[str]:
    """What went to a party, as methods and statuses."""
    return [datagram.word for datagram in world.network.toward(side)]


def assert_noticed(world: World, story: Story, count: int = 1) -> None:
    """Nothing has crossed; it was counted; the notice holds no digits; the record says why."""
    for side, digits in (("a", DIGITS_B), ("b", DIGITS_A)):
        assert not any(digits in datagram.data for datagram in world.network.toward(side))
    assert world.switch.notices == [("tripwire", "carrier-a")] * count
    assert (story.ended.reason, story.ended.ended_by) == ("tripwire", "switch")


# broken builders


LEAKS: list[tuple[str, Callable[[Invitation, str], Invitation]]] = [
    ("request URI", lambda made, caller: replace(made, uri=f"{made.uri};from={caller}")),
    ("From", lambda made, caller: replace(made, from_value=f"<sip:{caller}@192.0.2.1>")),
    ("From with prefix", lambda made, caller: replace(made, from_value=f"<sip:+86{caller}@192.0.2.1>")),
    ("From as name", lambda made, caller: replace(made, from_value=f'"{caller}" {made.from_value}')),
    ("To", lambda made, caller: replace(made, to_value=f'"0086{caller}" {made.to_value}')),
    ("Contact", lambda made, caller: replace(made, extra=(f"Contact: <sip:{caller}@192.0.2.1:5060>",))),
    (
        "P-Asserted-Identity",
        lambda made, caller: replace(made, extra=(*made.extra, f"P-Asserted-Identity: <tel:{caller}>")),
    ),
    ("unknown header", lambda made, caller: replace(made, extra=(*made.extra, f"X-Debug: call of {caller}"))),
]


@pytest.mark.parametrize("broken", [leak for _, leak in LEAKS], ids=[name for name, _ in LEAKS])
def test_an_invitation_that_leaks_is_not_sent(
    monkeypatch: pytest.MonkeyPatch, broken: Callable[[Invitation, str], Invitation]
) -> None:
    right = invitation
    monkeypatch.setattr(exit_module, "invitation", lambda *given: broken(right(*given), DIGITS_A.decode()))
    world = World()
    call = world.caller.dial(X)
    (story,) = world.finish(tripped=1)
    assert_noticed(world, story)
    assert words(world, "b") == []
    assert call.heard == ["100", "500"]
    assert (story.ended.status, story.ended.q850, story.ended.outcome) == (500, 41, "failed")


def test_a_description_that_leaks_is_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    right = Session.present
    monkeypatch.setattr(
        Session, "present", lambda self, content, host: right(self, content, host) + b"i=" + DIGITS_A + b"\r\n"
    )
    world = World()
    call = world.caller.dial(X)
    (story,) = world.finish(tripped=1)
    assert_noticed(world, story)
    assert call.heard == ["100", "500"]


@pytest.mark.parametrize("spelling", ["%s", "+86%s", "0086%s", "0%s", "<sip:%s@192.0.2.1>"])
@pytest.mark.parametrize(("method", "crossing"), [("INFO", PhoneCall.info), ("INVITE", PhoneCall.hold)])
@pytest.mark.parametrize("from_caller", [True, False], ids=["to_callee", "to_caller"])
def test_a_request_that_leaks_is_not_sent_and_both_sides_are_released(
    monkeypatch: pytest.MonkeyPatch,
    method: str,
    crossing: Callable[[PhoneCall], None],
    spelling: str,
    from_caller: bool,
) -> None:
    break_requests(monkeypatch, method, spelling)
    world = World()
    call = world.caller.dial(X)
    world.run(3.0)
    crossing(call if from_caller else world.callee.call)
    (story,) = world.finish(tripped=1)
    assert_noticed(world, story)
    assert "BYE" in call.heard
    assert "BYE" in world.callee.call.heard
    assert (story.ended.status, story.ended.outcome) == (200, "answered")


def break_requests(monkeypatch: pytest.MonkeyPatch, method: str, spelling: str = "%s") -> None:
    """Make Leg._request write what its side must not know into requests of one method."""
    right = Leg._request

    def leaking(
        self: Leg, name: str, extra: tuple[str, ...] = (), content_type: str = "", body: bytes = b""
    ) -> ClientTransaction:
        if name == method:
            extra = (*extra, f"X-Other-Party: {spelling % self.forbidden.decode()}")
        return right(self, name, extra, content_type, body)

    monkeypatch.setattr(Leg, "_request", leaking)


def test_a_bye_that_leaks_is_stopped_and_the_call_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    break_requests(monkeypatch, "BYE")
    world = World()
    call = world.caller.dial(X)
    call.on("200", call.hang_up)
    (story,) = world.finish(agree=False, tripped=1)
    assert (story.ended.ended_by, story.ended.reason) == ("caller", "")
    assert words(world, "b") == ["INVITE", "ACK"]
    assert world.switch.notices == [("tripwire", "carrier-a")]
    assert call.stage is Stage.OVER


@pytest.mark.parametrize("status", [180, 200])
def test_an_answer_that_leaks_is_not_sent(monkeypatch: pytest.MonkeyPatch, status: int) -> None:
    right = Leg._contact_line
    monkeypatch.setattr(
        CallerLeg,
        "_contact_line",
        lambda self: f"{right(self)}\r\nX-Who: {self.forbidden.decode()}".replace("\r\n", ";"),
    )
    world = World()
    world.callee.on_call = answer_after(1.0) if status == 180 else lambda call: call.accept()
    call = world.caller.dial(X)
    (story,) = world.finish(tripped=1)
    assert_noticed(world, story)
    assert call.heard == ["100", "500"]
    assert "BYE" not in words(world, "a")
    assert (story.ended.outcome, story.ended.talk_ms) == ("failed" if status == 180 else "answered", 0)
    assert world.callee.call.heard == (["INVITE", "CANCEL"] if status == 180 else ["INVITE", "ACK", "BYE"])


def test_an_acknowledgement_that_leaks_is_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    right = Dialog.request_uri

    def leaking(self: Dialog) -> tuple[str, tuple[str, ...]]:
        uri, routes = right(self)
        return f"{uri};from={DIGITS_A.decode()}", routes

    world = World()
    call = world.caller.dial(X)
    world.run(0.5)
    monkeypatch.setattr(Dialog, "request_uri", leaking)
    world.run(1.0)
    monkeypatch.setattr(Dialog, "request_uri", right)
    # the ACK, the BYE that was to release the call, and the ACK again for each 200 that came again
    (story,) = world.finish(tripped=12, agree=False)
    assert_noticed(world, story, 12)
    assert call.heard[-1] == "BYE"


def test_an_answer_to_a_reinvite_that_leaks_is_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    call = world.caller.dial(X)
    world.run(3.0)
    right = Leg._contact_line
    monkeypatch.setattr(CallerLeg, "_contact_line", lambda self: f"{right(self)};x={self.forbidden.decode()}")
    call.hold()
    (story,) = world.finish(tripped=1)
    assert_noticed(world, story)
    assert call.heard[-2:] == ["500", "BYE"]


# no oracle: a right guess looks like a wrong one


RIGHT, WRONG = "right", "wrong"


class Guess:
    """A number that a party writes wherever it can, to see whether that makes a difference."""

    def __init__(self, side: str, right: bool) -> None:
        self.right = right
        other = {"a": DIGITS_B, "b": DIGITS_A}[side].decode()
        self.digits = other if right else "13512345678"

    def __str__(self) -> str:
        return self.digits


def caller_call_id(world: World, guess: Guess) -> dict[str, Any]:
    return {"call_id": f"{guess}@host"}


def caller_bare_call_id(world: World, guess: Guess) -> dict[str, Any]:
    return {"call_id": str(guess)}


def caller_name(world: World, guess: Guess) -> dict[str, Any]:
    return {"from_value": f'"{guess}" <sip:{guess}@192.0.2.10;user={guess}>'}


def caller_tag(world: World, guess: Guess) -> dict[str, Any]:
    world.caller.tag_prefix = str(guess)
    return {}


def caller_to(world: World, guess: Guess) -> dict[str, Any]:
    return {"to_value": f'"{guess}" <sip:{X}@192.0.2.1>'}


def caller_contact(world: World, guess: Guess) -> dict[str, Any]:
    world.caller.contact = f"sip:{guess}@192.0.2.10:5060;x={guess}"
    return {}


def caller_contact_changes(world: World, guess: Guess) -> dict[str, Any]:
    world.caller.contact = f"sip:{guess}@192.0.2.10:5060"

    def change() -> None:
        world.caller.contact = "sip:other@192.0.2.10:5060"

    world.network.later(5.5, change)
    return {}


def caller_route(world: World, guess: Guess) -> dict[str, Any]:
    return {"lines": (f"Record-Route: <sip:{guess}@192.0.2.10;lr>",)}


def caller_timestamp(world: World, guess: Guess) -> dict[str, Any]:
    return {"lines": (f"Timestamp: {guess}",)}


def caller_via(world: World, guess: Guess) -> dict[str, Any]:
    world.caller.disguise = in_via(guess)
    return {}


def caller_elsewhere(world: World, guess: Guess) -> dict[str, Any]:
    return {"lines": (f"Subject: {guess}", f"Require-Not: {guess}", f'Reason: Q.850;cause=16;text="{guess}"')}


def callee_tag(world: World, guess: Guess) -> dict[str, Any]:
    world.callee.tag_prefix = str(guess)
    return {}


def callee_contact(world: World, guess: Guess) -> dict[str, Any]:
    world.callee.contact = f"sip:{guess}@192.0.2.20:5060"
    return {}


def callee_via(world: World, guess: Guess) -> dict[str, Any]:
    world.callee.disguise = in_via(guess)
    return {}


def in_via(guess: Guess) -> Callable[[bytes], bytes]:
    """A Via parameter on every request; the answers have to give it back."""

    def disguise(data: bytes) -> bytes:
        return data if data.startswith(b"SIP/2.0") else data.replace(b";rport\r\n", f";x={guess};rport\r\n".encode(), 1)

    return disguise


def talk(world: World, call: PhoneCall) -> None:
    """Everything that a call may hold, from both sides."""
    world.callee.on_call = answer_after(2.0)

    def act(phone: Phone, action: Callable[[PhoneCall], None]) -> None:
        action(phone.call)

    for phone in (world.caller, world.callee):
        later = world.network.later
        delay = 5.0 if phone is world.caller else 9.0
        for step, action in enumerate((PhoneCall.info, PhoneCall.hold, PhoneCall.reinvite, PhoneCall.info)):
            later(delay + 8 * step, partial(act, phone, action))
    call.on("200", call.hang_up, after=45.0)


def callee_hangs_up(world: World, call: PhoneCall) -> None:
    world.callee.on_call = answer_after(2.0)
    world.network.later(6.0, lambda: world.callee.call.hang_up())


def ring_and_cancel(world: World, call: PhoneCall) -> None:
    world.callee.on_call = answer_after(30.0)
    world.network.later(6.0, call.cancel)


def refused(world: World, call: PhoneCall) -> None:
    world.callee.on_call = refuse_with(486, ring=0.5)


def refused_reinvite(world: World, call: PhoneCall) -> None:
    def refuse(call: PhoneCall, request: object) -> None:
        call.refuse(488)

    def take(call: PhoneCall) -> None:
        call.on_reinvite = refuse
        answer_after(2.0)(call)

    world.callee.on_call = take
    world.network.later(6.0, call.hold)
    call.on_reinvite = refuse
    world.network.later(12.0, lambda: world.callee.call.hold())
    call.on("200", call.hang_up, after=20.0)


PLACES_A = (
    caller_call_id, caller_bare_call_id, caller_name, caller_tag, caller_to, caller_contact, caller_contact_changes,
    caller_route, caller_timestamp, caller_via, caller_elsewhere,
)  # fmt: skip
PLACES_B = (callee_tag, callee_contact, callee_via)
STORIES = (talk, callee_hangs_up, ring_and_cancel, refused, refused_reinvite)


@pytest.mark.parametrize("story", STORIES, ids=[story.__name__ for story in STORIES])
@pytest.mark.parametrize("place", PLACES_A + PLACES_B, ids=[place.__name__ for place in PLACES_A + PLACES_B])
def test_the_alarm_answers_no_questions(
    place: Callable[[World, Guess], dict[str, Any]], story: Callable[[World, PhoneCall], None]
) -> None:
    """Everything is lost once, so that what can be sent again is."""
    side = "a" if place in PLACES_A else "b"
    seen = []
    for right in (True, False):
        world = World(Conditions(loss=1.0, most_losses=1))
        options = place(world, Guess(side, right))
        call = world.caller.dial(X, *options.pop("lines", ()), **options)
        story(world, call)
        world.finish(private=False)
        seen.append([(round(datagram.at, 3), datagram.word) for datagram in world.network.toward(side)])
    assert seen[0] == seen[1]


# what counts as telling


@pytest.mark.parametrize(
    ("wire", "own", "expected"),
    [
        (b"From: <sip:13925814703@h>", (), True),
        (b"From: <sip:+8613925814703@h>", (), True),
        (b"From: <sip:139-2581-4703@h>", (), False),  # no builder writes that; what peers write never crosses
        (b"Call-ID: 13925814703", ("13925814703",), False),
        (b"Call-ID: 13925814703@h\r\nX: 13925814703", ("13925814703@h",), True),
        (b"X: 13925814703", ("1",), True),  # a Call-ID of one digit does not take the number apart
        (b"X: 13925814703", ("139", "", "2581"), True),
        (b"nothing", (), False),
    ],
)
def test_what_a_party_said_itself_is_no_news(wire: bytes, own: tuple[str, ...], expected: bool) -> None:
    assert reveals(wire, DIGITS_B, own) is expected


def test_without_digits_to_hide_nothing_is_revealed() -> None:
    assert not reveals(b"anything", b"", ())


def test_a_failure_that_leaks_becomes_a_bare_one(monkeypatch: pytest.MonkeyPatch) -> None:
    right = CallerLeg._refuse

    def leaking(self: CallerLeg, status: int, extra: tuple[str, ...]) -> None:
        right(self, status, (*extra, f'Warning: 399 h "{self.forbidden.decode()}"'))

    monkeypatch.setattr(CallerLeg, "_refuse", leaking)
    world = World(trunks=TRUNKS[:2])
    world.callee.on_call = refuse_with(500)
    call = world.caller.dial(X)
    world.finish(tripped=1)
    assert call.heard == ["100", "500"]
    assert "reason" not in call.responses[-1].first
    assert not any(DIGITS_B in datagram.data for datagram in world.network.toward("a"))
    assert world.switch.notices == [("tripwire", "carrier-a")]


def test_a_short_call_id_does_not_blind_the_alarm(monkeypatch: pytest.MonkeyPatch) -> None:
    right = Leg._contact_line
    monkeypatch.setattr(CallerLeg, "_contact_line", lambda self: f"{right(self)};who={self.forbidden.decode()}")
    world = World()
    world.caller.dial(X, call_id="3")
    (story,) = world.finish(tripped=1)
    assert_noticed(world, story)
