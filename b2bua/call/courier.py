"""One MESSAGE of our own (RFC 3428) on its way: over the targets of a route, one after another, until somebody has a
word to say about it."""

from typing import NamedTuple, Protocol

from b2bua.call.credentials import Account, echoes
from b2bua.call.leg import Signalling
from b2bua.call.refusals import FAILOVER
from b2bua.call.trunk_state import TargetState
from b2bua.sip.endpoint import LARGEST_UDP_REQUEST
from b2bua.sip.headers import parse_q850
from b2bua.sip.message import Response
from b2bua.sip.serialiser import format_request
from b2bua.sip.transaction import ClientTransaction, Flow, ServerTransaction
from routing.targets import Target
from routing.trunks import Trunk

__all__ = ["Courier", "Delivery", "Errand", "Letter", "Roads", "Side"]

NEVER_LARGE = 600  # octets of a body that, with any headers of ours, stays below the limit for UDP
LONGEST_WAIT = 3600  # seconds; a peer may ask for more in error


class Delivery(NamedTuple):
    """What came of it. ``status`` 0: nobody has said anything. ``retry_after`` in seconds, 0: not asked for."""

    status: int
    q850: int = 0
    retry_after: int = 0


class Letter(NamedTuple):
    """A MESSAGE for one target: request URI, From (without tag) and To, whole header lines, type and body."""

    uri: str
    from_value: str
    to_value: str
    extra: tuple[str, ...]
    content_type: str
    body: bytes
    max_forwards: int = 70


class Side:
    """A party as the tripwire knows it: ``forbidden`` are the digits that it must never see, ``hidden`` their other
    spellings, ``own`` the texts that are its own or its own to see."""

    __slots__ = ("forbidden", "hidden", "own")

    def __init__(self, forbidden: bytes, own: tuple[str, ...], hidden: tuple[bytes, ...] = ()) -> None:
        self.forbidden = forbidden
        self.own = own
        self.hidden = hidden

    def tripped(self) -> None:
        """Something that would have told it those digits was stopped. Who waits for an answer of ours gets a bare 500,
        and its message is over by then."""


class Errand(Protocol):
    """Whom a courier serves."""

    def compose(self, trunk: Trunk, target: Target, flow: Flow) -> Letter: ...
    def settled(self, delivery: Delivery) -> None: ...
    def stopped(self) -> None: ...


class Roads(Protocol):
    """What a courier needs of the switch."""

    @property
    def signalling(self) -> Signalling: ...

    def flow_to(self, target: Target) -> Flow: ...
    def barred(self, state: TargetState) -> str: ...
    def park(self, state: TargetState, seconds: float) -> None: ...
    def silent(self, state: TargetState) -> None: ...
    def account_at(self, trunk: str) -> Account | None: ...


