"""Every instruction of an account agent, carried out on a real FreeIPA by the documented service account."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator

import pytest

from openportal.agents.account.freeipa.calls import IpaExists, IpaForbidden, IpaInvalid
from openportal.errors import InvalidJob, RunError
from tests.agents.account.freeipa.conversation import CONVERSATION
from tests.agents.runs import Killed, MemoryRun, answer, effects_of
from tests.systems.freeipa.bed import Bed
from tests.systems.freeipa.site import Leaf, leaf

pytestmark = pytest.mark.systems
MANY = 200


@pytest.fixture
async def accounts(bed: Bed) -> AsyncIterator[Leaf]:
    found = leaf(bed)
    yield found
    await found.servers.close()


def groups_of(bed: Bed, user: str, server: str = "srv") -> set[str]:
    """The groups that FreeIPA itself names for a user."""
    return set(attribute(bed, user, "Member of groups", server).split(", ")) - {""}


def attribute(bed: Bed, user: str, label: str, server: str = "srv") -> str:
    return attributes(bed, user, server).get(label, "")


def attributes(bed: Bed, user: str, server: str = "srv") -> dict[str, str]:
    """All that FreeIPA shows of a user, by its words for it."""
    lines = bed.ipa("user-show", user, "--all", server=server).splitlines()
    return {label.strip(): value.strip() for label, _, value in (line.partition(":") for line in lines)}


USUAL = {"ipausers", "openportal", "op_shared_default"}


async def test_a_conversation(bed: Bed, accounts: Leaf) -> None:
    for text, expected in CONVERSATION:
        found = await answer(accounts, text)
        if text == "get_projects brics":
            assert set(expected) <= set(found), text  # type: ignore[call-overload, arg-type]
        else:
            assert found == expected, text
    assert bed.ipa("group-show", "brics.talk").count("brics.talk") == 1


async def test_what_is_written(bed: Bed, accounts: Leaf) -> None:
    await answer(accounts, "add_user warm.up.brics")
    assert await effects_of(accounts, "add_user ben.write.brics") == [
        ("create group", "brics.write"),
        ("create user", "ben.write"),
        ("add user to group", "ben.write in brics.write"),
        ("add user to group", "ben.write in openportal"),
        ("add user to group", "ben.write in op_shared_default"),
        ("finish user", "ben.write"),
    ]
    assert groups_of(bed, "ben.write") == USUAL | {"brics.write"}
    assert attribute(bed, "ben.write", "Full name") == "ben.write.brics"
    assert attribute(bed, "ben.write", "Class") == "openportal"
    assert await effects_of(accounts, "add_user ben.write.brics") == []
    uid = attribute(bed, "ben.write", "UID")
    await answer(accounts, "remove_user ben.write.brics")
    assert groups_of(bed, "ben.write") == {"ipausers", "openportal"}
    assert attribute(bed, "ben.write", "Account disabled") == "True"
    assert await effects_of(accounts, "remove_user ben.write.brics") == []
    await answer(accounts, "add_user ben.write.brics")
    assert attribute(bed, "ben.write", "UID") == uid
    assert groups_of(bed, "ben.write") == USUAL | {"brics.write"}


async def test_a_new_user_needs_six_calls_in_three_requests(accounts: Leaf) -> None:
    await answer(accounts, "add_user first.calls.brics")
    session = accounts.servers.writer().session
    before = session.requests
    run = MemoryRun()
    await answer(accounts, "add_user second.calls.brics", run)
    assert session.requests - before == 3
    assert len(run.effects) == 5  # and one look


async def test_two_hundred_users_at_once(bed: Bed, accounts: Leaf) -> None:
    await answer(accounts, "add_project many.brics")
    session = accounts.servers.writer().session
    before = session.requests
    await asyncio.gather(*(answer(accounts, f"add_user u{number}.many.brics") for number in range(MANY)))
    assert session.requests - before < MANY
    found = await answer(accounts, "get_users many.brics")
    assert isinstance(found, list)
    assert len(found) == MANY
    assert groups_of(bed, "u0.many") == groups_of(bed, f"u{MANY - 1}.many") == USUAL | {"brics.many"}
    await answer(accounts, "remove_project many.brics")
    assert await answer(accounts, "get_users many.brics") == []
    assert groups_of(bed, f"u{MANY - 1}.many") == {"ipausers", "openportal"}


async def test_one_of_many_that_cannot_be_made(bed: Bed, accounts: Leaf) -> None:
    """The others are, and the group holds nobody who does not exist."""
    await answer(accounts, "add_project odd.brics")
    await answer(accounts, "add_user first.odd.brics")
    names = [*(f"u{number}" for number in range(8)), "a" * 40]
    asked = (answer(accounts, f"add_user {name}.odd.brics") for name in names)
    *fine, refused = await asyncio.gather(*asked, return_exceptions=True)
    assert isinstance(refused, IpaInvalid)
    assert fine == [f"{name}.odd.brics:{name}.odd:brics.odd" for name in names[:-1]]
    shown = bed.ipa("group-show", "brics.odd")
    [members] = [line.partition(":")[2] for line in shown.splitlines() if "Member users:" in line]
    assert {name.strip() for name in members.split(",")} == {"first.odd", *(f"{name}.odd" for name in names[:-1])}
    assert all(groups_of(bed, f"{name}.odd") == USUAL | {"brics.odd"} for name in names[:-1])


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(
    ("text", "action"),
    [
        ("add_user", "create group"),
        ("add_user", "create user"),
        ("add_user", "add user to group"),
        ("add_user", "finish user"),
        ("block_user", "add user to group"),
        ("block_user", "disable user"),
        ("unblock_user", "enable user"),
        ("unblock_user", "take user out of group"),
        ("remove_user", "disable user"),
        ("remove_user", "take user out of group"),
        ("add_user again", "add user to group"),
        ("add_user again", "enable user"),
    ],
)
async def test_an_agent_that_dies_at_any_call(bed: Bed, accounts: Leaf, text: str, action: str, when: str) -> None:
    """It dies before the call, or after it and before its event; whoever comes next completes what was begun."""
    project = f"die{zlib.crc32(f'{text} {action} {when}'.encode()) % 10**6}"
    user = f"kim.{project}.brics"
    for earlier in {"block_user": ["add"], "unblock_user": ["add", "block"], "remove_user": ["add"]}.get(
        text, ["add", "remove"] if text.endswith("again") else []
    ):
        await answer(accounts, f"{earlier}_user {user}")
    verb = text.partition(" ")[0]
    run = MemoryRun(**{f"killed_{when}": action})
    with pytest.raises(Killed):
        await answer(accounts, f"{verb} {user}", run)
    await ask_once(bed, f"{verb} {user}")
    expected = USUAL | {f"brics.{project}"}
    if verb == "block_user":
        expected |= {"openportal.blocked"}
    elif verb == "remove_user":
        expected = {"ipausers", "openportal"}
    found = attributes(bed, f"kim.{project}")
    assert set(found["Member of groups"].split(", ")) == expected
    assert found["Class"] == "openportal"
    assert found["Account disabled"] == str(verb in ("block_user", "remove_user"))


async def ask_once(bed: Bed, text: str) -> object:
    """By an agent that knows nothing yet."""
    found = leaf(bed)
    try:
        return await answer(found, text)
    finally:
        await found.servers.close()


async def test_what_is_not_ours_is_left_alone(bed: Bed, accounts: Leaf) -> None:
    bed.ipa("user-add", "eve.theirs", "--first", "Eve", "--last", "Theirs")
    assert await answer(accounts, "is_protected_user eve.theirs.brics") is True
    for verb in ("add_user", "remove_user", "block_user", "unblock_user"):
        assert await effects_of(accounts, f"{verb} eve.theirs.brics") == []
    with pytest.raises(RunError, match="not managed"):
        await answer(accounts, "update_homedir eve.theirs.brics /srv/eve")
    assert groups_of(bed, "eve.theirs") == {"ipausers"}


async def test_the_directory_itself_forbids_to_touch_others(bed: Bed, accounts: Leaf) -> None:
    """The service account's permissions hold even if the agent were wrong."""
    from openportal.agents.account.freeipa import plan  # the calls, without the decisions

    bed.ipa("user-add", "boss.theirs", "--first", "Boss", "--last", "Theirs")
    server = accounts.servers.writer()
    for call in (plan.switch("boss.theirs", disabled=True), plan.switch("admin", disabled=True)):
        with pytest.raises(IpaForbidden):
            await server.change(call)
    with pytest.raises(RunError):
        await server.change(plan.join("boss.theirs", "admins"))
    with pytest.raises(IpaForbidden):
        await answer(accounts, "add_project somebody.elses")
    assert "boss.theirs" not in bed.ipa("group-show", "admins")


