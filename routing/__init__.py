"""Pure decisions of the switch: numbers, blocks, bindings, trunks, and who may reach whom. No input or output here."""

from routing.binding import Binding, BindingRequest, Direction, Mode
from routing.decide import Query, Reason, Refusal, Route, decide
from routing.errors import BindingError, RoutingError, StoreError
from routing.plan import Block, BlockState, Plan
from routing.trunks import Peer, Trunk

__all__ = [
    "Binding",
    "BindingError",
    "BindingRequest",
    "Block",
    "BlockState",
    "Direction",
    "Mode",
    "Peer",
    "Plan",
    "Query",
    "Reason",
    "Refusal",
    "Route",
    "RoutingError",
    "StoreError",
    "Trunk",
    "decide",
]
