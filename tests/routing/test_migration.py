"""A file of version 1, as the release before left it, is brought to the newest version with all it held."""

import sqlite3
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from cdr.seal import Seal
from routing.binding import Binding, key_text, keys
from routing.errors import BindingError, StoreError
from routing.ledger import Event
from routing.plan import Block, BlockState
from routing.registry import BusinessUser, Contract, Provider, Scenario, State
from routing.store.reader import Reader
from routing.store.schema import KEY_PROBE, MIGRATIONS, VERSION
from routing.store.sqlite import Store
from tests.routing.samples import HOUR, NOW, PREFIX, STRANGER, A, B, X, binding, request

BLOCKS = (
    Block(PREFIX, "provider", "shop", BlockState.ACTIVE),
    Block("70020000000", "provider", "shop", BlockState.FROZEN),
    Block("70020000001", "Provider Zwei", "Taxi", BlockState.ALLOCATED),
    Block("70020000002", "Provider Zwei", "Taxi", BlockState.RETURNED),
)
ANOTHER = "+8613900139000"
LIVE = binding(id="live", expires_ms=NOW + HOUR)
ENDED = binding(id="ended", x=f"{PREFIX}0002", ended_ms=NOW + 5, order_id="order-2")
WAITING = binding(
    id="waiting", x="700200000000001", a=STRANGER, b=ANOTHER, scenario="Returns", starts_ms=NOW + HOUR,
    expires_ms=NOW + 2 * HOUR,
)  # fmt: skip
BINDINGS = (LIVE, ENDED, WAITING)
_V1_BINDING = "INSERT INTO bindings VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"


def values(one: Binding, seal: Seal) -> tuple[str | int | bytes, ...]:
    """A row of version 1."""
    return (
        one.id, one.mode.value, one.x, one.y, seal.seal(f"{one.a}|{one.b}"), one.direction.value, one.provider,
        one.business_user, one.scenario, one.order_id, one.industrial_id, one.starts_ms, one.expires_ms, one.ended_ms,
        one.ring_seconds, one.longest_seconds, "proof", "consent", NOW - 1,
    )  # fmt: skip


