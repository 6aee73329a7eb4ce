"""Drift and adoption on a real FreeIPA, through the commands that an operator types."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from openportal.cli.agents import agent_group
from openportal.paddington.config import DEFAULTS
from tests.agents.runs import answer
from tests.systems.freeipa.bed import Bed
from tests.systems.freeipa.build import ADMIN_PASSWORD
from tests.systems.freeipa.site import SEALING, VARIABLE, IpaFacility, leaf

pytestmark = pytest.mark.systems


def typed(facility: IpaFacility, *arguments: str, password: str = "") -> Result:
    command = agent_group(DEFAULTS["freeipa"])
    words = ["-c", str(facility.config("acct")), *arguments]
    return CliRunner().invoke(command, words, input=password and password + "\n", env={VARIABLE: SEALING})


def told(bed: Bed, text: str) -> object:
    """What an agent answers."""

    async def ask() -> object:
        accounts = leaf(bed)
        try:
            return await answer(accounts, text)
        finally:
            await accounts.servers.close()

    return asyncio.run(ask())


def test_a_site_is_adopted_and_drift_is_repaired(bed: Bed, facility: IpaFacility, tmp_path: Path) -> None:
    facility.lay_out_with()
    bed.ipa("user-add", "old.adopt", "--first", "Old", "--last", "Hand", "--homedir", "/home/hand")
    bed.ipa("group-add", "brics.adopt", "--desc", "The old hands")
    mappings = tmp_path / "mappings"
    mappings.write_text("adopt.brics:brics.adopt\nold.adopt.brics:old.adopt:brics.adopt\n")

    looked = typed(facility, "adopt", str(mappings))
    assert looked.exit_code == 0, looked.output
    assert "would: ipa group-mod brics.adopt --description=adopt.brics | The old hands" in looked.output
    assert "Member of groups: ipausers" in bed.ipa("user-show", "old.adopt")
    refused = typed(facility, "adopt", str(mappings), "--apply")
    assert refused.exit_code == 1
    assert "Insufficient access" in refused.output
    done = typed(facility, "adopt", str(mappings), "--apply", "--as", "admin", password=ADMIN_PASSWORD)
    assert done.exit_code == 0, done.output
    assert "is as it should be" in typed(facility, "adopt", str(mappings)).output

    assert told(bed, "get_users adopt.brics") == ["old.adopt.brics:old.adopt:brics.adopt"]
    assert "/home/hand" in bed.ipa("user-show", "old.adopt")
    told(bed, "block_user old.adopt.brics")
    bed.ipa("user-enable", "old.adopt")
    found = typed(facility, "reconcile")
    assert found.exit_code == 1
    assert "would: ipa user-disable old.adopt" in found.output
    repaired = typed(facility, "reconcile", "--apply")
    assert "disable user: old.adopt: done" in repaired.output
    assert "old.adopt:" not in typed(facility, "reconcile").output
    assert "Account disabled: True" in bed.ipa("user-show", "old.adopt")
