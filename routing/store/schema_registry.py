"""Tables of the registry, of the blocks' lives, of the audit and of the ledger. Data only.

What version 1 of the file held is brought over: whoever held a block or made a binding counts as registered.
"""

__all__ = ["REGISTRY", "append_only", "bumps"]


def bumps(table: str) -> tuple[str, ...]:
    """Triggers by which every change of a table moves the counter that the switch watches."""
    return tuple(
        f"CREATE TRIGGER {table}_{what.lower()}_counts AFTER {what} ON {table}"
        " BEGIN UPDATE change SET counter = counter + 1; END"
        for what in ("INSERT", "UPDATE", "DELETE")
    )


def append_only(table: str, key: str) -> tuple[str, ...]:
    """Triggers by which rows of a table stay as they were written; `key` is its integer primary key."""
    refused = f"SELECT RAISE(ABORT, '{table} is append-only')"
    return (
        f"CREATE TRIGGER {table}_not_changed BEFORE UPDATE ON {table} BEGIN {refused}; END",
        f"CREATE TRIGGER {table}_not_deleted BEFORE DELETE ON {table} BEGIN {refused}; END",
        # REPLACE deletes without asking the trigger above
        f"CREATE TRIGGER {table}_not_replaced BEFORE INSERT ON {table}"
        f" WHEN EXISTS (SELECT 1 FROM {table} WHERE {key} = NEW.{key}) BEGIN {refused}; END",
    )


_STATE = """
            state TEXT NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'suspended', 'terminated')),
            reason TEXT NOT NULL DEFAULT '',
            since_ms INTEGER NOT NULL DEFAULT 0,
            revision INTEGER NOT NULL DEFAULT 1
"""
_NOW_MS = "CAST(strftime('%s', 'now') AS INTEGER) * 1000"
_BROUGHT = f"'active', 'brought over from version 1 of the store', {_NOW_MS}, 1"

