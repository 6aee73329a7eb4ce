"""Two real masters that replicate: which one is asked, and what is believed while they do not hear each other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from functools import partial

import pytest

from openportal.agents.account.freeipa import directory, rpc
from openportal.agents.account.freeipa.calls import IpaBusy
from openportal.agents.account.freeipa.entries import UNFINISHED
from tests.agents.runs import answer
from tests.processes.waiting import until_async
from tests.systems.freeipa.bed import Bed
from tests.systems.freeipa.machine import full_name
from tests.systems.freeipa.site import Leaf, leaf

pytestmark = pytest.mark.systems
BOTH = f"{full_name('srv')},{full_name('srv2')}"
WINDOW_SECONDS = "2"
REPLICATED_SECONDS = 600.0  # a master that found the other one stopped waits for up to five minutes


Make = Callable[..., Leaf]


@pytest.fixture
async def make(bed: Bed) -> AsyncIterator[Make]:
    """Makes leaves, of both masters unless others are named, and closes them."""
    made: list[Leaf] = []

    def one(servers: str = BOTH, **more: str) -> Leaf:
        made.append(leaf(bed, freeipa_server=servers, freeipa_replication_window=WINDOW_SECONDS, **more))
        return made[-1]

    yield one
    for each in made:
        await each.servers.close()


async def until_there(bed: Bed, name: str, server: str, kind: str = "user") -> None:
    """Wait for replication, which may have much to carry over from the tests before, and waits after a restart."""
    show = ("ipa", "-n", f"{kind}-show", name)
    look = partial(bed.hosts[server].run, *show, check=False)
    await until_async(lambda: name in look().stdout, f"{name} there", REPLICATED_SECONDS)


async def back(accounts: Leaf) -> None:
    """Until the usual master is written to again; it must have answered for the whole window."""
    await until_async(lambda: accounts.servers.writer().name == full_name("srv"), "the usual master is back")


async def test_a_user_arrives_on_the_other_master(bed: Bed, make: Make) -> None:
    accounts = make()
    await answer(accounts, "add_user rep.masters.brics")
    await until_there(bed, "rep.masters", "srv2")
    assert accounts.servers.writer().name == full_name("srv")


async def test_the_write_server_is_a_setting(bed: Bed, make: Make) -> None:
    accounts = make(freeipa_write_server=full_name("srv2"))
    assert accounts.servers.writer().name == full_name("srv2")
    await answer(accounts, "add_user wri.masters.brics")
    await until_there(bed, "wri.masters", "srv")


async def test_a_user_that_only_the_other_master_has_is_not_absent(
    bed: Bed, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(directory, "PATIENCE_SECONDS", 1.0)
    accounts = make()
    await answer(accounts, "add_project apart.brics")
    for group in ("brics.apart", "openportal", "op_shared_default"):  # or the second would make them too
        await until_there(bed, group, "srv2", "group")
    second = make(full_name("srv2"))
    bed.network.part("srv", "srv2")
    try:
        await answer(second, "add_user pia.apart.brics")
        with pytest.raises(IpaBusy, match=r"not on srv\.ipa\.test yet"):
            await answer(accounts, "add_user pia.apart.brics")
        with pytest.raises(IpaBusy, match=r"not on srv\.ipa\.test yet"):
            await answer(accounts, "is_existing_user pia.apart.brics")
    finally:
        bed.network.unite("srv", "srv2")
    await until_there(bed, "pia.apart", "srv")
    look = partial(bed.hosts["srv"].run, "ipa", "-n", "user-show", "pia.apart", "--all")
    await until_async(lambda: UNFINISHED not in look().stdout, "the last change there too", REPLICATED_SECONDS)
    assert await answer(accounts, "is_existing_user pia.apart.brics") is True


async def test_one_timeout_does_not_move_the_writes_and_three_do(
    bed: Bed, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rpc, "CALL_SECONDS", 1.0)
    accounts = make()
    await answer(accounts, "is_existing_user rep.masters.brics")
    writers = []
    bed.network.cut("srv")
    try:
        for _ in range(4):
            writers.append(accounts.servers.writer().name)
            await asyncio.gather(accounts.servers.writer().look(directory.show_user("admin")), return_exceptions=True)
        assert writers == [full_name("srv")] * 3 + [full_name("srv2")]
        monkeypatch.setattr(rpc, "CALL_SECONDS", 20.0)
        assert await answer(accounts, "add_user far.masters.brics") == "far.masters.brics:far.masters:brics.masters"
    finally:
        bed.network.mend("srv")
    await back(accounts)
    await until_there(bed, "far.masters", "srv")


async def test_a_refused_connection_moves_them_at_once_and_they_come_back(
    bed: Bed, make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    accounts = make()
    await answer(accounts, "add_project moved.brics")
    await until_there(bed, "brics.moved", "srv2", "group")
    bed.hosts["srv"].run("systemctl", "stop", "apache2")
    try:
        assert await answer(accounts, "add_user mia.moved.brics") == "mia.moved.brics:mia.moved:brics.moved"
        assert accounts.servers.writer().name == full_name("srv2")
        assert "REPLICATION-RISK" in caplog.text
    finally:
        bed.hosts["srv"].run("systemctl", "start", "apache2")
        bed.wait_login("srv")
    await back(accounts)
    await until_there(bed, "mia.moved", "srv")
