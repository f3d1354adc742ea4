"""Tables of version 2 that come with the bindings: bindings of all modes, groups, and when each number is free again.
Data only."""

__all__ = ["BINDINGS"]

_MIDDLE = "length({0}) = 15 AND {0} GLOB '700*' AND {0} NOT GLOB '*[^0-9]*'"
_KEPT = (
    "number, id, mode, x, y, parties, direction, provider, business_user, scenario, order_id, industrial_id,"
    " starts_ms, expires_ms, ended_ms, ring_seconds, longest_seconds, real_name, consent, created_ms"
)

BINDINGS: tuple[str, ...] = (
    """
        CREATE TABLE groups (
            id TEXT PRIMARY KEY,
            provider TEXT NOT NULL REFERENCES providers (id),
            business_user TEXT NOT NULL REFERENCES business_users (id),
            name TEXT NOT NULL,
            created_ms INTEGER NOT NULL,
            revision INTEGER NOT NULL
        ) STRICT, WITHOUT ROWID
    """,
    "CREATE INDEX groups_of ON groups (business_user, created_ms, id)",
    "CREATE INDEX groups_by_age ON groups (created_ms, id)",
    # The switch asks for (party_group, member), the keyed hash of a real number; `sealed` is the number itself.
    """
        CREATE TABLE members (
            party_group TEXT NOT NULL REFERENCES groups (id),
            member BLOB NOT NULL,
            place INTEGER NOT NULL,
            sealed BLOB NOT NULL,
            PRIMARY KEY (party_group, member)
        ) STRICT, WITHOUT ROWID
    """,
    # `parties` is both real numbers in one sealed blob, the default A of a group first: one decryption a lookup.
    # `fingerprint` tells whether a request under a client's token is the one it was first used for.
    f"""
        CREATE TABLE bindings_2 (
            number INTEGER PRIMARY KEY,
            id TEXT NOT NULL UNIQUE,
            mode TEXT NOT NULL CHECK (mode IN ('AXB', 'AXYB', 'GXB', 'GXYB')),
            x TEXT NOT NULL CHECK ({_MIDDLE.format("x")}),
            y TEXT NOT NULL CHECK (iif(mode IN ('AXYB', 'GXYB'), {_MIDDLE.format("y")} AND y <> x, y = '')),
            party_group TEXT NOT NULL DEFAULT '' CHECK ((party_group <> '') = (mode IN ('GXB', 'GXYB'))),
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
            ended_reason TEXT NOT NULL DEFAULT '',
            ring_seconds INTEGER NOT NULL,
            longest_seconds INTEGER NOT NULL,
            most_calls INTEGER NOT NULL DEFAULT 0,
            real_name TEXT NOT NULL,
            consent TEXT NOT NULL,
            created_ms INTEGER NOT NULL,
            client_token TEXT NOT NULL DEFAULT '',
            fingerprint BLOB NOT NULL DEFAULT x'',
            revision INTEGER NOT NULL DEFAULT 1
        ) STRICT
    """,
    f"INSERT INTO bindings_2 ({_KEPT}) SELECT {_KEPT} FROM bindings",
    # The keys refer to the table by its name, which goes to the new one.
    "DROP TABLE bindings",
    "ALTER TABLE bindings_2 RENAME TO bindings",
    "CREATE INDEX bindings_of_number ON bindings (x, number)",
    "CREATE INDEX bindings_of_alias ON bindings (y, number) WHERE y <> ''",
    "CREATE INDEX bindings_of_order ON bindings (order_id, number)",
    "CREATE INDEX bindings_of_user ON bindings (business_user, number)",
    "CREATE INDEX bindings_of_provider ON bindings (provider, number)",
    "CREATE INDEX bindings_of_group ON bindings (party_group, number) WHERE party_group <> ''",
    "CREATE INDEX bindings_held_by_group ON bindings (party_group, expires_ms)"
    " WHERE party_group <> '' AND ended_ms = 0",
    "CREATE UNIQUE INDEX bindings_of_token ON bindings (provider, client_token) WHERE client_token <> ''",
    # Until when bindings hold a middle number, or held it: it is free for allocation a quarantine later. An integer,
    # as in the ledger. A number that was never bound has no row.
    """
        CREATE TABLE numbers (
            x INTEGER PRIMARY KEY CHECK (x BETWEEN 700000000000000 AND 700999999999999),
            bound_until_ms INTEGER NOT NULL
        ) STRICT
    """,
    """
        INSERT INTO numbers
        SELECT CAST(x AS INTEGER), max(iif(ended_ms = 0, expires_ms, min(ended_ms, expires_ms)))
        FROM bindings GROUP BY x
    """,
)
