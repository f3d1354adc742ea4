"""What an operator sees: metrics that agree with the calls, health, the control socket, logs; and nothing personal."""

import asyncio
import json
import re
import socket
import time
import urllib.parse
from collections.abc import Coroutine, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from routing.plan import BlockState
from routing.trunks import Peer
from tests.system.node import (
    ANSWERED,
    BLOCK,
    BUSY,
    CALLER,
    HANGS_UP,
    LINES,
    PATIENCE,
    RINGS,
    UNBOUND,
    Node,
    Process,
    binding,
    until,
)
from tests.system.phones import Call, Phones, now_ms, session
from tests.system.wire import ask, options, read, request

# Every figure that operators were promised, by the family that holds it.
FAMILIES = {
    "calls by outcome": ("x700_calls", {"trunk", "outcome"}),
    "attempts": ("x700_attempts", {"trunk"}),
    "refusals by reason": ("x700_refusals", {"trunk", "reason"}),
    "active calls": ("x700_active_calls", set()),
    "calls by trunk": ("x700_trunk_calls", {"trunk"}),
    "transactions": ("x700_table_entries", {"table"}),
    "connections": ("x700_connections", {"transport", "direction"}),
    "set-up delay": ("x700_setup_seconds", {"le", "trunk"}),
    "answer delay": ("x700_answer_seconds", {"le", "trunk"}),
    "trunk up": ("x700_trunk_up", {"trunk"}),
    "target up": ("x700_target_up", {"trunk", "target"}),
    "target parked": ("x700_target_parked", {"trunk", "target"}),
    "messages": ("x700_messages_received", {"kind"}),
    "retransmissions": ("x700_retransmissions", {"direction"}),
    "drops by cause": ("x700_drops", {"cause"}),
    "challenges": ("x700_challenges_sent", set()),
    "ignored sources": ("x700_ignored_sources", set()),
    "journal lag": ("x700_journal_lag_bytes", set()),
    "journal failed": ("x700_journal_failed", set()),
    "fsync time": ("x700_journal_sync_seconds", {"le"}),
    "tripwire hits": ("x700_tripwire_hits", set()),
    "session refreshes": ("x700_session_refreshes", {"direction"}),
    "sessions expired": ("x700_sessions_expired", set()),
}
A_NUMBER = re.compile(r"[0-9]{7}")
# A label may not hold a number, but a bucket's bound is one.
BOUND = "le"
SECOND = 1.0


@pytest.fixture
def switch(node: Node) -> Process:
    return node.switch()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """One switch for all tests that ask for no fresh one."""
    with Phones({line.callee: line.manner for line in LINES}) as phones:
        node = Node(tmp_path_factory.mktemp("running"), phones).provide()
        node.switch()
        yield node
        node.close()


def whole(call: Call) -> Call:
    """The call, when it is over."""
    assert call.over.wait(PATIENCE)
    return call


def story(phones: Phones) -> list[Call]:
    """One call of each kind, one after the other."""
    return [
        whole(phones.place(number, caller))
        for number, caller in (
            (ANSWERED.x, CALLER),
            (ANSWERED.x, ANSWERED.callee),
            (HANGS_UP.x, CALLER),
            (BUSY.x, CALLER),
            (BUSY.x, CALLER),
            (UNBOUND, CALLER),
            (ANSWERED.x, "13700137000"),
            (CALLER, HANGS_UP.callee),
            ("700999999990001", CALLER),
            (ANSWERED.x, "anonymous"),
        )
    ]


# metrics


