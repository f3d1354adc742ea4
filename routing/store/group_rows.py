"""How groups and their members lie in rows of the binding store. Everything here runs within somebody's turn."""

from collections.abc import Iterable, Mapping
from typing import Final

from routing.groups import Group
from routing.store.binding_rows import in_parts
from routing.store.database import Database

__all__ = ["groups_at"]

_GROUPS: Final = "SELECT id, provider, business_user, name, created_ms, revision FROM groups WHERE id IN ({})"
_MEMBERS: Final = "SELECT party_group, sealed FROM members WHERE party_group IN ({}) ORDER BY party_group, place"


async def groups_at(database: Database, identifiers: Iterable[str]) -> Mapping[str, Group]:
    """Those of these groups that are there, by id, with their members."""
    wanted = sorted(set(identifiers))
    if not wanted:
        return {}
    members: dict[str, list[str]] = {}
    for identifier, sealed in await in_parts(database, _MEMBERS, wanted):
        members.setdefault(identifier, []).append(database.seal.open(sealed))
    return {
        identifier: Group(identifier, provider, user, name, tuple(members.get(identifier, ())), created_ms, revision)
        for identifier, provider, user, name, created_ms, revision in await in_parts(database, _GROUPS, wanted)
    }
