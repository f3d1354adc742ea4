"""Lines of the journal: what they hold, and what they survive."""

import itertools

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdr.journal import (
    EntryError,
    Position,
    PositionError,
    Verdict,
    decode_event,
    encode_event,
    format_position,
    frame,
    parse_position,
    salvage,
    scan,
)
from cdr.record import (
    Answered,
    Attempted,
    Boot,
    Ended,
    Event,
    Parties,
    Record,
    SealedAttempted,
    format_parties,
    parse_parties,
    reveal,
)
from cdr.seal import Seal, SealError
from tests.cdr.story import CALL_ID, CALLEE, CALLER, MIDDLE, answered, attempted, boot, ended, line, new_seal

PAYLOADS = [b'["a",1]', b"[]", b'["caf\xc3\xa9"]', b'["' + b"long" * 50 + b'"]']


def sealed(event: Attempted, seal: Seal) -> SealedAttempted:
    entry = decode_event(encode_event(event, seal))
    assert isinstance(entry, SealedAttempted)
    return entry


def parties(event: Attempted, seal: Seal) -> Parties:
    entry = sealed(event, seal)
    return reveal(Record(record_id=entry.record_id, arrived_ms=0, sealed=entry.sealed), seal)


@pytest.mark.parametrize("event", [boot(), answered(), ended(), ended(routes=(), reason="caller_unbound")])
def test_an_event_without_personal_parts_reads_back_as_it_was(event: Boot | Answered | Ended, seal: Seal) -> None:
    assert decode_event(encode_event(event, seal)) == event


def test_an_attempt_reads_back_sealed(seal: Seal) -> None:
    event = attempted()
    entry = sealed(event, seal)
    for name in set(SealedAttempted.__struct_fields__) - {"a_hash", "b_hash", "sealed"}:
        assert getattr(entry, name) == getattr(event, name), name
    assert (entry.a_hash, entry.b_hash) == (seal.hash(CALLER)[:8], seal.hash(CALLEE)[:8])
    assert parties(event, seal) == Parties(CALLER, CALLEE, "", CALL_ID)


@pytest.mark.parametrize(
    ("calling", "a", "b"),
    [("a", "+861", "+862"), ("b", "+862", "+861"), ("", "+861", "+862")],
)
def test_the_parties_are_told_apart_by_who_called(calling: str, a: str, b: str, seal: Seal) -> None:
    event = attempted(caller="+861", callee="+862", calling=calling)
    assert parties(event, seal)[:2] == (a, b)
    assert (sealed(event, seal).a_hash, sealed(event, seal).b_hash) == (seal.hash(a)[:8], seal.hash(b)[:8])


def test_an_unknown_party_has_no_hash(seal: Seal) -> None:
    entry = sealed(attempted(caller="", callee="", calling=""), seal)
    assert (entry.a_hash, entry.b_hash) == (b"", b"")


@pytest.mark.parametrize(
    "dialled",
    ["13900139000", "+8613900139000", "70013900139000", "7001390013900012", "70012345678901x", "70012345678901²", ""],
)
def test_a_dialled_number_that_is_no_middle_number_is_sealed(dialled: str, seal: Seal) -> None:
    event = attempted(x=dialled)
    assert sealed(event, seal).x == ""
    assert parties(event, seal).dialled == dialled
    if dialled:
        assert dialled.encode() not in encode_event(event, seal)


def test_no_personal_part_is_in_clear(seal: Seal) -> None:
    payload = encode_event(attempted(), seal)
    for secret in (CALLER, CALLEE, CALL_ID):
        assert secret.encode() not in payload
        assert secret.removeprefix("+86").encode() not in payload
    assert MIDDLE.encode() in payload


def test_an_attempt_keeps_its_numbers_out_of_logs() -> None:
    shown = repr(attempted()) + str([attempted()])
    assert "r-1" in shown
    assert CALLER[3:] not in shown
    assert CALLEE[3:] not in shown


@pytest.mark.parametrize(
    "event",
    [
        attempted(scenario="\udcff", ingress_call_id="id\udcff"),
        ended(media="PCMA\udc80", routes=("trunk\udc80:486",)),
        answered(egress="\udcff"),
        boot(instance="\udcff"),
    ],
)
def test_text_that_is_no_unicode_is_escaped_and_never_refused(event: Event, seal: Seal) -> None:
    payload = encode_event(event, seal)
    decode_event(payload)
    assert b"\\\\udc" in payload


def test_a_sealed_call_id_keeps_its_odd_bytes(seal: Seal) -> None:
    assert parties(attempted(ingress_call_id="id\udcff\x00more"), seal).ingress_call_id == "id\udcff\x00more"


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"[]",
        b"{}",
        b"nonsense",
        b'["later",1]',
        b'["boot","n"]',
        b'["answered","r",99999999999999999999,0,"","",0]',
    ],
)
def test_a_payload_that_is_no_event_is_an_entry_error(payload: bytes) -> None:
    with pytest.raises(EntryError):
        decode_event(payload)


def test_a_later_version_may_add_fields(seal: Seal) -> None:
    payload = encode_event(boot(), seal)
    assert decode_event(payload[:-1] + b',"new"]') == boot()


