"""The rest of the fifteen places of test_where_others_break_within_calls.py: what goes wrong around a call, from its
route to its record, its limits and the end of the node."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from b2bua.sip.message import Request, Response
from b2bua.sip.parser import parse
from cdr import record
from routing.binding import Binding
from routing.numbers import NumberForm
from routing.plan import BlockState
from routing.trunks import Peer
from tests.call import test_probing as probing
from tests.call.phone import PhoneCall, Stage, answer_after, refuse_with
from tests.call.scenes import ALPHA, BRAVO, CHARLIE, HERE, PAI, result, sent, up
from tests.call.test_requests import Caller
from tests.call.world import ADDRESS_A, ADDRESS_B, ADDRESS_C, BINDING, TRUNKS, World, X
from tests.wire import START_MS, SWITCH, Conditions, answer_text, request_text

# 9: hops that begin anew, 700 calls 700


def test_point_09_hops_go_down_and_end() -> None:
    world = World()
    phone = world.script(ADDRESS_A)
    for hops in (70, 2, 1, 0):
        text = request_text("INVITE", f"sip:{X}@{SWITCH[0]}", ADDRESS_A, number="13876543210", lines=(PAI,))
        phone.send(text.replace("Max-Forwards: 70", f"Max-Forwards: {hops}"))
        world.run(0.1)
    assert phone.words.count("483") == 1
    assert [each.message.first["max-forwards"] for each in sent(world, ">b", "INVITE")] == ["69", "1", "0"]
    world.switch.enter(world.real.release_all)
    told = world.finish(agree=False)
    assert [story.ended.reason for story in told][3:] == ["max_forwards"]


def test_point_09_a_call_that_comes_back_is_a_loop() -> None:
    """The callee's carrier sends the call back to the middle number that it shows: 482, once, and not in a circle."""
    world = World(trunks=(ALPHA, BRAVO))
    carrier = world.script(ADDRESS_B)

    def react(data: bytes) -> None:
        message = parse(data)
        if isinstance(message, Request) and message.method == "INVITE":
            shown = f"P-Asserted-Identity: {message.first['p-asserted-identity']}"
            text = request_text("INVITE", f"sip:{X}@{SWITCH[0]}", ADDRESS_B, number=X, call_id="back", lines=(shown,))
            carrier.send(text.replace("Max-Forwards: 70", f"Max-Forwards: {message.first['max-forwards']}"))
        elif isinstance(message, Response) and message.status == 482:
            carrier.send(answer_text(carrier.last("INVITE"), 482, ADDRESS_B))

    carrier.react = react
    call = world.caller.dial(X)
    told = world.finish(agree=False)
    assert call.statuses == [100, 482]
    assert len({each.data for each in sent(world, ">b", "INVITE")}) == 1
    assert [(story.ended.outcome, story.ended.reason) for story in told] == [("rejected", ""), ("refused", "loop")]


@pytest.mark.parametrize("side", ["caller", "callee"])
def test_point_09_a_middle_number_never_calls_a_middle_number(side: str) -> None:
    """Neither as who calls, nor because a binding names one as its party."""
    other = "700123456780002"
    world = World()
    if side == "callee":
        world.bindings = [replace(BINDING, b=other)]
    call = world.caller.dial(X, identity=f"<sip:{other}@192.0.2.10>" if side == "caller" else None)
    (story,) = world.finish()
    assert (call.statuses[-1], story.ended.reason) == (482, "loop")
    assert world.network.toward("b") == []


# 10: the identity of one leg on another


TELLING = (
    "Contact: <sip:13925814703@192.0.2.20>",
    "P-Asserted-Identity: <sip:13925814703@192.0.2.20>",
    'Warning: 399 bravo-host "13925814703 is away"',
    'Reason: Q.850;cause=41;text="13925814703"',
    "Server: bravo-host",
    "Error-Info: <sip:13925814703@192.0.2.20>",
)


