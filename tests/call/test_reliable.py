"""Reliable provisional answers (RFC 3262): each leg has its own, and one side may have them without the other."""

from dataclasses import replace
from typing import Any

import pytest

from b2bua.sip.message import Message, Request, Response
from b2bua.sip.parser import parse
from routing.trunks import Reliable
from tests.call.early_flows import REQUIRED, SUPPORTED, rings_reliably
from tests.call.phone import PhoneCall, answer_after, description, refuse_with
from tests.call.world import ADDRESS_A, ADDRESS_B, TRUNKS, World, X
from tests.wire import SWITCH, Conditions, Script, answer_text, lose, request_text

EARLY = description("198.51.100.21").decode()
OTHER = description("198.51.100.22").decode()
PAI = "P-Asserted-Identity: <tel:+8613876543210>"
RELIABLE = "Require: 100rel"


def sent(world: World, way: str, word: str) -> list[Message]:
    """Everything of this name that went this way, repetitions left out."""
    seen: dict[bytes, Message] = {}
    for datagram in world.network.log:
        if (datagram.way, datagram.word) == (way, word):
            seen.setdefault(datagram.data, datagram.message)
    return list(seen.values())


class Far:
    """The callee's network as a script: it says what the test wants, and answers PRACK and BYE by itself."""

    def __init__(self, world: World, prack: int = 200) -> None:
        self.world = world
        self.prack = prack
        self.praked: list[tuple[str, str, bytes]] = []  # To tag, RAck, body
        self.others: list[str] = []
        self.script: Script = world.script(ADDRESS_B)
        self.script.react = self._react

    def say(self, status: int, tag: str = "one", rseq: int | str = 0, body: str = "", **given: Any) -> None:
        """An answer to the INVITE."""
        lines = (*given.pop("lines", ()), *((RELIABLE, f"RSeq: {rseq}") if rseq else ()))
        given.setdefault("contact", f"<sip:{tag}@192.0.2.20:5060>")
        invite = self.script.last("INVITE")
        self.script.send(answer_text(invite, status, ADDRESS_B, tag=tag, lines=lines, body=body, **given))
        self.world.run(0.05)

    def ask(self, method: str, tag: str = "one", cseq: int = 1, **given: Any) -> str:
        """A request in an early dialog or later; returns what is answered."""
        invite = self.script.last("INVITE")
        before = len(self.script.words)
        text = request_text(
            method, f"sip:{X}@{SWITCH[0]}", ADDRESS_B, cseq=cseq, call_id=invite.call_id,
            from_value=f"{invite.to_value};tag={tag}", to_value=invite.from_value, **given,
        )  # fmt: skip
        self.script.send(text)
        self.world.run(0.05)
        answers = [word for word in self.script.words[before:] if word.isdigit()]
        return answers[-1] if answers else ""

    def _react(self, data: bytes) -> None:
        message = parse(data)
        if not isinstance(message, Request) or message.method in ("INVITE", "ACK"):
            return
        if message.method == "PRACK":
            self.praked.append((message.to_tag, message.first["rack"], message.body))
            if self.prack:
                self.script.send(answer_text(message, self.prack, ADDRESS_B))
            return
        self.others.append(f"{message.method} {message.to_tag}".strip())
        if message.method == "CANCEL":
            self.script.send(answer_text(message, 200, ADDRESS_B))
            self.script.send(answer_text(self.script.last("INVITE"), 487, ADDRESS_B, tag="one"))
        else:
            body = OTHER if message.method == "UPDATE" and message.body else ""
            self.script.send(answer_text(message, 200, ADDRESS_B, body=body))


def ringing(
    caller: str = "", *, updates: bool = True, sdp: bytes | None = None, **given: Any
) -> tuple[World, Far, PhoneCall]:
    """A call whose callee is a script that has said nothing yet."""
    world = World(**given)
    far = Far(world)
    world.caller.reliable, world.caller.updates = caller, updates
    call = world.caller.dial(X, sdp=sdp)
    world.run(0.1)
    return world, far, call


# what each side is told that we have


