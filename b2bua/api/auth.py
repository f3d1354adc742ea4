"""Who asks, and which roles may ask for what."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request
from fastapi.routing import APIRoute

from b2bua.api.problem import ProblemError
from routing.access import Role
from routing.errors import NotFound

__all__ = ["Allow", "Caller", "Everybody", "Operator", "Owner", "Watcher"]


@dataclass(frozen=True, slots=True)
class Caller:
    """The key that a request came with. `provider` is '' but for the role of that name."""

    key_id: str
    role: Role
    provider: str

    @property
    def by(self) -> str:
        """Who did it, in audit and ledger."""
        return f"key:{self.key_id}"

    @property
    def asker(self) -> str:
        """Under whose name an Idempotency-Key is kept: a provider's keys follow one another, and share it."""
        return f"provider:{self.provider}" if self.provider else self.key_id

    def own(self, provider: str, field: str = "id", message: str = "no such thing") -> None:
        """NotFound unless what belongs to this provider is the caller's to know of."""
        if self.provider and self.provider != provider:
            raise NotFound(field, "form", message)

    def scope(self, provider: str = "") -> str:
        """The provider a list is narrowed to: a provider's own whatever was asked for, else the one asked for."""
        return self.provider or provider


class Allow:
    """A dependency that lets these roles pass and gives the endpoint its caller.

    It refuses query parameters that the route does not know, too: a filter that is misspelt must not list everything.
    """

    def __init__(self, *roles: Role) -> None:
        self.roles = frozenset(roles)

    async def __call__(self, request: Request) -> Caller:
        caller = request.state.caller
        assert isinstance(caller, Caller)
        if caller.role not in self.roles:
            raise ProblemError(403, f"the role {caller.role} may not do this", rule="role")
        if request.scope["query_string"]:
            route = request.scope["route"]
            known = _PARAMETERS.get(id(route))
            if known is None:
                known = _PARAMETERS[id(route)] = _parameters(route)
            for name in request.query_params:
                if name not in known:
                    raise ProblemError(422, "is unknown; take it out", name, "form")
        return caller


# Routes cannot be hashed; they live as long as the program.
_PARAMETERS: dict[int, frozenset[str]] = {}


def _parameters(route: APIRoute) -> frozenset[str]:
    """The query parameters of a route and of what it depends on."""
    names: set[str] = set()
    waiting = [route.dependant]
    while waiting:
        dependant = waiting.pop()
        names.update(field.alias for field in dependant.query_params)
        waiting += dependant.dependencies
    return frozenset(names)


Everybody = Annotated[Caller, Depends(Allow(Role.PROVIDER, Role.OPERATOR, Role.AUDITOR))]
"""Any key; a provider's is narrowed to its own."""
Owner = Annotated[Caller, Depends(Allow(Role.PROVIDER, Role.OPERATOR))]
"""Who may change what is a provider's: itself and the operator."""
Operator = Annotated[Caller, Depends(Allow(Role.OPERATOR))]
"""The operator alone."""
Watcher = Annotated[Caller, Depends(Allow(Role.OPERATOR, Role.AUDITOR))]
"""Who sees everything: the operator and the auditor."""
