"""Keys, kept answers and imports in the store, where the API alone does not come."""

import sqlite3
from pathlib import Path

import pytest

from cdr.seal import Seal
from routing.access import Role, digest_of, parse_key, signing_key
from routing.bulk import Fault, FileFormat
from routing.errors import BindingError, NotFound, StoreError
from routing.store.imports import ImportState, Piece
from routing.store.keys import KeyReader
from routing.store.sqlite import Store
from tests.routing.samples import NOW


async def operator(store: Store) -> tuple[str, str]:
    _, text = await store.keys.add("ops", Role.OPERATOR, now_ms=NOW, by="test")
    parts = parse_key(text)
    assert parts is not None
    return parts


def test_what_is_kept_signs_nothing() -> None:
    assert digest_of("secret") != signing_key("secret")


async def test_a_signing_key_that_does_not_open_is_the_stores_fault(store: Store, path: Path, seal: Seal) -> None:
    identifier, secret = await operator(store)
    reader = KeyReader(path, seal)
    key, signing = reader.signing(identifier, NOW)
    assert key is not None
    assert signing == signing_key(secret)
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE api_keys SET signing = x'00'")
    connection.close()
    with pytest.raises(StoreError, match="cut short"):
        reader.signing(identifier, NOW)
    reader.close()


async def test_a_key_has_a_life(store: Store, path: Path, seal: Seal) -> None:
    identifier, secret = await operator(store)
    reader = KeyReader(path, seal)
    assert reader.proved(identifier, secret, NOW) is not None
    await store.keys.revoke(identifier, reason="lost", now_ms=NOW, by="test")
    assert reader.proved(identifier, secret, NOW) is None
    assert reader.signing(identifier, NOW)[0] is None
    reader.close()
    reader.close()


async def job(store: Store, number: int = 1) -> str:
    made = await store.imports.add(f"import-{number}", FileFormat.CSV, 9, 2, b"d", NOW, by="test")
    return made.id


async def test_an_import_that_has_ended_is_settled_no_more(store: Store) -> None:
    identifier = await job(store)
    await store.imports.cancel(identifier, NOW, by="test", reason="wrong")
    piece = Piece((), (Fault(1, "a", "form", "is wrong"),), 9, 2, "", True)
    after = await store.imports.settle(identifier, piece, NOW)
    assert (after.state, after.line, after.refused) == (ImportState.CANCELLED, 0, 0)
    assert await store.imports.faults(identifier) == ()


async def test_imports_are_listed_from_any_of_them_on(store: Store) -> None:
    identifiers = [await job(store, number) for number in range(3)]
    assert [each.id for each in await store.imports.list(identifiers[2])] == [identifiers[1], identifiers[0]]
    assert [each.id for each in await store.imports.unfinished()] == identifiers
    with pytest.raises(BindingError, match="after"):
        await store.imports.list("nothing")
    with pytest.raises(NotFound):
        await store.imports.get("nothing")


async def test_answers_to_the_same_request_are_found_within_a_day(store: Store) -> None:
    await store.answers.keep("key", "order-1", b"f" * 32, 201, "text", NOW)
    assert await store.answers.find("key", "order-1", b"f" * 32, NOW) == (201, "text")
    assert await store.answers.find("other", "order-1", b"f" * 32, NOW) is None