@pytest.mark.parametrize(
    ("setting", "lines"),
    [
        (Reliable.OFF, ("timer", None)),
        (Reliable.SUPPORTED, ("100rel", None)),
        (Reliable.REQUIRED, ("100rel", "100rel")),
    ],
)
def test_what_a_trunk_is_offered_is_its_setting(setting: Reliable, lines: tuple[str | None, str | None]) -> None:
    world = World(trunks=(TRUNKS[0], replace(TRUNKS[1], reliable=setting)))
    call = world.caller.dial(X)
    call.on("200", call.hang_up)
    world.finish()
    (invite,) = sent(world, ">b", "INVITE")
    assert (invite.get("supported"), invite.get("require")) == lines
    assert "PRACK" in (invite.get("allow") or "")


@pytest.mark.parametrize(("caller", "offered"), [("", "timer"), (SUPPORTED, "100rel"), (REQUIRED, "100rel")])
def test_without_an_offer_the_callee_is_asked_only_for_what_the_caller_can_answer(caller: str, offered: str) -> None:
    """An offer in a provisional answer is answered in its PRACK: a caller without 100rel never could."""
    world, far, call = ringing(caller, sdp=b"")
    assert far.script.last("INVITE").get("supported") == offered
    far.say(486)
    world.finish()
    assert call.statuses[-1] == 486


def test_a_trunk_without_it_gets_no_prack() -> None:
    """What was not asked for does not count as reliable."""
    world, far, call = ringing(trunks=(TRUNKS[0], replace(TRUNKS[1], reliable=Reliable.OFF)))
    far.say(183, rseq=7, body=EARLY)
    far.say(200, body=EARLY)
    call.hang_up()
    world.finish()
    assert far.praked == []
    assert call.heard == ["100", "183", "200", "BYE 200"]


# the callee's side: RFC 3262 §4


def test_each_answer_is_confirmed_once_and_in_order() -> None:
    """Profile §4 item 3."""
    world, far, call = ringing()
    far.say(180, rseq=4711)
    far.say(180, rseq=4711)  # its PRACK is on its way: not again, and no second ringing
    far.say(183, rseq=4713, body=EARLY)  # too soon: 4712 is missing
    far.say(182, rseq=4712)
    far.say(183, rseq=4713, body=EARLY)
    far.say(180, rseq=4711)
    assert [rack for _, rack, _ in far.praked] == ["4711 1 INVITE", "4712 1 INVITE", "4713 1 INVITE"]
    assert call.heard == ["100", "180", "180", "183"]
    far.say(200)
    call.hang_up()
    (story,) = world.finish()
    assert story.ended.media == "audio PCMA/8000"


@pytest.mark.parametrize("rseq", ["0", "x", "-1", "4294967296", "99999999999", "1 2"])
def test_a_number_that_is_none_makes_no_reliable_answer(rseq: str) -> None:
    world, far, call = ringing()
    far.say(180, rseq=rseq)
    assert far.praked == []
    far.say(486)
    world.finish()
    assert call.statuses == [100, 180, 486]


def test_the_answer_of_the_call_does_not_wait_for_the_prack() -> None:
    """200 before PRACK: what the 183 said is the answer, whatever the 200 says."""
    world, far, call = ringing()
    far.prack = 0
    far.say(183, rseq=1, body=EARLY)
    far.say(200, body=OTHER)
    assert call.heard == ["100", "183", "200"]
    answer = sent(world, ">a", "200")[0]
    assert b"198.51.100.21" in answer.body
    call.hang_up()
    far.prack = 200
    world.finish()


@pytest.mark.parametrize("status", [400, 481, 500])
def test_a_prack_that_is_refused_does_not_end_the_call(status: int) -> None:
    world, far, call = ringing()
    far.prack = status
    far.say(180, rseq=1)
    far.say(200, body=EARLY)
    assert call.heard == ["100", "180", "200"]
    call.hang_up()
    world.finish()


