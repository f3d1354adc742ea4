"""A process that is gone, and the messages that the next one finds on disk: none lost, none sent twice (R9)."""

from typing import Any

import pytest

from b2bua.call.message_settings import MessageSettings
from b2bua.call.stored import Kept, Mark, Stored
from b2bua.sip.sms import SMS, Concat
from cdr import record
from routing.binding import Binding
from routing.blocklist import BlockKind
from tests.call.policies import blocks
from tests.call.texts import HELLO, Inbox, send, sms_body, submit
from tests.call.world import NUMBER_A, NUMBER_B, TRUNKS, World, X
from tests.wire import Conditions, lose

SENDER = {"call_id": "known@192.0.2.10", "from_value": "<sip:13876543210@192.0.2.10>;tag=known"}


def killed(world: World) -> list[Kept]:
    """What stands on disk at this instant; the process is no more."""
    world.finished = True
    return list(world.switch.shelf.kept.values())


def next_process(kept: list[Kept], **more: Any) -> World:
    """Another process with that disk, a little later."""
    world = World(**more)
    for each in kept:
        world.switch.shelf.kept[each.message.record_id] = each
        if each.state is not Stored.DONE:
            # its record began in the process before
            world.switch.records.append(attempted_of(each))
    world.switch.enter(lambda now: world.real.resume(kept, now))
    return world


def attempted_of(kept: Kept) -> record.Attempted:
    message = kept.message
    calling, binding_id, mode, x, y, provider, business_user, scenario, order_id, industrial_id = message.binding
    return record.Attempted(
        record_id=message.record_id, node="x700", sequence=message.handle, kind="message",
        arrived_ms=message.arrived_ms, caller=message.caller, callee=message.callee, calling=calling, x=x, y=y,
        provider=provider, business_user=business_user, scenario=scenario, binding_id=binding_id, order_id=order_id,
        industrial_id=industrial_id, mode=mode, ingress=message.ingress, ingress_call_id=message.ingress_call_id,
    )  # fmt: skip


def waiting(body: str | bytes = HELLO, content_type: str = "text/plain", *lines: str) -> list[Kept]:
    """A message that was accepted while the callee's side was down."""
    world = World(trunks=TRUNKS[:2])
    Inbox(world.callee, [503])
    sent = send(world.caller, X, body, content_type, *lines, **SENDER)  # type: ignore[arg-type]
    world.run(0.5)
    assert sent.heard == ["202"]
    return killed(world)


def test_what_waits_is_delivered_by_the_next_process() -> None:
    kept = waiting()
    assert [each.state for each in kept] == [Stored.WAITING]
    world = next_process(kept)
    inbox = Inbox(world.callee)
    world.run(5)
    assert inbox.texts == [HELLO]
    assert inbox.requests[0].from_value.startswith(f"<sip:{X}@")
    ended = finish(world)
    assert (ended.record_id, ended.outcome) == (kept[0].message.record_id, "delivered")
    (done,) = world.switch.shelf.kept.values()
    assert done.state is Stored.DONE


def test_a_short_message_keeps_what_it_is() -> None:
    kept = waiting(sms_body(submit("part", X, concat=Concat(9, 2, 1, True))), SMS)
    world = next_process(kept)
    inbox, _ = Inbox(world.callee, confirms="ack"), Inbox(world.caller)
    world.run(5)
    assert inbox.requests[0].get("content-type") == SMS
    assert b"\x06\x08\x04\x00\x09\x02\x01" in inbox.bodies[0]
    ended = world.switch.records[-1]
    assert isinstance(ended, record.Ended)
    assert ended.outcome == "delivered"
    world.finished = True


def test_what_was_under_way_is_not_sent_again() -> None:
    """Nobody can know whether the callee has it; once too few is better than twice (README, Decisions)."""
    world = World(Conditions(drop=lose(99, ">b", "MESSAGE")), trunks=TRUNKS[:2])
    Inbox(world.callee)
    send(world.caller, X)
    world.run(2)
    kept = killed(world)
    assert [each.state for each in kept] == [Stored.SENDING]
    world = next_process(kept)
    inbox = Inbox(world.callee)
    ended = finish(world)
    assert inbox.requests == []
    assert (ended.outcome, ended.reason, ended.status) == ("unknown", "delivery_unknown", 408)


def finish(world: World) -> record.Ended:
    """The end of the one message that was resumed."""
    world.network.run_out()
    world.finished = True
    _, ended = world.switch.records
    assert isinstance(ended, record.Ended)
    assert {name: size for name, size in world.real.tables().items() if size} == {}
    return ended


def test_what_the_network_had_taken_counts_as_delivered() -> None:
    world = World()
    Inbox(world.callee)
    Inbox(world.caller)
    send(world.caller, X, sms_body(submit(HELLO, X)), SMS)
    world.run(2)
    kept = killed(world)
    assert [each.state for each in kept] == [Stored.TAKEN]
    world = next_process(kept)
    inbox = Inbox(world.callee)
    ended = finish(world)
    assert (inbox.requests, ended.outcome) == ([], "delivered")


@pytest.mark.parametrize("seconds", [0.5, 40.0])
def test_a_sender_whose_202_was_lost_is_told_again(seconds: float) -> None:
    """The same MESSAGE to the next process: taken already, nothing new begins."""
    kept = waiting()
    world = next_process(kept)
    inbox = Inbox(world.callee)
    world.run(seconds)
    again = send(world.caller, X, **SENDER)  # type: ignore[arg-type]
    other = send(world.caller, X, "another", call_id="known@192.0.2.10", from_value=SENDER["from_value"], cseq=2)
    world.run(5)
    assert (again.heard, other.heard) == (["202"], ["202"])
    assert sorted(inbox.texts) == ["another", HELLO]
    world.finished = True


