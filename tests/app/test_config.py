"""Settings: what is read, what is overridden, and what a wrong file is told, word by word."""

import re
import tempfile
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from b2bua.app.config import OVERRIDES, ConfigError, Settings, load, settings_table
from b2bua.app.config_models import SECTIONS, TrunkSettings
from cdr.seal import format_keyring, new_keyring
from routing.numbers import NumberForm
from routing.trunks import Identity, Peer, Reliable, Trunk

SHIPPED = Path(__file__).parents[2] / "configs" / "x700.toml"
KEYRING = format_keyring(new_keyring())
TRUNK = '[[trunk]]\nname = "carrier-a"\npeers = ["192.0.2.1:5060"]\n'


@pytest.fixture
def environ() -> dict[str, str]:
    return {"X700_KEY": KEYRING}


def write(directory: Path, text: str) -> Path:
    path = directory / "x700.toml"
    path.write_text(text)
    return path


def problems(path: Path, environ: dict[str, str]) -> list[str]:
    with pytest.raises(ConfigError) as failure:
        load(path, environ)
    assert str(failure.value) == "\n".join(failure.value.problems)
    assert all("\n" not in problem for problem in failure.value.problems)
    return [problem.replace(f"{path}: ", "", 1) for problem in failure.value.problems]


def test_the_shipped_file_holds_every_key_with_its_default_and_meaning() -> None:
    shipped = tomllib.loads(SHIPPED.read_text())
    text = " ".join(line.removeprefix("# ") for line in SHIPPED.read_text().splitlines())
    required = {"listener": ("name", "transport", "listen"), "trunk": ("name", "peers", "prefixes")}
    shipped |= {section: shipped[section][0] for section in required}
    given = [(section, key) for section, table in shipped.items() for key in table]
    rows = list(settings_table())
    assert given == [(row.section, row.key) for row in rows]
    for row in rows:
        assert row.meaning in text
        if row.key not in required.get(row.section, ()):
            assert shipped[row.section][row.key] == row.default, row
        if row.variable:
            assert f"{row.variable} " in text


def test_every_key_has_a_meaning() -> None:
    for name, model in SECTIONS.items():
        for key, field in model.model_fields.items():
            assert field.description, f"{name}.{key}"
            assert field.description.endswith("."), f"{name}.{key}"


def test_the_shipped_file_loads_and_routes_each_number_to_one_of_its_carriers(environ: dict[str, str]) -> None:
    settings = load(SHIPPED, environ)
    assert [(trunk.name, trunk.peers, trunk.prefixes) for trunk in settings.trunks] == [
        ("carrier-a", (Peer("127.0.0.1", 5070),), ("138",)),
        ("carrier-b", (Peer("127.0.0.1", 5090),), ("",)),
    ]


def test_a_file_of_trunks_alone_gives_the_defaults(tmp_path: Path, environ: dict[str, str]) -> None:
    settings = load(write(tmp_path, TRUNK), environ)
    assert settings.model_copy(update={"trunk": (), "keyring": Settings().keyring}) == Settings()
    assert settings.keyring.get_secret_value() == KEYRING


def test_trunk_settings_become_the_trunk_of_routing(tmp_path: Path, environ: dict[str, str]) -> None:
    text = """
    [[listener]]
    name = "udp-v6"
    transport = "udp"
    listen = "[::1]:5060"
    [[trunk]]
    name = "carrier-a"
    peers = ["192.0.2.1:5060", "[2001:DB8::1]:5070"]
    networks = ["192.0.2.9", "192.0.2.10:5080", "198.51.100.0/24"]
    identity = "from"
    number_form = "+86"
    accept_zero = true
    send_identity = false
    reliable = "off"
    session_timers = false
    prefixes = ["138", "010"]
    priority = 5
    weight = 10
    max_calls = 100
    calls_per_second = 12.5
    probe_seconds = 10
    probe_failing = ["5xx"]
    """
    assert load(write(tmp_path, text), environ).trunks == (
        Trunk(
            name="carrier-a",
            peers=(Peer("192.0.2.1", 5060), Peer("2001:db8::1", 5070)),
            networks=("192.0.2.9", "192.0.2.10:5080", "198.51.100.0/24"),
            identity=Identity.FROM,
            number_form=NumberForm.E164,
            accept_zero=True,
            send_identity=False,
            reliable=Reliable.OFF,
            session_timers=False,
            prefixes=("138", "010"),
            priority=5,
            weight=10,
            max_calls=100,
            calls_per_second=12.5,
            probe_seconds=10.0,
            probe_failing=("5xx",),
        ),
    )


