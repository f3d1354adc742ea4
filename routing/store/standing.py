"""May these parties to the service make or extend bindings now? Asked within the transaction that would (R6, R7, R17).

Live bindings are never asked about: they keep working until they end (R7).
"""

from typing import Any, Final

from routing.errors import BindingError
from routing.registry import Scenario, State
from routing.store.database import Database
from routing.store.registry_rows import SCENARIO_COLUMNS, scenario_of

__all__ = ["check_holder", "standing"]

_HOLDER: Final = (
    "p.id, p.state, u.state, EXISTS (SELECT 1 FROM contracts c WHERE c.business_user = u.id AND c.provider = p.id"
    " AND c.state = 'active' AND c.starts_ms <= ? AND (c.ends_ms = 0 OR c.ends_ms > ?))"
    " FROM business_users u JOIN providers p ON p.id = u.provider"
)
_CHECK_HOLDER: Final = f"SELECT {_HOLDER} WHERE u.id = ?"
# the scenario's columns first, NULL where it is not registered; a second statement would cost another turn
_STANDING: Final = "SELECT {}, {} LEFT JOIN scenarios s ON s.business_user = u.id AND s.name = ? WHERE u.id = ?".format(
    ", ".join(f"s.{column}" for column in SCENARIO_COLUMNS.split(", ")), _HOLDER
)


async def standing(database: Database, provider: str, business_user: str, scenario: str, now_ms: int) -> Scenario:
    """Return the scenario that a binding would be made for, within the caller's turn.

    `provider` '' is the one of the business user. BindingError: somebody is not registered or not active, no contract
    covers this instant (UTC ms), or the scenario is none of this business user's active ones.
    """
    rows = await database.rows(_STANDING, (now_ms, now_ms, scenario, business_user))
    _check(rows[0][-4:] if rows else None, provider, business_user)
    row = rows[0][:-4]
    if row[0] is None:
        raise BindingError("scenario", "R17", f"no such scenario is registered for business user {business_user}")
    found = scenario_of(row)
    if found.state is not State.ACTIVE:
        raise BindingError("scenario", "R17", f"scenario {scenario} is {found.state}")
    return found


async def check_holder(database: Database, provider: str, business_user: str, now_ms: int) -> str:
    """Refuse, as `standing` does, those who may not hold a block; return the provider."""
    rows = await database.rows(_CHECK_HOLDER, (now_ms, now_ms, business_user))
    return _check(rows[0] if rows else None, provider, business_user)


def _check(row: Any, provider: str, business_user: str) -> str:
    # one answer for both: whose another provider's business users are is not to be found out
    if row is None or provider not in ("", row[0]):
        whose = "of this provider " if provider else ""
        raise BindingError("business_user", "R6", f"no such business user {whose}is registered")
    own, provider_state, user_state, covered = row
    if provider_state != State.ACTIVE.value:
        raise BindingError("provider", "R7", f"provider {own} is {provider_state}")
    if user_state != State.ACTIVE.value:
        raise BindingError("business_user", "R7", f"business user {business_user} is {user_state}")
    if not covered:
        raise BindingError("business_user", "R6", f"no contract of {own} with {business_user} is in force now")
    return str(own)
