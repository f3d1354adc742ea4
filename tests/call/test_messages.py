"""A short message across the switch: accepted once it is on disk, told to the other party as coming from the middle
number, recorded once (rules R2, R8, R9)."""

from dataclasses import replace
from itertools import pairwise

import pytest

from b2bua.call.message_settings import MessageSettings
from b2bua.call.stored import Mark, Stored, Write
from b2bua.sip.cpim import parse_cpim
from b2bua.sip.transaction import Flow
from routing.binding import Direction
from routing.content import Assessment, ContentPolicy, Typed
from routing.decide import Query, Reason, Refusal
from routing.numbers import NumberForm
from routing.plan import BlockState
from routing.trunks import Identity, Peer
from tests.call.digest_phone import DigestWorld, Gate
from tests.call.texts import HELLO, Inbox, Sent, send
from tests.call.world import ADDRESS_B, BLOCK, NUMBER_A, NUMBER_B, TRUNKS, World, X
from tests.wire import SWITCH, Conditions, Datagram, lose, nth

CARRIER_DOWN = 503


def message_world(**settings: object) -> World:
    """A world with other settings of messages."""
    return World(settings={"messages": MessageSettings(**settings)})  # type: ignore[arg-type]


# there and back


def test_a_text_is_accepted_delivered_and_recorded() -> None:
    world = World()
    inbox = Inbox(world.callee)
    sent = send(world.caller, X)
    world.run(1)
    assert sent.heard == ["202"]
    (request,) = inbox.requests
    assert inbox.texts == [HELLO]
    assert request.uri == "sip:13925814703@192.0.2.20:5060"
    assert request.from_value.startswith(f"<sip:{X}@{SWITCH[0]}>;tag=")
    assert request.to_value == "<sip:13925814703@192.0.2.20:5060>"
    assert request.all("p-asserted-identity") == [f"<sip:{X}@{SWITCH[0]}>"]
    assert request.get("contact") is None  # RFC 3428 §4
    assert request.get("content-type") == "text/plain;charset=UTF-8"
    assert request.get("max-forwards") == "69"
    ((attempted, answered, ended),) = world.finish()
    assert (attempted.kind, attempted.caller, attempted.callee) == ("message", NUMBER_A, NUMBER_B)
    assert (attempted.calling, attempted.x, attempted.binding_id) == ("a", X, "binding-1")
    assert (attempted.provider, attempted.business_user, attempted.order_id) == ("provider", "shop", "order-1")
    assert answered is not None
    assert (ended.outcome, ended.status, ended.q850, ended.ended_by) == ("delivered", 200, 16, "callee")
    assert (ended.egress, ended.routes, ended.media) == ("carrier-b", ("carrier-b:200",), "text/plain")
    assert ended.egress_call_id == request.call_id


def test_a_text_goes_the_other_way_too() -> None:
    world = World()
    inbox = Inbox(world.caller)
    sent = send(world.callee, X, "好的")
    world.run(1)
    assert sent.heard == ["202"]
    assert inbox.texts == ["好的"]
    assert inbox.requests[0].from_value.startswith(f"<sip:{X}@")
    ((attempted, _, ended),) = world.finish()
    assert (attempted.calling, ended.outcome) == ("b", "delivered")


def test_an_envelope_is_opened_and_another_put_around_the_text() -> None:
    world = World()
    inbox = Inbox(world.callee)
    body = (
        "From: Ayi <sip:13876543210@192.0.2.10>\r\nTo: <im:700@x>\r\nDateTime: 2026-11-22T10:00:00+08:00\r\n"
        f"Subject: from 13876543210\r\nNS: imdn <urn:ietf:params:imdn>\r\nimdn.Message-ID: 34jk324j\r\n\r\n"
        f"Content-Type: text/plain; charset=UTF-8\r\nContent-ID: <13876543210@h>\r\n\r\n{HELLO}"
    )
    send(world.caller, X, body, "message/cpim")
    world.run(1)
    (request,) = inbox.requests
    assert request.get("content-type") == "message/cpim"
    assert request.body.decode() == (
        f"From: <sip:{X}@192.0.2.1>\r\nTo: <sip:13925814703@192.0.2.20:5060>\r\n"
        f"DateTime: 2026-11-22T10:00:00+08:00\r\n\r\nContent-Type: text/plain;charset=UTF-8\r\n\r\n{HELLO}"
    )
    assert parse_cpim(request.body).text == HELLO
    ((_, _, ended),) = world.finish()
    assert ended.media == "message/cpim"


def test_nothing_that_rides_along_crosses() -> None:
    world = World()
    inbox = Inbox(world.callee)
    send(
        world.caller,
        X,
        HELLO,
        "text/plain",
        "Subject: call 13876543210",
        "Call-Info: <http://192.0.2.10/13876543210.png>",
        "Reply-To: <sip:13876543210@192.0.2.10>",
        "In-Reply-To: 13876543210@192.0.2.10",
        "User-Agent: alpha-phone",
        "P-Access-Network-Info: 3GPP-E-UTRAN-FDD; utran-cell-id-3gpp=46000",
        "X-Cell: 13876543210",
        "Expires: 600",
    )
    world.run(1)
    (request,) = inbox.requests
    assert set(request.first) == {
        "via", "max-forwards", "from", "to", "call-id", "cseq", "user-agent", "p-asserted-identity", "content-type",
        "content-length",
    }  # fmt: skip
    assert request.get("user-agent") == "x700"
    world.finish()


