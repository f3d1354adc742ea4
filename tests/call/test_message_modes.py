"""Short messages in every binding mode: who gets them, which number they come from, and nobody's other number (R2)."""

import pytest

from b2bua.sip.gsm import format_digits
from b2bua.sip.sms import SMS
from routing.binding import Mode
from routing.numbers import bare_digits
from tests.call.test_identity_modes import EVERY_CASE, OTHER_MEMBER, Case, ModeWorld
from tests.call.texts import HELLO, Inbox, send, sms_body, submit
from tests.call.world import NUMBER_A, X
from tests.wire import Conditions

Y = "700123456780077"


def called_before(world: ModeWorld) -> None:
    """The member at ``caller`` is the last one who has called B."""
    world.real.last_callers.note("binding-1", NUMBER_A)


@pytest.mark.parametrize("text", [HELLO, "验证码 123456"])
def test_who_writes_is_not_the_last_one_who_has_called(text: str) -> None:
    world = ModeWorld(Case(Mode.GXB, True, False))
    Inbox(world.callee)
    send(world.caller, X, text)
    world.run(2)
    assert world.real.last_callers.changes() == []
    world.finish()


@pytest.mark.parametrize("member", [True, False])
def test_a_member_that_b_has_written_to_gets_it_later_while_he_is_one(member: bool) -> None:
    world = ModeWorld(Case(Mode.GXB, False, False))
    called_before(world)
    inbox = Inbox(world.caller, [480, 200])
    send(world.callee, X)
    world.run(0.5)
    world.real.last_callers.note("binding-1", OTHER_MEMBER)
    if not member:
        world.members.remove(NUMBER_A)
    world.run(10)
    ((_, _, ended),) = world.finish()
    assert len(inbox.requests) == (2 if member else 1)
    assert (ended.outcome, ended.reason) == (("delivered", "") if member else ("failed", "binding_ended"))


@EVERY_CASE
@pytest.mark.parametrize("kind", ["text/plain", "message/cpim", SMS])
def test_a_message_comes_from_the_number_that_its_receiver_would_dial(case: Case, kind: str) -> None:
    world = ModeWorld(case)
    if not case.from_a and not case.first:
        called_before(world)
    sender, receiver = (world.caller, world.callee) if case.from_a else (world.callee, world.caller)
    inbox, back = Inbox(receiver, confirms="ack"), Inbox(sender)
    body: str | bytes = HELLO
    if kind == SMS:
        body = sms_body(submit(HELLO, case.dialled))
    elif kind == "message/cpim":
        body = f"From: <sip:{sender.number}@h>\r\n\r\nContent-Type: text/plain\r\n\r\n{HELLO}"
    sent = send(sender, case.dialled, body, kind)
    world.run(5)
    assert sent.heard == ["202"]
    (request,) = inbox.requests
    assert f"sip:{case.shown}@" in request.from_value
    assert len(back.reports) == (kind == SMS)
    told = world.finish()
    assert told[-1].ended.outcome == "delivered"
    assert (told[-1].attempted.x, told[-1].attempted.y) == (X, Y if case.two else "")
    for datagram in world.network.log:
        if not datagram.way.startswith(">"):
            continue
        assert bare_digits(OTHER_MEMBER).encode() not in datagram.data
        if case.two:
            unknown = {">a": Y, ">b": X}[datagram.way]
            assert unknown.encode() not in datagram.data
            assert format_digits(unknown)[:7] not in datagram.data


@EVERY_CASE
@pytest.mark.parametrize("seed", range(2))
def test_loss_changes_nothing_of_that(case: Case, seed: int) -> None:
    world = ModeWorld(case, Conditions(loss=0.25, duplication=0.1, jitter=0.2, seed=seed))
    if not case.from_a and not case.first:
        called_before(world)
    sender, receiver = (world.caller, world.callee) if case.from_a else (world.callee, world.caller)
    inbox = Inbox(receiver)
    sent = [send(sender, case.dialled, f"{number}") for number in range(3)]
    world.run(200)
    assert [each.heard for each in sent] == [["202"]] * 3
    assert sorted(inbox.texts) == ["0", "1", "2"]
    world.finish()
