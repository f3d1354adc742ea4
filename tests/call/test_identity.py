"""The leak test: every place of the leak map filled, on every message, in both directions; nothing comes out on the
other side (profile section 3, rules R2 and R4)."""

from collections.abc import Callable
from dataclasses import replace
from itertools import cycle, islice

import pytest

from b2bua.call.switch import SwitchSettings
from routing.numbers import bare_digits
from tests.call.filler import HEADERS, SDP_LINES, Filler
from tests.call.invariants import reveals
from tests.call.phone import Phone, PhoneCall, answer_after, refuse_with
from tests.call.world import NUMBER_A, NUMBER_B, World, X
from tests.wire import SWITCH, Conditions

FIXED_A = "+861087654321"
FIXED_B = "+862198765432"


def own_number(side: str) -> Callable[[int], str]:
    """A number for each place that nobody has: eleven digits, told apart by side and place."""
    base = 15_000_000_000 if side == "a" else 18_000_000_000
    return lambda index: str(base + 1_000_003 * (index + 1))


def spellings(number: str) -> tuple[str, ...]:
    """A subscriber's number in the spellings that carriers, phones and people use."""
    digits = bare_digits(number)
    national = digits if digits[0] == "1" and digits[1] != "0" else f"0{digits}"
    return (
        digits,
        national,
        f"+86{digits}",
        f"86{digits}",
        f"0086{digits}",
        f"0{digits}",
        "".join(f"%{ord(character):02X}" for character in f"+86{digits}"),
        "".join(f"%3{character}" for character in digits),
        f"{digits[:3]}-{digits[3:7]}-{digits[7:]}",
        f"{digits[:3]}.{digits[3:7]}.{digits[7:]}",
        f"({digits[:3]}){digits[3:]}",
        digits.encode().hex(),
        f"{digits[:5]}%2D{digits[5:]}",
    )


def spelt(number: str) -> Callable[[int], str]:
    """The party's real number, in another spelling at each place."""
    return lambda index: next(islice(cycle(spellings(number)), index, None))


class Scene:
    """A world in which both parties fill every place they have; ``number`` is the one dialled."""

    def __init__(
        self,
        real: bool,
        from_a: bool = True,
        *,
        multipart: bool = False,
        a: str = NUMBER_A,
        b: str = NUMBER_B,
        world: World | None = None,
        number: str = X,
    ) -> None:
        self.world = world = world or World(binding={"a": a, "b": b})
        self.number = number
        spell = {"a": spelt(a), "b": spelt(b)} if real else {"a": own_number("a"), "b": own_number("b")}
        self.fillers = {side: Filler(side, spell[side]) for side in ("a", "b")}
        for phone, side in ((world.caller, "a"), (world.callee, "b"), (world.second, "b")):
            filler = self.fillers[side]
            filler.multipart = multipart
            phone.disguise, phone.lens = filler.disguise, filler.lens
            word = filler.number("dialog", f"tag of {phone.name}")
            phone.tag_prefix = "".join(character for character in word if character not in "()")
            user = filler.number("dialog", f"Contact user of {phone.name}")
            more = filler.number("dialog", f"Contact parameter of {phone.name}")
            phone.contact = f"sip:{user}@{phone.address[0]}:{phone.address[1]};x={more}"
        self.dialling, self.dialled = (world.caller, world.callee) if from_a else (world.callee, world.caller)
        self._filler = self.fillers["a" if from_a else "b"]

    def dial(self) -> PhoneCall:
        """A call whose own fields are filled as well."""
        filler = self._filler

        def number(place: str) -> str:
            return filler.number("dialog", place)

        return self.dialling.dial(
            self.number,
            from_value=f'"{number("From name")}" <sip:{number("From user")}@{filler.host};x={number("From URI")}>',
            to_value=f'"{number("To name")}" <sip:{self.number}@{filler.host};x={number("To URI")}>',
            call_id=f"{number('Call-ID')}@{filler.host}",
            uri=f"sip:{self.number};npdi;rn={number('user parameter')}@{SWITCH[0]}:{SWITCH[1]};user=phone",
        )

    def check(self, *messages: str) -> None:
        """Nothing has crossed. ``messages`` must have been among those that were filled."""
        self.world.finish()
        assert self.world.real.endpoint.drops["malformed"] == 0
        filled = {message for filler in self.fillers.values() for message, _ in filler.numbers}
        assert set(messages) <= filled, set(messages) - filled
        for side, other in (("a", "b"), ("b", "a")):
            filler = self.fillers[side]
            log = self.world.network.log
            for datagram in log:
                if datagram.way == f">{other}":
                    assert filler.host.encode() not in datagram.data
            crossed = b"\n".join({datagram.data for datagram in log if datagram.way == f">{other}"})
            told = b"\n".join({datagram.data for datagram in log if datagram.way == f"{side}>"})
            for (message, place), text in filler.numbers.items():
                digits = text if text.isdigit() else ""
                if digits and len(digits) == 11:
                    assert not reveals(crossed, digits), f"{place} of {message} reached {other}"
                if place != "ISUP part" and message != "dialog":
                    assert text.encode() in told, f"{place} of {message} was never sent"


