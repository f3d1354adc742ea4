"""Tables of those who may ask the service: API keys, and answers kept for requests that come twice. Data only."""

from typing import Final

ACCESS: Final[tuple[str, ...]] = (
    # `hash` proves a key that is shown; `signing`, sealed, checks signatures made with one that is not. `full_ms` is
    # the expires_ms that it was made with: rotation moves its own, and its successors inherit this one.
    """
    CREATE TABLE api_keys (
        id TEXT PRIMARY KEY CHECK (length(id) BETWEEN 1 AND 64),
        name TEXT NOT NULL,
        role TEXT NOT NULL CHECK (role IN ('provider', 'operator', 'auditor')),
        provider TEXT NOT NULL CHECK ((provider <> '') = (role = 'provider')),
        hash BLOB NOT NULL CHECK (length(hash) = 32),
        signing BLOB NOT NULL,
        replaces TEXT NOT NULL DEFAULT '',
        created_ms INTEGER NOT NULL,
        expires_ms INTEGER NOT NULL DEFAULT 0,
        full_ms INTEGER NOT NULL DEFAULT 0,
        revoked_ms INTEGER NOT NULL DEFAULT 0,
        reason TEXT NOT NULL DEFAULT '',
        used_ms INTEGER NOT NULL DEFAULT 0
    ) STRICT, WITHOUT ROWID
    """,
    # Answers may show what only their reader may see: sealed.
    """
    CREATE TABLE answers (
        api_key TEXT NOT NULL,
        idempotency_key TEXT NOT NULL,
        fingerprint BLOB NOT NULL,
        status INTEGER NOT NULL,
        answer BLOB NOT NULL,
        at_ms INTEGER NOT NULL,
        PRIMARY KEY (api_key, idempotency_key)
    ) STRICT, WITHOUT ROWID
    """,
    "CREATE INDEX answers_by_age ON answers (at_ms)",
    # Files on their way in. `place` is where in the file the next piece begins, `line` how many lines are before it:
    # both move in the transaction that binds what the piece asks for.
    """
    CREATE TABLE imports (
        id TEXT PRIMARY KEY,
        number INTEGER NOT NULL UNIQUE,
        provider TEXT NOT NULL,
        who TEXT NOT NULL,
        format TEXT NOT NULL CHECK (format IN ('csv', 'jsonl')),
        idempotency_key TEXT NOT NULL,
        digest BLOB NOT NULL,
        bytes INTEGER NOT NULL,
        lines INTEGER NOT NULL,
        state TEXT NOT NULL CHECK (state IN ('running', 'done', 'failed', 'cancelled')),
        header TEXT NOT NULL DEFAULT '',
        place INTEGER NOT NULL DEFAULT 0,
        line INTEGER NOT NULL DEFAULT 0,
        bound INTEGER NOT NULL DEFAULT 0,
        refused INTEGER NOT NULL DEFAULT 0,
        created_ms INTEGER NOT NULL,
        ended_ms INTEGER NOT NULL DEFAULT 0
    ) STRICT, WITHOUT ROWID
    """,
    """
    CREATE TABLE import_faults (
        import TEXT NOT NULL REFERENCES imports (id) ON DELETE CASCADE,
        line INTEGER NOT NULL,
        field TEXT NOT NULL,
        rule TEXT NOT NULL,
        message TEXT NOT NULL,
        PRIMARY KEY (import, line)
    ) STRICT, WITHOUT ROWID
    """,
)
