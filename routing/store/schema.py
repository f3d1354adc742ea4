"""The tables of the binding store, version by version. Data only: `routing.store.sqlite` runs it.

A key row is small and its binding is appended to a table of its own: at tens of millions of live bindings the part
that is written in random order (the keys) still fits in memory, and ending a binding touches one row.
"""

from collections.abc import Sequence

from routing.store.schema_access import ACCESS
from routing.store.schema_bindings import BINDINGS
from routing.store.schema_policy import POLICY
from routing.store.schema_registry import REGISTRY
from routing.store.schema_webhooks import WEBHOOKS

# Written into the file's header (PRAGMA application_id): tells a binding store from any other SQLite file.
APPLICATION = int.from_bytes(b"x7bs", "big")

# Sealed when the file is created. Another keyring gives another hash, and then no lookup could ever hit.
KEY_PROBE = "x700 binding store"

# One tuple of statements for each version; never edited once released, only followed by the next. The order inside one
# matters: each part finds what those before it have made of the file.
MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        f"PRAGMA application_id = {APPLICATION}",
        "CREATE TABLE keyring (only INTEGER PRIMARY KEY CHECK (only = 1), probe BLOB NOT NULL) STRICT",
        # Moves whenever blocks change, whoever changes them: the switch rebuilds its snapshot when it does.
        "CREATE TABLE change (only INTEGER PRIMARY KEY CHECK (only = 1), counter INTEGER NOT NULL) STRICT",
        "INSERT INTO change VALUES (1, 0)",
        """
        CREATE TABLE blocks (
            prefix TEXT PRIMARY KEY CHECK (length(prefix) = 11 AND prefix GLOB '700*' AND prefix NOT GLOB '*[^0-9]*'),
            provider TEXT NOT NULL,
            business_user TEXT NOT NULL,
            state TEXT NOT NULL CHECK (state IN ('allocated', 'active', 'frozen', 'returned'))
        ) STRICT, WITHOUT ROWID
        """,
        """
        CREATE TRIGGER block_added AFTER INSERT ON blocks
        BEGIN UPDATE change SET counter = counter + 1; END
        """,
        """
        CREATE TRIGGER block_changed AFTER UPDATE ON blocks
        BEGIN UPDATE change SET counter = counter + 1; END
        """,
        """
        CREATE TRIGGER block_removed AFTER DELETE ON blocks
        BEGIN UPDATE change SET counter = counter + 1; END
        """,
        # `parties` is both real numbers in one sealed blob: one decryption a lookup.
        """
        CREATE TABLE bindings (
            number INTEGER PRIMARY KEY,
            id TEXT NOT NULL UNIQUE,
            mode TEXT NOT NULL CHECK (mode IN ('AXB')),
            x TEXT NOT NULL CHECK (length(x) = 15 AND x GLOB '700*' AND x NOT GLOB '*[^0-9]*'),
            y TEXT NOT NULL,
            parties BLOB NOT NULL,
            direction TEXT NOT NULL CHECK (direction IN ('both', 'a_to_b', 'b_to_a')),
            provider TEXT NOT NULL,
            business_user TEXT NOT NULL,
            scenario TEXT NOT NULL,
            order_id TEXT NOT NULL,
            industrial_id TEXT NOT NULL,
            starts_ms INTEGER NOT NULL,
            expires_ms INTEGER NOT NULL CHECK (expires_ms > starts_ms),
            ended_ms INTEGER NOT NULL DEFAULT 0,
            ring_seconds INTEGER NOT NULL,
            longest_seconds INTEGER NOT NULL,
            real_name TEXT NOT NULL,
            consent TEXT NOT NULL,
            created_ms INTEGER NOT NULL
        ) STRICT
        """,
        "CREATE INDEX bindings_of_number ON bindings (x, number)",
        # The last binding that held a key. The row outlives the binding, so that "expired" differs from "unbound".
        """
        CREATE TABLE keys (
            key BLOB PRIMARY KEY,
            binding INTEGER NOT NULL REFERENCES bindings (number)
        ) STRICT, WITHOUT ROWID
        """,
    ),
    (*REGISTRY, *BINDINGS, *POLICY, *ACCESS, *WEBHOOKS),
)

VERSION = len(MIGRATIONS)


def misfit(application: int, version: int) -> str:
    """Say why a file with this header cannot be read by this program, '' when it can. A new file has zeros in both."""
    if application not in (0, APPLICATION) or (application == 0 and version != 0):
        return "is an SQLite file of another program"
    if version > VERSION:
        return f"has schema version {version}, newer than {VERSION}, the newest this program knows; upgrade x700"
    return ""


def pending(version: int) -> Sequence[str]:
    """Return the statements that bring a file of this version to the newest one, in order."""
    return [statement for migration in MIGRATIONS[version:] for statement in migration]