def talk(scene: Scene) -> PhoneCall:
    """Everything a call may hold, from both sides; hung up by who dialled."""
    sdp = scene.dialled.sdp()
    scene.dialled.on_call = answer_after(2.0, status=183, sdp=sdp)
    call = scene.dial()
    later = scene.world.network.later

    def other(action: Callable[[PhoneCall], None]) -> Callable[[], None]:
        return lambda: action(scene.dialled.call)

    later(5.0, call.info)
    later(6.0, other(PhoneCall.info))
    later(7.0, call.hold)
    later(8.0, other(PhoneCall.hold))
    later(9.0, lambda: call.reinvite(b""))
    later(10.0, other(lambda answered: answered.reinvite(b"")))
    return call


EVERY_MESSAGE = (
    "INVITE",
    "ACK",
    "BYE",
    "INFO",
    "re-INVITE",
    "100 INVITE",
    "183 INVITE",
    "200 INVITE",
    "200 INFO",
    "200 BYE",
)

EITHER_CALLS = pytest.mark.parametrize("from_a", [True, False], ids=["a_calls", "b_calls"])
EITHER_FILLING = pytest.mark.parametrize("real", [False, True], ids=["a_number_each", "the_real_number"])


@EITHER_CALLS
@EITHER_FILLING
@pytest.mark.parametrize("multipart", [False, True], ids=["plain", "multipart"])
def test_nothing_crosses_in_a_call_hung_up_by_the_caller(real: bool, from_a: bool, multipart: bool) -> None:
    scene = Scene(real, from_a, multipart=multipart)
    call = talk(scene)
    call.on("200", call.hang_up, after=20.0)
    scene.check(*EVERY_MESSAGE)
    assert call.was_up
    assert scene.dialled.call.heard.count("INFO") == 1


@EITHER_CALLS
@EITHER_FILLING
def test_nothing_crosses_in_a_call_hung_up_by_the_callee(real: bool, from_a: bool) -> None:
    scene = Scene(real, from_a)
    call = talk(scene)
    scene.world.network.later(20.0, lambda: scene.dialled.call.hang_up())
    scene.check(*EVERY_MESSAGE)
    assert call.was_up


@EITHER_CALLS
@EITHER_FILLING
def test_nothing_crosses_in_a_call_that_is_cancelled(real: bool, from_a: bool) -> None:
    scene = Scene(real, from_a)
    scene.dialled.on_call = answer_after(30.0)
    call = scene.dial()
    scene.world.network.later(5.0, call.cancel)
    scene.check("INVITE", "CANCEL", "ACK", "180 INVITE", "487 INVITE", "200 CANCEL")
    assert call.statuses[-1] == 487


@EITHER_CALLS
@EITHER_FILLING
@pytest.mark.parametrize("status", [300, 302, 380, 400, 401, 403, 404, 407, 480, 484, 486, 488, 600, 603, 606])
def test_nothing_crosses_in_a_failure(real: bool, from_a: bool, status: int) -> None:
    scene = Scene(real, from_a)
    scene.dialled.on_call = refuse_with(status, ring=0.5)
    call = scene.dial()
    scene.check("INVITE", "ACK", "180 INVITE", f"{status} INVITE")
    assert call.statuses[-1] >= 400


