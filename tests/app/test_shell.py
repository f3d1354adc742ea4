"""The rhythm of the switch process where a whole process would show it too late."""

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
