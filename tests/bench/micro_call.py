"""CPU of one answered call inside the switch, sockets left out: seven messages in, eight out, decision, journal lines.

Run as ``python -m tests.bench.micro_call [CALLS] [--profile]``. The binding look-up is a constant here; what it costs
in SQLite is in micro_decide.
"""

import cProfile
import itertools
import pstats
import re
import sys
import time
from collections.abc import Iterator

from b2bua.call.switch import Now, Switch, SwitchSettings
from b2bua.sip.transaction import Flow
from cdr.journal import encode_event, frame
from cdr.seal import Seal, new_keyring
from routing.binding import Binding, Direction, Mode
from routing.decide import decide
from routing.plan import Block, BlockState, Plan
from routing.trunks import Peer, Trunk

CALLER, CALLEE, MIDDLE = "13800138000", "13900139000", "700123456789012"
CALLER_FLOW = Flow("UDP", "udp", ("127.0.0.1", 25080))
CALLEE_FLOW = Flow("UDP", "udp", ("127.0.0.1", 25090))
TRUNKS = (
    Trunk("carrier-a", (Peer("127.0.0.1", 25080),), prefixes=("138",)),
    Trunk("carrier-b", (Peer("127.0.0.1", 25090),), prefixes=("139",)),
)
BINDING = Binding(
    "b1", Mode.AXB, MIDDLE, "", f"+86{CALLER}", f"+86{CALLEE}", Direction.BOTH, "p", "u", "s", "o", "", 0, 1 << 60, 0
)
SDP = "\r\n".join(
    [
        "v=0",
        "o=- 20518 1 IN IP4 127.0.0.1",
        "s=-",
        "c=IN IP4 127.0.0.1",
        "t=0 0",
        "m=audio 20000 RTP/AVP 8 0 101",
        "a=rtpmap:8 PCMA/8000",
        "a=rtpmap:0 PCMU/8000",
        "a=rtpmap:101 telephone-event/8000",
        "a=fmtp:101 0-15",
        "a=ptime:20",
        "a=sendrecv",
        "",
    ]
)
URI = f"sip:{MIDDLE}@127.0.0.1:25060"


def caller_request(method: str, call: int, to_tag: str, cseq: int, body: str = "") -> bytes:
    """What the calling side sends."""
    lines = [
        f"{method} {URI} SIP/2.0",
        f"Via: SIP/2.0/UDP 127.0.0.1:25080;branch=z9hG4bK-{call}-{method}",
        "Max-Forwards: 70",
        f'From: "{CALLER}" <sip:{CALLER}@127.0.0.1:25080>;tag=A{call}',
        f"To: <{URI}>{to_tag}",
        f"Call-ID: {call}-9@127.0.0.1",
        f"CSeq: {cseq} {method}",
        f"Contact: <sip:{CALLER}@127.0.0.1:25080;transport=udp>",
        "User-Agent: bench",
    ]
    if body:
        lines += [f"P-Asserted-Identity: <sip:{CALLER}@127.0.0.1:25080>", "Supported: timer, replaces"]
        lines += ["Content-Type: application/sdp"]
    return "\r\n".join([*lines, f"Content-Length: {len(body)}", "", body]).encode()


def callee_answer(request: bytes, status: str, body: str = "") -> bytes:
    """What the called side answers."""
    lines = [f"SIP/2.0 {status}"]
    for line in request.decode().split("\r\n\r\n")[0].split("\r\n"):
        if line.startswith(("Via:", "From:", "To:", "Call-ID:", "CSeq:")):
            untagged = line.startswith("To:") and ";tag=" not in line and not status.startswith("100")
            lines.append(line + ";tag=B1" if untagged else line)
    lines += ["Contact: <sip:13900139000@127.0.0.1:25090;transport=udp>", "Server: bench"]
    if body:
        lines += ["Allow: INVITE, ACK, BYE", "Content-Type: application/sdp"]
    return "\r\n".join([*lines, f"Content-Length: {len(body)}", "", body]).encode()


