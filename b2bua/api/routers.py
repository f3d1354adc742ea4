"""What the API is put together of: its resources, and what goes on beside the requests."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from fastapi import APIRouter

from b2bua.api import keys
from b2bua.api.context import Context

__all__ = ["ROUTERS", "SERVICES"]

ROUTERS: tuple[APIRouter, ...] = (keys.router,)

SERVICES: tuple[Callable[[Context], AbstractAsyncContextManager[None]], ...] = ()
"""Each is entered before the first request and left after the last."""
