"""The leak test in the modes of two aliases and of groups: besides real numbers, neither side is given the alias that
the other one dials, and nobody is given the number of another member (profile section 3, rules R2 and R4)."""

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import pytest

from b2bua.sip.headers import parse_name_addr
from routing.binding import Binding, Mode
from routing.numbers import bare_digits
from tests.call.invariants import reveals
from tests.call.phone import PhoneCall, Stage, answer_after, refuse_with
from tests.call.test_identity import EVERY_MESSAGE, Scene, talk
from tests.call.world import BINDING, NUMBER_A, NUMBER_B, World, X
from tests.wire import Conditions

Y = "700123456780077"
OTHER_MEMBER = "+8613712344321"


class Case(NamedTuple):
    """Who calls in which mode. ``first``: the caller's party is the default A of its group, or has called before."""

    mode: Mode
    from_a: bool
    first: bool = True

    @property
    def two(self) -> bool:
        """Whether B's number is another than A's."""
        return self.mode in (Mode.AXYB, Mode.GXYB)

    @property
    def dialled(self) -> str:
        """The number that the caller dials."""
        return Y if self.two and not self.from_a else X

    @property
    def shown(self) -> str:
        """The number that the callee sees: the one that he would dial himself."""
        return Y if self.two and self.from_a else X


CASES = {
    "axyb_a_calls": Case(Mode.AXYB, True),
    "axyb_b_calls": Case(Mode.AXYB, False),
    "gxb_member_calls": Case(Mode.GXB, True, False),
    "gxb_b_calls_the_last_caller": Case(Mode.GXB, False, False),
    "gxb_b_calls_the_default": Case(Mode.GXB, False),
    "gxyb_member_calls": Case(Mode.GXYB, True, False),
    "gxyb_b_calls_the_last_caller": Case(Mode.GXYB, False, False),
    "gxyb_b_calls_the_default": Case(Mode.GXYB, False),
}
EVERY_CASE = pytest.mark.parametrize("case", CASES.values(), ids=CASES)
EITHER_FILLING = pytest.mark.parametrize("real", [False, True], ids=["a_number_each", "the_real_number"])


class ModeWorld(World):
    """The usual scene with a binding of another mode; its store finds what the real one would."""

    def __init__(self, case: Case, conditions: Conditions | None = None) -> None:
        super().__init__(conditions)
        grouped = case.mode in (Mode.GXB, Mode.GXYB)
        self.members = {NUMBER_A, OTHER_MEMBER} if grouped else set()
        self.bindings = [
            replace(
                BINDING,
                mode=case.mode,
                y=Y if case.two else "",
                a=NUMBER_A if case.first else OTHER_MEMBER,
                group="riders" if grouped else "",
            )
        ]
        self.real.reconfigure(self.real.limits, self.trunks, self.switch.now)

    def _find(self, dialled: str, caller: str) -> Binding | None:
        (binding,) = self.bindings
        if dialled == binding.x and caller in self.members:
            return replace(binding, a=caller)
        known = (binding.x, binding.a), (binding.y or binding.x, binding.b)
        return binding if (dialled, caller) in known else None


def scene_of(case: Case, real: bool, *, multipart: bool = False) -> Scene:
    """Both parties with every place filled; a member that is to be the last caller has called."""
    world = ModeWorld(case)
    scene = Scene(real, case.from_a, multipart=multipart, world=world, number=case.dialled)
    if not case.from_a and not case.first:
        before = world.caller.dial(X)
        before.on("200", before.hang_up, after=1.0)
        world.run(10.0)
        assert before.was_up
        for phone in (world.caller, world.callee):
            assert [each.stage for each in phone.calls] == [Stage.OVER]
            phone.calls.clear()
    return scene


def check(case: Case, scene: Scene, *messages: str) -> None:
    """Nothing has crossed, neither of the two parties nor of anybody else; each side knows its one alias."""
    scene.check(*messages)
    log = scene.world.network.log
    known, unknown = ({"a": X, "b": Y}, {"a": Y, "b": X}) if case.two else ({"a": X, "b": X}, {})
    for datagram in log:
        side = datagram.way[1:]
        if not datagram.way.startswith(">"):
            continue
        assert not reveals(datagram.data, bare_digits(OTHER_MEMBER)), f"{datagram.word} tells {side} of another member"
        if side in unknown:
            assert not reveals(datagram.data, unknown[side]), f"{datagram.word} tells {side} what the other one dials"
    answering = "b" if case.from_a else "a"
    called = [d.message for d in log if (d.way, d.word) == (f">{answering}", "INVITE") and not d.message.to_tag]
    assert called
    for invite in called:
        seen = parse_name_addr(invite.get("from") or "").uri
        assert known[answering] in seen
        assert case.shown == known[answering]
        assert case.shown in (invite.get("p-asserted-identity") or "")


