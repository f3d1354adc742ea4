"""Digest as the client: trunks that ask who we are (RFC 3261 §22.2, §22.3, RFC 8760)."""

from dataclasses import replace
from typing import Any

import pytest

from b2bua.call.credentials import Account
from b2bua.sip.digest import Algorithm, hash_secret
from b2bua.sip.message import Request, Response
from b2bua.sip.parser import parse
from b2bua.sip.transaction import ClientTransaction
from routing.trunks import Secret
from tests.call.digest_phone import DigestPhone, DigestWorld, Gate, proved
from tests.call.flows import FLOWS, Flow
from tests.call.phone import PhoneCall, answer_after, refuse_with
from tests.call.world import ADDRESS_B, NUMBER_A, TRUNKS, World, X
from tests.wire import Conditions, answer_text, nth, tokens

EVERY_FLOW = pytest.mark.parametrize("flow", FLOWS, ids=[flow.name for flow in FLOWS])


def play(
    flow: Flow, conditions: Conditions, server: bool = False
) -> tuple[DigestWorld, list[tuple[str, int, str, str]]]:
    world = DigestWorld(conditions, server=server, client=True)
    flow.start(world)
    told = world.finish()
    for phone in (world.caller, world.callee, world.second):
        assert isinstance(phone, DigestPhone)
        assert "wrong" not in " ".join(word for gate in phone.gates for word in gate.words)
    return world, [(s.ended.outcome, s.ended.status, s.ended.ended_by, s.ended.reason) for s in told]


@EVERY_FLOW
def test_every_flow_goes_through_trunks_that_ask_us_whatever_datagram_is_lost(flow: Flow) -> None:
    world, expected = play(flow, Conditions())
    for number in range(len(world.network.log)):
        _, happened = play(flow, Conditions(drop=nth(number)))
        if flow.settled:
            assert happened == expected, f"without datagram {number}"


@EVERY_FLOW
def test_both_sides_may_ask_each_other(flow: Flow) -> None:
    play(flow, Conditions(), server=True)


def callee_gate(world: DigestWorld, *gates: Gate) -> tuple[Gate, ...]:
    """What B's carrier asks for."""
    assert isinstance(world.callee, DigestPhone)
    world.callee.gates = gates
    return gates


def quiet_world(**more: Any) -> DigestWorld:
    """A asks nothing; B's carrier has what the test gives it."""
    world = DigestWorld(server=False, client=True, **more)
    for phone in (world.caller, world.callee, world.second):
        assert isinstance(phone, DigestPhone)
        phone.gates = ()
    return world


def one_call(world: DigestWorld) -> Any:
    call = world.caller.dial(X)
    call.on("200", call.hang_up, after=20.0)
    world.run(30.0)
    return call


def counted(world: DigestWorld) -> tuple[dict[str, int], dict[tuple[str, str], int]]:
    statistics = world.real.statistics
    return dict(statistics.challenges_answered), dict(statistics.authentication_failures)


@pytest.mark.parametrize("algorithm", Algorithm)
@pytest.mark.parametrize("qop", [(), ("auth",), ("auth-int",), ("auth", "auth-int")])
@pytest.mark.parametrize("status", [401, 407])
def test_every_kind_of_challenge_is_answered(algorithm: Algorithm, qop: tuple[str, ...], status: int) -> None:
    world = quiet_world()
    [gate] = callee_gate(world, Gate([algorithm], qop=qop, status=status))
    one_call(world)
    assert gate.words == ["INVITE nothing", "INVITE right", "BYE right"]
    [story] = world.finish()
    assert story.ended.outcome == "answered"
    assert counted(world) == ({"carrier-b": 1}, {})


def test_a_nonce_is_used_ahead_in_the_next_calls_with_its_count_rising() -> None:
    world = quiet_world()
    [gate] = callee_gate(world, Gate())
    for _ in range(3):
        one_call(world)
    assert gate.words == ["INVITE nothing", *["INVITE right", "BYE right"] * 3]
    world.finish()


