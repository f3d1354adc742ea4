"""Encryption at rest for the personal parts of records and bindings, and keyed hashes to find them by.

A keyring holds one or more master keys. From each, HKDF (RFC 5869) derives what is used: an AES-256-GCM key, and, from
the first key of the ring only, the key of the search hash. So the sealing key can be changed by adding a line, while
hashes made years ago still match.

A nonce is eight random bytes, drawn when a `Seal` is made, and a 32-bit counter. Random nonces alone would use up the
2^32 messages that one AES-GCM key may carry with them (NIST SP 800-38D, section 8.3) in twenty days at 2,500 calls/s.
"""

import hashlib
import itertools
import os
from collections.abc import Callable
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

KEY_BYTES = 32
HASH_BYTES = 16
_PREFIX_BYTES = 8
_NONCE_BYTES = 12
_TAG_BYTES = 16
_HEAD_BYTES = 1 + _NONCE_BYTES
_LAST_NUMBER = (1 << 32) - 1  # four bytes of the nonce count
# A header value may hold any bytes a peer sends; the switch reads them as text with surrogates, and they must survive.
_ERRORS = "surrogatepass"


class SealError(ValueError):
    """A blob that does not open: its key is not in the ring, it was changed, or it belongs elsewhere."""


class KeyringError(ValueError):
    """A keyring text that cannot be used. Names the line and the fix, never a key."""


@dataclass(frozen=True, slots=True)
class Key:
    """A master key. `id` (1 to 255) is the first byte of every blob it seals."""

    id: int
    secret: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Keyring:
    """Master keys in order of age: the last one seals, all of them open, the first makes the search hashes."""

    keys: tuple[Key, ...]


def parse_keyring(text: str) -> Keyring:
    """Read a keyring: one key a line, "<id 1-255> <64 hexadecimal digits>", "#" starts a comment. KeyringError."""
    keys: list[Key] = []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        if len(words) != 2:
            raise KeyringError(f'line {number}: write "<id> <64 hexadecimal digits>"')
        if not (words[0].isascii() and words[0].isdigit() and 1 <= int(words[0]) <= 255):
            raise KeyringError(f"line {number}: the id of a key is a number from 1 to 255")
        try:
            secret = bytes.fromhex(words[1])
        except ValueError:
            secret = b""
        if len(secret) != KEY_BYTES:
            raise KeyringError(f"line {number}: a key is {KEY_BYTES * 2} hexadecimal digits")
        if any(key.id == int(words[0]) for key in keys):
            raise KeyringError(f"line {number}: id {int(words[0])} is used twice; give the new key a new id")
        keys.append(Key(int(words[0]), secret))
    if not keys:
        raise KeyringError("the keyring holds no key; make a new keyring")
    return Keyring(tuple(keys))


def format_keyring(keyring: Keyring) -> str:
    """The text of a keyring; the pair of `parse_keyring`."""
    head = "# x700 keyring: the last key seals, the first makes the search hashes. Add new keys below, delete none.\n"
    return head + "".join(f"{key.id} {key.secret.hex()}\n" for key in keyring.keys)


def new_keyring(random: Callable[[int], bytes] = os.urandom) -> Keyring:
    """A ring with one fresh key; `random(n)` gives n unpredictable bytes."""
    return Keyring((Key(1, random(KEY_BYTES)),))


def _derive(secret: bytes, purpose: bytes) -> bytes:
    return HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=None, info=b"x700 v1 " + purpose).derive(secret)


class Seal:
    """Seals, opens and hashes texts with a keyring. Safe to share between threads and over a fork.

    A blob is one byte of key id, twelve of nonce, the AES-256-GCM text and its sixteen bytes of tag.
    """

    def __init__(self, keyring: Keyring, random: Callable[[int], bytes] = os.urandom) -> None:
        self._ciphers = {key.id: AESGCM(_derive(key.secret, b"encryption")) for key in keyring.keys}
        current = keyring.keys[-1]
        self._encrypt = self._ciphers[current.id].encrypt
        self._id = bytes([current.id])
        self._hash = hashlib.blake2b(key=_derive(keyring.keys[0].secret, b"hash"), digest_size=HASH_BYTES)
        self._random = random
        self.renew()

    def renew(self) -> None:
        """Draw a new nonce prefix and start counting again; happens by itself when needed."""
        # One attribute: a thread must never pair an old prefix with a new counter.
        self._source = (self._random(_PREFIX_BYTES), itertools.count().__next__, _forks)

    def seal(self, text: str, context: str = "") -> bytes:
        """Encrypt `text`. `context` (such as the record's id) is not stored, but must be the same to open the blob."""
        prefix, count, forks = self._source
        number = count()
        if forks != _forks or number > _LAST_NUMBER:
            self.renew()
            return self.seal(text, context)
        nonce = prefix + number.to_bytes(4, "big")
        return self._id + nonce + self._encrypt(nonce, text.encode("utf-8", _ERRORS), context.encode("utf-8", _ERRORS))

    def open(self, blob: bytes, context: str = "") -> str:
        """The text of a blob. Raises SealError."""
        if len(blob) < _HEAD_BYTES + _TAG_BYTES:
            raise SealError("the sealed text is cut short")
        cipher = self._ciphers.get(blob[0])
        if cipher is None:
            raise SealError(f"no key {blob[0]} in the keyring")
        try:
            text = cipher.decrypt(blob[1:_HEAD_BYTES], blob[_HEAD_BYTES:], context.encode("utf-8", _ERRORS))
        except InvalidTag as error:
            raise SealError("the sealed text was changed, is of another record, or has another key") from error
        return text.decode("utf-8", _ERRORS)

    def hash(self, text: str) -> bytes:
        """Sixteen bytes (keyed BLAKE2b, RFC 7693) that are equal for equal texts and tell nothing without the key."""
        digest = self._hash.copy()
        digest.update(text.encode("utf-8", _ERRORS))
        return digest.digest()


# A forked child that counted on from the parent's prefix would repeat its nonces.
_forks = 0


def _forked() -> None:
    global _forks
    _forks += 1


os.register_at_fork(after_in_child=_forked)
