"""Bindings in the binding store. Real numbers are in it only sealed; a lookup goes by the keyed hash of (number
dialled, caller)."""

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Final

from routing.admission import check_calls, check_duration
from routing.binding import Binding, BindingDetail, BindingRequest, BindingState, Direction, key_text, keys
from routing.errors import BindingError, Conflict, NotFound, StaleRevision
from routing.groups import party
from routing.ledger import Event
from routing.numbers import parse_middle
from routing.plan import BINDABLE, PREFIX_DIGITS
from routing.registry import Scenario, check_terms
from routing.store import audit, ledger
from routing.store.allocation import Allocator
from routing.store.batch import Batch
from routing.store.binding_rows import (
    DETAILS,
    detail_of,
    free_keys,
    hold_numbers,
    holders,
    parties_text,
    release_numbers,
    take_keys,
)
from routing.store.binding_search import Wanted, search
from routing.store.blocks import block_at
from routing.store.database import Database, Value
from routing.store.group_rows import groups_at
from routing.store.pages import check_page
from routing.store.registry_rows import SCENARIO_COLUMNS, scenario_of
from routing.store.standing import standing
from routing.terms import check_reference, check_seconds

__all__ = ["MOST_AT_ONCE", "Bindings"]

# Requests of one transaction: bounds how long other writers wait for their turn.
MOST_AT_ONCE: Final = 1000

# Above the number of every row.
ANY_NUMBER: Final = 2**63 - 1