@EVERY_CASE
@EITHER_FILLING
@pytest.mark.parametrize("multipart", [False, True], ids=["plain", "multipart"])
def test_nothing_crosses_in_a_call(case: Case, real: bool, multipart: bool) -> None:
    scene = scene_of(case, real, multipart=multipart)
    call = talk(scene)
    call.on("200", call.hang_up, after=20.0)
    check(case, scene, *EVERY_MESSAGE)
    assert call.was_up
    assert len(scene.dialled.calls) == 1


@EVERY_CASE
@EITHER_FILLING
def test_nothing_crosses_in_a_call_hung_up_by_the_callee(case: Case, real: bool) -> None:
    scene = scene_of(case, real)
    call = talk(scene)
    scene.world.network.later(20.0, lambda: scene.dialled.call.hang_up())
    check(case, scene, *EVERY_MESSAGE)
    assert call.was_up


@EVERY_CASE
@EITHER_FILLING
def test_nothing_crosses_in_a_call_that_is_cancelled(case: Case, real: bool) -> None:
    scene = scene_of(case, real)
    scene.dialled.on_call = answer_after(30.0)
    call = scene.dial()
    scene.world.network.later(5.0, call.cancel)
    check(case, scene, "INVITE", "CANCEL", "ACK", "180 INVITE", "487 INVITE", "200 CANCEL")
    assert call.statuses[-1] == 487


@EVERY_CASE
@EITHER_FILLING
@pytest.mark.parametrize("status", [302, 407, 486, 503])
def test_nothing_crosses_in_a_failure(case: Case, real: bool, status: int) -> None:
    scene = scene_of(case, real)
    for phone in (scene.dialled, scene.world.second):
        phone.on_call = refuse_with(status, ring=0.5)
    call = scene.dial()
    check(case, scene, "INVITE", "ACK", "180 INVITE", f"{status} INVITE")
    assert call.statuses[-1] >= 400


@EVERY_CASE
@EITHER_FILLING
@pytest.mark.parametrize("status", [302, 491])
def test_nothing_crosses_in_a_refused_reinvite(case: Case, real: bool, status: int) -> None:
    scene = scene_of(case, real)
    call = scene.dial()
    refuse: Callable[[PhoneCall, object], None] = lambda asked, request: asked.refuse(status)  # noqa: E731
    call.on_reinvite = refuse
    call.on("200", call.hang_up, after=20.0)
    scene.world.run(3.0)
    answered = scene.dialled.call
    answered.on_reinvite = refuse
    scene.world.network.later(1.0, call.hold)
    scene.world.network.later(3.0, answered.hold)
    check(case, scene, "re-INVITE", f"{status} INVITE")


@EVERY_CASE
@EITHER_FILLING
def test_nothing_crosses_when_the_switch_ends_the_call(case: Case, real: bool) -> None:
    scene = scene_of(case, real)
    scene.dial()
    scene.world.run(3.0)
    scene.world.switch.enter(scene.world.real.release_all)
    check(case, scene, "200 BYE")


@EVERY_CASE
@pytest.mark.parametrize("seed", range(3))
def test_nothing_crosses_over_a_bad_network(case: Case, seed: int) -> None:
    scene = scene_of(case, True)
    scene.world.network.conditions = Conditions(loss=0.3, duplication=0.3, jitter=0.3, seed=seed)
    call = talk(scene)
    call.on("200", call.hang_up, after=25.0)
    scene.world.finish()
    for side, unknown in (("a", Y), ("b", X)):
        for datagram in scene.world.network.toward(side):
            assert not reveals(datagram.data, bare_digits(NUMBER_B if side == "a" else NUMBER_A))
            assert not reveals(datagram.data, bare_digits(OTHER_MEMBER))
            assert not (case.two and reveals(datagram.data, unknown))


@EVERY_CASE
def test_a_stranger_who_dials_an_alias_learns_nothing(case: Case) -> None:
    world = ModeWorld(case)
    world.members.discard(NUMBER_A)
    world.bindings = [replace(world.bindings[0], a=OTHER_MEMBER)]
    for number in (X, Y):
        call = world.caller.dial(number)
        world.run(5.0)
        assert call.statuses[-1] in (403, 404)
    world.finish()
    told = b"\n".join(datagram.data for datagram in world.network.toward("a"))
    for number in (NUMBER_B, OTHER_MEMBER):
        assert not reveals(told, bare_digits(number))
    assert world.network.toward("b") == []


def test_the_alias_is_searched_for() -> None:
    """The check above would find it: the caller's own messages hold it."""
    case = CASES["axyb_a_calls"]
    scene = scene_of(case, False)
    call = scene.dial()
    call.on("200", call.hang_up, after=2.0)
    scene.world.finish()
    assert any(reveals(d.data, X) for d in scene.world.network.toward("a"))
    assert any(reveals(d.data, Y) for d in scene.world.network.toward("b"))
