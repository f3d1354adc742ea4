"""Real telephones and proxies through the switch: what people do, heard at both ends and searched for leaks."""

import time
from collections.abc import Iterator
from typing import Self

import pytest

from b2bua.call.refusals import Outcome
from tests.interop.far_end import Phone, until
from tests.interop.pjsip import Softphone
from tests.interop.site import CALLEE_HERTZ, CALLER_HERTZ, Setting, Site, X, open_site
from tests.interop.tone import is_whole, share

# Of the energy of a recording this much is the tone: gaps of a busy machine sound at other frequencies.
CLEAR = 0.5
SPEECH_SECONDS = 1.5
DIGITS = "129*0#"


class Talk:
    """A call that rings. After the ``with`` it is over and has left one record with this outcome, and nothing else."""

    def __init__(self, site: Site, outcome: Outcome = Outcome.ANSWERED) -> None:
        self._site = site
        self._outcome = outcome
        self._before = len(site.records())

    def __enter__(self) -> Self:
        self._site.callee.expect()
        self._site.caller.dial(X)
        self._site.callee.await_ringing()
        return self

    def answer(self) -> None:
        """Take the call, and wait until both ends know."""
        self._site.callee.answer()
        self._site.caller.await_up()
        self._site.callee.await_up()

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if error is not None:
            return
        self._site.caller.await_down()
        self._site.callee.await_down()
        self._site.await_records(self._before + 1)
        self._site.await_empty()
        records = self._site.records()[self._before :]
        assert [record.outcome for record in records] == [self._outcome]
        assert self._site.leaks() == []
        assert self._site.alarms() == []


@pytest.fixture(scope="module")
def site(setting: Setting, transport: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with open_site(tmp_path_factory.mktemp("site"), setting, transport) as site:
        yield site


def hear(phone: Phone, hertz: int) -> float:
    """How much of what a phone that records parts of a call hears now is this tone."""
    assert isinstance(phone, Softphone)
    phone.record()
    time.sleep(SPEECH_SECONDS)
    path = phone.recording()
    phone.record()
    until(lambda: is_whole(path), "a recording")
    return share(path, hertz)


def await_digits(phone: Phone, digits: str) -> None:
    """Wait until a phone has been told exactly these digits, in its whole life."""
    until(lambda: phone.digits() == digits, f"digits {digits} at {phone.number}")


def test_both_parties_hear_each_other(site: Site) -> None:
    with Talk(site) as talk:
        talk.answer()
        time.sleep(SPEECH_SECONDS)
        site.caller.hang_up()
    assert share(site.callee.recording(), CALLER_HERTZ) > CLEAR
    assert share(site.caller.recording(), CALLEE_HERTZ) > CLEAR
    assert site.bypassed() == []


def test_the_callee_hangs_up(site: Site) -> None:
    with Talk(site) as talk:
        talk.answer()
        site.callee.hang_up()


def test_the_caller_gives_up_while_it_rings(site: Site) -> None:
    with Talk(site, Outcome.CANCELLED):
        site.caller.hang_up()


def test_the_callee_is_busy(site: Site) -> None:
    with Talk(site, Outcome.BUSY):
        site.callee.hang_up()


def test_digits_in_the_stream_of_speech_arrive_both_ways(site: Site) -> None:
    with Talk(site) as talk:
        talk.answer()
        for sender, receiver in ((site.caller, site.callee), (site.callee, site.caller)):
            before = receiver.digits()
            sender.press(DIGITS)
            await_digits(receiver, before + DIGITS)
        site.caller.hang_up()


@pytest.mark.needs(caller="pjsua2")
def test_digits_by_info_arrive(site: Site) -> None:
    assert isinstance(site.caller, Softphone)
    with Talk(site) as talk:
        talk.answer()
        expected = site.callee.digits()
        for digit in DIGITS:
            # one at a time, as fingers do: proxies with several workers overtake themselves
            expected += digit
            site.caller.press_by_info(digit)
            await_digits(site.callee, expected)
        site.caller.hang_up()


@pytest.mark.needs(callee="pjsua2")
def test_the_caller_holds_and_resumes(site: Site) -> None:
    assert isinstance(site.callee, Softphone)
    with Talk(site) as talk:
        talk.answer()
        hold_and_resume(site.caller, site.callee, CALLER_HERTZ)
        site.caller.hang_up()


@pytest.mark.needs(caller="pjsua2")
def test_the_callee_holds_and_resumes(site: Site) -> None:
    assert isinstance(site.caller, Softphone)
    with Talk(site) as talk:
        talk.answer()
        hold_and_resume(site.callee, site.caller, CALLEE_HERTZ)
        site.callee.hang_up()


def hold_and_resume(holder: Phone, held: Softphone, hertz: int) -> None:
    """The one who is held stops sending, then both talk again."""
    until(lambda: held.streams()[-1] == (True, True), "speech")
    holder.hold()
    until(lambda: held.streams()[-1] == (False, True), f"being held; the streams were {held.streams()}")
    holder.resume()
    until(lambda: held.streams()[-1] == (True, True), f"speech again; the streams were {held.streams()}")
    assert hear(held, hertz) > CLEAR
