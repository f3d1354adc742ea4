"""Groups in the store: members come and go while bindings live."""

from typing import Any

import pytest

from routing.binding import DAY_MS, Mode
from routing.errors import BindingError, Conflict, NotFound, StaleRevision
from routing.groups import MOST_MEMBERS
from routing.store.groups import BINDINGS_AT_ONCE
from routing.store.reader import Reader
from routing.store.sqlite import Store
from tests.routing.samples import HOUR, NOW, PREFIX, STRANGER, A, B, X, request

Y = f"{PREFIX}0002"
C, D = "+8613700137000", "+8613600136000"
NEW = {"real_name": "proof-2", "consent": "consent-2", "by": "test"}


async def refused(work: Any) -> BindingError:
    with pytest.raises(BindingError) as caught:
        await work
    return caught.value


@pytest.fixture
async def couriers(store: Store) -> str:
    group = await store.groups.add("shop", "couriers", ("138 0013 8000", C), NOW, by="test")
    assert (group.members, group.provider, group.revision) == ((A, C), "provider", 1)
    return group.id


async def bind(store: Store, group: str, **changes: Any) -> str:
    values: dict[str, Any] = {"mode": Mode.GXB, "group": group} | changes
    return (await store.bindings.bind(request(**values), NOW, by="test")).id


async def test_a_group_is_read_back_whole(store: Store, couriers: str) -> None:
    group = await store.groups.get(couriers)
    assert group is not None
    assert (group.name, group.business_user, group.members) == ("couriers", "shop", (A, C))
    assert await store.groups.get(couriers, "provider") == group
    assert await store.groups.get(couriers, "another") is None
    assert await store.groups.get("none") is None


async def test_real_numbers_of_members_are_in_the_file_only_sealed(store: Store, couriers: str, path: Any) -> None:
    await store.close()
    content = path.read_bytes()
    assert b"couriers" in content
    assert b"13800138000" not in content


@pytest.mark.parametrize(
    ("values", "field", "rule"),
    [
        ({"business_user": "taxi"}, "business_user", "R6"),
        ({"business_user": "\ud800"}, "business_user", "form"),
        ({"provider": "another"}, "business_user", "R6"),
        ({"name": ""}, "name", "form"),
        ({"members": ["95588"]}, "member", "R13"),
    ],
)
async def test_a_group_that_cannot_be_is_refused(store: Store, values: dict[str, Any], field: str, rule: str) -> None:
    whole: dict[str, Any] = {"business_user": "shop", "name": "g", "members": [A], "now_ms": NOW, "by": "test"} | values
    error = await refused(store.groups.add(**whole))
    assert (error.field, error.rule) == (field, rule)
    assert await store.groups.list() == ()


async def test_groups_are_listed_the_oldest_first_in_pages(store: Store, couriers: str) -> None:
    others = [
        (await store.groups.add("shop", f"group {number}", (), NOW + number, by="test")).id for number in (1, 2, 3)
    ]
    ids = [couriers, *others]
    assert [group.id for group in await store.groups.list()] == ids
    assert [group.id for group in await store.groups.list(ids[1], 1)] == ids[2:3]
    assert [group.id for group in await store.groups.list(business_user="shop", provider="provider")] == ids
    assert await store.groups.list(provider="another") == await store.groups.list(business_user="taxi") == ()
    await store.groups.remove(ids[1], NOW + 9, by="test")
    assert [group.id for group in await store.groups.list(ids[1], provider="provider")] == ids[2:]
    assert (await refused(store.groups.list(ids[1], provider="another"))).field == "after"
    assert (await refused(store.groups.list("none"))).field == "after"
    assert (await refused(store.groups.list(limit=0))).field == "limit"


async def test_a_new_member_reaches_b_of_every_live_binding_at_once(
    store: Store, reader: Reader, couriers: str
) -> None:
    many = BINDINGS_AT_ONCE + 10  # more than are handled at a time
    wanted = [
        request(mode=Mode.GXB, group=couriers, x=f"{PREFIX}{number:04d}", b=f"139{number:08d}")
        for number in range(many)
    ]
    await store.bindings.bind_many(wanted, NOW, by="test")
    group = await store.groups.add_members(couriers, (D, C), NOW, **NEW)
    assert (group.members, group.revision) == ((A, C, D), 2)
    for number in (0, 1, many - 1):
        found = reader.find(f"{PREFIX}{number:04d}", D)
        assert found is not None
        assert (found.a, found.b) == (D, f"+86139{number:08d}")