def test_a_trunk_has_its_own_form_and_may_want_no_identity() -> None:
    trunks = (TRUNKS[0], replace(TRUNKS[1], number_form=NumberForm.E164, send_identity=False), TRUNKS[2])
    world = World(trunks=trunks)
    inbox = Inbox(world.callee)
    send(world.caller, X)
    world.run(1)
    (request,) = inbox.requests
    assert request.uri == "sip:+8613925814703@192.0.2.20:5060"
    assert request.from_value.startswith(f"<sip:+86{X}@")
    assert request.get("p-asserted-identity") is None
    world.finish()


# loss and repetition


@pytest.mark.parametrize("number", range(5))
def test_any_one_datagram_may_be_lost(number: int) -> None:
    """Our retransmissions and the sender's make up for it: one message, one record."""
    world = World(Conditions(drop=nth(number)))
    inbox = Inbox(world.callee)
    sent = send(world.caller, X)
    world.run(40)
    assert sent.heard == ["202"]
    assert inbox.texts == [HELLO]
    ((_, _, ended),) = world.finish()
    assert ended.outcome == "delivered"


@pytest.mark.parametrize("seed", range(6))
def test_loss_duplication_and_disorder(seed: int) -> None:
    world = World(Conditions(loss=0.2, duplication=0.2, jitter=0.4, seed=seed))
    inbox, back = Inbox(world.callee), Inbox(world.caller)
    there = [send(world.caller, X, f"text {number}") for number in range(5)]
    here = [send(world.callee, X, f"answer {number}") for number in range(5)]
    world.run(120)
    assert [sent.heard for sent in (*there, *here)] == [["202"]] * 10
    assert sorted(inbox.texts) == [f"text {number}" for number in range(5)]
    assert sorted(back.texts) == [f"answer {number}" for number in range(5)]
    assert {story.ended.outcome for story in world.finish()} == {"delivered"}


def test_a_message_that_comes_again_by_another_way_is_merged() -> None:
    """RFC 3261 §8.2.2.2: told so, and not delivered again."""
    world = World()
    inbox = Inbox(world.callee)
    first = send(world.caller, X, call_id="same@192.0.2.10", from_value="<sip:13876543210@192.0.2.10>;tag=same")
    second = send(world.caller, X, call_id="same@192.0.2.10", from_value="<sip:13876543210@192.0.2.10>;tag=same")
    world.run(1)
    assert (first.heard, second.heard) == (["202"], ["482"])
    assert inbox.texts == [HELLO]
    told = world.finish()
    assert [story.ended.reason for story in told] == ["merged", ""] or [story.ended.reason for story in told] == [
        "",
        "merged",
    ]


def test_a_message_that_was_refused_may_come_again_by_another_way() -> None:
    world = World()
    inbox = Inbox(world.callee)
    world.store_fails = True
    first = send(world.caller, X, call_id="same@192.0.2.10", from_value="<sip:13876543210@192.0.2.10>;tag=same")
    world.run(1)
    world.store_fails = False
    second = send(world.caller, X, call_id="same@192.0.2.10", from_value="<sip:13876543210@192.0.2.10>;tag=same")
    world.run(1)
    assert (first.heard, second.heard, inbox.texts) == (["503"], ["202"], [HELLO])
    third = send(world.caller, X, call_id="same@192.0.2.10", from_value="<sip:13876543210@192.0.2.10>;tag=same")
    fourth = send(world.caller, X, call_id="same@192.0.2.10", from_value="<sip:13876543210@192.0.2.10>;tag=same")
    world.run(1)
    assert (third.heard, fourth.heard, inbox.texts) == (["482"], ["482"], [HELLO])
    world.finish()


def test_the_next_message_of_the_same_call_id_is_another_one() -> None:
    """RFC 3428 §4: a sender may use one Call-ID with rising CSeq."""
    world = World()
    inbox = Inbox(world.callee)
    for cseq in (1, 2):
        send(world.caller, X, f"{cseq}", call_id="one@192.0.2.10", from_value="<sip:a@192.0.2.10>;tag=t", cseq=cseq)
    world.run(1)
    assert inbox.texts == ["1", "2"]
    world.finish()


# the disk


def test_nothing_is_accepted_before_the_disk_has_it() -> None:
    world = World()
    inbox = Inbox(world.callee)
    world.switch.shelf.delay = 2.0
    sent = send(world.caller, X)
    world.run(1.9)
    assert (sent.heard, inbox.texts) == ([], [])
    world.run(0.2)
    assert (sent.heard, inbox.texts) == (["202"], [])  # nor sent before the disk knows that it is
    world.run(3)
    assert inbox.texts == [HELLO]
    world.finish()
    assert [type(order).__name__ for order in world.switch.shelf.seen] == ["Write", "Mark", "Mark"]
    assert [order.state for order in world.switch.shelf.seen if isinstance(order, Mark)] == [
        Stored.SENDING,
        Stored.DONE,
    ]


