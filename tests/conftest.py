"""Tests that share something started run in one process, where several processes share the tests (`pytest -n`)."""

from __future__ import annotations

from pathlib import Path

import pytest

SHARED = ("systems/freeipa", "systems/slurm", "facility/kept")
"""Folders of tests whose files share real systems; all others share what they start with their own file at most."""


def group_of(path: Path) -> str:
    """The name of the tests that belong together with those of a file."""
    name = path.relative_to(Path(__file__).parent).with_suffix("").as_posix()
    return next((folder for folder in SHARED if name.startswith(f"{folder}/")), name)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        item.add_marker(pytest.mark.xdist_group(group_of(item.path)))