@pytest.mark.parametrize("tell_stale", [True, False])
def test_a_nonce_that_is_no_longer_good_is_replaced(tell_stale: bool) -> None:
    """Also for a peer that does not say stale: the first answer was one from memory."""
    world = quiet_world()
    [gate] = callee_gate(world, Gate(uses=1, tell_stale=tell_stale))
    one_call(world)
    one_call(world)
    first = ["INVITE nothing", "INVITE right", "BYE stale", "BYE right"]
    assert gate.words == [*first, "INVITE stale", "INVITE right", "BYE stale", "BYE right"]
    assert [story.ended.outcome for story in world.finish()] == ["answered"] * 2
    assert counted(world) == ({"carrier-b": 4}, {})


def test_stale_counts_once() -> None:
    """A peer that calls every nonce stale is not asked for ever."""
    world = quiet_world()
    [gate] = callee_gate(world, Gate(uses=0))
    call = one_call(world)
    assert gate.words == ["INVITE nothing", "INVITE stale", "INVITE stale"]
    assert call.statuses == [100, 500]
    world.finish()
    assert counted(world) == ({"carrier-b": 2}, {("carrier-b", "refused"): 1})


def test_a_wrong_password_is_given_up_at_once_and_told_once() -> None:
    world = quiet_world()
    [gate] = callee_gate(world, Gate(password="another"))
    calls = [one_call(world) for _ in range(2)]
    assert gate.words == ["INVITE nothing", "INVITE wrong"] * 2
    assert [call.statuses for call in calls] == [[100, 500]] * 2
    assert ("credentials_refused", "carrier-b") in world.switch.notices
    assert world.switch.notices.count(("credentials_refused", "carrier-b")) == 1
    for story in world.finish():
        assert (story.ended.outcome, story.ended.status, story.ended.routes) == ("rejected", 500, ("carrier-b:401",))
    assert counted(world) == ({"carrier-b": 2}, {("carrier-b", "refused"): 2})


def test_a_trunk_without_name_of_ours_refuses_by_asking() -> None:
    world = World()
    world.callee.on_call = refuse_with(401, 'WWW-Authenticate: Digest realm="a", nonce="b"')
    call = world.caller.dial(X)
    world.run(5.0)
    assert call.statuses == [100, 500]
    world.finish()


@pytest.mark.parametrize(
    "lines",
    [
        (),
        ('WWW-Authenticate: Basic realm="a"',),
        ('WWW-Authenticate: Digest realm="a"',),
        ('WWW-Authenticate: Digest realm="a", nonce="b\x01c"',),
        ('WWW-Authenticate: Digest realm="a\x0bb", nonce="c"',),
        ('WWW-Authenticate: Digest realm="a", nonce="b", algorithm=SHA-1',),
    ],
)
def test_what_cannot_be_answered_is_a_refusal(lines: tuple[str, ...]) -> None:
    world = quiet_world()
    world.callee.on_call = refuse_with(407, *lines)
    call = world.caller.dial(X)
    world.run(5.0)
    assert call.statuses == [100, 500]
    world.finish()
    assert counted(world) == ({}, {("carrier-b", "refused"): 1})


def test_a_hash_answers_its_own_algorithm_alone() -> None:
    """H(A1) instead of a password: SHA-256 stands first, but there is nothing to answer it with."""
    secret = Secret(
        "x700-at-carrier", "MD5", hash_secret(Algorithm.MD5, "x700-at-carrier", "carrier.example", "let us in")
    )
    trunks = tuple(replace(trunk, username="x700-at-carrier", secrets=(secret,)) for trunk in TRUNKS)
    world = quiet_world(trunks=trunks)
    [gate] = callee_gate(world, Gate([Algorithm.MD5]))
    gate.offered = (Algorithm.SHA_256, Algorithm.MD5)
    one_call(world)
    assert gate.words[:2] == ["INVITE nothing", "INVITE right"]
    world.finish()