def test_a_disk_that_refuses_is_a_503() -> None:
    world = World()
    inbox = Inbox(world.callee)
    world.switch.shelf.works = lambda order: False
    sent = send(world.caller, X)
    world.run(1)
    assert sent.heard == ["503"]
    assert sent.answer is not None
    assert sent.answer.get("retry-after") == "10"
    assert inbox.requests == []
    ((_, answered, ended),) = world.finish()
    assert answered is None
    assert (ended.outcome, ended.reason) == ("refused", "message_store_failed")


def test_a_disk_that_hangs_is_a_503_and_what_it_stores_late_is_forgotten() -> None:
    world = World()
    world.switch.shelf.delay = 10.0
    sent = send(world.caller, X)
    world.run(5)
    assert sent.heard == ["503"]
    ((_, _, ended),) = world.finish()
    assert ended.reason == "message_store_failed"
    last = world.switch.shelf.seen[-1]
    assert isinstance(last, Mark)
    assert last.state is Stored.REFUSED


def test_a_message_is_not_sent_while_the_disk_cannot_be_told() -> None:
    world = World()
    inbox = Inbox(world.callee)
    refusals = iter((False, False))
    world.switch.shelf.works = lambda order: isinstance(order, Write) or not order.told or next(refusals, True)
    sent = send(world.caller, X)
    world.run(1.5)
    assert (sent.heard, inbox.texts) == (["202"], [])
    world.run(10)
    assert inbox.texts == [HELLO]
    ((_, _, ended),) = world.finish()
    assert ended.outcome == "delivered"


def test_a_record_that_cannot_be_written_refuses_the_message() -> None:
    world = World()
    inbox = Inbox(world.callee)
    world.switch.disk = lambda records: False
    sent = send(world.caller, X)
    world.run(1)
    assert sent.heard == ["503"]
    assert (inbox.requests, world.switch.shelf.seen) == ([], [])
    ((_, _, ended),) = world.finish()
    assert ended.reason == "journal_failed"


# failover, retries, the end of time


def test_the_next_route_is_tried_when_one_fails() -> None:
    world = World()
    first, second = Inbox(world.callee, [CARRIER_DOWN]), Inbox(world.second)
    sent = send(world.caller, X)
    world.run(1)
    assert sent.heard == ["202"]
    assert (len(first.requests), second.texts) == (1, [HELLO])
    ((_, _, ended),) = world.finish()
    assert ended.routes == ("carrier-b:503", "carrier-c:200")
    assert ended.egress == "carrier-c"
    assert first.requests[0].call_id != second.requests[0].call_id


def test_a_silent_route_is_waited_for_to_its_end_before_the_next() -> None:
    """Nobody is asked twice at the same time: the next one only once the transaction is over."""
    world = World(Conditions(drop=lambda datagram: datagram.target == ("192.0.2.20", 5060)))
    Inbox(world.callee)
    second = Inbox(world.second)
    send(world.caller, X)
    world.run(31)
    assert second.texts == []
    world.run(3)
    assert second.texts == [HELLO]
    ((_, _, ended),) = world.finish()
    assert ended.routes == ("carrier-b:no_answer", "carrier-c:200")


def test_it_is_tried_again_later_and_later() -> None:
    world = World(trunks=TRUNKS[:2])
    inbox = Inbox(world.callee, [480, 503, 500, 200])
    send(world.caller, X)
    world.run(20)
    assert len(inbox.requests) == 4
    times = [d.at for d in world.network.toward("b") if d.word == "MESSAGE"]
    gaps = [round(later - earlier) for earlier, later in pairwise(times)]
    assert gaps == [1, 2, 4]
    assert len({request.call_id for request in inbox.requests}) == 4
    ((_, _, ended),) = world.finish()
    assert ended.routes == ("carrier-b:480", "carrier-b:503", "carrier-b:500", "carrier-b:200")
    assert ended.outcome == "delivered"


def test_what_the_far_end_asks_for_goes_before_our_own_pace() -> None:
    world = World(trunks=TRUNKS[:2])
    Inbox(world.callee, [480, 200], "Retry-After: 30 (back soon);duration=9")
    send(world.caller, X)
    world.run(29)
    assert len([d for d in world.network.toward("b") if d.word == "MESSAGE"]) == 1
    world.run(5)
    assert len([d for d in world.network.toward("b") if d.word == "MESSAGE"]) == 2
    world.finish()


def test_waits_do_not_grow_beyond_their_bound() -> None:
    world = World(trunks=TRUNKS[:2], settings={"messages": MessageSettings(longest_retry_seconds=4.0)})
    inbox = Inbox(world.callee, [480] * 8 + [200])
    send(world.caller, X)
    world.run(40)
    assert len(inbox.requests) == 9
    ((_, _, ended),) = world.finish()
    assert ended.outcome == "delivered"


