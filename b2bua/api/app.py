"""The application: resources behind the gate, errors as problems, and the OpenAPI document that tells of both."""

from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from starlette.middleware import Middleware

from b2bua.api import docs, problem
from b2bua.api.auth import Allow
from b2bua.api.binder import Binder
from b2bua.api.context import Context
from b2bua.api.gate import Gate
from b2bua.api.once import HEADER, LONGEST_KEY, Once, done_once
from b2bua.api.routers import ROUTERS, SERVICES
from b2bua.api.usage import Usage

__all__ = ["create_app", "roles_of", "routes"]

DESCRIPTION = """
Bindings of 700 middle numbers, and all that belongs to them.

- **Key**: `Authorization: Bearer x7_…`, or a signed request (`Authorization: X7-HMAC-SHA256 …`).
- **Errors** are `application/problem+json` (RFC 9457) with the `field` at fault and the `rule` it breaks.
- **Lists** come in pages: `limit`, and `cursor` with the `next` of the page before.
- **Changes** may say `If-Match` with the ETag that was read; where they must, 428 says so.
- **POST** may bear `Idempotency-Key`: the same request with the same key is done once.
- Times are UTC milliseconds. Unknown fields are refused.
"""

SCHEMES = {
    "key": {"type": "http", "scheme": "bearer", "bearerFormat": "x7_<id>_<secret>"},
    "signature": {
        "type": "apiKey",
        "in": "header",
        "name": "Authorization",
        "description": "X7-HMAC-SHA256 id:milliseconds:nonce:signature, HMAC-SHA256 over scheme, method, path with "
        "query, milliseconds, nonce and the SHA-256 of the body, a line each.",
    },
}


IDEMPOTENCY = {
    "name": HEADER,
    "in": "header",
    "required": False,
    "schema": {"type": "string", "maxLength": LONGEST_KEY},
    "description": "The same request with the same key, within a day, is done once; another request with it is 409.",
}


class Application(FastAPI):
    """FastAPI whose document knows of keys, problems and roles."""

    def openapi(self) -> dict[str, Any]:
        if self.openapi_schema is None:
            self.openapi_schema = _document(self)
        return self.openapi_schema


def create_app(context: Context) -> FastAPI:
    """The application of a context. What goes on beside requests runs within its lifespan."""
    usage = Usage(context.store.keys)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(usage.writing())
            for service in SERVICES:
                await stack.enter_async_context(service(context))
            yield

    app = Application(
        title="x700",
        summary="Number protection service for 700 numbers",
        description=DESCRIPTION,
        version="1",
        lifespan=lifespan,
        # a path is right or wrong; a redirect would send a client wherever its Host header says
        redirect_slashes=False,
        docs_url=None,
        redoc_url=None,
        # attributes of a trace would hold whatever stands in a URL
        telemetry={"tracing": False, "metrics": False, "logs": False},
        middleware=[
            Middleware(Gate, context=context, usage=usage),
            Middleware(Once, context=context),
        ],
    )
    app.state.context = context
    app.state.usage = usage
    app.state.uploads = Counter()  # of files, by provider
    app.state.binder = Binder(context.store.bindings, context.clock)
    problem.install(app)
    for router in (*ROUTERS, docs.router):
        app.include_router(router)
    return app


def routes() -> Iterator[APIRoute]:
    """Every route that needs a key."""
    for router in ROUTERS:
        for route in router.routes:
            assert isinstance(route, APIRoute)
            yield route


def roles_of(route: APIRoute) -> frozenset[str]:
    """The roles that may use a route, read from its dependencies."""
    for dependency in route.dependant.dependencies:
        if isinstance(dependency.call, Allow):
            return frozenset(role.value for role in dependency.call.roles)
    return frozenset()


def _document(app: FastAPI) -> dict[str, Any]:
    document = get_openapi(
        title=app.title,
        version=app.version,
        summary=app.summary,
        description=app.description,
        routes=app.routes,
    )
    components = document.setdefault("components", {})
    components["securitySchemes"] = SCHEMES
    schemas = components.setdefault("schemas", {})
    schema = problem.Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas.update(schema.pop("$defs"))
    schemas["Problem"] = schema
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    document["security"] = [{"key": []}, {"signature": []}]
    for route in routes():
        for method in route.methods or ():
            operation = document["paths"][route.path_format][method.lower()]
            operation["x-roles"] = sorted(roles_of(route))
            if done_once(method, route.path_format):
                operation.setdefault("parameters", []).append(IDEMPOTENCY)
                operation["responses"].update({str(key): value for key, value in problem.documented(409).items()})
    return document