def test_trunk_settings_and_trunks_have_the_same_fields() -> None:
    assert (*TrunkSettings.model_fields, "secrets") == Trunk.__slots__


def test_a_peer_may_be_a_name_or_a_domain_and_is_shown_as_it_was_written(
    tmp_path: Path, environ: dict[str, str]
) -> None:
    peers = '["SIP.example.net:5070", "Example.net", "example.org.", "host", "192.0.2.1:5060"]'
    text = f'[[trunk]]\nname = "a"\npeers = {peers}'
    settings = load(write(tmp_path, text), environ)
    assert settings.trunks[0].peers == (
        Peer("sip.example.net", 5070), Peer("example.net", 0), Peer("example.org", 0), Peer("host", 0),
        Peer("192.0.2.1", 5060),
    )  # fmt: skip
    shown = settings.model_dump(mode="json")["trunk"][0]["peers"]
    assert shown == ["sip.example.net:5070", "example.net", "example.org", "host", "192.0.2.1:5060"]


def test_paths_start_from_the_data_directory(tmp_path: Path, environ: dict[str, str]) -> None:
    text = f'[node]\ndata_dir = "{tmp_path}"\n[records]\ndirectory = "/srv/records"\n'
    settings = load(write(tmp_path, text + TRUNK), environ)
    assert settings.node.data_dir == tmp_path
    assert settings.routing.store == tmp_path / "bindings.db"
    assert settings.journal.directory == tmp_path / "journal"
    assert settings.records.directory == Path("/srv/records")
    assert settings.keys.file == tmp_path / "keyring"
    assert settings.ops.control_socket == tmp_path / "control.sock"


