"""The callee's side says no: what the caller is told, and what the record says."""

from typing import Any

import pytest

from b2bua.call.refusals import FAILOVER, Outcome, cause_of, outcome_of, relayed_status
from b2bua.sip.parser import parse
from b2bua.sip.serialiser import phrase_of
from tests.call.phone import refuse_with
from tests.call.world import ADDRESS_B, TRUNKS, World, X
from tests.wire import Conditions, Script, answer_text, lose

BUSY, REJECTED, FAILED, NO_ANSWER = Outcome.BUSY, Outcome.REJECTED, Outcome.FAILED, Outcome.NO_ANSWER

# (callee's status, caller's status, Q.850 cause, outcome). Causes: RFC 3398 §7.2.4.1.
TABLE = [
    (300, 480, 31, REJECTED),
    (302, 480, 31, REJECTED),
    (380, 480, 31, REJECTED),
    (400, 500, 41, REJECTED),  # what it says of our request is not the caller's matter
    (401, 500, 21, REJECTED),
    (402, 500, 21, REJECTED),
    (403, 403, 21, REJECTED),
    (404, 404, 1, REJECTED),
    (405, 500, 63, REJECTED),
    (406, 406, 79, REJECTED),
    (407, 500, 21, REJECTED),
    (410, 410, 22, REJECTED),
    (413, 413, 127, REJECTED),
    (414, 500, 127, REJECTED),
    (415, 415, 79, REJECTED),
    (416, 500, 127, REJECTED),
    (420, 500, 127, REJECTED),
    (421, 500, 127, REJECTED),
    (422, 500, 31, REJECTED),
    (428, 500, 31, REJECTED),
    (433, 500, 21, REJECTED),
    (480, 480, 18, REJECTED),
    (481, 500, 41, REJECTED),
    (482, 482, 25, REJECTED),
    (483, 483, 25, REJECTED),
    (484, 484, 28, REJECTED),
    (485, 485, 1, REJECTED),
    (486, 486, 17, BUSY),
    (487, 480, 16, REJECTED),
    (488, 488, 79, REJECTED),
    (491, 500, 31, REJECTED),
    (493, 493, 31, REJECTED),
    (499, 500, 31, REJECTED),
    (501, 500, 79, FAILED),
    (505, 500, 127, FAILED),
    (513, 500, 127, FAILED),
    (580, 580, 47, FAILED),
    (599, 500, 31, FAILED),
    (600, 600, 17, BUSY),
    (603, 603, 21, REJECTED),
    (604, 604, 1, REJECTED),
    (606, 606, 79, REJECTED),
    (607, 500, 31, REJECTED),
    (699, 500, 31, REJECTED),
    # failures of the route, with no further one to try
    (408, 408, 102, FAILED),
    (430, 500, 31, FAILED),
    (500, 500, 41, FAILED),
    (502, 502, 38, FAILED),
    (503, 500, 41, FAILED),  # ours alone to say: the caller's proxy would give us up
    (504, 504, 102, FAILED),
]


@pytest.mark.parametrize(("said", "told", "cause", "outcome"), TABLE, ids=[str(row[0]) for row in TABLE])
def test_each_status_is_told_in_its_way(said: int, told: int, cause: int, outcome: Outcome) -> None:
    world = World(trunks=TRUNKS[:2])
    world.callee.on_call = refuse_with(said, "Contact: <sip:13925814703@192.0.2.20>", 'Warning: 399 host "text"')
    call = world.caller.dial(X)
    (story,) = world.finish()
    assert call.heard == ["100", str(told)]
    answer = call.responses[-1]
    assert answer.first.keys() == {"via", "from", "to", "call-id", "cseq", "reason", "server", "content-length"}
    assert answer.get("reason") == f"Q.850;cause={cause}"
    wire = next(datagram.data for datagram in world.network.toward("a") if datagram.word == str(told))
    assert wire.startswith(f"SIP/2.0 {told} {phrase_of(told)}\r\n".encode())
    ended = story.ended
    assert (ended.status, ended.q850, ended.outcome, ended.ended_by, ended.reason) == (
        told,
        cause,
        outcome,
        "callee",
        "",
    )
    assert (ended.egress, ended.routes) == ("carrier-b", (f"carrier-b:{said}",))
    assert ended.egress_call_id == world.callee.call.call_id


@pytest.mark.parametrize("status", range(300, 700))
def test_every_status_has_a_meaning(status: int) -> None:
    assert 400 <= relayed_status(status) <= 699
    assert relayed_status(status) not in (401, 407, 420, 422, 481, 487, 491, 503)
    assert 1 <= cause_of(status) <= 127
    assert outcome_of(status) in (BUSY, REJECTED, FAILED)
    assert (status in FAILOVER) <= (outcome_of(status) is FAILED)