def test_point_10_a_failover_takes_nothing_of_the_first_route_along() -> None:
    trunks = (ALPHA, BRAVO, replace(CHARLIE, number_form=NumberForm.E164))
    world = World(trunks=trunks)
    world.callee.on_call = refuse_with(503, *TELLING)
    call = world.caller.dial(X)
    call.on("200", call.hang_up)
    assert result(world) == ("answered", 200, "caller")
    (first,) = (each for each in sent(world, ">b", "INVITE") if each.target == ADDRESS_B)
    (second,) = (each for each in sent(world, ">b", "INVITE") if each.target == ADDRESS_C)
    tokens = (first.message.call_id, first.message.from_tag, first.message.via.branch, ADDRESS_B[0], "bravo",
              world.callee.call.local_tag, sent(world, "a>", "INVITE")[0].message.call_id)  # fmt: skip
    assert not [token for token in tokens if token.encode() in second.data]
    assert f"sip:+86{X}@".encode() in second.data  # as that trunk writes numbers
    assert b"sip:+8613925814703@192.0.2.30" in second.data.split(b"\r\n")[0]
    assert not any(b"bravo" in each.data for each in world.network.toward("a"))


@pytest.mark.parametrize(("status", "told"), [(486, 486), (404, 404), (302, 480), (503, 500), (603, 603)])
def test_point_10_a_failure_tells_nothing_of_the_callee(status: int, told: int) -> None:
    world = World(trunks=(ALPHA, BRAVO))
    world.callee.on_call = refuse_with(status, *TELLING, ring=0.1)
    call = world.caller.dial(X)
    (story,) = world.finish()
    assert (call.statuses[-1], story.ended.status) == (told, told)
    assert call.responses[-1].first.keys() <= {
        "via", "from", "to", "call-id", "cseq", "reason", "server", "content-length",
    }  # fmt: skip
    assert not any(b"bravo" in each.data or b"away" in each.data for each in world.network.toward("a"))


# 11: 503 upstream, 503 to OPTIONS, routes that stay up or down for ever


@pytest.mark.parametrize("routes", [1, 2])
def test_point_11_a_503_is_not_relayed_upstream(routes: int) -> None:
    world = World(trunks=TRUNKS[: 1 + routes])
    world.callee.on_call = world.second.on_call = refuse_with(503)
    call = world.caller.dial(X)
    assert result(world) == ("failed", 500, "callee")
    assert call.statuses == [100, 500]
    assert "retry-after" not in call.responses[-1].first


def test_point_11_a_target_that_answers_options_with_503_is_down_until_it_says_better() -> None:
    world = probing.probing()
    far = probing.Far(world, 503)
    world.second.on_call = refuse_with(480)
    states = []
    for status in (503, 200, 0, 200):
        far.status = status
        world.run(5 * probing.EVERY)
        states.append(probing.view(world).state)
        world.caller.dial(X)
        world.run(1.0)
        if status == 200:
            far.script.send(answer_text(far.script.last("INVITE"), 486, ADDRESS_B))
            world.run(1.0)
    assert states == ["down", "up", "down", "up"]
    far.script.react = None
    world.switch.enter(world.real.drain)
    told = world.finish(answers=False)
    assert {story.ended.egress for story in told} == {"carrier-b", "carrier-c"}
    assert [story.ended.egress for story in told][::2] == ["carrier-c", "carrier-c"]


def test_point_11_a_route_is_neither_stuck_down_nor_up() -> None:
    """Left alone for as long as its 503 asks, then tried again; five silent calls in a row say what no 503 says; and
    when nothing else is left a parked route is better than none."""
    world = World(trunks=(ALPHA, BRAVO))
    world.callee.on_call = refuse_with(503, "Retry-After: 9")
    world.caller.dial(X)
    world.run(2.0)
    assert world.real.down(world.switch.now) == {"carrier-b"}
    world.callee.on_call = answer_after(1.0)
    call = world.caller.dial(X)  # the only one that there is
    call.on("200", call.hang_up)
    world.run(10.0)
    assert world.real.down(world.switch.now) == frozenset()
    world.callee.on_call = lambda call: None
    for _ in range(5):
        world.caller.dial(X)
        world.run(8.0)
    assert world.real.down(world.switch.now) == {"carrier-b"}
    world.run(60.0)
    assert world.real.down(world.switch.now) == frozenset()
    told = world.finish(agree=False)
    assert [story.ended.status for story in told] == [500, 200, *[504] * 5]


