"""The thread that forces journal lines to disk, with a journal that only counts."""

import threading
import time
from collections.abc import Callable
from unittest.mock import Mock

import pytest

from b2bua.app import syncer
from b2bua.app.syncer import Syncer


class CountingJournal:
    def __init__(self, window_ms: int) -> None:
        self.sync_window_ms = window_ms
        self.synced: list[float] = []
        self.called = threading.Event()

    def sync(self) -> None:
        self.synced.append(time.monotonic())
        self.called.set()


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def start(journal: CountingJournal) -> Syncer:
    return Syncer(Mock(spec=[], wraps=journal, sync_window_ms=journal.sync_window_ms, sync=journal.sync))


@pytest.mark.parametrize("window_ms", [0, 1, 20])
def test_a_line_is_forced_to_disk_within_the_window(window_ms: int) -> None:
    journal = CountingJournal(window_ms)
    thread = start(journal)
    for _ in range(3):
        time.sleep(0.03)
        journal.called.clear()
        wrote = time.monotonic()
        thread.wrote()
        assert journal.called.wait(5)
        assert journal.synced[-1] - wrote < window_ms / 1000 + 0.5
    thread.close()


def test_all_lines_of_a_window_share_one_sync() -> None:
    journal = CountingJournal(50)
    thread = start(journal)
    for _ in range(100):
        thread.wrote()
    until(lambda: bool(journal.synced))
    time.sleep(0.2)
    thread.close()
    assert len(journal.synced) == 1


def test_a_line_after_a_long_silence_wakes_the_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(syncer, "QUIET_SECONDS", 0.01)
    journal = CountingJournal(5)
    thread = start(journal)
    for written in range(1, 4):
        thread.wrote()
        until(lambda written=written: len(journal.synced) == written)  # type: ignore[misc]
        until(lambda: thread._asleep)
    thread.close()


def test_an_idle_journal_is_still_asked_so_that_a_disk_that_is_back_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(syncer, "IDLE_SECONDS", 0.02)
    journal = CountingJournal(5)
    thread = start(journal)
    until(lambda: len(journal.synced) >= 3)
    thread.close()


def test_closing_ends_the_thread_asleep_or_awake() -> None:
    for busy in (False, True):
        thread = start(CountingJournal(5))
        if busy:
            thread.wrote()
        thread.close()
        assert not thread._thread.is_alive()
