"""Digest as the server: trunks that have to prove who they are (RFC 3261 §22, RFC 7616, RFC 8760)."""

import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from b2bua.sip.digest import (
    Algorithm,
    Challenge,
    answer,
    format_credentials,
    hash_secret,
    parse_challenge,
    parse_credentials,
)
from b2bua.sip.transaction import Flow as Path
from routing.trunks import Secret, Trunk
from tests.call.digest_phone import PASSWORD, REALM, DigestPhone, DigestWorld, proving
from tests.call.flows import FLOWS, Flow
from tests.call.phone import description
from tests.call.world import NUMBER_A, TRUNKS, World, X
from tests.wire import START_MS, SWITCH, Address, Conditions, Script, nth, request_text

SDP = description("198.51.100.10").decode()
EVERY_FLOW = pytest.mark.parametrize("flow", FLOWS, ids=[flow.name for flow in FLOWS])


def play(flow: Flow, conditions: Conditions) -> tuple[DigestWorld, list[tuple[str, int, str, str]]]:
    world = DigestWorld(conditions)
    flow.start(world)
    told = world.finish()
    for datagram in world.network.log:
        assert datagram.target == SWITCH or b"authorization:" not in datagram.data.lower(), "a proof has crossed"
        assert b"www-authenticate:" not in datagram.data.lower() or datagram.word == "401"
    return world, [(s.ended.outcome, s.ended.status, s.ended.ended_by, s.ended.reason) for s in told]


@EVERY_FLOW
def test_every_flow_goes_through_a_trunk_that_proves_itself_whatever_datagram_is_lost(flow: Flow) -> None:
    world, expected = play(flow, Conditions())
    assert world.caller.challenged + world.callee.challenged == 1
    for number in range(len(world.network.log)):
        _, happened = play(flow, Conditions(drop=nth(number)))
        if flow.settled:
            assert happened == expected, f"without datagram {number}"


# what a stranger learns

ANYWHERE: Address = ("198.51.100.66", 5060)
OPEN = replace(proving(TRUNKS[0]), peers=(), networks=("0.0.0.0/0", "::/0"), prefixes=())
STATIC = (TRUNKS[1], TRUNKS[2])
URI = f"sip:{X}@{SWITCH[0]}"


class Stranger(Script):
    """Speaks digest by hand; ``user`` and ``password`` are right for the open trunk."""

    def __init__(self, world: World, address: Address = ANYWHERE) -> None:
        super().__init__(world.network, address, "a")
        self.world = world
        self.user = "gw-1-carrier-a"
        self.password = PASSWORD
        self.cseq = 0

    def ask(self, method: str = "OPTIONS", uri: str = URI, *lines: str, seconds: float = 0.1, **more: Any) -> list[str]:
        """Send a request and return what came in these seconds."""
        before = len(self.inbox)
        self.cseq += 1
        asserted = f"P-Asserted-Identity: <sip:{NUMBER_A[3:]}@{self.address[0]}>"
        if ":" in self.address[0]:
            host = f"[{self.address[0]}]"
            more["via"] = f"Via: SIP/2.0/UDP {host}:5060;branch=z9hG4bK-{host.count('f')}-{self.cseq};rport"
            more["from_value"] = f"<sip:{host}>;tag=script"
        text = request_text(method, uri, self.address, lines=(*lines, asserted), cseq=self.cseq, **more)
        self.send(text)
        self.world.run(seconds)
        return self.words[before:]

    def challenge(self, **wanted: Any) -> Challenge:
        """The first challenge of the last 401, with changes."""
        value = self.last("401").all("www-authenticate")[0]
        return replace(parse_challenge(value), **wanted)

    def proof(
        self, challenge: Challenge, method: str = "OPTIONS", uri: str = URI, count: int = 1, **changes: Any
    ) -> str:
        """The Authorization line that answers a challenge."""
        credentials = answer(
            challenge,
            method=method,
            uri=uri,
            username=self.user,
            secret=hash_secret(challenge.algorithm, self.user, challenge.realm, self.password),
            cnonce="c",
            count=count,
            body=changes.pop("body", b""),
        )
        return f"Authorization: {format_credentials(replace(credentials, **changes))}"


