from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from openportal.agents.account.freeipa.agent import FreeIpaAccounts
from openportal.agents.account.freeipa.directory import Directory
from openportal.agents.account.freeipa.rpc import Credentials
from openportal.agents.account.freeipa.servers import Servers
from openportal.agents.account.freeipa.settings import Settings
from openportal.agents.account.policy import Policy
from tests.agents.account.freeipa.double import Double


@dataclass
class Realm:
    """An agent and its masters in memory; `first` is the usual one."""

    masters: dict[str, Double]
    servers: Servers
    directory: Directory
    accounts: FreeIpaAccounts
    now: list[float]

    @property
    def first(self) -> Double:
        return next(iter(self.masters.values()))

    def handlers(self) -> Any:
        return self.accounts.handlers()


def make_realm(names: tuple[str, ...] = ("one",), policy: Policy | None = None, **settings: Any) -> Realm:
    now = [0.0]
    given = Settings(
        dict.fromkeys(names, 2), names[0], Credentials("op-agent", "x"), ssl.create_default_context(),
        policy or Policy(), **settings,
    )  # fmt: skip
    servers = Servers(given, lambda: now[0])
    masters = {name: Double() for name in names}
    for name, double in masters.items():
        servers._servers[name].session.send = double.send  # type: ignore[method-assign]
    directory = Directory(given, servers, lambda: now[0])
    return Realm(masters, servers, directory, FreeIpaAccounts(directory), now)


@pytest.fixture
def realm() -> Realm:
    return make_realm()


@pytest.fixture
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rounds follow each other at once."""
    monkeypatch.setattr("openportal.agents.account.freeipa.directory.FIRST_PAUSE_SECONDS", 0.0)


Make = Callable[..., Realm]
