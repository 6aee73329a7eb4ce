"""A site that keeps backups loses a host: its agents come back from them, and every job has its outcome.

The portal's software goes on asking while the host is destroyed, made anew and restored. What was done between the last
backup and the loss is not in the restored ledgers; the neighbours know it, and nothing may be done twice.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

import pytest

from tests.facility.controller import ROOT
from tests.facility.kept.site import Kept, restored
from tests.facility.secrets_seen import leaked, open_files, spellings
from tests.facility.test_day_two import HOSTS, OLD

pytestmark = [pytest.mark.systems, pytest.mark.facility]

LOST = ("aip1", "clusters", "shared")


@dataclass(frozen=True)
class First:
    """The first backup of all agents: what was printed, and when it began."""

    output: str
    began: float


@pytest.fixture(scope="module")
def backed_up(kept: Kept) -> First:
    """It is made while the portal's software asks."""
    began = time.time()
    with kept.site.under_load():
        return First(kept.back_up().output, began)


def secrets_of(kept: Kept) -> set[bytes]:
    keys = kept.site.keys()
    found = {spelling for key in keys for spelling in spellings(key)}
    assert len(found) > len(HOSTS)
    return found


def test_every_agent_has_a_backup_that_only_its_key_opens(kept: Kept, backed_up: First) -> None:
    names = {path.stem for host in HOSTS for path in (kept.site.bed.disk(host) / "etc/openportal").glob("*.toml")}
    folder = kept.folder / "backups"
    assert folder.stat().st_mode & 0o077 == 0
    assert {path.name for path in folder.iterdir()} == names
    secrets = secrets_of(kept)
    for name in names:
        (file,) = kept.files(name)
        data = file.read_bytes()
        assert data.startswith(b"openportal sealed 1\n")
        assert b"SQLite" not in data
        assert not leaked(secrets, data)


def test_nothing_of_it_stays_on_a_host_and_no_secret_is_told(kept: Kept, backed_up: First) -> None:
    secrets = secrets_of(kept)
    assert not leaked(secrets, backed_up.output.encode())
    disks = [kept.site.bed.disk(host) for host in HOSTS]
    assert [path for disk in disks for path in (*disk.rglob("*.backup"), *disk.rglob("openportal-backup-*"))] == []
    written = [path for disk in disks for path in open_files(disk) if path.stat().st_ctime >= backed_up.began]
    assert written  # the accounts that were made meanwhile, for one
    assert [path for path in written if leaked(secrets, path.read_bytes())] == []


def test_a_lost_host_comes_back_from_its_last_backup(kept: Kept, backed_up: First) -> None:
    bed = kept.site.bed
    keys = kept.site.keys()
    with kept.site.under_load() as jobs:
        bed.destroy("site")
        bed.start(["site"])
        run = kept.restore("site")
        assert run.code == 0, run.output
    kept.site.of(OLD).play("ansible/check.yml")
    assert [kept.generation(name) for name in LOST] == [2, 2, 2]
    assert kept.site.keys() == keys  # nobody had to be introduced again
    assert_every_job_has_an_outcome(kept, jobs)
    assert kept.site.of(OLD).play("ansible/site.yml").changed == dict.fromkeys(HOSTS, 0)


def assert_every_job_has_an_outcome(kept: Kept, jobs: list[dict[str, Any]]) -> None:
    """Those that were accepted have ended, what is complete is there, and no account was made twice."""
    assert jobs
    assert {job["state"] for job in jobs} <= {"complete", "error"}
    assert [job for job in jobs if job["state"] == "error" and "xpir" not in job["result"]] == []
    users = {job["instruction"].split()[1].removesuffix(".brics") for job in jobs if job["state"] == "complete"}
    there = Counter(line.partition(":")[0] for line in kept.site.bed.ssh("node", "getent passwd").splitlines())
    assert users
    assert users - set(there) == set()
    made = Counter(kept.site.bed.ssh("node", "journalctl -t useradd -o cat | grep -o 'new user: name=[^,]*'").split())
    assert {name: count for name, count in made.items() if name.startswith("name=") and count > 1} == {}
    assert users <= {name.removeprefix("name=") for name in made}


def test_older_backups_are_deleted(kept: Kept, backed_up: First) -> None:
    (before,) = kept.files("acct")
    kept.controller.play("ansible/backup.yml", "-e", "openportal_backup_keep=1")
    (after,) = kept.files("acct")
    assert after > before


def test_an_agent_goes_back_on_the_host_that_it_has(kept: Kept, backed_up: First) -> None:
    with kept.site.under_load() as jobs:
        run = kept.restore("shared", "clusters")  # one in PostgreSQL and one in a folder
        assert run.code == 0, run.output
    assert "op_shared_before_restore_1" in run.output
    assert "/before-restore-1" in run.output
    assert [kept.generation(name) for name in LOST] == [2, 3, 3]
    assert_every_job_has_an_outcome(kept, jobs)


@pytest.mark.parametrize(
    ("names", "more", "words"),
    [
        (("nobody",), {}, "must name agents or hosts of the inventory, and not nobody"),
        (("shared",), {"time": "20200101T000000Z"}, "There is no backup of shared of 20200101T000000Z"),
        (("shared",), {"key": "/nowhere"}, "Set openportal_backup_key to the file with the private key"),
    ],
)
def test_what_cannot_be_restored_is_said_before_anything_is_touched(
    kept: Kept, backed_up: First, names: tuple[str, ...], more: dict[str, str], words: str
) -> None:
    run = kept.restore(*names, **more)
    assert run.code != 0
    assert words in " ".join(run.output.split())
    assert "Stop the agents that are brought back" not in run.output


def test_a_leaf_does_not_start_before_its_system_is_as_its_ledger_tells(kept: Kept, backed_up: First) -> None:
    """The scheduler agent is said to work on Slurm; there is none, so nobody can tell, and it stays down."""
    inventory = kept.folder / "slurm.yml"
    text = (ROOT / "tests/facility/inventories/kept.yml").read_text()
    inventory.write_text(text.replace("system: sandbox", "system: slurm"))
    run = replace(kept.controller, inventory=inventory).try_play("ansible/restore.yml", "-e", restored("slurm"))
    assert run.code != 0
    assert "slurm: op-slurm reconcile: " in run.output
    assert kept.site.bed.ssh("node", "systemctl is-active openportal-agent@slurm || true").strip() != "active"
    back = kept.restore("slurm")
    assert back.code == 0, back.output
