"""One running service for all rules; each test has people, numbers and business users of its own."""

from collections.abc import Iterator

import pytest

from tests.rules.service import Everybody, Service
from tests.system.phones import Phones
from tests.webhooks.receiver import receiving

ALLOW = (200, {"Content-Type": "application/json"}, b'{"allow": true}')


@pytest.fixture(scope="package")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with Phones(Everybody()) as phones, receiving() as hook:
        hook.answer = lambda number: ALLOW
        settings = {
            "verification": {"url": hook.url, "scope": "scenario"},
            "policy": {"fan_out_numbers": 3, "fan_out_block_seconds": 600},
            "messages": {"retry_seconds": 0.2},
        }
        service = Service(tmp_path_factory.mktemp("rules"), phones, hook, settings)
        yield service
        service.close()
