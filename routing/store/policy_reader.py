"""The policy as the switch reads it. Of the block list it reads what has changed: with ten thousand entries the calls
would otherwise wait for each new one."""

import json
import sqlite3
from collections.abc import Callable, Mapping
from typing import Any, Final

from routing.blocklist import FOR_EVER_MS, BlockEntry, BlockKind
from routing.caps import NO_CAP_SET, Caps, parse_caps
from routing.policy import Policy, PolicySettings, Rule
from routing.store.registry_rows import SCENARIO_COLUMNS, scenario_of

__all__ = ["PolicyReader"]

# So often what has expired is forgotten, in milliseconds.
TIDY_MS: Final = 3_600_000

_NEWEST: Final = "SELECT counter FROM change"
_UNTIL: Final = f"iif(expires_ms = 0, {FOR_EVER_MS}, expires_ms) AS until"
_ENTRIES: Final = f"SELECT key, {_UNTIL} FROM blocklist"
_CUTS: Final = f"SELECT kind, key, {_UNTIL} FROM blocklist"
_LIVE: Final = "lifted_ms = 0 AND (expires_ms = 0 OR expires_ms > ?)"
_ONE: Final = f"kind = ? AND key = ? AND {_LIVE}"
_CHANGED: Final = "SELECT DISTINCT kind, key FROM blocklist WHERE revision > ?"
_SCENARIOS: Final = (
    f"SELECT {SCENARIO_COLUMNS} FROM scenarios"
    " WHERE direction <> 'both' OR windows <> '[]' OR messages = 0 OR verify = 1 OR caps <> '{}'"
)
# A change of any row moves its revision.
_REGISTRY: Final = (
    "SELECT (SELECT count(*) FROM scenarios), (SELECT total(revision) FROM scenarios),"
    " (SELECT count(*) FROM business_users), (SELECT total(revision) FROM business_users)"
)

_KINDS: Final = {kind.value: kind for kind in BlockKind}

_Table = dict[str | bytes, int]


class PolicyReader:
    """Reads through a cursor of the switch's own connection, with which it is made and forgotten."""

    def __init__(self, hash_of: Callable[[str], bytes]) -> None:
        self._hash_of = hash_of
        self._counter = -1
        self._tidied_ms = 0
        self._blocked: dict[BlockKind, _Table] = {}
        self._registry: tuple[Any, ...] = ()
        self._rules: Mapping[tuple[str, str], Rule] = {}
        self._users: Mapping[str, Caps] = {}

    def read(self, cursor: sqlite3.Cursor, settings: PolicySettings, now_ms: int) -> Policy:
        """Return the policy as it stands. ValueError or sqlite3.Error when it cannot be read: begin anew then."""
        # The counter before the rows: a later change then has a higher revision.
        (counter,) = cursor.execute(_NEWEST).fetchone()
        fresh = self._read_all(cursor, now_ms) if self._counter < 0 else self._read_changes(cursor, now_ms)
        if abs(now_ms - self._tidied_ms) >= TIDY_MS:
            self._tidied_ms = now_ms
            for kind, table in self._blocked.items():
                self._blocked[kind] = {key: until for key, until in table.items() if now_ms < until}
        self._counter = counter
        self._read_registry(cursor)
        ranges = {
            prefix: bool(allowed) for prefix, allowed in cursor.execute("SELECT prefix, allowed FROM caller_ranges")
        }
        return Policy(settings, dict(self._blocked), self._rules, self._users, ranges, self._hash_of, tuple(fresh))

    def _read_all(self, cursor: sqlite3.Cursor, now_ms: int) -> list[BlockEntry]:
        self._tidied_ms = now_ms
        self._blocked = {}
        for name, kind in _KINDS.items():
            rows = cursor.execute(f"{_ENTRIES} WHERE kind = ? AND {_LIVE} ORDER BY until", (name, now_ms)).fetchall()
            if rows:
                self._blocked[kind] = dict(rows)
        cuts = cursor.execute(f"{_CUTS} WHERE cut = 1 AND {_LIVE}", (now_ms,)).fetchall()
        return [BlockEntry(_KINDS[name], key, until, True) for name, key, until in cuts]

    def _read_changes(self, cursor: sqlite3.Cursor, now_ms: int) -> list[BlockEntry]:
        fresh: list[BlockEntry] = []
        copied: set[BlockKind] = set()
        for kind, key in cursor.execute(_CHANGED, (self._counter,)).fetchall():
            spoken = _KINDS[kind]
            if spoken not in copied:
                # the snapshot before still has the old one
                self._blocked[spoken] = dict(self._blocked.get(spoken, {}))
                copied.add(spoken)
            table = self._blocked[spoken]
            table.pop(key, None)
            live = (kind, key, now_ms)
            table.update(cursor.execute(f"{_ENTRIES} WHERE {_ONE} ORDER BY until", live).fetchall())
            cuts = cursor.execute(f"{_CUTS} WHERE cut = 1 AND {_ONE}", live).fetchall()
            fresh += [BlockEntry(spoken, key, until, True) for _, key, until in cuts]
        return fresh

    def _read_registry(self, cursor: sqlite3.Cursor) -> None:
        registry = cursor.execute(_REGISTRY).fetchone()
        if registry == self._registry:
            return
        rules: dict[tuple[str, str], Rule] = {}
        for row in cursor.execute(_SCENARIOS).fetchall():
            scenario = scenario_of(row)
            rules[scenario.business_user, scenario.name] = Rule(
                scenario.direction,
                scenario.windows,
                scenario.messages,
                scenario.verify,
                NO_CAP_SET.over(scenario.caps),
            )
        self._rules = rules
        self._users = {
            name: parse_caps(json.loads(caps))
            for name, caps in cursor.execute("SELECT id, caps FROM business_users WHERE caps <> '{}'").fetchall()
        }
        self._registry = registry