# 12: bindings that end under a call, both parties dial


def expired(world: World) -> None:
    world.bindings = [replace(BINDING, expires_ms=world.switch.now.utc_ms)]


def unbound(world: World) -> None:
    world.bindings = [replace(BINDING, ended_ms=world.switch.now.utc_ms)]


def given_to_others(world: World) -> None:
    world.bindings = [replace(BINDING, id="binding-2", a="+8613811112222", b="+8613933334444")]


def frozen(world: World) -> None:
    world.blocks = [replace(world.blocks[0], state=BlockState.FROZEN)]


@pytest.mark.parametrize("at", [2.0, 8.0], ids=["while ringing", "while up"])
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (expired, "binding_expired"),
        (unbound, "binding_ended"),
        (given_to_others, "caller_unbound"),
        (frozen, "block_inactive"),
    ],
)
def test_point_12_the_binding_ends_under_a_call(change: Callable[[World], None], reason: str, at: float) -> None:
    """What is under way goes on; the next call is refused, from either party."""
    world = World()
    world.callee.on_call = answer_after(4.0)
    call = world.caller.dial(X)
    world.run(at)
    change(world)
    again, back = world.caller.dial(X), world.callee.dial(X)
    world.run(10.0)
    assert call.stage is Stage.UP
    call.hold()
    world.run(1.0)
    call.hang_up()
    first, second, third = world.finish()
    assert (first.ended.outcome, first.ended.ended_by, first.ended.reason) == ("answered", "caller", "")
    assert (again.statuses, back.statuses) == ([100, 403], [100, 403])
    assert (second.ended.reason, third.ended.reason) == (reason, reason)


@pytest.mark.parametrize("taken", [True, False], ids=["both answer", "both are engaged"])
def test_point_12_both_dial_at_the_same_moment(taken: bool) -> None:
    world = World(Conditions(latency=0.1))
    world.caller.on_call = world.callee.on_call = answer_after(1.0) if taken else refuse_with(486)
    calls = [world.caller.dial(X), world.callee.dial(X)]
    for call in calls:
        call.on("200", call.hang_up, after=2.0)
    told = world.finish()
    assert [call.statuses[-1] for call in calls] == ([200, 200] if taken else [486, 486])
    assert [(story.attempted.calling, str(story.ended.outcome)) for story in told] == [
        ("a", "answered" if taken else "busy"),
        ("b", "answered" if taken else "busy"),
    ]


# 13: records lost, tables that never empty


def test_point_13_a_failover_has_one_record_with_all_its_routes() -> None:
    world = World(trunks=(ALPHA, replace(BRAVO, peers=(Peer("192.0.2.99", 5060), Peer(*ADDRESS_B))), CHARLIE))
    world.callee.on_call = refuse_with(502)
    call = world.caller.dial(X)
    call.on("200", call.hang_up)
    (story,) = world.finish()
    assert sorted(story.ended.routes[:-1]) == ["carrier-b:502", "carrier-b:no_reply"]
    assert (story.ended.routes[-1], story.ended.egress) == ("carrier-c:200", "carrier-c")


def test_point_13_a_disk_that_fails_loses_no_record_and_no_call() -> None:
    """What is up goes on; what cannot be written does not begin, and is refused by a record all the same."""
    world, call, _ = up()
    world.switch.disk = lambda records: not any(isinstance(each, record.Attempted) for each in records)
    refused = world.caller.dial(X)
    world.run(1.0)
    assert (refused.statuses, call.stage) == ([100, 503], Stage.UP)
    world.switch.disk = lambda records: True
    again = world.caller.dial(X)
    again.on("200", again.hang_up)
    world.run(5.0)
    call.hang_up()
    told = world.finish()
    assert [story.ended.reason for story in told] == ["", "journal_failed", ""]
    assert [story.ended.outcome for story in told] == ["answered", "failed", "answered"]


