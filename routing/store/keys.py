"""API keys in the binding store. What proves a key is kept hashed; what checks its signatures is kept sealed."""

import hmac
import os
import sqlite3
from collections.abc import Callable, Mapping
from typing import Any, Final

from routing.access import ApiKey, Role, digest_of, format_key, new_secret, signing_key
from routing.errors import BindingError, Conflict, NotFound
from routing.store import audit
from routing.store.database import Database, Value
from routing.store.pages import check_page
from routing.store.reader import READ_PATIENCE_SECONDS, TROUBLE, Seal, absolute, trouble
from routing.terms import check_reference

__all__ = ["LONGEST_OVERLAP_MS", "KeyReader", "Keys"]

HOUR_MS: Final = 3_600_000
DAY_MS: Final = 24 * HOUR_MS
# How long the old key may work beside the new one: the time to carry it to every machine of a platform.
OVERLAP_MS: Final = 7 * DAY_MS
LONGEST_OVERLAP_MS: Final = 90 * DAY_MS

COLUMNS: Final = "id, name, role, provider, created_ms, expires_ms, revoked_ms, reason, used_ms, replaces"
_PROOF: Final = f"SELECT {COLUMNS}, hash, signing FROM api_keys WHERE id = ?"
_VALID: Final = "revoked_ms = 0 AND (expires_ms = 0 OR expires_ms > ?)"
# compared with when there is no such key, so that its absence takes as long
_NOBODY: Final = bytes(32)


class Keys:
    """BindingError when the request is at fault, StoreError when the file is. `random(n)` gives n unpredictable
    bytes."""

    def __init__(self, database: Database, random: Callable[[int], bytes] = os.urandom) -> None:
        self._database = database
        self._random = random

    async def add(
        self, name: str, role: Role, provider: str = "", *, expires_ms: int = 0, now_ms: int, by: str
    ) -> tuple[ApiKey, str]:
        """Make a key and return it with the text that proves it, which nobody can show again. `expires_ms` 0: it does
        not expire."""
        check_reference("name", name)
        if (role is Role.PROVIDER) != bool(provider):
            raise BindingError("provider", "form", "is given for the role provider, and for no other")
        if expires_ms and expires_ms <= now_ms:
            raise BindingError("expires_ms", "form", "must be in the future")
        async with self._database.transaction():
            if provider and not await self._database.rows("SELECT 1 FROM providers WHERE id = ?", (provider,)):
                raise BindingError("provider", "R6", "no such provider is registered")
            return await self._insert(name, role, provider, expires_ms, "", now_ms, by)

    async def rotate(
        self, identifier: str, *, overlap_ms: int = OVERLAP_MS, now_ms: int, by: str, provider: str = ""
    ) -> tuple[ApiKey, str]:
        """Make the successor of a key and return it with its text. The old one works for `overlap_ms` more, so that
        two are good at a time; what it had itself replaced ends now."""
        if not 0 <= overlap_ms <= LONGEST_OVERLAP_MS:
            raise BindingError("overlap_ms", "form", f"must be from 0 to {LONGEST_OVERLAP_MS}")
        async with self._database.transaction():
            old = await self._valid(identifier, now_ms, provider)
            for (successor,) in await self._database.rows(
                f"SELECT id FROM api_keys WHERE replaces = ? AND {_VALID}", (identifier, now_ms)
            ):
                raise Conflict("id", "key", f"was rotated already: {successor} follows it")
            for (ended,) in await self._database.rows(
                f"UPDATE api_keys SET revoked_ms = ?, reason = 'rotated' WHERE id = ? AND {_VALID} RETURNING id",
                (now_ms, old.replaces, now_ms),
            ):
                await audit.note(self._database, now_ms, by, "revoke", "key", ended, "rotated", provider=old.provider)
            ends = now_ms + overlap_ms
            if old.expires_ms:
                ends = min(ends, old.expires_ms)
            ((full_ms,),) = await self._database.rows(
                "UPDATE api_keys SET expires_ms = ? WHERE id = ? RETURNING full_ms", (ends, identifier)
            )
            detail = {"expires_ms": [old.expires_ms, ends]}
            await audit.note(
                self._database, now_ms, by, "rotate", "key", identifier, detail=detail, provider=old.provider
            )
            return await self._insert(old.name, old.role, old.provider, full_ms, identifier, now_ms, by)

    async def revoke(self, identifier: str, *, reason: str, now_ms: int, by: str, provider: str = "") -> ApiKey:
        """End a key at once and for good."""
        audit.check_reason(reason)
        async with self._database.transaction():
            key = await self._valid(identifier, now_ms, provider)
            await self._database.rows(
                "UPDATE api_keys SET revoked_ms = ?, reason = ? WHERE id = ?", (now_ms, reason, identifier)
            )
            await audit.note(self._database, now_ms, by, "revoke", "key", identifier, reason, provider=key.provider)
            return await self._row(identifier)

    async def get(self, identifier: str, provider: str = "") -> ApiKey | None:
        """A key by its id, of one provider or of all."""
        async with self._database.reading():
            try:
                return await self._row(identifier, provider)
            except NotFound:
                return None

    async def list(self, after: str = "", limit: int = 100, provider: str = "") -> tuple[ApiKey, ...]:
        """Keys in the order of their ids, of one provider or of all; the next page begins `after` the last id."""
        check_page(limit)
        async with self._database.reading():
            rows = await self._database.rows(
                f"SELECT {COLUMNS} FROM api_keys WHERE id > ? AND (? = '' OR provider = ?) ORDER BY id LIMIT ?",
                (after, provider, provider, limit),
            )
        return tuple(_key_of(row) for row in rows)

    async def used(self, instants: Mapping[str, int]) -> None:
        """Note when keys were last used, UTC milliseconds by id."""
        async with self._database.transaction():
            for identifier, at_ms in instants.items():
                await self._database.rows(
                    "UPDATE api_keys SET used_ms = max(used_ms, ?) WHERE id = ?", (at_ms, identifier)
                )

    async def _insert(
        self, name: str, role: Role, provider: str, expires_ms: int, replaces: str, now_ms: int, by: str
    ) -> tuple[ApiKey, str]:
        identifier, secret = new_secret(self._random)
        signing = self._database.seal.seal(signing_key(secret).hex())
        values: tuple[Value, ...] = (
            identifier, name, role.value, provider, digest_of(secret), signing, replaces, now_ms, expires_ms,
            expires_ms,
        )  # fmt: skip
        await self._database.rows(
            "INSERT INTO api_keys (id, name, role, provider, hash, signing, replaces, created_ms, expires_ms, full_ms)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            values,
        )
        detail = {"role": role.value, "provider": provider, "replaces": replaces}
        await audit.note(self._database, now_ms, by, "add", "key", identifier, detail=detail, provider=provider)
        return await self._row(identifier), format_key(identifier, secret)

    async def _valid(self, identifier: str, now_ms: int, provider: str) -> ApiKey:
        key = await self._row(identifier, provider)
        if not key.valid(now_ms):
            raise Conflict("id", "state", "is no longer valid")
        return key

    async def _row(self, identifier: str, provider: str = "") -> ApiKey:
        for row in await self._database.rows(
            f"SELECT {COLUMNS} FROM api_keys WHERE id = ? AND (? = '' OR provider = ?)",
            (identifier, provider, provider),
        ):
            return _key_of(row)
        raise NotFound("id", "form", "no such key")


