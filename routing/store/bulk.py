"""Bindings from files into the store and back, however many: in batches, each of which is there whole or not at all.

An import that was cut off is simply run again: every line has a client token, its own or one made of what it asks for,
so what is bound already stays the one binding that it is.
"""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from typing import Final

from routing.admission import fingerprint_text
from routing.binding import BindingRequest, BindingState
from routing.bulk import Fault, FileFormat, Lines, export_header, export_line, row_of
from routing.errors import BindingError
from routing.numbers import mask_text
from routing.store.bindings import Bindings
from routing.store.pages import LONGEST_PAGE

__all__ = ["BATCH", "Import", "Tally", "exported"]

# Requests of one transaction: enough that its fsync costs nothing, few enough that others have their turn.
BATCH: Final = 500


@dataclass(frozen=True, slots=True)
class Tally:
    """How far an import has come: the last line that is settled, how many were bound (now or before), how many not."""

    line: int
    bound: int
    refused: int


class Import:
    """One file on its way in: `feed` it every line, then `close`.

    `source` names the file: the same line of the same file is the same binding, however often it is imported, and a
    line that stands twice counts once. `refused` is told of every line that is at fault, in order within a batch, and
    `progress` of every batch. `hash_` is the keyed hash of the store's seal. `provider` is whose bindings they are, ''
    where each line may say so. `clock` returns UTC milliseconds.

    StoreError from `feed` or `close`: the file is to be imported again. BindingError: it cannot be imported at all.
    """

    def __init__(
        self,
        bindings: Bindings,
        hash_: Callable[[str], bytes],
        form: FileFormat,
        *,
        by: str,
        source: str,
        clock: Callable[[], int],
        refused: Callable[[Fault], None],
        progress: Callable[[Tally], None] = lambda _: None,
        provider: str = "",
    ) -> None:
        self._bindings = bindings
        self._hash = hash_
        self._lines = Lines(form)
        self._by = by
        self._source = source
        self._clock = clock
        self._refused = refused
        self._progress = progress
        self._provider = provider
        self._waiting: list[tuple[int, BindingRequest]] = []
        self._faults: list[Fault] = []
        self.tally = Tally(0, 0, 0)
        self._line = 0

    async def feed(self, line: str) -> None:
        """Take the next line."""
        self._line += 1
        try:
            request = self._lines.read(line)
            if request is None:
                return
            self._waiting.append((self._line, self._own(request)))
        except BindingError as error:
            if error.field == "header":
                raise
            self._faults.append(_fault(self._line, error))
        if len(self._waiting) + len(self._faults) >= BATCH:
            await self._settle()

    async def close(self) -> Tally:
        """Settle what is left, and say how it went."""
        await self._settle()
        return self.tally

    async def _settle(self) -> None:
        answers = await self._bindings.bind_many([request for _, request in self._waiting], self._clock(), by=self._by)
        faults = self._faults + [
            _fault(line, answer)
            for (line, _), answer in zip(self._waiting, answers, strict=True)
            if isinstance(answer, BindingError)
        ]
        for fault in sorted(faults, key=lambda fault: fault.line):
            self._refused(fault)
        bound = len(answers) - (len(faults) - len(self._faults))
        self.tally = Tally(self._line, self.tally.bound + bound, self.tally.refused + len(faults))
        self._waiting, self._faults = [], []
        self._progress(self.tally)

    def _own(self, request: BindingRequest) -> BindingRequest:
        if self._provider:
            if request.provider not in ("", self._provider):
                raise BindingError("provider", "R6", "is another than yours")
            request = replace(request, provider=self._provider)
        if not request.client_token:
            digest = self._hash(f"import|{self._source}|{fingerprint_text(request)}")
            request = replace(request, client_token=f"import-{digest.hex()}")
        return request


async def exported(
    bindings: Bindings,
    form: FileFormat,
    now_ms: int,
    *,
    reveal: bool,
    x: str = "",
    order_id: str = "",
    business_user: str = "",
    provider: str = "",
    group: str = "",
    state: BindingState | None = None,
) -> AsyncIterator[str]:
    """The lines of a file of bindings, the newest first, a few hundred at a time. Real numbers in it are masked unless
    ``reveal``. What is bound meanwhile is not in it."""
    header = export_header(form)
    if header:
        yield header
    after = ""
    while True:
        page = await bindings.details(
            after,
            LONGEST_PAGE,
            x,
            order_id=order_id,
            business_user=business_user,
            provider=provider,
            group=group,
            state=state,
            now_ms=now_ms,
        )
        if page:
            yield "".join(export_line(row_of(detail, now_ms, reveal=reveal), form) for detail in page)
        if len(page) < LONGEST_PAGE:
            return
        after = page[-1].id


def _fault(line: int, error: BindingError) -> Fault:
    return Fault(line, mask_text(error.field), error.rule, mask_text(error.message))