@EITHER_FILLING
@pytest.mark.parametrize("status", [408, 430, 500, 502, 503, 504])
def test_nothing_crosses_from_a_route_that_failed(real: bool, status: int) -> None:
    scene = Scene(real)
    scene.dialled.on_call = refuse_with(status)
    call = scene.dial()
    call.on("200", call.hang_up, after=2.0)
    scene.check("INVITE", "ACK", f"{status} INVITE", "200 INVITE", "200 BYE")
    assert call.was_up


@EITHER_CALLS
@EITHER_FILLING
@pytest.mark.parametrize("status", [302, 401, 488, 491, 600])
def test_nothing_crosses_in_a_refused_reinvite(real: bool, from_a: bool, status: int) -> None:
    scene = Scene(real, from_a)
    call = scene.dial()
    refuse = lambda asked, request: asked.refuse(status)  # noqa: E731
    call.on_reinvite = refuse
    call.on("200", call.hang_up, after=20.0)
    scene.world.run(3.0)
    answered = scene.dialled.call
    answered.on_reinvite = refuse
    scene.world.network.later(1.0, call.hold)
    scene.world.network.later(3.0, answered.hold)
    scene.check("re-INVITE", f"{status} INVITE")


@EITHER_FILLING
def test_nothing_crosses_when_a_reinvite_is_cancelled(real: bool) -> None:
    scene = Scene(real)
    call = scene.dial()
    scene.world.run(3.0)
    scene.dialled.call.on_reinvite = lambda asked, request: asked.ring(100)
    call.hold()
    scene.world.network.later(1.0, call.cancel)
    scene.world.network.later(5.0, call.hang_up)
    scene.check("re-INVITE", "CANCEL", "487 INVITE")


@EITHER_FILLING
def test_nothing_crosses_when_the_switch_ends_the_call(real: bool) -> None:
    scene = Scene(real)
    scene.dial()
    scene.world.run(3.0)
    scene.world.switch.enter(scene.world.real.release_all)
    scene.check("200 BYE")


@EITHER_CALLS
def test_fixed_lines_are_hidden_as_well(from_a: bool) -> None:
    scene = Scene(True, from_a, a=FIXED_A, b=FIXED_B)
    for filler in scene.fillers.values():
        # a foundation may be a decimal checksum of ten digits, as long as such a number (RFC 8839 §5.1)
        filler.lines = tuple(line for line in SDP_LINES if not line.startswith(("a=candidate:{n}", "a=candidate:x{n}")))
    call = talk(scene)
    call.on("200", call.hang_up, after=20.0)
    scene.check(*EVERY_MESSAGE)


@EITHER_FILLING
@pytest.mark.parametrize("seed", range(5))
def test_nothing_crosses_over_a_bad_network(real: bool, seed: int) -> None:
    """Retransmissions, repeated answers, requests that overtake each other: the same way out for all."""
    scene = Scene(real)
    scene.world.network.conditions = Conditions(loss=0.3, duplication=0.3, jitter=0.3, seed=seed)
    call = talk(scene)
    call.on("200", call.hang_up, after=25.0)
    scene.world.finish()
    for side, other in (("a", "b"), ("b", "a")):
        crossed = b"\n".join({d.data for d in scene.world.network.toward(other)})
        for (message, place), text in scene.fillers[side].numbers.items():
            if text.isdigit() and len(text) == 11:
                assert not reveals(crossed, text), f"{place} of {message} reached {other}"


def test_the_filling_is_complete() -> None:
    """Each header and each line of a description was sent with its number, on each kind of message that has it."""
    scene = Scene(False)
    call = talk(scene)
    call.on("200", call.hang_up, after=20.0)
    scene.world.finish()
    for side, messages in (
        ("a", ("INVITE", "ACK", "BYE", "INFO", "re-INVITE", "200 INVITE", "200 INFO")),
        ("b", ("100 INVITE", "183 INVITE", "200 INVITE", "200 BYE", "ACK", "INFO", "re-INVITE", "200 INFO")),
    ):
        places = scene.fillers[side].numbers
        for message in messages:
            assert {header for header in HEADERS if (message, header) in places} == set(HEADERS)
    for message in ("INVITE", "re-INVITE", "200 INVITE"):
        filled = {place for said, place in scene.fillers["a"].numbers if said == message}
        for line in SDP_LINES:
            assert line in filled or f"session {line}" in filled


