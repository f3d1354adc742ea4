"""The switch as a process: it starts or says why not, stops in order, and takes rubbish and floods without harm."""

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from cdr.seal import format_keyring, new_keyring
from routing.trunks import Peer
from tests.system.node import ANSWERED, CALLER, HANGS_UP, PATIENCE, Node, Process, Stored, until
from tests.system.phones import Call
from tests.system.wire import Message, ask, options, request

FLOOD_RATE = 4000  # datagrams a second
FLOOD_CALLS = 100
NOISY, STRANGER = "127.0.0.2", "127.0.0.3"


@pytest.fixture
def switch(node: Node) -> Process:
    return node.switch()


def answered(node: Node, talk_seconds: float | None = None) -> Call:
    """A call that is up."""
    call = node.phones.place(ANSWERED.x, CALLER, talk_seconds)
    assert call.answered.wait(PATIENCE)
    until(lambda: all(taken.acked for taken in node.phones.taken(call)), "the callee's ACK")
    return call


def invite(node: Node) -> Callable[[Peer], bytes]:
    def make(me: Peer) -> bytes:
        here, there = f"{me.host}:{me.port}", f"{node.sip.host}:{node.sip.port}"
        contact = ("Contact", f"<sip:{here}>")
        return request(
            "INVITE", f"sip:{ANSWERED.x}@{there}", here, f"<sip:{CALLER}@{here}>;tag=1", f"<sip:{ANSWERED.x}@{there}>",
            f"{me.port}-{time.time_ns()}", 1, extra=[contact, ("P-Asserted-Identity", f"<sip:{CALLER}@{here}>")],
        )  # fmt: skip

    return make


def options_status(node: Node) -> int:
    answer = ask(node.sip, lambda me: options(node.sip, me))
    return answer.status if answer else 0


# starting


def test_it_tells_its_manager_when_it_is_ready_and_when_it_stops(node: Node) -> None:
    switch = node.start("switch")
    until(lambda: "READY=1" in switch.told(), "READY=1")
    assert options_status(node) == 200
    assert node.page("ready")[0] == 200
    assert switch.stop() == 0
    assert switch.told() == ["READY=1", "STOPPING=1"]


def ends(process: Process) -> tuple[int, str]:
    """The exit code and the one line of a program that cannot start."""
    code = process.wait()
    assert len(process.lines) == 1, process.lines
    (line,) = process.lines
    process.lines.clear()
    return code, line


@pytest.mark.parametrize(("key", "kind"), [("sip", socket.SOCK_DGRAM), ("ops", socket.SOCK_STREAM)])
def test_a_port_in_use_is_named_in_one_line(node: Node, key: str, kind: socket.SocketKind) -> None:
    address = {"sip": node.sip, "ops": node.ops}[key]
    with socket.socket(socket.AF_INET, kind) as occupied:
        occupied.bind(address)
        if kind is socket.SOCK_STREAM:
            occupied.listen()
        code, line = ends(node.start("switch"))
    assert code == 1
    assert f"{key}.listen {address.host}:{address.port}" in line
    assert "Address already in use" in line


def test_the_whole_node_ends_with_what_keeps_its_switch_from_starting(node: Node) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as occupied:
        occupied.bind(node.sip)
        supervisor = node.start("run")
        assert supervisor.wait() == 1
    assert "Address already in use" in str(supervisor.events("start_failed")[0]["reason"])
    assert supervisor.events("child_given_up")[0]["child"] == "switch"


def test_a_second_switch_on_one_directory_is_refused_in_one_line(node: Node, switch: Process) -> None:
    code, line = ends(
        node.start("switch", environ={"X700_SIP_LISTEN": "127.0.0.1:0", "X700_OPS_LISTEN": "127.0.0.1:0"})
    )
    assert code == 1
    assert "another switch" in line
    assert options_status(node) == 200
    assert node.ask(command="tables")["tables"]


def remove_key(data: Path) -> None:
    (data / "keyring").unlink()


def garble_key(data: Path) -> None:
    (data / "keyring").write_text("not a key\n")


def change_key(data: Path) -> None:
    (data / "keyring").write_text(format_keyring(new_keyring()))


def garble_store(data: Path) -> None:
    for path in data.glob("bindings.db*"):
        path.unlink()
    (data / "bindings.db").write_bytes(b"no database" * 1000)