def test_a_relative_data_directory_starts_from_the_working_directory(
    tmp_path: Path, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = load(write(tmp_path, TRUNK), environ | {"X700_DATA_DIR": "var"})
    assert settings.routing.store == tmp_path / "var" / "bindings.db"


def test_settings_cannot_be_changed(tmp_path: Path, environ: dict[str, str]) -> None:
    settings = load(write(tmp_path, TRUNK), environ)
    with pytest.raises(ValueError, match="frozen"):
        settings.sip.t1_ms = 1


def test_every_variable_goes_before_the_file(tmp_path: Path, environ: dict[str, str]) -> None:
    values = {
        "X700_NODE_NAME": "sip-7",
        "X700_DATA_DIR": "/srv/x700",
        "X700_SIP_LISTEN": "192.0.2.9:5062",
        "X700_SIP_ADVERTISE": "198.51.100.9:5060",
        "X700_OPS_LISTEN": "127.0.0.1:9999",
        "X700_API_LISTEN": "127.0.0.1:9998",
        "X700_CONTROL_SOCKET": "/run/x700/control",
        "X700_KEY_FILE": "/etc/x700/keyring",
        "X700_LOG_LEVEL": "debug",
        "X700_LOG_FORMAT": "console",
    }
    assert values.keys() == {override.variable for override in OVERRIDES}
    dumped = load(write(tmp_path, TRUNK), environ | values).model_dump(mode="json")
    for variable, section, key in OVERRIDES:
        assert dumped[section][key] == values[variable]


def test_a_wrong_variable_is_named_instead_of_the_file(tmp_path: Path, environ: dict[str, str]) -> None:
    with pytest.raises(ConfigError) as failure:
        load(write(tmp_path, TRUNK), environ | {"X700_LOG_LEVEL": "loud"})
    assert failure.value.problems == (
        "X700_LOG_LEVEL in the environment: log.level = \"loud\": must be 'debug', 'info', 'warning' or 'error'; "
        'write, for example, level = "info"',
    )


ADDRESS = "write an IP address and a port, such as 192.0.2.1:5060 or [2001:db8::1]:5060"
PEER = "write 192.0.2.7:5060, sip.example.net:5060, or example.net to have its SRV records looked up"
SOURCE = "write 192.0.2.7, 192.0.2.7:5060 or 192.0.2.0/24"
WRONG = [
    # numbers and their bounds
    ("[sip]\nt1_ms = 0", "sip.t1_ms = 0: must be 1 or more; write, for example, t1_ms = 500"),
    (
        '[sip]\nt1_ms = "500"',
        'sip.t1_ms = "500": must be a whole number, without quotes; write, for example, t1_ms = 500',
    ),
    ("[sip]\nt1_ms = 0.5", "sip.t1_ms = 0.5: must be a whole number, without quotes; write, for example, t1_ms = 500"),
    ("[sip]\nt1_ms = 5000", "sip.t2_ms = 4000: is less than t1_ms; write 5000 or more"),
    (
        "[sip]\nsession_expires_seconds = 60",
        "sip.session_expires_seconds = 60: is less than min_se_seconds; write 90 or more, or 0 for no timers",
    ),
    ("[sip]\ndscp = 64", "sip.dscp = 64: must be 63 or less; write, for example, dscp = 24"),
    (
        "[sip]\nring_seconds = 0",
        "sip.ring_seconds = 0: must be more than 0; write, for example, ring_seconds = 60",
    ),
    (
        "[sip]\nring_seconds = inf",
        "sip.ring_seconds = inf: must be a number, without quotes; write, for example, ring_seconds = 60",
    ),
    (
        '[limits]\ncalls_per_second = "9"',
        'limits.calls_per_second = "9": must be a number, without quotes; write, for example, calls_per_second = 0',
    ),
    (
        "[limits]\nmessage_bytes = 100",
        "limits.message_bytes = 100: must be 1300 or more; write, for example, message_bytes = 65535",
    ),
    (
        "[records]\nretention_days = 30",
        "records.retention_days = 30: records are kept for at least 731 days (R10), not 30; write 731 or more",
    ),
    # text
    (
        '[node]\nname = "a b"',
        'node.name = "a b": must be 1 to 32 letters, digits, dots and hyphens; write a host name such as sip-1',
    ),
    (
        "[node]\nname = 7",
        'node.name = 7: must be text in quotes; write, for example, name = "x700-1"',
    ),
    (
        '[sip]\nuser_agent = "a\\r\\nb: c"',
        'sip.user_agent = "a\\r\\nb: c": must be a product token of RFC 3261 25.1; write "x700" or "x700/1.0"',
    ),
    (
        '[log]\nformat = "xml"',
        "log.format = \"xml\": must be 'json' or 'console'; write, for example, format = \"json\"",
    ),
    (
        "[journal]\ndirectory = 5",
        'journal.directory = 5: must be text in quotes; write, for example, directory = "journal"',
    ),
    # addresses
    ('[sip]\nlisten = "127.0.0.1"', f'sip.listen = "127.0.0.1": has no port; {ADDRESS}'),
    ("[sip]\nlisten = 5060", f"sip.listen = 5060: must be text in quotes; {ADDRESS}"),
    (
        '[sip]\nlisten = "localhost:5060"',
        f"sip.listen = \"localhost:5060\": 'localhost' is not an IP address (names are not looked up); {ADDRESS}",
    ),
    ('[sip]\nlisten = "127.0.0.1:70000"', f"sip.listen = \"127.0.0.1:70000\": '70000' is not a port; {ADDRESS}"),
    (
        '[sip]\nlisten = "::1:5060"',
        f'sip.listen = "::1:5060": an IPv6 address with a port stands in brackets; {ADDRESS}',
    ),
    (
        '[sip]\nlisten = "0.0.0.0:5060"',
        'sip.advertise = "": cannot be taken from the wildcard address in listen; '
        "write the address and port by which the carriers reach this node",
    ),
    (
        '[sip]\nadvertise = "192.0.2.1:0"',
        'sip.advertise = "192.0.2.1:0": nothing can be sent there; '
        "write the address and port on which the other side listens",
    ),
    (
        f'[ops]\ncontrol_socket = "/{"s" * 107}"',
        f'ops.control_socket = "/{"s" * 77}…: is longer than 107 bytes; '
        "write a shorter absolute path, such as /run/x700/control.sock",
    ),
    # keys and tables
    ("[sip]\nt1ms = 500", "sip.t1ms = 500: unknown key; did you mean t1_ms?"),
    ("[sip]\nmax_calls = 9", "sip.max_calls = 9: unknown key in [sip]; it belongs to [limits]"),
    ("[log]\ncolour = true", "log.colour = true: unknown key; [log] knows level, format"),
    ("[sips]\nt1_ms = 1", "sips = {…}: unknown key; did you mean sip?"),
    ("sip = 5", "sip = 5: must be a table; write its keys under [sip]"),
]


@pytest.mark.parametrize(("text", "problem"), WRONG, ids=[problem.split(":")[0] for _, problem in WRONG])
def test_an_error_names_key_value_and_fix(text: str, problem: str, tmp_path: Path, environ: dict[str, str]) -> None:
    assert problems(write(tmp_path, f"{text}\n{TRUNK}"), environ) == [problem]


WRONG_TRUNKS = [
    ("", "trunk: no call can come in or go out; write at least one [[trunk]] table"),
    ("trunk = 5", "trunk = 5: no call can come in or go out; write at least one [[trunk]] table"),
    ("trunk = [5]", "trunk[1] = 5: must be a table; write its keys under [[trunk]]"),
    ('[[trunk]]\npeers = ["192.0.2.1:5060"]', 'trunk[1].name: is missing; write, for example, name = "carrier-a"'),
    (
        '[[trunk]]\nname = "a"',
        'trunk[a].peers: is missing; write, for example, peers = ["192.0.2.7:5060"]',
    ),
    (
        '[[trunk]]\nname = "a"\npeers = []',
        'trunk[a].peers = []: must hold one address at least; write, for example, ["192.0.2.7:5060"]',
    ),
    (
        '[[trunk]]\nname = "a"\npeers = ["192.0.2.1:5060", "192.0.2.1:5060"]',
        'trunk[a].peers = ["192.0.2.1:5060", "192.0.2.1:5060"]: holds an address twice; '
        "each is tried once in the order given, take one out",
    ),
    (
        '[[trunk]]\nname = "a"\npeers = "192.0.2.1:5060"',
        'trunk[a].peers = "192.0.2.1:5060": must be a list in brackets; write, for example, peers = ["192.0.2.7:5060"]',
    ),
    (
        '[[trunk]]\nname = "a"\npeers = ["192.0.2.7"]',
        f'trunk[a].peers = "192.0.2.7": is neither an address and port nor a name; {PEER}',
    ),
    (
        '[[trunk]]\nname = "a"\npeers = ["sip..example.net"]',
        f'trunk[a].peers = "sip..example.net": is neither an address and port nor a name; {PEER}',
    ),
    (
        '[[trunk]]\nname = "a"\npeers = ["sip.example.net:0"]',
        f"trunk[a].peers = \"sip.example.net:0\": '0' is not a port; {PEER}",
    ),
    (
        '[[trunk]]\nname = "a"\npeers = [5060]',
        f"trunk[a].peers = 5060: must be text in quotes; {PEER}",
    ),
    (
        TRUNK + 'probe_failing = ["1xx"]',
        'trunk[carrier-a].probe_failing = "1xx": must be a final status or a class of them; write, for example, "503" '
        'or "5xx"',
    ),
    (
        TRUNK + "probe_seconds = -1",
        "trunk[carrier-a].probe_seconds = -1: must be 0 or more; write, for example, probe_seconds = 30",
    ),
    (
        '[[trunk]]\nname = "a"\npeers = ["0.0.0.0:5060"]',
        'trunk[a].peers = "0.0.0.0:5060": nothing can be sent there; '
        "write the address and port on which the other side listens",
    ),
    (
        '[[trunk]]\nname = "Carrier A"\npeers = ["192.0.2.1:5060"]',
        'trunk[Carrier A].name = "Carrier A": must be 1 to 32 small letters, digits and hyphens; '
        "write a name such as carrier-a",
    ),
    (
        TRUNK + 'networks = ["192.0.2.1/24"]',
        "trunk[carrier-a].networks = \"192.0.2.1/24\": '192.0.2.1/24' names a host inside a network; "
        f"write 192.0.2.0/24 or the bare address; {SOURCE}",
    ),
    (
        TRUNK + 'networks = ["carrier"]',
        f'trunk[carrier-a].networks = "carrier": has no port; {ADDRESS}',
    ),
    (
        TRUNK + 'prefixes = ["+86138"]',
        'trunk[carrier-a].prefixes = "+86138": must be up to 12 digits of the national number; '
        'write "138", "010", or "" for every number',
    ),
    (
        TRUNK + 'transport = "sctp"',
        "trunk[carrier-a].transport = \"sctp\": must be 'udp', 'tcp', 'tls' or 'auto'; "
        'write, for example, transport = "udp"',
    ),
    (
        TRUNK + 'identity = "rpid"',
        "trunk[carrier-a].identity = \"rpid\": must be 'pai' or 'from'; write, for example, identity = \"pai\"",
    ),
    (
        TRUNK + "accept_zero = 1",
        "trunk[carrier-a].accept_zero = 1: must be true or false, without quotes; "
        "write, for example, accept_zero = false",
    ),
    (TRUNK + "prefix = []", "trunk[carrier-a].prefix = []: unknown key; did you mean prefixes?"),
    (
        TRUNK + '[[trunk]]\nname = "carrier-b"\npeers = ["192.0.2.1:5060"]',
        'trunk[carrier-b].peers = "192.0.2.1:5060": belongs to trunk carrier-a already; '
        "a source identifies one trunk, take it out of one of them",
    ),
    (
        TRUNK + '[[trunk]]\nname = "carrier-b"\npeers = ["192.0.2.2:5060"]\nnetworks = ["192.0.2.1:5060"]',
        'trunk[carrier-b].networks = "192.0.2.1:5060": belongs to trunk carrier-a already; '
        "a source identifies one trunk, take it out of one of them",
    ),
    (
        TRUNK + '[[trunk]]\nname = "carrier-a"\npeers = ["192.0.2.2:5060"]',
        'trunk[carrier-a].name = "carrier-a": is given to two trunks; write another name for one of them',
    ),
    (
        '[sip]\nlisten = "192.0.2.1:5060"\n' + TRUNK,
        "trunk[carrier-a].peers = \"192.0.2.1:5060\": is this node's own address; write the carrier's",
    ),
]


@pytest.mark.parametrize(("text", "problem"), WRONG_TRUNKS, ids=[problem.split(": ")[1] for _, problem in WRONG_TRUNKS])
def test_a_trunk_error_names_trunk_key_value_and_fix(
    text: str, problem: str, tmp_path: Path, environ: dict[str, str]
) -> None:
    assert problems(write(tmp_path, text), environ) == [problem]


def test_a_network_may_lie_within_a_network_of_another_trunk(tmp_path: Path, environ: dict[str, str]) -> None:
    other = '[[trunk]]\nname = "carrier-b"\npeers = ["192.0.2.2:5060"]\nnetworks = ["198.51.100.0/26"]\n'
    assert len(load(write(tmp_path, f'{TRUNK}networks = ["198.51.100.0/24"]\n{other}'), environ).trunks) == 2


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    text = """
    [sip]
    t1_ms = 0
    colour = 1
    [log]
    level = "loud"
    [[trunk]]
    name = "carrier-a"
    peers = ["192.0.2.1:5060"]
    [[trunk]]
    name = "carrier-b"
    peers = ["192.0.2.1:5060"]
    [[trunk]]
    name = "carrier-c"
    """
    environ = {"X700_KEY_FILE": str(tmp_path / "none")}
    assert [problem.split(" = ")[0].split(": ")[0] for problem in problems(write(tmp_path, text), environ)] == [
        "sip.t1_ms",
        "sip.colour",
        "log.level",
        "trunk[carrier-c].peers",
        "trunk[carrier-b].peers",
        "X700_KEY_FILE in the environment",
    ]


KEYS = [(row.section, row.key) for row in settings_table()] + [("sip", "nothing"), ("nothing", "at_all")]
NUMBERS = ["0", "-1", "99999999999999999999", "0.5", "nan", "-inf"]
TEXTS = ['""', '"x"', '"\\u0000"', '"\\n"', '"1.2.3.4:5"', '"5"', '"::/0"']
OTHERS = ["true", "[]", "[1]", '[""]', '["[::1]:5"]', '["::/0"]', "[[]]", "{}", "{a=1}", "1979-05-27", "07:32:00"]
PROBLEM = re.compile(r"[a-z_0-9]+(\[[^]\n]+\])?(\.[a-z_0-9]+)?( = [^\n]+)?: ([^\n]+; [^\n]+|unknown key [^\n]+)")


@given(st.dictionaries(st.sampled_from(KEYS), st.sampled_from(NUMBERS + TEXTS + OTHERS), min_size=1, max_size=4))
def test_any_value_is_taken_or_explained(values: dict[tuple[str, str], str]) -> None:
    tables: dict[str, list[str]] = {"trunk": []}
    for (section, key), text in values.items():
        tables.setdefault(section, []).append(f"{key} = {text}")
    lines = [f"[{name}]\n" + "\n".join(keys) for name, keys in tables.items()]
    with tempfile.TemporaryDirectory() as directory:
        path = write(Path(directory), "\n".join(lines).replace("[trunk]", "[[trunk]]"))
        for problem in problems(path, {"X700_KEY": KEYRING}):
            assert PROBLEM.fullmatch(problem), problem


def test_a_file_that_is_not_there_is_told_how_to_name_one(tmp_path: Path) -> None:
    assert problems(tmp_path / "none.toml", {}) == [
        "cannot be read (No such file or directory); name the settings file with --config or X700_CONFIG"
    ]


@pytest.mark.parametrize("content", [b"[sip\n", b"[sip]\nuser_agent = \xff\n"])
def test_a_file_that_is_not_toml_is_told_where(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "x700.toml"
    path.write_bytes(content)
    (problem,) = problems(path, {})
    assert problem.startswith("is not TOML: ")
    assert "line 1" in problem or "position" in problem


def test_without_a_key_the_command_that_makes_one_is_named(tmp_path: Path) -> None:
    text = f'[keys]\nfile = "{tmp_path}/keyring"\n'
    assert problems(write(tmp_path, text + TRUNK), {}) == [
        f'keys.file = "{tmp_path}/keyring": cannot be read (No such file or directory); '
        f"make one with: x700 keygen {tmp_path}/keyring, or put its text into X700_KEY"
    ]


def test_the_key_comes_from_its_file(tmp_path: Path) -> None:
    keyring = tmp_path / "keyring"
    keyring.write_text(KEYRING)
    keyring.chmod(0o600)
    settings = load(write(tmp_path, f'[keys]\nfile = "{keyring}"\n{TRUNK}'), {})
    assert settings.seal().open(settings.seal().seal("13800138000")) == "13800138000"


def test_the_key_is_never_shown(tmp_path: Path, environ: dict[str, str]) -> None:
    settings = load(write(tmp_path, TRUNK), environ)
    secret = KEYRING.split()[-1]
    assert secret not in repr(settings)
    assert secret not in settings.model_dump_json()


def test_a_key_file_open_to_every_user_is_refused(tmp_path: Path) -> None:
    keyring = tmp_path / "keyring"
    keyring.write_text(KEYRING)
    keyring.chmod(0o644)
    assert problems(write(tmp_path, f'[keys]\nfile = "{keyring}"\n{TRUNK}'), {}) == [
        f'keys.file = "{keyring}": is open to every user; close it with: chmod 600 {keyring}'
    ]


def test_a_key_that_is_none_is_told_from_where_it_came(tmp_path: Path) -> None:
    keyring = tmp_path / "keyring"
    keyring.write_text("1 abc\n")
    keyring.chmod(0o600)
    path = write(tmp_path, f'[keys]\nfile = "{keyring}"\n{TRUNK}')
    for environ, source in (({}, str(keyring)), ({"X700_KEY": "1 abc"}, "X700_KEY in the environment")):
        (problem,) = problems(path, environ)
        assert problem.startswith(f"{source}: is not a keyring (line 1: ")
        assert problem.endswith(f"make one with: x700 keygen {keyring}")
        assert "abc" not in problem
