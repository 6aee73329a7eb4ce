"""Which backups there are on a controller, and which are too old."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
from ansible.errors import AnsibleFilterError

from openportal.cli.sealedfile import make_private_key
from tests.facility.controller import ROOT

TIMES = ("20261124T100000Z", "20261124T110000Z", "20261124T120000Z")


@pytest.fixture(scope="module")
def filters() -> ModuleType:
    spec = importlib.util.spec_from_file_location("backup_filters", ROOT / "plugins/filter/backups.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("acct", "acct-2"):
        (tmp_path / name).mkdir()
        for time in TIMES:
            (tmp_path / name / f"{name}-{time}.backup").touch()
    return tmp_path


def test_the_last_one_is_taken_unless_another_is_named(filters: ModuleType, folder: Path) -> None:
    found = filters.backups(str(folder), ["acct", "acct-2"])
    assert [Path(one["file"]).name for one in found] == [f"acct-{TIMES[2]}.backup", f"acct-2-{TIMES[2]}.backup"]
    (one,) = filters.backups(str(folder), ["acct"], TIMES[0])
    assert one == {"name": "acct", "file": str(folder / "acct" / f"acct-{TIMES[0]}.backup")}


def test_an_agent_without_one_is_told_with_those_that_there_are(filters: ModuleType, folder: Path) -> None:
    with pytest.raises(AnsibleFilterError, match=r"no backup of fs in .* there are: none"):
        filters.backups(str(folder), ["fs"])
    with pytest.raises(AnsibleFilterError, match=f"of acct of 2020 in .* there are: {', '.join(TIMES)}"):
        filters.backups(str(folder), ["acct"], "2020")


@pytest.mark.parametrize(("keep", "gone"), [(2, 1), (3, 0), (9, 0), (0, 2)])
def test_beyond_so_many_they_are_too_old_but_one_always_stays(
    filters: ModuleType, folder: Path, keep: int, gone: int
) -> None:
    expected = [str(folder / "acct" / f"acct-{time}.backup") for time in TIMES[:gone]]
    assert filters.outdated(str(folder), ["acct"], keep) == expected


def test_what_is_no_backup_is_not_handed_over(filters: ModuleType, folder: Path) -> None:
    box = make_private_key(folder / "key")
    found = filters.backups(str(folder), ["acct"])
    with pytest.raises(AnsibleFilterError, match="is not a sealed file of ours"):
        filters.handed_over(found, str(folder / "key"), box, "/tmp")
