"""Sealed blobs, search hashes and the keyring's text."""

import itertools
import os
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdr.seal import HASH_BYTES, Key, Keyring, KeyringError, Seal, SealError, format_keyring, new_keyring, parse_keyring
from tests.cdr.story import CALLER, new_seal

SECRET = "00112233445566778899aabbccddeeff" * 2


@given(st.text(alphabet=st.characters(), max_size=200), st.text(max_size=30))
def test_any_text_opens_again_in_its_context(text: str, context: str) -> None:
    seal = new_seal()
    assert seal.open(seal.seal(text, context), context) == text


def test_text_from_undecodable_bytes_survives(seal: Seal) -> None:
    text = b"call\xff\xfe@host".decode("utf-8", "surrogateescape")
    assert seal.open(seal.seal(text)) == text
    assert seal.hash(text) != seal.hash("call@host")


def test_every_flipped_bit_is_noticed(seal: Seal) -> None:
    blob = seal.seal(CALLER, "r-1")
    for position, bit in itertools.product(range(len(blob)), range(8)):
        changed = bytearray(blob)
        changed[position] ^= 1 << bit
        with pytest.raises(SealError):
            seal.open(bytes(changed), "r-1")


@pytest.mark.parametrize("length", [0, 1, 13, 28])
def test_a_cut_blob_is_refused(seal: Seal, length: int) -> None:
    with pytest.raises(SealError, match="short"):
        seal.open(seal.seal("")[:length])


def test_a_blob_moved_to_another_record_does_not_open(seal: Seal) -> None:
    with pytest.raises(SealError, match="another record"):
        seal.open(seal.seal(CALLER, "r-1"), "r-2")


def test_the_text_does_not_show(seal: Seal) -> None:
    assert CALLER[3:].encode() not in seal.seal(CALLER)
    assert CALLER[3:].encode() not in seal.hash(CALLER)


def test_equal_texts_hash_alike_only_under_one_key(seal: Seal) -> None:
    assert seal.hash(CALLER) == new_seal().hash(CALLER)
    assert len(seal.hash(CALLER)) == HASH_BYTES
    assert seal.hash(CALLER) != new_seal(2).hash(CALLER)
    assert seal.hash(CALLER) != seal.hash(CALLER + "1")


def test_a_new_key_at_the_end_seals_while_old_blobs_open_and_hashes_stay() -> None:
    old, new = Key(1, b"1" * 32), Key(2, b"2" * 32)
    before, after = Seal(Keyring((old,))), Seal(Keyring((old, new)))
    assert after.open(before.seal("text")) == "text"
    assert after.hash("text") == before.hash("text")
    with pytest.raises(SealError, match="no key 2"):
        before.open(after.seal("text"))


def nonces(seal: Seal, count: int) -> list[bytes]:
    return [seal.seal("")[1:13] for _ in range(count)]


def test_no_nonce_comes_twice_over_seals_and_threads() -> None:
    ring = new_keyring()
    found: list[bytes] = []
    shared = Seal(ring)
    threads = [threading.Thread(target=lambda: found.extend(nonces(shared, 500))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found += nonces(Seal(ring), 500)
    assert len(set(found)) == 2500


def test_a_used_up_counter_begins_again_behind_a_new_prefix(seal: Seal) -> None:
    first = nonces(seal, 1)[0]
    seal._source = (seal._source[0], itertools.count(2**32 - 1).__next__, seal._source[2])
    last, next_one = nonces(seal, 2)
    assert last[:8] == first[:8]
    assert last[8:] == b"\xff\xff\xff\xff"
    assert next_one[:8] != first[:8]


def test_a_forked_child_draws_its_own_nonces(seal: Seal) -> None:
    seal.seal("")
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.write(writing, seal.seal("")[1:13])
        os._exit(0)
    os.waitpid(child, 0)
    theirs = os.read(reading, 12)
    os.close(reading)
    os.close(writing)
    assert theirs[:8] != seal.seal("")[1:9]


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        (f"1 {SECRET}", (1,)),
        (f"# a comment\n\n 7  {SECRET.upper()} # of May\n255 {SECRET}\n", (7, 255)),
        (f"1 {SECRET}\r\n2 {SECRET}\r\n", (1, 2)),
    ],
)
def test_keyrings_that_are_read(text: str, ids: tuple[int, ...]) -> None:
    ring = parse_keyring(text)
    assert tuple(key.id for key in ring.keys) == ids
    assert all(key.secret.hex() == SECRET for key in ring.keys)
    assert parse_keyring(format_keyring(ring)) == ring


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "no key"),
        ("# nothing\n", "no key"),
        (SECRET, "line 1: write"),
        (f"1 {SECRET} more", "line 1: write"),
        (f"0 {SECRET}", "line 1: the id"),
        (f"256 {SECRET}", "line 1: the id"),
        (f"one {SECRET}", "line 1: the id"),
        (f"² {SECRET}", "line 1: the id"),
        (f"1 {SECRET}\n2 {SECRET[:-2]}", "line 2: a key is 64"),
        (f"1 {SECRET[:-2]}xx", "line 1: a key is 64"),
        (f"1 {SECRET}\n1 {SECRET}", "line 2: id 1 is used twice"),
    ],
)
def test_keyrings_that_are_refused(text: str, complaint: str) -> None:
    with pytest.raises(KeyringError, match=complaint) as caught:
        parse_keyring(text)
    assert SECRET[:16] not in str(caught.value)


def test_a_new_keyring_is_random_and_hides_its_secret() -> None:
    first, second = new_keyring(), new_keyring()
    assert first != second
    assert first.keys[0].secret.hex() not in repr(first)
    assert repr(first.keys[0].secret) not in repr(first)
    assert new_keyring(lambda size: b"\7" * size).keys[0].secret == b"\7" * 32