def test_a_prack_goes_on_until_it_is_answered() -> None:
    world = World(Conditions(drop=lose(3, ">b", "PRACK")))
    call = rings_reliably(world)
    call.on("200", call.hang_up, after=20.0)
    world.finish()
    assert [d.lost for d in world.network.log if (d.way, d.word) == (">b", "PRACK")] == [True, True, True, False]
    assert call.statuses == [100, 183, 200]


def test_a_failover_starts_with_new_numbers() -> None:
    """Profile §4 item 3: the next route's RSeq has nothing to do with that of the first."""
    world = World()
    call = world.caller.dial(X)
    world.callee.on_call = lambda call: None

    def second(call: PhoneCall) -> None:
        call._rseq = 8
        call.phone.network.later(0.1, lambda: call.ring(183, call.phone.sdp(), reliable=True))
        call.phone.network.later(1.0, call.accept)

    world.second.on_call = second
    far = Far(world)
    world.run(0.2)
    far.say(100)
    world.run(20.0)  # no 18x: the next route
    far.say(180, rseq=9)  # too late
    call.hang_up()
    (story,) = world.finish(agree=False)
    assert story.ended.routes == ("carrier-b:no_progress", "carrier-c:200")
    assert far.praked == []
    assert [message.first["rack"] for message in sent(world, ">b", "PRACK")] == ["9 1 INVITE"]


def test_more_early_dialogs_than_any_network_has() -> None:
    world, far, call = ringing()
    for number in range(18):
        far.say(180, f"tag{number}", rseq=1)
    assert len(far.praked) == 16
    far.say(486, "tag0")
    world.finish()
    assert call.statuses[-1] == 486


# the caller's side: RFC 3262 §3


def test_a_caller_that_requires_it_gets_nothing_else() -> None:
    """With a callee that does not know it."""
    world = World()
    world.callee.on_call = answer_after(2.0)
    world.caller.reliable = REQUIRED
    call = world.caller.dial(X)
    call.on("200", call.hang_up)
    world.finish()
    (ringing_,) = sent(world, ">a", "180")
    assert ringing_.get("require") == "100rel"
    assert 0 < int(ringing_.first["rseq"]) < 2**31
    assert call.heard == ["100", "180", "PRACK 200", "200", "BYE 200"]


def test_a_caller_that_only_knows_it_gets_descriptions_reliably() -> None:
    world = World()
    world.callee.on_call = answer_after(2.0)
    world.caller.reliable = SUPPORTED
    call = world.caller.dial(X)
    call.on("200", call.hang_up)
    world.finish()
    assert "rseq" not in sent(world, ">a", "180")[0].first
    assert call.heard == ["100", "180", "200", "BYE 200"]


@pytest.mark.parametrize(
    ("line", "status", "reliable"),
    [("Require: 100REL", 180, True), ("Supported: timer, 100Rel", 183, True), ("Supported: 100relish", 183, False)],
)
def test_its_name_is_read_in_any_case(line: str, status: int, reliable: bool) -> None:
    """RFC 3261 §7.3.1: names are compared without case."""
    caller = Caller(line)
    caller.far.say(status, body=EARLY if status == 183 else "")
    assert ("rseq" in caller.phone.last(str(status)).first) == reliable
    if reliable:
        assert caller.prack(2) == 200
    caller.refuse()


def test_numbers_of_the_two_legs_are_independent() -> None:
    world = World()
    call = rings_reliably(world)
    call.on("200", call.hang_up)
    world.finish()
    assert sent(world, "b>", "183")[0].first["rseq"] == "1"
    assert sent(world, ">a", "183")[0].first["rseq"] != "1"
    # the answer was given: the 200 has none
    assert sent(world, ">a", "200")[-2].body == b""


def test_it_is_repeated_until_its_prack() -> None:
    world = World(Conditions(drop=lose(3, "a>", "PRACK")))
    call = rings_reliably(world, answer=0.2)
    call.on("200", call.hang_up)
    world.finish()
    at = [round(d.at, 2) for d in world.network.log if (d.way, d.word) == (">a", "183")]
    assert [round(later - at[0], 1) for later in at[:3]] == [0.0, 0.5, 1.5]
    # RFC 3262 §3: the 200 waits for the PRACK of a description
    accepted = next(d.at for d in world.network.log if d.way == ">a" and d.word == "200" and b"INVITE" in d.data)
    confirmed = next(d.at for d in world.network.log if d.way == "a>" and d.word == "PRACK" and not d.lost)
    assert accepted >= confirmed


