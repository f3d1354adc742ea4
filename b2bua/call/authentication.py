"""Whose request is it? Trunks that require digest authentication, as their server (RFC 3261 §22, RFC 7616, RFC 8760).

Only requests that begin something are asked for proof, with 401: we answer them ourselves, so 407 would be wrong
(§22.1). Inside a dialog our own random tag is the proof, ACK and CANCEL are never asked (§22.1). Whoever is not known
yet hears the same of every request: what it asks for, and whether it exists, is looked at only afterwards.
"""

from collections.abc import Callable, Iterable
from enum import StrEnum
from hmac import digest as keyed_hash
from ipaddress import IPv6Address, IPv6Network
from typing import NamedTuple, Protocol

from b2bua.call.credentials import secrets_of
from b2bua.call.leg import Signalling
from b2bua.call.statistics import Statistics
from b2bua.sip.digest import Algorithm, Challenge, Credentials, format_challenge, parse_credentials, verify
from b2bua.sip.endpoint import RequestReceived
from b2bua.sip.errors import ParseError
from b2bua.sip.message import Request
from b2bua.sip.nonces import Nonces
from b2bua.sip.timers import Timer
from b2bua.sip.transaction import ServerTransaction
from b2bua.sip.uri import SipUri, TelUri, parse_uri
from routing.trunks import Sources, Trunk

__all__ = ["Authentication", "AuthenticationLimits", "Failure"]

# Credentials looked at in one request: one for each realm that a path may ask for, and no work for whoever sends more.
LOOKED_AT = 4
# The first wrong password is answered so late (seconds), each further one twice as late, up to the longest: far below
# the 32 s after which a peer would take us for dead.
FIRST_DELAY = 0.5
LONGEST_DELAY = 8.0
# Answers held back at one time; past it the oldest goes out early.
HELD_BACK = 256
# Sources of wrong passwords remembered; past it the oldest is forgotten. Each has shown that it receives what is sent
# to it, so nobody fills this with forged addresses.
SUSPECTS = 4096


class Failure(StrEnum):
    """Why a proof did not count."""

    MALFORMED = "malformed"  # not digest, or not what was offered
    STALE = "stale"  # the nonce is too old, or was never given to this source
    REPLAY = "replay"  # nonce and count were used before
    USER = "user"  # no such user
    PASSWORD = "password"
    URI = "uri"  # a proof for another request URI


class AuthenticationLimits(Protocol):
    """After so many failures of a source within a window (seconds) it is ignored for a time (seconds); 0: never."""

    @property
    def digest_failures(self) -> int: ...
    @property
    def digest_window_seconds(self) -> float: ...
    @property
    def digest_ignore_seconds(self) -> float: ...


class _User(NamedTuple):
    trunk: str
    secrets: dict[Algorithm, str]


class _Realm(NamedTuple):
    """What is asked of a source in one realm, for all trunks that it may belong to."""

    algorithms: tuple[Algorithm, ...]
    qop: tuple[str, ...]
    nonce_seconds: float

    def takes(self, credentials: Credentials) -> bool:
        """Whether they are made in a way that is asked for. Without qop here, a trunk that shares the realm adds it."""
        return credentials.algorithm in self.algorithms and (not self.qop or credentials.qop in self.qop)


class _Suspect:
    """A source that has shown a wrong password; times are monotonic seconds."""

    __slots__ = ("failures", "ignored_until", "since")

    def __init__(self, since: float) -> None:
        self.failures = 0
        self.since = since
        self.ignored_until = 0.0


class _HeldBack(Timer):
    """An answer that waits for its time; the request stands in its table meanwhile and absorbs its repetitions."""

    __slots__ = ("lines", "owner", "transaction")

    def __init__(self, owner: "Authentication", transaction: ServerTransaction, lines: tuple[str, ...]) -> None:
        super().__init__()
        self.owner = owner
        self.transaction = transaction
        self.lines = lines

    def fire(self, now: float) -> None:
        """Send it."""
        self.owner.let_go(self, now)


