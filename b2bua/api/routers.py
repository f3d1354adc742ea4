"""What the API is put together of: its resources, and what goes on beside the requests."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from fastapi import APIRouter

from b2bua.api import (
    audit,
    bindings,
    blocklist,
    blocks,
    business_users,
    calls,
    contracts,
    credit,
    groups,
    imports,
    keys,
    numbers,
    providers,
    records,
    reports,
    scenarios,
    webhook_routes,
)
from b2bua.api.context import Context
from b2bua.api.import_runner import importing
from b2bua.api.webhooks import delivery

__all__ = ["ROUTERS", "SERVICES"]

ROUTERS: tuple[APIRouter, ...] = (
    bindings.router,
    imports.router,
    groups.router,
    numbers.router,
    blocks.router,
    providers.router,
    business_users.router,
    contracts.router,
    scenarios.router,
    blocklist.router,
    blocklist.ranges,
    credit.router,
    calls.router,
    records.router,
    webhook_routes.router,
    reports.router,
    audit.router,
    keys.router,
)

SERVICES: tuple[Callable[[Context], AbstractAsyncContextManager[None]], ...] = (delivery, importing)
"""Each is entered before the first request and left after the last."""