async def test_a_user_of_another_portal_with_the_same_name(accounts: Leaf) -> None:
    await answer(accounts, "add_user twin.same.brics")
    with pytest.raises(RunError, match=r"belongs to twin\.same\.brics"):
        await answer(accounts, "add_user twin.same.elsewhere")
    assert await answer(accounts, "is_existing_user twin.same.elsewhere") is False


async def test_legacy_groups(bed: Bed, accounts: Leaf) -> None:
    bed.ipa("group-add", "group.old", "--desc", "An old project")
    bed.ipa("permission-mod", "OpenPortal - Change Members", "--filter", LEGACY_NAMES)
    assert await answer(accounts, "add_project old.brics") == "old.brics:group.old"
    assert await answer(accounts, "add_user lea.old.brics") == "lea.old.brics:lea.old:group.old"
    assert await answer(accounts, "get_users old.brics") == ["lea.old.brics:lea.old:group.old"]
    assert await answer(accounts, "is_local_user_added lea.old.brics:lea.old:group.old") is True
    assert "old.brics:group.old" in (await answer(accounts, "get_projects brics"))  # type: ignore[operator]
    assert "brics.old" not in groups_of(bed, "lea.old")


LEGACY_NAMES = "(|(cn=openportal)(cn=openportal.blocked)(cn=op_*)(cn=brics.*)(cn=group.*))"


