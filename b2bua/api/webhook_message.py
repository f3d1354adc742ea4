"""How a webhook's request is signed, so that its receiver knows who has sent it, when, and that nothing was changed.

The headers and the signature are those of the Standard Webhooks specification, version 1.0.0, for which libraries exist
in many languages:

    webhook-id: <id of the event>
    webhook-timestamp: <seconds since 1970>
    webhook-signature: v1,<base64 of HMAC-SHA256> [v1,<another>]

What is signed is id, timestamp and body, joined by full stops. The key is what stands, in base64, behind `whsec_` in
the secret. While a secret is being replaced there are two signatures, one by each: either proves the request.
"""

import base64
import hashlib
import hmac
from collections.abc import Sequence
from typing import Final

import msgspec

__all__ = ["TEST_EVENT", "headers_of", "signature_of", "trial_body"]

SECRET_PREFIX: Final = "whsec_"
TEST_EVENT: Final = "webhook.test"


def signature_of(secret: str, identifier: str, seconds: int, body: bytes) -> str:
    """One signature, with its version. ValueError for what is no secret of this service."""
    key = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    signed = b"%b.%d.%b" % (identifier.encode(), seconds, body)
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()


def headers_of(identifier: str, now_ms: int, body: bytes, secrets: Sequence[str]) -> dict[str, str]:
    """The headers of a request that is sent at this instant (UTC ms), signed with each of the secrets."""
    seconds = now_ms // 1000
    return {
        "content-type": "application/json",
        "webhook-id": identifier,
        "webhook-timestamp": str(seconds),
        "webhook-signature": " ".join(signature_of(secret, identifier, seconds, body) for secret in secrets),
    }


def trial_body(identifier: str, now_ms: int) -> bytes:
    """What is sent to try a webhook out: an event without data."""
    return msgspec.json.encode({"id": identifier, "type": TEST_EVENT, "at_ms": now_ms, "data": {}})
