"""Every reason to refuse a call: status, Reason header and record, by one table."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from b2bua.call.refusals import REFUSALS, Local, Outcome, verdict_of
from b2bua.sip.serialiser import PHRASES
from routing.binding import Direction
from routing.content import Finding
from routing.decide import Reason, Refusal
from routing.plan import BlockState
from tests.call.phone import PhoneCall
from tests.call.policies import AFTER_ONE, AT_ONCE, second_under, under
from tests.call.world import BINDING, NUMBER_A, TRUNKS, World, X
from tests.wire import START_MS


def rewritten(old: str, new: str) -> Callable[[World], PhoneCall]:
    """A call whose INVITE is another on the wire."""

    def dial(world: World) -> PhoneCall:
        def disguise(data: bytes) -> bytes:
            return data.replace(old.encode(), new.encode(), 1) if data.startswith(b"INVITE") else data

        world.caller.disguise = disguise
        return world.caller.dial(X)

    return dial


def dialled(number: str, *lines: str, **given: Any) -> Callable[[World], PhoneCall]:
    return lambda world: world.caller.dial(number, *lines, **given)


def bound(**changes: Any) -> Callable[[World], PhoneCall]:
    """A call under a binding that differs from the usual one."""

    def dial(world: World) -> PhoneCall:
        world.bindings = [replace(BINDING, **changes)]
        return world.caller.dial(X)

    return dial


def block(state: BlockState) -> Callable[[World], PhoneCall]:
    def dial(world: World) -> PhoneCall:
        world.blocks = [replace(world.blocks[0], state=state)]
        return world.caller.dial(X)

    return dial


def draining(world: World) -> PhoneCall:
    world.switch.enter(world.real.drain)
    return world.caller.dial(X)


def journal_failed(world: World) -> PhoneCall:
    world.real.journal_failure = "no space left on device"
    return world.caller.dial(X)


def store_fails(world: World) -> PhoneCall:
    world.store_fails = True
    return world.caller.dial(X)


def undecided(world: World) -> PhoneCall:
    world.switch.held = True
    return world.caller.dial(X)


def hook_says(reason: Reason) -> Callable[[World], PhoneCall]:
    """The shell has asked the verification hook (R20), and this is what came of it."""

    def dial(world: World) -> PhoneCall:
        world.switch.decide = lambda query: Refusal(reason, world.a, X, world.bindings[0])
        return world.caller.dial(X)

    return dial


def trunk_removed(world: World) -> PhoneCall:
    """While a call from there is up."""
    world.callee.on_call = lambda call: call.accept()
    first = world.caller.dial(X)
    world.run(0.5)
    world.reconfigure(trunks=TRUNKS[1:])
    world.network.later(1.0, first.hang_up)
    return world.caller.dial(X)


def second_call(world: World) -> PhoneCall:
    """While another one is up."""
    world.callee.on_call = lambda call: call.accept()
    first = world.caller.dial(X)
    world.run(0.5)
    world.network.later(1.0, first.hang_up)
    return world.caller.dial(X)


def merged(world: World) -> PhoneCall:
    """The same INVITE over two ways."""
    world.callee.on_call = lambda call: call.accept()
    first = world.caller.dial(X)
    world.run(0.05)
    wire = next(d.data for d in world.network.log if d.word == "INVITE")
    world.network.send(world.caller.address, ("192.0.2.1", 5060), wire.replace(b"z9hG4bK", b"z9hG4bKother"))
    world.network.later(1.0, first.hang_up)
    return first


class Row:
    """``cause`` is Q.850. ``dial`` makes the call that is refused."""

    def __init__(
        self,
        status: int,
        cause: int,
        dial: Callable[[World], PhoneCall],
        retry_after: str | None = None,
        **world: Any,
    ) -> None:
        self.status = status
        self.cause = cause
        self.dial = dial
        self.retry_after = retry_after
        self.world = world


LIMITED: dict[str, Any] = {"trunks": (replace(TRUNKS[0], max_calls=1), *TRUNKS[1:])}
SLOW: dict[str, Any] = {"trunks": (replace(TRUNKS[0], calls_per_second=0.5), *TRUNKS[1:])}
ELSEWHERE: dict[str, Any] = {"trunks": TRUNKS[:1]}

TABLE: list[tuple[str, Row]] = [
    (Reason.NUMBER_MALFORMED, Row(404, 1, dialled("12345"))),
    (Reason.NUMBER_MALFORMED, Row(404, 1, dialled("", uri="sip:192.0.2.1"))),
    (Reason.NUMBER_MALFORMED, Row(404, 1, dialled("13700001111"))),
    (Reason.NUMBER_MALFORMED, Row(404, 1, dialled(f"{X}0"))),
    (Reason.BLOCK_UNKNOWN, Row(404, 1, dialled("700999999990001"))),
    (Reason.BLOCK_INACTIVE, Row(403, 21, block(BlockState.ALLOCATED))),
    (Reason.BLOCK_INACTIVE, Row(403, 21, block(BlockState.FROZEN))),
    (Reason.BLOCK_INACTIVE, Row(403, 21, block(BlockState.RETURNED))),
    (Reason.CALLER_ANONYMOUS, Row(433, 21, dialled(X, identity=""))),
    (Reason.CALLER_ANONYMOUS, Row(433, 21, dialled(X, identity="<sip:anonymous@anonymous.invalid>"))),
    (Reason.CALLER_FOREIGN, Row(403, 21, dialled(X, identity="<tel:+12025550100>"))),
    (Reason.CALLER_FOREIGN, Row(403, 21, dialled(X, identity="<sip:12345@192.0.2.10>"))),
    (Reason.CALLER_UNBOUND, Row(403, 21, dialled(X, identity="<tel:+8615000000000>"))),
    (Reason.CALLER_UNBOUND, Row(403, 21, dialled("700123456780000"))),
    (Reason.BINDING_NOT_STARTED, Row(403, 21, bound(starts_ms=START_MS + 60_000))),
    (Reason.BINDING_EXPIRED, Row(403, 21, bound(expires_ms=START_MS + 5))),
    (Reason.BINDING_ENDED, Row(403, 21, bound(ended_ms=START_MS - 1))),
    (Reason.DIRECTION_BARRED, Row(403, 21, bound(direction=Direction.B_TO_A))),
    (Reason.LOOP, Row(482, 25, dialled(X, identity="<tel:+86700123456780001>"))),
    (Reason.LOOP, Row(482, 25, bound(b="+86700123456780001"))),
    (Reason.NO_ROUTE, Row(500, 34, dialled(X), **ELSEWHERE)),
    (Reason.STORE_UNAVAILABLE, Row(503, 41, store_fails, "10")),
    (Reason.VERIFICATION_REFUSED, Row(403, 21, hook_says(Reason.VERIFICATION_REFUSED))),
    (Reason.VERIFICATION_FAILED, Row(503, 41, hook_says(Reason.VERIFICATION_FAILED), "10")),
    *((reason, Row(403, 21, under(reason))) for reason in AT_ONCE),
    *((reason, Row(403, 21, second_under(reason))) for reason in AFTER_ONE),
    (Reason.CALLS_USED_UP, Row(403, 21, second_under(Reason.CALLS_USED_UP), binding={"most_calls": 1})),
    (Local.DRAINING, Row(503, 41, draining, "30")),
    (Local.JOURNAL_FAILED, Row(503, 41, journal_failed, "30")),
    (Local.TRUNK_REMOVED, Row(403, 21, trunk_removed)),
    (Local.UNDECIDED, Row(503, 41, undecided, "10")),
    (Local.TOTAL_LIMIT, Row(503, 42, second_call, "5", settings={"max_calls": 1})),
    (Local.TRUNK_LIMIT, Row(503, 42, second_call, "5", **LIMITED)),
    (Local.CALL_RATE, Row(503, 42, second_call, "1", settings={"calls_per_second": 0.5})),
    (Local.CALL_RATE, Row(503, 42, second_call, "1", **SLOW)),
    (Local.MAX_FORWARDS, Row(483, 25, rewritten("Max-Forwards: 70", "Max-Forwards: 0"))),
    (Local.MERGED, Row(482, 25, merged)),
    (Local.BAD_REQUEST, Row(400, 111, rewritten("Max-Forwards: 70", "Max-Forwards: many"))),
    (Local.BAD_REQUEST, Row(400, 111, rewritten("Max-Forwards: 70", "Max-Forwards: -1"))),
    (Local.BAD_REQUEST, Row(400, 111, rewritten("Max-Forwards: 70", "Max-Forwards: 7000"))),
    (Local.BAD_REQUEST, Row(400, 111, rewritten("Contact:", "X-Contact:"))),
    (Local.BAD_REQUEST, Row(400, 111, rewritten("Contact: <", "Contact: <<"))),
    (Local.BAD_REQUEST, Row(400, 111, rewritten("User-Agent:", "Record-Route: <sip:x\r\nUser-Agent:"))),
    (Local.BAD_REQUEST, Row(400, 111, rewritten(f"INVITE sip:{X}@192", f"INVITE sip:{X}@@192"))),
    (Local.BAD_REQUEST, Row(400, 111, dialled(X, sdp=b"no description"))),
    (Local.BAD_EXTENSION, Row(420, 127, dialled(X, "Require: 100rel, foo", "Proxy-Require: sec-agree"))),
    (Local.SESSION_INTERVAL, Row(422, 127, dialled(X, "Supported: timer", "Session-Expires: 89"))),
    (Local.BAD_MEDIA_TYPE, Row(415, 79, rewritten("Content-Type: application/sdp", "Content-Type: application/isup"))),
    (Local.BAD_REQUEST, Row(400, 111, rewritten("application/sdp", "multipart/mixed;boundary=x"))),
    (Local.BAD_MEDIA_TYPE, Row(415, 79, rewritten("Content-Type: application/sdp", "X-Type: application/sdp"))),
    (Local.BAD_MEDIA_TYPE, Row(415, 79, rewritten("Content-Length", "Content-Encoding: gzip\r\nContent-Length"))),
    (Local.BAD_SESSION, Row(488, 79, rewritten("RTP/AVP", "RTP/XXX"))),
    (Local.URI_SCHEME, Row(416, 127, rewritten(f"INVITE sip:{X}@192.0.2.1:5060", "INVITE http://192.0.2.1/"))),
]  # fmt: skip
# only messages are refused for these
OF_MESSAGES: set[str] = {
    Reason.MESSAGES_BARRED,
    Local.MESSAGE_TOO_LARGE,
    Local.MESSAGE_QUEUE_FULL,
    Local.MESSAGE_STORE_FAILED,
    Local.MESSAGE_EXPIRED,
    Local.SENDER_MISMATCH,
    Local.DELIVERY_UNKNOWN,
    *Finding,
}
# refused without a record, see test_overload
COUNTED = {Local.OVERLOAD}
# reasons of the switch to end calls, tested where they belong
ENDINGS = {
    Local.TRIPWIRE,
    Local.NO_ACK,
    Local.LONGEST_CALL,
    Local.HUNG_UP,
    Local.SHUTDOWN,
    Local.PEER_LOST,
    Local.BLOCK_ENDED,
    Local.BLOCKED,
} | {Local.NO_PRACK, Local.NO_SESSION, Local.REFRESH_FAILED, Local.SESSION_EXPIRED}


@pytest.mark.parametrize(("reason", "row"), TABLE, ids=[f"{reason}-{index}" for index, (reason, _) in enumerate(TABLE)])
def test_each_refusal_shows_its_status_and_cause_and_is_on_record(reason: str, row: Row) -> None:
    world = World(**row.world)
    row.dial(world)
    told = world.finish()
    refused = told[-1]
    ended = refused.ended
    assert (ended.reason, ended.status, ended.q850) == (reason, row.status, row.cause)
    assert (ended.outcome, ended.ended_by, ended.routes, ended.egress) == (Outcome.REFUSED, "switch", (), "")
    answer = next(d.message for d in world.network.toward("a") if d.word == str(row.status))
    assert answer.get("reason") == f'Q.850;cause={row.cause};text="{verdict_of(reason).text}"'
    assert answer.get("retry-after") == row.retry_after
    assert answer.to_tag
    assert world.real.statistics.refusals["carrier-a", reason] == 1
    assert world.real.statistics.outcomes["carrier-a", Outcome.REFUSED] == 1
    assert len(told) > 1 or world.callee.calls == []
    if reason == Local.BAD_EXTENSION:
        assert answer.get("unsupported") == "foo, sec-agree"
    if reason == Local.BAD_MEDIA_TYPE:
        assert answer.get("accept") == "application/sdp"


def test_every_reason_has_a_row_and_a_test() -> None:
    reasons = {*Reason, *Local, *Finding}
    assert set(REFUSALS) == reasons
    assert {reason for reason, _ in TABLE} | ENDINGS | COUNTED | OF_MESSAGES == reasons


@pytest.mark.parametrize("reason", REFUSALS)
def test_every_row_can_be_sent(reason: str) -> None:
    verdict = REFUSALS[reason]
    assert verdict.status in PHRASES
    assert 400 <= verdict.status <= 699
    assert 1 <= verdict.q850 <= 127
    assert verdict.text.isascii()
    assert not any(character.isdigit() or character in '"\\\r\n' for character in verdict.text)
    assert (verdict.status == 503) == bool(verdict.retry_after)
    assert str(reason).islower()


def test_no_two_reasons_share_a_text() -> None:
    texts = [verdict.text for verdict in REFUSALS.values()]
    assert len(set(texts)) == len(texts)


@pytest.mark.parametrize(
    ("dial", "binding_id", "callee", "calling"),
    [
        (bound(ended_ms=1), "binding-1", BINDING.b, "a"),
        (dialled(X, identity="<tel:+8615000000000>"), "", "", ""),
    ],
)
def test_a_refused_attempt_names_the_binding_where_there_is_one(
    dial: Callable[[World], PhoneCall], binding_id: str, callee: str, calling: str
) -> None:
    world = World()
    dial(world)
    (story,) = world.finish()
    attempted = story.attempted
    assert (attempted.binding_id, attempted.callee, attempted.calling) == (binding_id, callee, calling)
    assert attempted.x == X


def test_a_refused_call_from_b_names_its_parties() -> None:
    world = World(binding={"direction": Direction.A_TO_B})
    world.callee.dial(X)
    (story,) = world.finish()
    assert (story.attempted.calling, story.attempted.callee) == ("b", NUMBER_A)
    assert story.ended.reason == Reason.DIRECTION_BARRED