class Courier(Side):
    """Owner of its transactions. ``tried`` says what came of each target, ``egress`` and ``call_id`` name the last.

    The next target is tried only once the transaction with the one before has ended: without an answer, or with one
    that speaks of the route (FAILOVER). A target that has taken the message, but whose answers were all lost for 64·T1,
    cannot be told from one that is away; then the message may come twice.
    """

    __slots__ = (
        "_account",
        "_current",
        "_errand",
        "_last",
        "_roads",
        "_state",
        "_targets",
        "call_id",
        "egress",
        "tried",
    )

    def __init__(self, roads: Roads, errand: Errand, targets: list[TargetState], side: Side) -> None:
        super().__init__(side.forbidden, side.own, side.hidden)
        self._roads = roads
        self._errand = errand
        self._targets = targets
        self._state: TargetState | None = None
        self._current: ClientTransaction | None = None
        self._account: Account | None = None
        self._last = Delivery(0)
        self.tried: tuple[str, ...] = ()
        self.egress = ""
        self.call_id = ""

    def start(self) -> None:
        """Go to the next target that can be gone to, or report."""
        while self._targets:
            state = self._targets.pop(0)
            barred = self._roads.barred(state) or self._send(state)
            if not barred:
                return
            self.tried = (*self.tried, f"{state.trunk.name}:{barred}")
        self._state = None
        self._errand.settled(self._last)

    def stay(self) -> None:
        """No other target, whatever comes of this one."""
        self._targets = []

    def leave(self) -> None:
        """Nobody waits any more for what comes of it."""
        self._targets = []
        self._current = None

    def _send(self, state: TargetState) -> str:
        """'' when it is on its way, else why this target cannot take it."""
        roads, trunk, target = self._roads, state.trunk, state.target
        endpoint = roads.signalling.endpoint
        flow = roads.flow_to(target)
        letter = self._errand.compose(trunk, target, flow)
        # RFC 3428 §8: nothing above 1300 octets over a link without congestion control
        if len(letter.body) > NEVER_LARGE and flow.transport == "UDP" and self._too_large(letter, flow):
            return "large"
        self._account = roads.account_at(trunk.name)
        proof = self._account.lines("MESSAGE", letter.uri, letter.body) if self._account is not None else ()
        self._state = state
        self.egress = trunk.name
        self.call_id = endpoint.token()
        transaction = endpoint.request(
            "MESSAGE",
            letter.uri,
            flow,
            f"{letter.from_value};tag={endpoint.token()}",
            letter.to_value,
            self.call_id,
            1,
            roads.signalling.now.monotonic,
            owner=self,
            max_forwards=letter.max_forwards,
            extra=(*letter.extra, *proof),
            content_type=letter.content_type,
            body=letter.body,
        )
        transaction.fallback = None
        self._current = transaction
        return ""

    def _too_large(self, letter: Letter, flow: Flow) -> bool:
        endpoint = self._roads.signalling.endpoint
        token = "0" * 16
        via = f"SIP/2.0/{flow.transport} {endpoint.advertised[flow.listener]};branch=z9hG4bK{token};rport"
        tagged = f"{letter.from_value};tag={token}"
        to_value, extra, kind = letter.to_value, letter.extra, letter.content_type
        wire = format_request("MESSAGE", letter.uri, via, tagged, to_value, token, 1, 70, (), extra, kind, letter.body)
        return len(wire) > LARGEST_UDP_REQUEST and (endpoint.heavy is None or endpoint.heavy(flow) is None)

    # what the switch feeds in

    def on_response(self, transaction: ClientTransaction, response: Response) -> None:
        """A final answer."""
        state = self._state
        if transaction is not self._current or state is None:
            return
        self._current = None
        state.silent = 0
        status = response.status
        self.tried = (*self.tried, f"{state.trunk.name}:{status}")
        wait = _retry_after(response)
        self._last = Delivery(status, parse_q850(response.get("reason") or ""), wait)
        if status not in FAILOVER:
            self._targets = []
            self._errand.settled(self._last)
            return
        if status == 503 and wait:
            self._roads.park(state, wait)
        self.start()

    def on_challenge(self, transaction: ClientTransaction, response: Response) -> bool:
        """401 or 407: once more with our credentials (RFC 3261 §22.2). False: it is an answer like any other."""
        account = self._account
        if account is None or transaction is not self._current:
            return False
        challenges = account.take(transaction, response)
        if not challenges:
            return False
        for challenge in challenges:
            self.own = (*self.own, *echoes(challenge))
        signalling = self._roads.signalling
        now = signalling.now.monotonic
        self._current, _ = account.repeat(signalling.endpoint, transaction, response.cseq + 1, now)
        self._current.fallback = None
        return True

    def on_failed(self, transaction: ClientTransaction | ServerTransaction) -> None:
        """No answer in time, or no connection."""
        state = self._state
        if transaction is not self._current or state is None:
            return
        self._current = None
        self._roads.silent(state)
        self.tried = (*self.tried, f"{state.trunk.name}:{'unreachable' if transaction.unreachable else 'no_answer'}")
        self._last = Delivery(408)
        self.start()

    def tripped(self) -> None:
        """The tripwire has stopped it."""
        self.leave()
        self._errand.stopped()


def _retry_after(response: Response) -> int:
    """RFC 3261 §20.33: seconds, then perhaps a comment and parameters."""
    value = (response.get("retry-after") or "").partition(";")[0].partition("(")[0].strip()
    if not (value.isascii() and value.isdigit() and len(value) < 10):
        return 0
    return min(int(value), LONGEST_WAIT)