@pytest.mark.usefixtures("switch")
def test_every_promised_figure_is_there_and_no_label_holds_a_number(node: Node, phones: Phones) -> None:
    story(phones)
    assert ask(node.sip, lambda me: options(node.sip, me), "127.0.0.3", seconds=0.2, times=1) is None
    families = node.metrics()
    for figure, (name, labels) in FAMILIES.items():
        assert name in families, figure
        samples = families[name].samples
        assert samples, figure
        assert set().union(*(sample.labels for sample in samples)) == labels, figure
    for family in families.values():
        assert family.documentation
        assert family.type in ("counter", "gauge", "histogram")
        for sample in family.samples:
            found = [value for name, value in sample.labels.items() if name != BOUND and A_NUMBER.search(value)]
            assert not found
    assert {"server_transactions", "client_transactions"} <= {
        sample.labels["table"] for sample in families["x700_table_entries"].samples
    }


@pytest.mark.usefixtures("switch")
def test_the_counters_agree_with_the_calls(node: Node, phones: Phones) -> None:
    calls = story(phones)
    live = phones.place(ANSWERED.x, CALLER, None)
    assert live.answered.wait(PATIENCE)
    assert node.count("x700_attempts", trunk="caller") == len(calls) + 1
    assert {
        sample.labels["outcome"]: sample.value for sample in node.metrics()["x700_calls"].samples
        if sample.name == "x700_calls_total"
    } == {"answered": 2, "busy": 2, "refused": 5, "rejected": 1}  # fmt: skip
    refusals = {s.labels["reason"]: s.value for s in node.metrics()["x700_refusals"].samples}
    assert refusals == {
        "caller_unbound": 2, "number_malformed": 1, "block_unknown": 1, "caller_anonymous": 1
    }  # fmt: skip
    assert node.count("x700_active_calls") == 1
    assert {s.labels["trunk"]: s.value for s in node.metrics()["x700_trunk_calls"].samples} == {
        "caller": 1, "callee": 1, "noisy": 0
    }  # fmt: skip
    reached = sum(len(phones.taken(call)) for call in [*calls, live])
    families = node.metrics()
    delays = [*families["x700_setup_seconds"].samples, *families["x700_answer_seconds"].samples]
    counted = {sample.name: sample.value for sample in delays}
    assert counted["x700_setup_seconds_count"] == reached
    assert counted["x700_answer_seconds_count"] == 3
    assert 0 < counted["x700_setup_seconds_sum"] < counted["x700_answer_seconds_sum"]
    phones.hang_up(live)
    whole(live)
    assert node.count("x700_active_calls") == 0
    assert node.count("x700_calls", outcome="answered") == 3


def test_messages_and_repetitions_are_counted_one_by_one(running: Node) -> None:
    phones = running.phones
    before = {sample.labels["kind"]: sample.value for sample in running.metrics()["x700_messages_received"].samples}

    def received(kind: str) -> float:
        return running.count("x700_messages_received", kind=kind) - before.get(kind, 0)

    for _ in range(3):
        answer = ask(running.sip, lambda me: options(running.sip, me))
        assert answer is not None
        assert answer.status == 200
    assert received("OPTIONS") == 3
    call = whole(phones.place(ANSWERED.x, CALLER))
    assert call.bye_status == 200
    sent = len(call.sent_ms)
    assert (received("INVITE"), received("BYE")) == (sent, 1)
    assert received("2xx") >= 2  # to the INVITE and to the BYE, by the callee
    repeated = running.count("x700_retransmissions", direction="in")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as channel:
        channel.bind(("127.0.0.1", 0))
        channel.settimeout(PATIENCE)
        wire = options(running.sip, Peer(*channel.getsockname()))
        answers = []
        for _ in range(4):
            channel.sendto(wire, running.sip)
            answers.append(channel.recv(65_535))
    assert len(set(answers)) == 1  # the same answer again
    assert running.count("x700_retransmissions", direction="in") == repeated + 3
    assert received("OPTIONS") == 7


