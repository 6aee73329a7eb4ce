from __future__ import annotations

import asyncio

import pytest

from openportal.agents.account.freeipa.calls import IpaDown, IpaLogin
from openportal.agents.account.freeipa.entries import show_user
from openportal.agents.account.freeipa.servers import Servers
from tests.agents.account.freeipa.conftest import make_realm
from tests.agents.runs import answer

BOTH = ("one", "two")


async def test_all_goes_to_one_master() -> None:
    realm = make_realm(BOTH)
    await answer(realm, "add_user bob.climate.brics")
    assert [methods for methods in realm.masters["two"].requests if methods != ["user_show"]] == []
    assert "bob.climate" in realm.masters["one"].users
    assert isinstance(realm.servers, Servers)
    await realm.servers.close()


async def test_absent_is_what_every_master_says(caplog: pytest.LogCaptureFixture) -> None:
    realm = make_realm(BOTH)
    server = realm.servers.writer()
    assert await realm.servers.elsewhere(server, show_user("x")) is None
    realm.masters["two"].users["x"] = {"uid": ["x"]}
    assert await realm.servers.elsewhere(server, show_user("x")) is not None
    realm.masters["two"].failing = lambda methods: IpaDown("away", refused=True)
    assert await realm.servers.elsewhere(server, show_user("x")) is None
    assert await realm.servers.elsewhere(server, show_user("x")) is None
    assert caplog.text.count("REPLICATION-RISK") == 2
    assert len(realm.masters["two"].requests) == 3  # one that is known to be down is not asked


@pytest.mark.usefixtures("no_pauses")
@pytest.mark.parametrize("error", [IpaDown("away", refused=True), IpaLogin("expired")])
async def test_away_and_back(error: IpaDown | IpaLogin) -> None:
    realm = make_realm(BOTH, window_seconds=30.0)
    realm.masters["one"].failing = lambda methods: error
    if isinstance(error, IpaLogin):
        with pytest.raises(IpaLogin):
            await answer(realm, "is_existing_project climate.brics")
    await answer(realm, "add_user bob.climate.brics")
    assert "bob.climate" in realm.masters["two"].users
    realm.masters["one"].failing = lambda methods: None
    realm.now[0] = 10.0
    assert realm.servers.writer().name == "two"
    await asyncio.gather(*realm.servers._probing)
    realm.now[0] = 39.0
    assert realm.servers.writer().name == "two"
    realm.now[0] = 40.0
    assert realm.servers.writer().name == "one"


async def test_closing_ends_every_connection() -> None:
    realm = make_realm(BOTH)
    await answer(realm, "is_existing_project climate.brics")
    clients = [server.session._http for server in realm.servers._servers.values()]
    assert [client.is_closed for client in clients] == [False, False]
    await realm.servers.close()
    assert [client.is_closed for client in clients] == [True, True]