def test_a_message_of_many_tries_names_the_first_and_the_last_routes() -> None:
    world = World(trunks=TRUNKS[:2], settings={"messages": MessageSettings(longest_retry_seconds=1.0)})
    Inbox(world.callee, [480] * 40 + [200])
    send(world.caller, X)
    world.run(60)
    ((_, _, ended),) = world.finish()
    assert len(ended.routes) == 20
    assert ended.routes[-1] == "carrier-b:200"


@pytest.mark.parametrize("status", [404, 403, 603, 415, 413])
def test_a_refusal_of_the_callee_is_final(status: int) -> None:
    world = World()
    inbox = Inbox(world.callee, [status])
    sent = send(world.caller, X)
    world.run(100)
    assert sent.heard == ["202"]
    assert len(inbox.requests) == 1
    ((_, _, ended),) = world.finish()
    assert (ended.outcome, ended.status, ended.ended_by) == ("rejected", status, "callee")


def test_a_message_expires() -> None:
    world = World(trunks=TRUNKS[:2], settings={"messages": MessageSettings(longest_seconds=60.0)})
    inbox = Inbox(world.callee, [480])
    send(world.caller, X)
    world.run(100)
    assert 5 <= len(inbox.requests) <= 8
    ((_, _, ended),) = world.finish()
    assert (ended.outcome, ended.reason, ended.status) == ("expired", "message_expired", 480)
    assert 60_000 <= ended.total_ms <= 62_000


def test_the_sender_may_want_it_shorter() -> None:
    """RFC 3428 §5, Expires."""
    world = World(trunks=TRUNKS[:2])
    Inbox(world.callee, [503])
    send(world.caller, X, HELLO, "text/plain", "Expires: 5")
    world.run(10)
    ((_, _, ended),) = world.finish()
    assert ended.outcome == "expired"
    assert ended.total_ms < 6000


def test_now_or_never_is_tried_once() -> None:
    world = World(trunks=TRUNKS[:2])
    inbox = Inbox(world.callee, [503])
    send(world.caller, X, HELLO, "text/plain", "Expires: 0")
    world.run(10)
    assert len(inbox.requests) == 1
    ((_, _, ended),) = world.finish()
    assert ended.outcome == "expired"


@pytest.mark.parametrize("change", ["ended", "gone", "of_others", "of_another_callee"])
def test_a_message_that_waits_ends_with_its_binding(change: str) -> None:
    """R4: whoever ends it early, and whoever has the numbers then."""
    world = World(trunks=TRUNKS[:2])
    inbox = Inbox(world.callee, [480, 480, 200])
    sent = send(world.caller, X)
    world.run(0.5)
    (binding,) = world.bindings
    world.bindings = {
        "ended": [replace(binding, ended_ms=binding.starts_ms + 1000)],
        "gone": [],
        "of_others": [replace(binding, id="binding-2")],
        "of_another_callee": [replace(binding, b="+8613925814704")],
    }[change]
    world.run(100)
    assert (sent.heard, len(inbox.requests)) == (["202"], 1)
    ((_, _, ended),) = world.finish()
    reason = "caller_unbound" if change == "gone" else "binding_ended"
    assert (ended.outcome, ended.reason, ended.routes) == ("failed", reason, ("carrier-b:480",))


def test_a_message_waits_while_nobody_knows_of_its_binding() -> None:
    world = World(trunks=TRUNKS[:2])
    inbox = Inbox(world.callee, [480, 200])
    send(world.caller, X)
    world.run(0.5)
    world.store_fails = True
    world.run(5)
    assert len(inbox.requests) == 1
    world.store_fails = False
    world.run(10)
    assert len(inbox.requests) == 2
    ((_, _, ended),) = world.finish()
    assert ended.outcome == "delivered"
    assert ended.routes[:2] == ("carrier-b:480", "switch:store_unavailable")


def test_routing_that_says_nothing_to_a_new_round_is_asked_again() -> None:
    world = World(trunks=TRUNKS[:2])
    inbox = Inbox(world.callee, [480, 200])
    send(world.caller, X)
    world.run(0.5)
    world.switch.held = True
    world.run(12)
    assert len(inbox.requests) == 1
    assert len(world.switch.waiting) > 1
    world.switch.held = False
    world.switch.release()  # the first answer counts
    world.run(5)
    assert len(inbox.requests) == 2
    ((_, _, ended),) = world.finish()
    assert ended.outcome == "delivered"


def test_a_message_does_not_outlive_its_binding() -> None:
    """The number may serve somebody else by then."""
    world = World(trunks=TRUNKS[:2], binding={"expires_ms": 1_800_000_000_000 + 30_000})
    Inbox(world.callee, [503])
    send(world.caller, X)
    world.run(60)
    ((_, _, ended),) = world.finish()
    assert ended.outcome == "expired"
    assert 0 <= ended.ended_ms - 1_800_000_030_000 < 1000


def test_a_callee_whose_trunk_is_gone_is_waited_for() -> None:
    world = World()
    inbox = Inbox(world.callee)
    world.switch.shelf.delay = 1.0
    sent = send(world.caller, X)
    world.run(0.1)
    world.reconfigure(trunks=TRUNKS[:1])
    world.run(5)
    assert (sent.heard, inbox.texts) == (["202"], [])
    world.reconfigure(trunks=TRUNKS)
    world.run(20)
    assert inbox.texts == [HELLO]
    ((_, _, ended),) = world.finish()
    assert ended.routes[0] == "switch:no_route"
    assert ended.outcome == "delivered"


