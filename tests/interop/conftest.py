"""Which far ends meet over which transports: a few in every run, all and their results with ``--all-far-ends``."""

from collections.abc import Generator

import pytest

from tests.interop.results import RESULTS, Result, save
from tests.interop.site import Setting, Site

TRANSPORTS = ("udp", "tcp", "tls")
SETTINGS = (
    Setting("pjsua2", "pjsua2"),
    Setting("baresip", "baresip"),
    Setting("pjsua2", "baresip"),
    Setting("baresip", "pjsua2"),
    Setting("pjsua2", "pjsua2", front=True),
    Setting("pjsua2", "pjsua2", behind=True),
    Setting("pjsua2", "pjsua2", front=True, behind=True),
)
# In every run of the tests: each kind of far end once.
FEW = (
    (Setting("pjsua2", "pjsua2", front=True, behind=True), "udp"),
    (Setting("baresip", "pjsua2"), "udp"),
)
Found = tuple[list[Result], dict[str, str]]
FOUND = pytest.StashKey[Found]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--all-far-ends", action="store_true", help="every far end over every transport; keep the results")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "needs(caller, callee): the kind of telephone that a test must have on a side")
    if config.getoption("--all-far-ends", default=False):
        config.stash[FOUND] = ([], {})


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "setting" not in metafunc.fixturenames:
        return
    rows = [(setting, transport) for transport in TRANSPORTS for setting in SETTINGS]
    if FOUND not in metafunc.config.stash:
        rows = list(FEW)
    for marker in metafunc.definition.iter_markers("needs"):
        rows = [row for row in rows if marker.kwargs.items() <= row[0]._asdict().items()]
    names = [f"{transport}: {setting}" for setting, transport in rows]
    metafunc.parametrize(("setting", "transport"), rows, ids=names, scope="module")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    found = item.config.stash.get(FOUND, None)
    if found is not None and isinstance(item, pytest.Function) and (report.when == "call" or report.failed):
        site = item.funcargs.get("site")
        if isinstance(site, Site):
            found[0].append(Result(str(site.setting), site.transport, item.originalname, report.passed))
            found[1].update(site.versions())
    return report


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    whole = exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED) and not session.config.getoption("keyword")
    if whole and FOUND in session.config.stash:
        results, versions = session.config.stash[FOUND]
        save(RESULTS, results, versions)
