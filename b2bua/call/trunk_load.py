"""What each trunk carries, against its own limits: legs at one time, and new calls a second in each direction."""

from collections.abc import Iterable

from b2bua.call.admission import TokenBucket
from routing.trunks import Trunk

__all__ = ["TrunkLoad"]


class TrunkLoad:
    """All trunks, former ones too while calls go on over them. ``legs``: up or being set up, by name. Times are
    monotonic seconds."""

    __slots__ = ("_rates_in", "_rates_out", "legs")

    def __init__(self, trunks: Iterable[Trunk]) -> None:
        self.legs: dict[str, int] = {}
        # by direction, so that a flood from a trunk does not keep calls to it away
        self._rates_in: dict[str, TokenBucket] = {}
        self._rates_out: dict[str, TokenBucket] = {}
        self.renew(trunks, 0.0)

    def renew(self, trunks: Iterable[Trunk], now: float) -> None:
        """Take the limits of new settings; what was counted stays counted."""
        for trunk in trunks:
            for rates in (self._rates_in, self._rates_out):
                if trunk.name in rates:
                    rates[trunk.name].change(trunk.calls_per_second, trunk.calls_per_second, now)
                else:
                    rates[trunk.name] = TokenBucket(trunk.calls_per_second, trunk.calls_per_second)
            self.legs.setdefault(trunk.name, 0)

    def forget(self, name: str) -> None:
        """This trunk is gone, and the last call over it."""
        self._rates_in.pop(name, None)
        self._rates_out.pop(name, None)
        self.legs.pop(name, None)

    def full(self, trunk: Trunk) -> bool:
        """Whether it carries as many legs as it may."""
        return trunk.max_calls != 0 and self.legs[trunk.name] >= trunk.max_calls

    def take_in(self, trunk: Trunk, now: float) -> bool:
        """Whether one more call may come from there now; it counts."""
        return self._rates_in[trunk.name].take(now)

    def take_out(self, trunk: Trunk, now: float) -> bool:
        """Whether one more call may go there now; it counts."""
        return self._rates_out[trunk.name].take(now)
