"""[[listener]] tables: what is read, and what a wrong one is told, word by word."""

from pathlib import Path

import pytest

from b2bua.app.config import ConfigError, Settings, load
from b2bua.app.config_values import ClientCertificate
from cdr.seal import format_keyring, new_keyring
from routing.trunks import Peer
from tests.app.certificates import Authority

KEYRING = format_keyring(new_keyring())
TRUNK = '[[trunk]]\nname = "carrier-a"\npeers = ["192.0.2.9:5060"]\n'
SIX = '[[trunk]]\nname = "carrier-a"\npeers = ["[2001:db8::9]:5060"]\n'
TCP = '[[listener]]\nname = "tcp"\ntransport = "tcp"\nlisten = "192.0.2.1:5060"\n'
TLS = '[[listener]]\nname = "tls"\ntransport = "tls"\nlisten = "192.0.2.1:5061"\n'


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    authority = Authority(tmp_path)
    authority.issue("tls", "sip.node.example")
    return tmp_path


def read(directory: Path, text: str) -> Settings:
    path = directory / "x700.toml"
    path.write_text(f'[node]\ndata_dir = "{directory}"\n{text}')
    return load(path, {"X700_KEY": KEYRING})


def problems(directory: Path, text: str) -> list[str]:
    with pytest.raises(ConfigError) as failure:
        read(directory, text)
    return [problem.replace(f"{directory / 'x700.toml'}: ", "", 1) for problem in failure.value.problems]


FILES = 'certificate = "tls.crt"\nkey = "tls.key"\n'


def test_listeners_are_read_in_order_and_their_files_start_from_the_data_directory(directory: Path) -> None:
    text = TCP + TLS + FILES + 'ca = "ca.crt"\nadvertise = "198.51.100.1:5061"\nclient_certificate = "required"\n'
    tcp, tls = read(directory, text + TRUNK).listener
    assert (tcp.name, tcp.transport, tcp.listen, tcp.advertise) == ("tcp", "tcp", Peer("192.0.2.1", 5060), None)
    assert tcp.client_certificate is ClientCertificate.OPTIONAL
    assert (tls.certificate, tls.key, tls.ca) == tuple(directory / name for name in ("tls.crt", "tls.key", "ca.crt"))
    assert tls.advertise == Peer("198.51.100.1", 5061)
    assert tls.client_certificate is ClientCertificate.REQUIRED


def test_tls_alone_takes_the_authorities_of_the_system(directory: Path) -> None:
    (tls,) = read(directory, TLS + FILES + TRUNK).listener
    assert tls.ca is None


def test_port_0_may_stand_in_several_listeners(directory: Path) -> None:
    free = TCP.replace("5060", "0")
    assert len(read(directory, free + free.replace('"tcp"', '"tcp-2"', 1) + TRUNK).listener) == 2


