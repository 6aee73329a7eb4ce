"""The core: what it decides in small situations, and that its state is a function of its log."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from scenarios import SCENARIOS


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_core(scenario: Callable[[], None]) -> None:
    scenario()
