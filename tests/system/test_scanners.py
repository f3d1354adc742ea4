"""Those who scan the whole internet for SIP, with their own tools: friendly-scanner of sipvicious (svmap, svwar and
svcrack) learns nothing of a switch that does not know it, and of a trunk open to everybody no more than that it asks.
"""

import re
import subprocess

from tests.system.node import ANSWERED, CALLER, Node

# svmap scans from where it is told to; svwar and svcrack, whatever they are told, from here
SCANNER = "127.0.0.1"
USER, PASSWORD = "gw-1", "not in the dictionary"
CARRIER = """
[[trunk]]
name = "carrier"
peers = ["127.8.8.8:5060"]
probe_seconds = 0
"""
OPEN = f"""
[[trunk]]
name = "open"
peers = []
networks = ["127.0.0.0/24"]
prefixes = []
digest_realm = "x700"
digest_users = ["{USER}"]
digest_algorithms = ["MD5"]
[limits]
digest_failures = 3
"""
PASSWORDS = {"X700_PASSWORDS": f"open {USER} password {PASSWORD}"}
TOOL_SECONDS = 60.0


def with_trunks(node: Node, text: str) -> Node:
    """The node, with these trunks in place of its own."""
    settings = node.config.read_text()
    node.config.write_text(settings[: settings.index("[[trunk]]")] + text)
    return node


def scan(tool: str, node: Node, *words: str) -> str:
    """What a tool says after it has had its way with the switch."""
    home = node.directory / "scanner"
    home.mkdir(exist_ok=True)
    command = [tool, "-v", "-b", SCANNER, "-x", SCANNER, "-P", "5070", "-p", str(node.sip.port), *words, node.sip.host]
    done = subprocess.run(
        command,
        cwd=home,
        env={"HOME": str(home), "PATH": "/usr/bin:/bin"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TOOL_SECONDS,
        check=False,
    )
    return done.stdout + done.stderr


def dictionary(node: Node, *words: str) -> str:
    path = node.directory / f"dictionary-{words[0]}.txt"
    path.write_text("".join(f"{word}\n" for word in words))
    return str(path)


def answers(node: Node) -> float:
    return sum(node.count("x700_messages_sent", kind=kind) for kind in ("1xx", "2xx", "3xx", "4xx", "5xx", "6xx"))


def test_a_scanner_from_nowhere_gets_no_answer_whatever_it_tries(node: Node) -> None:
    with_trunks(node, CARRIER).switch()
    words = dictionary(node, "password", "1234")
    extensions = dictionary(node, "100", ANSWERED.x, CALLER, "admin")
    said = [scan("svmap", node, "-m", method, "-e", ANSWERED.x) for method in ("OPTIONS", "INVITE", "REGISTER")]
    said += [scan("svwar", node, "-d", extensions, "--force", "-m", "INVITE")]
    said += [scan("svcrack", node, "-u", USER, "-d", words)]
    for text in said:
        assert re.search(r"found nothing|no results|no response|not found|ERROR", text, re.IGNORECASE), text
        assert "reqauth" not in text
        assert "x700" not in text
    assert answers(node) == 0
    assert node.count("x700_drops", cause="unknown_source") >= len(said)
    assert node.count("x700_attempts") == 0
    assert set(node.tables().values()) == {0}


def test_a_trunk_open_to_a_network_tells_a_scanner_only_that_it_asks(node: Node) -> None:
    process = with_trunks(node, CARRIER + OPEN).start("switch", environ=PASSWORDS).wait_ready()
    found = scan("svmap", node)
    assert "unknown" in found, found
    # it notices itself that all extensions look the same: those that exist, and those that do not
    extensions = dictionary(node, "100", ANSWERED.x, CALLER, USER, "admin")
    for method in ("REGISTER", "OPTIONS", "INVITE"):
        said = scan("svwar", node, "-d", extensions, "-m", method)
        assert "authentication request for an unknown extension" in said, said
    said = scan("svcrack", node, "-u", USER, "-e", USER, "-d", dictionary(node, "1234", "password", "x", "y", "z"))
    assert PASSWORD not in said
    assert not re.search(rf"{USER}\s*\|", said), said
    assert node.count("x700_authentication_failures", reason="password") >= 3
    assert node.count("x700_ignored_sources") == 1
    before = answers(node)
    scan("svmap", node)
    assert answers(node) == before
    assert node.count("x700_drops", cause="ignored_source") >= 1
    assert node.count("x700_attempts") == 0
    [event] = process.events("source_ignored")
    assert (event["source"], event["trunk"], event["reason"]) == (SCANNER, "open", "password")