def open_world(*trunks: Trunk, **settings: Any) -> World:
    return World(trunks=(*(trunks or (OPEN,)), *STATIC), settings=settings)


def failures(world: World) -> dict[tuple[str, str], int]:
    return {
        (trunk, str(reason)): count for (trunk, reason), count in world.real.statistics.authentication_failures.items()
    }


def test_a_source_of_no_trunk_gets_no_answer_at_all() -> None:
    world = World(trunks=(proving(TRUNKS[0]), *STATIC))
    stranger = Stranger(world)
    for method in ("OPTIONS", "INVITE", "REGISTER", "SUBSCRIBE", "BYE", "MESSAGE"):
        assert stranger.ask(method) == []
    assert stranger.ask("OPTIONS", URI, stranger.proof(Challenge(REALM, "guess"))) == []
    assert world.real.statistics.drops["unknown_source"] == 7
    world.finish(answers=False)


def test_whatever_a_stranger_asks_for_the_answer_is_the_same() -> None:
    world = open_world()
    stranger = Stranger(world)
    answers = set()
    for method in ("OPTIONS", "INVITE", "REGISTER", "SUBSCRIBE", "MESSAGE", "PUBLISH", "NOTIFY", "FOO", "BYE", "REFER"):
        for user in (X, "700999999990000", "100", "admin", NUMBER_A):
            for to_value in ("", f"<sip:{user}@{SWITCH[0]}>;tag=guess"):
                assert stranger.ask(method, f"sip:{user}@{SWITCH[0]}", to_value=to_value) == ["401"]
                reply = stranger.last("401")
                lines = {key: values for key, values in reply.first.items() if key not in ("via", "call-id", "cseq")}
                del lines["to"], lines["from"]
                answers.add(str(sorted((key, re.sub(r'nonce="[^"]*"', "", value)) for key, value in lines.items())))
                assert [parse_challenge(value).algorithm for value in reply.all("www-authenticate")] == [
                    "SHA-256",
                    "MD5",
                ]
    assert len(answers) == 1
    assert world.real.statistics.attempts.total() == 0
    assert world.real.statistics.challenges == 100
    world.finish()


def test_a_challenge_is_sent_once_and_leaves_nothing_behind() -> None:
    """RFC 3261 §26.3.2.4: the source may be forged, and the one it belongs to must not be flooded."""
    world = open_world()
    stranger = Stranger(world)
    assert stranger.ask("INVITE", branch="z9hG4bK-same", seconds=60.0) == ["401"]
    assert set(world.real.tables().values()) == {0}
    first = stranger.last("401")
    stranger.cseq -= 1
    assert stranger.ask("INVITE", branch="z9hG4bK-same") == ["401"]
    assert stranger.last("401").to_tag == first.to_tag  # §8.2.7: a stateless server always gives the same
    assert stranger.ask("ACK", to_value=first.to_value) == []
    assert stranger.ask("CANCEL", branch="z9hG4bK-none") == ["481"]
    world.finish()


def test_who_proves_itself_is_the_trunk_whatever_its_address() -> None:
    world = open_world()
    stranger = Stranger(world)
    assert stranger.ask() == ["401"]
    assert stranger.ask("OPTIONS", URI, stranger.proof(stranger.challenge())) == ["200"]
    assert stranger.ask("REGISTER", URI, stranger.proof(stranger.challenge(), "REGISTER", count=2)) == ["405"]
    proof = stranger.proof(stranger.challenge(), "INVITE", "sip:700999999990000@192.0.2.1", count=3)
    assert stranger.ask("INVITE", "sip:700999999990000@192.0.2.1", proof, body=SDP) == ["100", "404"]
    [story] = world.finish()
    assert (story.attempted.ingress, story.ended.reason) == ("carrier-a", "block_unknown")
    assert failures(world) == {}


