"""Messages on disk: sealed, written in groups, and there again whatever happened to the process."""

import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from b2bua.app.message_store import MessageStore, MessageStoreError, Told
from b2bua.call.stored import Mark, Stored, StoredMessage, Write
from cdr.seal import Seal, format_keyring, new_keyring

PATIENCE = 20.0
FACTS = ("a", "binding-1", "AXB", "700123456789012", "", "provider", "shop", "delivery", "order-1", "")
SECRETS = (b"13876543210", b"13925814703", "楼下".encode(), b"known@192.0.2.10", b"697c4e0b")


def message(record_id: str = "record-1", **more: object) -> StoredMessage:
    usual = StoredMessage(
        record_id, 7, f"known@192.0.2.10 tag 1 {record_id}", "+8613876543210", "+8613925814703", "700123456789012",
        "700123456789012", "carrier-a", "known@192.0.2.10", 69, 1000, 2000, FACTS, "text/plain", "text/plain",
        "我到楼下了 \ud83d", "", 8, (77, 3, 1, False), 42, True,
    )  # fmt: skip
    return usual._replace(**more)  # type: ignore[arg-type]


class Rig:
    """A store in a directory, and what it has told."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "messages.db"
        self.seal = Seal(new_keyring())
        self.told: Told = []
        self.groups: list[int] = []
        self.stores: list[MessageStore] = []

    def _heard(self, told: Told) -> None:
        self.told += told
        self.groups.append(len(told))

    def open(self, start: bool = True) -> MessageStore:
        store = MessageStore(self.path, self.seal, self._heard)
        if start:
            store.start()
        self.stores.append(store)
        return store

    def until(self, probe: Callable[[], bool]) -> None:
        end = time.monotonic() + PATIENCE
        while not probe():
            assert time.monotonic() < end
            time.sleep(0.01)


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    rig = Rig(tmp_path)
    yield rig
    for store in rig.stores:
        store.close()


def test_a_message_comes_back_as_it_was(rig: Rig) -> None:
    store = rig.open()
    store.put([Write(message(), 1234), Write(message("record-2", concat=None), 1200)])
    rig.until(lambda: len(rig.told) == 2)
    assert rig.told == [("record-1", True), ("record-2", True)]
    store.close()
    rig.stores.clear()
    found = rig.open(start=False).load()
    assert [(each.message, each.state, each.tries, each.due_ms) for each in found] == [
        (message("record-2", concat=None), Stored.WAITING, 0, 1200),
        (message(), Stored.WAITING, 0, 1234),
    ]


def test_marks_say_how_far_it_is(rig: Rig) -> None:
    store = rig.open()
    now_ms = time.time_ns() // 1_000_000
    store.put([Write(message(str(number)), number) for number in range(4)])
    store.put([Mark("0", Stored.SENDING, 1, 10, True), Mark("1", Stored.TAKEN, 2, 11, False)])
    store.put([Mark("2", Stored.DONE, 3, now_ms, False), Mark("3", Stored.REFUSED, 0, 13, False)])
    store.close()
    rig.stores.clear()
    assert ("0", True) in rig.told
    assert len(rig.told) == 5
    found = {each.message.record_id: each for each in rig.open(start=False).load()}
    assert {name: (each.state, each.tries, each.due_ms) for name, each in found.items()} == {
        "0": (Stored.SENDING, 1, 10),
        "1": (Stored.TAKEN, 2, 11),
        "2": (Stored.DONE, 3, now_ms),
    }
    done = found["2"].message
    assert done.key == message("2").key
    assert (done.text, done.caller, done.callee) == ("", "", "")


def test_nothing_stands_there_in_clear(rig: Rig) -> None:
    store = rig.open()
    store.put([Write(message(), 1)])
    store.close()
    rig.stores.clear()
    for path in rig.path.parent.glob("messages.db*"):
        content = path.read_bytes()
        assert not any(secret in content for secret in SECRETS)
        assert path.stat().st_mode & 0o077 == 0


def test_what_gathers_is_written_together(rig: Rig) -> None:
    store = rig.open(start=False)
    for number in range(500):
        store.put([Write(message(str(number)), number)])
    store.start()
    rig.until(lambda: len(rig.told) == 500)
    assert len(rig.groups) <= 3


def test_what_is_done_is_forgotten_after_a_while(rig: Rig) -> None:
    store = rig.open()
    now_ms = time.time_ns() // 1_000_000
    store.put([Write(message("old"), 1), Mark("old", Stored.DONE, 1, now_ms - 3_600_000, False)])
    store.put([Write(message("new"), 1), Mark("new", Stored.DONE, 1, now_ms, False)])
    rig.until(lambda: len(rig.told) == 2)
    store.close()
    rig.stores.clear()
    store = rig.open()
    store.put([Write(message("next"), 1)])  # the first group of a process looks at what is old
    store.close()
    rig.stores.clear()
    assert {each.message.record_id for each in rig.open(start=False).load()} == {"new", "next"}


def test_a_file_that_is_locked_refuses_and_recovers(rig: Rig) -> None:
    store = rig.open(start=False)
    store._connection.execute("PRAGMA busy_timeout = 10")
    other = sqlite3.connect(rig.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    store.start()
    store.put(
        [Write(message("lost"), 1), Mark("gone", Stored.SENDING, 1, 1, True), Mark("kept", Stored.DONE, 1, 1, False)]
    )
    rig.until(lambda: len(rig.told) == 2)
    assert rig.told == [("lost", False), ("gone", False)]
    assert "locked" in store.failure
    other.execute("COMMIT")
    other.close()
    rig.until(lambda: not store.failure)
    store.put([Write(message("again"), 1)])
    rig.until(lambda: len(rig.told) == 3)
    assert rig.told[-1] == ("again", True)


def test_while_it_fails_only_so_much_is_kept_for_later(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("b2bua.app.message_store.MOST_WAITING", 3)
    store = rig.open(start=False)
    store.failure = "disk full"
    store.put([Write(message(str(number)), 1) for number in range(3)])
    assert rig.told == []
    store.put([Write(message("3"), 1), Mark("0", Stored.DONE, 1, 1, False)])
    assert rig.told == [("3", False)]


def test_another_keyring_is_told_at_once(rig: Rig) -> None:
    store = rig.open()
    store.put([Write(message(), 1)])
    store.close()
    rig.stores.clear()
    rig.seal = Seal(new_keyring())
    with pytest.raises(MessageStoreError, match=r"messages\.db"):
        rig.open(start=False).load()


def test_a_file_of_a_later_version_is_left_alone(rig: Rig) -> None:
    connection = sqlite3.connect(rig.path)
    connection.execute("PRAGMA user_version = 9")
    connection.close()
    with pytest.raises(MessageStoreError, match="version 9"):
        rig.open()


def test_a_directory_that_is_none(rig: Rig) -> None:
    rig.path = rig.path.parent / "nowhere" / "messages.db"
    with pytest.raises(MessageStoreError, match="nowhere"):
        rig.open()


WRITER = """
import sys
import time
from pathlib import Path
from b2bua.app.message_store import MessageStore
from b2bua.call.stored import StoredMessage, Write
from cdr.seal import Seal, parse_keyring