class Authentication:
    """The server's side. ``notices`` are (event, fields) for the log; ``token()`` returns random hexadecimal digits.

    A source may belong to several trunks: then the realm and user name that it proves decide (``identify``).
    """

    def __init__(
        self,
        signalling: Signalling,
        statistics: Statistics,
        limits: AuthenticationLimits,
        trunks: Iterable[Trunk],
        token: Callable[[], str],
    ) -> None:
        self.limits = limits
        self.most_suspects = SUSPECTS
        self.most_held_back = HELD_BACK
        self.notices: list[tuple[str, dict[str, str]]] = []
        self._signalling = signalling
        self._statistics = statistics
        self._token = token
        self._key = "".join([token() for _ in range(4)]).encode()
        self._opaque = token()
        self._nonces = Nonces(self._key)
        self._suspects: dict[str, _Suspect] = {}
        self._held_back: dict[_HeldBack, None] = {}
        self._trunks: dict[str, tuple[Trunk, Sources]] = {}
        self._users: dict[tuple[str, str], _User] = {}
        self.renew(trunks)

    def renew(self, trunks: Iterable[Trunk]) -> None:
        """Take the trunks of new settings. Nonces that are out stay good."""
        self._trunks = {trunk.name: (trunk, Sources((trunk,))) for trunk in trunks if trunk.digest_realm}
        self._users = {}
        for trunk, _ in self._trunks.values():
            for user in trunk.digest_users:
                secrets = secrets_of(trunk.secrets, user, trunk.digest_realm)
                self._users.setdefault((trunk.digest_realm, user), _User(trunk.name, secrets))

    def ignored(self) -> int:
        """How many sources are not listened to at the moment."""
        now = self._signalling.now.monotonic
        return sum(1 for suspect in self._suspects.values() if suspect.ignored_until > now)

    def identify(self, event: RequestReceived, trunk: Trunk) -> Trunk | None:
        """The trunk that this request proves to come from; None when it has been answered, or is left unanswered.

        ``trunk`` is what the source says, one of perhaps several that require a proof from there.
        """
        transaction, request = event.transaction, event.request
        now = self._signalling.now
        origin = _origin(event.flow.peer[0])
        suspect = self._suspects.get(origin)
        if suspect is not None and suspect.ignored_until > now.monotonic:
            self._statistics.drops["ignored_source"] += 1
            self._signalling.endpoint.forget(transaction, now.monotonic)
            return None
        trunks = self._trunks_at(event.flow.peer, trunk)
        if not trunks:  # all that may speak from here have been taken away, though calls of theirs go on
            self._statistics.drops["unknown_source"] += 1
            self._signalling.endpoint.forget(transaction, now.monotonic)
            return None
        realms = _realms(trunks.values())
        credentials = _credentials(request, realms)
        if credentials is None:
            if "authorization" in request.first:
                self._count("", Failure.MALFORMED)
            self._challenge(transaction, realms, origin, False)
            return None
        realm = realms[credentials.realm]
        issued = self._nonces.issued_at(credentials.nonce, origin)
        if issued is None or _milliseconds(now.monotonic) - issued > realm.nonce_seconds * 1000:
            self._count("", Failure.STALE)
            self._challenge(transaction, realms, origin, True)
            return None
        if credentials.algorithm not in realm.algorithms or credentials.userhash:
            self._count("", Failure.MALFORMED)
            self._challenge(transaction, realms, origin, False)
            return None
        user = self._users.get((credentials.realm, credentials.username))
        found = trunks.get(user.trunk) if user is not None else None
        secret = user.secrets.get(credentials.algorithm) if user is not None and found is not None else None
        plain = found is not None and not found.digest_qop and not credentials.qop  # RFC 2069, beside trunks with qop
        # the same work for a name that nobody has
        right = verify(
            credentials,
            Challenge(
                credentials.realm,
                credentials.nonce,
                credentials.algorithm,
                () if plain else realm.qop,
                credentials.opaque,
            ),
            method=request.method,
            username=credentials.username,
            secret=self._opaque if secret is None else secret,
            body=request.body,
        )
        if not right or secret is None or found is None:
            failure = Failure.USER if found is None else Failure.PASSWORD
            self._fail(transaction, found, failure, realms, origin)
            return None
        own = _realms((found,))
        if not own[credentials.realm].takes(credentials):  # a trunk that shares the realm does
            self._count(found.name, Failure.MALFORMED)
            self._challenge(transaction, own, origin, True)
            return None
        if not _same_uri(credentials.uri, request.uri):
            self._count(found.name, Failure.URI)
            self._signalling.endpoint.respond(transaction, 400, now.monotonic)  # RFC 7616 §3.4.6
            return None
        if not self._nonces.spend(credentials.nonce, credentials.count or 1, issued):
            self._count(found.name, Failure.REPLAY)
            self._challenge(transaction, realms, origin, True)
            return None
        return found

    def let_go(self, answer: _HeldBack, now: float) -> None:
        """Send an answer that was held back."""
        self._held_back.pop(answer, None)
        self._signalling.endpoint.timers.cancel(answer)
        if answer.transaction.alive:
            self._signalling.endpoint.respond(answer.transaction, 401, now, extra=answer.lines)

    # parts

    def _trunks_at(self, source: tuple[str, int], trunk: Trunk) -> dict[str, Trunk]:
        """The trunks that may speak from this source, by name, in the order of the settings."""
        return {
            name: known
            for name, (known, sources) in self._trunks.items()
            if name == trunk.name or (not known.certificate_names and sources.trunk_of(*source) is not None)
        }

    def _challenge(self, transaction: ServerTransaction, realms: dict[str, _Realm], origin: str, stale: bool) -> None:
        """One 401 without memory: its receiver may be one whose address was forged (RFC 3261 §26.3.2.4)."""
        now = self._signalling.now
        self._statistics.challenges += 1
        tag = keyed_hash(self._key, transaction.key.encode("utf-8", "surrogateescape"), "sha256").hex()[:16]
        lines = self._lines(realms, origin, stale)
        self._signalling.endpoint.respond_once(transaction, 401, tag, now.monotonic, extra=lines)

    def _lines(self, realms: dict[str, _Realm], origin: str, stale: bool) -> tuple[str, ...]:
        """One line for each realm and algorithm, best first (RFC 8760 §2.3); they share a nonce, of which one use
        counts."""
        nonce = self._nonces.issue(origin, self._token(), _milliseconds(self._signalling.now.monotonic))
        return tuple(
            [
                "WWW-Authenticate: "
                + format_challenge(Challenge(name, nonce, algorithm, realm.qop, self._opaque, stale))
                for name, realm in realms.items()
                for algorithm in realm.algorithms
            ]
        )

    def _fail(
        self,
        transaction: ServerTransaction,
        trunk: Trunk | None,
        failure: Failure,
        realms: dict[str, _Realm],
        origin: str,
    ) -> None:
        """A wrong password or name, on a nonce that this source was given: the answer is late, and later each time."""
        now = self._signalling.now
        limits = self.limits
        name = trunk.name if trunk is not None else ""
        self._count(name, failure)
        suspect = self._suspects.get(origin)
        if suspect is None or now.monotonic - suspect.since > limits.digest_window_seconds:
            if suspect is None and len(self._suspects) >= self.most_suspects:
                del self._suspects[next(iter(self._suspects))]
            suspect = self._suspects[origin] = _Suspect(now.monotonic)
            self.notices.append(("authentication_failed", {"source": origin, "trunk": name, "reason": failure}))
        suspect.failures += 1
        if limits.digest_failures and suspect.failures >= limits.digest_failures:
            suspect.ignored_until = now.monotonic + limits.digest_ignore_seconds
            self.notices.append(("source_ignored", {"source": origin, "trunk": name, "reason": failure}))
        answer = _HeldBack(self, transaction, self._lines(realms, origin, False))
        if len(self._held_back) >= self.most_held_back:
            self.let_go(next(iter(self._held_back)), now.monotonic)
        self._held_back[answer] = None
        delay = min(FIRST_DELAY * 2.0 ** min(suspect.failures - 1, 10), LONGEST_DELAY)
        self._signalling.endpoint.timers.set(answer, now.monotonic + delay, now.monotonic)

    def _count(self, trunk: str, failure: Failure) -> None:
        self._statistics.authentication_failures[trunk, failure] += 1


