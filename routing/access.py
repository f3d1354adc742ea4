"""Who may ask the service, and how a key is written: `x7_<id>_<secret>`.

The secret is 256 random bits. It is kept as its plain SHA-256: nobody can try out so many, so a slow hash would only
make every request slow. Signatures are made with a key derived from it, which therefore is not the hash that is kept.
"""

import hashlib
import hmac
import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

__all__ = [
    "ID_BYTES",
    "SECRET_BYTES",
    "ApiKey",
    "Role",
    "digest_of",
    "format_key",
    "new_secret",
    "parse_key",
    "signing_key",
]

ID_BYTES: Final = 6
SECRET_BYTES: Final = 32
SIGNING_PURPOSE: Final = b"x700 request signature v1"

_KEY: Final = re.compile(r"x7_([0-9a-f]{12})_([0-9a-f]{64})", re.ASCII)


class Role(StrEnum):
    """What a key may do: a provider what is its own, an operator everything, an auditor read everything."""

    PROVIDER = "provider"
    OPERATOR = "operator"
    AUDITOR = "auditor"


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key as stored, without anything that proves it. `provider` is '' but for the role of that name; times are UTC
    milliseconds, 0 for never; `replaces` is the key that this one was made to follow."""

    id: str
    name: str
    role: Role
    provider: str
    created_ms: int
    expires_ms: int = 0
    revoked_ms: int = 0
    reason: str = ""
    used_ms: int = 0
    replaces: str = ""

    def valid(self, now_ms: int) -> bool:
        """Whether it opens anything at this instant."""
        return not self.revoked_ms and (not self.expires_ms or now_ms < self.expires_ms)


def new_secret(random: Callable[[int], bytes]) -> tuple[str, str]:
    """A fresh id and secret; `random(n)` gives n unpredictable bytes."""
    return random(ID_BYTES).hex(), random(SECRET_BYTES).hex()


def format_key(identifier: str, secret: str) -> str:
    """The text that is given to its owner, once."""
    return f"x7_{identifier}_{secret}"


def parse_key(text: str) -> tuple[str, str] | None:
    """The id and the secret of a key as its owner shows it; None when it is none."""
    match = _KEY.fullmatch(text)
    return (match[1], match[2]) if match else None


def digest_of(secret: str) -> bytes:
    """What is kept of a secret to know it again."""
    return hashlib.sha256(secret.encode()).digest()


def signing_key(secret: str) -> bytes:
    """The key that requests are signed with: HMAC-SHA256 of a fixed text under the secret, as in RFC 5869."""
    return hmac.digest(secret.encode(), SIGNING_PURPOSE, "sha256")