REGISTRY: tuple[str, ...] = (
    f"""
        CREATE TABLE providers (
            id TEXT PRIMARY KEY,
            name TEXT NOT NULL,
            licence TEXT NOT NULL DEFAULT '',
            {_STATE}
        ) STRICT, WITHOUT ROWID
    """,
    # `caps` is a JSON object of those there are, here and in scenarios.
    f"""
        CREATE TABLE business_users (
            id TEXT PRIMARY KEY,
            provider TEXT NOT NULL REFERENCES providers (id),
            name TEXT NOT NULL,
            credit_code TEXT NOT NULL DEFAULT '',
            caps TEXT NOT NULL DEFAULT '{{}}',
            {_STATE}
        ) STRICT, WITHOUT ROWID
    """,
    "CREATE INDEX business_users_of ON business_users (provider, id)",
    f"""
        CREATE TABLE contracts (
            id TEXT PRIMARY KEY,
            provider TEXT NOT NULL REFERENCES providers (id),
            business_user TEXT NOT NULL REFERENCES business_users (id),
            reference TEXT NOT NULL,
            starts_ms INTEGER NOT NULL DEFAULT 0,
            ends_ms INTEGER NOT NULL DEFAULT 0,
            {_STATE}
        ) STRICT, WITHOUT ROWID
    """,
    "CREATE INDEX contracts_of ON contracts (business_user, id)",
    # `windows` is a JSON list of their texts.
    f"""
        CREATE TABLE scenarios (
            business_user TEXT NOT NULL REFERENCES business_users (id),
            name TEXT NOT NULL,
            title TEXT NOT NULL DEFAULT '',
            longest_days INTEGER NOT NULL DEFAULT 90,
            direction TEXT NOT NULL DEFAULT 'both' CHECK (direction IN ('both', 'a_to_b', 'b_to_a')),
            windows TEXT NOT NULL DEFAULT '[]',
            messages INTEGER NOT NULL DEFAULT 1 CHECK (messages IN (0, 1)),
            verify INTEGER NOT NULL DEFAULT 0 CHECK (verify IN (0, 1)),
            ring_seconds INTEGER NOT NULL DEFAULT 0,
            longest_seconds INTEGER NOT NULL DEFAULT 0,
            caps TEXT NOT NULL DEFAULT '{{}}',
            {_STATE},
            PRIMARY KEY (business_user, name)
        ) STRICT, WITHOUT ROWID
    """,
    *bumps("business_users"),
    *bumps("scenarios"),
    # Who did what and why. `detail` is a JSON object and never holds a real number.
    """
        CREATE TABLE audit (
            number INTEGER PRIMARY KEY,
            at_ms INTEGER NOT NULL,
            who TEXT NOT NULL CHECK (who <> ''),
            action TEXT NOT NULL,
            kind TEXT NOT NULL,
            id TEXT NOT NULL,
            reason TEXT NOT NULL,
            provider TEXT NOT NULL,
            detail TEXT NOT NULL
        ) STRICT
    """,
    # one for each way to ask, in the order of the answer
    "CREATE INDEX audit_of ON audit (id, number)",
    "CREATE INDEX audit_of_provider ON audit (provider, number)",
    "CREATE INDEX audit_of_kind ON audit (kind, number)",
    "CREATE INDEX audit_by ON audit (who, number)",
    *append_only("audit", "number"),
    # One row for whatever changed who holds a middle number, until when, or who is behind it. A number is an integer
    # here, so that the index that is written in random order stays small. `parties` is sealed as in bindings.
    """
        CREATE TABLE ledger (
            number INTEGER PRIMARY KEY,
            x INTEGER NOT NULL CHECK (x BETWEEN 700000000000000 AND 700999999999999),
            at_ms INTEGER NOT NULL,
            who TEXT NOT NULL CHECK (who <> ''),
            event TEXT NOT NULL CHECK (event IN ('bound', 'extended', 'changed', 'ended')),
            reason TEXT NOT NULL,
            binding TEXT NOT NULL,
            provider TEXT NOT NULL,
            business_user TEXT NOT NULL,
            scenario TEXT NOT NULL,
            order_id TEXT NOT NULL,
            starts_ms INTEGER NOT NULL,
            until_ms INTEGER NOT NULL,
            party_group TEXT NOT NULL,
            parties BLOB NOT NULL
        ) STRICT
    """,
    "CREATE INDEX ledger_of ON ledger (x, number)",
    *append_only("ledger", "number"),
    # What version 1 held. Of a business user that stood with several providers the first one stays its own.
    f"""
        INSERT INTO providers (id, name, state, reason, since_ms, revision)
        SELECT provider, provider, {_BROUGHT} FROM (SELECT provider FROM blocks UNION SELECT provider FROM bindings)
    """,
    f"""
        INSERT INTO business_users (id, provider, name, state, reason, since_ms, revision)
        SELECT business_user, min(provider), business_user, {_BROUGHT}
        FROM (SELECT business_user, provider FROM blocks UNION SELECT business_user, provider FROM bindings)
        GROUP BY business_user
    """,
    f"""
        INSERT INTO contracts (id, provider, business_user, reference, state, reason, since_ms, revision)
        SELECT id, provider, id, 'version 1', {_BROUGHT} FROM business_users
    """,
    f"""
        INSERT INTO scenarios (business_user, name, state, reason, since_ms, revision)
        SELECT DISTINCT business_user, scenario, {_BROUGHT} FROM bindings
    """,
    """
        INSERT INTO ledger (x, at_ms, who, event, reason, binding, provider, business_user, scenario, order_id,
            starts_ms, until_ms, party_group, parties)
        SELECT CAST(x AS INTEGER), created_ms, 'version 1', 'bound', '', id, provider, business_user, scenario,
            order_id, starts_ms, iif(ended_ms = 0, expires_ms, ended_ms), '', parties
        FROM bindings ORDER BY number
    """,
    # Instants of a block's life; 0 is not yet, or, of `frozen_ms`, not now.
    """
        CREATE TABLE blocks_2 (
            prefix TEXT PRIMARY KEY CHECK (length(prefix) = 11 AND prefix GLOB '700*' AND prefix NOT GLOB '*[^0-9]*'),
            provider TEXT NOT NULL REFERENCES providers (id),
            business_user TEXT NOT NULL REFERENCES business_users (id),
            state TEXT NOT NULL CHECK (state IN ('allocated', 'active', 'frozen', 'returned')),
            reason TEXT NOT NULL,
            allocated_ms INTEGER NOT NULL,
            activated_ms INTEGER NOT NULL,
            frozen_ms INTEGER NOT NULL,
            returned_ms INTEGER NOT NULL,
            revision INTEGER NOT NULL
        ) STRICT, WITHOUT ROWID
    """,
    f"""
        INSERT INTO blocks_2
        SELECT prefix, provider, business_user, state, 'brought over from version 1 of the store', {_NOW_MS},
            iif(state IN ('active', 'frozen'), {_NOW_MS}, 0), iif(state = 'frozen', {_NOW_MS}, 0),
            iif(state = 'returned', {_NOW_MS}, 0), 1
        FROM blocks
    """,
    "DROP TABLE blocks",
    "ALTER TABLE blocks_2 RENAME TO blocks",
    "CREATE INDEX blocks_of ON blocks (business_user, prefix)",
    "CREATE INDEX blocks_of_provider ON blocks (provider, prefix)",
    *bumps("blocks"),
    f"""
        INSERT INTO audit (at_ms, who, action, kind, id, reason, provider, detail)
        SELECT {_NOW_MS}, 'version 1', 'brought over', 'block', prefix, reason, provider,
            json_object('state', state, 'business_user', business_user)
        FROM blocks
    """,
)