@pytest.mark.parametrize(("text", "position"), [("0:0", Position()), ("7:4096", Position(7, 4096))])
def test_positions_in_text(text: str, position: Position) -> None:
    assert parse_position(text) == position
    assert format_position(position) == text


@pytest.mark.parametrize("text", ["", "7", ":", "7:", ":7", "-1:2", "7:8:9", "７:8", "a:b"])
def test_texts_that_are_no_position(text: str) -> None:
    with pytest.raises(PositionError):
        parse_position(text)


@given(st.tuples(*[st.text(st.characters(exclude_characters="\0"))] * 3), st.text())
def test_parties_in_text(head: tuple[str, str, str], call_id: str) -> None:
    assert parse_parties(format_parties(Parties(*head, call_id))) == Parties(*head, call_id)


def test_too_few_parties_are_refused() -> None:
    with pytest.raises(ValueError, match="four parts"):
        parse_parties("a\0b\0c")


def test_a_record_without_its_head_has_nothing_to_reveal(seal: Seal) -> None:
    assert reveal(Record(record_id="r", arrived_ms=0), seal) == Parties("", "", "", "")


def test_a_sealed_part_under_another_records_id_is_not_revealed(seal: Seal) -> None:
    blob = sealed(attempted("r-1"), seal).sealed
    with pytest.raises(SealError):
        reveal(Record(record_id="r-2", arrived_ms=0, sealed=blob), seal)


def test_lines_read_back() -> None:
    data = b"".join(map(frame, PAYLOADS))
    assert scan(data) == (PAYLOADS, len(data), Verdict.END)
    assert scan(b"") == ([], 0, Verdict.END)
    assert scan(b"junk" + data, 4) == (PAYLOADS, len(data), Verdict.END)


@pytest.mark.parametrize("padding", [b"", b"\0", b"\0" * 500])
def test_every_prefix_loses_at_most_its_torn_line(padding: bytes) -> None:
    lines = [frame(payload) for payload in PAYLOADS]
    ends = list(itertools.accumulate(map(len, lines), initial=0))
    data = b"".join(lines)
    for cut in range(len(data) + 1):
        whole = sum(end <= cut for end in ends[1:])
        found = scan(data[:cut] + padding)
        assert found.payloads == PAYLOADS[:whole]
        assert found.consumed == ends[whole]
        torn = cut > ends[whole]
        assert found.verdict is (Verdict.PARTIAL if torn else Verdict.PADDING if padding else Verdict.END)


def everything(data: bytes) -> tuple[list[bytes], bool]:
    """All that can be read from some bytes, damage stepped over; whether damage was noticed."""
    payloads: list[bytes] = []
    at, lost = 0, False
    while True:
        found = scan(data, at)
        payloads += found.payloads
        at += found.consumed
        if found.verdict is not Verdict.DAMAGED:
            return payloads, lost or found.verdict is Verdict.PARTIAL
        saved = salvage(data, at)
        payloads += saved.payloads
        at += saved.consumed
        lost = lost or saved.lost


def test_a_flipped_bit_costs_its_own_line_and_is_noticed() -> None:
    data = b"".join(map(frame, PAYLOADS))
    for position, bit in itertools.product(range(len(data)), range(8)):
        changed = bytearray(data)
        changed[position] ^= 1 << bit
        payloads, lost = everything(bytes(changed))
        missing = [payload for payload in PAYLOADS if payload not in payloads]
        assert not set(payloads) - set(PAYLOADS)
        if data[position : position + 1] == b"\n" and position < len(data) - 1:
            # Two joined lines are taken apart again.
            assert (missing, lost) == ([], False)
        else:
            assert len(missing) == 1
            assert lost


@given(st.lists(st.one_of(st.sampled_from([frame(each) for each in PAYLOADS]), st.binary(max_size=40)), max_size=12))
def test_whatever_stands_between_them_every_whole_line_is_found(pieces: list[bytes]) -> None:
    data = b"\n".join(pieces)
    payloads, _ = everything(data)
    wanted = [each[9:-1] for each in pieces if each[9:-1] in PAYLOADS]
    assert [each for each in payloads if each in PAYLOADS] == wanted


def test_a_hole_of_nuls_that_ends_at_a_line_costs_nothing_behind_it() -> None:
    good = frame(PAYLOADS[0])
    found = scan(b"\0" * 100 + good)
    assert found.verdict is Verdict.DAMAGED
    saved = salvage(b"\0" * 100 + good)
    assert saved == ([PAYLOADS[0]], 100 + len(good), True)


@given(st.builds(ended, media=st.text(), reason=st.text(), status=st.integers(0, 699)))
def test_no_text_in_an_event_breaks_a_line(event: Ended) -> None:
    seal = new_seal()
    framed = line(event, seal)
    assert framed.count(b"\n") == 1
    [payload] = scan(framed).payloads
    assert decode_event(payload) == event


def test_the_struct_that_holds_numbers_is_no_journal_entry(seal: Seal) -> None:
    with pytest.raises(EntryError):
        decode_event(msgspec.json.encode(attempted()))
