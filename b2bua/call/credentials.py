"""Who we are where a peer asks: answers to 401 and 407, as the client of a trunk (RFC 3261 §22.2, §22.3, RFC 8760).

What a trunk has asked once is answered ahead in every further request to it, with the nonce's count going up, until it
asks anew. Nothing here knows of legs: whoever sends requests of its own may use it.
"""

from collections.abc import Callable, Iterable

from b2bua.call.statistics import Statistics
from b2bua.sip.digest import Algorithm, Challenge, answer, format_credentials, hash_secret, parse_challenge
from b2bua.sip.endpoint import Endpoint
from b2bua.sip.errors import ParseError
from b2bua.sip.message import Response
from b2bua.sip.transaction import ClientTransaction
from routing.trunks import Secret, Trunk

__all__ = ["Account", "Accounts", "echoes", "secrets_of"]

# challenge header: where its answer goes
ANSWERS = {"www-authenticate": "Authorization", "proxy-authenticate": "Proxy-Authorization"}
# Realms answered for one trunk, its own and those of proxies on the way; past it the oldest is forgotten.
REALMS = 4
# Challenges answered for one request: each realm may call its nonce stale once.
TRIES = 2 * REALMS
# Challenge lines read of one answer: each realm may come once for every algorithm.
LINES = 16


REFUSED = "refused"  # in the statistics, beside the reasons that are ours to say


class _Asked:
    """The last challenge of a realm, and how often its nonce was used."""

    __slots__ = ("challenge", "count", "secret")

    def __init__(self, challenge: Challenge, secret: str) -> None:
        self.challenge = challenge
        self.secret = secret
        self.count = 0


class Account:
    """Our name and secret at one trunk. ``token()`` returns random hexadecimal digits; ``notices`` are (event, trunk)
    for the log."""

    __slots__ = ("_asked", "_notices", "_refused", "_secrets", "_statistics", "_token", "trunk")

    def __init__(
        self, trunk: Trunk, token: Callable[[], str], statistics: Statistics, notices: list[tuple[str, str]]
    ) -> None:
        self.trunk = trunk
        self._token = token
        self._statistics = statistics
        self._notices = notices
        self._refused = False
        self._asked: dict[tuple[str, str], _Asked] = {}  # by header of the answer, and realm
        self._secrets: dict[str, dict[Algorithm, str]] = {}  # by realm

    def lines(self, method: str, uri: str, body: bytes) -> tuple[str, ...]:
        """Header lines for a request of ours; none as long as nothing was asked. Each call is one use of the nonces."""
        if not self._asked:
            return ()
        found = []
        for (header, _), asked in self._asked.items():
            asked.count += 1
            credentials = answer(
                asked.challenge,
                method=method,
                uri=uri,
                username=self.trunk.username,
                secret=asked.secret,
                cnonce=self._token(),
                count=asked.count,
                body=body,
            )
            found.append(f"{header}: {format_credentials(credentials)}")
        return tuple(found)

    def take(self, transaction: ClientTransaction, response: Response) -> tuple[Challenge, ...]:
        """Learn what a 401 or 407 asks for. The challenges to be answered with ``repeat``; none: give up.

        Given up is where nothing can be answered, and where the same realm asks again without saying that only the
        nonce was stale: the credentials are wrong. Stale counts once.
        """
        found = self._challenges(response) if len(transaction.tried) < TRIES else {}
        for scope, challenge in found.items():
            before = [nonce for name, nonce in transaction.tried if name == " ".join(scope)]
            again = len(before) == 1 and challenge.stale and challenge.nonce not in before
            if before and not again:
                self._asked.pop(scope, None)
                found.clear()
                break
        if not found:
            self._give_up()
            return ()
        if transaction.challenged is None:
            return ()  # it had been stopped on its way out
        for scope, challenge in found.items():
            transaction.tried = (*transaction.tried, (" ".join(scope), challenge.nonce))
            if scope not in self._asked and len(self._asked) >= REALMS:
                del self._asked[next(iter(self._asked))]
            self._asked[scope] = _Asked(challenge, self._known(challenge.realm)[challenge.algorithm.plain])
        return tuple(found.values())

    def repeat(
        self, endpoint: Endpoint, transaction: ClientTransaction, cseq: int, now: float
    ) -> tuple[ClientTransaction, tuple[str, ...]]:
        """Send a request again with what ``take`` has learnt: its new transaction and the credentials in it."""
        assert transaction.challenged is not None
        head, _, body = transaction.challenged.partition(b"\r\n\r\n")
        uri = head.split(b" ", 2)[1].decode("utf-8", "surrogateescape")
        lines = self.lines(transaction.method, uri, body)
        again = endpoint.repeat(transaction, cseq, lines, now)
        again.tried = transaction.tried
        self._statistics.challenges_answered[self.trunk.name] += 1
        return again, lines

    def _give_up(self) -> None:
        """Our credentials are wrong, or nothing here answers what is asked: told once until they are changed."""
        self._statistics.authentication_failures[self.trunk.name, REFUSED] += 1
        if not self._refused:
            self._refused = True
            self._notices.append(("credentials_refused", self.trunk.name))

    def _challenges(self, response: Response) -> dict[tuple[str, str], Challenge]:
        """The first challenge of each realm that there is a secret for (RFC 8760 §2.4)."""
        found: dict[tuple[str, str], Challenge] = {}
        for key, header in ANSWERS.items():
            for value in response.all(key)[:LINES]:
                if not value.replace("\t", " ").isprintable():
                    continue  # it would have to stand in our answer
                try:
                    challenge = parse_challenge(value)
                except ParseError:
                    continue
                if challenge.algorithm.plain in self._known(challenge.realm):
                    found.setdefault((header, challenge.realm), challenge)
        return dict(list(found.items())[:REALMS])

    def _known(self, realm: str) -> dict[Algorithm, str]:
        secrets = self._secrets.get(realm)
        if secrets is None:
            if len(self._secrets) >= LINES:
                self._secrets.clear()
            secrets = self._secrets[realm] = secrets_of(self.trunk.secrets, self.trunk.username, realm)
        return secrets


