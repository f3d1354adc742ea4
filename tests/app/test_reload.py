"""Changed settings: what is taken over, what waits for a restart, and that nothing changes on any mistake."""

import asyncio
import re
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from b2bua.app import reloader as module
from b2bua.app.config import ConfigError, Settings, load, settings_table
from b2bua.app.config_policy import policy_settings
from b2bua.app.reload import LIVE, RECORDER, Changes, compare, merge
from b2bua.app.reloader import Reloader
from b2bua.app.shell import stream_limits, switch_settings
from cdr.seal import format_keyring, new_keyring
from routing.trunks import Peer

FILE = """
[node]
data_dir = "/tmp/x700"
[sip]
listen = "192.0.2.1:5060"
t1_ms = 400
[limits]
max_calls = 10
[prompts]
server = "192.0.2.20:5060"
url = "file:///prompts/"
[log]
level = "info"
[[trunk]]
name = "carrier-a"
peers = ["192.0.2.7:5060"]
[[trunk]]
name = "carrier-b"
peers = ["192.0.2.8:5060"]
"""
CARRIER_B = FILE[FILE.index('[[trunk]]\nname = "carrier-b"') :]
ENVIRON = {"X700_KEY": format_keyring(new_keyring())}


def settings(path: Path, text: str = FILE) -> Settings:
    path.write_text(text)
    return load(path, ENVIRON)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "x700.toml"


TABLE: list[tuple[str, str, Changes]] = [
    ("", "", Changes()),
    ("max_calls = 10", "max_calls = 20", Changes(live=("limits.max_calls",))),
    ("t1_ms = 400", "t1_ms = 500\nring_seconds = 30", Changes(live=("sip.t1_ms", "sip.ring_seconds"))),
    ('level = "info"', 'level = "debug"', Changes(live=("log.level",))),
    ("192.0.2.1:5060", "192.0.2.2:5060", Changes(restart=("sip.listen",))),
    (
        "/tmp/x700", "/tmp/x701", Changes(
            live=("keys.passwords",),
            restart=(
                "node.data_dir", "routing.store", "journal.directory", "records.directory", "keys.file",
                "ops.control_socket",
            ),
        ),
    ),
    ("[log]", "[records]\nretention_days = 800\n[log]", Changes(recorder=("records.retention_days",))),
    (CARRIER_B, "", Changes(removed=("carrier-b",))),
    (CARRIER_B, CARRIER_B + CARRIER_B.replace("-b", "-c").replace(".8", ".9"), Changes(added=("carrier-c",))),
    (CARRIER_B, CARRIER_B + "max_calls = 3\n", Changes(changed=("carrier-b",))),
    (CARRIER_B, CARRIER_B.replace("carrier-b", "carrier-x"), Changes(added=("carrier-x",), removed=("carrier-b",))),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "changes"), TABLE)
def test_a_change_is_told_by_its_key(file: Path, old: str, new: str, changes: Changes) -> None:
    running = settings(file)
    wanted = settings(file, FILE.replace(old, new, 1) if old else FILE)
    assert compare(running, wanted) == changes
    merged = merge(running, wanted)
    assert compare(running, merged) == changes._replace(restart=(), recorder=())
    assert compare(merged, wanted) == Changes(restart=changes.restart, recorder=changes.recorder)


def test_other_keys_in_the_same_file_are_told_as_the_file(file: Path) -> None:
    running = settings(file)
    wanted = load(file, {"X700_KEY": format_keyring(new_keyring())})
    assert compare(running, wanted) == Changes(restart=("keys.file",))
    assert merge(running, wanted) == running


def test_what_is_said_in_words() -> None:
    changes = Changes(live=("limits.max_calls",), added=("c",), changed=("b",), removed=("a",))
    assert changes.taken() == ["limits.max_calls", "trunk[c] added", "trunk[b] changed", "trunk[a] removed"]


def other(value: object) -> object:
    """A value unlike this one, of its kind."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, (int, float)):
        return type(value)(value + 1)
    if isinstance(value, Peer):
        return value._replace(port=value.port + 1)
    if isinstance(value, Mapping):
        return {}
    return {"info": "debug", "json": "console"}.get(str(value), f"{value}1")


def reached(in_force: Settings) -> tuple[object, ...]:
    """What is made of the settings each time they change."""
    return switch_settings(in_force), stream_limits(in_force), policy_settings(in_force.policy), in_force.verification


def test_every_live_key_exists_and_reaches_somebody(file: Path) -> None:
    """A key in LIVE changes what the switch is told, or one of the few that others read."""
    keys = {f"{row.section}.{row.key}" for row in settings_table()}
    assert keys >= LIVE | RECORDER
    assert not LIVE & RECORDER
    elsewhere = {"keys.passwords", "sip.drain_seconds", "log.level", "log.format", "routing.inactive_block_ends_calls"}
    running = settings(file)
    for name in sorted(LIVE - elsewhere):
        section, _, key = name.partition(".")
        old = getattr(running, section)
        changed = old.model_copy(update={key: other(getattr(old, key))})
        wanted = running.model_copy(update={section: changed})
        assert compare(running, wanted).live == (name,)
        assert reached(merge(running, wanted)) != reached(running), name


# the reloader


class Scene:
    """A reloader on a file, what it has told the switch, and what it has logged."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.given: list[Settings] = []
        self.refuses = ""
        self.problems: list[str] = []
        self.events: list[tuple[str, dict[str, object]]] = []
        self.read: Callable[[], Settings] = lambda: load(file, ENVIRON)
        self.reloader = Reloader(settings(file), lambda: self.read(), self, self)

    def read_certificates(self) -> list[str]:
        return self.problems

    def reconfigure(self, changed: Settings) -> None:
        if self.refuses:
            raise ValueError(self.refuses)
        self.given.append(changed)

    def warning(self, event: str, **fields: object) -> None:
        self.events.append((event, fields))

    error = warning