@pytest.mark.parametrize("algorithm", [Algorithm.MD5, Algorithm.SHA_256, Algorithm.SHA_512_256])
@pytest.mark.parametrize("qop", [(), ("auth",), ("auth-int",)])
@pytest.mark.parametrize("kind", ["password", "hash"])
def test_every_algorithm_and_quality(algorithm: Algorithm, qop: tuple[str, ...], kind: str) -> None:
    user = OPEN.digest_users[0]
    hashed = Secret(user, algorithm, hash_secret(algorithm, user, REALM, PASSWORD).upper())
    secrets = (Secret("other", "", "x"), hashed if kind == "hash" else Secret(user, "", PASSWORD))
    trunk = replace(OPEN, digest_algorithms=(algorithm.value,), digest_qop=qop, secrets=secrets)
    world = open_world(trunk)
    stranger = Stranger(world)
    stranger.ask()
    challenge = stranger.challenge()
    assert (challenge.algorithm, challenge.qop) == (algorithm, qop)
    body = "v=0\r\n"
    good = stranger.proof(challenge, "REGISTER", body=body.encode())
    assert stranger.ask("REGISTER", URI, good, body=body) == ["405"]
    assert stranger.ask("REGISTER", URI, good, body=body) == ["401"]  # the same once more
    assert stranger.challenge().stale
    if qop == ("auth-int",):
        forged = stranger.proof(stranger.challenge(), "REGISTER", body=body.encode())
        assert stranger.ask("REGISTER", URI, forged, body="v=1\r\n", seconds=1.0) == ["401"]
        assert failures(world)["carrier-a", "password"] == 1
    world.finish()


# what does not count


def test_a_proof_counts_once_also_when_it_is_overtaken() -> None:
    world = open_world()
    stranger = Stranger(world)
    stranger.ask()
    challenge = stranger.challenge()
    for count, expected in (
        (1, "200"),
        (3, "200"),
        (2, "200"),
        (2, "401"),
        (3, "401"),
        (1, "401"),
        (100, "200"),
        (4, "401"),
    ):
        assert stranger.ask("OPTIONS", URI, stranger.proof(challenge, count=count)) == [expected], count
        assert expected == "200" or stranger.challenge().stale
    assert failures(world) == {("carrier-a", "replay"): 4}
    world.finish()


def test_a_nonce_grows_old() -> None:
    world = open_world(replace(OPEN, digest_nonce_seconds=30.0))
    stranger = Stranger(world)
    stranger.ask()
    challenge = stranger.challenge()
    world.run(29.5)
    assert stranger.ask("OPTIONS", URI, stranger.proof(challenge)) == ["200"]
    world.run(1.0)
    assert stranger.ask("OPTIONS", URI, stranger.proof(challenge, count=2)) == ["401"]
    assert stranger.challenge().stale
    assert stranger.ask("OPTIONS", URI, stranger.proof(stranger.challenge())) == ["200"]
    assert failures(world) == {("", "stale"): 1}
    world.finish()


def test_a_nonce_is_for_the_source_that_it_was_sent_to() -> None:
    """So nobody with a forged address can test passwords, nor get somebody else's address ignored."""
    world = open_world(digest_failures=1)
    stranger, other = Stranger(world), Stranger(world, ("198.51.100.67", 5060))
    stranger.ask()
    stolen = stranger.challenge()
    other.password = "wrong"
    for _ in range(5):
        assert other.ask("OPTIONS", URI, other.proof(stolen)) == ["401"]  # at once: no password was looked at
        assert other.challenge().stale
    assert failures(world) == {("", "stale"): 5}
    assert world.real.authentication.ignored() == 0
    world.finish()


