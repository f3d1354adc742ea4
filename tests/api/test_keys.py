"""Keys: made once, shown once, rotated, revoked, and each request asks anew."""

from tests.api.world import World


async def test_a_key_is_made_listed_and_revoked(api: World) -> None:
    made = await api.operator.post("/v1/keys", {"name": "orders", "role": "provider", "provider": "platform-1"})
    assert made.status_code == 201, made.text
