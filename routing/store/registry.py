"""The registry in the binding store: providers, business users, contracts and scenarios, each in its own table, all
handled alike."""

from collections.abc import Sequence
from typing import Any, TypeVar

from routing.errors import BindingError, Conflict, NotFound, StaleRevision
from routing.registry import (
    MOVES,
    BusinessUser,
    Contract,
    Provider,
    Resource,
    Scenario,
    State,
    check,
    scenario_key,
)
from routing.store import audit
from routing.store.database import Database
from routing.store.pages import check_page
from routing.store.registry_rows import SHAPES, Shape

__all__ = ["Registry"]

T = TypeVar("T", bound=Resource)
Row = tuple[Any, ...]


class Registry:
    """The room of the registry. BindingError when the request is at fault, StoreError when the file is.

    `kind` is one of the classes of `routing.registry`; an id is the value's `id`. Where a `provider` is given, only
    what is that provider's is there. Whoever changes something says who he is (`by`); `now_ms` is UTC.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, value: T, now_ms: int, *, by: str, reason: str = "", provider: str = "") -> T:
        """Register something and return it as stored: active, of revision 1. Conflict when its id is taken."""
        check(value)
        audit.check_reason(reason, required=False)
        shape = SHAPES[type(value)]
        async with self._database.transaction():
            owner = await self._owner(value, provider)
            if provider and isinstance(value, Contract):
                await self._refuse_undoing(value)
            row = (*shape.row(value), State.ACTIVE.value, reason, now_ms, 1)
            key = row[: len(shape.key)]
            if await self._rows(shape, [f"{column} = ?" for column in shape.key], key):
                raise Conflict(shape.key[-1], "R6", f"this {_word(shape)} is already registered")
            marks = ", ".join("?" * len(row))
            await self._database.rows(f"INSERT INTO {shape.table} ({shape.columns}) VALUES ({marks})", row)
            await self._note(shape, now_ms, by, "add", value.id, reason, owner, shape.told(row))
            added: T = shape.value(row)
            return added

    async def get(self, kind: type[T], identifier: str, *, provider: str = "") -> T | None:
        """Return something by its id, or None."""
        shape = SHAPES[kind]
        async with self._database.reading():
            row = await self._row(shape, identifier, provider)
        return None if row is None else shape.value(row)

    async def list(
        self,
        kind: type[T],
        after: str = "",
        limit: int = 100,
        *,
        provider: str = "",
        business_user: str = "",
        state: State | None = None,
    ) -> tuple[T, ...]:
        """Return what is registered, in the order of the ids; all, or that of a provider, of a business user, or in a
        state. The next page begins `after` the id of the last of this one."""
        check_page(limit)
        shape = SHAPES[kind]
        conditions, values = [f"({', '.join(shape.key)}) > ({', '.join('?' * len(shape.key))})"], [*_key(shape, after)]
        for condition, value in (
            (shape.own, provider),
            ("business_user = ?", business_user),
            ("state = ?", "" if state is None else state.value),
        ):
            if value:
                conditions.append(condition)
                values.append(value)
        if business_user and "business_user" not in shape.names():
            raise BindingError("business_user", "form", f"a {_word(shape)} is of no business user")
        async with self._database.reading():
            rows = await self._rows(shape, conditions, (*values, limit), f"ORDER BY {', '.join(shape.key)} LIMIT ?")
        return tuple(shape.value(row) for row in rows)

    async def change(self, value: T, now_ms: int, *, by: str, reason: str = "", provider: str = "") -> T:
        """Store a value that was read and altered, and return it as stored, of the next revision.

        What names it and whose it is never changes, its state by `move` only. StaleRevision when somebody else was
        faster; NotFound when it is not there.
        """
        check(value)
        audit.check_reason(reason, required=False)
        shape = SHAPES[type(value)]
        async with self._database.transaction():
            old = await self._standing_row(shape, value.id, provider, value.revision)
            if old[-4] == State.TERMINATED.value:
                raise Conflict("state", "R7", f"{_word(shape)} {value.id} is terminated and stays as it is")
            new = shape.row(value)
            was, now = shape.told(old[:-4]), shape.told(new)
            detail = {name: [was[name], now[name]] for name in now if was[name] != now[name]}
            for name in shape.names()[: shape.fixed]:
                if name in detail:
                    raise BindingError(name, "R5", f"of a {_word(shape)} cannot be changed")
            if provider and isinstance(value, Contract) and not detail.keys().isdisjoint(("starts_ms", "ends_ms")):
                await self._refuse_undoing(value)
            if not detail:
                same: T = shape.value(old)
                return same
            return await self._replace(shape, old, new, old[-4:-1], value, (now_ms, by, "change", reason), detail)

    async def move(
        self,
        kind: type[T],
        identifier: str,
        state: State,
        now_ms: int,
        *,
        by: str,
        reason: str,
        revision: int = 0,
        provider: str = "",
    ) -> T:
        """Take something to another state and return it (R7): live bindings go on, new ones are made in ACTIVE only.

        A reason must be given. `revision` is the one it was read at; 0 is whichever there is.
        """
        audit.check_reason(reason)
        shape = SHAPES[kind]
        async with self._database.transaction():
            old = await self._standing_row(shape, identifier, provider, revision)
            was = State(old[-4])
            if state not in MOVES[was]:
                raise Conflict("state", "R7", f"{_word(shape)} {identifier} is {was} and cannot become {state}")
            deed = (now_ms, by, _DEEDS[state], reason)
            detail = {"state": [was.value, state.value]}
            value: T = shape.value(old)
            return await self._replace(shape, old, old[:-4], (state.value, reason, now_ms), value, deed, detail)

    async def suspend(
        self,
        kind: type[T],
        identifier: str,
        now_ms: int,
        *,
        by: str,
        reason: str,
        revision: int = 0,
        provider: str = "",
    ) -> T:
        """Let no more bindings be made or extended with it, until it is resumed."""
        return await self.move(
            kind, identifier, State.SUSPENDED, now_ms, by=by, reason=reason, revision=revision, provider=provider
        )

    async def resume(
        self,
        kind: type[T],
        identifier: str,
        now_ms: int,
        *,
        by: str,
        reason: str,
        revision: int = 0,
        provider: str = "",
    ) -> T:
        """Undo `suspend`."""
        return await self.move(
            kind, identifier, State.ACTIVE, now_ms, by=by, reason=reason, revision=revision, provider=provider
        )

    async def terminate(
        self,
        kind: type[T],
        identifier: str,
        now_ms: int,
        *,
        by: str,
        reason: str,
        revision: int = 0,
        provider: str = "",
    ) -> T:
        """Let no more bindings be made or extended with it, for good."""
        return await self.move(
            kind, identifier, State.TERMINATED, now_ms, by=by, reason=reason, revision=revision, provider=provider
        )

    async def enrol(self, provider: str, business_user: str, scenario: str, *, now_ms: int, by: str) -> None:
        """Register whatever is missing of a provider, its business user, an open contract and a scenario."""
        contract = Contract(f"{business_user}.enrolled", provider, business_user, "enrolled")
        for value in (
            Provider(provider, provider),
            BusinessUser(business_user, provider, business_user),
            contract,
            Scenario(business_user, scenario),
        ):
            if await self.get(type(value), value.id) is None:
                await self.add(value, now_ms, by=by)

    async def _refuse_undoing(self, contract: Contract) -> None:
        """What the operator has suspended or terminated, a provider does not replace by a contract of its own (R7)."""
        conditions = ("provider = ?", "business_user = ?", "state <> 'active'")
        for row in await self._rows(SHAPES[Contract], conditions, (contract.provider, contract.business_user)):
            raise Conflict(
                "business_user", "R7", f"contract {row[0]} with it is {row[-4]}; only the operator can go on from there"
            )

    async def _owner(self, value: Resource, asker: str) -> str:
        """The provider something would belong to; it and the business user must be there and not gone. An `asker`, the
        provider who asks, learns nothing of what is not its own, not even that it is there."""
        claimed = value.id if isinstance(value, Provider) else "" if isinstance(value, Scenario) else value.provider
        if asker and claimed not in ("", asker):
            raise BindingError("provider", "R6", "another provider's business is not yours to register")
        if isinstance(value, Provider):
            return value.id
        if isinstance(value, BusinessUser):
            owner = value.provider
        else:
            user = await self._row(SHAPES[BusinessUser], value.business_user, asker)
            if user is None:
                raise BindingError("business_user", "R6", "no such business user is registered")
            owner = str(user[1])
            if isinstance(value, Contract) and value.provider != owner:
                raise BindingError("provider", "R6", f"business user {value.business_user} belongs to another provider")
            if user[-4] == State.TERMINATED.value:
                raise BindingError("business_user", "R7", f"business user {value.business_user} is terminated")
        holder = await self._row(SHAPES[Provider], owner, "")
        if holder is None:
            raise BindingError("provider", "R6", "no such provider is registered")
        if holder[-4] == State.TERMINATED.value:
            raise BindingError("provider", "R7", f"provider {owner} is terminated")
        return owner

    async def _standing_row(self, shape: Shape, identifier: str, provider: str, revision: int) -> Row:
        row = await self._row(shape, identifier, provider)
        if row is None:
            raise NotFound("id", "R6", f"no such {_word(shape)} is registered")
        if revision not in (0, row[-1]):
            raise StaleRevision("revision", "form", f"{_word(shape)} {identifier} has changed: it is at {row[-1]}")
        return row

    async def _replace(
        self,
        shape: Shape,
        old: Row,
        plain: Row,
        state: Row,
        value: T,
        deed: tuple[int, str, str, str],
        detail: audit.Detail,
    ) -> T:
        now_ms, by, action, reason = deed
        row = (*plain, *state, int(old[-1]) + 1)
        sets = ", ".join(f"{column} = ?" for column in shape.names())
        keys = " AND ".join(f"{column} = ?" for column in shape.key)
        await self._database.rows(f"UPDATE {shape.table} SET {sets} WHERE {keys}", (*row, *row[: len(shape.key)]))
        await self._note(shape, now_ms, by, action, value.id, reason, await self._owner_of(value), detail)
        replaced: T = shape.value(row)
        return replaced

    async def _owner_of(self, value: Resource) -> str:
        if isinstance(value, Provider):
            return value.id
        if not isinstance(value, Scenario):
            return value.provider
        user = await self._row(SHAPES[BusinessUser], value.business_user, "")
        return "" if user is None else str(user[1])

    async def _note(
        self,
        shape: Shape,
        now_ms: int,
        by: str,
        action: str,
        identifier: str,
        reason: str,
        owner: str,
        detail: audit.Detail,
    ) -> None:
        await audit.note(self._database, now_ms, by, action, shape.kind, identifier, reason, detail, provider=owner)

    async def _row(self, shape: Shape, identifier: str, provider: str) -> Row | None:
        conditions, values = [f"{column} = ?" for column in shape.key], [*_key(shape, identifier)]
        if provider:
            conditions.append(shape.own)
            values.append(provider)
        rows = await self._rows(shape, conditions, values)
        return rows[0] if rows else None

    async def _rows(
        self, shape: Shape, conditions: Sequence[str], values: Sequence[str | int], rest: str = ""
    ) -> Sequence[Row]:
        where = " AND ".join(conditions)
        return await self._database.rows(f"SELECT {shape.columns} FROM {shape.table} WHERE {where} {rest}", values)


_DEEDS = {State.ACTIVE: "resume", State.SUSPENDED: "suspend", State.TERMINATED: "terminate"}


def _word(shape: Shape) -> str:
    return shape.kind.replace("_", " ")


def _key(shape: Shape, identifier: str) -> tuple[str, ...]:
    return (identifier,) if len(shape.key) == 1 else scenario_key(identifier)