def test_an_operator_gives_one_up() -> None:
    world = World(trunks=TRUNKS[:2])
    Inbox(world.callee, [503])
    send(world.caller, X)
    world.run(5)
    (live,) = world.real.messages.live()
    assert (live.state, live.x, live.caller, live.callee) == ("waiting", X, "138****3210", "139****4703")
    assert live.tries == 3
    assert world.switch.enter(lambda now: world.real.discard("nobody", now)) is False
    assert world.switch.enter(lambda now: world.real.discard(live.id, now)) is True
    ((_, _, ended),) = world.finish()
    assert (ended.outcome, ended.reason) == ("failed", "hung_up")


# refusals


def refused(world: World, sent: Sent, status: int, reason: str, outcome: str = "refused") -> None:
    """What a refusal is: its status, its record, and nothing to anybody else."""
    world.run(1)
    assert sent.heard == [str(status)]
    assert world.network.toward("b") == []
    ((attempted, _, ended),) = world.finish()
    assert attempted.kind == "message"
    assert (ended.outcome, ended.reason, ended.status) == (outcome, reason, status)


@pytest.mark.parametrize(
    ("x", "identity", "status", "reason"),
    [
        ("7001234", None, 404, "number_malformed"),
        ("700999999990001", None, 404, "block_unknown"),
        (X, "<sip:13800000000@192.0.2.10>", 403, "caller_unbound"),
        (X, "", 433, "caller_anonymous"),
        (X, "<sip:anonymous@anonymous.invalid>", 433, "caller_anonymous"),
        (X, "<sip:+14155550123@192.0.2.10>", 403, "caller_foreign"),
        (X, "<sip:700123456789099@192.0.2.10>", 482, "loop"),
    ],
)
def test_who_may_not_call_may_not_write(x: str, identity: str | None, status: int, reason: str) -> None:
    world = World()
    refused(world, send(world.caller, x, identity=identity), status, reason)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"expires_ms": 1_800_000_000_000}, "binding_expired"),
        ({"ended_ms": 1}, "binding_ended"),
        ({"starts_ms": 1_800_000_100_000}, "binding_not_started"),
    ],
)
def test_a_dead_binding_carries_no_message(change: dict[str, int], reason: str) -> None:
    world = World(binding=change)
    refused(world, send(world.caller, X), 403, reason)


def test_a_barred_direction_carries_no_message() -> None:
    world = World(binding={"direction": Direction.B_TO_A})
    refused(world, send(world.caller, X), 403, "direction_barred")


def test_a_scenario_may_go_without_messages() -> None:
    """R17; routing is told that it is a message."""
    world = World()
    asked: list[Query] = []

    def decide(query: Query) -> Refusal:
        asked.append(query)
        return Refusal(Reason.MESSAGES_BARRED, NUMBER_A, X, world.bindings[0])

    world.switch.decide = decide
    refused(world, send(world.caller, X), 403, "messages_barred")
    assert [query.kind for query in asked] == ["message"]


def test_an_inactive_block_carries_no_message() -> None:
    world = World()
    world.blocks = [replace(BLOCK, state=BlockState.FROZEN)]
    refused(world, send(world.caller, X), 403, "block_inactive")


def test_a_store_that_fails_is_a_503() -> None:
    world = World()
    world.store_fails = True
    refused(world, send(world.caller, X), 503, "store_unavailable")


def test_a_decision_that_does_not_come_is_a_503() -> None:
    world = World()
    world.switch.held = True
    sent = send(world.caller, X)
    world.run(5)
    world.switch.release()
    refused(world, sent, 503, "undecided")


def test_a_draining_switch_takes_none_and_begins_none() -> None:
    world = World(trunks=TRUNKS[:2])
    inbox = Inbox(world.callee, [503, 200])
    waiting = send(world.caller, X)
    world.run(0.5)
    world.switch.enter(world.real.drain)
    sent = send(world.caller, X)
    world.run(10)
    assert (waiting.heard, sent.heard) == (["202"], ["503"])
    assert len(inbox.requests) == 1
    world.switch.enter(world.real.release_all)
    assert world.real.tables()["messages"] == 0
    world.finished = True
    events = [type(event).__name__ for event in world.switch.records]
    assert events == ["Attempted", "Answered", "Attempted", "Ended"]  # the first lives on, on the disk
    (kept,) = world.switch.shelf.kept.values()
    assert kept.state is Stored.WAITING


def test_a_switch_that_cannot_record_takes_none() -> None:
    world = World()
    world.real.journal_failure = "disk full"
    refused(world, send(world.caller, X), 503, "journal_failed")


def test_when_room_is_tight_it_is_only_counted() -> None:
    world = World()
    world.real.journal_failure, world.real.journal_tight = "disk full", True
    sent = send(world.caller, X)
    world.run(1)
    assert sent.heard == ["503"]
    assert world.finish(refusals=1) == []


