"""Digest authentication, both roles (RFC 7616, RFC 8760, and RFC 2617 for peers without qop).

Nonces and cnonces are handed in: nothing here draws randomness or remembers what was issued. Values are kept without
their quotes and escapes; ``format_x`` puts them back. What proves a name is H(A1), which ``hash_secret`` makes of a
password: so a peer may also give us that instead of the password.
"""

import re
from collections.abc import Container, Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from hashlib import new as new_hash
from hmac import compare_digest
from urllib.parse import quote, unquote

from b2bua.sip.errors import ParseError

__all__ = [
    "Algorithm",
    "Challenge",
    "Credentials",
    "answer",
    "choose_challenge",
    "format_challenge",
    "format_credentials",
    "hash_secret",
    "parse_challenge",
    "parse_credentials",
    "verify",
]

PARAMETERS = 32  # RFC 7616 defines eleven; more is no digest

# auth-scheme 1*SP #auth-param; auth-param = token BWS "=" BWS ( token / quoted-string )
_SCHEME = re.compile(r"[ \t]*Digest[ \t\r\n]+", re.IGNORECASE)
_PARAMETER = re.compile(
    r"[ \t\r\n]*([!#-'*+.0-9A-Z^-z|~-]+)[ \t\r\n]*=[ \t\r\n]*"
    r'(?:"((?:[^"\\]|\\.)*+)"|([^\s",;]+))[ \t\r\n]*(?:,[ \t\r\n,]*|$)',
    re.DOTALL,
)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_SPECIAL = re.compile(r'(["\\])')
# response = 1*LHEX, as long as the algorithm's hash
_RESPONSE = re.compile(r"[0-9A-Fa-f]{32}(?:[0-9A-Fa-f]{32})?")
_COUNT = re.compile(r"[0-9A-Fa-f]{8}")
# ext-value = charset "'" [ language ] "'" value-chars (RFC 8187 §3.2.1)
_EXTENDED = re.compile(r"UTF-8'[A-Za-z0-9\-]*'(.*)", re.IGNORECASE)


class Algorithm(StrEnum):
    """RFC 7616 §3.3 and the registry of RFC 8760 §2.2; the session variants hash both nonces into the secret."""

    MD5 = "MD5"
    MD5_SESS = "MD5-sess"
    SHA_256 = "SHA-256"
    SHA_256_SESS = "SHA-256-sess"
    SHA_512_256 = "SHA-512-256"
    SHA_512_256_SESS = "SHA-512-256-sess"

    @property
    def plain(self) -> "Algorithm":
        """The algorithm that its H(A1) is made with: itself, or what a session variant is a variant of."""
        return Algorithm(self.removesuffix("-sess"))


_QOPS = ("auth", "auth-int")
_ALGORITHMS = {algorithm.lower(): algorithm for algorithm in Algorithm}
_HASHES = {"MD5": "md5", "SHA-256": "sha256", "SHA-512-256": "sha512_256"}


