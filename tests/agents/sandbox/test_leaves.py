"""The three leaves, asked what the instance agent asks."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import pytest

from openportal.agents.filesystem.volumes import Volumes
from openportal.agents.sandbox.account import SandboxAccounts
from openportal.agents.sandbox.filesystem import SandboxFilesystem
from openportal.agents.sandbox.scheduler import SandboxScheduler
from openportal.agents.sandbox.store import SandboxStore
from openportal.errors import InvalidJob, RunError
from openportal.templemeads.handlers import Leaf
from tests.agents.runs import Killed, MemoryRun, answer, effects_of

T = TypeVar("T")

BOB = "bob.climate.brics"
USER = f"{BOB}:bob.climate:brics.climate"
PROJECT = "climate.brics:brics.climate"


@pytest.fixture
def store(tmp_path: Path) -> SandboxStore:
    return SandboxStore(tmp_path / "sandbox")


@pytest.fixture
def accounts(store: SandboxStore) -> SandboxAccounts:
    return SandboxAccounts(store)


@pytest.fixture
def filesystem(store: SandboxStore) -> SandboxFilesystem:
    return SandboxFilesystem(store, wall=lambda: 1795505713.0)


@pytest.fixture
def scheduler(store: SandboxStore) -> SandboxScheduler:
    return SandboxScheduler(store)


async def converse(leaf: Leaf, lines: list[tuple[str, object]]) -> None:
    for text, expected in lines:
        assert await answer(leaf, text) == expected, text


async def test_accounts(accounts: SandboxAccounts) -> None:
    await converse(
        accounts,
        [
            ("is_existing_project climate.brics", False),
            ("is_local_project_removed " + PROJECT, True),
            ("add_project climate.brics", PROJECT),
            ("is_local_project_added " + PROJECT, True),
            ("is_local_project_added climate.brics:other", False),
            (f"is_blocked_user {BOB}", False),
            (f"is_existing_user {BOB}", False),
            (f"is_protected_user {BOB}", False),
            (f"is_local_user_removed {USER}", True),
            (f"add_user {BOB}", USER),
            (f"update_homedir {BOB} /srv/bob", "/srv/bob"),
            (f"is_local_user_added {USER}", True),
            (f"is_local_user_removed {USER}", False),
            ("is_local_project_removed " + PROJECT, False),
            (f"block_user {BOB}", USER),
            (f"is_blocked_user {BOB}", True),
            (f"add_user {BOB}", USER),
            (f"is_local_user_added {USER}", False),
            (f"unblock_user {BOB}", USER),
            (f"get_user_mapping {BOB}", USER),
            ("get_project_mapping climate.brics", PROJECT),
            ("get_projects brics", [PROJECT]),
            ("get_projects other", []),
            ("get_users climate.brics", [USER]),
            (f"remove_user {BOB}", USER),
            (f"is_existing_user {BOB}", False),
            (f"is_local_user_removed {USER}", True),
            ("get_users climate.brics", []),
            ("remove_user alice.demo.brics", "alice.demo.brics:alice.demo:brics.demo"),
            (f"add_user {BOB}", USER),
            ("remove_project climate.brics", PROJECT),
            ("is_local_project_removed " + PROJECT, True),
            ("is_existing_project climate.brics", False),
        ],
    )


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("get_user_mapping zed.demo.brics", r"User does not exist: zed\.demo\.brics"),
        ("get_project_mapping demo.brics", r"Project does not exist: demo\.brics"),
        ("block_user zed.demo.brics", "User does not exist"),
        ("update_homedir zed.demo.brics /x", "User does not exist"),
    ],
)
async def test_accounts_that_are_not_there(accounts: SandboxAccounts, text: str, reason: str) -> None:
    with pytest.raises(RunError, match=reason):
        await answer(accounts, text)


async def test_a_protected_user_is_left_alone(accounts: SandboxAccounts, store: SandboxStore) -> None:
    store.put("users/climate.brics", "bob", {"state": "active", "home": "/", "protected": True}, "by hand")
    assert await answer(accounts, f"is_protected_user {BOB}") is True
    for verb in ("add_user", "remove_user", "block_user"):
        assert await effects_of(accounts, f"{verb} {BOB}") == []
    with pytest.raises(RunError, match="not managed"):
        await answer(accounts, f"update_homedir {BOB} /x")
    await answer(accounts, "add_project climate.brics")
    assert await effects_of(accounts, "remove_project climate.brics") == []
    assert await answer(accounts, "get_users climate.brics") == [USER]


async def test_internal_portals(accounts: SandboxAccounts) -> None:
    for text in ("add_project docker.system", "is_existing_project docker.system", "add_user a.docker.system"):
        with pytest.raises(InvalidJob, match="internal portal"):
            await answer(accounts, text)


def write_thesis(home: str) -> None:
    Path(home, "thesis.txt").write_text("years of work")


def thesis(home: str) -> str | None:
    return Path(home, "thesis.txt").read_text() if Path(home).exists() else None


async def test_filesystem(filesystem: SandboxFilesystem, store: SandboxStore) -> None:
    home, project = f"{store.folder}/home/climate/bob.climate", f"{store.folder}/projects/climate"
    await converse(
        filesystem,
        [
            (f"add_local_project {PROJECT}", None),
            (f"is_local_project_added {PROJECT}", True),
            (f"get_local_home_dir {USER}", home),
            (f"is_local_user_added {USER}", False),
            (f"add_local_user {USER}", None),
            (f"is_local_user_added {USER}", True),
            (f"is_local_user_removed {USER}", False),
            (f"get_local_user_dirs {USER}", [home]),
            (f"get_local_project_dirs {PROJECT}", [project]),
        ],
    )
    write_thesis(home)
    await answer(filesystem, f"remove_local_user {USER}")
    assert thesis(home) is None
    await converse(filesystem, [(f"is_local_user_removed {USER}", True), (f"add_local_user {USER}", None)])
    assert thesis(home) == "years of work"
    await converse(
        filesystem,
        [
            (f"remove_local_project {PROJECT}", None),
            (f"is_local_project_removed {PROJECT}", True),
            (f"is_local_user_added {USER}", False),
            (f"add_local_user {USER}", None),
        ],
    )
    assert thesis(home) == "years of work"


async def test_filesystem_with_volumes_of_its_own(store: SandboxStore) -> None:
    volumes = Volumes.of({"user_volumes": {"a": {"roots": ["/a"]}, "b": {"roots": ["/b"], "is_home": True}}})
    leaf = SandboxFilesystem(store, volumes)
    assert await answer(leaf, f"get_local_home_dir {USER}") == f"{store.folder}/b/climate/bob.climate"
    no_home = SandboxFilesystem(store, Volumes.of({}))
    with pytest.raises(RunError, match="No user volume"):
        await answer(no_home, f"get_local_home_dir {USER}")


async def test_quotas(filesystem: SandboxFilesystem) -> None:
    none = {"limit": "unlimited", "usage": "0 B"}
    some = {"limit": "10.00 GB", "usage": "0 B"}
    await converse(
        filesystem,
        [
            (f"get_local_project_quotas {PROJECT}", {"projects": none}),
            (f"set_local_project_quota {PROJECT} projects 10 GB", some),
            (f"get_local_project_quota {PROJECT} projects", some),
            (f"get_local_user_quota {USER} home", none),
            (f"set_local_user_quota {USER} home 10 GB", some),
            (f"get_local_user_quotas {USER}", {"home": some}),
            (f"clear_local_user_quota {USER} home", None),
            (f"get_local_user_quotas {USER}", {"home": none}),
            (
                f"get_local_storage_report {PROJECT}",
                {
                    "project": "climate.brics",
                    "generated_at": "2026-11-24T07:35:13Z",
                    "project_quotas": {"projects": some},
                    "user_quotas": {},
                    "users": {},
                },
            ),
        ],
    )
    with pytest.raises(RunError, match="Volume does not exist"):
        await answer(filesystem, f"set_local_user_quota {USER} projects 10 GB")


async def test_scheduler(scheduler: SandboxScheduler) -> None:
    report = {"project": "climate.brics", "reports": {}, "users": {}}
    await converse(
        scheduler,
        [
            (f"add_local_project {PROJECT}", None),
            (f"is_local_project_added {PROJECT}", True),
            (f"is_local_user_added {USER}", False),
            (f"add_local_user {USER}", None),
            (f"is_local_user_added {USER}", True),
            (f"get_local_limit {PROJECT}", {"seconds": 0}),
            (f"set_local_limit {PROJECT} 36000", {"seconds": 36000}),
            (f"set_local_limit {PROJECT} 10 hours", {"seconds": 36000}),
            (f"get_local_limit {PROJECT}", {"seconds": 36000}),
            (f"get_local_usage_report {PROJECT} 2026-11-24:2026-11-24", report),
            (f"remove_local_user {USER}", None),
            (f"is_local_user_removed {USER}", True),
            (f"add_local_user {USER}", None),
            (f"remove_local_project {PROJECT}", None),
            (f"is_local_project_removed {PROJECT}", True),
            (f"is_local_user_removed {USER}", True),
        ],
    )


CHANGES = [
    ("accounts", f"add_user {BOB}"),
    ("accounts", f"update_homedir {BOB} /x"),
    ("accounts", f"block_user {BOB}"),
    ("accounts", f"unblock_user {BOB}"),
    ("accounts", f"remove_user {BOB}"),
    ("accounts", "remove_project climate.brics"),
    ("filesystem", f"add_local_user {USER}"),
    ("filesystem", f"remove_local_user {USER}"),
    ("filesystem", f"remove_local_project {PROJECT}"),
    ("filesystem", f"set_local_project_quota {PROJECT} projects 1 TB"),
    ("filesystem", f"clear_local_project_quota {PROJECT} projects"),
    ("scheduler", f"add_local_user {USER}"),
    ("scheduler", f"set_local_limit {PROJECT} 5"),
    ("scheduler", f"remove_local_user {USER}"),
    ("scheduler", f"remove_local_project {PROJECT}"),
]


@pytest.mark.parametrize("kill", ["never", "before", "after"])
async def test_every_effect_happens_once(
    kill: str, accounts: Leaf, filesystem: Leaf, scheduler: Leaf, store: SandboxStore
) -> None:
    """Whatever is killed around an effect and run again: as many changes are recorded as jobs asked for."""
    leaves = {"accounts": accounts, "filesystem": filesystem, "scheduler": scheduler}
    for name, text in CHANGES:
        wanted: set[tuple[str, str]] = set()
        before = len(store.effects())
        while kill != "never":
            run = KilledAtNew(wanted, kill)
            try:
                await answer(leaves[name], text, run)
                break
            except Killed:
                continue
        await answer(leaves[name], text)
        assert await effects_of(leaves[name], text) == [], text
        after = store.effects()
        new = [(effect.action, effect.target) for effect in after[before:]]
        assert new and len(set(new)) == len(new), text


class KilledAtNew(MemoryRun):
    """Killed at the first effect at which it was not killed yet."""

    def __init__(self, killed_at: set[tuple[str, str]], when: str) -> None:
        super().__init__()
        self._killed_at = killed_at
        self._when = when

    async def effect(self, action: str, target: str, call: Callable[[], Awaitable[T]]) -> T:
        first = (action, target) not in self._killed_at
        self._killed_at.add((action, target))
        if first and self._when == "before":
            raise Killed(action)
        result = await super().effect(action, target, call)
        if first:
            raise Killed(action)
        return result


async def test_email_addresses_are_no_account_names(accounts: Leaf, filesystem: Leaf, scheduler: Leaf) -> None:
    email = f"{BOB}:bob@example.org:brics.climate"
    for leaf in (accounts, filesystem, scheduler):
        with pytest.raises(InvalidJob, match="e-mail"):
            await answer(leaf, f"is_local_user_added {email}")