class Bench:
    """A switch with a virtual clock, and the CPU time spent in it."""

    def __init__(self) -> None:
        tokens = (f"{number:016x}" for number in itertools.count(0x1234_5678_9ABC))
        settings = SwitchSettings(source_messages_per_second=12_000, source_burst=6_000)
        self.switch = Switch(settings, TRUNKS, lambda: next(tokens), {"udp": "127.0.0.1:25060"})
        self.seal = Seal(new_keyring())
        self.plan = Plan([Block("70012345678", "p", "u", BlockState.ACTIVE)])
        self.spent = 0.0
        self.best: dict[str, float] = {}  # by message, the least time it took
        self.clock = 1000.0
        self.profile: cProfile.Profile | None = None

    def feed(self, data: bytes, flow: Flow) -> list[bytes]:
        """One datagram in, all datagrams out."""
        self.clock += 0.0005
        now = Now(self.clock, int(self.clock * 1000))
        switch = self.switch
        if self.profile:
            self.profile.enable()
        start = time.perf_counter()
        if switch.admits(flow, now.monotonic):
            switch.receive(data, flow, now)
        for query in switch.queries():
            down = switch.down(now)
            decision = decide(query, self.plan, lambda x, caller: BINDING, TRUNKS, down, now.utc_ms, lambda: 0.0)
            switch.decided(query, decision, now)
        b"".join([frame(encode_event(event, self.seal)) for event in switch.records()])
        out = [wire for wire, _ in switch.outgoing()]
        deadline = switch.deadline()
        if deadline is not None and deadline < self.clock:
            switch.wake(now)
        spent = time.perf_counter() - start
        self.spent += spent
        kind = data[:11].decode().partition(" sip")[0]
        if b"CSeq: 2 BYE" in data and data.startswith(b"SIP"):
            kind += " to BYE"
        self.best[kind] = min(self.best.get(kind, 1.0), spent)
        if self.profile:
            self.profile.disable()
        return out

    def call(self, number: int) -> None:
        """One call, answered, ended by the caller."""
        trying, invite = self.feed(caller_request("INVITE", number, "", 1, SDP), CALLER_FLOW)
        assert trying.startswith(b"SIP/2.0 100"), trying
        self.feed(callee_answer(invite, "100 Trying"), CALLEE_FLOW)
        self.feed(callee_answer(invite, "180 Ringing"), CALLEE_FLOW)
        out = self.feed(callee_answer(invite, "200 OK", SDP), CALLEE_FLOW)
        answer = next(wire for wire in out if wire.startswith(b"SIP/2.0 200"))
        found = re.search(rb"\r\nTo: [^\r]*(;tag=\w+)", answer)
        assert found is not None
        tag = found[1].decode()
        self.feed(caller_request("ACK", number, tag, 1), CALLER_FLOW)
        out = self.feed(caller_request("BYE", number, tag, 2), CALLER_FLOW)
        bye = next(wire for wire in out if wire.startswith(b"BYE"))
        self.feed(callee_answer(bye, "200 OK"), CALLEE_FLOW)


def batches(calls: int, size: int) -> Iterator[range]:
    """The calls in rounds, so that the quietest round can be told."""
    for start in range(0, calls, size):
        yield range(start, min(calls, start + size))


def main() -> None:
    """Print µs per call: the median round and the best."""
    calls = int(next((argument for argument in sys.argv[1:] if argument.isdigit()), "10000"))
    bench = Bench()
    if "--profile" in sys.argv:
        bench.profile = cProfile.Profile()
    rounds: list[float] = []
    for round_ in batches(calls, 500):
        bench.spent = 0.0
        for number in round_:
            bench.call(number)
        rounds.append(bench.spent / len(round_) * 1e6)
    rounds.sort()
    median, best = rounds[len(rounds) // 2], rounds[0]
    sys.stdout.write(f"micro_call: {calls} calls, µs per call: median {median:.1f}, best {best:.1f}\n")
    by_message = ", ".join(f"{kind} {spent * 1e6:.0f}" for kind, spent in bench.best.items())
    sys.stdout.write(f"micro_call: least µs by message: {by_message}; sum {sum(bench.best.values()) * 1e6:.0f}\n")
    sys.stdout.write(f"micro_call: tables afterwards: {bench.switch.tables()}\n")
    if bench.profile:
        pstats.Stats(bench.profile).sort_stats("tottime").print_stats(45)


if __name__ == "__main__":
    main()
