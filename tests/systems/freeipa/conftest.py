from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.systems.freeipa.bed import Bed, running
from tests.systems.freeipa.site import IpaFacility, found_names, make_service_account


@pytest.fixture(scope="session")
def bed() -> Iterator[Bed]:
    """The realm, booted once; the fixture ends it by its process ids."""
    with running() as bed, found_names():
        make_service_account(bed)
        yield bed


@pytest.fixture
def facility(bed: Bed, tmp_path: Path) -> Iterator[IpaFacility]:
    """A whole facility of agents that are about to be laid out."""
    with IpaFacility(tmp_path, bed) as facility:
        yield facility
