"""What the API is made of, put together by whoever starts it: settings, stores, the way to the switch, the clock."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from fastapi import Depends, Request

from cdr.seal import Seal
from routing.store.keys import KeyReader
from routing.store.sqlite import Store

__all__ = ["ApiSettings", "Asker", "Context", "Ctx", "SwitchUnavailable", "context_of"]

Asker = Callable[..., Awaitable[dict[str, object]]]
"""`await ask(command="calls")` says something to the running switch; SwitchUnavailable when there is none."""


class SwitchUnavailable(Exception):
    """No switch answers."""


@dataclass(frozen=True, slots=True)
class ApiSettings:
    """The settings `[api]`. `certificate` and `key` are both None, or both files; 0 of a rate is no limit."""

    requests_per_second: float = 0.0
    body_bytes: int = 1_048_576
    import_bytes: int = 1_073_741_824
    signature_required: bool = False
    replay_seconds: float = 300.0
    webhook_seconds: float = 10.0
    webhook_parallel: int = 8
    webhook_private: bool = False
    certificate: Path | None = None
    key: Path | None = None


@dataclass(frozen=True, slots=True)
class Context:
    """`store` is open and belongs to whoever made this; `keys` reads the same file. `records` is the directory of
    records, `imports` that of imports that wait, with sealed numbers. `clock` gives UTC milliseconds, `monotonic`
    seconds for rates; `started_ms` is when this process began to listen."""

    settings: ApiSettings
    store: Store
    keys: KeyReader
    records: Path
    imports: Path
    ask: Asker
    clock: Callable[[], int]
    monotonic: Callable[[], float]
    started_ms: int
    seal: Seal = field(repr=False)


async def context_of(request: Request) -> Context:
    """The context of the application that a request came to."""
    context = request.app.state.context
    assert isinstance(context, Context)
    return context


Ctx = Annotated[Context, Depends(context_of)]
"""A parameter of an endpoint that wants it."""