class Bindings:
    """BindingError when the request is at fault, StoreError when the file is.

    `now_ms` is UTC. Whoever changes something says who he is (`by`). Where a `provider` is given, only what is that
    provider's is there (NotFound else); where a `revision` is given that is not the present one, StaleRevision.
    `longest_days` bounds how long any binding may last, a number that was bound rests `quarantine_ms` before it is
    allocated again, and `draw` returns random numbers in [0, 1).
    """

    def __init__(
        self,
        database: Database,
        longest_days: int,
        quarantine_ms: int = 0,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._database = database
        self._longest_days = longest_days
        self._allocator = Allocator(database, quarantine_ms, draw)

    async def bind(self, request: BindingRequest, now_ms: int, *, by: str) -> Binding:
        """Admit a request, take its keys and return the binding (R1, R3, R5, R6, R7, R13, R16, R17).

        A key is free when no binding holds it, or a dead one does; one that has yet to start holds it already. Where
        the client token was used before for the same request, that binding is returned, whatever became of it.
        """
        (answer,) = await self.bind_many((request,), now_ms, by=by)
        if isinstance(answer, BindingError):
            raise answer
        return answer

    async def bind_many(
        self, requests: Sequence[BindingRequest], now_ms: int, *, by: str
    ) -> tuple[Binding | BindingError, ...]:
        """Do as `bind` for each of many requests, in one transaction; return for each its binding or what is wrong."""
        if len(requests) > MOST_AT_ONCE:
            raise BindingError("bindings", "form", f"are more than {MOST_AT_ONCE} at once")
        answers: list[Binding | BindingError] = []
        async with self._database.transaction():
            for part in _apart(requests):
                batch = Batch(self._database, self._allocator, self._longest_days, part, now_ms)
                answers += await batch.bind(by)
        return tuple(answers)

    async def extend(
        self, identifier: str, expires_ms: int, now_ms: int, *, by: str, provider: str = "", revision: int = 0
    ) -> Binding:
        """Let a binding that has not ended last longer (R7); its longest life counts from its start (R17)."""
        async with self._database.transaction():
            number, detail = await self._standing_row(identifier, now_ms, provider, revision)
            old = detail.binding
            scenario = await self._standing(old, now_ms)
            if expires_ms <= old.expires_ms:
                raise BindingError("expires_ms", "form", "must be later than it is; to shorten, end the binding")
            check_duration(old.starts_ms, expires_ms, now_ms, self._longest_days)
            new = replace(old, expires_ms=expires_ms)
            _check_terms(scenario, new)
            await self._change(number, {"expires_ms": expires_ms})
            await hold_numbers(self._database, (new,))
            await ledger.note(self._database, now_ms, by, Event.EXTENDED, (new,))
            await self._note(now_ms, by, "extend", new, detail={"expires_ms": [old.expires_ms, expires_ms]})
        return new

    async def end(
        self, identifier: str, now_ms: int, *, by: str, reason: str = "", provider: str = "", revision: int = 0
    ) -> Binding:
        """End a binding from the next call on and return it; one that is dead already is returned as it is."""
        audit.check_reason(reason, required=False)
        async with self._database.transaction():
            number, detail = await self._row(identifier, provider, revision)
            if not detail.binding.held(now_ms):
                return detail.binding
            # 0 means "not ended", also on a clock that starts there.
            new = replace(detail.binding, ended_ms=max(now_ms, 1))
            await self._change(number, {"ended_ms": new.ended_ms, "ended_reason": reason})
            await release_numbers(self._database, new, now_ms)
            await ledger.note(self._database, now_ms, by, Event.ENDED, (new,), reason)
            await self._note(now_ms, by, "end", new, reason)
        return new

    async def change_party(
        self,
        identifier: str,
        now_ms: int,
        *,
        a: str = "",
        b: str = "",
        real_name: str,
        consent: str,
        by: str,
        provider: str = "",
        revision: int = 0,
    ) -> Binding:
        """Put somebody else in the place of A, of B or of both, with new references (R16); keys follow at once.

        Of a binding of a group, A is the default one and must be a member.
        """
        for field, text in (("real_name", real_name), ("consent", consent)):
            if not text.strip():
                raise BindingError(field, "R16", "must be given")
            check_reference(field, text)
        async with self._database.transaction():
            number, detail = await self._standing_row(identifier, now_ms, provider, revision)
            old = detail.binding
            new = replace(old, a=party("a", a) if a else old.a, b=party("b", b) if b else old.b)
            if new == old:
                raise BindingError("a", "form", "neither party is another one")
            if new.a == new.b:
                raise BindingError("b", "key", "the two parties are the same number")
            await self._standing(old, now_ms)
            members = await self._members(new)
            await self._swap_keys(number, keys(old, members), keys(new, members), now_ms)
            sealed = self._database.seal.seal(parties_text(new))
            await self._change(number, {"parties": sealed, "real_name": real_name, "consent": consent})
            await ledger.note(self._database, now_ms, by, Event.CHANGED, (new,), parties=(sealed,))
            changed = [field for field, was, now in (("a", old.a, new.a), ("b", old.b, new.b)) if was != now]
            await self._note(now_ms, by, "change party", new, detail={"parties": changed})
        return new

    async def change(
        self,
        identifier: str,
        now_ms: int,
        *,
        direction: Direction | None = None,
        ring_seconds: int | None = None,
        longest_seconds: int | None = None,
        most_calls: int | None = None,
        by: str,
        provider: str = "",
        revision: int = 0,
    ) -> Binding:
        """Change the direction or the limits of a binding that has not ended; None leaves a thing as it is.

        What gives more than there was is a new right, and needs everybody in order (R7).
        """
        async with self._database.transaction():
            number, detail = await self._standing_row(identifier, now_ms, provider, revision)
            old = detail.binding
            new = replace(
                old,
                direction=old.direction if direction is None else direction,
                ring_seconds=old.ring_seconds if ring_seconds is None else ring_seconds,
                longest_seconds=old.longest_seconds if longest_seconds is None else longest_seconds,
                most_calls=old.most_calls if most_calls is None else most_calls,
            )
            check_seconds(new.ring_seconds, new.longest_seconds)
            check_calls(new.most_calls)
            wider = _gives_more(old, new)
            scenario = await self._standing(old, now_ms) if wider else await self._scenario(old)
            if scenario is not None:
                _check_terms(scenario, new)
            if new == old:
                return old
            values: dict[str, Value] = {
                "direction": new.direction.value,
                "ring_seconds": new.ring_seconds,
                "longest_seconds": new.longest_seconds,
                "most_calls": new.most_calls,
            }
            await self._change(number, values)
            differing = {
                field: [str(getattr(old, field)), str(getattr(new, field))]
                for field in values
                if getattr(old, field) != getattr(new, field)
            }
            await self._note(now_ms, by, "change", new, detail=differing)
        return new

    async def get(self, identifier: str, provider: str = "") -> Binding | None:
        """Return a binding by its id, live or not, or None."""
        detail = await self.detail(identifier, provider)
        return None if detail is None else detail.binding

    async def detail(self, identifier: str, provider: str = "") -> BindingDetail | None:
        """Return a binding by its id with all that is kept of it, or None."""
        async with self._database.reading():
            found = await self._find(identifier, provider)
        return None if found is None else found[1]

    async def list(
        self,
        after: str = "",
        limit: int = 100,
        x: str = "",
        *,
        order_id: str = "",
        business_user: str = "",
        provider: str = "",
        group: str = "",
        state: BindingState | None = None,
        now_ms: int = 0,
    ) -> tuple[Binding, ...]:
        """Return bindings, the newest first: all, or those of a middle number (as X or Y), of an order, and so on.

        `state` is the one at `now_ms`. The next page begins `after` the id of the last binding of this one.
        """
        found = await self.details(
            after,
            limit,
            x,
            order_id=order_id,
            business_user=business_user,
            provider=provider,
            group=group,
            state=state,
            now_ms=now_ms,
        )
        return tuple(detail.binding for detail in found)

    async def details(
        self,
        after: str = "",
        limit: int = 100,
        x: str = "",
        *,
        order_id: str = "",
        business_user: str = "",
        provider: str = "",
        group: str = "",
        state: BindingState | None = None,
        now_ms: int = 0,
    ) -> tuple[BindingDetail, ...]:
        """Do as `list`, with all that is kept of each."""
        check_page(limit)
        middle = parse_middle(x) if x else ""
        if middle is None:
            raise BindingError("x", "R3", "a middle number is 700 and 12 digits")
        before = ANY_NUMBER
        if after:
            async with self._database.reading():
                last = await self._find(after, provider)
            if last is None:
                raise BindingError("after", "form", "no such binding")
            before = last[0]
        wanted = Wanted(middle, order_id, group, business_user, provider, state, now_ms)
        return tuple(await search(self._database, wanted, before, limit))

    # within a turn

    async def _find(self, identifier: str, provider: str) -> tuple[int, BindingDetail] | None:
        sql = f"{DETAILS} FROM bindings WHERE id = ? AND (? = '' OR provider = ?)"
        for row in await self._database.rows(sql, (identifier, provider, provider)):
            return row[0], detail_of(row, self._database.seal.open)
        return None

    async def _row(self, identifier: str, provider: str, revision: int) -> tuple[int, BindingDetail]:
        found = await self._find(identifier, provider)
        if found is None:
            raise NotFound("id", "form", "no such binding")
        if revision not in (0, found[1].revision):
            raise StaleRevision("revision", "form", f"the binding has changed: it is at {found[1].revision}")
        return found

    async def _standing_row(
        self, identifier: str, now_ms: int, provider: str, revision: int
    ) -> tuple[int, BindingDetail]:
        found = await self._row(identifier, provider, revision)
        if not found[1].binding.held(now_ms):
            raise Conflict("id", "ended", f"the binding is {found[1].binding.state(now_ms)} and cannot be changed")
        return found

    async def _standing(self, binding: Binding, now_ms: int) -> Scenario:
        """What a new right needs besides its request: everybody in order (R6, R7, R17), its blocks too (R18)."""
        for x in (binding.x, binding.y):
            block = await block_at(self._database, x[:PREFIX_DIGITS]) if x else None
            if block is not None and block.state not in BINDABLE:
                raise BindingError("x" if x == binding.x else "y", "R18", f"block {block.prefix} is {block.state}")
        return await standing(self._database, binding.provider, binding.business_user, binding.scenario, now_ms)

    async def _scenario(self, binding: Binding) -> Scenario | None:
        """The scenario of a binding, in whatever state: what it says of terms holds all the same (R17)."""
        sql = f"SELECT {SCENARIO_COLUMNS} FROM scenarios WHERE business_user = ? AND name = ?"
        for row in await self._database.rows(sql, (binding.business_user, binding.scenario)):
            return scenario_of(row)
        return None

    async def _members(self, binding: Binding) -> Sequence[str]:
        if not binding.group:
            return ()
        group = (await groups_at(self._database, (binding.group,)))[binding.group]
        if binding.a not in group.members:
            raise BindingError("a", "member", "is no member of the group")
        if binding.b in group.members:
            raise BindingError("b", "key", "is a member of the group")
        return group.members

    async def _swap_keys(
        self, number: int, old: Iterable[tuple[str, str]], new: Iterable[tuple[str, str]], now_ms: int
    ) -> None:
        hash_ = self._database.seal.hash
        before = {hash_(key_text(*key)) for key in old}
        after = {hash_(key_text(*key)) for key in new}
        held = await holders(self._database, list(after - before), now_ms)
        for holder in held.values():
            raise Conflict("x", "key", f"binding {holder} holds this number for one of the parties")
        await free_keys(self._database, ((key, number) for key in before - after))
        await take_keys(self._database, ((key, number) for key in after - before))

    async def _change(self, number: int, values: dict[str, Value]) -> None:
        sets = ", ".join(f"{column} = ?" for column in values)
        sql = f"UPDATE bindings SET {sets}, revision = revision + 1 WHERE number = ?"
        await self._database.many(sql, [(*values.values(), number)])

    async def _note(
        self, now_ms: int, by: str, action: str, binding: Binding, reason: str = "", detail: audit.Detail | None = None
    ) -> None:
        await audit.note(
            self._database, now_ms, by, action, "binding", binding.id, reason, detail, provider=binding.provider
        )


def _apart(requests: Sequence[BindingRequest]) -> Iterator[Sequence[BindingRequest]]:
    """Cut a row of requests where a client token comes again."""
    start = 0
    tokens: set[str] = set()
    for index, request in enumerate(requests):
        if request.client_token in tokens:
            yield requests[start:index]
            start, tokens = index, set()
        if request.client_token:
            tokens.add(request.client_token)
    yield requests[start:]


def _gives_more(old: Binding, new: Binding) -> bool:
    if new.direction is not old.direction and old.direction is not Direction.BOTH:
        return True
    if old.most_calls and not 0 < new.most_calls <= old.most_calls:
        return True
    # 0 seconds are as the switch is set: what that is, or that it is more, nobody knows here
    return any(
        asked != was and not 0 < asked < was
        for was, asked in (
            (old.ring_seconds, new.ring_seconds),
            (old.longest_seconds, new.longest_seconds),
        )
    )


def _check_terms(scenario: Scenario, binding: Binding) -> None:
    check_terms(
        scenario,
        binding.direction,
        binding.starts_ms,
        binding.expires_ms,
        binding.ring_seconds,
        binding.longest_seconds,
    )
