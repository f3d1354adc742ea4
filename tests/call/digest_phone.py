"""Phones with passwords: one that answers the switch's challenges, and that challenges the switch itself."""

from collections.abc import Sequence
from dataclasses import replace

from b2bua.sip.digest import (
    Algorithm,
    Challenge,
    answer,
    choose_challenge,
    format_challenge,
    format_credentials,
    hash_secret,
    parse_credentials,
    verify,
)
from b2bua.sip.endpoint import AckReceived, Event, RequestReceived, ResponseReceived
from b2bua.sip.message import Request, Response
from b2bua.sip.transaction import ClientTransaction
from routing.trunks import Secret, Trunk
from tests.call.phone import Phone, PhoneCall
from tests.call.world import MEDIA, TRUNKS, World
from tests.wire import Address

__all__ = ["PASSWORD", "REALM", "USER", "DigestPhone", "DigestWorld", "Gate", "proved", "proving"]

REALM = "switch.example"
USER = "gw-1"
PASSWORD = "open sesame"
OURS, OUR_PASSWORD, THEIR_REALM = "x700-at-carrier", "let us in", "carrier.example"


def proving(trunk: Trunk, **changes: object) -> Trunk:
    """The trunk, requiring digest. Each has a user of its own: they may share networks."""
    user = f"{USER}-{trunk.name}"
    secrets = (*trunk.secrets, Secret(user, "", PASSWORD))
    return replace(trunk, **{"digest_realm": REALM, "digest_users": (user,), "secrets": secrets, **changes})  # type: ignore[arg-type]


def proved(trunk: Trunk) -> Trunk:
    """The trunk, with a name and password of ours there."""
    return replace(trunk, username=OURS, secrets=(*trunk.secrets, Secret(OURS, "", OUR_PASSWORD)))


class Gate:
    """A far end's demand for digest. A nonce lasts ``uses`` requests; ``words`` are what it said of each request."""

    def __init__(
        self,
        algorithms: Sequence[Algorithm] = (Algorithm.SHA_256, Algorithm.MD5),
        *,
        realm: str = THEIR_REALM,
        qop: tuple[str, ...] = ("auth",),
        uses: int = 1000,
        status: int = 401,
        tell_stale: bool = True,
        password: str = OUR_PASSWORD,
    ) -> None:
        self.algorithms = algorithms
        self.offered = algorithms
        self.realm = realm
        self.qop = qop
        self.uses = uses
        self.status = status
        self.tell_stale = tell_stale
        self.password = password
        self.words: list[str] = []
        self._serial = 0
        self._counts: dict[str, set[int]] = {}

    def asks(self, request: Request) -> tuple[str, ...]:
        """The challenge to answer the request with; none for one that proves itself."""
        given = "proxy-authorization" if self.status == 407 else "authorization"
        for value in request.all(given):
            credentials = parse_credentials(value)
            if credentials.realm != self.realm:
                continue
            if credentials.nonce != f"nonce-{self._serial}":
                self.words.append(f"{request.method} stale")
                return self._challenge(self.tell_stale)
            assert credentials.uri == request.uri
            assert credentials.algorithm == self.algorithms[0], "not the algorithm that stands first"
            assert credentials.count not in self._counts[credentials.nonce] or not self.qop, "a count used twice"
            self._counts[credentials.nonce].add(credentials.count)
            right = verify(
                credentials,
                Challenge(self.realm, credentials.nonce, credentials.algorithm, self.qop, "an opaque"),
                method=request.method,
                username=OURS,
                secret=hash_secret(credentials.algorithm, OURS, self.realm, self.password),
                body=request.body,
            )
            if right and len(self._counts[credentials.nonce]) <= self.uses:
                self.words.append(f"{request.method} right")
                return ()
            self.words.append(f"{request.method} {'stale' if right else 'wrong'}")
            return self._challenge(right and self.tell_stale)
        self.words.append(f"{request.method} nothing")
        return self._challenge(False)

    def _challenge(self, stale: bool) -> tuple[str, ...]:
        self._serial += 1
        nonce = f"nonce-{self._serial}"
        self._counts[nonce] = set()
        name = "Proxy-Authenticate" if self.status == 407 else "WWW-Authenticate"
        return tuple(
            f"{name}: {format_challenge(Challenge(self.realm, nonce, algorithm, self.qop, 'an opaque', stale))}"
            for algorithm in self.offered
        )


