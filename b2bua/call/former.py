"""Trunks that a reload took away or changed, while calls that began before go on over them.

Their sources stay known to the switch for what belongs to those calls: a BYE from a carrier that is gone from the
settings still ends its call. Nothing new is taken from there.
"""

from collections.abc import Callable, Iterable, Mapping

from b2bua.sip.timers import Timer
from routing.trunks import Sources, Trunk

__all__ = ["FormerTrunks"]


class FormerTrunks(Timer):
    """What one reload took away; ``calls`` are the handles of the calls that still need it. Fires ``forget`` when it
    is not needed any more. ``resolved``: the addresses that DNS had for peers, by trunk."""

    __slots__ = ("_forget", "calls", "sources", "trunks")

    def __init__(
        self,
        trunks: Iterable[Trunk],
        calls: set[int],
        forget: Callable[["FormerTrunks"], None],
        resolved: Mapping[str, Iterable[tuple[str, int]]] | None = None,
    ) -> None:
        super().__init__()
        self.trunks = tuple(trunks)
        self.sources = Sources(self.trunks, resolved)
        self.calls = calls
        self._forget = forget

    def fire(self, now: float) -> None:
        """The last messages of the last call have had their time."""
        self._forget(self)
