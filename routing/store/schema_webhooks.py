"""The tables of webhooks. Data only; routing.store.schema makes it part of a version."""

from typing import Final

__all__ = ["WEBHOOKS"]

WEBHOOKS: Final[tuple[str, ...]] = (
    # Secrets are sealed. The one before the last is good until old_until_ms.
    """
    CREATE TABLE webhooks (
        number INTEGER PRIMARY KEY,
        id TEXT NOT NULL UNIQUE,
        provider TEXT NOT NULL,
        url TEXT NOT NULL,
        events TEXT NOT NULL,
        active INTEGER NOT NULL CHECK (active IN (0, 1)),
        reveal INTEGER NOT NULL CHECK (reveal IN (0, 1)),
        created_ms INTEGER NOT NULL,
        changed_ms INTEGER NOT NULL,
        old_until_ms INTEGER NOT NULL DEFAULT 0,
        revision INTEGER NOT NULL DEFAULT 1,
        secret BLOB NOT NULL,
        old_secret BLOB NOT NULL DEFAULT x''
    ) STRICT
    """,
    "CREATE INDEX webhooks_of_provider ON webhooks (provider, created_ms, id)",
)
