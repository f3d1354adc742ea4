"""The supervisor: children kept alive, readiness, stopping in order. The children are a few lines of Python."""

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from b2bua.app import supervisor
from b2bua.app.notify import Listener
from b2bua.app.supervisor import Program, Supervisor

# Writes what happens to it into a file. Arguments: how many signals it takes to end, its exit code, what it does first.
CHILD = """
import signal, sys, time
from b2bua.app.notify import notify

story, name, signals, code, deed = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), sys.argv[5]

def tell(what):
    with open(story, "a") as file:
        file.write(f"{name} {what}\\n")

def signalled(number, frame):
    global signals
    signals -= number != signal.SIGHUP
    tell(signal.Signals(number).name)

if deed == "slow":
    time.sleep(0.2)
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
    signal.signal(number, signalled)
signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGHUP,))
tell("starts")
if deed == "die":
    sys.exit(code)
notify("READY=1")
if deed == "die later":
    time.sleep(0.05)
    sys.exit(code)
while signals > 0:
    time.sleep(0.01)
tell("ends")
sys.exit(code)
"""


class Stage:
    """Fake children and the story they tell, in the order of events."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "story"
        self.path.touch()
        self.events: list[tuple[str, dict[str, object]]] = []

    def program(self, name: str, signals: int = 1, code: int = 0, deed: str = "", stop_seconds: float = 10) -> Program:
        words = (str(self.path), name, str(signals), str(code), deed)
        return Program(name, (sys.executable, "-c", CHILD, *words), stop_seconds)

    def info(self, event: str, **fields: object) -> None:
        self.events.append((event, fields))

    warning = info

    def said(self, event: str) -> list[object]:
        return [fields.get("child") for name, fields in self.events if name == event]

    def story(self) -> list[str]:
        return self.path.read_text().splitlines()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(15):
            while not condition():  # noqa: ASYNC110 (what is waited for happens in other processes)
                await asyncio.sleep(0.01)


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    monkeypatch.setattr(supervisor, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(supervisor, "PATIENCE", 0.2)
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    return Stage(tmp_path)


def send(number: signal.Signals) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_the_switch_drains_before_the_recorder_is_asked(stage: Stage, number: signal.Signals) -> None:
    running = asyncio.create_task(Supervisor([stage.program("switch"), stage.program("recorder")], stage).run())
    await stage.until(lambda: len(stage.said("child_ready")) == 2)
    send(number)
    assert await running == 0
    assert stage.story()[2:] == ["switch SIGTERM", "switch ends", "recorder SIGTERM", "recorder ends"]


async def test_a_child_that_dies_is_started_again_and_the_other_left_alone(stage: Stage) -> None:
    programs = [stage.program("switch"), stage.program("recorder", code=1, deed="die later")]
    running = asyncio.create_task(Supervisor(programs, stage).run())
    await stage.until(lambda: stage.story().count("recorder starts") >= supervisor.FAILED_STARTS + 1)
    send(signal.SIGTERM)
    await running
    assert stage.story().count("switch starts") == 1


async def test_a_killed_child_is_started_again(stage: Stage) -> None:
    running = asyncio.create_task(Supervisor([stage.program("switch")], stage).run())
    await stage.until(lambda: stage.said("child_ready") == ["switch"])
    (pid,) = [fields["pid"] for event, fields in stage.events if event == "child_started"]
    assert isinstance(pid, int)
    os.kill(pid, signal.SIGKILL)
    await stage.until(lambda: stage.said("child_ready") == ["switch", "switch"])
    send(signal.SIGTERM)
    assert await running == 0


async def test_wrong_settings_end_the_command_with_their_code(stage: Stage) -> None:
    programs = [stage.program("switch", code=2, deed="die"), stage.program("recorder")]
    assert await Supervisor(programs, stage).run() == 2
    assert stage.story().count("switch starts") == 1
    assert "recorder SIGTERM" in stage.story() or "recorder starts" not in stage.story()


async def test_a_child_that_never_comes_up_is_given_up(stage: Stage) -> None:
    assert await Supervisor([stage.program("switch", code=7, deed="die")], stage).run() == 7
    assert stage.story() == ["switch starts"] * supervisor.FAILED_STARTS
    assert stage.said("child_given_up") == ["switch"]


async def test_a_command_that_is_not_there_is_given_up_at_once(stage: Stage) -> None:
    assert await Supervisor([Program("switch", ("/none/x700",), 1)], stage).run() == 2
    assert stage.said("child_not_started") == ["switch"]


async def test_a_second_signal_forces_both(stage: Stage) -> None:
    programs = [stage.program("switch", signals=2), stage.program("recorder", signals=2)]
    running = asyncio.create_task(Supervisor(programs, stage).run())
    await stage.until(lambda: len(stage.said("child_ready")) == 2)
    send(signal.SIGINT)
    await stage.until(lambda: "switch SIGTERM" in stage.story())
    send(signal.SIGINT)
    assert await running == 1
    assert stage.said("child_forced") == ["switch", "recorder"]
    assert stage.said("child_killed") == []
    assert "switch SIGINT" in stage.story()


async def test_a_child_that_does_not_stop_in_time_is_forced_and_then_killed(stage: Stage) -> None:
    running = asyncio.create_task(Supervisor([stage.program("switch", signals=9, stop_seconds=0.1)], stage).run())
    await stage.until(lambda: stage.said("child_ready") == ["switch"])
    send(signal.SIGTERM)
    assert await running == 1
    assert stage.story() == ["switch starts", "switch SIGTERM", "switch SIGINT"]
    assert stage.said("child_killed") == ["switch"]


async def test_readiness_is_passed_on_when_every_child_is_ready(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    with Listener() as manager:
        monkeypatch.setenv("NOTIFY_SOCKET", manager.environ["NOTIFY_SOCKET"])
        running = asyncio.create_task(Supervisor([stage.program("switch"), stage.program("recorder")], stage).run())
        await stage.until(lambda: len(stage.said("child_ready")) == 2)
        assert manager.states() == ["READY=1", "STATUS=switch up, recorder up"]
        send(signal.SIGTERM)
        await running
        assert manager.states() == ["STOPPING=1"]


async def test_children_do_not_outlive_a_killed_supervisor(stage: Stage) -> None:
    program = stage.program("switch")
    code = f"from unittest.mock import Mock; from b2bua.app.supervisor import *; supervise([{program!r}], Mock())"
    parent = await asyncio.create_subprocess_exec(sys.executable, "-c", code)
    try:
        await stage.until(lambda: stage.story() == ["switch starts"])
        await asyncio.sleep(0.05)
    finally:
        parent.kill()
        await parent.wait()
    await stage.until(lambda: stage.story() == ["switch starts", "switch SIGTERM", "switch ends"])


async def test_a_reload_is_passed_on_and_what_it_changes_of_the_programs_is_kept(stage: Stage) -> None:
    programs = [stage.program("switch", signals=9, stop_seconds=0.1), stage.program("recorder")]
    renewed: list[list[Program]] = [[], [stage.program("switch", signals=9, stop_seconds=10.0)]]
    running = asyncio.create_task(Supervisor(programs, stage, lambda: renewed.pop(0)).run())
    await stage.until(lambda: len(stage.said("child_ready")) == 2)
    for times in (1, 2):
        send(signal.SIGHUP)
        await stage.until(lambda: stage.story().count("switch SIGHUP") == times)  # noqa: B023
        await stage.until(lambda: stage.story().count("recorder SIGHUP") == times)  # noqa: B023
    assert renewed == []
    assert stage.story().count("switch starts") == 1
    send(signal.SIGTERM)
    await stage.until(lambda: "switch SIGTERM" in stage.story())
    await asyncio.sleep(0.3)
    assert stage.said("child_forced") == []  # it has ten seconds now
    send(signal.SIGTERM)
    assert await running == 1


async def test_a_reload_waits_for_a_child_that_does_not_listen_yet(stage: Stage) -> None:
    """Else the signal would end it."""
    running = asyncio.create_task(Supervisor([stage.program("switch", deed="slow")], stage).run())
    await stage.until(lambda: stage.said("child_started") == ["switch"])
    send(signal.SIGHUP)
    await stage.until(lambda: "switch SIGHUP" in stage.story())
    assert stage.said("child_died") == []
    send(signal.SIGTERM)
    assert await running == 0
