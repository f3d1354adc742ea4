"""The rhythm of the switch process where a whole process would show it too late."""

import asyncio
from collections.abc import Callable
from types import SimpleNamespace

from b2bua.app.shell import Shell


def test_a_backlog_is_resumed_once_a_turn_however_often_the_socket_is_readable() -> None:
    """Two resumptions for one would be three the next turn, and timers would wait longer and longer."""
    soon: list[Callable[[], None]] = []
    shell = Shell.__new__(Shell)
    shell._closing = shell._resuming = False
    shell._others = ()
    shell.loop = SimpleNamespace(call_soon=soon.append)
    shell.switch = SimpleNamespace(receive=None, admits=None, load=SimpleNamespace())
    shell.socket = SimpleNamespace(undelivered=[], receive=lambda *_: True, waited=0.0)  # there is always more
    shell._note_journal = shell._pump = lambda *_: None
    for _ in range(5):
        turn, soon[:] = list(soon), []
        shell._readable(shell.socket)  # by the event loop
        for step in turn:
            step()
        assert len(soon) == 1


def broken_shell() -> tuple[Shell, list[str]]:
    """A shell without a switch, and the names of the defects that it tells of."""
    shell = Shell.__new__(Shell)
    shell._closing = shell._resuming = False
    shell._tickers = []
    shell._note_journal = shell._pump = lambda *_: None
    defects: list[str] = []
    shell._defect = lambda error: defects.append(type(error).__name__)
    return shell, defects


async def test_work_that_fails_once_is_done_again() -> None:
    shell, defects = broken_shell()
    shell.loop = asyncio.get_running_loop()
    done = asyncio.Event()
    turns = 0

    def work() -> None:
        nonlocal turns
        turns += 1
        if turns == 1:
            raise KeyError("a bug")
        done.set()

    shell._every(0.001, work)
    await asyncio.wait_for(done.wait(), 5.0)
    shell._tickers[0].cancel()
    assert defects == ["KeyError"]


def test_one_datagram_that_came_back_does_not_stop_the_others() -> None:
    shell, defects = broken_shell()
    heard: list[bytes] = []
    pumped: list[object] = []
    shell._pump = pumped.append

    def bounced(start: bytes, now: object) -> None:
        heard.append(start)
        if start == b"first":
            raise KeyError("a bug")

    shell.switch = SimpleNamespace(receive=None, admits=None, load=SimpleNamespace(), bounced=bounced)
    listener = SimpleNamespace(undelivered=[b"first", b"second"], receive=lambda *_: False, waited=0.0)
    shell._readable(listener)
    assert heard == [b"first", b"second"]
    assert listener.undelivered == []
    assert defects == ["KeyError"]
    assert len(pumped) == 1
