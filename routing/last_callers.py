"""Who of a group called last on a binding: the one whom B reaches when he calls back (modes GXB and GXYB)."""

from collections.abc import Callable
from typing import Final

__all__ = ["LastCallers"]

# Bindings remembered besides what is written down; the others are asked of the file again. Some 300 bytes each.
MOST_REMEMBERED: Final = 100_000


def _nothing_stored(binding: str) -> str:
    return ""


class LastCallers:
    """The last callers of one switch, the newest in memory; ``stored(binding)`` is the one that was written down, ''
    where there is none, None while that cannot be read."""

    __slots__ = ("_changed", "_known", "_stored", "_underway")

    def __init__(self, stored: Callable[[str], str | None] = _nothing_stored) -> None:
        self._stored = stored
        self._known: dict[str, str] = {}
        self._changed: set[str] = set()
        self._underway: set[str] = set()

    def get(self, binding: str) -> str:
        """The member (E.164) who called last on this binding, '' when none has."""
        known = self._known.get(binding)
        if known is None:
            known = self._stored(binding)
            if known is None:
                return ""  # B reaches the default A meanwhile
            self._remember(binding, known)
        return known

    def note(self, binding: str, caller: str) -> None:
        """A member has called on this binding."""
        if self._known.get(binding) != caller:
            self._remember(binding, caller)
            self._changed.add(binding)

    def changes(self) -> list[tuple[str, str]]:
        """(binding, caller) of all that changed since the last call, to be written down; ``written`` when they are."""
        changes = [(binding, self._known[binding]) for binding in self._changed]
        self._underway |= self._changed
        self._changed = set()
        return changes

    def touch(self) -> None:
        """Have ``changes`` say everything once more: what was written down is lost."""
        self._changed = {binding for binding, caller in self._known.items() if caller}

    def written(self) -> None:
        """What ``changes`` returned last is where ``stored`` finds it."""
        self._underway = set()

    def __len__(self) -> int:
        return len(self._known)

    def _remember(self, binding: str, caller: str) -> None:
        if len(self._known) >= MOST_REMEMBERED and binding not in self._known:
            unwritten = self._changed | self._underway
            if 2 * len(unwritten) <= len(self._known):  # else nothing much would go, at each call anew
                self._known = {kept: self._known[kept] for kept in unwritten}
        self._known[binding] = caller
