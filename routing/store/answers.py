"""Answers to requests that bear an Idempotency-Key: kept, sealed, for a day, in the transaction of their effect."""

from typing import Final

from routing.errors import Conflict
from routing.store.database import Database

__all__ = ["KEPT_MS", "Answers"]

KEPT_MS: Final = 86_400_000
# Rows forgotten with each that is kept: more than one, so that none stays behind for long.
FORGOTTEN: Final = 4


class Answers:
    """Conflict when a key comes back with another request, StoreError when the file is at fault."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find(self, api_key: str, idempotency_key: str, fingerprint: bytes, now_ms: int) -> tuple[int, str] | None:
        """The status and the text that this request was answered with, None when it is new. To be asked inside the
        transaction of what it does."""
        async with self._database.reading():
            rows = await self._database.rows(
                "SELECT fingerprint, status, answer FROM answers"
                " WHERE api_key = ? AND idempotency_key = ? AND at_ms > ?",
                (api_key, idempotency_key, now_ms - KEPT_MS),
            )
        for found, status, answer in rows:
            if found != fingerprint:
                raise Conflict("Idempotency-Key", "key", "was used for another request within the last day")
            return int(status), self._database.seal.open(answer)
        return None

    async def keep(
        self, api_key: str, idempotency_key: str, fingerprint: bytes, status: int, answer: str, now_ms: int
    ) -> None:
        """Keep an answer, inside the transaction of what it tells of."""
        async with self._database.transaction():
            await self._database.rows(
                "DELETE FROM answers WHERE (api_key, idempotency_key) IN"
                " (SELECT api_key, idempotency_key FROM answers WHERE at_ms <= ? ORDER BY at_ms LIMIT ?)",
                (now_ms - KEPT_MS, FORGOTTEN),
            )
            await self._database.rows(
                "INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?, ?, ?)",
                (api_key, idempotency_key, fingerprint, status, self._database.seal.seal(answer), now_ms),
            )
