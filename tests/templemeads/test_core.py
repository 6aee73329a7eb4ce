"""The core: what it decides in small situations, and that its state is a function of its log."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from scenarios import SCENARIOS
from scenarios_aside import ASIDE
from world import new_job

from openportal.agents.roles import RelayRole
from openportal.templemeads.core import Core


@pytest.mark.parametrize("scenario", [*SCENARIOS, *ASIDE], ids=lambda scenario: scenario.__name__)
def test_core(scenario: Callable[[], None]) -> None:
    scenario()


def test_what_is_passed_on_stays_in_its_zone() -> None:
    core = Core("aip1", RelayRole("Provider"), ["brics@default", "clusters@other"])
    core.registered("brics@default", "Portal", 1000.0)
    core.take()
    core.put("brics@default", new_job("brics.aip1.clusters get_users p.brics", 1000.0).to_wire(), 1000.0)
    [(_, command)] = core.take().sends
    assert "no neighbour 'clusters' in zone 'default'" in command["Update"]["job"]["result"]
