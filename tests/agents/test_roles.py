"""Agents that pass on only, and agents at the end of the line."""

from __future__ import annotations

import pytest

from openportal.agents.roles import LeafRole, RelayRole
from openportal.errors import GrammarError, Unroutable, Unsupported
from openportal.grammar.destination import Destination
from openportal.grammar.instructions import AddUser, IsUserAdded
from openportal.templemeads.job import Job, State
from openportal.templemeads.role import Here


def here(text: str, destination: str = "shared.account") -> Here:
    job = Job("0b6a3a5e-5d3c-4c43-9a63-6f1c6a0c7d10", 0, 0, 120, 2, f"{destination} {text}", State.PENDING)
    return Here("account", "shared", "default", "Instance", Destination.parse(destination), text, job)


def test_a_relay_passes_on_what_it_does_not_understand() -> None:
    role = RelayRole("Provider")
    assert role.passing(here("frobnicate x")) is None
    with pytest.raises(Unsupported, match="account is a provider: it passes jobs on"):
        role.work(here("add_user alice.demo.brics"))


def test_a_leaf_works_on_what_it_has_a_handler_for() -> None:
    role = LeafRole("Account", {AddUser: lambda run, i: None, IsUserAdded: lambda run, i: True})
    change = role.work(here("add_user alice.demo.brics"))
    assert (change.subject, change.changes, change.steps, change.held) == ("alice.demo.brics", True, None, False)
    assert role.work(here("is_user_added alice.demo.brics")).changes is False
    with pytest.raises(Unsupported, match="does not answer remove_user"):
        role.work(here("remove_user alice.demo.brics"))
    with pytest.raises(GrammarError):
        role.work(here("frobnicate x"))


def test_a_leaf_is_the_end_of_the_line() -> None:
    with pytest.raises(Unroutable, match="cannot lead through it"):
        LeafRole("Account", {}).passing(here("x y", "shared.account.more"))
