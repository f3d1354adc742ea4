"""A batch of requests on its way into the binding store: few statements for all of them, one answer for each."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from routing.admission import admit, check_references, fingerprint_text, numbers_asked
from routing.binding import OF_GROUPS, TWO_ALIASES, Binding, BindingRequest, key_text, keys
from routing.errors import BindingError, Conflict
from routing.groups import Group
from routing.ledger import Event
from routing.plan import PREFIX_DIGITS, Block
from routing.registry import Scenario, check_terms
from routing.store import audit, ledger
from routing.store.allocation import Allocator
from routing.store.binding_rows import hold_numbers, holders, in_parts, insert, parties_text, take_keys
from routing.store.database import Database
from routing.store.group_rows import groups_at
from routing.store.reader import BLOCKS, COLUMNS, binding_of, block_of
from routing.store.standing import standing

__all__ = ["Batch"]

Answer = Binding | BindingError
Standing = Mapping[tuple[str, str, str], Scenario | BindingError]


@dataclass(frozen=True, slots=True)
class _Known:
    """What a client's token was used for."""

    binding: Binding
    fingerprint: bytes


class Batch:
    """Requests and what has become of each so far. To be used once, within one transaction. No two of them have the
    same client token: whether the second is a repetition depends on what becomes of the first."""

    def __init__(
        self,
        database: Database,
        allocator: Allocator,
        longest_days: int,
        requests: Sequence[BindingRequest],
        now_ms: int,
    ) -> None:
        self._database = database
        self._allocator = allocator
        self._longest_days = longest_days
        self._requests = list(requests)
        self._now_ms = now_ms
        self._answers: list[Answer | None] = [None] * len(requests)
        self._fingerprints: list[bytes] = [b""] * len(requests)

    async def bind(self, by: str) -> tuple[Answer, ...]:
        """Answer every request: its binding, or why there is none."""
        audit.check_by(by)
        self._each(lambda index: _check(self._requests[index]))
        await self._recognise()
        standings = await self._standings()
        await self._allocate()
        blocks = await self._blocks()
        wanted = {request.group for request in self._open_requests() if request.mode in OF_GROUPS}
        groups = await groups_at(self._database, wanted)
        made: dict[int, Binding] = {}

        def make(index: int) -> None:
            request = self._requests[index]
            token = self._database.token()
            group = groups.get(request.group)
            binding = admit(request, blocks, token, self._now_ms, self._longest_days, group)
            check_terms(
                _scenario(standings, request),
                binding.direction,
                binding.starts_ms,
                binding.expires_ms,
                binding.ring_seconds,
                binding.longest_seconds,
            )
            made[index] = binding

        self._each(make)
        taken = await self._take(made, groups)
        if made:
            await self._write(made, taken, by)
        return tuple(answer for answer in self._answers if answer is not None)

    # who is left

    def _open(self) -> Iterable[int]:
        return (index for index, answer in enumerate(self._answers) if answer is None)

    def _open_requests(self) -> Iterable[BindingRequest]:
        return (self._requests[index] for index in self._open())

    def _each(self, work: Callable[[int], object]) -> None:
        """Do something with every request that has no answer yet; what it raises is the answer."""
        for index in list(self._open()):
            try:
                work(index)
            except BindingError as error:
                self._answers[index] = error

    # steps

    async def _recognise(self) -> None:
        """Answer requests whose client token was used before."""
        marked = [index for index in self._open() if self._requests[index].client_token]
        if not marked:
            return
        users = {self._requests[index].business_user for index in marked}
        owners = dict(
            await in_parts(self._database, "SELECT id, provider FROM business_users WHERE id IN ({})", list(users))
        )
        own: dict[int, tuple[str, str]] = {}
        for index in marked:
            request = self._requests[index]
            own[index] = (request.provider or owners.get(request.business_user, ""), request.client_token)
            self._fingerprints[index] = self._database.seal.hash(fingerprint_text(request))
        known = await self._known(own.values())
        for index, key in own.items():
            if key in known:
                same = known[key].fingerprint == self._fingerprints[index]
                self._answers[index] = known[key].binding if same else _token_used()

    async def _known(self, uses: Iterable[tuple[str, str]]) -> Mapping[tuple[str, str], _Known]:
        tokens: dict[str, list[str]] = {}
        for provider, token in uses:
            tokens.setdefault(provider, []).append(token)
        found = {}
        for provider, own in tokens.items():
            sql = (
                f"SELECT client_token, fingerprint, {COLUMNS} FROM bindings"
                " WHERE client_token <> '' AND client_token IN ({}) AND provider = ?"
            )
            for token, fingerprint, *row in await in_parts(self._database, sql, own, provider):
                found[provider, token] = _Known(binding_of(row, self._database.seal.open), fingerprint)
        return found

    async def _standings(self) -> Standing:
        """Ask the registry once for each combination, and answer those it refuses."""
        found: dict[tuple[str, str, str], Scenario | BindingError] = {}
        for request in self._open_requests():
            key = _standing_key(request)
            if key not in found:
                try:
                    found[key] = await standing(self._database, *key, self._now_ms)
                except BindingError as error:
                    found[key] = error
        self._each(lambda index: _scenario(found, self._requests[index]))
        return found

    async def _allocate(self) -> None:
        """Give a number to those who named none."""
        avoid: set[str] = set()
        needy: dict[str, list[tuple[int, str]]] = {}
        for index in self._open():
            request = self._requests[index]
            x, y = numbers_asked(request)
            avoid |= {x, y}
            fields = ["x"] if not x else []
            if request.mode in TWO_ALIASES and not y:
                fields.append("y")
            if fields:
                needy.setdefault(request.business_user, []).extend((index, field) for field in fields)
        for business_user, places in needy.items():
            drawn = await self._allocator.draw(business_user, len(places), self._now_ms, avoid)
            for (index, field), number in zip(places, drawn, strict=False):
                request = self._requests[index]
                self._requests[index] = replace(request, x=number) if field == "x" else replace(request, y=number)
            for index, field in places[len(drawn) :]:
                self._answers[index] = Conflict(
                    field, "none_free", "no number is free in the active blocks of the business user"
                )

    async def _blocks(self) -> Callable[[str], Block | None]:
        prefixes = {x[:PREFIX_DIGITS] for request in self._open_requests() for x in numbers_asked(request) if x}
        rows = await in_parts(self._database, f"{BLOCKS} WHERE prefix IN ({{}})", list(prefixes))
        found = {block.prefix: block for block in map(block_of, rows)}
        return lambda x: found.get(x[:PREFIX_DIGITS])

    async def _take(self, made: dict[int, Binding], groups: Mapping[str, Group]) -> Mapping[int, Sequence[bytes]]:
        """Check that every key is free, in the store and within the batch; those whose is not are answered and taken
        out of ``made``."""
        hash_ = self._database.seal.hash
        asked = {
            index: [
                hash_(key_text(*key)) for key in keys(binding, groups[binding.group].members if binding.group else ())
            ]
            for index, binding in made.items()
        }
        held = dict(await holders(self._database, [key for own in asked.values() for key in own], self._now_ms))
        for index, own in asked.items():
            holder = next((held[key] for key in own if key in held), "")
            if holder:
                self._answers[index] = Conflict(
                    "x", "key", f"binding {holder} holds this number for one of the parties"
                )
                del made[index]
            else:
                held |= dict.fromkeys(own, made[index].id)
        return asked

    async def _write(self, made: Mapping[int, Binding], asked: Mapping[int, Sequence[bytes]], by: str) -> None:
        database, now_ms = self._database, self._now_ms
        rows = [
            (binding, self._requests[index], database.seal.seal(parties_text(binding)), self._fingerprints[index])
            for index, binding in made.items()
        ]
        first = await insert(database, rows, now_ms)
        await take_keys(database, ((key, first + offset) for offset, index in enumerate(made) for key in asked[index]))
        bound = tuple(made.values())
        await hold_numbers(database, bound)
        await ledger.note(database, now_ms, by, Event.BOUND, bound, parties=[parties for _, _, parties, _ in rows])
        await self._note(bound, by)
        for index, binding in made.items():
            self._answers[index] = binding

    async def _note(self, bound: Sequence[Binding], by: str) -> None:
        """One row of the audit for each provider; the ledger names every binding."""
        for provider in sorted({binding.provider for binding in bound}):
            own = [binding.id for binding in bound if binding.provider == provider]
            detail = {"bindings": len(own), "last": own[-1]} if len(own) > 1 else None
            await audit.note(self._database, self._now_ms, by, "bind", "binding", own[0], "", detail, provider=provider)


def _check(request: BindingRequest) -> None:
    """What can be said without the store, and must be before it is asked."""
    numbers_asked(request)
    check_references(request)


def _standing_key(request: BindingRequest) -> tuple[str, str, str]:
    return request.provider, request.business_user, request.scenario


def _scenario(standings: Standing, request: BindingRequest) -> Scenario:
    found = standings[_standing_key(request)]
    if isinstance(found, BindingError):
        raise found
    return found


def _token_used() -> Conflict:
    return Conflict("client_token", "token", "was used for another request")