class Accounts:
    """The accounts of all trunks that we have a name at. Arguments as for Account."""

    def __init__(self, token: Callable[[], str], statistics: Statistics, notices: list[tuple[str, str]]) -> None:
        self._token = token
        self._statistics = statistics
        self._notices = notices
        self._accounts: dict[str, Account] = {}

    def renew(self, trunks: Iterable[Trunk]) -> None:
        """Take the trunks of new settings; what was learnt of a trunk that is as before stays."""
        old, self._accounts = self._accounts, {}
        for trunk in trunks:
            if trunk.username:
                known = old.get(trunk.name)
                if known is None or known.trunk != trunk:
                    known = Account(trunk, self._token, self._statistics, self._notices)
                self._accounts[trunk.name] = known

    def at(self, trunk: str) -> Account | None:
        """Who we are at the trunk of this name."""
        return self._accounts.get(trunk)


def echoes(challenge: Challenge) -> tuple[str, ...]:
    """What the peer itself said that stands in our answer to it, as it was meant and as it is spelt there."""
    said = (challenge.realm, challenge.nonce, challenge.opaque)
    return (*said, *[text.replace("\\", "\\\\").replace('"', '\\"') for text in said])


def secrets_of(secrets: Iterable[Secret], user: str, realm: str) -> dict[Algorithm, str]:
    """The H(A1) of a user in this realm for each algorithm that there is one for."""
    found: dict[Algorithm, str] = {}
    for secret in secrets:
        if secret.user != user:
            continue
        if secret.algorithm:
            found[Algorithm(secret.algorithm)] = secret.text.lower()
        else:
            for algorithm in (Algorithm.MD5, Algorithm.SHA_256, Algorithm.SHA_512_256):
                found.setdefault(algorithm, hash_secret(algorithm, user, realm, secret.text))
    return found
