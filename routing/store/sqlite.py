"""The binding store as writers see it: blocks and bindings in one SQLite file. The switch reads with reader.py."""

import os
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Self

from routing.binding import LONGEST_DAYS
from routing.errors import BindingError, StoreError
from routing.store.answers import Answers
from routing.store.audit import Audit
from routing.store.bindings import Bindings
from routing.store.blocklist import Blocklist
from routing.store.blocks import Blocks
from routing.store.credit import Credit
from routing.store.database import Database
from routing.store.groups import Groups
from routing.store.imports import Imports
from routing.store.keys import Keys
from routing.store.ledger import Ledger
from routing.store.numbers import Numbers
from routing.store.reader import Seal
from routing.store.registry import Registry
from routing.store.webhooks import Webhooks

__all__ = ["BindingError", "Seal", "Store", "StoreError"]


def new_token() -> str:
    """An id that nobody can guess. Those made at about the same time begin alike, which keeps indexes quick."""
    return f"{time.time_ns() // 1_000_000:012x}{os.urandom(6).hex()}"


class Store:
    """One file with all its tables. One object may be shared by the tasks of one event loop.

    What its parts do raises BindingError when the request is at fault and StoreError when the file is.
    """

    def __init__(self, database: Database, longest_days: int, quarantine_ms: int) -> None:
        self._database = database
        self.answers = Answers(database)
        self.keys = Keys(database)
        self.registry = Registry(database)
        self.blocks = Blocks(database, quarantine_ms)
        self.blocklist = Blocklist(database)
        self.credit = Credit(database)
        self.audit = Audit(database)
        self.ledger = Ledger(database)
        self.bindings = Bindings(database, longest_days, quarantine_ms)
        self.groups = Groups(database)
        self.numbers = Numbers(database, quarantine_ms)
        self.imports = Imports(database, self.bindings)
        self.webhooks = Webhooks(database, os.urandom)

    @classmethod
    async def open(
        cls,
        path: str | os.PathLike[str],
        seal: Seal,
        *,
        longest_days: int = LONGEST_DAYS,
        quarantine_ms: int = 0,
        token: Callable[[], str] = new_token,
    ) -> Self:
        """Open the file, creating it or bringing it to the newest schema; its directory must exist.

        `longest_days` bounds how long a binding may last, and a number that was bound is not allocated again for
        `quarantine_ms`; `token` makes ids.
        """
        return cls(await Database.open(path, seal, token), longest_days, quarantine_ms)

    def transaction(self) -> AbstractAsyncContextManager[None]:
        """Several changes of any parts as one: all of them or, on any exception, none."""
        return self._database.transaction()

    async def close(self) -> None:
        """Close the file."""
        await self._database.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