@pytest.mark.parametrize(
    ("reason", "cause"),
    [
        ("Q.850;cause=17", 17),
        ('SIP;cause=486;text="Busy", Q.850 ; cause=34 ; text="no circuit"', 34),
        ("Q.850;cause=0", 17),
        ("Q.850;cause=200", 17),
        ("Q.850;cause=x", 17),
        ("rubbish;;;", 17),
    ],
)
def test_the_cause_of_the_callee_is_kept_and_its_text_is_not(reason: str, cause: int) -> None:
    world = World()
    world.callee.on_call = refuse_with(486, f"Reason: {reason}")
    call = world.caller.dial(X)
    (story,) = world.finish()
    assert call.responses[-1].get("reason") == f"Q.850;cause={cause}"
    assert story.ended.q850 == cause


@pytest.mark.parametrize(
    ("status", "told", "outcome"),
    [(486, 486, BUSY), (480, 480, REJECTED), (500, 500, FAILED), (503, 500, FAILED), (408, 480, NO_ANSWER)],
)
def test_after_ringing_no_other_route_is_tried(status: int, told: int, outcome: Outcome) -> None:
    world = World()
    world.callee.on_call = refuse_with(status, ring=0.5)
    call = world.caller.dial(X)
    (story,) = world.finish()
    assert call.heard == ["100", "180", str(told)]
    assert world.second.calls == []
    assert (story.ended.outcome, story.ended.status, story.ended.ended_by) == (outcome, told, "callee")
    assert story.ended.ringing_ms > 0
    if outcome is NO_ANSWER:
        assert story.ended.q850 == 19


def test_the_failure_is_sent_again_until_its_ack() -> None:
    world = World(Conditions(drop=lose(3, "a>", "ACK")))
    world.callee.on_call = refuse_with(486)
    world.caller.dial(X)
    world.finish()
    assert [datagram.word for datagram in world.network.toward("a")].count("486") == 4


def test_a_failure_that_is_never_acknowledged_leaves_nothing_behind() -> None:
    world = World(Conditions(drop=lambda datagram: (datagram.way, datagram.word) == ("a>", "ACK")))
    world.callee.on_call = refuse_with(486)
    world.caller.dial(X)
    world.finish()


def scripted(world: World, *answers: tuple[int, dict[str, Any]]) -> Script:
    """A callee that answers the INVITE with these, one after the other, and everything else with 200."""
    callee = world.script(ADDRESS_B)

    def react(data: bytes) -> None:
        message = parse(data)
        if data.startswith(b"INVITE"):
            for status, given in answers:
                callee.send(answer_text(message, status, ADDRESS_B, **given))
        elif not data.startswith((b"ACK", b"SIP")):
            callee.send(answer_text(message, 200, ADDRESS_B))

    callee.react = react
    return callee


def test_a_bye_before_the_answer_is_a_refusal() -> None:
    """§15 forbids it to the callee; the call ends all the same, and the INVITE is cancelled."""
    world = World()
    callee = scripted(world, (180, {}))
    call = world.caller.dial(X)
    world.run(1.0)
    invite = callee.last("INVITE")
    callee.send(
        f"BYE sip:{X}@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.20:5060;branch=z9hG4bKearlybye\r\n"
        f"From: {invite.to_value};tag=scripted\r\nTo: {invite.from_value}\r\nCall-ID: {invite.call_id}\r\n"
        "CSeq: 1 BYE\r\nMax-Forwards: 70\r\nReason: Q.850;cause=31\r\nContent-Length: 0\r\n\r\n"
    )
    (story,) = world.finish()
    assert callee.words == ["INVITE", "200", "CANCEL"]
    assert call.statuses == [100, 180, 480]
    assert (story.ended.status, story.ended.q850, story.ended.ended_by) == (480, 31, "callee")


def test_a_reinvite_before_the_answer_is_told_to_wait() -> None:
    world = World()
    callee = scripted(world, (180, {}))
    world.caller.dial(X)
    world.run(1.0)
    invite = callee.last("INVITE")
    for method, cseq in (("INVITE", 1), ("INFO", 2)):
        callee.send(
            f"{method} sip:{X}@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.20:5060;branch=z9hG4bKearly{method}\r\n"
            f"From: {invite.to_value};tag=scripted\r\nTo: {invite.from_value}\r\nCall-ID: {invite.call_id}\r\n"
            f"Contact: <sip:192.0.2.20>\r\nCSeq: {cseq} {method}\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
        )
    world.run(0.1)
    assert callee.words[-2:] == ["491", "500"]
    world.switch.enter(world.real.release_all)
    world.finish()


def test_a_scripted_failure_with_nonsense_in_it() -> None:
    world = World()
    callee = scripted(
        world, (486, {"lines": ("Contact: <<<>>>", "Reason: ;;;=", "Retry-After: soon"), "phrase": "\x07"})
    )
    call = world.caller.dial(X)
    (story,) = world.finish()
    assert callee.words == ["INVITE", "ACK"]
    assert call.statuses[-1] == story.ended.status == 486
