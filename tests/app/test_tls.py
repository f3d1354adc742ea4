"""Certificate files: what is taken, and what a wrong one is told."""

import ssl
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from b2bua.app.config_values import ClientCertificate
from b2bua.app.tls import TlsError, certificate_names, client_context, server_context
from tests.app.certificates import Authority


@dataclass
class Files:
    certificate: Path
    key: Path
    ca: Path | None
    client_certificate: ClientCertificate = ClientCertificate.REQUIRED


@pytest.fixture
def files(tmp_path: Path) -> Files:
    authority = Authority(tmp_path)
    return Files(*authority.issue("node", "sip.node.example"), authority.file)


@pytest.mark.parametrize(
    ("asked", "mode"),
    [
        (ClientCertificate.NONE, ssl.CERT_NONE),
        (ClientCertificate.OPTIONAL, ssl.CERT_OPTIONAL),
        (ClientCertificate.REQUIRED, ssl.CERT_REQUIRED),
    ],
)
def test_right_files_make_contexts_of_tls_1_2_and_above(
    files: Files, asked: ClientCertificate, mode: ssl.VerifyMode
) -> None:
    files.client_certificate = asked
    server, client = server_context(files), client_context(files)
    assert server.verify_mode is mode
    assert client.verify_mode is ssl.CERT_REQUIRED
    assert server.minimum_version is client.minimum_version is ssl.TLSVersion.TLSv1_2


def test_without_an_authority_of_its_own_the_system_has_the_word(files: Files) -> None:
    files.ca = None
    assert client_context(files).verify_mode is ssl.CERT_REQUIRED
    assert server_context(files).verify_mode is ssl.CERT_REQUIRED


def locked(path: Path) -> Path:
    """The same key with a password."""
    key = serialization.load_pem_private_key(path.read_bytes(), None)
    path = path.with_suffix(".locked")
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )
    return path


RUBBISH = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
WRONG = [
    ("certificate", "missing", "cannot be read (No such file or directory); write the path of a PEM file"),
    ("key", "missing", "cannot be read (No such file or directory); write the path of a PEM file"),
    ("ca", "missing", "cannot be read (No such file or directory); write the path of a PEM file"),
    ("certificate", "key", "holds no PEM certificate; name a file that begins with one"),
    ("certificate", "rubbish", "holds no PEM certificate; name a file that begins with one"),
    ("ca", "key", "holds no PEM certificate; name a file of those that sign the carriers'"),
    ("key", "certificate", "holds no private key that can be used; name a PEM file without password"),
    ("key", "locked", "holds no private key that can be used; name a PEM file without password"),
    ("key", "other", "is not the key of the certificate; name the two that belong together"),
]


@pytest.mark.parametrize(("key", "content", "text"), WRONG, ids=[f"{row[0]}-{row[1]}" for row in WRONG])
def test_a_wrong_file_is_named_with_what_is_wrong_and_how_to_mend_it(
    key: str, content: str, text: str, files: Files, tmp_path: Path
) -> None:
    rubbish = tmp_path / "rubbish"
    rubbish.write_text(RUBBISH)
    paths = {
        "missing": tmp_path / "nothing-here",
        "key": files.key,
        "certificate": files.certificate,
        "locked": locked(files.key),
        "rubbish": rubbish,
        "other": Authority(tmp_path, "other").issue("other")[1],
    }
    setattr(files, key, paths[content])
    with pytest.raises(TlsError) as failure:
        server_context(files)
    assert failure.value.key == key
    assert failure.value.text.startswith(text)


def test_the_names_of_a_certificate_are_its_alternatives() -> None:
    shown = (
        ("DNS", "SIP.Carrier.example"),
        ("URI", "sip:Carrier.example"),
        ("IP Address", "192.0.2.1"),
        ("IP Address", "2001:DB8:0:0:0:0:0:1\n"),
        ("email", "a@b.example"),
    )
    assert certificate_names({"subjectAltName": shown, "subject": ((("commonName", "other.example"),),)}) == {
        "sip.carrier.example",
        "sip:Carrier.example",
        "192.0.2.1",
        "2001:db8::1",
    }
    assert certificate_names({}) == certificate_names(None) == frozenset()