@pytest.mark.parametrize(
    "line",
    [
        "Authorization: Basic Z3ctMTp4",
        "Authorization: Digest",
        f'Authorization: Digest username="x", realm="elsewhere", nonce="n", uri="{URI}", response="{"0" * 32}"',
        f'Authorization: Digest username="x", realm="{REALM}", nonce="n", uri="{URI}"',
    ],
)
def test_what_is_no_answer_to_our_challenge_is_challenged(line: str) -> None:
    world = open_world()
    stranger = Stranger(world)
    assert stranger.ask("OPTIONS", URI, line) == ["401"]
    assert not stranger.challenge().stale
    assert failures(world) == {("", "malformed"): 1}
    world.finish()


@pytest.mark.parametrize(
    "change", [{"algorithm": Algorithm.MD5_SESS}, {"algorithm": Algorithm.SHA_512_256}, {"userhash": True}]
)
def test_what_was_not_offered_is_not_taken(change: dict[str, Any]) -> None:
    world = open_world()
    stranger = Stranger(world)
    stranger.ask()
    assert stranger.ask("OPTIONS", URI, stranger.proof(stranger.challenge(**change))) == ["401"]
    assert failures(world) == {("", "malformed"): 1}
    world.finish()


@pytest.mark.parametrize(
    ("proved_uri", "sent", "expected"),
    [
        (URI, URI, "200"),
        (f"{URI};user=phone", URI, "200"),
        (f"sip:{X}@192.0.2.1", f"sip:{X}@192.0.2.1;transport=udp", "200"),
        ("tel:+8670012345678", "tel:+8670012345678", "200"),
        (URI, "sip:700999999990000@192.0.2.1", "400"),
        ("rubbish", URI, "400"),
        ("tel:700123456789012", URI, "400"),
        ("tel:700123456789012", "tel:+8613800138000", "400"),
    ],
)
def test_a_proof_is_for_one_request_uri(proved_uri: str, sent: str, expected: str) -> None:
    world = open_world()
    stranger = Stranger(world)
    stranger.ask()
    proof = stranger.proof(stranger.challenge(), uri=proved_uri)
    assert stranger.ask("OPTIONS", sent, proof) == [expected]
    assert failures(world) == ({} if expected == "200" else {("carrier-a", "uri"): 1})
    world.finish()


# wrong passwords


@pytest.mark.parametrize("wrong", [{"password": "guess"}, {"user": "nobody"}], ids=["password", "user"])
def test_a_wrong_password_or_name_is_answered_later_and_later_and_then_no_more(wrong: dict[str, str]) -> None:
    world = open_world(digest_failures=5, digest_ignore_seconds=100.0)
    stranger = Stranger(world)
    vars(stranger).update(wrong)
    delays = []
    for number in range(4):
        stranger.ask(branch=f"z9hG4bK-probe-{number}")
        sent = world.network.now
        assert stranger.ask("OPTIONS", URI, stranger.proof(stranger.challenge()), seconds=12.0) == ["401"]
        assert not stranger.challenge().stale
        delays.append(round(world.network.log[-1].at - sent, 1))
    for delay, least in zip(delays, (0.5, 1.0, 2.0, 4.0), strict=True):
        assert least <= delay < least + 0.3
    stranger.ask()
    assert stranger.ask("OPTIONS", URI, stranger.proof(stranger.challenge()), seconds=12.0) == ["401"]
    assert world.real.authentication.ignored() == 1
    vars(stranger).update(user=OPEN.digest_users[0], password=PASSWORD)
    assert stranger.ask(seconds=40.0) == []  # not even the right password is heard
    assert world.real.statistics.drops["ignored_source"] == 1
    world.run(60.0)
    assert stranger.ask() == ["401"]
    assert stranger.ask("OPTIONS", URI, stranger.proof(stranger.challenge())) == ["200"]
    assert world.real.authentication.ignored() == 0
    reason = "user" if "user" in wrong else "password"
    trunk = "" if "user" in wrong else "carrier-a"
    assert failures(world) == {(trunk, reason): 5}
    fields = {"source": ANYWHERE[0], "trunk": trunk, "reason": reason}
    assert world.real.authentication.notices == [("authentication_failed", fields), ("source_ignored", fields)]
    world.finish(answers=False)