def hide_store(data: Path) -> None:
    for path in data.glob("bindings.db*"):
        path.unlink()
    (data / "bindings.db").mkdir()


def block_journal(data: Path) -> None:
    (data / "journal").touch()


def block_control(data: Path) -> None:
    (data / "control.sock").mkdir()


@pytest.mark.parametrize(
    ("harm", "code", "named"),
    [
        (remove_key, 2, "x700 keygen"),
        (garble_key, 2, "keyring"),
        (change_key, 1, "written with other keys"),
        (garble_store, 1, "bindings.db"),
        (hide_store, 1, "bindings.db"),
        (block_journal, 1, "journal"),
        (block_control, 1, "ops.control_socket"),
    ],
)
def test_what_is_missing_at_the_start_is_named_in_one_line(
    node: Node, harm: Callable[[Path], None], code: int, named: str
) -> None:
    harm(node.data)
    ended, line = ends(node.start("switch"))
    assert ended == code
    assert named in line


# stopping


def test_the_first_signal_drains_and_the_live_call_ends_by_itself(node: Node, switch: Process) -> None:
    call = answered(node)
    switch.signal(signal.SIGTERM)
    until(lambda: node.page("ready")[0] == 503, "/ready to say no")
    assert node.page("health")[0] == 200
    refused = node.phones.place(HANGS_UP.x, CALLER)
    assert refused.over.wait(PATIENCE)
    assert refused.answer is not None
    assert (refused.final, refused.answer.value("retry-after")) == (503, "30")
    assert options_status(node) == 503
    assert switch.running
    assert not call.over.is_set()
    node.phones.hang_up(call)
    assert call.over.wait(PATIENCE)
    assert call.bye_status == 200
    assert switch.wait() == 0
    (taken,) = node.phones.taken(call)
    assert taken.bye_received_ms
    assert not call.bye_received_ms
    records = {stored.parties.ingress_call_id: stored.record for stored in node.record()}
    assert (records[call.call_id].outcome, records[call.call_id].ended_by) == ("answered", "caller")
    assert (records[refused.call_id].outcome, records[refused.call_id].reason) == ("refused", "draining")
    assert len(records) == 2


def test_an_idle_switch_stops_at_once(node: Node, switch: Process) -> None:
    began = time.monotonic()
    assert switch.stop() == 0
    assert time.monotonic() - began < 10  # the drain may take 30


def check_released(node: Node, calls: list[Call], stored: list[Stored]) -> None:
    """Both sides got BYE, and the records are whole."""
    for call in calls:
        assert call.over.wait(PATIENCE)
        assert call.bye_received_ms
        (taken,) = node.phones.taken(call)
        assert taken.bye_received_ms
    records = {each.parties.ingress_call_id: each.record for each in stored}
    assert set(records) == {call.call_id for call in calls}
    for record in records.values():
        assert (record.outcome, record.status, record.q850) == ("answered", 200, 41)
        assert (record.ended_by, record.reason) == ("switch", "shutdown")
        assert record.talk_ms > 0


def test_the_second_signal_ends_live_calls_on_both_sides(node: Node, switch: Process) -> None:
    calls = [answered(node) for _ in range(5)]
    switch.signal(signal.SIGTERM)
    until(lambda: switch.events("draining"), "the drain")
    switch.signal(signal.SIGTERM)
    assert switch.wait() == 0
    assert switch.events("stopped")[0]["forced"] is True
    check_released(node, calls, node.record())


def test_a_second_signal_to_the_whole_node_leaves_whole_records(node: Node) -> None:
    supervisor = node.start("run").wait_ready()
    calls = [answered(node) for _ in range(3)]
    supervisor.signal(signal.SIGTERM)
    until(lambda: supervisor.events("draining"), "the drain")
    supervisor.signal(signal.SIGTERM)
    assert supervisor.wait() == 1  # forced
    assert not supervisor.events("child_killed")
    check_released(node, calls, node.stored())


def test_calls_that_outlast_the_drain_are_ended_on_both_sides(node: Node) -> None:
    node.write_config({"sip": {"drain_seconds": 0.5}})
    switch = node.switch()
    calls = [answered(node) for _ in range(2)]
    assert switch.stop() == 0
    check_released(node, calls, node.record())


# rubbish