@pytest.mark.parametrize("answered", [False, True])
def test_no_prack_ever(answered: bool) -> None:
    """64·T1, then 504, and the callee is ended."""
    world = World()
    world.caller.pracks = False
    call = rings_reliably(world, answer=3.0 if answered else 100.0)
    (story,) = world.finish()
    assert call.statuses[-1] == 504
    assert call.heard.count("183") >= 6
    assert world.callee.call.heard[-1] == ("BYE" if answered else "CANCEL")
    assert (story.ended.reason, story.ended.ended_by, story.ended.q850) == ("no_prack", "switch", 102)
    assert (story.ended.outcome, story.ended.status) == (("answered", 200) if answered else ("failed", 504))
    assert 32_000 <= story.ended.total_ms < 33_000


def test_a_caller_that_gives_up_while_the_answer_waits_for_its_prack() -> None:
    world = World()
    world.caller.pracks = False
    call = rings_reliably(world, answer=1.0)
    world.network.later(5.0, call.cancel)
    (story,) = world.finish()
    assert call.heard[-2:] == ["CANCEL 200", "487"]
    assert world.callee.call.heard[-1] == "BYE"
    assert (story.ended.outcome, story.ended.ended_by) == ("answered", "caller")


def test_a_callee_that_hangs_up_while_the_answer_waits_for_a_prack() -> None:
    world = World()
    world.caller.pracks = False
    call = rings_reliably(world, answer=1.0)
    world.network.later(5.0, lambda: world.callee.call.hang_up())
    (story,) = world.finish()
    assert call.statuses[-1] == 480
    assert (story.ended.outcome, story.ended.ended_by) == ("answered", "callee")


class Caller:
    """A scripted caller that does not PRACK by itself."""

    def __init__(self, *lines: str, body: str = description("198.51.100.10").decode(), **given: Any) -> None:
        self.world = World(**given)
        self.far = Far(self.world)
        self.phone = self.world.script(ADDRESS_A)
        self.uri = f"sip:{X}@{SWITCH[0]}"
        invite = request_text("INVITE", self.uri, ADDRESS_A, number="13876543210", lines=(PAI, *lines), body=body)
        self.phone.send(invite)
        self.world.run(0.1)

    def ask(self, method: str, cseq: int, **given: Any) -> Message:
        """A request in the early dialog, and its answer."""
        told = self.phone.last("183") if "183" in self.phone.words else self.phone.last("180")
        text = request_text(
            method, self.uri, ADDRESS_A, cseq=cseq, number="13876543210", call_id=told.call_id,
            to_value=told.to_value, **given,
        )  # fmt: skip
        self.phone.send(text)
        self.world.run(0.1)
        answers = [message for data in self.phone.inbox if (message := parse(data)).cseq == cseq]
        return answers[-1]

    def prack(self, cseq: int, rack: str = "", **given: Any) -> int:
        told = self.phone.last("183") if "183" in self.phone.words else self.phone.last("180")
        rack = rack.replace("RSEQ", told.first["rseq"]) or f"{told.first['rseq']} 1 INVITE"
        return _status(self.ask("PRACK", cseq, lines=(f"RAck: {rack}",), **given))

    def refuse(self) -> None:
        """The callee says no: the end of most tests."""
        self.far.say(486)
        assert self.phone.words[-1] == "486"
        self.world.finish(agree=False, answers=False)


def _status(message: Message) -> int:
    assert isinstance(message, Response)
    return message.status