class DigestPhone(Phone):
    """``user`` and ``password`` are what it answers with; ``gates`` what it asks of the switch, each by itself."""

    user = USER
    password = PASSWORD
    answers = True
    gates: Sequence[Gate] = ()
    challenged = 0

    def _dispatch(self, event: Event) -> None:
        if isinstance(event, ResponseReceived) and event.response.status == 401 and self.answers:
            self.challenged += 1
            if self._answer(event.transaction, event.response):
                return
        elif isinstance(event, RequestReceived):
            for gate in self.gates:
                lines = gate.asks(event.request)
                if lines:
                    self.endpoint.respond(event.transaction, gate.status, self.network.now, extra=lines)
                    return
            self._note(event.request)
        elif isinstance(event, AckReceived):
            self._check_ack(event.request)
        super()._dispatch(event)

    def _answer(self, transaction: ClientTransaction, response: Response) -> bool:
        call = transaction.owner
        challenge = choose_challenge(response.all("www-authenticate"))
        if not isinstance(call, PhoneCall) or challenge is None or transaction.tried or transaction.challenged is None:
            return False
        if transaction.method == "INVITE" and call._cancelled:
            return False
        head = transaction.challenged.partition(b"\r\n")[0].split(b" ")
        credentials = answer(
            challenge,
            method=transaction.method,
            uri=head[1].decode(),
            username=self.user,
            secret=hash_secret(challenge.algorithm, self.user, challenge.realm, self.password),
            cnonce=self.token(),
            body=transaction.challenged.partition(b"\r\n\r\n")[2],
        )
        call.local_cseq += 1
        line = f"Authorization: {format_credentials(credentials)}"
        again = self.endpoint.repeat(transaction, call.local_cseq, (line,), self.network.now)
        again.tried = ((challenge.realm, challenge.nonce),)
        if transaction is call.invite:
            call.invite = again
        elif transaction is call._bye:
            call._bye = again
        return True

    def _note(self, request: Request) -> None:
        if request.method == "INVITE":
            self.proofs = getattr(self, "proofs", {})
            self.proofs[request.call_id, request.cseq] = _proofs(request)

    def _check_ack(self, request: Request) -> None:
        """§22.1: the ACK of a 2xx holds the credentials of its INVITE."""
        if _proofs(request) != getattr(self, "proofs", {}).get((request.call_id, request.cseq), []):
            self.fault("ACK with other credentials than its INVITE")


def _proofs(request: Request) -> list[str]:
    return [*request.all("authorization"), *request.all("proxy-authorization")]


class DigestWorld(World):
    """The usual scene with digest between the switch and every carrier: the carriers prove who they are (``server``),
    ask the switch to (``client``), or both."""

    def __init__(self, *args: object, server: bool = True, client: bool = False, **more: object) -> None:
        trunks = tuple(map(proving, TRUNKS)) if server else TRUNKS
        trunks = tuple(map(proved, trunks)) if client else trunks
        self._asks = client
        super().__init__(*args, **{"trunks": trunks, **more})  # type: ignore[arg-type]

    def _phone(self, name: str, side: str, address: Address, number: str) -> DigestPhone:
        phone = DigestPhone(self.network, name, side, address, number[-11:], MEDIA[address])
        carrier = {"alpha": "carrier-a", "bravo": "carrier-b", "charlie": "carrier-c"}[name]
        phone.user = f"{USER}-{carrier}"
        if self._asks:
            phone.gates = (Gate(),)
        return phone