async def test_names_that_cannot_be(bed: Bed, accounts: Leaf) -> None:
    with pytest.raises(InvalidJob, match="lower case"):
        await answer(accounts, "add_user Big.names.brics")
    with pytest.raises(IpaInvalid, match="at most 32 characters"):
        await answer(accounts, f"add_user {'a' * 40}.names.brics")
    with pytest.raises(InvalidJob, match="internal portal"):
        await answer(accounts, "add_project docker.system")
    bed.ipa("group-add", "brics.taken", "--desc", "The staff")
    with pytest.raises(RunError, match="op-freeipa adopt"):
        await answer(accounts, "add_project taken.brics")
    await answer(accounts, "add_project private.brics")
    with pytest.raises(IpaExists, match="private group"):
        await answer(accounts, "add_user brics.private.brics")


async def test_system_and_instance_groups_and_two_instances(bed: Bed) -> None:
    for group in ("hpc", "mpi"):
        bed.ipa("group-add", group)
    bed.ipa("permission-add", "OpenPortal - Site Groups", "--right", "write", "--type", "group", "--attrs", "member",
            "--filter", "(|(cn=hpc)(cn=mpi))")  # fmt: skip
    bed.ipa("privilege-add-permission", "OpenPortal Accounts", "--permissions", "OpenPortal - Site Groups")
    both = leaf(bed, system_groups="hpc", instance_groups="shared:mpi")
    await answer(both, "add_user max.two.brics")
    assert groups_of(bed, "max.two") == USUAL | {"brics.two", "hpc", "mpi"}
    await answer(both, "add_user max.two.brics", MemoryRun("gpu@default"))
    assert "op_gpu_default" in groups_of(bed, "max.two")
    await answer(both, "remove_user max.two.brics")
    assert groups_of(bed, "max.two") == {"ipausers", "openportal", "brics.two", "hpc", "op_gpu_default"}
    assert attribute(bed, "max.two", "Account disabled") == "False"
    assert await answer(both, "get_users two.brics") == []
    assert await answer(both, "get_users two.brics", MemoryRun("gpu@default")) != []
    await answer(both, "remove_user max.two.brics", MemoryRun("gpu@default"))
    assert groups_of(bed, "max.two") == {"ipausers", "openportal"}
    assert attribute(bed, "max.two", "Account disabled") == "True"
    await both.servers.close()
