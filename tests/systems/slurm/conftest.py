"""A real Slurm of each version, started once for all tests that use it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.systems.slurm.cluster import Cluster
from tests.systems.slurm.roots import slurm_root


def _running(factory: pytest.TempPathFactory, version: str) -> Iterator[Cluster]:
    with Cluster(factory.mktemp(f"slurm-{version}"), slurm_root(version), version) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def slurm_24(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Slurm 24.11, of the next Debian release."""
    yield from _running(tmp_path_factory, "24.11")


@pytest.fixture(scope="session")
def slurm_22(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Slurm 22.05, of Debian 12."""
    yield from _running(tmp_path_factory, "22.05")


@pytest.fixture(scope="module", params=[pytest.param("slurm_24", marks=pytest.mark.smoke), "slurm_22"])
def cluster(request: pytest.FixtureRequest) -> Cluster:
    """Each version in turn; the newer one also in short runs."""
    found: Cluster = request.getfixturevalue(request.param)
    return found