def test_a_stranger_gets_no_answer_and_is_counted(node: Node, switch: Process) -> None:
    assert ask(node.sip, lambda me: options(node.sip, me), STRANGER, seconds=1.0, times=4) is None
    assert node.count("x700_drops", cause="unknown_source") == 4
    assert node.count("x700_messages_received") == 0
    assert options_status(node) == 200


END = b"Content-Length"
MALFORMED: tuple[tuple[str, int, Callable[[bytes], bytes]], ...] = (
    ("a field twice", 400, lambda wire: wire.replace(b"Max-Forwards", b"Content-Length: 0\r\nMax-Forwards")),
    ("no colon", 400, lambda wire: wire.replace(b"Max-Forwards: 70", b"Max-Forwards 70")),
    ("CSeq of another method", 400, lambda wire: wire.replace(b"1 INVITE", b"1 BYE")),
    ("a bare line feed", 400, lambda wire: wire.replace(b"Max-Forwards", b"X: \n\r\nMax-Forwards")),
    ("a body cut short", 400, lambda wire: wire.replace(b"Content-Length: 0", b"Content-Length: 99")),
    ("another version", 505, lambda wire: wire.replace(b" SIP/2.0\r\n", b" SIP/3.0\r\n", 1)),
    ("an oversized header line", 513, lambda wire: wire.replace(END, b"X: " + b"x" * 9000 + b"\r\n" + END)),
    ("an endless folded header", 513, lambda wire: wire.replace(END, b"X: a" + b"\r\n a" * 9000 + b"\r\n" + END)),
    ("too many header fields", 513, lambda wire: wire.replace(END, b"X: a\r\n" * 200 + END)),
    ("too many Via", 513, lambda wire: wire.replace(END, b"Via: SIP/2.0/UDP h;branch=z9hG4bK1\r\n" * 40 + END)),
)  # fmt: skip


def test_what_is_malformed_is_refused_when_it_can_be_addressed(node: Node, switch: Process) -> None:
    for name, status, spoil in MALFORMED:
        make = invite(node)
        answer = ask(node.sip, lambda me: spoil(make(me)))  # noqa: B023 (called before the next turn)
        assert answer is not None, name
        assert answer.status == status, name
    assert node.count("x700_drops", cause="malformed") >= len(MALFORMED)
    hidden = invite(node)(node.sip).replace(b"\r\nFrom", b"\r\nX: " + b"x" * 9000 + b"\r\nFrom")
    for wire in (b"\0" * 100, os.urandom(500), b"INVITE sip:x SIP/2.0\r\n\r\n", hidden):
        assert ask(node.sip, wire, seconds=0.3, times=1) is None
    assert node.count("x700_attempts") == 0
    assert options_status(node) == 200
    assert ask(node.sip, b"\r\n\r\n", seconds=0.3, times=1) is None
    assert node.count("x700_drops", cause="keep_alive") == 1


@contextmanager
def flood(node: Node) -> Iterator[list[int]]:
    """Rubbish from NOISY while the body runs; the list's one number is how many datagrams it was."""
    made = invite(node)(Peer(NOISY, 5060))
    rubbish = [
        os.urandom(300), made[:200], made[:-2], b"\xff" * 1200, made.replace(b"/UDP", b" UDP"), b"", b"\r\n",
        made.replace(b"Call-ID", b"Call ID"), b"SIP/2.0 200 OK\r\n\r\n",
    ]  # fmt: skip
    sent, stop = [0], threading.Event()

    def run() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as channel:
            channel.bind((NOISY, 0))
            at = time.monotonic()
            while not stop.is_set():
                for wire in rubbish:
                    channel.sendto(wire, node.sip)
                sent[0] += len(rubbish)
                at += len(rubbish) / FLOOD_RATE
                time.sleep(max(0.0, at - time.monotonic()))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield sent
    finally:
        stop.set()
        thread.join()


def dropped(node: Node) -> float:
    return sum(node.count("x700_drops", cause=cause) for cause in ("malformed", "source_flood", "keep_alive"))


