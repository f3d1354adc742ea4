"""What routing refuses and what can fail in it.

RoutingError
├── BindingError         what is asked for is at fault; says which field and which rule
│   ├── NotFound         it is about something that is not there, or is not the asker's to see
│   ├── Conflict         something of this name is there already, or is not in a state for it
│   └── StaleRevision    it has been changed since the asker read it
└── StoreError           the store is at fault: absent, locked, damaged, of another version, sealed with other keys
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


class NotFound(BindingError):
    """There is no such thing, or it belongs to another provider than the one who asks: the two look the same."""


class Conflict(BindingError):
    """What is there already stands in the way: the same name, or a state from which this is not possible."""


class StaleRevision(BindingError):
    """The revision that a change was made from is not the one that is stored: read again, decide again."""


class StoreError(RoutingError):
    """The store could not be read or written; the text names the file and what to do. Trying again later is safe."""