def test_point_13_a_full_queue_of_records_takes_no_call_that_would_have_none() -> None:
    """Room is kept for the ends of the calls that are up: the next call is only counted, until the disk is back."""
    world, call, _ = up()
    world.real.journal_failure, world.real.journal_tight = "no space left on device", True
    refused = world.caller.dial(X)
    world.run(1.0)
    assert refused.statuses == [503]
    assert refused.responses[-1].get("retry-after") == "30"
    call.hang_up()
    world.run(1.0)
    world.real.journal_failure, world.real.journal_tight = "", False
    again = world.caller.dial(X)
    again.on("200", again.hang_up)
    told = world.finish(refusals=1)
    assert [story.ended.outcome for story in told] == ["answered", "answered"]


def test_point_13_after_a_day_of_everything_every_table_is_empty() -> None:
    """And while it goes on none of them holds what is over."""
    world = World(Conditions(latency=0.02, loss=0.1, seed=13))
    scenes: tuple[Callable[[PhoneCall], None], ...] = (
        answer_after(1.0),
        refuse_with(486, ring=0.1),
        refuse_with(503),
        lambda call: call.ring(),
        lambda call: None,
    )
    for index in range(40):
        world.callee.on_call = scenes[index % 5]
        call = world.caller.dial(X if index % 7 else "700123456780000")
        if index % 3 == 0:
            world.network.later(2.0, call.hang_up)
        call.on("200", call.hang_up, after=5.0)
        world.run(30.0)
        assert world.real.tables()["calls"] <= 3  # those that still ring, a minute long
    told = world.finish(agree=False)
    assert len(told) == 40
    assert {str(story.ended.outcome) for story in told} >= {"answered", "busy", "cancelled", "refused"}


# 14: unusual requests


UNUSUAL = (
    "X-Unknown: 1",
    "Unheard-Of;",
    "Subject:",
    "P-Charging-Vector: icid-value=1234bc9876e;icid-generated-at=192.6.6.8",
    "Accept-Language: x-klingon;q=0.3, *;q=0.1",
    "Priority: emergency",
    "Organization: \xe9toile",
)


@pytest.mark.parametrize("in_call", [True, False], ids=["in a call", "out of a call"])
def test_point_14_every_request_gets_a_final_answer(in_call: bool) -> None:
    methods = ("OPTIONS", "INFO", "MESSAGE", "REFER", "SUBSCRIBE", "NOTIFY", "PUBLISH", "REGISTER", "PRACK", "UPDATE",
               "FOO", "invite", "BYE-BYE")  # fmt: skip
    lines = tuple(line for line in UNUSUAL if line != "Unheard-Of;")
    if in_call:
        caller = Caller()
        answers = {method: caller.ask(method, 2 + index, lines=lines) for index, method in enumerate(methods)}
        caller.finish()
    else:
        world = World()
        phone = world.script(ADDRESS_A)
        answers = {}
        for method in methods:
            before = len(phone.words)
            phone.send(request_text(method, HERE, ADDRESS_A, lines=lines))
            world.run(0.1)
            answers[method] = phone.words[before:]
        (refused,) = world.finish()
        assert (refused.attempted.kind, refused.ended.outcome) == ("message", "refused")
    assert {method: len(words) for method, words in answers.items()} == dict.fromkeys(methods, 1)
    assert all(int(words[-1]) >= 200 for words in answers.values()), answers
    assert answers["OPTIONS"] == ["200"]
    assert answers["FOO"] == ["501"]


def test_point_14_an_unknown_header_is_never_fatal() -> None:
    """Nor any other way to write a valid INVITE; and none of it reaches the other side."""
    world = World()
    compact = {b"Via: ": b"v : ", b"From: ": b"f:   ", b"To: ": b"TO\t: ", b"Call-ID: ": b"i:", b"Contact: ": b"m: ",
               b"Content-Type: ": b"c: ", b"Content-Length: ": b"l: "}  # fmt: skip
    unusual = tuple(line for line in UNUSUAL if ":" in line)

    def disguise(data: bytes) -> bytes:
        if not data.startswith((b"INVITE", b"BYE", b"ACK")):
            return data
        for name, other in compact.items():
            data = data.replace(b"\r\n" + name, b"\r\n" + other)
        return data.replace(b"\r\nMax-Forwards", b"\r\nX-Folded: one\r\n  two\r\n\tthree\r\nMax-Forwards")

    world.caller.disguise = disguise
    call = world.caller.dial(X, *unusual, uri=f"sip:{X};phone-context=+86@{SWITCH[0]}:{SWITCH[1]};x=%20;lr?Subject=a")
    call.on("200", call.hang_up)
    assert result(world) == ("answered", 200, "caller")
    (invite,) = sent(world, ">b", "INVITE")
    assert not {line.partition(":")[0].lower() for line in unusual} & invite.message.first.keys()
    assert b"folded" not in invite.data.lower()


