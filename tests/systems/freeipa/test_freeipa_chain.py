"""The published client drives a chain of real agents, the last of which writes into a real FreeIPA; a host sees it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from openportal.cli.published import client_python
from tests.systems.freeipa.bed import Bed
from tests.systems.freeipa.site import IpaFacility

pytestmark = pytest.mark.systems
START_SECONDS = 120.0
DRIVER = Path(__file__).parent.with_name("client_driver.py")
CHILD_MAX_SECONDS = 120
ALICE = "alice.demo.brics:alice.demo:brics.demo"


def asked(facility: IpaFacility, *instructions: str) -> dict[str, str]:
    """What the published client was told, by instruction."""
    command = [client_python("0.94.0"), "-I", DRIVER, facility.client_file, *instructions]
    child = subprocess.run(command, capture_output=True, text=True, timeout=CHILD_MAX_SECONDS, check=False)
    assert child.returncode == 0, child.stderr
    told = json.loads(child.stdout)
    return {instruction: result if error is None else f"error: {error}" for instruction, error, result in told}


@pytest.mark.smoke
def test_a_user_of_a_portal_is_known_on_a_host(bed: Bed, facility: IpaFacility) -> None:
    facility.lay_out_with()
    facility.start()
    facility.wait_ready(START_SECONDS)
    said = asked(facility, "add_project demo.brics", "add_user alice.demo.brics", "get_users demo.brics")
    assert said == {
        "add_project demo.brics": "demo.brics:brics.demo",
        "add_user alice.demo.brics": ALICE,
        "get_users demo.brics": f"[{ALICE}]",
    }
    known = bed.known("alice.demo")
    assert "(alice.demo)" in known
    for group in ("brics.demo", "openportal", "op_shared_default"):
        assert f"({group})" in known

    uid = known.partition(" ")[0]
    assert asked(facility, "block_user alice.demo.brics")["block_user alice.demo.brics"] == ALICE
    assert bed.may_log_in("alice.demo") is False
    assert asked(facility, "unblock_user alice.demo.brics")["unblock_user alice.demo.brics"] == ALICE
    assert bed.may_log_in("alice.demo") is True

    assert asked(facility, "remove_user alice.demo.brics")["remove_user alice.demo.brics"] == ALICE
    assert bed.may_log_in("alice.demo") is False
    gone = bed.known("alice.demo")
    assert gone.startswith(uid)
    assert "brics.demo" not in gone
    assert asked(facility, "add_user alice.demo.brics")["add_user alice.demo.brics"] == ALICE
    again = bed.known("alice.demo")
    assert again.startswith(uid)
    assert "(brics.demo)" in again
