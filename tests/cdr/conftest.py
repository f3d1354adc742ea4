import pytest

from cdr.seal import Seal
from tests.cdr.story import new_seal


@pytest.fixture
def seal() -> Seal:
    return new_seal()
