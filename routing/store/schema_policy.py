"""Tables of version 2 that come with the policy: the block list, caller ranges, credit files. Data only."""

from routing.store.schema_registry import append_only, bumps

__all__ = ["POLICY"]

POLICY: tuple[str, ...] = (
    # `key` is what the switch looks up: the keyed hash of a real number (which `sealed` holds), else the value itself.
    # `revision` is the change counter at the time of the last change: the switch reads only what is newer.
    """
        CREATE TABLE blocklist (
            number INTEGER PRIMARY KEY,
            kind TEXT NOT NULL CHECK (kind IN
                ('caller', 'callee', 'number', 'x', 'block', 'binding', 'business_user', 'provider')),
            key ANY NOT NULL,
            sealed BLOB NOT NULL,
            reason TEXT NOT NULL,
            who TEXT NOT NULL CHECK (who <> ''),
            cut INTEGER NOT NULL CHECK (cut IN (0, 1)),
            business_user TEXT NOT NULL,
            created_ms INTEGER NOT NULL,
            expires_ms INTEGER NOT NULL,
            lifted_ms INTEGER NOT NULL DEFAULT 0,
            lifted_by TEXT NOT NULL DEFAULT '',
            lifted_reason TEXT NOT NULL DEFAULT '',
            revision INTEGER NOT NULL
        ) STRICT
    """,
    "CREATE INDEX blocklist_of ON blocklist (kind, key, number)",
    "CREATE INDEX blocklist_changes ON blocklist (revision)",
    "CREATE INDEX blocklist_not_lifted ON blocklist (expires_ms) WHERE lifted_ms = 0",
    *bumps("blocklist"),
    # Who may call at all, by the first national digits (R13).
    """
        CREATE TABLE caller_ranges (
            prefix TEXT PRIMARY KEY CHECK (prefix <> '' AND prefix NOT GLOB '*[^0-9]*'),
            allowed INTEGER NOT NULL CHECK (allowed IN (0, 1)),
            reason TEXT NOT NULL,
            who TEXT NOT NULL CHECK (who <> ''),
            created_ms INTEGER NOT NULL
        ) STRICT, WITHOUT ROWID
    """,
    *bumps("caller_ranges"),
    # Violations of a business user, so many on one day in China. What stands here stands: a mistake is taken back by
    # an entry with a negative number of times.
    """
        CREATE TABLE credit (
            number INTEGER PRIMARY KEY,
            business_user TEXT NOT NULL,
            day TEXT NOT NULL CHECK (day GLOB '[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]'),
            violation TEXT NOT NULL,
            times INTEGER NOT NULL CHECK (times <> 0),
            source TEXT NOT NULL CHECK (source IN ('records', 'switch', 'block', 'manual')),
            note TEXT NOT NULL,
            who TEXT NOT NULL CHECK (who <> ''),
            at_ms INTEGER NOT NULL
        ) STRICT
    """,
    "CREATE INDEX credit_of ON credit (business_user, day, number)",
    *append_only("credit", "number"),
    # Days whose records are counted in there.
    "CREATE TABLE credit_days (day TEXT PRIMARY KEY, at_ms INTEGER NOT NULL) STRICT, WITHOUT ROWID",
)
