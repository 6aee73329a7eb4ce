"""The site that the tests of this folder share; its hosts are gone when the last of them has ended."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from openportal.cli.sealedfile import make_private_key
from tests.facility.hosts.bed import Bed
from tests.facility.hosts.root import WITH_KEEPING
from tests.facility.kept.site import Kept
from tests.facility.test_day_two import HOSTS, OLD, bare_site


@pytest.fixture(scope="package")
def kept(tmp_path_factory: pytest.TempPathFactory, database_bundle: Path, client_wheel: Path) -> Iterator[Kept]:
    folder = tmp_path_factory.mktemp("operator")
    (folder / "public").write_text(make_private_key(folder / "key"))
    with Bed(tmp_path_factory.mktemp("bed"), HOSTS, dict.fromkeys(HOSTS, WITH_KEEPING)) as bed:
        site = bare_site(bed, "kept.yml", database_bundle, client_wheel)
        site.of(OLD).play("ansible/site.yml")
        yield Kept(site, folder)