@dataclass(frozen=True, slots=True)
class Challenge:
    """What a server asks (WWW-Authenticate, Proxy-Authenticate). ``qop`` empty: the form of RFC 2069."""

    realm: str
    nonce: str
    algorithm: Algorithm = Algorithm.MD5
    qop: tuple[str, ...] = ("auth",)
    opaque: str = ""
    stale: bool = False
    userhash: bool = False


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a client answers (Authorization, Proxy-Authorization). ``count`` is nc; ``userhash``: the name is hashed."""

    username: str
    realm: str
    nonce: str
    uri: str
    response: str
    algorithm: Algorithm = Algorithm.MD5
    qop: str = ""
    count: int = 0
    cnonce: str = ""
    opaque: str = ""
    userhash: bool = False


def parse_challenge(value: str) -> Challenge:
    """One challenge; ParseError when it is malformed, of another scheme, or asks what is not spoken here."""
    params = _parse(value)
    qop = tuple([option.strip().lower() for option in params.get("qop", "").split(",") if option.strip()])
    if qop and not any(option in _QOPS for option in qop):
        raise ParseError("unknown digest qop")
    return Challenge(
        realm=_required(params, "realm"),
        nonce=_required(params, "nonce"),
        algorithm=_algorithm(params),
        qop=qop,
        opaque=params.get("opaque", ""),
        stale=params.get("stale", "").lower() == "true",
        userhash=params.get("userhash", "").lower() == "true",
    )


def format_challenge(challenge: Challenge) -> str:
    """The header value of a challenge; the inverse of ``parse_challenge``."""
    parts = [
        f"realm={_quoted(challenge.realm)}",
        f"nonce={_quoted(challenge.nonce)}",
        f"algorithm={challenge.algorithm}",
    ]
    if challenge.qop:
        parts.append(f"qop={_quoted(','.join(challenge.qop))}")
    if challenge.opaque:
        parts.append(f"opaque={_quoted(challenge.opaque)}")
    if challenge.stale:
        parts.append("stale=true")
    if challenge.userhash:
        parts.append("userhash=true")
    return f"Digest {', '.join(parts)}"


def choose_challenge(values: Iterable[str], known: Container[Algorithm] = tuple(Algorithm)) -> Challenge | None:
    """The first challenge that can be answered, as the server lists them by preference (RFC 8760 §2.4); None: none.

    ``known`` holds the algorithms there is a secret for.
    """
    for value in values:
        try:
            challenge = parse_challenge(value)
        except ParseError:
            continue  # another scheme or algorithm is no fault, and a malformed one is no help
        if challenge.algorithm.plain in known:
            return challenge
    return None


def parse_credentials(value: str) -> Credentials:
    """The credentials of a request; ParseError when they are malformed or of another scheme."""
    params = _parse(value)
    qop = params.get("qop", "").lower()
    if qop and qop not in _QOPS:
        raise ParseError("unknown digest qop")
    count = params.get("nc", "")
    if qop and not _COUNT.fullmatch(count):
        raise ParseError("bad digest nonce count")
    if qop and not params.get("cnonce"):
        raise ParseError("no digest cnonce")
    response = _required(params, "response").lower()
    if not _RESPONSE.fullmatch(response):
        raise ParseError("bad digest response")
    if "username*" in params:
        found = _EXTENDED.fullmatch(params["username*"])
        if found is None or "username" in params:
            raise ParseError("bad digest username")
        params["username"] = unquote(found[1], errors="replace")
    return Credentials(
        username=_required(params, "username"),
        realm=_required(params, "realm"),
        nonce=_required(params, "nonce"),
        uri=_required(params, "uri"),
        response=response,
        algorithm=_algorithm(params),
        qop=qop,
        count=int(count, 16) if qop else 0,
        cnonce=params.get("cnonce", ""),
        opaque=params.get("opaque", ""),
        userhash=params.get("userhash", "").lower() == "true",
    )


def format_credentials(credentials: Credentials) -> str:
    """The header value of credentials; the inverse of ``parse_credentials``."""
    username = credentials.username
    parts = [
        f"username={_quoted(username)}" if username.isascii() else f"username*=UTF-8''{quote(username, safe='')}",
        f"realm={_quoted(credentials.realm)}",
        f"nonce={_quoted(credentials.nonce)}",
        f"uri={_quoted(credentials.uri)}",
        f'response="{credentials.response}"',
        f"algorithm={credentials.algorithm}",
    ]
    if credentials.qop:
        parts.append(f"qop={credentials.qop}, nc={credentials.count:08x}")
    if credentials.cnonce:
        parts.append(f"cnonce={_quoted(credentials.cnonce)}")
    if credentials.opaque:
        parts.append(f"opaque={_quoted(credentials.opaque)}")
    if credentials.userhash:
        parts.append("userhash=true")
    return f"Digest {', '.join(parts)}"


def answer(
    challenge: Challenge,
    *,
    method: str,
    uri: str,
    username: str,
    secret: str,
    cnonce: str,
    count: int = 1,
    body: bytes = b"",
) -> Credentials:
    """The credentials for a request; ``count`` says how often this nonce has been used with them, from 1.

    ``secret`` is that of ``hash_secret`` for the challenge's realm and algorithm. ``body`` counts where the server asks
    for auth-int alone.
    """
    qop = next((option for option in _QOPS if option in challenge.qop), "")
    session = challenge.algorithm is not challenge.algorithm.plain
    shown = _hash(challenge.algorithm, f"{username}:{challenge.realm}") if challenge.userhash else username
    plain = Credentials(
        username=shown,
        realm=challenge.realm,
        nonce=challenge.nonce,
        uri=uri,
        response="",
        algorithm=challenge.algorithm,
        qop=qop,
        count=count if qop else 0,
        cnonce=cnonce if qop or session else "",
        opaque=challenge.opaque,
        userhash=challenge.userhash,
    )
    return replace(plain, response=_response(plain, method, secret, body))


def verify(
    credentials: Credentials, challenge: Challenge, *, method: str, username: str, secret: str, body: bytes = b""
) -> bool:
    """Whether the credentials answer this challenge with this name and the H(A1) of its password.

    That ``credentials.uri`` names the request and that ``credentials.count`` has risen is for the caller to see, who
    knows the request and remembers the nonce (RFC 7616 §3.4.6, §5.5).
    """
    if (
        credentials.realm != challenge.realm
        or credentials.nonce != challenge.nonce
        or credentials.algorithm != challenge.algorithm
        or credentials.opaque != challenge.opaque
        or (credentials.qop not in challenge.qop if challenge.qop else credentials.qop)
    ):
        return False
    shown = _hash(credentials.algorithm, f"{username}:{challenge.realm}") if credentials.userhash else username
    known = compare_digest(credentials.username.encode("utf-8", "surrogateescape"), shown.encode())
    expected = _response(credentials, method, secret, body)
    return compare_digest(credentials.response.encode("utf-8", "surrogateescape"), expected.encode()) and known


def hash_secret(algorithm: Algorithm, username: str, realm: str, password: str) -> str:
    """H(A1) of RFC 7616 §3.4.2 without the session's part, in hexadecimal: what a server may keep of a password."""
    return _hash(algorithm, f"{username}:{realm}:{password}")


