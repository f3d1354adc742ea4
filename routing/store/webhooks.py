"""Webhooks in the binding store: who is told, where, and with which secret. Secrets are in it only sealed."""

import base64
import os
import sqlite3
from collections.abc import Callable, Iterable
from typing import Any, Final

from routing.errors import BindingError, Conflict, NotFound, StaleRevision
from routing.store.audit import made_ms, note
from routing.store.database import Database
from routing.store.pages import check_page
from routing.store.reader import TROUBLE, absolute, check_fit, trouble
from routing.store.schema import VERSION
from routing.webhooks import MOST_WEBHOOKS, Subscription, Webhook, admit_events, admit_url, may_reveal

__all__ = ["SECRET_BYTES", "SECRET_PREFIX", "Subscribers", "Webhooks"]

SECRET_PREFIX: Final = "whsec_"
SECRET_BYTES: Final = 32
# A replaced secret goes on signing beside the new one for so long, unless told otherwise: a day to change it over.
OVERLAP_SECONDS: Final = 86_400
LONGEST_OVERLAP_SECONDS: Final = 30 * 86_400

_COLUMNS: Final = "id, provider, url, events, active, reveal, created_ms, changed_ms, old_until_ms, revision"


class Webhooks:
    """BindingError when the request is at fault, NotFound when there is no such webhook, StoreError when the file
    is."""

    def __init__(self, database: Database, random: Callable[[int], bytes]) -> None:
        """`random(n)` gives n unpredictable bytes: secrets are made of it."""
        self._database = database
        self._random = random

    async def add(
        self,
        provider: str,
        url: str,
        events: Iterable[str] = (),
        *,
        reveal: bool = False,
        active: bool = True,
        now_ms: int,
        by: str,
    ) -> tuple[Webhook, str]:
        """Make a webhook of a registered provider (R6); it and its secret, which is never shown again.

        Whoever calls sees to it that only an operator sets `reveal`.
        """
        admit_url(url)
        wanted = admit_events(events)
        _admit_reveal(url, reveal)
        identifier, secret = self._database.token(), self._new_secret()
        async with self._database.transaction():
            if not await self._database.rows("SELECT 1 FROM providers WHERE id = ?", (provider,)):
                raise BindingError("provider", "R6", "no such provider; register it first")
            ((number,),) = await self._database.rows("SELECT COUNT(*) FROM webhooks WHERE provider = ?", (provider,))
            if number >= MOST_WEBHOOKS:
                raise Conflict("provider", "form", f"has {number} webhooks, which is the most there may be")
            await self._database.rows(
                "INSERT INTO webhooks (id, provider, url, events, active, reveal, created_ms, changed_ms, secret)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    identifier, provider, url, " ".join(wanted), active, reveal, now_ms, now_ms,
                    self._sealed(identifier, secret),
                ),
            )  # fmt: skip
            await note(
                self._database,
                now_ms,
                by,
                "add",
                "webhook",
                identifier,
                detail=_detail(wanted, reveal),
                provider=provider,
            )
            webhook = await self._wanted(identifier)
        return webhook, secret

    async def list(self, after: str = "", limit: int = 100, provider: str = "") -> tuple[Webhook, ...]:
        """Webhooks of one provider or of all, the oldest first; the next page begins `after` the last id of this,
        which may have been removed meanwhile."""
        check_page(limit)
        async with self._database.reading():
            begin: int | None = 0
            if after:
                begin = await made_ms(self._database, "webhook", after, provider)
                if begin is None:
                    raise BindingError("after", "form", "no such webhook")
            rows = await self._database.rows(
                f"SELECT {_COLUMNS} FROM webhooks WHERE (created_ms, id) > (?, ?) AND (? = '' OR provider = ?)"
                " ORDER BY created_ms, id LIMIT ?",
                (begin, after, provider, provider, limit),
            )
            return tuple(webhook_of(row) for row in rows)

    async def get(self, identifier: str, provider: str = "") -> Webhook | None:
        """A webhook by its id; None when there is none, or it is not of this provider ('' asks of all)."""
        async with self._database.reading():
            return await self._webhook(identifier, provider)

    async def change(
        self,
        identifier: str,
        *,
        url: str | None = None,
        events: Iterable[str] | None = None,
        active: bool | None = None,
        reveal: bool | None = None,
        revision: int = 0,
        provider: str = "",
        now_ms: int,
        by: str,
    ) -> Webhook:
        """Change what is given, and return the webhook. StaleRevision when it is not at `revision` any more (0: any).

        Real numbers were allowed for the old address only: with another `url`, and no word on it, `reveal` ends.
        """
        async with self._database.transaction():
            old = await self._wanted(identifier, provider, revision)
            new_url = old.url if url is None else admit_url(url)
            kept = old.reveal and new_url == old.url
            new_reveal = kept if reveal is None else reveal
            _admit_reveal(new_url, new_reveal)
            wanted = old.events if events is None else admit_events(events)
            await self._database.rows(
                "UPDATE webhooks SET url = ?, events = ?, active = ?, reveal = ?, changed_ms = ?,"
                " revision = revision + 1 WHERE id = ?",
                (new_url, " ".join(wanted), old.active if active is None else active, new_reveal, now_ms, identifier),
            )
            detail = _detail(wanted, new_reveal)
            await note(
                self._database, now_ms, by, "change", "webhook", identifier, detail=detail, provider=old.provider
            )
            return await self._wanted(identifier)

    async def rotate(
        self,
        identifier: str,
        *,
        overlap_seconds: int = OVERLAP_SECONDS,
        provider: str = "",
        now_ms: int,
        by: str,
    ) -> tuple[Webhook, str]:
        """Give a webhook a new secret, and return it; the old one signs beside it for `overlap_seconds` (0: no more).

        A third one that was still good is not any more.
        """
        if not 0 <= overlap_seconds <= LONGEST_OVERLAP_SECONDS:
            raise BindingError("overlap_seconds", "form", f"must be from 0 to {LONGEST_OVERLAP_SECONDS}")
        secret = self._new_secret()
        async with self._database.transaction():
            owner = (await self._wanted(identifier, provider)).provider
            await self._database.rows(
                "UPDATE webhooks SET old_secret = secret, old_until_ms = ?, secret = ?, changed_ms = ?,"
                " revision = revision + 1 WHERE id = ?",
                (now_ms + overlap_seconds * 1000, self._sealed(identifier, secret), now_ms, identifier),
            )
            await note(self._database, now_ms, by, "rotate", "webhook", identifier, provider=owner)
            return await self._wanted(identifier), secret

    async def remove(self, identifier: str, *, provider: str = "", revision: int = 0, now_ms: int, by: str) -> None:
        """Remove a webhook; what was still to be told to it is dropped."""
        async with self._database.transaction():
            owner = (await self._wanted(identifier, provider, revision)).provider
            await self._database.rows("DELETE FROM webhooks WHERE id = ?", (identifier,))
            await note(self._database, now_ms, by, "remove", "webhook", identifier, provider=owner)

    async def secrets(self, identifier: str, now_ms: int) -> tuple[str, ...]:
        """The secrets that sign at this instant, the newest first; empty when there is no such webhook."""
        async with self._database.reading():
            rows = await self._database.rows(
                f"SELECT {_COLUMNS}, secret, old_secret FROM webhooks WHERE id = ?", (identifier,)
            )
            return self._good(rows[0], now_ms) if rows else ()

    async def signing(self, now_ms: int) -> tuple[tuple[Webhook, tuple[str, ...]], ...]:
        """Every active webhook, with the secrets that sign at this instant."""
        async with self._database.reading():
            rows = await self._database.rows(f"SELECT {_COLUMNS}, secret, old_secret FROM webhooks WHERE active = 1")
            return tuple((webhook_of(row[:-2]), self._good(row, now_ms)) for row in rows)

    async def _webhook(self, identifier: str, provider: str) -> Webhook | None:
        for row in await self._database.rows(
            f"SELECT {_COLUMNS} FROM webhooks WHERE id = ? AND (? = '' OR provider = ?)",
            (identifier, provider, provider),
        ):
            return webhook_of(row)
        return None

    async def _wanted(self, identifier: str, provider: str = "", revision: int = 0) -> Webhook:
        webhook = await self._webhook(identifier, provider)
        if webhook is None:
            raise NotFound("id", "form", "no such webhook")
        if revision not in (0, webhook.revision):
            raise StaleRevision("revision", "revision", "the webhook was changed meanwhile; read it again")
        return webhook

    def _new_secret(self) -> str:
        return SECRET_PREFIX + base64.b64encode(self._random(SECRET_BYTES)).decode()

    # The id is sealed with it: a secret that was moved to the row of another webhook is found out.
    def _sealed(self, identifier: str, secret: str) -> bytes:
        return self._database.seal.seal(f"{identifier}|{secret}")

    def _good(self, row: Any, now_ms: int) -> tuple[str, ...]:
        webhook = webhook_of(row[:-2])
        blobs = row[-2:] if now_ms < webhook.old_until_ms else row[-2:-1]
        return tuple(self._opened(webhook.id, blob) for blob in blobs)

    def _opened(self, identifier: str, blob: bytes) -> str:
        owner, _, secret = self._database.seal.open(blob).partition("|")
        if owner != identifier:
            raise ValueError("the secret of a webhook belongs to another one")
        return secret


