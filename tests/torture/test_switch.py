"""RFC 4475 and RFC 5118 against the whole switch: each message gets its answer or its counter, and it works on."""

from itertools import count
from typing import NamedTuple

import pytest

from b2bua.call.switch import Now, Switch, SwitchSettings
from b2bua.sip.headers import parse_cseq
from b2bua.sip.parser import parse
from b2bua.sip.transaction import Flow
from routing.decide import decide
from routing.plan import Plan
from routing.trunks import Peer, Trunk
from tests.torture.ipv6_messages import IPV6_MESSAGES
from tests.torture.ipv6_verdicts import IPV6_VERDICTS
from tests.torture.messages import MESSAGES as IPV4_MESSAGES
from tests.torture.verdicts import VERDICTS as IPV4_VERDICTS
from tests.torture.verdicts import Verdict

MESSAGES = IPV4_MESSAGES | IPV6_MESSAGES
VERDICTS = IPV4_VERDICTS + IPV6_VERDICTS
FLOW = Flow("UDP", "udp", ("192.0.2.200", 5060))
IPV6_FLOW = Flow("UDP", "udp", ("2001:db8::9:1", 5060))
TRUNK = Trunk("carrier", (Peer("192.0.2.200", 5060), Peer("2001:db8::9:1", 5060)))
START_MS = 1_800_000_000_000


class Answer(NamedTuple):
    """A response as a peer's logger sees it: what it echoes may be as broken as the request was."""

    status: int
    fields: dict[str, str]


def read(wire: bytes) -> Answer:
    """The answer in a datagram; the first value of each field counts."""
    assert wire.endswith(b"\r\n\r\n")
    first, *lines = wire[:-4].decode("utf-8", "surrogateescape").split("\r\n")
    fields: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(": ")
        assert colon
        fields.setdefault(name.lower(), value)
    version, status, _ = first.split(" ", 2)
    assert version == "SIP/2.0"
    assert fields["content-length"] == "0"
    return Answer(int(status), fields)


class Bench:
    """One switch that knows no number, with a clock and identifiers of its own."""

    def __init__(self) -> None:
        tokens = (f"{number:016x}" for number in count(1))
        self.switch = Switch(SwitchSettings(), [TRUNK], lambda: next(tokens), {"udp": "192.0.2.1:5060"})
        self.seconds = 0.0

    @property
    def now(self) -> Now:
        return Now(self.seconds, START_MS + int(self.seconds * 1000))

    def feed(self, data: bytes, flow: Flow = FLOW) -> list[Answer]:
        """Give the switch a datagram and its decisions; what it sends back."""
        self.switch.receive(data, flow, self.now)
        for query in self.switch.queries():
            decision = decide(query, Plan([]), lambda dialled, caller: None, [TRUNK], (), self.now.utc_ms, lambda: 0.5)
            self.switch.decided(query, decision, self.now)
        return self.answers()

    def answers(self) -> list[Answer]:
        return [read(wire) for wire, _ in self.switch.outgoing()]

    def rest(self) -> None:
        """Let every timer run out."""
        while (deadline := self.switch.deadline()) is not None:
            self.seconds = max(self.seconds, deadline)
            self.switch.wake(self.now)
            self.answers()

    def options(self, branch: str) -> list[int]:
        """The statuses that an OPTIONS gets."""
        lines = (
            "OPTIONS sip:192.0.2.1 SIP/2.0",
            f"Via: SIP/2.0/UDP 192.0.2.200:5060;branch=z9hG4bK{branch}",
            "Max-Forwards: 70",
            "From: <sip:ping@192.0.2.200>;tag=1",
            "To: <sip:192.0.2.1>",
            f"Call-ID: {branch}",
            "CSeq: 1 OPTIONS",
            "Content-Length: 0",
        )
        return [answer.status for answer in self.feed("\r\n".join(lines).encode() + b"\r\n\r\n")]


@pytest.mark.parametrize("verdict", VERDICTS, ids=[verdict.name for verdict in VERDICTS])
def test_each_message_has_its_end_and_the_switch_works_on(verdict: Verdict) -> None:
    bench = Bench()
    answers = bench.feed(MESSAGES[verdict.name], IPV6_FLOW if verdict in IPV6_VERDICTS else FLOW)
    finals = [answer.status for answer in answers if answer.status >= 200]
    if isinstance(verdict.answer, int):
        assert finals == [verdict.answer]
    else:
        assert answers == []
        assert dict(bench.switch.endpoint.drops) == {verdict.answer: 1}
    assert bench.options("after") == [200]
    bench.rest()
    assert set(bench.switch.tables().values()) == {0}


@pytest.mark.parametrize("verdict", VERDICTS, ids=[verdict.name for verdict in VERDICTS])
def test_an_answer_echoes_what_it_answers(verdict: Verdict) -> None:
    for answer in Bench().feed(MESSAGES[verdict.name]):
        assert {"via", "from", "to", "call-id", "cseq"} <= answer.fields.keys()
        assert answer.status == 100 or ";tag=" in answer.fields["to"].replace(" ", "")
        if not verdict.parsed:
            request = parse(MESSAGES[verdict.name])
            assert answer.fields["call-id"] == request.call_id
            assert parse_cseq(answer.fields["cseq"]) == (request.cseq, request.cseq_method)
            assert answer.fields["from"] == request.from_value
            assert answer.fields["to"].startswith(request.to_value)
            assert f"branch={request.via.branch}" in answer.fields["via"].replace(" ", "") or not request.via.branch


def test_the_whole_corpus_leaves_the_switch_as_it_was() -> None:
    bench = Bench()
    for name, data in MESSAGES.items():
        bench.feed(data)
        assert bench.options(name) == [200]
    bench.rest()
    assert set(bench.switch.tables().values()) == {0}


@pytest.mark.parametrize("name", MESSAGES)
def test_a_message_cut_anywhere_stops_nothing(name: str) -> None:
    bench = Bench()
    for length in range(0, len(MESSAGES[name]), 7):
        bench.feed(MESSAGES[name][:length])
    assert bench.options("after") == [200]
    bench.rest()
    assert set(bench.switch.tables().values()) == {0}