def test_a_key_of_one_that_is_done_is_known_too() -> None:
    world = World()
    Inbox(world.callee)
    send(world.caller, X, **SENDER)  # type: ignore[arg-type]
    world.run(1)
    kept = killed(world)
    assert [each.state for each in kept] == [Stored.DONE]
    world = next_process(kept)
    inbox = Inbox(world.callee)
    again = send(world.caller, X, **SENDER)  # type: ignore[arg-type]
    world.run(5)
    assert (again.heard, inbox.requests, world.finish()) == (["202"], [], [])


def test_after_a_while_a_key_is_forgotten() -> None:
    world = next_process([Kept(each.message, Stored.DONE, 1, 0) for each in waiting()])
    inbox = Inbox(world.callee)
    world.run(200)
    fresh = send(world.caller, X, **SENDER)  # type: ignore[arg-type]
    world.run(5)
    assert (fresh.heard, inbox.texts) == (["202"], [HELLO])
    world.finish()


def test_what_has_expired_meanwhile_is_tried_no_more() -> None:
    kept = waiting(HELLO, "text/plain", "Expires: 60")
    (each,) = kept
    late = Kept(each.message._replace(expires_ms=each.message.arrived_ms), each.state, each.tries, each.due_ms)
    world = next_process([late])
    inbox = Inbox(world.callee)
    ended = finish(world)
    assert (inbox.requests, ended.outcome, ended.status) == ([], "expired", 408)


def test_what_was_never_tried_and_has_expired_is_not_sent() -> None:
    (each,) = waiting()
    late = each.message._replace(expires_ms=each.message.arrived_ms - 60_000)
    world = next_process([Kept(late, Stored.WAITING, 0, late.arrived_ms)])
    inbox = Inbox(world.callee)
    ended = finish(world)
    assert (inbox.requests, ended.outcome, ended.reason) == ([], "expired", "message_expired")


def test_many_come_one_after_the_other() -> None:
    (each,) = waiting()
    kept = [
        Kept(
            each.message._replace(record_id=f"record-{number}", key=f"key {number}", text=f"{number}"), each.state, 1, 0
        )
        for number in range(50)
    ]
    world = next_process(kept)
    inbox = Inbox(world.callee)
    world.run(5)
    assert sorted(map(int, inbox.texts)) == list(range(50))
    first = [d.at for d in world.network.toward("b") if d.word == "MESSAGE"]
    assert max(first) - min(first) >= 0.4
    world.finished = True


def test_a_binding_that_somebody_blocks_takes_its_messages_with_it() -> None:
    """R12: what waits is given up; what is under way is not called back."""
    world = World(trunks=TRUNKS[:2], settings={"messages": MessageSettings(retry_seconds=5.0)})
    Inbox(world.callee, [503])
    send(world.caller, X)
    world.run(2)
    for identifier, number in (("other", 0), ("binding-1", 1)):

        def ends(binding: Binding, caller: str, callee: str, utc_ms: int, wanted: str = identifier) -> bool:
            return (binding.id, caller, callee) == (wanted, NUMBER_A, NUMBER_B)

        assert world.switch.enter(lambda now, ends=ends: world.real.cut_messages(ends, now)) == number
    ((_, _, ended),) = world.finish()
    assert (ended.outcome, ended.reason) == ("failed", "blocked")


@pytest.mark.parametrize("stage", ["storing", "marking", "sending", "reporting"])
def test_what_is_blocked_while_it_is_under_way_gets_no_other_try(stage: str) -> None:
    """R12: neither over the next route nor later."""
    world = World()
    inbox, second = Inbox(world.callee, [200 if stage == "reporting" else 0], confirms=22), Inbox(world.second)
    Inbox(world.caller)
    if stage in ("storing", "marking"):
        world.switch.shelf.delay = 1.0
    send(world.caller, X, sms_body(submit(HELLO, X)), SMS)
    world.run({"storing": 0.5, "marking": 1.5}.get(stage, 0.3))
    assert [each.state for each in world.real.messages.live()] == [stage]

    def ends(binding: Binding, caller: str, callee: str, utc_ms: int) -> bool:
        return True

    assert world.switch.enter(lambda now: world.real.cut_messages(ends, now)) == (stage == "storing")
    world.run(100)
    assert len(inbox.requests) == (stage in ("sending", "reporting"))
    assert second.requests == []
    ((_, _, ended),) = world.finish(agree=stage != "sending")  # a phone that never answers
    assert (ended.outcome, ended.reason) == ("refused" if stage == "storing" else "failed", "blocked")


def test_what_was_blocked_between_two_processes_is_not_sent() -> None:
    """The next one asks routing before it sends anything."""
    world = next_process(waiting(), trunks=TRUNKS[:2])
    world.policy = blocks(BlockKind.BINDING, "binding-1")
    inbox = Inbox(world.callee)
    ended = finish(world)
    assert (inbox.requests, ended.outcome, ended.reason) == ([], "failed", "binding_blocked")


def test_the_marks_on_disk_follow_what_happens() -> None:
    world = World(trunks=TRUNKS[:2])
    Inbox(world.callee, [503, 200])
    send(world.caller, X)
    world.run(5)
    marks = [(order.state, order.tries) for order in world.switch.shelf.seen if isinstance(order, Mark)]
    assert marks == [(Stored.SENDING, 1), (Stored.WAITING, 1), (Stored.SENDING, 2), (Stored.DONE, 2)]
    world.finish()
