"""One running service for all rules; each test has people, numbers and business users of its own."""

from collections.abc import Iterator

import pytest

from tests.rules.service import Everybody, Manners, Service
from tests.system.phones import Phones
from tests.webhooks.receiver import Receiver, receiver