def test_rates_count_for_messages() -> None:
    world = World(settings={"calls_per_second": 1.0})
    Inbox(world.callee)
    first, second = send(world.caller, X), send(world.caller, X)
    world.run(1)
    assert (first.heard, second.heard) == (["202"], ["503"])
    assert sorted(story.ended.reason for story in world.finish()) == ["", "call_rate"]


def test_the_queue_has_an_end() -> None:
    world = World(trunks=TRUNKS[:2], settings={"messages": MessageSettings(most=1, longest_seconds=20.0)})
    Inbox(world.callee, [503])
    first = send(world.caller, X)
    world.run(1)
    second = send(world.caller, X)
    world.run(1)
    assert (first.heard, second.heard) == (["202"], ["503"])
    assert sorted(story.ended.reason for story in world.finish()) == ["message_expired", "message_queue_full"]


@pytest.mark.parametrize(
    ("lines", "forwards", "status", "reason"),
    [
        (("Require: trust",), 70, 420, "bad_extension"),
        ((), 0, 483, "max_forwards"),
        ((), 1000, 400, "bad_request"),
        (("Content-Encoding: gzip",), 70, 415, "bad_media_type"),
    ],
)
def test_what_may_be_wrong_with_the_request(lines: tuple[str, ...], forwards: int, status: int, reason: str) -> None:
    world = World()
    refused(world, send(world.caller, X, HELLO, "text/plain", *lines, max_forwards=forwards), status, reason)


@pytest.mark.parametrize(
    ("uri", "status", "reason"), [("mailto:a@b", 416, "uri_scheme"), ("sip:@@", 400, "bad_request")]
)
def test_a_request_uri_that_is_none(uri: str, status: int, reason: str) -> None:
    world = World()
    refused(world, send(world.caller, X, uri=uri), status, reason)


@pytest.mark.parametrize(
    ("content_type", "body", "status"),
    [
        ("application/im-iscomposing+xml", "<x/>", 415),
        ("multipart/mixed;boundary=b", "--b\r\n\r\nx\r\n--b--", 415),
        ("application/sdp", "v=0", 415),
        ("text/html", "<b>", 415),
        ("text/plain;charset=x-unknown", "x", 415),
        ("text/plain", b"\xff\xfe\xfd", 400),
        ("message/cpim", "no headers", 400),
        ("message/cpim", "From: <x:y>\r\n\r\nContent-Type: image/png\r\n\r\nx", 415),
        ("application/vnd.3gpp.sms", b"\x00", 400),
    ],
)
def test_a_body_that_is_no_text(content_type: str, body: str | bytes, status: int) -> None:
    world = World()
    sent = send(world.caller, X, body, content_type)
    world.run(1)
    assert sent.answer is not None
    if status == 415:
        assert sent.answer.all("accept") == ["text/plain, message/cpim, application/vnd.3gpp.sms"]
    refused(world, sent, status, "bad_media_type" if status == 415 else "bad_request")


def test_a_body_above_the_limit() -> None:
    world = message_world(longest_bytes=1000)
    refused(world, send(world.caller, X, "x" * 1001), 513, "message_too_large")


def test_a_large_text_needs_a_transport_for_it() -> None:
    """RFC 3428 §8: nothing above 1300 octets over UDP; where no route can carry it, the sender is told."""
    world = World()
    refused(world, send(world.caller, X, "长" * 400), 513, "message_too_large")


def test_switched_off_it_is_405() -> None:
    world = message_world(enabled=False)
    sent = send(world.caller, X)
    world.run(1)
    assert sent.heard == ["405"]
    assert world.finish() == []


def test_in_a_dialog_it_is_405() -> None:
    world = World()
    call = world.caller.dial(X)
    world.run(2)
    call.request("MESSAGE", body=b"x")
    world.caller.flush()
    world.run(1)
    assert call.heard[-1] == "MESSAGE 405"
    call.hang_up()
    assert len(world.finish()) == 1


# what it says


@pytest.mark.parametrize(
    ("text", "reason", "policy"),
    [
        ("【某网】验证码:123456,请勿泄露", "verification_code", ContentPolicy()),
        ("Your code is 481 299", "verification_code", ContentPolicy()),
        ("刷 单 吗", "keyword", ContentPolicy(("刷单",))),
        ("打我 13900139000", "phone_number", ContentPolicy(typed=Typed.DROP)),
    ],
)
def test_what_may_not_be_said_is_dropped_with_its_record(text: str, reason: str, policy: ContentPolicy) -> None:
    world = message_world(content=policy)
    refused(world, send(world.caller, X, text), 403, reason, "dropped")


@pytest.mark.parametrize("sender", ["1069012345678", "95588", "10086", "12306", "955880001"])
def test_services_do_not_write(sender: str) -> None:
    world = World()
    refused(world, send(world.caller, X, identity=f"<sip:{sender}@192.0.2.10>"), 403, "service_sender", "dropped")


def test_a_telephone_number_is_noted_in_the_record() -> None:
    world = World()
    inbox = Inbox(world.callee)
    send(world.caller, X, "打 13900139000")
    world.run(1)
    assert inbox.texts == ["打 13900139000"]
    ((_, _, ended),) = world.finish()
    assert ended.media == "text/plain phone_number"