class KeyReader:
    """Keys as each request needs them: read at once and never remembered, so that a revoked key is dead for the next
    request. For one thread; StoreError when the file is at fault."""

    def __init__(self, path: str | os.PathLike[str], seal: Seal) -> None:
        self._path = absolute(path)
        self._open = seal.open
        self._connection: sqlite3.Connection | None = None

    def proved(self, identifier: str, secret: str, now_ms: int) -> ApiKey | None:
        """The key of this id, when the secret is its own and it is valid now."""
        key, digest, _ = self._read(identifier)
        right = hmac.compare_digest(digest_of(secret), digest)
        return key if right and key is not None and key.valid(now_ms) else None

    def signing(self, identifier: str, now_ms: int) -> tuple[ApiKey | None, bytes]:
        """The key of this id when it is valid now, and what its signatures are checked with: 32 bytes that fit
        nothing when there is none."""
        key, _, sealed = self._read(identifier)
        if key is None or not key.valid(now_ms):
            return None, _NOBODY
        try:
            return key, bytes.fromhex(self._open(sealed))
        except TROUBLE as error:
            raise trouble(self._path, error) from error

    def close(self) -> None:
        """Give back the file. A later read opens it again."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _read(self, identifier: str) -> tuple[ApiKey | None, bytes, bytes]:
        try:
            if self._connection is None:
                self._connection = sqlite3.connect(
                    f"{self._path.as_uri()}?mode=ro", uri=True, isolation_level=None, timeout=READ_PATIENCE_SECONDS
                )
            row = self._connection.execute(_PROOF, (identifier,)).fetchone()
            if row is None:
                return None, _NOBODY, _NOBODY
            return _key_of(row[:-2]), row[-2], row[-1]
        except TROUBLE as error:
            self.close()
            raise trouble(self._path, error) from error


def _key_of(row: Any) -> ApiKey:
    """A row of COLUMNS."""
    identifier, name, role, *rest = row
    return ApiKey(identifier, name, Role(role), *rest)