@pytest.mark.parametrize("limits", [{}, {"source_messages_per_second": 500, "source_burst": 500}])
def test_a_flood_of_rubbish_from_one_source_stops_no_call_of_another(node: Node, limits: Mapping[str, int]) -> None:
    node.write_config({"limits": limits})
    node.switch()
    with flood(node) as sent:
        until(lambda: sent[0] > FLOOD_RATE / 2, "the flood")
        calls = list[Call]()
        for _ in range(FLOOD_CALLS):
            calls.append(node.phones.place(ANSWERED.x, CALLER, 0.2))
            time.sleep(0.02)
        assert all(call.over.wait(PATIENCE) for call in calls)
    assert {(call.final, call.bye_status) for call in calls} == {(200, 200)}
    # the kernel may drop some of so many, and the switch sees them never
    until(lambda: dropped(node) > sent[0] / 4, "the rubbish to be counted", seconds=10)
    assert dropped(node) <= sent[0]
    if limits:
        assert node.count("x700_drops", cause="source_flood") > sent[0] / 10
    assert node.count("x700_attempts", trunk="caller") == FLOOD_CALLS
    assert node.count("x700_attempts", trunk="noisy") == 0
    assert node.page("health")[0] == 200


CALL_FLOOD = """
import socket, sys, time
host, port, target_host, target_port, rate, seconds = sys.argv[1:]
template = sys.stdin.buffer.read()
channel = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
channel.bind((host, int(port)))
start, sent = time.monotonic(), 0
while (elapsed := time.monotonic() - start) < float(seconds):
    while sent < elapsed * float(rate):
        channel.sendto(template.replace(b"NUMBER", b"%d" % sent), (target_host, int(target_port)))
        sent += 1
    time.sleep(0.001)
"""


def test_a_flood_of_calls_from_one_source_stops_no_call_of_another(node: Node) -> None:
    """More new calls a second than the switch can look at: the flood has the leftovers, not the others."""
    node.switch()
    made = invite(node)(Peer(NOISY, 5060))
    template = re.sub(rb"(branch=z9hG4bK|Call-ID: )", rb"\1NUMBER-", made.replace(CALLER.encode(), b"13700137000"))
    command = [sys.executable, "-c", CALL_FLOOD, NOISY, "0", node.sip[0], str(node.sip[1]), "20000", "8"]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as flooding:
        assert flooding.stdin is not None
        flooding.stdin.write(template)
        flooding.stdin.close()
        until(lambda: node.count("x700_attempts", trunk="noisy") > 1000, "the flood")
        calls = [node.phones.place(ANSWERED.x, CALLER, 0.2) for _ in range(40) if time.sleep(0.05) is None]
        assert all(call.over.wait(PATIENCE) for call in calls)
        assert flooding.poll() is None or flooding.returncode == 0
    assert {(call.final, call.bye_status) for call in calls} == {(200, 200)}
    assert node.count("x700_drops", cause="queue_full") + node.count("x700_drops", cause="source_flood") > 0
    assert node.page("health")[0] == 200


def test_it_stops_in_the_middle_of_a_flood(node: Node) -> None:
    switch = node.switch()
    wire = options(node.sip, Peer(NOISY, 5060))
    command = [sys.executable, "-c", CALL_FLOOD, NOISY, "0", node.sip[0], str(node.sip[1]), "20000", "12"]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as flooding:
        assert flooding.stdin is not None
        flooding.stdin.write(wire.replace(b"branch=z9hG4bK", b"branch=z9hG4bKNUMBER-"))
        flooding.stdin.close()
        until(lambda: node.count("x700_messages_received", kind="OPTIONS") > 5000, "the flood")
        switch.signal(signal.SIGTERM)
        assert switch.wait() == 0
        flooding.kill()


# the binding store


def test_calls_wait_for_a_store_that_is_gone_and_come_back_with_it(node: Node, switch: Process) -> None:
    def call() -> Message:
        call = node.phones.place(ANSWERED.x, CALLER)
        assert call.over.wait(PATIENCE)
        assert call.answer is not None
        return call.answer

    store, away = node.data / "bindings.db", node.data / "bindings.away"
    store.rename(away)
    until(lambda: node.page("health")[0] == 503, "the loss to be noticed")
    assert "binding store: " in node.page("health")[1]
    assert node.count("x700_store_failed") == 1
    refused = call()
    assert (refused.status, refused.value("retry-after")) == (503, "10")
    away.rename(store)
    until(lambda: node.page("health")[0] == 200, "the store to be back")
    assert call().status == 200
    assert switch.events("store_failed")
    assert switch.events("store_recovered")
    assert switch.stop() == 0
    assert [stored.record.reason for stored in node.record()] == ["store_unavailable", ""]
