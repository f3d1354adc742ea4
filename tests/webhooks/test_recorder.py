"""The recorder and the outbox: whenever it dies, every event is in the outbox, once, in order."""

import asyncio
import contextlib
import os
import sqlite3
import tempfile
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from b2bua.app import recorder as recording
from b2bua.app.recorder import Recorder
from cdr.record import Event
from cdr.store import outbox as module
from cdr.store.outbox import KEPT_MS, OUTBOX_NAME, Outbox, Result, State
from cdr.store.segments import Reader, Writer
from cdr.store.sqlite import RecordStore, StoreError
from cdr.store.state import RecorderState
from routing.errors import StoreError as BindingStoreError
from routing.webhooks import EVENTS, Subscription
from tests.cdr.story import NOVEMBER, answered, attempted, boot, ended, kill, line, new_seal

MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
HOOK = Subscription("w", "provider-1", frozenset(EVENTS))


class Death(BaseException):
    """Stands for kill -9: nothing of ours may catch it."""


class Node:
    """A journal, a recorder that comes and goes, and a receiver that takes all it is told."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.seal = new_seal()
        self.writer = Writer(directory / "journal", 4096, 50)
        self.hooks: Sequence[Subscription] | BindingStoreError = (HOOK,)
        self.now_ms = NOVEMBER + 100_000
        self.delivered: list[tuple[str, int]] = []
        self.outbox = Outbox(directory / "records", durable=False)

    def tell(self, *events: Event) -> None:
        self.writer.append([line(event, self.seal) for event in events])
        self.writer.sync()

    def call(self, record_id: str) -> None:
        self.tell(attempted(record_id), answered(record_id), ended(record_id))

    def subscribers(self) -> Sequence[Subscription]:
        if isinstance(self.hooks, BindingStoreError):
            raise self.hooks
        return self.hooks

    @contextlib.asynccontextmanager
    async def recorder(self, **more: int) -> AsyncIterator[Recorder]:
        recorder = await Recorder.open(
            self.directory / "journal",
            self.directory / "records",
            self.seal,
            asyncio.Event(),
            subscribers=self.subscribers,
            now_ms=lambda: self.now_ms,
            **more,
        )
        try:
            yield recorder
        finally:
            await recorder.close()

    async def record(self) -> None:
        async with self.recorder() as recorder:
            assert await recorder.catch_up()
            assert await recorder.tend()

    async def deliver(self) -> None:
        """All that is due, over and over, until nothing is."""
        while items := await self.outbox.due("w", self.now_ms, 1000):
            self.delivered += [(item.notice.record_id, item.notice.phase) for item in items]
            await self.outbox.settle([Result(each.number, State.DELIVERED, 0, 200, "") for each in items], self.now_ms)


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    made = Node(tmp_path)
    yield made
    await made.outbox.close()
    made.writer.close()


async def test_every_event_of_a_call_is_told_in_order(node: Node) -> None:
    node.call("r-1")
    await node.record()
    await node.deliver()
    assert node.delivered == [("r-1", 0), ("r-1", 1), ("r-1", 2)]


async def test_only_the_events_that_are_wanted_by_the_provider_whose_they_are(node: Node) -> None:
    node.hooks = (Subscription("w", "provider-1", frozenset(("call.ended",))),)
    node.call("r-1")
    node.tell(attempted("r-2", provider="provider-2"), ended("r-2"))
    await node.record()
    await node.deliver()
    assert node.delivered == [("r-1", 2)]


@pytest.mark.parametrize(
    "hooks",
    [(), (Subscription("w", "provider-9", frozenset(EVENTS)),), (Subscription("w", "provider-1", frozenset()),)],
)
async def test_without_a_webhook_nothing_is_written(node: Node, hooks: tuple[Subscription, ...]) -> None:
    node.hooks = hooks
    node.call("r-1")
    await node.record()
    assert OUTBOX_NAME not in os.listdir(node.directory / "records")


async def test_a_webhook_is_heard_of_while_the_recorder_runs(node: Node) -> None:
    node.hooks = ()
    async with node.recorder() as recorder:
        node.call("r-1")
        await recorder.catch_up()
        node.hooks = (HOOK,)
        node.call("r-2")
        await recorder.catch_up()
    await node.deliver()
    assert node.delivered == [("r-2", 0), ("r-2", 1), ("r-2", 2)]


async def test_a_binding_store_that_cannot_be_read_changes_nothing_about_who_is_told(node: Node) -> None:
    async with node.recorder() as recorder:
        node.call("r-1")
        await recorder.catch_up()
        node.hooks = BindingStoreError("away")
        node.call("r-2")
        await recorder.catch_up()
        node.now_ms += 1_000_000
        await recorder.tend()
    await node.deliver()
    assert len(node.delivered) == 6


async def test_what_waits_is_kept_while_the_binding_store_is_away(node: Node) -> None:
    node.hooks = (HOOK, Subscription("w2", "provider-1", frozenset(EVENTS)))
    node.call("r-1")
    await node.record()
    node.hooks = (HOOK,)
    async with node.recorder() as recorder:
        assert await recorder.catch_up()
        node.tell(attempted("r-2"))
        assert await recorder.catch_up()
        node.hooks = BindingStoreError("away")
        node.now_ms += 1_000_000
        assert await recorder.tend()
    assert (await node.outbox.counts("w2")).waiting == 3


async def test_an_outbox_that_goes_on_refusing_holds_no_records_up(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    real, tries = Outbox.add, 0

    async def refuses(*_: object) -> int:
        nonlocal tries
        tries += 1
        raise StoreError("made by a newer program")

    monkeypatch.setattr(recording, "FIRST_RETRY_SECONDS", 0.001)
    monkeypatch.setattr(Outbox, "add", refuses)
    async with node.recorder() as recorder:
        node.call("r-1")
        assert await asyncio.wait_for(recorder.catch_up(), 10)
        assert (recorder.status.stored, recorder.status.untold, recorder.status.error) == (1, 3, "")
        assert tries == recording.OUTBOX_TRIES
        node.call("r-2")
        assert await asyncio.wait_for(recorder.catch_up(), 10)
        assert tries == recording.OUTBOX_TRIES + 1
        assert recorder.status.untold == 6
        monkeypatch.setattr(Outbox, "add", real)
        node.call("r-3")
        assert await recorder.catch_up()
        assert recorder.status.stored == 3
    await node.deliver()
    assert node.delivered == [("r-3", 0), ("r-3", 1), ("r-3", 2)]


async def test_as_long_as_nobody_knows_the_webhooks_nothing_is_removed(node: Node) -> None:
    node.call("r-1")
    await node.record()
    node.hooks = BindingStoreError("away")
    node.now_ms += 1_000_000
    await node.record()
    await node.deliver()
    assert len(node.delivered) == 3


async def test_what_waits_for_a_webhook_that_is_paused_is_kept_and_for_one_that_is_removed_is_not(node: Node) -> None:
    node.call("r-1")
    await node.record()
    node.hooks = (Subscription("w", "provider-1", frozenset()),)
    node.now_ms += 100_000
    await node.record()
    assert (await node.outbox.counts("w")).waiting == 3
    node.hooks = ()
    node.now_ms += 100_000
    await node.record()
    assert (await node.outbox.counts("w")).waiting == 0


async def test_a_call_that_is_given_up_is_told(node: Node) -> None:
    node.tell(attempted("r-1"))
    async with node.recorder(longest_open_ms=1000) as recorder:
        await recorder.catch_up()
        await recorder.tend()
    await node.deliver()
    assert node.delivered == [("r-1", 0), ("r-1", 2)]


async def test_an_event_that_the_writer_says_twice_is_told_once_even_if_it_was_delivered_between(node: Node) -> None:
    node.tell(attempted("r-1"))
    await node.record()
    await node.deliver()
    async with node.recorder() as recorder:
        node.tell(attempted("r-1"), answered("r-1"), answered("r-1"))
        await recorder.catch_up()
        await node.deliver()
        node.tell(answered("r-1"), ended("r-1"), ended("r-1"))
        await recorder.catch_up()
    await node.deliver()
    assert node.delivered == [("r-1", 0), ("r-1", 1), ("r-1", 2)]


async def test_an_outbox_that_cannot_be_written_is_tried_again_and_one_that_is_damaged_begun_anew(node: Node) -> None:
    node.call("r-1")
    await node.record()
    await node.outbox.close()
    path = node.directory / "records" / OUTBOX_NAME
    path.write_bytes(b"rubbish" * 5000)
    node.call("r-2")
    await node.record()
    assert sum((await RecordStore(node.directory / "records").count()).values()) == 2
    await node.deliver()
    assert node.delivered == [("r-2", 0), ("r-2", 1), ("r-2", 2)]


async def test_a_failure_to_tidy_up_holds_nothing_up(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuses(*_: object) -> None:
        raise StoreError("no")

    monkeypatch.setattr(Outbox, "tend", refuses)
    node.call("r-1")
    await node.record()
    assert (await node.outbox.counts("w")).waiting == 3


@contextlib.contextmanager
def deadly(step: str) -> AsyncIterator[None]:  # type: ignore[misc]
    """Patch a step so that the process dies before or after it."""
    if not step:
        yield
        return
    when, name = step.split(" ")
    owner: type = {"records": RecordStore, "outbox": Outbox, "save": RecorderState, "segments": Reader}[name]
    method = {"records": "add", "outbox": "add", "save": "save", "segments": "remove_before"}[name]
    real = getattr(owner, method)

    async def dies(*arguments: object) -> None:
        if when == "after":
            await real(*arguments)
        raise Death

    def dies_at_once(*arguments: object) -> None:
        if when == "after":
            real(*arguments)
        raise Death

    setattr(owner, method, dies_at_once if owner is Reader else dies)
    try:
        yield
    finally:
        setattr(owner, method, real)


STEPS = [f"{when} {name}" for when in ("before", "after") for name in ("records", "outbox", "save", "segments")]
ACTIONS = st.one_of(
    st.tuples(st.just("begin")),
    st.tuples(st.just("answer"), st.integers(0, 4)),
    st.tuples(st.just("end"), st.integers(0, 4)),
    st.tuples(st.just("repeat")),
    st.tuples(st.just("restart")),
    st.tuples(st.just("deliver")),
    st.tuples(st.just("later")),
    st.tuples(st.just("record"), st.sampled_from(["", *STEPS])),
)


class History:
    """What may happen to a node, and what must have been told in the end."""

    def __init__(self, directory: Path) -> None:
        self.node = Node(directory)
        self.up: list[str] = []
        self.expected: dict[str, list[int]] = {}
        self.instances = 0
        self.node.tell(boot("0"))

    def begin(self) -> None:
        record_id = f"r-{len(self.expected)}"
        self.expected[record_id] = [0]
        self.up.append(record_id)
        self.node.tell(attempted(record_id))

    def answer(self, which: int) -> None:
        if self.up:
            record_id = self.up[which % len(self.up)]
            if self.expected[record_id] == [0]:
                self.expected[record_id].append(1)
            self.node.tell(answered(record_id))

    def end(self, which: int) -> None:
        if self.up:
            record_id = self.up.pop(which % len(self.up))
            self.expected[record_id].append(2)
            self.node.tell(ended(record_id))

    def repeat(self) -> None:
        """The writer says all that is not synced a second time."""
        self.node.writer._suspect = True
        self.node.writer.sync()

    def restart(self) -> None:
        self.instances += 1
        for record_id in self.up:
            self.expected[record_id].append(2)
        self.up = []
        self.node.tell(boot(str(self.instances)))

    def later(self) -> None:
        self.node.now_ms += KEPT_MS // 3

    async def deliver(self) -> None:
        await self.node.deliver()

    async def record(self, dies_at: str = "") -> None:
        with deadly(dies_at), contextlib.suppress(Death):
            await self.node.record()


@given(st.lists(ACTIONS, max_size=30))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_whenever_the_recorder_dies_each_event_is_told_once_and_in_order(
    actions: list[tuple[str] | tuple[str, int | str]],
) -> None:
    async def live(directory: Path) -> None:
        history = History(directory)
        for name, *arguments in actions:
            done = getattr(history, name)(*arguments)
            if done is not None:
                await done
        history.restart()
        await history.record()
        await history.deliver()
        kill(history.node.writer)
        await history.node.outbox.close()
        told: dict[str, list[int]] = {}
        for record_id, phase in history.node.delivered:
            told.setdefault(record_id, []).append(phase)
        assert told == history.expected

    with tempfile.TemporaryDirectory(dir=MEMORY) as directory:
        asyncio.run(live(Path(directory)))


async def test_the_outbox_stays_small(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KEPT_MS", 1000)
    async with node.recorder() as recorder:
        for number in range(50):
            node.call(f"r-{number}")
            await recorder.catch_up()
            await node.deliver()
            node.now_ms += 20_000
            await recorder.tend()
    with contextlib.closing(sqlite3.connect(node.directory / "records" / OUTBOX_NAME)) as connection:
        assert connection.execute("SELECT count(*) FROM events").fetchone()[0] <= 3