def test_proxies_and_the_far_end_may_ask_one_after_the_other() -> None:
    world = quiet_world()
    proxy, server = callee_gate(world, Gate(realm="proxy.example", status=407), Gate())
    one_call(world)
    one_call(world)
    assert proxy.words == ["INVITE nothing", "INVITE right", *["INVITE right", "BYE right"] * 2]
    assert server.words == ["INVITE nothing", "INVITE right", "BYE right", "INVITE right", "BYE right"]
    assert [story.ended.outcome for story in world.finish()] == ["answered"] * 2


def test_what_was_remembered_of_one_peer_does_not_count_as_tried_at_another() -> None:
    """Two peers of one trunk with realms of their own, and then the first asks anew."""
    world = quiet_world()
    first, second = Gate(realm="one.example"), Gate(realm="two.example")
    callee_gate(world, first)
    one_call(world)
    callee_gate(world, second)
    one_call(world)
    first._serial = 7  # its nonces are worth nothing any more
    callee_gate(world, second, first)
    second._serial = 9
    one_call(world)
    assert second.words[-4:] == ["INVITE stale", "INVITE right", "INVITE right", "BYE right"]
    assert first.words[-3:] == ["INVITE stale", "INVITE right", "BYE right"]
    assert [story.ended.outcome for story in world.finish()] == ["answered"] * 3


def test_several_realms_in_one_answer_are_answered_together() -> None:
    world = quiet_world()
    first, second = Gate(realm="one.example", status=407), Gate(realm="two.example", status=407)
    callee_gate(world, Both(first, second))
    one_call(world)
    for gate in (first, second):
        assert gate.words == ["INVITE nothing", "INVITE right", "BYE right"]
    world.finish()
    assert counted(world) == ({"carrier-b": 1}, {})


class Both(Gate):
    """Two gates that ask in one answer, as a forking proxy does."""

    def __init__(self, *gates: Gate) -> None:
        super().__init__(status=407)
        self._gates = gates

    def asks(self, request: Request) -> tuple[str, ...]:
        return tuple(line for gate in self._gates for line in gate.asks(request))


def test_realms_without_end_are_not_remembered() -> None:
    world = quiet_world()

    class Whim(Gate):
        def asks(self, request: Request) -> tuple[str, ...]:
            self.realm = f"realm-{len(self.words)}"
            self._counts.clear()
            return super().asks(request)

    [gate] = callee_gate(world, Whim())
    call = one_call(world)
    assert call.statuses[-1] == 500
    assert len(gate.words) < 12
    sizes = [len(request.data) for request in world.network.toward("b") if request.word == "INVITE"]
    assert max(sizes) < 3000
    world.finish()


def test_a_refusal_leads_to_no_other_route_and_a_failure_does() -> None:
    world = quiet_world()
    [gate] = callee_gate(world, Gate())
    world.callee.on_call = refuse_with(503)
    assert isinstance(world.second, DigestPhone)
    world.second.gates = (other := Gate(realm="second.example"),)
    one_call(world)
    assert gate.words == ["INVITE nothing", "INVITE right"]
    assert other.words == ["INVITE nothing", "INVITE right", "BYE right"]
    [story] = world.finish()
    assert story.ended.routes == ("carrier-b:503", "carrier-c:200")


def test_an_invite_that_was_given_up_is_not_sent_again() -> None:
    """CANCEL, and a challenge instead of 487."""
    world = quiet_world()
    callee = world.callee
    challenge = 'WWW-Authenticate: Digest realm="a", nonce="b"'

    def ring(call: PhoneCall) -> None:
        call.ring()
        call.on("CANCEL", lambda: None)
        call.refuse_cancel = lambda: None  # type: ignore[attr-defined]
        callee.network.later(5.0, lambda: call.refuse(401, challenge))

    callee.on_call = ring
    callee.endpoint._cancel = lambda *_: None  # type: ignore[method-assign]
    call = world.caller.dial(X)
    world.network.later(2.0, call.cancel)
    world.run(20.0)
    assert [datagram.word for datagram in world.network.toward("b")].count("INVITE") == 1
    assert call.statuses[-1] == 487
    world.finish(answers=False, agree=False)


