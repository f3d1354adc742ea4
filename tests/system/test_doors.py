"""Profile §4 item 15, drain: each entrance of a real process is closed while its live call goes on."""

import signal
import socket
from collections import Counter
from collections.abc import Callable

import pytest

from routing.trunks import Peer
from tests.system.node import ANSWERED, CALLER, PATIENCE, Node, Process, until
from tests.system.phones import Call
from tests.system.wire import Message, ask, free_port, read, request

LARGEST = 65_535
METHODS = ("INVITE", "OPTIONS", "MESSAGE")


def wire(node: Node, method: str, me: Peer, transport: str) -> bytes:
    here, there = f"{me.host}:{me.port}", f"{node.sip.host}:{node.sip.port}"
    made = request(
        method, f"sip:{ANSWERED.x}@{there}", here, f"<sip:{CALLER}@{here}>;tag=1", f"<sip:{ANSWERED.x}@{there}>",
        f"{method}-{transport}-{me.port}", 1,
        extra=[("Contact", f"<sip:{here}>"), ("P-Asserted-Identity", f"<sip:{CALLER}@{here}>")],
    )  # fmt: skip
    return made.replace(b"SIP/2.0/UDP", f"SIP/2.0/{transport}".encode())


def over_tcp(channel: socket.socket, node: Node, method: str) -> Message:
    """A request on an open connection, and its final answer."""
    channel.sendall(wire(node, method, Peer(*channel.getsockname()), "TCP"))
    channel.settimeout(10.0)
    data = b""
    while True:
        piece = channel.recv(LARGEST)
        assert piece, "the connection was closed"
        data += piece
        head, end, rest = data.partition(b"\r\n\r\n")
        if end and not head.startswith(b"SIP/2.0 1"):
            return read(head + end)
        data = rest if end else data


@pytest.fixture
def tcp(node: Node) -> Peer:
    """Where the switch will take connections."""
    address = Peer(node.sip.host, free_port(node.sip.host, socket.SOCK_STREAM))
    with node.config.open("a") as file:
        file.write(f'[[listener]]\nname = "streams"\ntransport = "tcp"\nlisten = "{address.host}:{address.port}"\n')
    return address


def drain_with_a_call_up(node: Node, switch: Process) -> Call:
    call = node.phones.place(ANSWERED.x, CALLER, None)
    assert call.answered.wait(PATIENCE)
    switch.signal(signal.SIGTERM)
    until(lambda: node.page("ready")[0] == 503, "/ready to say no")
    return call


def check_refused(answer: Message | None) -> None:
    assert answer is not None
    assert (answer.status, answer.value("retry-after")) == (503, "30"), answer.first


def test_every_door_is_closed_and_the_live_call_goes_on(node: Node, tcp: Peer) -> None:
    switch = node.switch()
    source = ("127.0.0.1", 0)
    doors: list[tuple[str, Callable[[str], Message | None]]] = []
    with socket.create_connection(tcp, source_address=source) as before:
        assert over_tcp(before, node, "OPTIONS").status == 200
        call = drain_with_a_call_up(node, switch)
        with socket.create_connection(tcp, source_address=source) as after:
            doors = [
                ("UDP", lambda method: ask(node.sip, lambda me: wire(node, method, me, "UDP"))),
                ("a connection of before", lambda method: over_tcp(before, node, method)),
                ("a connection of after", lambda method: over_tcp(after, node, method)),
            ]
            for _, door in doors:
                for method in METHODS:
                    check_refused(door(method))
    # neither a reload nor a look at it opens them again
    switch.signal(signal.SIGHUP)
    until(lambda: node.count("x700_reloads", result="ok") == 1, "the reload")
    check_refused(doors[0][1]("OPTIONS"))
    assert node.page("health")[0] == 200
    assert not call.over.is_set()
    node.phones.hang_up(call)
    assert call.over.wait(PATIENCE)
    assert call.bye_status == 200
    assert switch.wait() == 0
    (lived, *refused) = node.record()
    assert lived.record.outcome == "answered"
    assert {stored.record.reason for stored in refused} == {"draining"}
    assert Counter(stored.record.kind for stored in refused) == {"call": len(doors), "message": len(doors)}


def test_a_second_signal_during_a_reload_ends_it_at_once(node: Node) -> None:
    switch = node.switch()
    call = drain_with_a_call_up(node, switch)
    switch.signal(signal.SIGHUP)
    switch.signal(signal.SIGINT)
    assert switch.wait() == 0
    assert call.over.wait(PATIENCE)
    assert call.bye_received_ms
    assert [stored.record.reason for stored in node.record()] == ["shutdown"]
