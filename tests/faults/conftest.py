"""What the tests of faults share: a client of their facility, for which there is a project."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from openportal.cli.facility import CHAIN, Facility
from tests.processes.load import Load
from tests.processes.waiting import ended, result_of


@pytest.fixture
async def load(facility: Facility) -> AsyncIterator[Load]:
    load = Load(facility.client_file)
    result_of(await ended(load, f"{CHAIN} add_project demo.brics"))
    yield load
    await load.close()
