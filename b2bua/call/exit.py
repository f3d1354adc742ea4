"""Where calls leave: whether one more may go to a trunk, and the INVITE that takes it there."""

from b2bua.call.call import Call
from b2bua.call.callee import CalleeLeg
from b2bua.call.credentials import Accounts
from b2bua.call.leg import ALLOW, Signalling
from b2bua.call.listeners import Listeners
from b2bua.call.privacy import invitation
from b2bua.call.reliable import NEVER, OFFERED, REQUIRED
from b2bua.call.trunk_load import TrunkLoad
from b2bua.call.trunk_state import TargetState, TrunkStates
from b2bua.sip.transaction import Flow
from routing.targets import Target
from routing.trunks import Reliable

__all__ = ["Exit"]

RELIABILITY = {Reliable.OFF: NEVER, Reliable.SUPPORTED: OFFERED, Reliable.REQUIRED: REQUIRED}


class Exit:
    """The way from a call to its callee's trunk."""

    __slots__ = ("_accounts", "_listeners", "_signalling", "_states", "_trunk_load")

    def __init__(
        self,
        signalling: Signalling,
        listeners: Listeners,
        states: TrunkStates,
        trunk_load: TrunkLoad,
        accounts: Accounts,
    ) -> None:
        self._signalling = signalling
        self._listeners = listeners
        self._states = states
        self._trunk_load = trunk_load
        self._accounts = accounts

    def flow_to(self, target: Target) -> Flow:
        """How to reach a target."""
        return self._listeners.flow_to(target.transport, target.host, target.port)

    def barred(self, state: TargetState) -> str:
        """Why no further call may leave there, '' when one may."""
        if not self._states.current(state):
            return "removed"
        if not state.target.host:
            return "dns"
        if self._trunk_load.full(state.trunk):
            return "full"
        return "" if self._trunk_load.take_out(state.trunk, self._signalling.now.monotonic) else "rate"

    def dial(self, call: Call, state: TargetState) -> CalleeLeg:
        """Send the INVITE of a call over one route."""
        assert call.route is not None
        signalling = self._signalling
        trunk, target = state.trunk, state.target
        flow = self.flow_to(target)
        lines = (ALLOW, f"User-Agent: {signalling.agent}")
        invited = invitation(call.route, trunk, target.peer, flow, signalling.sent_by(flow), lines)
        leg = CalleeLeg(signalling, call, flow, invited, trunk.name)
        leg.account = self._accounts.at(trunk.name)
        if not trunk.session_timers:
            leg.terms = None
        self._count(call, trunk.name)
        # an offer of the callee in a provisional answer is only of use to a caller who can answer it
        caller = call.caller
        able = bool(call.offer) or (caller is not None and caller.reliable != NEVER)
        leg.invite(invited, call.offer, call.max_forwards - 1, RELIABILITY[trunk.reliable] if able else NEVER)
        return leg

    def over(self, call: Call) -> None:
        """A call has ended: its egress trunk carries one leg less."""
        self._count(call, "")

    def _count(self, call: Call, name: str) -> None:
        """The call stands on the limit of this trunk from now on, and no longer on that of the one before."""
        legs = self._trunk_load.legs
        if call.counted:
            legs[call.counted] -= 1
        if name:
            legs[name] += 1
        call.counted = name