def _response(credentials: Credentials, method: str, secret: str, body: bytes) -> str:
    algorithm = credentials.algorithm
    if algorithm is not algorithm.plain:
        secret = _hash(algorithm, f"{secret}:{credentials.nonce}:{credentials.cnonce}")
    asked = f"{method}:{credentials.uri}"
    if credentials.qop == "auth-int":
        asked = f"{asked}:{_hash_bytes(algorithm, body)}"
    request = _hash(algorithm, asked)
    if not credentials.qop:
        return _hash(algorithm, f"{secret}:{credentials.nonce}:{request}")
    middle = f"{credentials.nonce}:{credentials.count:08x}:{credentials.cnonce}:{credentials.qop}"
    return _hash(algorithm, f"{secret}:{middle}:{request}")


def _hash(algorithm: Algorithm, text: str) -> str:
    return _hash_bytes(algorithm, text.encode("utf-8", "surrogateescape"))


def _hash_bytes(algorithm: Algorithm, data: bytes) -> str:
    return new_hash(_HASHES[algorithm.plain], data, usedforsecurity=False).hexdigest()


def _parse(value: str) -> dict[str, str]:
    scheme = _SCHEME.match(value)
    if scheme is None:
        raise ParseError("no digest")
    params: dict[str, str] = {}
    position = scheme.end()
    while position < len(value):
        found = _PARAMETER.match(value, position)
        if found is None or len(params) == PARAMETERS:
            raise ParseError("bad digest parameters")
        position = found.end()
        name, quoted, token = found.groups()
        if name.lower() in params:
            raise ParseError("digest parameter given twice")
        params[name.lower()] = token if quoted is None else _ESCAPED.sub(r"\1", quoted)
    return params


def _required(params: dict[str, str], name: str) -> str:
    try:
        return params[name]
    except KeyError:
        raise ParseError(f"no digest {name}") from None


def _algorithm(params: dict[str, str]) -> Algorithm:
    algorithm = _ALGORITHMS.get(params.get("algorithm", "MD5").lower())
    if algorithm is None:
        raise ParseError("unknown digest algorithm")
    return algorithm


def _quoted(text: str) -> str:
    return '"' + _SPECIAL.sub(r"\\\1", text) + '"'