def test_a_wrong_password_is_one_failure_however_often_the_request_is_repeated() -> None:
    world = open_world()
    stranger = Stranger(world)
    stranger.password = "guess"
    stranger.ask("INVITE")
    proof = stranger.proof(stranger.challenge(), "INVITE")
    for _ in range(3):
        assert stranger.ask("INVITE", URI, proof, branch="z9hG4bK-again", seconds=0.1) == []
        stranger.cseq -= 1
    world.run(0.3)
    assert stranger.words[-1] == "401"
    assert failures(world) == {("carrier-a", "password"): 1}
    world.finish()


def test_failures_long_ago_are_forgiven_and_zero_never_ignores() -> None:
    for failures_allowed, pause, expected in ((2, 61.0, 0), (2, 0.0, 1), (0, 0.0, 0)):
        world = open_world(digest_failures=failures_allowed, digest_window_seconds=60.0)
        stranger = Stranger(world)
        stranger.password = "guess"
        for _ in range(2):
            stranger.ask()
            assert stranger.ask("OPTIONS", URI, stranger.proof(stranger.challenge()), seconds=2.0) == ["401"]
            world.run(pause)
        assert world.real.authentication.ignored() == expected
        world.finish()


def test_an_ignored_source_keeps_the_call_that_is_up() -> None:
    world = DigestWorld(settings={"digest_failures": 1})
    call = world.caller.dial(X)
    call.on("200", call.hang_up, after=20.0)
    world.run(5.0)
    assert isinstance(world.caller, DigestPhone)
    world.caller.password = "guess"
    second = world.caller.dial(X)
    world.run(5.0)
    assert second.statuses == [401]
    assert world.real.authentication.ignored() == 1
    told = world.finish()
    assert [story.ended.outcome for story in told] == ["answered"]


def test_a_cancelled_invite_with_a_wrong_password_ends() -> None:
    world = DigestWorld()
    assert isinstance(world.caller, DigestPhone)
    world.caller.password = "guess"
    call = world.caller.dial(X)
    world.run(0.1)
    call.cancel(hasty=True)
    world.run(5.0)
    assert call.heard[-1] == "401"
    world.finish()


def test_memory_is_bounded() -> None:
    """Of sources of wrong passwords the oldest is forgotten; of answers held back the oldest goes out early."""
    world = open_world(digest_failures=1)
    world.real.authentication.most_suspects = 5
    world.real.authentication.most_held_back = 3
    strangers = [Stranger(world, (f"198.51.100.{number}", 5060)) for number in range(1, 9)]
    for stranger in strangers:
        stranger.password = "guess"
        stranger.ask(seconds=0.03)
        stranger.ask("OPTIONS", URI, stranger.proof(stranger.challenge()), seconds=0.02)
    assert [len(stranger.words) for stranger in strangers] == [2, 2, 2, 2, 2, 1, 1, 1]
    world.run(1.0)
    assert {tuple(stranger.words) for stranger in strangers} == {("401", "401")}
    assert world.real.authentication.ignored() == 5
    assert [stranger.ask() for stranger in strangers] == [["401"]] * 3 + [[]] * 5
    world.finish(answers=False)


def test_an_answer_held_back_for_a_request_that_is_gone_is_dropped() -> None:
    world = open_world()
    stranger = Stranger(world)
    stranger.password = "guess"
    stranger.ask()
    stranger.ask("OPTIONS", URI, stranger.proof(stranger.challenge()))
    [transaction] = world.real.endpoint.servers.values()
    world.switch.enter(lambda now: world.real.endpoint.transport_failed(transaction, now.monotonic))
    world.run(5.0)
    assert stranger.words == ["401"]
    world.finish(answers=False)