def test_an_answer_without_ack_is_repeated_and_counted(running: Node) -> None:
    before = running.count("x700_retransmissions", direction="out")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as channel:
        channel.bind(("127.0.0.1", 0))
        channel.settimeout(PATIENCE)
        here, there = "{}:{}".format(*channel.getsockname()), f"{running.sip.host}:{running.sip.port}"
        headers = [("Contact", f"<sip:{here}>"), ("P-Asserted-Identity", f"<sip:{CALLER}@{here}>")]
        uri = f"sip:{ANSWERED.x}@{there}"
        invite = request("INVITE", uri, here, f"<sip:{here}>;tag=1", f"<{uri}>", "a", 1, extra=headers, body=session(0))
        channel.sendto(invite, running.sip)
        answers = 0
        while answers < 4:
            answers += read(channel.recv(65_535)).status == 200
        assert running.count("x700_retransmissions", direction="out") >= before + 3
        while read(channel.recv(65_535)).method != "BYE":  # 64 T1 later it gives up
            pass
    assert running.count("x700_refusals", reason="no_ack") == 1


@pytest.mark.usefixtures("switch")
def test_the_journal_is_told_of(node: Node, phones: Phones) -> None:
    story(phones)
    assert node.count("x700_journal_lag_bytes") == node.count("x700_journal_bytes") > 0
    until(lambda: node.count("x700_journal_syncs") > 1, "a group of lines to be synced")
    assert node.count("x700_journal_sync_seconds") > 0
    node.record()
    assert node.count("x700_journal_lag_bytes") == 0
    assert node.count("x700_recorder_failed") == 0


# pages and the control socket


def test_a_healthy_switch_says_so(running: Node) -> None:
    for page in ("health", "ready"):
        status, text = running.page(page)
        assert status == 200
        state = json.loads(text)
        assert (state["healthy"], state["ready"], state["reasons"]) == (True, True, [])
    assert running.page("")[0] == 404
    assert running.page("metrics/../etc/passwd")[0] == 404


def test_a_slow_reader_of_a_page_keeps_nobody_waiting(running: Node) -> None:
    phones = running.phones
    with socket.create_connection(running.ops) as slow:
        slow.sendall(b"GET /metr")
        assert running.page("health")[0] == 200
        assert whole(phones.place(ANSWERED.x, CALLER)).final == 200


def test_the_state_of_trunks_is_listed_and_measured(running: Node) -> None:
    listed = running.ask(command="trunks")["trunks"]
    assert isinstance(listed, list)
    assert [(target["trunk"], target["target"], target["state"]) for target in listed] == [
        ("caller", f"udp:{running.phones.caller.me}", "up"),
        ("callee", f"udp:{running.phones.callee.me}", "up"),
        ("noisy", "udp:127.0.0.2:5060", "up"),
    ]
    for target in listed:
        assert running.count("x700_trunk_up", trunk=target["trunk"]) == 1
        assert running.count("x700_target_up", trunk=target["trunk"], target=target["target"]) == 1
        assert target["probes"] == 0


def test_live_calls_are_listed_masked_and_can_be_hung_up(running: Node) -> None:
    phones = running.phones
    assert running.ask(command="calls") == {"calls": []}
    call = phones.place(ANSWERED.x, CALLER, None)
    assert call.answered.wait(PATIENCE)
    rings = phones.place(RINGS.x, CALLER, None)
    until(lambda: 180 in rings.statuses, "ringing")
    listed = running.ask(command="calls")["calls"]
    assert isinstance(listed, list)
    by_x = {entry["x"]: entry for entry in listed}
    up, setup = by_x[ANSWERED.x], by_x[RINGS.x]
    assert (up["state"], setup["state"]) == ("up", "setup")
    assert (up["caller"], up["callee"]) == ("138****8000", "139****9001")
    assert (up["ingress"], up["egress"]) == ("caller", "callee")
    assert 0 < up["since_ms"] <= up["answered_ms"] <= now_ms()
    assert setup["answered_ms"] == 0
    for entry in listed:
        assert running.ask(command="hangup", id=entry["id"]) == {"ok": True}
        assert "error" in running.ask(command="hangup", id=entry["id"])
    assert whole(call).bye_received_ms
    assert whole(rings).final == 480
    until(lambda: phones.taken(rings)[0].cancelled, "the callee's CANCEL")
    assert (running.ask(command="calls"), running.count("x700_active_calls")) == ({"calls": []}, 0)
    until(lambda: not any(running.tables().values()), "every table to be empty")
    assert running.ask(command="health")["healthy"] is True


