"""kill -9 of the recorder and of the API under a stream of events: a real receiver gets each event at least once, in
order for each call, and by the ids of the events exactly once."""

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from b2bua.app.config import load
from b2bua.app.storage import binding_store
from cdr.outbox import PHASES
from cdr.seal import Key, Keyring, format_keyring
from cdr.store.segments import Writer
from tests.cdr.story import CALLEE, CALLER, boot, line, new_seal
from tests.webhooks.receiver import Receiver, receiving

ROOT = Path(__file__).parents[2]

# Some hundred events a second: calls that begin, are answered and end, or are refused.
SWITCH = """
import sys, time
from cdr.store.segments import Writer
from tests.cdr.story import attempted, answered, ended, boot, line, new_seal
writer, seal = Writer(sys.argv[1], 200_000, 5), new_seal()
writer.append([line(boot("stream"), seal)])
now = lambda: time.time_ns() // 1_000_000  # calls that are older than two days would be given up
up = []
for number in range(1_000_000):
    record_id = f"r{number}"
    writer.append([line(attempted(record_id, arrived_ms=now()), seal)])
    print("attempted", record_id, flush=True)
    up.append(record_id)
    if len(up) > 10:
        record_id = up.pop(number % 10)
        if number % 3:
            writer.append([line(answered(record_id, answered_ms=now()), seal)])
            print("answered", record_id, flush=True)
        writer.append([line(ended(record_id, ended_ms=now()), seal)])
        print("ended", record_id, flush=True)
    if number % 5 == 0:
        writer.sync()
    time.sleep(0.01)
"""


class Node:
    """The recorder and the API as they run in production, with settings of their own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.config = directory / "x700.toml"
        keyring = directory / "keyring"
        keyring.touch(mode=0o600)
        keyring.write_text(format_keyring(Keyring((Key(1, bytes([1]) * 32),))))
        self.config.write_text(
            f'[node]\ndata_dir = "{directory}"\n[sip]\nlisten = "127.0.0.1:0"\n[ops]\nlisten = "127.0.0.1:0"\n'
            '[api]\nlisten = "127.0.0.1:0"\n[[trunk]]\nname = "carrier-a"\npeers = ["127.0.0.1:5070"]\n'
        )
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.logs: list[Path] = []

    def add_webhook(self, url: str) -> None:
        async def add() -> None:
            async with binding_store(load(self.config, {})) as store:
                await store.registry.enrol("provider-1", "business-7", "delivery", now_ms=1, by="test")
                await store.webhooks.add("provider-1", url, now_ms=1, by="test")

        asyncio.run(add())

    def start(self, name: str, *command: str) -> None:
        environ = {key: value for key, value in os.environ.items() if not key.startswith("X700_")}
        self.logs.append(self.directory / f"{name}-{len(self.logs)}.log")
        with self.logs[-1].open("wb") as log:
            words = command or ("-m", "b2bua.app.cli", name, "--config", str(self.config))
            self.processes[name] = subprocess.Popen(
                [sys.executable, *words], cwd=ROOT, env=environ, stdout=log, stderr=subprocess.STDOUT
            )

    def kill(self, name: str) -> None:
        process = self.processes.pop(name)
        assert process.poll() is None, f"{name} ended by itself: {self.texts()}"
        process.kill()
        process.wait()

    def texts(self) -> str:
        return "\n".join(path.read_text(errors="replace") for path in self.logs)

    def stop(self) -> None:
        for process in self.processes.values():
            process.send_signal(signal.SIGTERM)
        for process in self.processes.values():
            process.wait(20)


def said(log: Path) -> dict[str, list[str]]:
    """What the switch has told of each call, without a line that the kill tore."""
    told: dict[str, list[str]] = {}
    for text in log.read_text().rpartition("\n")[0].splitlines():
        phase, record_id = text.split(" ")
        told.setdefault(record_id, []).append(phase)
    return told


def arrived(receiver: Receiver) -> dict[str, list[str]]:
    """The phases of each call as a receiver sees them that leaves out ids it has seen."""
    found: dict[str, list[str]] = {}
    bodies: dict[str, bytes] = {}
    for got in list(receiver.got):
        record_id, _, phase = got.id.rpartition("-")
        assert got.headers["webhook-id"] == got.id
        if bodies.setdefault(got.id, got.body) == got.body and phase not in found.get(record_id, ()):
            found.setdefault(record_id, []).append(phase)
        assert bodies[got.id] == got.body, "the same event, told twice, is the same"
    return found


def test_kill_minus_nine_of_recorder_and_api_loses_no_event_and_keeps_the_order(tmp_path: Path) -> None:
    chance = random.Random(7)
    node = Node(tmp_path)
    with receiving() as receiver:
        node.add_webhook(receiver.url)
        node.start("switch", "-c", SWITCH, str(tmp_path / "journal"))
        stream = node.logs[0]
        node.start("recorder")
        node.start("api")
        try:
            for names in (("recorder",), ("api",), ("recorder", "api"), ("api",), ("recorder",)):
                before = len(receiver.got)
                receiver.wait(lambda each, before=before: len(each.got) > before + 20, 60)  # type: ignore[misc]
                time.sleep(chance.random() * 0.4)
                for name in names:
                    node.kill(name)
                    node.start(name)
            node.kill("switch")
            told = said(stream)
            writer = Writer(tmp_path / "journal", 200_000, 5)
            writer.append([line(boot("last"), new_seal())])
            writer.close()
            receiver.wait(lambda each: sum("ended" in phases for phases in arrived(each).values()) >= len(told), 90)
        finally:
            node.stop()
        found = arrived(receiver)
        # the switch's last event may have been written without anybody hearing of it
        assert set(told) <= set(found)
        assert len(set(found) - set(told)) <= 1
        # the calls that were up when the switch was killed are told as ended when the next one begins
        expected = {each: phases if phases[-1] == "ended" else [*phases, "ended"] for each, phases in told.items()}
        wrong = {each: found[each] for each, phases in expected.items() if found[each] != phases}
        assert len(wrong) <= 1, wrong
        assert [phases for phases in found.values() if phases != [each for each in PHASES if each in phases]] == []
        assert len(told) > 100
        texts = node.texts() + "".join(f"{got.headers}{got.body!r}" for got in receiver.got)
        assert [number for number in (CALLER[3:], CALLEE[3:]) if number in texts] == []