def test_a_network_of_ipv6_addresses_is_one_source() -> None:
    world = open_world(digest_failures=2)
    for host in ("2001:db8:1:2::1", "2001:db8:1:2:ffff::2"):
        stranger = Stranger(world, (host, 5060))
        stranger.password = "guess"
        stranger.ask()
        stranger.ask("OPTIONS", URI, stranger.proof(stranger.challenge()), seconds=3.0)
    assert world.real.authentication.ignored() == 1
    assert Stranger(world, ("2001:db8:1:2::3", 5060)).ask() == []
    assert Stranger(world, ("2001:db8:1:3::3", 5060)).ask() == ["401"]
    assert Stranger(world, ("::ffff:198.51.100.66", 5060)).ask() == ["401"]
    stranger.address = ("::ffff:198.51.100.67", 5060)
    world.network.attach(stranger.address, stranger, "a")
    for _ in range(2):
        stranger.ask()
        stranger.ask("OPTIONS", URI, stranger.proof(stranger.challenge()), seconds=3.0)
    assert world.real.authentication.ignored() == 2
    assert Stranger(world, ("198.51.100.67", 5060)).ask() == []
    assert Stranger(world, ("::ffff:198.51.100.66", 5060)).ask() == ["401"]
    world.finish(answers=False, private=False)


# several trunks


def second_open(**changes: Any) -> Trunk:
    secrets = (Secret("gw-2", "", "other word"),)
    usual: dict[str, Any] = {"name": "carrier-d", "digest_users": ("gw-2",), "secrets": secrets}
    return replace(OPEN, **{**usual, **changes})


def test_the_name_that_is_proved_tells_trunks_of_one_network_apart() -> None:
    other = second_open(digest_algorithms=("MD5", "SHA-512-256"), digest_qop=("auth-int",))
    world = open_world(OPEN, other)
    first, second = Stranger(world), Stranger(world, ("198.51.100.67", 5060))
    second.user, second.password = "gw-2", "other word"
    uri = "sip:700999999990000@192.0.2.1"
    for stranger, qop in ((first, "auth"), (second, "auth-int")):
        stranger.ask()
        offered = [parse_challenge(value) for value in stranger.last("401").all("www-authenticate")]
        assert [challenge.algorithm for challenge in offered] == ["SHA-256", "MD5", "SHA-512-256"]
        assert {challenge.qop for challenge in offered} == {("auth", "auth-int")}
        proof = stranger.proof(replace(offered[1], qop=(qop,)), "INVITE", uri, body=SDP.encode())
        assert stranger.ask("INVITE", uri, proof, body=SDP) == ["100", "404"]
    assert [story.attempted.ingress for story in world.finish()] == ["carrier-a", "carrier-d"]


@pytest.mark.parametrize(
    ("own", "algorithm", "qop"),
    [
        ({"digest_algorithms": ("SHA-256",)}, Algorithm.MD5, "auth"),
        ({"digest_algorithms": ("MD5",)}, Algorithm.SHA_256, "auth"),
        ({"digest_qop": ("auth-int",)}, Algorithm.SHA_256, "auth"),
        ({"digest_algorithms": ("MD5",), "digest_qop": ()}, Algorithm.SHA_256, "auth"),
    ],
)
def test_a_trunk_is_proved_only_in_a_way_of_its_own(own: dict[str, Any], algorithm: Algorithm, qop: str) -> None:
    """What another trunk of the realm takes is offered too; who uses it is asked again, for its own way alone."""
    mine = second_open(**own)
    world = open_world(OPEN, mine)
    stranger = Stranger(world)
    stranger.user, stranger.password = "gw-2", "other word"
    stranger.ask()
    offered = stranger.challenge(algorithm=algorithm, qop=(qop,))
    assert stranger.ask("OPTIONS", URI, stranger.proof(offered)) == ["401"]
    assert failures(world) == {("carrier-d", "malformed"): 1}
    again = [parse_challenge(value) for value in stranger.last("401").all("www-authenticate")]
    assert tuple([challenge.algorithm for challenge in again]) == mine.digest_algorithms
    assert {(challenge.qop, challenge.stale) for challenge in again} == {(mine.digest_qop, True)}
    assert stranger.ask("OPTIONS", URI, stranger.proof(again[0])) == ["200"]
    world.finish()


