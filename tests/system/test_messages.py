"""Short messages through real processes: kill -9 at any instant loses none that was accepted and tells none twice."""

import random
import socket
import threading
import time
from collections import Counter, defaultdict
from contextlib import closing
from dataclasses import dataclass, field
from uuid import uuid4

import pytest

from tests.system.node import ANSWERED, CALLER, UNBOUND, Node, Stored, until
from tests.system.phones import Phones
from tests.system.wire import read, request

RATE = 60  # messages a second
LIVES = 4
LIFE_SECONDS = (0.3, 1.2)
REPEAT_SECONDS = 0.25  # a sender that got no answer says the same again so often
GIVE_UP_SECONDS = 20.0


@dataclass(eq=False)
class Text:
    """One message as its sender saw it."""

    body: str
    call_id: str
    wire: bytes
    statuses: list[int] = field(default_factory=list)
    sent_at: float = 0.0
    began_at: float = 0.0


class Sender:
    """A socket that sends texts and says each again until it has an answer."""

    def __init__(self, node: Node) -> None:
        self.texts: dict[str, Text] = {}
        self._node = node
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.settimeout(0.02)
        self._me = f"127.0.0.1:{self._socket.getsockname()[1]}"
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def new(self, x: str = ANSWERED.x) -> Text:
        """A message of its own text."""
        body, call_id = f"text {uuid4().hex[:8]}", uuid4().hex
        uri = f"sip:{x}@{self._node.sip.host}:{self._node.sip.port}"
        head = [("P-Asserted-Identity", f"<sip:{CALLER}@{self._me}>"), ("Content-Type", "text/plain")]
        wire = request(
            "MESSAGE", uri, self._me, f"<sip:{CALLER}@{self._me}>;tag={uuid4().hex[:8]}", f"<{uri}>", call_id, 1,
            branch=f"z9hG4bK{uuid4().hex}", extra=head, body=b"",
        )  # fmt: skip
        wire = wire.replace(b"Content-Length: 0\r\n", b"Content-Length: %d\r\n" % len(body)) + body.encode()
        text = Text(body, call_id, wire, began_at=time.monotonic())
        self.texts[call_id] = text
        return text

    def start(self) -> None:
        """New ones at a steady rate."""
        self._thread.start()

    def send(self) -> None:
        """Those that were made, and wait for their answers."""
        self._stop.set()
        self._thread.start()
        self._thread.join()

    def finish(self) -> None:
        """No new ones; wait for the answers that are missing."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        due = time.monotonic()
        with closing(self._socket):
            while True:
                now = time.monotonic()
                if not self._stop.is_set() and now >= due:
                    due += 1 / RATE
                    self.new()
                open_texts = [text for text in self.texts.values() if not text.statuses]
                for text in open_texts:
                    if now - text.sent_at >= REPEAT_SECONDS and now - text.began_at < GIVE_UP_SECONDS:
                        text.sent_at = now
                        self._socket.sendto(text.wire, self._node.sip)
                if self._stop.is_set() and not [text for text in open_texts if now - text.began_at < GIVE_UP_SECONDS]:
                    return
                self._hear()

    def _hear(self) -> None:
        try:
            while True:
                message = read(self._socket.recv(65_535))
                self.texts[message.value("call-id")].statuses.append(message.status)
        except (TimeoutError, ConnectionError):
            return


@pytest.fixture
def chance() -> random.Random:
    """Randomness that a failed test names, to be had again."""
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")  # noqa: T201 (shown with a failure only)
    return random.Random(seed)


def received(phones: Phones) -> dict[str, set[str]]:
    """The Call-IDs under which the callee got each text: one for each time that it was sent, whatever the
    repetitions."""
    found: dict[str, set[str]] = defaultdict(set)
    for message in phones.callee.texts:
        found[message.body.decode()].add(message.value("call-id"))
    return found


def by_sender(node: Node) -> dict[str, list[Stored]]:
    """Records by the Call-ID that the sender used."""
    found: dict[str, list[Stored]] = defaultdict(list)
    for stored in node.stored():
        found[stored.parties.ingress_call_id].append(stored)
    return found


def test_a_killed_switch_loses_no_message_and_tells_none_twice(node: Node, chance: random.Random) -> None:
    # on a busy machine nothing is refused for want of time
    node.write_config({"limits": {"overload_delay_ms": 0}, "routing": {"decision_seconds": 60.0}})
    recorder, switch, sender = node.recorder(), node.switch(), Sender(node)
    sender.start()
    for _ in range(LIVES - 1):
        time.sleep(chance.uniform(*LIFE_SECONDS))
        switch.kill()
        switch = node.switch()
    time.sleep(chance.uniform(*LIFE_SECONDS))
    sender.finish()
    until(lambda: node.ask(command="messages")["messages"] == [], "every message to have its end")
    assert switch.stop() == 0
    assert recorder.stop() == 0

    told, records = received(node.phones), by_sender(node)
    assert len(sender.texts) > 30
    outcomes: Counter[str] = Counter()
    for text in sender.texts.values():
        assert text.statuses[:1] == [202], text
        ends = Counter(stored.record.outcome for stored in records[text.call_id])
        final = +Counter({name: count for name, count in ends.items() if name != "interrupted"})
        assert final in (Counter(delivered=1), Counter(unknown=1)), (text.body, ends)
        outcomes += final
        # an attempt that ended with its process before it was on disk had no answer, and was made again
        assert len(told[text.body]) == 1 or (final == Counter(unknown=1) and not told[text.body]), (text.body, ends)
    assert outcomes["delivered"] > 0
    assert len({stored.record.record_id for stored in node.stored()}) == len(node.stored())
    assert not any(stored.record.partial for stored in node.stored())


def test_an_orderly_stop_leaves_what_waits_to_the_next_process(node: Node) -> None:
    node.phones.callee.deaf = True
    node.write_config({"messages": {"retry_seconds": 4.0}})
    recorder, switch, sender = node.recorder(), node.switch(), Sender(node)
    text = sender.new()
    sender.send()
    assert text.statuses == [202]
    until(lambda: node.phones.callee.texts, "the first try")
    waiting = node.ask(command="messages")["messages"]
    assert isinstance(waiting, list)
    assert [(each["state"], each["caller"]) for each in waiting] == [("sending", "138****8000")]
    until(lambda: _state(node) == "waiting", "the end of the first try")
    assert switch.stop() == 0
    node.phones.callee.deaf = False
    switch = node.switch()
    until(lambda: node.ask(command="messages")["messages"] == [], "the message to be delivered")
    assert node.count("x700_short_messages", outcome="delivered") == 1
    assert node.count("x700_short_messages_waiting") == 0
    assert switch.stop() == 0
    assert recorder.stop() == 0
    (stored,) = node.stored()
    assert (stored.record.kind, stored.record.outcome) == ("message", "delivered")
    assert stored.parties.b.endswith(ANSWERED.callee)
    assert stored.record.answered_ms > 0
    for path in node.data.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert not any(secret.encode() in content for secret in (CALLER, ANSWERED.callee, text.body)), path


def _state(node: Node) -> str:
    messages = node.ask(command="messages")["messages"]
    return str(messages[0]["state"]) if isinstance(messages, list) and messages else ""


def test_the_command_line_shows_what_waits_and_gives_it_up(node: Node) -> None:
    node.phones.callee.deaf = True
    node.write_config({"messages": {"retry_seconds": 60.0}})
    switch, sender = node.switch(), Sender(node)
    text, refused = sender.new(), sender.new(UNBOUND)
    sender.send()
    assert (text.statuses, refused.statuses) == ([202], [403])
    until(lambda: _state(node) == "waiting", "the end of the first try")
    shown = node.start("messages", "list", "--json")
    assert shown.wait() == 0
    output = "\n".join(shown.lines)
    shown.lines.clear()
    assert '"state": "waiting"' in output
    assert CALLER not in output
    identifier = output.partition('"id": "')[2].partition('"')[0]
    for words, code in ((("messages", "discard", identifier, "--json"), 0), (("messages", "discard", "nobody"), 1)):
        process = node.start(*words)
        assert process.wait() == code
        process.lines.clear()
    assert node.ask(command="messages") == {"messages": []}
    assert node.ask(command="discard", id="") == {"error": "no message that waits has this id"}
    assert switch.stop() == 0
    outcomes = sorted((stored.record.outcome, stored.record.reason) for stored in node.record())
    assert outcomes == [("failed", "hung_up"), ("refused", "caller_unbound")]
