"""One of everything that a provider may have, so that there is something to be asked about."""

from typing import NamedTuple

from routing.access import Role
from routing.binding import BindingRequest
from routing.blocklist import BlockKind, BlockRequest
from routing.bulk import FileFormat
from routing.store.sqlite import Store
from tests.api.world import BLOCK, DAY, PROVIDER, SCENARIO, USER, A, B, World


class Things(NamedTuple):
    """Ids of what is there."""

    binding: str
    x: str
    group: str
    contract: str
    key: str
    webhook: str
    imported: str
    entry: str

    def places(self, path: str) -> dict[str, str]:
        """What stands in the places of a path."""
        first = path.split("/")[2]
        ids = {
            "bindings": self.binding,
            "groups": self.group,
            "providers": PROVIDER,
            "business-users": USER,
            "contracts": self.contract,
            "keys": self.key,
            "webhooks": self.webhook,
            "imports": self.imported,
            "blocklist": self.entry,
            "calls": "call-1",
            "records": "r-1",
        }
        values = {
            "id": ids.get(first, ""),
            "x": self.x,
            "prefix": "138" if first == "caller-ranges" else BLOCK,
            "business_user": USER,
            "name": SCENARIO,
        }
        return {name: value for name, value in values.items() if f"{{{name}}}" in path}

    def fill(self, path: str) -> str:
        """A path with its places filled."""
        for name, value in self.places(path).items():
            path = path.replace(f"{{{name}}}", value)
        return path


def binding(**changes: object) -> dict[str, object]:
    """The body of a binding."""
    return {
        "a": A,
        "b": B,
        "business_user": USER,
        "scenario": SCENARIO,
        "order_id": "order-1",
        "real_name": "rn-1",
        "consent": "c-1",
        "expires_ms": 1_795_000_000_000 + DAY,
        **changes,
    }


async def provide(api: World) -> Things:
    """Make one of each for the first provider."""
    store, now_ms = api.store, api.clock()
    made = await store.bindings.bind(
        BindingRequest(
            x="", a=A, b=B, business_user=USER, scenario=SCENARIO, order_id="order-0", real_name="rn-0",
            consent="c-0", expires_ms=now_ms + DAY,
        ),
        now_ms,
        by="test",
    )  # fmt: skip
    group = await store.groups.add(USER, "couriers", ("13500135000", "13600136000"), now_ms, by="test")
    key, _ = await store.keys.add("spare", Role.PROVIDER, PROVIDER, now_ms=now_ms, by="test")
    webhook, _ = await store.webhooks.add(PROVIDER, "http://127.0.0.1:9/hook", (), now_ms=now_ms, by="test")
    # by another process, so that nobody here begins with it
    async with await Store.open(api.directory / "bindings.db", api.seal) as elsewhere:
        imported = await elsewhere.imports.add(
            "0123456789ab", FileFormat.CSV, 0, 0, b"", now_ms, by="test", provider=PROVIDER
        )
    entry = await store.blocklist.add(BlockRequest(BlockKind.CALLER, "13300133000", "case"), now_ms, by="test")
    await store.blocklist.set_range("138", True, now_ms, by="test", reason="case")
    return Things(made.id, made.x, group.id, f"{USER}.enrolled", key.id, webhook.id, imported.id, str(entry.id))