# 15: drain and reload


def test_point_15_a_drain_leaves_no_side_door_open() -> None:
    """New calls, whatever door they come by, are refused; those that are there go on in every way."""
    world, call, other = up()
    world.callee.on_call = answer_after(4.0)
    ringing = world.caller.dial(X)
    world.run(1.0)
    world.switch.enter(world.real.drain)
    world.reconfigure(max_calls=7)  # nor does a reload open it again
    stranger = world.script(ADDRESS_C)
    for method in ("OPTIONS", "MESSAGE"):
        stranger.send(request_text(method, HERE, ADDRESS_C))
    stranger.send(request_text("INVITE", f"sip:{X}@{SWITCH[0]}", ADDRESS_C, to_value=f"<sip:{X}@h>;tag=guess"))
    refused, back = world.caller.dial(X), world.callee.dial(X)
    world.run(1.0)
    assert sorted(set(stranger.words)) == ["481", "503"]
    assert stranger.words.count("503") == 2
    assert (refused.statuses, back.statuses) == ([503], [503])
    call.hold()
    world.run(1.0)
    other.info()
    world.run(5.0)
    assert (call.statuses[-1], other.heard[-1], ringing.stage) == (200, "INFO 200", Stage.UP)
    call.hang_up()
    ringing.hang_up()
    told = world.finish(agree=False)
    assert sorted(story.ended.reason for story in told) == ["", "", "draining", "draining", "draining"]
    assert len(world.callee.calls) == 3  # two that it was called by, and its own that was refused


@pytest.mark.parametrize("ending", ["caller", "callee"])
def test_point_15_a_reload_keeps_nothing_stale_and_drops_no_call(ending: str) -> None:
    world, call, other = up()
    elsewhere = replace(BRAVO, peers=(Peer(*ADDRESS_C),))
    world.reconfigure(trunks=(ALPHA, elsewhere), max_calls=2)
    second = world.caller.dial(X)  # goes where the trunk is now
    world.run(2.0)
    third = world.caller.dial(X)  # and the new limit holds
    world.run(1.0)
    world.reconfigure(trunks=(elsewhere,))
    fourth = world.caller.dial(X)  # and a trunk that is gone is gone
    world.run(1.0)
    assert (second.stage, third.statuses, fourth.statuses) == (Stage.UP, [503], [403])
    assert (len(world.callee.calls), len(world.second.calls)) == (1, 1)
    call.hold()
    world.run(1.0)
    other.info()
    world.run(1.0)
    assert (call.statuses[-1], other.heard[-1]) == (200, "INFO 200")
    (call if ending == "caller" else other).hang_up()
    second.hang_up()
    told = world.finish()
    assert [(story.ended.reason, story.ended.egress) for story in told] == [
        ("", "carrier-b"),
        ("", "carrier-b"),
        ("total_limit", ""),
        ("trunk_removed", ""),
    ]
    assert told[0].ended.ended_by == ending


def test_point_15_a_binding_that_changes_is_not_remembered() -> None:
    """Two calls one after the other over one number reach two parties."""
    world = World()
    parties: list[Binding] = [BINDING, replace(BINDING, id="binding-2", b="+8613900000009")]
    for binding in parties:
        world.bindings = [binding]
        call = world.caller.dial(X)
        call.on("200", call.hang_up)
        world.run(5.0)
    told = world.finish()
    assert [story.attempted.callee for story in told] == [binding.b for binding in parties]
    assert [story.attempted.binding_id for story in told] == ["binding-1", "binding-2"]
    assert all(story.ended.ended_ms > START_MS for story in told)
