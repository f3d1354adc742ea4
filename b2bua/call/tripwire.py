"""The tripwire: the last look at a datagram before it leaves, below every builder (rule R2)."""

from b2bua.call.courier import Side
from b2bua.call.leg import Leg
from b2bua.call.privacy import reveals
from b2bua.call.statistics import Statistics
from b2bua.sip.transaction import Flow, Transaction

__all__ = ["Tripwire"]


class Tripwire:
    """Stops what would tell a peer the number it must never see. ``tripped``: the legs that it happened on, or the
    sides of messages, for the switch to end their calls and them."""

    __slots__ = ("_statistics", "tripped")

    def __init__(self, statistics: Statistics) -> None:
        self._statistics = statistics
        self.tripped: list[Leg | Side] = []

    def passes(self, wire: bytes, flow: Flow, sender: object) -> bool:
        """Whether this datagram may leave; the gate of the endpoint."""
        transaction = sender if isinstance(sender, Transaction) else None
        owner = sender if transaction is None else transaction.owner
        if not isinstance(owner, Leg):
            return not isinstance(owner, Side) or self._passes_side(wire, owner, transaction)
        forbidden = owner.forbidden
        if not forbidden or forbidden not in wire:
            return True
        echo = () if transaction is None else transaction.echo
        if not reveals(wire, forbidden, (*owner.peer_texts(), *echo)):
            return True
        self._statistics.tripwire += 1
        self.tripped.append(owner)
        if transaction is not None:
            transaction.wire = None  # not to be tried again
        return False

    def _passes_side(self, wire: bytes, side: Side, transaction: Transaction | None) -> bool:
        """The same for a message, whose body may spell digits in other ways."""
        forbidden = side.forbidden
        echo = () if transaction is None else transaction.echo
        told = forbidden in wire and reveals(wire, forbidden, (*side.own, *echo))
        if not told and not any(spelling in wire for spelling in side.hidden):
            return True
        self._statistics.tripwire += 1
        self.tripped.append(side)
        if transaction is not None:
            transaction.wire = None
        return False