def test_media_do_cross() -> None:
    """What has to: the test above would pass if nothing did."""
    scene = Scene(False)
    call = talk(scene)
    call.on("200", call.hang_up, after=20.0)
    scene.world.finish()
    for phone, other in ((scene.world.caller, "b"), (scene.world.callee, "a")):
        bodies = [d.message.body for d in scene.world.network.toward(other) if d.message.body.startswith(b"v=0")]
        assert bodies
        for body in bodies:
            assert f"c=IN IP4 {phone.media}\r\n".encode() in body
            assert b"m=audio 20000 RTP/AVP 8 0 101\r\n" in body
            assert b"a=rtpmap:8 PCMA/8000\r\n" in body
            assert b"a=fmtp:101 0-15\r\n" in body


# the answers of the switch alone


@pytest.mark.parametrize("real", [False, True])
@pytest.mark.parametrize("dialled", ["700123456780000", "12345", X])
def test_a_refused_caller_learns_nothing(real: bool, dialled: str) -> None:
    """Of a binding that exists: the refusal is the same for every caller who has no right to it."""
    scene = Scene(real)
    scene.world.bindings = [replace(scene.world.bindings[0], a="+8615011111111")]
    scene.world.caller.dial(dialled)
    scene.world.finish()
    digits = bare_digits(NUMBER_B)
    assert not any(reveals(datagram.data, digits) for datagram in scene.world.network.toward("a"))
    assert scene.world.network.toward("b") == []


def test_what_each_side_is_told_is_independent() -> None:
    """Profile §3: session ids, tokens and sequence numbers of the two legs have nothing in common."""
    world = World()
    call = world.caller.dial(X)
    call.on("200", call.hang_up, after=2.0)
    world.finish()
    told = {side: [d.message for d in world.network.toward(side)] for side in ("a", "b")}
    sessions = {
        side: {m.body.split(b"\r\n")[1].split()[1] for m in messages if m.body.startswith(b"v=0")}
        for side, messages in told.items()
    }
    assert len(sessions["a"]) == len(sessions["b"]) == 1
    assert sessions["a"].isdisjoint(sessions["b"])
    tags = {side: {m.from_tag for m in messages} | {m.to_tag for m in messages} for side, messages in told.items()}
    assert tags["a"] & tags["b"] == {""}
    assert {m.call_id for m in told["a"]}.isdisjoint({m.call_id for m in told["b"]})


def test_the_product_is_all_that_is_said_of_the_switch() -> None:
    world = World(settings={"product": "something"})
    call = world.caller.dial(X)
    call.on("200", call.hang_up, after=2.0)
    world.finish()
    said = {d.message.get("server") or d.message.get("user-agent") for d in world.network.log if d.source == SWITCH}
    assert said == {None, "something"}
    assert SwitchSettings().product == "x700"


# the checker itself


@pytest.mark.parametrize("spelling", range(13))
@pytest.mark.parametrize("number", [NUMBER_A, FIXED_A, FIXED_B])
def test_the_checker_knows_every_spelling(number: str, spelling: int) -> None:
    text = spellings(number)[spelling]
    assert reveals(f"X-Header: before {text} after\r\n".encode(), bare_digits(number))
    wrong = text.translate(str.maketrans("0123456789", "1234567890"))
    assert not reveals(f"X-Header: {wrong}\r\n".encode(), bare_digits(number))


@pytest.mark.parametrize(
    "wire",
    [
        "tel: １３８７６５４３２１０".encode(),  # full-width digits
        b"138 7654 3210",
        b"isup: 31 78 56 34 12 f0".replace(b" ", b""),
        bytes.fromhex("3178563412f0"),
    ],
)
def test_the_checker_knows_odd_spellings(wire: bytes) -> None:
    assert reveals(wire, "13876543210")


def test_phones_are_as_described() -> None:
    """The scene would test nothing if the phones did not put their numbers where they say."""
    scene = Scene(False)
    assert isinstance(scene.dialling, Phone)
    scene.dialled.on_call = refuse_with(486)
    scene.dial()
    scene.world.finish()
    invite = next(d.data for d in scene.world.network.log if d.word == "INVITE" and d.way == "a>")
    for (message, place), text in scene.fillers["a"].numbers.items():
        if message in ("dialog", "INVITE") and not ("of charlie" in place or "of bravo" in place):
            assert text.encode() in invite, place
