"""The file of passwords for digest authentication: one line for each secret, never in the settings themselves.

``TRUNK USER password TEXT`` or ``TRUNK USER ALGORITHM H(A1)``, with blanks between; the text may hold blanks. Empty
lines and those that begin with # are left out.
"""

import re
from collections.abc import Mapping

from b2bua.sip.digest import Algorithm
from routing.trunks import Secret

__all__ = ["DIGESTS", "PasswordsError", "parse_passwords"]

# the algorithms that are asked for; their hexadecimal digits
DIGESTS = {Algorithm.MD5: 32, Algorithm.SHA_256: 64, Algorithm.SHA_512_256: 64}
PASSWORD = "password"


class PasswordsError(Exception):
    """A line that cannot be read. The text says which and how to write it, and holds no secret."""


def parse_passwords(text: str) -> Mapping[str, tuple[Secret, ...]]:
    """The secrets by trunk. PasswordsError for the first line that is wrong."""
    found: dict[str, list[Secret]] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        parts = line.split(None, 3)
        if len(parts) < 4:
            fix = "write, for example: carrier-a gw-1 password …"
            raise PasswordsError(f"line {number} has {len(parts)} of 4 parts; {fix}")
        trunk, user, kind, secret = parts[0], parts[1], parts[2], parts[3].rstrip()
        digits = next((digits for algorithm, digits in DIGESTS.items() if algorithm == kind), 0)
        if kind != PASSWORD and not digits:
            known = ", ".join((PASSWORD, *DIGESTS))
            raise PasswordsError(f"line {number}: the third part is no kind of secret; write one of {known}")
        if digits and not re.fullmatch(rf"[0-9A-Fa-f]{{{digits}}}", secret):
            fix = "write the hash of user:realm:password"
            raise PasswordsError(f"line {number}: H(A1) of {kind} has {digits} hexadecimal digits; {fix}")
        found.setdefault(trunk, []).append(Secret(user, kind if digits else "", secret))
    return {trunk: tuple(secrets) for trunk, secrets in found.items()}