def test_what_a_peer_asks_cannot_make_the_tripwire_tell_it_whether_a_guess_is_right() -> None:
    world = quiet_world()
    guess = NUMBER_A.removeprefix("+86")
    gate = Gate(realm=f'realm "{guess}"')
    callee_gate(world, gate)
    one_call(world)
    assert gate.words == ["INVITE nothing", "INVITE right", "BYE right"]
    [story] = world.finish(private=False)
    assert story.ended.outcome == "answered"


def test_the_caller_may_be_asked_for_too_but_never_by_us() -> None:
    """B hangs up: the BYE on A's side is challenged by A's carrier, which knows us; and nothing of it crosses."""
    world = DigestWorld(server=False, client=True)
    world.callee.on_call = answer_after(1.0)
    call = world.caller.dial(X)
    call.on("200", lambda: world.callee.call.hang_up(), after=5.0)
    world.run(20.0)
    assert isinstance(world.caller, DigestPhone)
    assert world.caller.gates[0].words == ["BYE nothing", "BYE right"]
    for datagram in world.network.log:
        assert (b"authorization:" in datagram.data.lower()) == (
            datagram.way.startswith(">") and b"nonce-" in datagram.data
        )
    world.finish()


def test_probes_are_answered_for_too() -> None:
    trunks = [replace(proved(TRUNKS[1]), probe_seconds=10.0, probe_failing=("401", "408", "503"))]
    world = World(trunks=trunks)
    target = world.script(ADDRESS_B)
    gate = Gate()

    def react(data: bytes) -> None:
        request = parse(data)
        assert isinstance(request, Request)
        lines = gate.asks(request)
        target.send(answer_text(request, 401 if lines else 200, ADDRESS_B, lines=lines))

    target.react = react
    world.switch.enter(world.real.start)
    world.run(60.0)
    assert gate.words[:3] == ["OPTIONS nothing", "OPTIONS right", "OPTIONS right"]
    assert "wrong" not in "".join(gate.words)
    [view] = world.real.trunk_view(world.switch.now)
    assert (view.state, view.probe_answer, view.probes_failed) == ("up", "200", 0)
    gate.password = "another"
    world.run(60.0)
    [view] = world.real.trunk_view(world.switch.now)
    assert (view.state, view.probe_answer) == ("down", "401")
    world.switch.enter(world.real.drain)
    world.finish(agree=False)


def test_an_account_survives_a_reload_unless_it_changes() -> None:
    world = quiet_world()
    [gate] = callee_gate(world, Gate())
    one_call(world)
    world.reconfigure(trunks=world.trunks, max_calls=7)
    one_call(world)
    assert gate.words == ["INVITE nothing", *["INVITE right", "BYE right"] * 2]
    world.reconfigure(trunks=tuple(replace(trunk, calls_per_second=50.0) for trunk in world.trunks))
    one_call(world)
    assert gate.words[5:] == ["INVITE nothing", "INVITE right", "BYE right"]
    world.finish()


def test_a_request_stopped_by_the_tripwire_is_not_repeated() -> None:
    world = quiet_world()
    account = Account(proved(TRUNKS[1]), tokens("account"), world.real.statistics, [])
    transaction = ClientTransaction(world.real.endpoint, "INVITE", "k", world.caller.flow, b"", None)
    response = parse(
        b"SIP/2.0 401 x\r\nVia: SIP/2.0/UDP a;branch=z9hG4bK1\r\nFrom: <sip:a>;tag=1\r\nTo: <sip:b>;tag=2\r\n"
        b'Call-ID: c\r\nCSeq: 1 INVITE\r\nWWW-Authenticate: Digest realm="r", nonce="n"\r\n\r\n'
    )
    assert isinstance(response, Response)
    transaction.wire = None
    assert account.take(transaction, response) == ()
    world.finish()


def test_secrets_of_many_realms_are_not_kept() -> None:
    world = quiet_world()
    account = Account(proved(TRUNKS[1]), tokens("account"), world.real.statistics, [])
    for number in range(100):
        assert len(account._known(f"realm-{number}")) == 3
    assert len(account._secrets) <= 16
    world.finish()