@pytest.fixture
def old(path: Path, seal: Seal) -> Iterator[Path]:
    """The file of version 1."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    for statement in MIGRATIONS[0]:
        connection.execute(statement)
    connection.execute("INSERT INTO keyring VALUES (1, ?)", (seal.hash(KEY_PROBE),))
    for block in BLOCKS:
        row = (block.prefix, block.provider, block.business_user, block.state.value)
        connection.execute("INSERT INTO blocks VALUES (?, ?, ?, ?)", row)
    for number, one in enumerate(BINDINGS, start=1):
        connection.execute(_V1_BINDING, values(one, seal))
        for dialled, caller in keys(one):
            connection.execute("INSERT INTO keys VALUES (?, ?)", (seal.hash(key_text(dialled, caller)), number))
    connection.execute("PRAGMA user_version = 1")
    connection.close()
    return path


async def test_what_was_held_is_held_still(old: Path, seal: Seal, reader: Reader) -> None:
    async with await Store.open(old, seal) as store:
        assert await store.bindings.list() == (WAITING, ENDED, LIVE)
        lives = await store.blocks.list()
        assert tuple(Block(life.prefix, life.provider, life.business_user, life.state) for life in lives) == BLOCKS
        assert reader.find(X, A) == reader.find(X, B) == LIVE
        assert reader.find(WAITING.x, STRANGER) == WAITING
        plan = reader.plan()
        assert [plan.block_of(f"{block.prefix}0000") for block in BLOCKS] == [*BLOCKS]


async def test_whoever_stood_in_it_counts_as_registered(old: Path, seal: Seal) -> None:
    async with await Store.open(old, seal) as store:
        providers = await store.registry.list(Provider)
        assert [(value.id, value.name, value.state) for value in providers] == [
            ("Provider Zwei", "Provider Zwei", State.ACTIVE),
            ("provider", "provider", State.ACTIVE),
        ]
        users = await store.registry.list(BusinessUser)
        assert [(value.id, value.provider) for value in users] == [("Taxi", "Provider Zwei"), ("shop", "provider")]
        assert [value.business_user for value in await store.registry.list(Contract)] == ["Taxi", "shop"]
        assert [value.id for value in await store.registry.list(Scenario)] == ["shop/Returns", "shop/delivery"]
        assert await store.registry.get(Scenario, "shop/delivery") == replace(
            Scenario("shop", "delivery"), reason=users[0].reason, since_ms=users[0].since_ms, revision=1
        )
        assert users[0].since_ms == pytest.approx(time.time() * 1000, abs=60_000)


async def test_the_next_order_is_bound_as_before(old: Path, seal: Seal) -> None:
    now_ms = int(time.time() * 1000)
    async with await Store.open(old, seal) as store:
        asked = request(x=f"{PREFIX}0003", expires_ms=now_ms + HOUR)
        bound = await store.bindings.bind(asked, now_ms, by="test")
        await store.bindings.extend(bound.id, now_ms + 2 * HOUR, now_ms, by="test")
        with pytest.raises(BindingError, match="key"):
            await store.bindings.bind(request(expires_ms=NOW + HOUR, a=STRANGER), NOW, by="test")
        await store.bindings.end("live", NOW, by="test")


async def test_the_instants_of_a_block_begin_with_the_change(old: Path, seal: Seal) -> None:
    async with await Store.open(old, seal) as store:
        for life in await store.blocks.list():
            assert life.allocated_ms == pytest.approx(time.time() * 1000, abs=60_000)
            assert (life.activated_ms > 0) is (life.state in (BlockState.ACTIVE, BlockState.FROZEN))
            assert (life.frozen_ms > 0) is (life.state is BlockState.FROZEN)
            assert (life.returned_ms > 0) is (life.state is BlockState.RETURNED)
            (deed,) = await store.audit.list(kind="block", identifier=life.prefix)
            assert (deed.by, deed.action, deed.provider) == ("version 1", "brought over", life.provider)


async def test_the_ledger_begins_with_what_was_bound(old: Path, seal: Seal) -> None:
    async with await Store.open(old, seal) as store:
        (entry,) = await store.ledger.list(ENDED.x)
        assert (entry.event, entry.binding, entry.order_id, entry.at_ms) == (Event.BOUND, "ended", "order-2", NOW - 1)
        assert (entry.starts_ms, entry.until_ms) == (NOW, NOW + 5)
        (found,) = await store.ledger.holders(X, NOW, NOW, by="test", purpose="x")
        assert (found.binding, found.a, found.b, found.until_ms) == ("live", A, B, NOW + HOUR)


async def test_it_happens_once(old: Path, seal: Seal) -> None:
    async with await Store.open(old, seal) as store:
        before = await store.audit.list()
    async with await Store.open(old, seal) as store:
        assert await store.audit.list() == before
        assert len(await store.ledger.list(X)) == 1


async def test_a_change_that_fails_leaves_the_old_file_as_it_was(
    old: Path, seal: Seal, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, *rest = MIGRATIONS
    broken = (first, (*rest[0], "SELECT * FROM nothing"), *rest[1:])
    with monkeypatch.context() as patched:
        patched.setattr("routing.store.schema.MIGRATIONS", broken)
        with pytest.raises(StoreError, match="nothing"):
            await Store.open(old, seal)
    connection = sqlite3.connect(old)
    assert connection.execute("PRAGMA user_version").fetchone() == (1,)
    assert connection.execute("SELECT count(*) FROM blocks").fetchone() == (4,)
    connection.close()
    async with await Store.open(old, seal) as store:
        assert len(await store.bindings.list()) == 3


async def test_a_reader_waits_for_the_change(old: Path, seal: Seal, reader: Reader) -> None:
    with pytest.raises(StoreError, match=f"schema version 1, older than {VERSION}"):
        reader.plan()
    async with await Store.open(old, seal):
        assert len(reader.plan()) == 4


async def test_a_new_file_and_a_changed_one_have_the_same_tables(old: Path, tmp_path: Path, seal: Seal) -> None:
    new = tmp_path / "new.db"
    tables = []
    for file in (old, new):
        await (await Store.open(file, seal)).close()
        connection = sqlite3.connect(file)
        schema = connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY 1, 2")
        tables.append(schema.fetchall())
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        connection.close()
    assert tables[0] == tables[1]