@pytest.mark.parametrize(
    "rack", ["1 1 INVITE", "RSEQ 2 INVITE", "RSEQ 1 PRACK", "RSEQ 1", "RSEQ", "x 1 INVITE", "RSEQ 1 INVITE x"]
)
def test_a_prack_of_something_else(rack: str) -> None:
    """RFC 3262 §3: 481, and ours goes on waiting."""
    caller = Caller(REQUIRED)
    caller.far.say(183, body=EARLY)
    assert caller.prack(2, rack) == 481
    assert caller.prack(3) == 200
    assert caller.prack(4) == 481  # confirmed already
    caller.refuse()


def test_a_prack_where_nothing_is_reliable() -> None:
    caller = Caller()
    caller.far.say(180)
    assert _status(caller.ask("PRACK", 2, lines=("RAck: 1 1 INVITE",))) == 481
    assert _status(caller.ask("PRACK", 3)) == 481
    caller.refuse()


@pytest.mark.parametrize(
    ("given", "status"),
    [
        ({"body": "rubbish"}, 400),
        ({"body": EARLY, "content_type": "text/plain"}, 415),
    ],
)
def test_a_prack_whose_body_is_no_use_confirms_nothing(given: dict[str, Any], status: int) -> None:
    caller = Caller(REQUIRED)
    caller.far.say(183, body=EARLY)
    assert caller.prack(2, **given) == status
    assert caller.prack(3) == 200
    caller.refuse()


def test_a_prack_whose_offer_is_refused_confirms_nothing() -> None:
    caller = Caller(REQUIRED)
    caller.far.say(180)
    assert caller.prack(2, body=OTHER) == 500  # our answer to the first offer is still to come
    assert caller.prack(3) == 200
    caller.refuse()


def test_one_at_a_time_and_the_newest_news_after_it() -> None:
    caller = Caller(REQUIRED)
    caller.far.say(180)
    caller.far.say(183, body=EARLY)
    caller.far.say(182)
    assert caller.phone.words == ["100", "180"]
    first = int(caller.phone.last("180").first["rseq"])
    assert caller.prack(2) == 200
    assert caller.phone.words[-1] == "180"
    second = caller.phone.last("180")
    assert int(second.first["rseq"]) == first + 1
    assert b"198.51.100.21" in second.body
    assert caller.prack(3) == 200
    caller.refuse()


def test_an_answer_without_description_before_does_not_wait() -> None:
    """RFC 3262 §3: the PRACK of what was outstanding is welcome after the 200 as well."""
    caller = Caller(REQUIRED)
    caller.far.say(180)
    caller.far.say(183)
    caller.far.say(200, body=EARLY)
    answer = caller.phone.last("200")
    assert b"198.51.100.21" in answer.body
    assert caller.prack(2) == 200
    assert caller.prack(3) == 481
    common: dict[str, Any] = {"call_id": answer.call_id, "to_value": answer.to_value, "number": "13876543210"}
    caller.phone.send(request_text("ACK", caller.uri, ADDRESS_A, cseq=1, **common))
    caller.phone.send(request_text("BYE", caller.uri, ADDRESS_A, cseq=4, **common))
    (story,) = caller.world.finish()
    assert story.ended.outcome == "answered"


def test_long_ringing_is_told_again() -> None:
    world = World(settings={"ring_refresh_seconds": 10.0})
    call = rings_reliably(world, media=False, answer=25.0, caller=REQUIRED)
    call.on("200", call.hang_up)
    world.finish()
    numbers = [int(message.first["rseq"]) for message in sent(world, ">a", "183")]
    assert numbers == [numbers[0], numbers[0] + 1, numbers[0] + 2]


# offer and answer in PRACK


def test_an_offer_in_a_provisional_answer_is_answered_in_the_prack() -> None:
    """Profile §4 item 6: the callee's PRACK waits for the caller's answer."""
    world, far, call = ringing(SUPPORTED, sdp=b"")
    far.say(183, rseq=1, body=EARLY)
    far.say(183, rseq=1, body=EARLY)
    assert b"198.51.100.21" in sent(world, ">a", "183")[0].body
    (prack,) = far.praked
    assert b"198.51.100.10" in prack[2]
    far.say(200)
    assert sent(world, ">b", "ACK")[0].body == b""
    call.hang_up()
    world.finish()
    assert call.heard == ["100", "183", "PRACK 200", "200", "BYE 200"]


