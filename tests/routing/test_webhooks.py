"""Webhooks in the binding store: sealed secrets, and what the recorder reads of them. The rest: tests/api."""

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from routing.errors import BindingError, NotFound, StoreError
from routing.store.sqlite import Store
from routing.store.webhooks import Subscribers
from routing.webhooks import EVENTS, admit_events, admit_url, may_reveal
from tests.cdr.story import new_seal

URL = "https://hooks.example.net/x700"


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with await Store.open(tmp_path / "bindings.db", new_seal()) as opened:
        await opened.registry.enrol("platform-1", "shop-1", "delivery", now_ms=1, by="test")
        yield opened


@pytest.mark.parametrize(
    "url", [URL, "http://127.0.0.1:8080/a?b=c", "https://[2001:db8::1]/", "http://x", "https://x/%E4%BD%A0"]
)
def test_an_address_is_taken_as_it_is(url: str) -> None:
    assert admit_url(url) == url


@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        (URL, True),
        ("http://127.0.0.1:1/", True),
        ("http://[::1]/", True),
        ("http://localhost/", True),
        ("http://hooks.example.net/", False),
        ("http://127.0.0.1.example.net/", False),
    ],
)
def test_where_real_numbers_may_go(url: str, allowed: bool) -> None:
    assert may_reveal(url) is allowed


def test_events_are_ordered_and_none_is_all() -> None:
    assert admit_events(["call.ended", "call.attempted", "call.ended"]) == ("call.attempted", "call.ended")
    assert admit_events([]) == EVENTS
    with pytest.raises(BindingError, match="events"):
        admit_events(["call.ended", "x"])


async def test_a_secret_is_sealed_and_stays_with_its_webhook(store: Store, tmp_path: Path) -> None:
    (one, secret), (other, _) = [await store.webhooks.add("platform-1", URL, now_ms=1, by="test") for _ in range(2)]
    assert secret.removeprefix("whsec_").encode() not in (tmp_path / "bindings.db-wal").read_bytes()
    assert await store.webhooks.secrets(one.id, 2) == (secret,)
    assert await store.webhooks.secrets("nothing", 2) == ()
    with contextlib.closing(sqlite3.connect(tmp_path / "bindings.db")) as connection:
        connection.execute(
            "UPDATE webhooks SET secret = (SELECT secret FROM webhooks WHERE id = ?) WHERE id = ?", (one.id, other.id)
        )
        connection.commit()
    with pytest.raises(StoreError, match="belongs to another"):
        await store.webhooks.secrets(other.id, 2)


async def test_only_active_webhooks_are_sent_to(store: Store) -> None:
    one, secret = await store.webhooks.add("platform-1", URL, now_ms=1, by="test")
    await store.webhooks.add("platform-1", URL, active=False, now_ms=1, by="test")
    assert await store.webhooks.signing(2) == ((one, (secret,)),)


async def test_a_list_goes_on_behind_a_webhook_that_was_removed(store: Store) -> None:
    hooks = [(await store.webhooks.add("platform-1", URL, now_ms=now, by="test"))[0] for now in (1, 2, 3)]
    await store.webhooks.remove(hooks[1].id, now_ms=4, by="test")
    assert await store.webhooks.list(hooks[1].id) == (hooks[2],)
    assert await store.webhooks.list() == (hooks[0], hooks[2])


async def test_a_list_goes_on_behind_a_webhook_that_was_there(store: Store) -> None:
    with pytest.raises(BindingError, match="no such webhook"):
        await store.webhooks.list("nothing")
    with pytest.raises(NotFound):
        await store.webhooks.remove("nothing", now_ms=1, by="test")


async def test_the_recorder_hears_of_every_change_at_once(store: Store, tmp_path: Path) -> None:
    subscribers = Subscribers(tmp_path / "bindings.db")
    assert subscribers.read() == ()
    webhook, _ = await store.webhooks.add("platform-1", URL, ["call.ended"], now_ms=1, by="test")
    (found,) = subscribers.read()
    assert (found.id, found.provider, found.events) == (webhook.id, "platform-1", frozenset(("call.ended",)))
    await store.webhooks.change(webhook.id, active=False, now_ms=2, by="test")
    assert subscribers.read()[0].events == frozenset()
    await store.webhooks.remove(webhook.id, now_ms=3, by="test")
    assert subscribers.read() == ()
    subscribers.close()
    subscribers.close()


def test_without_a_store_nobody_knows_the_webhooks(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="does not exist"):
        Subscribers(tmp_path / "bindings.db").read()


def test_of_a_store_of_an_older_version_nobody_knows_them_until_it_is_brought_up_to_date(tmp_path: Path) -> None:
    path = tmp_path / "bindings.db"
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.executescript("PRAGMA application_id = 0; PRAGMA user_version = 0;")
    subscribers = Subscribers(path)
    with pytest.raises(StoreError, match="version 0"):
        subscribers.read()


async def test_a_store_put_in_the_place_of_another_is_noticed(store: Store, tmp_path: Path) -> None:
    await store.webhooks.add("platform-1", URL, now_ms=1, by="test")
    subscribers = Subscribers(tmp_path / "bindings.db")
    assert len(subscribers.read()) == 1
    async with await Store.open(tmp_path / "fresh.db", new_seal()):
        pass
    (tmp_path / "fresh.db").rename(tmp_path / "bindings.db")
    for suffix in ("-wal", "-shm"):
        (tmp_path / f"bindings.db{suffix}").unlink()
    assert subscribers.read() == ()
    (tmp_path / "bindings.db").unlink()
    with pytest.raises(StoreError, match="does not exist"):
        subscribers.read()
    subscribers.close()


@pytest.mark.parametrize("content", [b"rubbish" * 1000, None])
def test_a_file_that_is_no_store_is_an_error_and_may_be_right_later(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "bindings.db"
    if content is None:
        with contextlib.closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA application_id = 7")
    else:
        path.write_bytes(content)
    subscribers = Subscribers(path)
    for _ in range(2):
        with pytest.raises(StoreError, match=r"bindings\.db"):
            subscribers.read()
    path.unlink()

    async def make() -> None:
        async with await Store.open(path, new_seal()):
            pass

    asyncio.run(make())
    assert subscribers.read() == ()
    subscribers.close()
