"""What tests of rollouts share: the release that is rolled out."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest

from openportal.cli.bundle import make_bundle
from openportal.cli.published import cache_folder
from tests.facility.controller import ROOT
from tests.facility.hosts.root import made_once
from tests.facility.hosts.ten import PYTHONS


@pytest.fixture(scope="session")
def bundle() -> Path:
    """The tree as it is, packed as an operator packs it."""
    return bundled()


@pytest.fixture(scope="session")
def database_bundle() -> Path:
    """The same, for agents whose ledgers are in PostgreSQL."""
    return bundled("agents", "postgresql")


@pytest.fixture(scope="session")
def mixed_bundle() -> Path:
    """The same for hosts with different versions of Python."""
    return bundled(pythons=PYTHONS)


def bundled(*extras: str, pythons: tuple[str, ...] = ()) -> Path:
    """A bundle of the tree; made anew when a file of it has changed."""
    files = [ROOT / "pyproject.toml", *sorted((ROOT / "openportal").rglob("*.py"))]
    digest = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:12]
    folder = made_once(
        cache_folder() / "-".join(("bundle", *extras[1:], digest, *pythons)),
        lambda folder: str(make_bundle(str(ROOT), list(extras or ("agents",)), folder, pythons)),
    )
    return next(folder.glob("*.tar"))


@pytest.fixture(scope="session")
def client_wheel() -> Path:
    """The client that is on the package index."""
    return next(made_once(cache_folder() / "client-0.94.0-wheel", _download_client).glob("*.whl"))


def _download_client(folder: Path) -> None:
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder)]
    subprocess.run([*pip, "openportal==0.94.0"], check=True)