@pytest.mark.parametrize(
    "spelling", ["13876543210", "138 7654 3210", "１３８７６５４３２１０", "138-7654-3210", "+86 13876543210"]
)
def test_the_senders_own_number_does_not_leave(spelling: str) -> None:
    """R2: typed or not."""
    world = World()
    inbox = Inbox(world.callee)
    send(world.caller, X, f"我的号码 {spelling}!")
    world.run(1)
    assert "3210" not in inbox.texts[0]
    assert inbox.texts[0].endswith("!")
    ((_, _, ended),) = world.finish(private=False)
    assert ended.media == "text/plain phone_number masked"
    assert world.tripped == 0


def test_a_number_that_policy_has_missed_stops_at_the_tripwire(monkeypatch: pytest.MonkeyPatch) -> None:
    """The day somebody breaks the mask."""
    monkeypatch.setattr("b2bua.call.short_message.assess", lambda text, own, policy: Assessment("", text))
    world = World()
    inbox = Inbox(world.callee)
    send(world.caller, X, "13876543210")
    world.run(1)
    assert inbox.requests == []
    ((_, _, ended),) = world.finish(tripped=1)
    assert (ended.outcome, ended.reason) == ("failed", "tripwire")


def test_an_identity_by_from() -> None:
    trunks = (replace(TRUNKS[0], identity=Identity.FROM), *TRUNKS[1:])
    world = World(trunks=trunks)
    inbox = Inbox(world.callee)
    send(world.caller, X, identity="")
    world.run(1)
    assert inbox.texts == [HELLO]
    world.finish()


def test_an_overloaded_switch_turns_messages_away_unrecorded() -> None:
    world = World(settings={"overload_seconds": 0.1})
    world.real.load.waited = 1.0
    sent = send(world.caller, X)
    world.run(0.1)
    world.real.load.waited = 0.0
    assert sent.heard == ["503"]
    assert world.finish(refusals=1) == []


def test_losing_every_202_does_not_send_it_twice() -> None:
    world = World(Conditions(drop=lose(20, ">a", "202")))
    inbox = Inbox(world.callee)
    sent = send(world.caller, X)
    world.run(60)
    assert sent.heard == ["timeout"]
    assert inbox.texts == [HELLO]
    world.finish()


def test_a_trunk_that_is_taken_away_sends_no_more() -> None:
    world = World()
    call = world.caller.dial(X)
    world.run(3)
    world.reconfigure(trunks=TRUNKS[1:])
    sent = send(world.caller, X)
    world.run(1)
    assert sent.heard == ["403"]
    call.hang_up()
    assert sorted(story.ended.reason for story in world.finish()) == ["", "trunk_removed"]


def test_the_rate_of_the_callees_trunk_counts_too() -> None:
    world = World(trunks=(TRUNKS[0], replace(TRUNKS[1], calls_per_second=0.5)))
    inbox = Inbox(world.callee)
    for number in range(2):
        send(world.caller, X, f"{number}")
    world.run(0.5)
    assert inbox.texts == ["0"]
    assert world.real.messages.oldest_ms() == 1_800_000_000_010
    world.run(10)
    assert inbox.texts == ["0", "1"]
    assert world.real.messages.oldest_ms() == 0
    routes = sorted((story.ended.routes for story in world.finish()), key=len)
    assert routes[1][:2] == ("carrier-b:rate", "carrier-b:rate") or routes[1] == ("carrier-b:rate", "carrier-b:200")


def test_a_trunk_whose_name_has_no_address_is_passed_over() -> None:
    trunks = (TRUNKS[0], replace(TRUNKS[1], peers=(Peer("sip.example.net", 5060),)), TRUNKS[2])
    world = World(trunks=trunks)
    second = Inbox(world.second)
    send(world.caller, X)
    world.run(1)
    assert second.texts == [HELLO]
    ((_, _, ended),) = world.finish()
    assert ended.routes == ("carrier-b:dns", "carrier-c:200")


# the end of the process


@pytest.mark.parametrize("stage", ["deciding", "storing"])
def test_what_is_not_accepted_yet_is_refused_when_the_process_ends(stage: str) -> None:
    world = World()
    if stage == "deciding":
        world.switch.held = True
    else:
        world.switch.shelf.delay = None
    sent = send(world.caller, X)
    world.run(0.1)
    assert [each.state for each in world.real.messages.live()] == [stage]
    assert world.real.messages.under_way == 1
    world.switch.enter(world.real.release_all)
    world.run(1)
    assert sent.heard == ["503"]
    ((_, _, ended),) = world.finish()
    assert ended.reason == "shutdown"


def test_what_is_under_way_when_the_process_ends_stays_marked_so() -> None:
    world = World(Conditions(drop=lose(99, ">b", "MESSAGE")))
    Inbox(world.callee)
    send(world.caller, X)
    world.run(1)
    world.switch.enter(world.real.release_all)
    (kept,) = world.switch.shelf.kept.values()
    assert kept.state is Stored.SENDING
    world.network.run_out()
    assert {name: size for name, size in world.real.tables().items() if size} == {}
    world.finished = True


