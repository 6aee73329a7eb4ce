"""Hosts of today's agents are taken over with their keys and peers, and handed back: the way of files, keys and units.

Units that sleep stand where today's agents would. With the released programs themselves, `migrate_upstream.py` goes the
same way, and sees that the one kind links with the other.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from openportal.cli.site import keys_of
from tests.facility.migration import HOSTS, INVENTORY, Today, agents_of, hosts_of_today, recorded, theirs

pytestmark = [pytest.mark.systems, pytest.mark.facility]


@pytest.fixture(scope="module")
def today(tmp_path_factory: pytest.TempPathFactory, bundle: Path) -> Iterator[Today]:
    with hosts_of_today(tmp_path_factory.mktemp("bed"), bundle) as found:
        yield found


def test_a_topology_that_says_otherwise_is_refused_and_theirs_run_on(today: Today, tmp_path: Path) -> None:
    declared = yaml.safe_load(INVENTORY.read_text())
    del declared["all"]["vars"]["openportal_agents"]["fs"]["settings"]
    inventory = tmp_path / "different.yml"
    inventory.write_text(yaml.safe_dump(declared))
    run = replace(today.controller, inventory=inventory).try_play("ansible/migrate.yml")
    assert run.code != 0
    assert "fs: the old file has the table user_volumes, and the topology not so" in " ".join(run.output.split())
    assert today.active() == [theirs(host) for host in HOSTS]


def test_all_are_taken_over_with_their_keys(today: Today) -> None:
    today.take_over()
    for host in HOSTS:
        for name in agents_of(host):
            assert today.old_file(host, name) == recorded(name)
            assert today.keys(host, name) == keys_of(name, tomllib.loads(recorded(name))) != {}
    today.controller.play("ansible/check.yml")
    assert today.controller.play("ansible/site.yml").changed == dict.fromkeys(HOSTS, 0)


def test_they_are_handed_back_with_the_keys_of_now(today: Today) -> None:
    today.hand_back()


def test_and_taken_over_once_more(today: Today) -> None:
    """Our files of the first time are still there, with the same keys."""
    today.take_over()
