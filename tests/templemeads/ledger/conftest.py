"""Ledgers in SQLite and in a PostgreSQL server of our own."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from openportal.templemeads.ledger import Settings

sys.path.insert(0, str(Path(__file__).parents[2]))
from postgres import cluster

SCHEMAS = count(1)


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    with cluster() as url:
        yield url


@pytest.fixture(params=["inline", "thread"])
def sqlite_settings(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    return Settings(path=tmp_path / "ledger", commit=request.param, owner="tests")


@pytest.fixture
def postgres_settings(postgres_url: str) -> Settings:
    return Settings(url=postgres_url, schema=f"s{next(SCHEMAS)}", owner="tests")


@pytest.fixture(params=["inline", "thread", "postgres"])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    if request.param == "postgres":
        made: Settings = request.getfixturevalue("postgres_settings")
        return made
    return Settings(path=tmp_path / "ledger", commit=request.param, owner="tests")
