"""What the command line has the running switch do to one call or message, with its rows in the audit."""

import asyncio

from b2bua.app.cli_common import now_ms, who
from b2bua.app.config import Settings
from b2bua.app.control import ask
from b2bua.app.storage import binding_store

__all__ = ["ask_noted"]


def ask_noted(
    settings: Settings, command: str, kind: str, identifier: str, words: tuple[str, str, str]
) -> dict[str, object]:
    """Ask the switch; what it answers, nothing when it has no such thing. `words` name the deed in the audit: before it
    is asked, when it was done, and when it was not. NoSwitch, StoreError: without the first row nothing is done."""
    path = settings.ops.control_socket
    asked, done, undone = words
    listed = ask(path, command=f"{kind}s", id=identifier, limit=1).get(f"{kind}s")
    found = [each for each in listed if each.get("id") == identifier] if isinstance(listed, list) else []
    if not found:
        return {}
    whose = str(found[0].get("provider", ""))

    async def note(action: str) -> None:
        async with binding_store(settings) as store:
            await store.audit.note(now_ms(), who(), action, kind, identifier, provider=whose)

    asyncio.run(note(asked))
    answer = ask(path, command=command, id=identifier)
    asyncio.run(note(done if answer.get("ok") is True else undone))
    return answer