@pytest.mark.parametrize(
    "line",
    [
        b"\n",
        b"calls\n",
        b"[]\n",
        b"7\n",
        b'"command"\n',
        b"null\n",
        b"{}\n",
        b"\xff\xfe\n",
        b"[" * 50_000 + b"\n",
        b'{"command": "no such thing"}\n',
        b'{"command": ["calls"]}\n',
        b'{"command": {"calls": 1}}\n',
        b'{"command": "\\ud800"}\n',
        b'{"command": "hangup"}\n',
        b'{"command": "hangup", "id": {"a": []}}\n',
        b'{"command": "hangup", "id": "13800138000"}\n',
    ],
)
def test_nonsense_on_the_control_socket_gets_an_error_in_json(running: Node, line: bytes) -> None:
    with _control(running) as channel, channel.makefile("rb") as lines:
        channel.sendall(line)
        answer = json.loads(lines.readline())
        assert list(answer) == ["error"]
        channel.sendall(b'{"command": "tables"}\n')
        assert "tables" in json.loads(lines.readline())


def test_a_line_without_end_closes_its_connection_only(running: Node) -> None:
    with _control(running) as channel, suppress(ConnectionError):  # it may be closed while we send
        for _ in range(100):
            channel.sendall(b"x" * 65_000)
        assert channel.recv(1) == b""
    assert running.ask(command="calls") == {"calls": []}


def _control(node: Node) -> socket.socket:
    channel = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    channel.settimeout(PATIENCE)
    channel.connect(str(node.data / "control.sock"))
    return channel


# blocks


@pytest.mark.usefixtures("switch")
def test_what_is_done_in_the_store_works_within_a_second(node: Node, phones: Phones) -> None:
    def carried(x: str) -> int:
        return whole(phones.place(x, CALLER)).final

    def after_a_second(change: Coroutine[None, None, None]) -> None:
        asyncio.run(change)
        time.sleep(SECOND)

    async def move(state: BlockState) -> None:
        async with await node.store() as store:
            await store.blocks.move(BLOCK, state, now_ms(), by="test", reason="a test")

    async def bind() -> None:
        async with await node.store() as store:
            await store.bindings.bind(binding(UNBOUND, ANSWERED.callee), now_ms(), by="test")

    async def end() -> None:
        async with await node.store() as store:
            (found,) = await store.bindings.list(x=UNBOUND)
            await store.bindings.end(found.id, now_ms(), by="test")

    assert (carried(ANSWERED.x), carried(UNBOUND)) == (200, 403)
    asyncio.run(bind())
    assert carried(UNBOUND) == 200  # bindings are read with each call
    asyncio.run(end())
    assert carried(UNBOUND) == 403
    live = phones.place(ANSWERED.x, CALLER, None)
    assert live.answered.wait(PATIENCE)
    after_a_second(move(BlockState.FROZEN))
    assert carried(ANSWERED.x) == 403
    assert not live.over.is_set()
    after_a_second(move(BlockState.ACTIVE))
    assert carried(ANSWERED.x) == 200
    phones.hang_up(live)
    assert whole(live).bye_status == 200
    reasons = [stored.record.reason for stored in node.record()]
    assert sorted(filter(None, reasons)) == ["binding_ended", "block_inactive", "caller_unbound"]


# nothing personal


