"""Webhooks: where a provider wants to be told of its calls and messages. Pure; the table is in routing.store.webhooks.

Numbers are masked in what is sent, unless `reveal` is set, which is an operator's to allow (R2): for one address, and
over TLS only.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from routing.errors import BindingError

__all__ = ["EVENTS", "MOST_WEBHOOKS", "Subscription", "Webhook", "admit_events", "admit_url", "may_reveal"]

# What can be told; cdr.outbox makes them, and a test holds the two lists together.
EVENTS: Final = (
    "call.attempted",
    "call.answered",
    "call.ended",
    "message.attempted",
    "message.accepted",
    "message.delivered",
    "message.refused",
    "message.failed",
)

# Of one provider: each costs a row for every event.
MOST_WEBHOOKS: Final = 10
LONGEST_URL: Final = 2000

# What may stand in an address as it is sent: RFC 3986 section 2, no blank, no control, nothing beyond ASCII.
_URL: Final = re.compile(r"[!-~]+")
_LOOPBACK: Final = frozenset(("127.0.0.1", "::1", "localhost"))


@dataclass(frozen=True, slots=True)
class Webhook:
    """One address of one provider. `events` are some of EVENTS, in that order.

    A webhook that is not `active` is told nothing, and nothing is kept for it. The secret before the last one is good
    until `old_until_ms`, 0: there is none. `revision` counts the changes.
    """

    id: str
    provider: str
    url: str
    events: tuple[str, ...]
    active: bool
    reveal: bool
    created_ms: int
    changed_ms: int
    old_until_ms: int
    revision: int


@dataclass(frozen=True, slots=True)
class Subscription:
    """What whoever collects events has to know of a webhook: which it wants, none while it is not active."""

    id: str
    provider: str
    events: frozenset[str]


def admit_url(url: str) -> str:
    """The address, if events may be sent there: http or https, a host, no user, no fragment. BindingError."""
    if len(url) > LONGEST_URL or not _URL.fullmatch(url):
        raise BindingError("url", "form", f"must be an address of at most {LONGEST_URL} ASCII characters, no blank")
    try:
        parts = urlsplit(url)
        fits = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is none, half an IPv6 address
        fits = False
    if not fits:
        raise BindingError("url", "form", "must begin with http:// or https:// and name a host")
    if parts.username is not None or parts.password is not None:
        raise BindingError("url", "form", "must hold no user and no password: requests are known by their signature")
    if "#" in url:
        raise BindingError("url", "form", "must hold no fragment: it would not be sent")
    return url


def admit_events(events: Iterable[str]) -> tuple[str, ...]:
    """The events wanted, in the order of EVENTS; none stands for all. BindingError."""
    wanted = frozenset(events)
    unknown = sorted(wanted.difference(EVENTS))
    if unknown:
        raise BindingError("events", "form", f"must be of {', '.join(EVENTS)}")
    return tuple(event for event in EVENTS if event in wanted) or EVENTS


def may_reveal(url: str) -> bool:
    """Whether real numbers may be sent there at all: over TLS, or without leaving this machine."""
    parts = urlsplit(url)
    return parts.scheme == "https" or parts.hostname in _LOOPBACK