def test_an_answer_that_would_tell_a_number_is_a_bare_500(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("b2bua.call.short_message.cause_line", lambda q850, text: "X-Callee: 13925814703")
    world = message_world(content=ContentPolicy(("刷单",)))
    sent = send(world.caller, X, "刷单")
    world.run(1)
    assert sent.heard == ["500"]
    assert sent.answer is not None
    assert sent.answer.get("x-callee") is None
    world.network.run_out()
    world.finished = True
    assert world.tripped == 1


def test_an_answer_after_the_end_of_the_message_changes_nothing() -> None:
    world = World()
    world.switch.held = True
    sent = send(world.caller, X)
    world.run(5)
    assert sent.heard == ["503"]
    (query,) = world.switch.waiting
    assert world.real.record_of(query) == ""
    world.switch.release()
    world.switch.enter(lambda now: world.real.on_disk([("nobody", True)], now))
    assert len(world.finish()) == 1


# large ones


LONG = "长" * 400


def large_world(**more: object) -> World:
    """Carrier B takes large requests over TCP."""
    trunks = (TRUNKS[0], replace(TRUNKS[1], large_over_tcp=True))
    world = World(trunks=trunks, **more)  # type: ignore[arg-type]
    world.real.listeners.advertised["tcp"] = "192.0.2.1:5060"
    world.real.listeners._table["TCP", False] = "tcp"
    return world


def test_a_large_text_goes_over_tcp() -> None:
    world = large_world()
    inbox = Inbox(world.callee)
    sent = send(world.caller, X, LONG)
    world.run(1)
    assert sent.heard == ["202"]
    assert inbox.texts == [LONG]
    assert inbox.requests[0].via.transport == "TCP"
    world.finish()


def test_a_large_text_is_not_tried_over_udp_when_tcp_is_refused() -> None:
    world = large_world(settings={"messages": MessageSettings(longest_seconds=20.0)})
    inbox = Inbox(world.callee)
    real, flow = world.real, Flow("TCP", "tcp", ADDRESS_B)

    def refuse(datagram: Datagram) -> bool:
        if datagram.way != ">b":
            return False
        world.network.later(0.0, lambda: world.switch.enter(lambda now: real.undelivered(datagram.data, flow, now)))
        return True

    world.network.conditions.drop = refuse
    send(world.caller, X, LONG)
    world.run(60)
    assert inbox.requests == []
    ((_, _, ended),) = world.finish()
    assert (ended.outcome, ended.routes[0], ended.routes[-1]) == ("expired", "carrier-b:unreachable", "carrier-b:large")
    assert len(world.network.toward("b")) == 1


def test_a_trunk_that_lost_its_transport_for_large_ones_is_passed_over() -> None:
    world = large_world(settings={"messages": MessageSettings(longest_seconds=20.0)})
    world.switch.shelf.delay = 1.0
    Inbox(world.callee)
    sent = send(world.caller, X, LONG)
    world.run(0.5)
    world.reconfigure(trunks=TRUNKS[:2])
    world.run(60)
    assert sent.heard == ["202"]
    assert world.network.toward("b") == []
    ((_, _, ended),) = world.finish()
    assert (ended.outcome, ended.routes[0]) == ("expired", "carrier-b:large")


# who we are at the callee's trunk


@pytest.mark.parametrize("status", [401, 407])
def test_a_challenge_is_answered(status: int) -> None:
    world = DigestWorld(server=False, client=True)
    world.callee.gates = (Gate(status=status),)
    inbox = Inbox(world.callee)
    for number in range(2):
        send(world.caller, X, f"{number}")
        world.run(1)
    assert inbox.texts == ["0", "1"]
    assert world.callee.gates[0].words == ["MESSAGE nothing", "MESSAGE right", "MESSAGE right"]
    assert {story.ended.outcome for story in world.finish()} == {"delivered"}


def test_a_password_that_is_wrong_is_the_end_of_it() -> None:
    world = DigestWorld(server=False, client=True)
    world.callee.gates = (Gate(password="another"),)
    Inbox(world.callee)
    send(world.caller, X)
    world.run(5)
    ((_, _, ended),) = world.finish()
    assert (ended.outcome, ended.status) == ("rejected", 500)


def test_a_challenge_without_a_name_of_ours_is_an_answer() -> None:
    world = World()
    Inbox(world.callee, [401])
    send(world.caller, X)
    world.run(5)
    ((_, _, ended),) = world.finish()
    assert (ended.outcome, ended.routes) == ("rejected", ("carrier-b:401",))


def test_a_503_with_a_time_parks_its_target() -> None:
    world = World(trunks=TRUNKS[:2])
    Inbox(world.callee, [503, 200], "Retry-After: 20")
    send(world.caller, X)
    world.run(1)
    assert [view.state for view in world.real.trunk_view(world.switch.now) if view.trunk == "carrier-b"] == ["parked"]
    world.run(60)
    ((_, _, ended),) = world.finish()
    assert ended.outcome == "delivered"
