"""Requests signed instead of shown a key: HMAC-SHA256 over method, target, time, nonce and body.

    Authorization: X7-HMAC-SHA256 <key id>:<UTC milliseconds>:<nonce>:<signature, 64 hexadecimal digits>

The signature is made, with `routing.access.signing_key` of the secret, of six lines: the scheme, the method, path and
query as sent, the milliseconds, the nonce, and the SHA-256 of the body in hexadecimal digits. So the secret itself
never travels, and what was recorded on the way is good for nothing else and not a second time.
"""

import hashlib
import hmac
import re
from collections import deque
from dataclasses import dataclass
from typing import Final

from routing.access import parse_key, signing_key

__all__ = ["SCHEME", "Claim", "Replays", "authorization", "parse_claim", "proves"]

SCHEME: Final = "X7-HMAC-SHA256"
_CLAIM: Final = re.compile(
    rf"{SCHEME} ([0-9a-f]{{12}}):([0-9]{{1,15}}):([A-Za-z0-9_-]{{8,64}}):([0-9a-f]{{64}})", re.ASCII
)


@dataclass(frozen=True, slots=True)
class Claim:
    """What an Authorization header of this scheme says."""

    key_id: str
    at_ms: int
    nonce: str
    signature: str


def parse_claim(text: str) -> Claim | None:
    """Read the value of an Authorization header; None when it is of another scheme or malformed."""
    match = _CLAIM.fullmatch(text)
    return Claim(match[1], int(match[2]), match[3], match[4]) if match else None


def proves(claim: Claim, signing: bytes, method: str, target: str, body_digest: str) -> bool:
    """Whether the claim was made with this signing key for this request."""
    right = _signature(signing, method, target, claim.at_ms, claim.nonce, body_digest)
    return hmac.compare_digest(right, claim.signature)


def authorization(key: str, method: str, target: str, body: bytes, at_ms: int, nonce: str) -> str:
    """The value of the Authorization header that signs a request, as a client makes it. `target` is path and query;
    `nonce` is 8 to 64 letters, digits, hyphens and underlines, another one each time. ValueError for what is no key."""
    parts = parse_key(key)
    if parts is None:
        raise ValueError("is no key of this service")
    identifier, secret = parts
    digest = hashlib.sha256(body).hexdigest()
    signature = _signature(signing_key(secret), method, target, at_ms, nonce, digest)
    return f"{SCHEME} {identifier}:{at_ms}:{nonce}:{signature}"


def _signature(signing: bytes, method: str, target: str, at_ms: int, nonce: str, body_digest: str) -> str:
    text = "\n".join((SCHEME, method, target, str(at_ms), nonce, body_digest))
    return hmac.new(signing, text.encode("utf-8", "surrogateescape"), hashlib.sha256).hexdigest()


class Replays:
    """Signatures seen within the window. Times are UTC milliseconds.

    What was signed before `started_ms` is refused: signatures taken by the process before this one are not known.
    """

    __slots__ = ("_order", "_seen", "_started_ms", "_window_ms")

    def __init__(self, window_seconds: float, started_ms: int) -> None:
        self._window_ms = int(window_seconds * 1000)
        self._started_ms = started_ms
        self._seen: set[str] = set()
        self._order: deque[tuple[int, str]] = deque()

    def fresh(self, at_ms: int, now_ms: int) -> bool:
        """Whether a request signed at that instant may be taken now."""
        return abs(now_ms - at_ms) <= self._window_ms and at_ms >= self._started_ms

    def first(self, claim: Claim, now_ms: int) -> bool:
        """Remember a signature that was proved; False when it had been seen."""
        while self._order and self._order[0][0] < now_ms:
            self._seen.discard(self._order.popleft()[1])
        if claim.signature in self._seen:
            return False
        self._seen.add(claim.signature)
        # kept until no clock within the window takes it, counted from now on, so that the order is that of arrival
        self._order.append((now_ms + 2 * self._window_ms, claim.signature))
        return True
