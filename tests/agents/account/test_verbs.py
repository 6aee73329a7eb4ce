"""Every system of accounts answers the same instructions, each by its method of that name."""

from __future__ import annotations

from pathlib import Path

import pytest

from openportal.agents.account.local import LocalAccounts
from openportal.agents.account.verbs import VERBS, handlers_of
from openportal.agents.sandbox.account import SandboxAccounts
from openportal.agents.sandbox.store import SandboxStore
from openportal.grammar import instructions as op
from tests.agents.account.freeipa.conftest import make_realm


def test_all_systems_of_accounts_answer_the_same(tmp_path: Path) -> None:
    systems = (LocalAccounts({}), make_realm(), SandboxAccounts(SandboxStore(tmp_path)))
    assert [set(system.handlers()) for system in systems] == [set(VERBS)] * len(systems)


def test_the_method_is_called_as_the_verb() -> None:
    accounts = LocalAccounts({})
    assert handlers_of(accounts)[op.AddUser] == accounts.add_user
    assert handlers_of(accounts)[op.IsBlockedUser] == accounts.is_blocked_user


def test_a_system_that_lacks_a_verb_is_no_system_of_accounts() -> None:
    with pytest.raises(AttributeError, match="get_projects"):
        handlers_of(object())
