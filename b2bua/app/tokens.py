"""Unguessable tokens for tags, branches and Call-IDs, cut from random bytes that are fetched in bulk."""

import os

__all__ = ["Tokens"]

TOKEN_BYTES = 8  # 64 bits: RFC 3261 §19.3 asks for 32
SUPPLY_BYTES = 4096


class Tokens:
    """Sixteen hexadecimal digits a token, from the operating system's generator. One system call serves 512 of them.

    Not to be shared with a forked child, which would draw the same ones.
    """

    def __init__(self) -> None:
        self._supply = b""
        self._used = 0

    def draw(self) -> str:
        """The next token."""
        if self._used == len(self._supply):
            self._supply = os.urandom(SUPPLY_BYTES)
            self._used = 0
        start = self._used
        self._used = start + TOKEN_BYTES
        return self._supply[start : self._used].hex()
