"""What routing refuses and what can fail in it.

RoutingError
├── BindingError   the request to bind, end or add is at fault; says which field and which rule
└── StoreError     the store is at fault: absent, locked, damaged, of another version, sealed with other keys
"""


class RoutingError(Exception):
    """Root of the errors of this package."""


class BindingError(RoutingError):
    """A request that provisioning refuses.

    `field` is the field at fault, `rule` what it breaks ("R3" and so on from the rules of the service, "key" for the
    uniqueness of (number dialled, caller), "form" for plain malformation), `message` a sentence for a person. The
    message never holds a subscriber's number.
    """

    def __init__(self, field: str, rule: str, message: str) -> None:
        super().__init__(f"{field}: {message} ({rule})")
        self.field = field
        self.rule = rule
        self.message = message


class StoreError(RoutingError):
    """The store could not be read or written; the text names the file and what to do. Trying again later is safe."""