path, keys = Path(sys.argv[1]), sys.argv[2]
facts = ("a",) + ("",) * 9

def told(answers):
    for record_id, good in answers:
        if good:
            sys.stdout.write(record_id + "\\n")
    sys.stdout.flush()

store = MessageStore(path, Seal(parse_keyring(keys)), told)
store.start()
number = 0
while True:
    batch = []
    for _ in range(7):
        number += 1
        head = (f"r{number}", number, f"key {number}", "a", "b", "x", "x", "t", "c", 70, 1, 2, facts, "")
        batch.append(Write(StoredMessage(*head, "text/plain", "text", "", 0, None, -1, False), number))
    store.put(batch)
    while store.waiting > 50:
        time.sleep(0.001)
"""


def test_kill_9_loses_nothing_that_was_said_to_be_there(tmp_path: Path) -> None:
    """What the switch was told is on disk, is on disk; and the file is good at whatever instant the process ends."""
    keyring = new_keyring()
    path = tmp_path / "messages.db"
    said: set[str] = set()
    for life in range(4):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path), format_keyring(keyring)],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        )
        lines: list[str] = []
        assert process.stdout is not None
        reader = threading.Thread(target=lambda stream=process.stdout, into=lines: into.extend(stream), daemon=True)
        reader.start()
        end = time.monotonic() + PATIENCE
        while len(lines) < 100 + 50 * life and time.monotonic() < end:
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        process.wait()
        reader.join(PATIENCE)
        process.stdout.close()
        said |= {line.strip() for line in lines if line.endswith("\n")}
        store = MessageStore(path, Seal(keyring), lambda told: None)
        found = {each.message.record_id: each.message for each in store.load()}
        store.close()
        assert said <= found.keys()
        assert all(kept.key == f"key {kept.handle}" for kept in found.values())
    assert len(said) >= 100
