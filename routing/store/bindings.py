"""Bindings in the binding store. Real numbers are in it only sealed; a lookup goes by the keyed hash of (number
dialled, caller)."""

from routing.binding import Binding, BindingRequest, admit, keys, requested_number
from routing.errors import BindingError
from routing.numbers import parse_middle
from routing.plan import PREFIX_DIGITS
from routing.store.blocks import block_at
from routing.store.database import Database
from routing.store.pages import check_page
from routing.store.reader import COLUMNS, Seal, binding_of

__all__ = ["Bindings"]

_HOLDERS = (
    "SELECT id FROM keys JOIN bindings ON number = binding WHERE key IN (?, ?) AND ended_ms = 0 AND expires_ms > ?"
)
_INSERT = (
    f"INSERT INTO bindings ({COLUMNS}, real_name, consent, created_ms)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING number"
)
_TAKE_KEYS = "INSERT INTO keys VALUES (?, ?), (?, ?) ON CONFLICT (key) DO UPDATE SET binding = excluded.binding"


class Bindings:
    """BindingError when the request is at fault, StoreError when the file is. `longest_days` bounds how long a binding
    may last."""

    def __init__(self, database: Database, longest_days: int) -> None:
        self._database = database
        self._longest_days = longest_days

    async def bind(self, request: BindingRequest, now_ms: int) -> Binding:
        """Admit a request, take its keys and return the binding (R1, R3, R5, R13, R16).

        A key is free when no binding holds it, or a dead one does; one that has yet to start holds it already.
        """
        x = requested_number(request)
        async with self._database.transaction():
            block = await block_at(self._database, x[:PREFIX_DIGITS])
            binding = admit(request, block, self._database.token(), now_ms, self._longest_days)
            one, other = (self._database.seal.hash(f"{dialled}|{caller}") for dialled, caller in keys(binding))
            for (holder,) in await self._database.rows(_HOLDERS, (one, other, now_ms)):
                raise BindingError("x", "key", f"binding {holder} holds this number for one of the parties")
            values = _values(binding, self._database.seal)
            ((number,),) = await self._database.rows(_INSERT, (*values, request.real_name, request.consent, now_ms))
            await self._database.rows(_TAKE_KEYS, (one, number, other, number))
        return binding

    async def list(self, after: str = "", limit: int = 100, x: str = "") -> tuple[Binding, ...]:
        """Return bindings, the newest first, of one middle number or of all.

        The next page begins `after` the id of the last binding of this one.
        """
        check_page(limit)
        middle = parse_middle(x) if x else ""
        if middle is None:
            raise BindingError("x", "R3", "a middle number is 700 and 12 digits")
        conditions, values = ["1"], list[str | int]()
        if middle:
            conditions, values = ["x = ?"], [middle]
        async with self._database.reading():
            if after:
                last = await self._database.rows("SELECT number FROM bindings WHERE id = ?", (after,))
                if not last:
                    raise BindingError("after", "form", "no such binding")
                conditions.append("number < ?")
                values.append(last[0][0])
            rows = await self._database.rows(
                f"SELECT {COLUMNS} FROM bindings WHERE {' AND '.join(conditions)} ORDER BY number DESC LIMIT ?",
                (*values, limit),
            )
            return tuple(binding_of(row, self._database.seal.open) for row in rows)

    async def get(self, identifier: str) -> Binding | None:
        """Return a binding by its id, live or not, or None."""
        async with self._database.reading():
            return await self._binding_row(identifier)

    async def end(self, identifier: str, now_ms: int) -> Binding:
        """End a binding from the next call on and return it; one that is dead already is returned as it is."""
        async with self._database.transaction():
            # 0 means "not ended", also on a clock that starts there.
            await self._database.rows(
                "UPDATE bindings SET ended_ms = ? WHERE id = ? AND ended_ms = 0 AND expires_ms > ?",
                (max(now_ms, 1), identifier, now_ms),
            )
            binding = await self._binding_row(identifier)
        if binding is None:
            raise BindingError("id", "form", "no such binding")
        return binding

    async def _binding_row(self, identifier: str) -> Binding | None:
        for row in await self._database.rows(f"SELECT {COLUMNS} FROM bindings WHERE id = ?", (identifier,)):
            return binding_of(row, self._database.seal.open)
        return None


def _values(binding: Binding, seal: Seal) -> tuple[str | int | bytes, ...]:
    return (
        binding.id,
        binding.mode.value,
        binding.x,
        binding.y,
        seal.seal(f"{binding.a}|{binding.b}"),
        binding.direction.value,
        binding.provider,
        binding.business_user,
        binding.scenario,
        binding.order_id,
        binding.industrial_id,
        binding.starts_ms,
        binding.expires_ms,
        binding.ended_ms,
        binding.ring_seconds,
        binding.longest_seconds,
    )