def spellings(number: str) -> Iterator[bytes]:
    """A number in clear in every way that a switch may come to write it."""
    national = number.lstrip("0")
    groups = [national[:3], national[3:7], national[7:]]
    for text in (
        national,
        *(separator.join(groups) for separator in (" ", "-", ".", "%20", "\\u0020")),
        "".join(f"%{ord(digit):02x}" for digit in national),
        " ".join(national),
        national[::-1],
    ):
        yield text.encode()
    yield national.encode("utf-16-le")
    yield national.encode().hex().encode()


def everything(data: Path, processes: list[Process]) -> Iterator[tuple[str, bytes]]:
    """Every byte that the node has written anywhere."""
    for path in data.rglob("*"):
        if path.is_file() and path.name != "keyring":
            yield str(path.relative_to(data)), path.read_bytes().rstrip(b"\0")
    for process in processes:
        yield "log", "\n".join(process.lines).encode()


def test_no_number_is_in_clear_in_any_file_or_log(node: Node, phones: Phones) -> None:
    stranger, real = "13712345678", "13698765432"
    recorder, switch = node.recorder(), node.switch()
    numbers = {CALLER, stranger, real, *(line.callee for line in LINES)}
    extra = [
        (name, f'"{CALLER}" <sip:+86{CALLER}@example.net>;x={urllib.parse.quote(CALLER)}')
        for name in ("Subject", "Diversion", "User-to-User", "X-Vendor", "User-Agent", "Reply-To")
    ]
    dialled = (ANSWERED.x, HANGS_UP.x, BUSY.x, UNBOUND, real, f"+86{real}", f"0{real}", f"700{real}", real + "%20", "x")
    for number in dialled:
        for caller in (CALLER, f"+86{CALLER}", stranger, f"86{stranger}", f"{stranger};noa=4", "anonymous"):
            whole(phones.place(number, caller, extra=extra))
    rings = phones.place(RINGS.x, CALLER, None)
    until(lambda: 180 in rings.statuses, "ringing")
    for call in node.ask(command="calls")["calls"]:  # type: ignore[attr-defined]
        node.ask(command="hangup", id=call["id"])
    whole(rings)
    # malformed, with numbers where the fault is
    for first in (f"INVITE sip:{real} SIP/2.0\r\nFrom: {CALLER}", CALLER, f"SIP/2.0 {CALLER}"):
        ask(node.sip, f"{first}\r\n\r\n".encode(), seconds=0.1, times=1)
    node.ask(command=f"call {CALLER}")
    node.ask(command="hangup", id=CALLER)
    pages = "".join(node.page(page)[1] for page in ("metrics", "health", "ready"))

    def found() -> list[tuple[str, str, bytes]]:
        written = [*everything(node.data, node.processes), ("pages", pages.encode())]
        return [
            (number, name, spelling)
            for number in sorted(numbers)
            for spelling in spellings(number)
            for name, content in written
            if spelling in content
        ]

    assert {"journal", "records"} <= {path.name for path in node.data.iterdir()}
    assert found() == []  # with the journal's segments and the stores' logs as they stand while all runs
    until(lambda: len(node.stored()) == len(phones.caller.calls), "the records")
    assert found() == []
    assert (switch.stop(), recorder.stop()) == (0, 0)
    assert found() == []
    # and all of it is there for whoever has the keys
    known = {party for stored in node.stored() for party in stored.parties[:3]}
    assert {f"+86{CALLER}", f"+86{stranger}", f"+86{ANSWERED.callee}", real} <= known
    assert {stored.parties.ingress_call_id for stored in node.stored()} == set(phones.caller.calls)


def test_the_log_is_json_with_times_levels_and_events(node: Node, phones: Phones) -> None:
    recorder, switch = node.recorder(), node.switch()
    story(phones)
    assert (switch.stop(), recorder.stop()) == (0, 0)
    for process in (recorder, switch):
        assert len(process.logged()) == len(process.lines) > 0
        for entry in process.logged():
            assert {"event", "level", "timestamp"} <= set(entry)
    told = [entry["event"] for entry in switch.logged() if entry["level"] == "info"]
    assert told == ["started", "draining", "stopped"]