def test_a_wall_clock_that_is_set_locks_nobody_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forgetting used nonces refuses those issued before them: by a clock set back that would be all new ones."""
    world = open_world()
    world.real.authentication._nonces.capacity = 1
    stranger = Stranger(world)
    for hours in (0, 0, -1, -1, 5, 0):
        monkeypatch.setattr("tests.wire.START_MS", START_MS + hours * 3_600_000)
        assert stranger.ask() == ["401"]
        challenge = stranger.challenge()
        monkeypatch.setattr("tests.wire.START_MS", START_MS)
        assert stranger.ask("OPTIONS", URI, stranger.proof(challenge)) == ["200"]
    world.finish()


def test_realms_of_one_network_are_asked_for_beside_each_other() -> None:
    world = open_world(OPEN, second_open(digest_realm="other.example"))
    stranger = Stranger(world)
    stranger.user, stranger.password = "gw-2", "other word"
    stranger.ask()
    offered = [parse_challenge(value) for value in stranger.last("401").all("www-authenticate")]
    assert [challenge.realm for challenge in offered] == [REALM, REALM, "other.example", "other.example"]
    assert stranger.ask("OPTIONS", URI, stranger.proof(offered[2])) == ["200"]
    world.finish()


def test_a_password_counts_only_in_the_networks_of_its_trunk() -> None:
    world = open_world(OPEN, second_open(networks=("192.0.2.128/25",)))
    outside, inside = Stranger(world), Stranger(world, ("192.0.2.130", 5060))
    for stranger, expected in ((outside, "401"), (inside, "200")):
        stranger.user, stranger.password = "gw-2", "other word"
        stranger.ask()
        assert stranger.ask("OPTIONS", URI, stranger.proof(stranger.challenge()), seconds=1.0) == [expected]
    assert failures(world) == {("", "user"): 1}
    inside.user, inside.password = OPEN.digest_users[0], PASSWORD  # the open trunk's networks hold this one too
    assert inside.ask("OPTIONS", URI, inside.proof(inside.challenge(), count=2)) == ["200"]
    world.finish()


def test_a_trunk_known_by_its_address_is_not_asked_beside_an_open_one() -> None:
    world = open_world()
    known = Stranger(world, ("192.0.2.20", 5060))
    assert known.ask() == ["200"]
    world.finish(agree=False)


def test_a_password_is_no_substitute_for_a_certificate() -> None:
    """A trunk with certificate names is known by those: not by its address, nor by its user name from elsewhere."""
    world = open_world(OPEN, second_open(certificate_names=("sip.carrier.example",), networks=("198.51.100.0/24",)))
    assert Stranger(world).ask() == []
    world.finish(answers=False)
    world = open_world(OPEN, second_open(certificate_names=("sip.carrier.example",), networks=("203.0.113.0/24",)))
    stranger = Stranger(world)
    stranger.user, stranger.password = "gw-2", "other word"
    stranger.ask()
    assert stranger.ask("OPTIONS", URI, stranger.proof(stranger.challenge()), seconds=1.0) == ["401"]
    assert failures(world) == {("", "user"): 1}
    connection = Path("TLS", "tls", ANYWHERE)
    text = request_text("OPTIONS", URI, ANYWHERE, via="Via: SIP/2.0/TLS 198.51.100.66:5060;branch=z9hG4bK-tls")
    assert world.real.origins.trunk_for(*ANYWHERE, frozenset(("sip.carrier.example",))) == "carrier-d"
    world.real.endpoint.advertised = {**world.real.endpoint.advertised, "tls": "192.0.2.1:5061"}
    known = world.real.origins.trunks["carrier-d"]
    world.switch.enter(lambda now: world.real.receive(text.encode(), connection, now, known))
    assert stranger.challenge().realm == REALM  # and a certificate none for the password, where both are wanted
    world.finish(answers=False)


def test_a_reload_changes_users_and_keeps_nonces() -> None:
    world = open_world()
    stranger = Stranger(world)
    stranger.ask()
    challenge = stranger.challenge()
    world.reconfigure(trunks=(replace(OPEN, secrets=(Secret(OPEN.digest_users[0], "", "new word"),)), *STATIC))
    stranger.password = "new word"
    assert stranger.ask("OPTIONS", URI, stranger.proof(challenge)) == ["200"]
    world.reconfigure(trunks=STATIC)
    assert stranger.ask("OPTIONS", URI, stranger.proof(challenge, count=2)) == []
    assert world.real.statistics.drops["unknown_source"] >= 1
    world.finish(answers=False)


def test_a_trunk_taken_away_is_heard_no_more_but_for_its_call() -> None:
    world = DigestWorld()
    call = world.caller.dial(X)
    call.on("200", call.hang_up, after=20.0)
    world.run(5.0)
    world.reconfigure(trunks=world.trunks[1:])
    late = world.caller.dial(X)
    world.run(5.0)
    assert late.statuses == []
    told = world.finish(answers=False)
    assert [story.ended.outcome for story in told] == ["answered"]


# any text

tokens_ = st.text(st.characters(codec="utf-8", exclude_characters="\r\n\0"), max_size=30)


@settings(max_examples=300, deadline=None)
@given(
    text=st.one_of(
        tokens_,
        st.builds("Digest {}".format, tokens_),
        st.dictionaries(
            st.sampled_from(
                [
                    "username",
                    "realm",
                    "nonce",
                    "uri",
                    "response",
                    "algorithm",
                    "qop",
                    "nc",
                    "cnonce",
                    "opaque",
                    "userhash",
                ]
            ),
            st.one_of(
                st.sampled_from(
                    [REALM, OPEN.digest_users[0], URI, "auth", "00000001", "MD5", "SHA-256", "0" * 32, "0" * 64]
                ),
                tokens_.map(lambda text: text.replace('"', "").replace("\\", "")),
            ),
        ).map(lambda given: "Digest " + ", ".join(f'{name}="{value}"' for name, value in given.items())),
    ),
    nonce=st.booleans(),
)
def test_no_text_is_a_proof(text: str, nonce: bool) -> None:
    world = open_world(digest_failures=0)
    stranger = Stranger(world)
    stranger.ask()
    if nonce:
        text = re.sub(r'nonce="[^"]*"', f'nonce="{stranger.challenge().nonce}"', text)
    words = stranger.ask("OPTIONS", URI, f"Authorization: {text}", seconds=1.0)
    assert words in (["401"], ["400"], [])
    assert world.real.statistics.attempts.total() == 0
    world.finish(answers=False)


@settings(max_examples=200, deadline=None)
@given(position=st.integers(0, 400), character=st.characters(min_codepoint=33, max_codepoint=126))
def test_a_proof_with_a_changed_character_is_none_unless_it_means_the_same(position: int, character: str) -> None:
    world = open_world(digest_failures=0)
    stranger = Stranger(world)
    stranger.ask()
    good = stranger.proof(stranger.challenge())
    start = len("Authorization: ")
    position = start + position % (len(good) - start)
    changed = good[:position] + character + good[position + 1 :]
    words = stranger.ask("OPTIONS", URI, changed, seconds=1.0)
    if words == ["200"]:  # the opaque is only handed back, and of a URI the parameters may change
        read, meant = parse_credentials(changed[start:]), parse_credentials(good[start:])
        assert replace(read, opaque="", uri="") == replace(meant, opaque="", uri="")
        assert read.uri == meant.uri
    world.finish(answers=False)
