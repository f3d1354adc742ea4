"""Delivery on a virtual clock: order, the ladder, dead letters, and a receiver that is dead for nobody but itself."""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from b2bua.api import webhooks as module
from b2bua.api.webhook_sender import Answer
from b2bua.api.webhooks import LADDER_MS, Deliverer, Target, delivery, send_test
from cdr.journal import seal_attempt
from cdr.outbox import notices_of
from cdr.record import Answered, Attempted
from cdr.recorder import Assembler
from cdr.seal import Seal
from cdr.store.database import StoreError
from cdr.store.files import lock, make_directory
from cdr.store.outbox import LOCK_NAME, Counts, Outbox
from routing.errors import StoreError as BindingStoreError
from tests.api.world import World, world
from tests.cdr.story import CALLEE, CALLER, NOVEMBER, answered, attempted, ended, new_seal
from tests.webhooks.receiver import receiving, until

MINUTE = 60_000
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


class Post:
    """Receivers by address: what each was sent, and how it answers."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, str]] = []
        self.bodies: list[bytes] = []
        self.answers: dict[str, Answer] = {}
        self.hangs: dict[str, asyncio.Event] = {}
        self.widest: dict[str, int] = {}
        self.under_way: dict[str, int] = {}

    async def __call__(self, url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        self.sent.append((url, headers["webhook-id"]))
        self.bodies.append(body)
        self.under_way[url] = self.under_way.get(url, 0) + 1
        self.widest[url] = max(self.widest.get(url, 0), self.under_way[url])
        if url in self.hangs:
            await self.hangs[url].wait()
        await asyncio.sleep(0)
        self.under_way[url] -= 1
        return self.answers.get(url, Answer(200, ""))

    def to(self, url: str) -> list[str]:
        return [identifier for where, identifier in self.sent if where == url]


class Site:
    """An outbox with events, a deliverer over it, a clock that moves when told to."""

    def __init__(self, directory: Path, parallel: int = 8, chance: float = 0.0) -> None:
        self.seal = new_seal()
        self.now_ms = NOVEMBER + 100_000
        self.post = Post()
        self.outbox = Outbox(directory, durable=True)
        self.targets = [Target("w", "http://w", False, (SECRET,)), Target("v", "http://v", False, (SECRET,))]
        self.deliverer = Deliverer(
            self.outbox,
            self.read,
            self.post,
            self.seal,
            parallel=parallel,
            clock=lambda: self.now_ms,
            chance=lambda: chance,
        )

    async def read(self, now_ms: int) -> list[Target]:
        return self.targets

    async def call(self, *record_ids: str, webhook: str = "w", end: bool = True) -> None:
        assembler = Assembler()
        rows = []
        for record_id in record_ids:
            for event in (attempted(record_id), answered(record_id), ended(record_id))[: 3 if end else 1]:
                entry = seal_attempt(event, self.seal) if isinstance(event, Attempted) else event
                records = assembler.feed(entry)
                attempt = assembler.attempt(entry.record_id) if isinstance(entry, Answered) else None
                rows += [(webhook, notice) for notice in notices_of(entry, attempt, records)]
        await self.outbox.add(rows, self.now_ms)

    async def turns(self, most: int = 100) -> None:
        """Until nothing is due or under way."""
        for _ in range(most):
            if not await self.deliverer.turn():
                return
            await self.deliverer.settled()


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    made = Site(tmp_path)
    yield made
    await made.outbox.close()


async def test_the_events_of_a_call_are_sent_in_order_one_at_a_time(site: Site) -> None:
    await site.call("r-1")
    assert await site.deliverer.turn() == 1
    await site.deliverer.settled()
    assert site.post.to("http://w") == ["r-1-attempted"]
    await site.turns()
    assert site.post.to("http://w") == ["r-1-attempted", "r-1-answered", "r-1-ended"]
    assert await site.outbox.counts("w") == Counts()


async def test_calls_go_side_by_side_more_with_each_success_up_to_a_bound(site: Site) -> None:
    await site.call(*(f"r-{number}" for number in range(60)), end=False)
    running = []
    for _ in range(6):
        running.append(await site.deliverer.turn())
        await site.deliverer.settled()
    assert running == [1, 2, 8, 8, 8, 8]
    assert site.post.widest["http://w"] == 8


async def test_a_receiver_that_fails_is_sent_one_request_at_a_time(site: Site) -> None:
    await site.call(*(f"r-{number}" for number in range(30)), end=False)
    for _ in range(4):
        await site.deliverer.turn()
        await site.deliverer.settled()
    site.post.answers["http://w"] = Answer(500, "answered 500")
    await site.deliverer.turn()
    await site.deliverer.settled()
    assert [await site.deliverer.turn()] == [1]
    await site.deliverer.settled()


async def test_the_whole_ladder_then_a_dead_letter(site: Site) -> None:
    site.post.answers["http://w"] = Answer(503, "answered 503")
    await site.call("r-1", end=False)
    tried = []
    with capture_logs() as logs:
        for minute in range(60):
            before = len(site.post.sent)
            await site.turns()
            if len(site.post.sent) > before:
                tried.append(minute)
            site.now_ms += MINUTE
    assert tried == [0, 1, 6, 16, 46]
    (letter,) = await site.outbox.dead("w")
    assert (letter.id, letter.attempts, letter.status, letter.error) == ("r-1-attempted", 5, 503, "answered 503")
    assert [entry["event"] for entry in logs] == ["webhook_failing", "webhook_dead_letter"]
    # told again, from the first try on
    assert await site.outbox.redeliver("w", site.now_ms) == 1
    site.post.answers.clear()
    with capture_logs() as logs:
        await site.turns()
    assert await site.outbox.counts("w") == Counts()
    assert [entry["event"] for entry in logs] == ["webhook_recovered"]


def test_the_ladder_is_the_one_that_is_documented() -> None:
    assert [step / MINUTE for step in LADDER_MS] == [1, 5, 10, 30]


@pytest.mark.parametrize(("chance", "extra"), [(0.0, 0), (0.5, 3000), (0.999, 5994)])
async def test_each_step_is_longer_by_up_to_a_tenth(tmp_path: Path, chance: float, extra: int) -> None:
    site = Site(tmp_path, chance=chance)
    site.post.answers["http://w"] = Answer(0, "cannot be connected to")
    await site.call("r-1", end=False)
    await site.turns()
    assert await site.outbox.waiting(site.now_ms + MINUTE + extra - 1) == []
    assert await site.outbox.waiting(site.now_ms + MINUTE + extra) == ["w"]
    await site.outbox.close()


async def test_later_events_of_a_call_wait_for_the_one_that_failed_and_other_calls_do_not(site: Site) -> None:
    site.post.answers["http://w"] = Answer(500, "answered 500")
    await site.call("r-1")
    await site.turns()
    site.post.answers.clear()
    await site.call("r-2")
    await site.turns()
    assert site.post.to("http://w") == ["r-1-attempted", "r-2-attempted", "r-2-answered", "r-2-ended"]
    site.now_ms += MINUTE
    await site.turns()
    assert site.post.to("http://w")[4:] == ["r-1-attempted", "r-1-answered", "r-1-ended"]


async def test_after_a_dead_letter_the_rest_of_the_call_is_sent(site: Site) -> None:
    site.post.answers["http://w"] = Answer(500, "answered 500")
    await site.call("r-1")
    for _ in range(5):
        await site.turns()
        site.now_ms += 31 * MINUTE
    site.post.answers.clear()
    await site.turns()
    # given up was the first alone: the second had failed once meanwhile
    assert site.post.to("http://w")[5:] == ["r-1-answered", "r-1-answered", "r-1-ended"]
    assert [each.id for each in await site.outbox.dead("w")] == ["r-1-attempted"]


async def test_a_receiver_that_never_answers_holds_up_no_other(site: Site) -> None:
    site.post.hangs["http://w"] = asyncio.Event()
    await site.call(*(f"r-{number}" for number in range(50)), webhook="w")
    await site.call(*(f"r-{number}" for number in range(50)), webhook="v")
    stop = asyncio.Event()
    running = asyncio.create_task(site.deliverer.run(stop))
    await until(lambda: len(site.post.to("http://v")) == 150)
    assert site.post.under_way["http://w"] == 1
    site.post.hangs["http://w"].set()
    stop.set()
    await running


async def test_a_webhook_that_is_paused_or_gone_is_sent_nothing(site: Site) -> None:
    await site.call("r-1")
    site.targets = []
    await site.turns()
    assert site.post.sent == []
    site.targets = [Target("w", "http://new", False, (SECRET,))]
    site.now_ms += 1000
    await site.turns()
    assert len(site.post.to("http://new")) == 3


@pytest.mark.parametrize("reveal", [False, True])
async def test_real_numbers_are_in_a_body_only_where_they_are_allowed(site: Site, reveal: bool) -> None:
    site.targets = [Target("w", "http://w", reveal, (SECRET,))]
    with capture_logs() as logs:
        await site.call("r-1")
        await site.turns()
    for body in site.post.bodies:
        assert (CALLER.encode() in body, CALLEE.encode() in body) == (reveal, reveal)
        assert json.loads(body)["data"]["a"] == (CALLER if reveal else "138****8000")
    assert CALLER[3:] not in str(logs)


async def test_an_event_whose_numbers_do_not_open_is_a_dead_letter_at_once(site: Site) -> None:
    await site.call("r-1", end=False)
    site.deliverer._seal = new_seal(9)
    await site.turns()
    assert site.post.sent == []
    assert [each.error for each in await site.outbox.dead("w")] == ["its numbers do not open with this keyring"]


async def test_what_could_not_be_marked_is_marked_later_and_not_sent_again(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuses(*_: object) -> None:
        raise StoreError("no")

    await site.call("r-1")
    await site.deliverer.turn()
    with monkeypatch.context() as patched:
        patched.setattr(Outbox, "settle", refuses)
        with pytest.raises(StoreError):
            await site.deliverer.settled()
        with pytest.raises(StoreError):
            await site.deliverer.turn()
    await site.turns()
    assert site.post.to("http://w") == ["r-1-attempted", "r-1-answered", "r-1-ended"]


async def test_it_goes_on_when_a_store_is_back(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOCK_SECONDS", 0.01)
    troubles: list[Exception] = [BindingStoreError("locked"), BindingStoreError("locked")]

    async def read(now_ms: int) -> list[Target]:
        if troubles:
            raise troubles.pop()
        return site.targets

    site.deliverer._targets = read
    await site.call("r-1")
    stop = asyncio.Event()
    with capture_logs() as logs:
        running = asyncio.create_task(site.deliverer.run(stop))
        await until(lambda: len(site.post.sent) == 3)
        stop.set()
        await running
    assert [entry["event"] for entry in logs] == ["webhooks_held_up", "webhooks_held_up"]
    assert await site.outbox.counts("w") == Counts()


async def test_what_is_under_way_when_it_stops_is_told_again(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LAST_SECONDS", 0.05)
    site.post.hangs["http://w"] = asyncio.Event()
    await site.call("r-1")
    stop = asyncio.Event()
    running = asyncio.create_task(site.deliverer.run(stop))
    await until(lambda: site.post.sent)
    stop.set()
    await running
    assert (await site.outbox.counts("w")).waiting == 3


async def test_a_test_is_sent_at_once_and_names_nobody(site: Site) -> None:
    assert await send_test(site.post, site.targets[0], NOVEMBER) == Answer(200, "")
    event = json.loads(site.post.bodies[0])
    assert (event["type"], event["at_ms"], event["data"]) == ("webhook.test", NOVEMBER, {})


# --- within the API's process ---


@pytest.fixture
async def api(tmp_path: Path, seal: Seal) -> AsyncIterator[World]:
    async with world(tmp_path) as made:
        yield made


@pytest.fixture
def seal() -> Seal:
    return new_seal()


async def fill(api: World, webhook: str, *record_ids: str) -> None:
    """Events of calls, as the recorder writes them."""
    outbox = Outbox(api.context.records, durable=True)
    rows = [
        (webhook, notice)
        for record_id in record_ids
        for notice in notices_of(seal_attempt(attempted(record_id), api.seal), None, [])
    ]
    await outbox.add(rows, api.clock())
    await outbox.close()


async def test_the_api_delivers_what_the_recorder_has_written(api: World) -> None:
    with receiving() as receiver:
        webhook, _ = await api.store.webhooks.add("platform-1", receiver.url, now_ms=api.clock(), by="test")
        await fill(api, webhook.id, "r-1", "r-2")
        await until(lambda: len(receiver.got) == 2)
        assert sorted(receiver.ids()) == ["r-1-attempted", "r-2-attempted"]


async def test_one_process_delivers_and_another_waits_for_it(api: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOCK_SECONDS", 0.02)
    with capture_logs() as logs:
        async with delivery(api.context):
            await asyncio.sleep(0.1)
            assert [entry["event"] for entry in logs] == ["webhooks_wait"]


async def test_it_begins_when_the_other_process_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOCK_SECONDS", 0.02)
    make_directory(tmp_path / "records")
    held = lock(tmp_path / "records" / LOCK_NAME, "test")
    with receiving() as receiver:
        async with world(tmp_path) as api:
            webhook, _ = await api.store.webhooks.add("platform-1", receiver.url, now_ms=api.clock(), by="test")
            await fill(api, webhook.id, "r-1")
            await asyncio.sleep(0.3)
            assert receiver.got == []
            os.close(held)
            await until(lambda: receiver.got)