WRONG = [
    (
        TCP.replace('"tcp"', '"udp"', 1) + TRUNK,
        'listener[udp].name = "udp": is the name of the listener at sip.listen; write another, such as "udp-v6"',
    ),
    (
        TCP.replace('"tcp"', '"TCP"', 1) + TRUNK,
        'listener[TCP].name = "TCP": must be 1 to 32 small letters, digits and hyphens; write a name such as tcp or '
        "tls-v6",
    ),
    (
        TCP.replace("192.0.2.1:5060", "192.0.2.1") + TRUNK,
        'listener[tcp].listen = "192.0.2.1": has no port; write an IP address and a port, such as 192.0.2.1:5060 or '
        "[2001:db8::1]:5060",
    ),
    (
        TCP.replace('transport = "tcp"', "") + TRUNK,
        'listener[tcp].transport: is missing; write, for example, transport = "tcp"',
    ),
    (
        TCP + TCP.replace("5060", "5062") + TRUNK,
        'listener[tcp].name = "tcp": is given to two listeners; write another name for one of them',
    ),
    (
        TCP + TCP.replace('"tcp"', '"tcp-2"', 1) + TRUNK,
        'listener[tcp-2].listen = "192.0.2.1:5060": is taken by listener[tcp]; write another address or port',
    ),
    (
        '[[listener]]\nname = "two"\ntransport = "udp"\nlisten = "127.0.0.1:5060"\n' + TRUNK,
        'listener[two].listen = "127.0.0.1:5060": is taken by sip.listen; write another address or port',
    ),
    (
        TCP.replace("192.0.2.1", "0.0.0.0") + TRUNK,
        'listener[tcp].advertise = "": cannot be taken from the wildcard address in listen; '
        "write the address and port by which the carriers reach this listener",
    ),
    (
        TCP + 'advertise = "[2001:db8::1]:5060"\n' + TRUNK,
        'listener[tcp].advertise = "[2001:db8::1]:5060": is of another address family than listen; '
        "write an IPv4 address",
    ),
    (
        TCP + 'key = "tls.key"\n' + TRUNK,
        'listener[tcp].key = "DIRECTORY/tls.key": is for transport tls only; write "" or transport = "tls"',
    ),
    (
        TCP + "key = 7\n" + TRUNK,
        'listener[tcp].key = 7: must be text in quotes; write the path of a file, or "" for none',
    ),
    (
        TLS + 'certificate = "tls.crt"\n' + TRUNK,
        'listener[tls].key = "": is missing; write the path of a PEM file, such as key = "tls.key"',
    ),
    (
        TLS + 'key = "tls.key"\n' + TRUNK,
        'listener[tls].certificate = "": is missing; write the path of a PEM file, such as certificate = "tls.crt"',
    ),
    (
        TLS + FILES + 'ca = "nothing"\n' + TRUNK,
        'listener[tls].ca = "DIRECTORY/nothing": cannot be read (No such file or directory); '
        "write the path of a PEM file",
    ),
    (
        TLS + FILES + 'client_certificate = "always"\n' + TRUNK,
        "listener[tls].client_certificate = \"always\": must be 'none', 'optional' or 'required'; "
        'write, for example, client_certificate = "optional"',
    ),
    (
        TRUNK + 'transport = "tcp"\n',
        'trunk[carrier-a].transport = "tcp": has no listener to reach the IPv4 peers by; '
        'add a [[listener]] with transport = "tcp" and an IPv4 address',
    ),
    (
        TCP + TRUNK.replace("192.0.2.9:5060", "sip.a.example") + 'transport = "tls"\n',
        'trunk[carrier-a].transport = "tls": has no listener to use; add a [[listener]] with transport = "tls"',
    ),
    (
        SIX,
        'trunk[carrier-a].transport = "udp": has no listener to reach the IPv6 peers by; '
        'add a [[listener]] with transport = "udp" and an IPv6 address',
    ),
    (
        TRUNK + "large_over_tcp = true\n",
        "trunk[carrier-a].large_over_tcp = true: has no listener to use; "
        'add a [[listener]] with transport = "tcp" and an IPv4 address',
    ),
    (
        TCP + TRUNK + 'large_over_tcp = true\ntransport = "tcp"\n',
        "trunk[carrier-a].large_over_tcp = true: is for transport udp; take it out, tcp has no such limit",
    ),
    (
        TRUNK + 'certificate_names = ["sip.a.example"]\n',
        'trunk[carrier-a].certificate_names = ["sip.a.example"]: is for transport tls; '
        'write transport = "tls" or take it out',
    ),
    (
        TRUNK + 'certificate_names = ["-"]\n',
        'trunk[carrier-a].certificate_names = "-": must be a DNS name or a URI of the certificate; '
        'write "sip.carrier.example" or "sip:carrier.example"',
    ),
]


@pytest.mark.parametrize(("text", "problem"), WRONG)
def test_a_mistake_is_named_with_its_table_key_value_and_fix(text: str, problem: str, directory: Path) -> None:
    found = [line.replace(str(directory), "DIRECTORY") for line in problems(directory, text)]
    assert found == [problem]


def test_something_else_than_tables_is_told_how_they_are_written(tmp_path: Path) -> None:
    path = tmp_path / "x700.toml"
    path.write_text(f"listener = 7\n{TRUNK}")
    with pytest.raises(ConfigError) as failure:
        load(path, {"X700_KEY": KEYRING})
    assert failure.value.problems == (f"{path}: listener = 7: must be a list of tables; write [[listener]] above each",)
    path.write_text(f"listener = [7]\n{TRUNK}")
    with pytest.raises(ConfigError) as failure:
        load(path, {"X700_KEY": KEYRING})
    assert failure.value.problems == (f"{path}: listener[1] = 7: must be a table; write its keys under [[listener]]",)


def test_the_names_of_a_certificate_are_kept_as_they_are_compared(directory: Path) -> None:
    text = (
        TLS + FILES + TRUNK + 'transport = "tls"\ncertificate_names = ["SIP.Carrier.example", "sip:Carrier.example"]\n'
    )
    (trunk,) = read(directory, text).trunks
    assert trunk.certificate_names == ("sip.carrier.example", "sip:Carrier.example")