def _realms(trunks: Iterable[Trunk]) -> dict[str, _Realm]:
    """What to ask for, by realm. Trunks that share one ask for what any of them takes; the shortest nonce life
    counts."""
    realms: dict[str, _Realm] = {}
    for trunk in trunks:
        algorithms = tuple([Algorithm(name) for name in trunk.digest_algorithms])
        realm = _Realm(algorithms, trunk.digest_qop, trunk.digest_nonce_seconds)
        known = realms.get(trunk.digest_realm)
        if known is not None:
            realm = _Realm(
                tuple(dict.fromkeys((*known.algorithms, *realm.algorithms))),
                tuple(dict.fromkeys((*known.qop, *realm.qop))),
                min(known.nonce_seconds, realm.nonce_seconds),
            )
        realms[trunk.digest_realm] = realm
    return realms


def _credentials(request: Request, realms: dict[str, _Realm]) -> Credentials | None:
    """The first credentials for a realm of ours."""
    for value in request.all("authorization")[:LOOKED_AT]:
        try:
            credentials = parse_credentials(value)
        except ParseError:
            continue
        if credentials.realm in realms:
            return credentials
    return None


def _same_uri(claimed: str, actual: str) -> bool:
    """Whether the URI that was proved names the one that was sent; parameters may change on the way."""
    return claimed == actual or _target(claimed) == _target(actual) is not None


def _target(uri: str) -> tuple[str, str, str, int] | None:
    try:
        parsed: SipUri | TelUri = parse_uri(uri)
    except ParseError:
        return None
    if isinstance(parsed, TelUri):
        return "tel", parsed.number, "", 0
    return parsed.scheme, parsed.user, parsed.host.lower(), parsed.port


def _milliseconds(seconds: float) -> int:
    return int(seconds * 1000)


def _origin(host: str) -> str:
    """Whom a source address stands for: with IPv6 everybody has a whole network of them. A socket of both families
    shows IPv4 as ::ffff:a.b.c.d."""
    if ":" not in host:
        return host
    address = IPv6Address(host.partition("%")[0])
    return str(address.ipv4_mapped or IPv6Network((address, 64), strict=False))