@pytest.fixture
def scene(file: Path) -> Scene:
    return Scene(file)


async def test_what_can_change_changes_and_the_rest_is_named(scene: Scene) -> None:
    before = scene.reloader.figures
    scene.file.write_text(FILE.replace("max_calls = 10", "max_calls = 20").replace("192.0.2.1:", "192.0.2.2:"))
    answer = await scene.reloader.reload()
    assert answer == {"ok": True, "changed": ["limits.max_calls"], "restart": ["sip.listen"], "recorder": []}
    (given,) = scene.given
    assert (given.limits.max_calls, given.sip.listen.host) == (20, "192.0.2.1")
    assert scene.reloader.settings is given
    assert scene.events == [("reloaded", {key: answer[key] for key in ("changed", "restart", "recorder")})]
    figures = scene.reloader.figures
    assert (figures.done, figures.failed, figures.pending) == (1, 0, 1)
    assert figures.good_at >= before.good_at
    again = await scene.reloader.reload()
    assert again == {"ok": True, "changed": [], "restart": ["sip.listen"], "recorder": []}


async def test_any_mistake_keeps_everything_and_is_told_with_key_value_and_fix(scene: Scene) -> None:
    before = scene.reloader.settings
    scene.file.write_text(FILE.replace("max_calls = 10", "max_calls = 20").replace("t1_ms = 400", 't1_ms = "fast"'))
    answer = await scene.reloader.reload()
    assert answer["ok"] is False
    (problem,) = answer["problems"]
    assert re.search(r'sip\.t1_ms = "fast": must be a whole number, .*; write, for example, t1_ms = 500', problem)
    assert scene.events == [("reload_failed", {"problem": problem})]
    assert scene.given == []
    assert scene.reloader.settings is before
    figures = scene.reloader.figures
    assert (figures.done, figures.failed, figures.pending) == (0, 1, 0)
    scene.file.unlink()
    answer = await scene.reloader.reload()
    assert "cannot be read" in answer["problems"][0]
    assert scene.reloader.figures.failed == 2


async def test_certificates_and_the_switch_may_refuse(scene: Scene) -> None:
    before = scene.reloader.settings
    scene.file.write_text(FILE.replace("max_calls = 10", "max_calls = 20"))
    scene.problems = ["tls.certificate: expired"]
    assert await scene.reloader.reload() == {"ok": False, "problems": ["tls.certificate: expired"]}
    scene.problems = []
    scene.refuses = "trunks a and b both claim the source 192.0.2.7"
    assert (await scene.reloader.reload())["problems"] == [f"trunk: {scene.refuses}"]
    assert scene.reloader.settings is before
    scene.refuses = ""
    assert (await scene.reloader.reload())["ok"] is True


async def test_a_trunk_is_not_moved_to_a_listener_that_waits_for_a_restart(scene: Scene) -> None:
    listener = '[[listener]]\nname = "tcp"\ntransport = "tcp"\nlisten = "192.0.2.1:5070"\n'
    scene.file.write_text(FILE + listener)
    assert (await scene.reloader.reload())["restart"] == ["listener"]
    scene.file.write_text(FILE.replace('"carrier-a"', '"carrier-a"\ntransport = "tcp"') + listener)
    load(scene.file, ENVIRON)  # the file is right: a start would take it
    assert await scene.reloader.reload() == {
        "ok": False,
        "problems": [
            'running listeners: trunk[carrier-a].transport = "tcp": has no listener to reach the IPv4 peers by; '
            'add a [[listener]] with transport = "tcp" and an IPv4 address, and restart: a reload opens no listener'
        ],
    }
    assert [trunk.transport for given in scene.given for trunk in given.trunk] == ["udp", "udp"]


async def test_the_log_changes_with_its_settings(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[str, str]] = []
    monkeypatch.setattr(module, "configure", lambda level, form: told.append((level, form)))
    await scene.reloader.reload()
    scene.file.write_text(FILE.replace('level = "info"', 'level = "debug"'))
    await scene.reloader.reload()
    assert told == [("debug", "json")]


async def test_reloads_come_one_after_another(scene: Scene) -> None:
    going, most, lock = 0, 0, threading.Lock()

    def slowly() -> Settings:
        nonlocal going, most
        with lock:
            going += 1
            most = max(most, going)
        found = load(scene.file, ENVIRON)
        with lock:
            going -= 1
        return found

    scene.read = slowly
    for _ in range(5):
        scene.reloader.request()
    while scene.reloader.figures.done < 5:  # noqa: ASYNC110 - it tells nobody
        await asyncio.sleep(0.01)
    assert most == 1


async def test_what_reads_the_file_may_say_anything_wrong(scene: Scene) -> None:
    def refuse() -> Settings:
        raise ConfigError(["first", "second"])

    scene.read = refuse
    assert (await scene.reloader.reload())["problems"] == ["first", "second"]
    assert [fields["problem"] for _, fields in scene.events] == ["first", "second"]
