"""Nonces that need no memory to be recognised, and a bounded memory of those that were used (RFC 7616 §3.3, §5.4).

A nonce is its time of issue, a salt and a keyed hash over both and the source it was given to. So nobody can make one,
and nobody can use one that was sent to somebody else: who shows a valid nonce has received a datagram at its address.
"""

from hmac import compare_digest
from hmac import digest as keyed_hash

__all__ = ["Nonces"]

# Nonces in use at one time. Each stands for a peer that has proved its password within the nonce's life; past it the
# oldest is forgotten, and refused from then on with all that were issued before it.
USED = 16_384
# A count that comes so much later than a higher one may have been overtaken on its way (UDP); before that it counts as
# used.
WINDOW = 64
HASH_DIGITS = 32  # 128 bits


class Nonces:
    """Issues, recognises and spends nonces. ``key`` is secret, 16 bytes or more and new in each process; times are
    milliseconds of a clock that never goes back."""

    __slots__ = ("_floor", "_key", "_used", "capacity")

    def __init__(self, key: bytes, capacity: int = USED) -> None:
        self._key = key
        self.capacity = capacity
        self._used: dict[str, tuple[int, int]] = {}  # nonce: (highest count, bits of those below that came)
        self._floor = -1  # of nonces not in the table, those issued at this time or before may have been used

    def issue(self, source: str, salt: str, now_ms: int) -> str:
        """A nonce for this source; ``salt`` is random, in hexadecimal digits."""
        stem = f"{now_ms:x}.{salt}"
        return f"{stem}.{self._mark(stem, source)}"

    def issued_at(self, nonce: str, source: str) -> int | None:
        """When the nonce was given to this source; None: it never was."""
        stem, _, mark = nonce.rpartition(".")
        if not compare_digest(mark.encode("utf-8", "surrogateescape"), self._mark(stem, source).encode()):
            return None
        return int(stem.partition(".")[0], 16)

    def spend(self, nonce: str, count: int, issued_ms: int) -> bool:
        """Use a nonce with a count (nc); False when that has been done before, or can no longer be told."""
        used = self._used.get(nonce)
        if used is None:
            if issued_ms <= self._floor or count < 1:
                return False
            if len(self._used) >= self.capacity:
                self._forget_oldest()
            self._used[nonce] = (count, 1)
            return True
        highest, seen = used
        if count > highest:
            self._used[nonce] = (count, (seen << min(count - highest, WINDOW) | 1) & ((1 << WINDOW) - 1))
            return True
        bit = 1 << (highest - count)
        if count < 1 or highest - count >= WINDOW or seen & bit:
            return False
        self._used[nonce] = (highest, seen | bit)
        return True

    def _forget_oldest(self) -> None:
        oldest = next(iter(self._used))
        del self._used[oldest]
        self._floor = max(self._floor, int(oldest.partition(".")[0], 16))

    def _mark(self, stem: str, source: str) -> str:
        text = f"{stem} {source}".encode("utf-8", "surrogateescape")
        return keyed_hash(self._key, text, "sha256").hex()[:HASH_DIGITS]