async def test_a_new_member_has_no_right_to_what_is_over(store: Store, reader: Reader, couriers: str) -> None:
    ended = await bind(store, couriers)
    await store.bindings.end(ended, NOW, by="test")
    await bind(store, couriers, x=Y, expires_ms=NOW + 1)
    await store.groups.add_members(couriers, (D,), NOW + 1, by="test")
    assert reader.find(X, D) is None
    assert reader.find(Y, D) is None


@pytest.mark.parametrize("field", ["real_name", "consent"])
async def test_new_members_of_a_group_with_bindings_need_references(
    store: Store, reader: Reader, couriers: str, field: str
) -> None:
    await bind(store, couriers)
    error = await refused(store.groups.add_members(couriers, (D,), NOW, **NEW | {field: " "}))
    assert (error.field, error.rule) == (field, "R16")
    error = await refused(store.groups.add_members(couriers, (D,), NOW, **NEW | {field: "\n"}))
    assert (error.field, error.rule) == (field, "form")
    assert reader.find(X, D) is None
    await store.groups.add_members(couriers, (D,), NOW, **NEW)
    (deed, _) = await store.audit.list(kind="group", identifier=couriers)
    assert deed.detail == {"members": 1, "real_name": "proof-2", "consent": "consent-2"}


async def test_a_binding_yet_to_start_takes_new_members_too(store: Store, reader: Reader, couriers: str) -> None:
    await bind(store, couriers, starts_ms=NOW + HOUR, expires_ms=NOW + 2 * HOUR)
    await store.groups.add_members(couriers, (D,), NOW, **NEW)
    assert reader.find(X, D) is not None


async def test_a_member_whose_key_is_held_elsewhere_is_refused_and_nothing_changes(
    store: Store, reader: Reader, couriers: str
) -> None:
    await bind(store, couriers)
    await bind(store, couriers, x=Y)
    other = await store.bindings.bind(request(x=Y, a=D, b=STRANGER), NOW, by="test")
    error = await refused(store.groups.add_members(couriers, ("13500135000", D), NOW, **NEW))
    assert isinstance(error, Conflict)
    assert (error.field, error.rule) == ("member", "key")
    assert other.id in error.message
    group = await store.groups.get(couriers)
    assert group is not None
    assert (group.members, group.revision) == ((A, C), 1)
    assert reader.find(X, D) is reader.find(X, "+8613500135000") is None
    assert reader.find(Y, D) == other


@pytest.mark.parametrize(("mode", "y"), [(Mode.GXB, ""), (Mode.GXYB, Y)])
async def test_b_of_a_binding_cannot_become_a_member(store: Store, couriers: str, mode: Mode, y: str) -> None:
    await bind(store, couriers, mode=mode, y=y)
    error = await refused(store.groups.add_members(couriers, (B,), NOW, **NEW))
    assert (error.field, error.rule) == ("member", "key")


async def test_adding_who_is_there_changes_nothing(store: Store, couriers: str) -> None:
    assert (await store.groups.add_members(couriers, (A,), NOW, by="test")).revision == 1


async def test_a_group_does_not_grow_beyond_its_limit(store: Store, couriers: str) -> None:
    crowd = [f"150{number:08d}" for number in range(MOST_MEMBERS - 1)]
    assert (await refused(store.groups.add_members(couriers, crowd, NOW, by="test"))).rule == "form"


async def test_a_member_taken_out_reaches_nobody_any_more(store: Store, reader: Reader, couriers: str) -> None:
    await bind(store, couriers)
    group = await store.groups.remove_member(couriers, C, NOW, by="test")
    assert (group.members, group.revision) == ((A,), 2)
    assert reader.find(X, C) is None
    assert reader.find(X, A) is not None
    # the key is free for another binding
    other = await store.bindings.bind(request(a=C, b=STRANGER), NOW, by="test")
    assert reader.find(X, C) == other


async def test_a_member_taken_out_keeps_what_another_binding_gave_him(
    store: Store, reader: Reader, couriers: str
) -> None:
    bound = await bind(store, couriers)
    await store.bindings.end(bound, NOW, by="test")
    other = await store.bindings.bind(request(a=C, b=STRANGER), NOW, by="test")
    await store.groups.remove_member(couriers, C, NOW, by="test")
    assert reader.find(X, C) == other


