"""Groups in the binding store. When a member comes or goes, the keys of all bindings of the group that are live or yet
to start follow in the same transaction."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from routing.binding import key_text
from routing.errors import BindingError, Conflict, NotFound, StaleRevision
from routing.groups import Group, admit_members, check_name, member_text, party
from routing.ledger import Event
from routing.store import audit, ledger
from routing.store.binding_rows import free_keys, holders, parties_text, take_keys
from routing.store.database import Database, Value
from routing.store.group_rows import groups_at
from routing.store.pages import check_page
from routing.store.reader import COLUMNS, binding_of
from routing.store.standing import check_holder
from routing.terms import check_reference

__all__ = ["Groups"]

# Bindings whose keys are handled at a time: bounds memory, and lets other tasks of the process have their turn.
BINDINGS_AT_ONCE: Final = 500

_HELD: Final = "FROM bindings WHERE party_group = ? AND party_group <> '' AND ended_ms = 0 AND expires_ms > ?"


class Groups:
    """BindingError when the request is at fault, StoreError when the file is.

    `now_ms` is UTC. Whoever changes something says who he is (`by`). Where a `provider` is given, only what is that
    provider's is there (NotFound else); where a `revision` is given that is not the present one, StaleRevision.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(
        self, business_user: str, name: str, members: Sequence[str], now_ms: int, *, by: str, provider: str = ""
    ) -> Group:
        """Make a group of a registered business user, with members or none yet (R6, R13)."""
        check_name(name)
        check_reference("business_user", business_user)
        numbers = admit_members(members)
        async with self._database.transaction():
            rows = await self._database.rows(
                "SELECT provider FROM business_users WHERE id = ? AND (? = '' OR provider = ?)",
                (business_user, provider, provider),
            )
            # another provider's looks the same
            if not rows:
                raise BindingError("business_user", "R6", "no such business user is registered")
            owner = rows[0][0]
            group = Group(self._database.token(), owner, business_user, name, numbers, now_ms, 1)
            await self._database.rows(
                "INSERT INTO groups VALUES (?, ?, ?, ?, ?, 1)",
                (group.id, owner, business_user, name, now_ms),
            )
            await self._insert_members(group.id, numbers, 0)
            await self._note(now_ms, by, "add", group, detail={"members": len(numbers)})
        return group

    async def get(self, identifier: str, provider: str = "") -> Group | None:
        """Return a group by its id, or None."""
        async with self._database.reading():
            return await self._find(identifier, provider)

    async def list(
        self, after: str = "", limit: int = 100, *, business_user: str = "", provider: str = ""
    ) -> tuple[Group, ...]:
        """Return groups, the oldest first: all, or those of a business user or of a provider.

        The next page begins `after` the id of the last group of this one, which may have been removed meanwhile.
        """
        check_page(limit)
        conditions, values = ["1"], list[Value]()
        for column, value in (("business_user", business_user), ("provider", provider)):
            if value:
                conditions.append(f"{column} = ?")
                values.append(value)
        async with self._database.reading():
            if after:
                made_ms = await audit.made_ms(self._database, "group", after, provider)
                if made_ms is None:
                    raise BindingError("after", "form", "no such group")
                conditions.append("(created_ms, id) > (?, ?)")
                values += [made_ms, after]
            sql = f"SELECT id FROM groups WHERE {' AND '.join(conditions)} ORDER BY created_ms, id LIMIT ?"
            identifiers = [identifier for (identifier,) in await self._database.rows(sql, (*values, limit))]
            found = await groups_at(self._database, identifiers)
            return tuple(found[identifier] for identifier in identifiers)

    async def add_members(
        self,
        identifier: str,
        members: Sequence[str],
        now_ms: int,
        *,
        real_name: str = "",
        consent: str = "",
        by: str,
        provider: str = "",
        revision: int = 0,
    ) -> Group:
        """Add members, who may call on all bindings of the group at once. Those who are members already stay so.

        BindingError of rule "key", and nothing has changed, when one of them has a key of a binding of the group; of R6
        or R7 when there are such bindings, and the business user may give nobody new rights now; of R16 when there are,
        and the references of the new members are missing. These are kept in the audit.
        """
        references = {"real_name": real_name, "consent": consent}
        for field, text in references.items():
            check_reference(field, text)
        async with self._database.transaction():
            group = await self._group(identifier, provider, revision)
            fresh = admit_members(members, group.members)
            if not fresh:
                return group
            ((last,),) = await self._database.rows(
                "SELECT ifnull(max(place), 0) FROM members WHERE party_group = ?", (identifier,)
            )
            await self._insert_members(identifier, fresh, last + 1)
            held = await self._held_bindings(identifier, now_ms)
            if held:
                await check_holder(self._database, group.provider, group.business_user, now_ms)
                for field, text in references.items():
                    if not text.strip():
                        raise BindingError(field, "R16", "must be given: the group has bindings that have not ended")
            for part in held:
                await self._give_keys(part, fresh, now_ms)
            await self._touch(identifier)
            await self._note(now_ms, by, "add members", group, detail={"members": len(fresh), **references})
            return await self._group(identifier, "", 0)

    async def remove_member(
        self,
        identifier: str,
        member: str,
        now_ms: int,
        *,
        by: str,
        successor: str = "",
        provider: str = "",
        revision: int = 0,
    ) -> Group:
        """Take a member out, who may call on no binding of the group from now on.

        Where he is the default A of a binding that has not ended, `successor`, another member, takes his place there;
        BindingError of rule "member", and nothing has changed, where none is named.
        """
        number = party("member", member)
        heir = party("successor", successor) if successor else ""
        async with self._database.transaction():
            group = await self._group(identifier, provider, revision)
            if number not in group.members:
                raise NotFound("member", "member", "is no member of the group")
            if heir and (heir == number or heir not in group.members):
                raise BindingError("successor", "member", "must be another member of the group")
            hash_ = self._database.seal.hash
            for part in await self._held_bindings(identifier, now_ms):
                await self._succeed(part, number, heir, now_ms, by)
                await free_keys(self._database, ((hash_(key_text(row[3], number)), row[0]) for row in part))
            await self._database.rows(
                "DELETE FROM members WHERE party_group = ? AND member = ?",
                (identifier, hash_(member_text(identifier, number))),
            )
            await self._touch(identifier)
            await self._note(now_ms, by, "remove member", group)
            return await self._group(identifier, "", 0)

    async def rename(
        self, identifier: str, name: str, now_ms: int, *, by: str, provider: str = "", revision: int = 0
    ) -> Group:
        """Give a group another name."""
        check_name(name)
        async with self._database.transaction():
            group = await self._group(identifier, provider, revision)
            await self._database.rows("UPDATE groups SET name = ? WHERE id = ?", (name, identifier))
            await self._touch(identifier)
            await self._note(now_ms, by, "rename", group, detail={"name": [group.name, name]})
            return await self._group(identifier, "", 0)

    async def remove(self, identifier: str, now_ms: int, *, by: str, provider: str = "", revision: int = 0) -> None:
        """Forget a group and its members. Conflict while a binding of it is live or yet to start."""
        async with self._database.transaction():
            group = await self._group(identifier, provider, revision)
            for (holder,) in await self._database.rows(f"SELECT id {_HELD} LIMIT 1", (identifier, now_ms)):
                raise Conflict("id", "member", f"binding {holder} of the group has not ended")
            await self._database.rows("DELETE FROM members WHERE party_group = ?", (identifier,))
            await self._database.rows("DELETE FROM groups WHERE id = ?", (identifier,))
            await self._note(now_ms, by, "remove", group)

    # within a turn

    async def _find(self, identifier: str, provider: str) -> Group | None:
        group = (await groups_at(self._database, (identifier,))).get(identifier)
        return None if group is None or provider not in ("", group.provider) else group

    async def _group(self, identifier: str, provider: str, revision: int) -> Group:
        group = await self._find(identifier, provider)
        if group is None:
            raise NotFound("id", "form", "no such group")
        if revision not in (0, group.revision):
            raise StaleRevision("revision", "form", f"the group has changed: it is at {group.revision}")
        return group

    async def _held_bindings(self, identifier: str, now_ms: int) -> Sequence[Sequence[Any]]:
        """Rows (number and COLUMNS) of the bindings that have not ended, in parts."""
        rows = await self._database.rows(f"SELECT number, {COLUMNS} {_HELD}", (identifier, now_ms))
        return [rows[start : start + BINDINGS_AT_ONCE] for start in range(0, len(rows), BINDINGS_AT_ONCE)]

    async def _give_keys(self, part: Sequence[Any], fresh: Sequence[str], now_ms: int) -> None:
        seal = self._database.seal
        taken: dict[bytes, int] = {}
        for number, *row in part:
            binding = binding_of(row, seal.open)
            if binding.b in fresh:
                raise Conflict("member", "key", f"is party B of binding {binding.id}")
            taken |= {seal.hash(key_text(binding.x, member)): number for member in fresh}
        held = await holders(self._database, list(taken), now_ms)
        for holder in held.values():
            raise Conflict("member", "key", f"binding {holder} holds the number of a binding for him")
        await take_keys(self._database, taken.items())

    async def _succeed(self, part: Sequence[Any], number: str, heir: str, now_ms: int, by: str) -> None:
        seal = self._database.seal
        changed, blobs, updates = [], [], []
        for place, *row in part:
            binding = binding_of(row, seal.open)
            if binding.a != number:
                continue
            if not heir:
                raise Conflict("member", "member", f"is the default A of binding {binding.id}; name a successor")
            new = replace(binding, a=heir)
            sealed = seal.seal(parties_text(new))
            changed.append(new)
            blobs.append(sealed)
            updates.append((sealed, place))
        if changed:
            sql = "UPDATE bindings SET parties = ?, revision = revision + 1 WHERE number = ?"
            await self._database.many(sql, updates)
            await ledger.note(self._database, now_ms, by, Event.CHANGED, changed, parties=blobs)

    async def _insert_members(self, identifier: str, numbers: Sequence[str], place: int) -> None:
        seal = self._database.seal
        rows = [
            (identifier, seal.hash(member_text(identifier, number)), place + offset, seal.seal(number))
            for offset, number in enumerate(numbers)
        ]
        await self._database.many("INSERT INTO members VALUES (?, ?, ?, ?)", rows)

    async def _touch(self, identifier: str) -> None:
        await self._database.rows("UPDATE groups SET revision = revision + 1 WHERE id = ?", (identifier,))

    async def _note(self, now_ms: int, by: str, action: str, group: Group, detail: audit.Detail | None = None) -> None:
        await audit.note(self._database, now_ms, by, action, "group", group.id, "", detail, provider=group.provider)