def test_the_answer_of_the_call_before_the_prack_with_its_answer() -> None:
    """A callee that should have waited: its PRACK comes after the ACK, and the caller's 200 after the PRACK."""
    world, far, call = ringing(SUPPORTED, sdp=b"")
    world.network.conditions.drop = lose(2, "a>", "PRACK")
    far.say(183, rseq=1, body=EARLY)
    far.say(200)
    assert far.praked == []
    world.run(3.0)
    (prack,) = far.praked
    assert b"198.51.100.10" in prack[2]
    assert call.statuses[-1] == 200
    call.hang_up()
    world.finish()


def test_the_answer_of_the_call_overtakes_the_offer_before_it() -> None:
    """The callee offered in a 183 that waited behind the ringing: the offer goes in the 200, and the caller's answer
    comes in its ACK and leaves in the PRACK."""
    world, far, call = ringing(REQUIRED, sdp=b"", conditions=Conditions(latency=0.1))
    world.run(0.4)
    far.say(180, "one")
    far.say(183, "one", rseq=1, body=EARLY)
    far.say(200, "one")
    world.run(3.0)
    (answer,) = [message for message in sent(world, ">a", "200") if message.cseq_method == "INVITE"]
    assert b"198.51.100.21" in answer.body
    (prack,) = far.praked
    assert b"198.51.100.10" in prack[2]
    call.hang_up()
    (story,) = world.finish()
    assert (story.ended.outcome, story.ended.reason) == ("answered", "")


def test_a_prack_without_the_answer_it_should_hold() -> None:
    caller = Caller(SUPPORTED, body="")
    caller.far.say(183, rseq=1, body=EARLY)
    assert caller.prack(2) == 400
    assert caller.far.praked == []
    assert caller.prack(3, body=description("198.51.100.10").decode()) == 200
    assert b"198.51.100.10" in caller.far.praked[0][2]
    caller.refuse()


def test_an_offer_that_is_not_reliable_is_none() -> None:
    world, far, call = ringing(SUPPORTED, sdp=b"")
    far.say(183, body=EARLY)
    assert sent(world, ">a", "183")[0].body == b""
    far.say(200, body=EARLY)
    assert b"198.51.100.21" in sent(world, ">a", "200")[0].body
    call.hang_up()
    world.finish()


def test_an_unusable_offer_is_confirmed_all_the_same() -> None:
    world, far, call = ringing(SUPPORTED, sdp=b"")
    far.say(183, rseq=1, body="rubbish")
    assert far.praked == [("one", "1 1 INVITE", b"")]
    far.say(486)
    world.finish()
    assert call.statuses[-1] == 486


@pytest.mark.parametrize("updates", [True, False])
def test_an_offer_in_a_prack_goes_on_as_update(updates: bool) -> None:
    caller = Caller(SUPPORTED)
    allow = ("Allow: INVITE, UPDATE",) if updates else ()
    invite = caller.far.script.last("INVITE")
    lines = (RELIABLE, "RSeq: 5", *allow)
    caller.far.script.send(answer_text(invite, 183, ADDRESS_B, tag="one", lines=lines, body=EARLY))
    caller.world.run(0.1)
    assert caller.prack(2, body=OTHER) == (200 if updates else 504)
    assert caller.far.others == (["UPDATE one"] if updates else [])
    assert caller.prack(3) == 481  # it was confirmed, whatever became of the offer
    caller.refuse()


@pytest.mark.parametrize("refusal", [486, 503])
def test_a_callee_that_refuses_after_a_reliable_answer(refusal: int) -> None:
    world = World(trunks=TRUNKS[:2])
    world.caller.reliable = REQUIRED
    world.callee.on_call = refuse_with(refusal, ring=0.1)
    call = world.caller.dial(X)
    (story,) = world.finish()
    assert call.statuses[-1] == (486 if refusal == 486 else 500)
    assert story.ended.outcome in ("busy", "failed")