async def test_the_default_a_leaves_only_with_a_successor(store: Store, reader: Reader, couriers: str) -> None:
    bound = await bind(store, couriers)
    error = await refused(store.groups.remove_member(couriers, A, NOW, by="test"))
    assert (error.field, error.rule) == ("member", "member")
    assert bound in error.message
    for nobody in (A, D):
        error = await refused(store.groups.remove_member(couriers, A, NOW, by="test", successor=nobody))
        assert (error.field, error.rule) == ("successor", "member")
    assert (await refused(store.groups.remove_member(couriers, A, NOW, by="test", successor="95588"))).rule == "R13"
    assert reader.find(X, A) is not None

    group = await store.groups.remove_member(couriers, A, NOW + 5, by="test", successor=C)
    assert group.members == (C,)
    changed = reader.find(X, B)
    assert changed is not None
    assert (changed.id, changed.a) == (bound, C)
    assert reader.find(X, A) is None
    assert [entry.event for entry in await store.ledger.list(X)] == ["changed", "bound"]


async def test_the_default_a_of_dead_bindings_may_leave(store: Store, couriers: str) -> None:
    bound = await bind(store, couriers)
    await store.bindings.end(bound, NOW, by="test")
    assert (await store.groups.remove_member(couriers, A, NOW, by="test")).members == (C,)


async def test_who_is_no_member_cannot_be_taken_out(store: Store, couriers: str) -> None:
    error = await refused(store.groups.remove_member(couriers, D, NOW, by="test"))
    assert isinstance(error, NotFound)
    assert error.field == "member"


async def test_a_group_is_renamed_and_forgotten(store: Store, reader: Reader, couriers: str) -> None:
    assert (await store.groups.rename(couriers, "drivers", NOW, by="test")).name == "drivers"
    bound = await bind(store, couriers)
    error = await refused(store.groups.remove(couriers, NOW, by="test"))
    assert isinstance(error, Conflict)
    await store.bindings.end(bound, NOW, by="test")
    await store.groups.remove(couriers, NOW, by="test")
    assert await store.groups.get(couriers) is None
    kept = await store.bindings.get(bound)
    assert kept is not None
    assert kept.group == couriers


async def test_only_the_owner_and_only_the_present_revision_may_change_a_group(store: Store, couriers: str) -> None:
    for options, kind in (({"provider": "another"}, NotFound), ({"revision": 7}, StaleRevision)):
        for work in (
            store.groups.add_members(couriers, (D,), NOW, by="test", **options),
            store.groups.remove_member(couriers, C, NOW, by="test", **options),
            store.groups.rename(couriers, "other", NOW, by="test", **options),
            store.groups.remove(couriers, NOW, by="test", **options),
        ):
            assert type(await refused(work)) is kind
    assert (await store.groups.rename(couriers, "other", NOW, by="test", provider="provider", revision=1)).revision == 2


async def test_every_change_is_in_the_audit_without_a_number(store: Store, couriers: str) -> None:
    await store.groups.add_members(couriers, (D,), NOW, by="key:1")
    await store.groups.remove_member(couriers, D, NOW, by="key:1")
    await store.groups.rename(couriers, "drivers", NOW, by="key:2")
    await store.groups.remove(couriers, NOW, by="key:2")
    deeds = await store.audit.list(kind="group", identifier=couriers)
    assert [(deed.action, deed.by) for deed in reversed(deeds)] == [
        ("add", "test"),
        ("add members", "key:1"),
        ("remove member", "key:1"),
        ("rename", "key:2"),
        ("remove", "key:2"),
    ]
    assert all(deed.provider == "provider" and "3600136" not in str(deed.detail) for deed in deeds)


async def test_bindings_of_a_group_are_listed(store: Store, couriers: str) -> None:
    bound = await bind(store, couriers)
    await store.bindings.bind(request(x=Y), NOW, by="test")
    assert [one.id for one in await store.bindings.list(group=couriers)] == [bound]


async def test_a_member_of_two_groups_can_be_of_one_number_only_once(store: Store, couriers: str) -> None:
    second = await store.groups.add("shop", "second", (C, D), NOW, by="test")
    await bind(store, couriers)
    error = await refused(bind(store, second.id, a=D, b=STRANGER, expires_ms=NOW + DAY_MS))
    assert (error.field, error.rule) == ("x", "key")
    await bind(store, second.id, a=D, b=STRANGER, x=Y)
