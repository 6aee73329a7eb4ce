"""Which tests go to one process, where several processes share them (`pytest -n`)."""

from __future__ import annotations

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

SHARED = ("tests/systems/freeipa/", "tests/systems/slurm/", "tests/facility/kept/")
"""Folders of tests whose files share real systems; all others share what they start with their own file at most."""


def group_of(nodeid: str) -> str:
    """What a test shares something with: a folder or a file."""
    return next((folder for folder in SHARED if nodeid.startswith(folder)), nodeid.partition("::")[0])


class Grouped(LoadScopeScheduling):  # type: ignore[misc]
    """Hands out whole groups, those with the most tests first."""

    def _split_scope(self, nodeid: str) -> str:
        return group_of(nodeid)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Grouped:
    return Grouped(config, log)