class Subscribers:
    """Who is to be told, for the process that collects events: read-only, synchronous, from the file that writers fill.

    A webhook that is paused wants no events, but is there: what waits for it is kept. A file that is not there, or that
    nobody has brought to this program's schema yet, is an error: "no webhooks" would drop all that waits.
    """

    # Readers of a WAL file wait only while a crash is repaired.
    _PATIENCE_SECONDS: Final = 5.0

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = absolute(path)
        self._connection: sqlite3.Connection | None = None
        self._file = (0, 0)

    def read(self) -> tuple[Subscription, ...]:
        """The webhooks as of now. Raises StoreError when the file is at fault; may be asked again."""
        try:
            status = self._path.stat()
            if self._file != (status.st_dev, status.st_ino):
                self.close()
            connection = self._connection or self._connect()
            rows = connection.execute("SELECT id, provider, events, active FROM webhooks").fetchall()
        except TROUBLE as error:
            self.close()
            raise trouble(self._path, error) from error
        return tuple(Subscription(row[0], row[1], frozenset(row[2].split(" ") if row[3] else ())) for row in rows)

    def close(self) -> None:
        """Give back the file; a later read opens it again."""
        if self._connection is not None:
            self._connection.close()
        self._connection = None

    def _connect(self) -> sqlite3.Connection:
        status = self._path.stat()
        connection = sqlite3.connect(
            f"{self._path.as_uri()}?mode=ro", uri=True, isolation_level=None, timeout=self._PATIENCE_SECONDS
        )
        try:
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            (application,) = connection.execute("PRAGMA application_id").fetchone()
            check_fit(application, version)
            if version < VERSION:
                raise ValueError(f"is of version {version} yet; the next program that writes it brings it to {VERSION}")
        except BaseException:
            connection.close()
            raise
        self._connection, self._file = connection, (status.st_dev, status.st_ino)
        return connection


def webhook_of(row: Any) -> Webhook:
    """A row of the columns above."""
    identifier, provider, url, events, active, reveal, *rest = row
    return Webhook(identifier, provider, url, tuple(events.split(" ")), bool(active), bool(reveal), *rest)


def _admit_reveal(url: str, reveal: bool) -> None:
    if reveal and not may_reveal(url):
        raise BindingError("reveal", "R2", "real numbers go over https:// only")


def _detail(events: tuple[str, ...], reveal: bool) -> dict[str, object]:
    return {"events": list(events), "reveal": reveal}
