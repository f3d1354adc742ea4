"""The OpenAPI document says what the API does: every operation is tried with what the document allows and what it
forbids, and no answer is a 5xx or one that the document does not know."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import Case, GenerationMode
from schemathesis.python.asgi import shutdown_lifespans
from schemathesis.schemas import APIOperation
from schemathesis.specs.openapi import checks

from b2bua.api.app import routes
from tests.api.things import Things, provide
from tests.api.world import World, world

# A run of all operations has 40 seconds; a larger number searches longer.
EXAMPLES = 6
CHECKS = [
    schemathesis.checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
    checks.negative_data_rejection,
]
# They take what is wrong, and say so of each item or line.
PATIENT = {"/v1/bindings/batch", "/v1/imports"}
OPERATIONS = sorted((route.path_format, method) for route in routes() for method in route.methods or ())


class Api:
    """The application of a world, whose lifespan is the world's own."""

    def __init__(self, world: World, things: Things) -> None:
        self.world = world
        self.things = things

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            self.world.context.keys.close()  # in the thread that has opened it
            await send({"type": "lifespan.shutdown.complete"})
        else:
            await self.world.app(scope, receive, send)


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    with asyncio.Runner() as runner:
        made = world(tmp_path_factory.mktemp("openapi"))
        entered = runner.run(made.__aenter__())
        yield Api(entered, runner.run(provide(entered)))
        shutdown_lifespans()
        runner.run(made.__aexit__(None, None, None))


@pytest.fixture(scope="module")
def schema(api: Api) -> Any:
    return schemathesis.openapi.from_asgi("/openapi.json", api)


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=lambda mode: mode.value)
@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_every_answer_is_documented(api: Api, schema: Any, path: str, method: str, mode: GenerationMode) -> None:
    operation: APIOperation[Any, Any, Any] = schema[path][method]
    wanted = [check for check in CHECKS if path not in PATIENT or check is not checks.negative_data_rejection]
    keys = [api.world.operator.key, api.world.platform.key]

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def ask(case: Case) -> None:
        size = len(repr(case.path_parameters)) + len(repr(case.body))
        key = keys[size % len(keys)]
        if size % 3 and mode is GenerationMode.POSITIVE:  # as often as not ask about what there is
            case.path_parameters = api.things.places(path) | {
                name: value for name, value in case.path_parameters.items() if name == "deed"
            }
        case.call_and_validate(headers={"Authorization": f"Bearer {key}"}, checks=wanted)

    ask()
