"""kill -9 of op-slurm between an effect on Slurm and its event, in a whole facility.

Its sacctmgr (or scancel) is the real one in a wrapper that, once the file `armed` holds the name of the change, lets
the change happen and then kills whoever called. What had been asked for is completed by the agent that starts next.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from openportal.cli.facility import Facility
from openportal.templemeads.events import EVENTS, Ended, Intended, Observed, Started
from openportal.templemeads.ledger import Settings, open_reader
from tests.processes.waiting import until
from tests.systems.slurm.cluster import Cluster
from tests.systems.slurm.site import CHILD_MAX_SECONDS, ask, asking, associations, running, state_of, submit

pytestmark = [pytest.mark.systems, pytest.mark.processes]

WRAPPER = """\
#!/bin/sh
{real} "$@"
code=$?
case "$*" in
  *"$(cat {armed} 2>/dev/null || echo never)"*) rm -f {armed}; kill -9 $PPID ;;
esac
exit $code
"""
CHANGES = {
    "create account": "add account",
    "add user to account": "add user",
    "set limit": "GrpTRESMins=",
    "cancel pending jobs": "--state=PENDING",
}


class Trap:
    """A facility whose op-slurm dies after the next change of a kind."""

    def __init__(self, facility: Facility, armed: Path) -> None:
        self.facility = facility
        self.armed = armed

    def spring(self, change: str, instruction: str) -> str:
        """Ask for something, let op-slurm die right after its change, start it again; the answer."""
        self.armed.write_text(CHANGES[change])
        with asking(self.facility, instruction) as client:
            self._restart()
            output, _ = client.communicate(timeout=CHILD_MAX_SECONDS)
        [[_, error, result]] = json.loads(output)
        assert error is None
        return str(result)

    def _restart(self) -> None:
        process = self.facility.processes["slurm"]
        until(lambda: process.poll() is not None, "op-slurm is killed")
        assert process.returncode == -9
        assert not self.armed.exists()
        self.facility.kill(["slurm"])
        self.facility.start(["slurm"])


@pytest.fixture
def trap(cluster: Cluster, tmp_path: Path) -> Iterator[Trap]:
    armed = tmp_path / "armed"
    tools = {}
    for tool in ("sacctmgr", "scancel"):
        program = tmp_path / tool
        program.write_text(WRAPPER.format(real=f"{cluster.prefix} {tool}", armed=armed))
        program.chmod(0o755)
        tools[tool] = str(program)
    rest = {tool: f"{cluster.prefix} {tool}" for tool in ("squeue", "getent")}
    with running(tmp_path / "facility", cluster, **tools, **rest) as facility:
        yield Trap(facility, armed)


def effects(folder: Path) -> list[tuple[str, str]]:
    """Every event about an effect, by its kind and its job, and how each job ended."""
    with open_reader(Settings(path=folder), EVENTS) as reader:
        found = [record.event for record in reader.records()]
    return [
        (type(event).__name__, event.id) for event in found if isinstance(event, Started | Intended | Observed | Ended)
    ]


def test_what_was_done_before_the_kill_is_done_once(cluster: Cluster, trap: Trap) -> None:
    facility = trap.facility
    trap.spring("create account", "add_project kill.brics")
    assert associations(cluster, "brics.kill") == [["brics.kill", "", "root", ""]]
    trap.spring("add user to account", "add_user gwen.kill.brics")
    assert [user for _, user, _, _ in associations(cluster, "brics.kill")] == ["", "gwen.kill"]
    assert trap.spring("set limit", "set_limit kill.brics 10 hours") == "10.000 hours"
    assert associations(cluster, "brics.kill")[0][3] == "billing=96000,cpu=38400,gres/gpu=2400,mem=75000G"
    assert ask(facility, "get_limit kill.brics") == {"get_limit kill.brics": "10.000 hours"}

    waits = submit(cluster, "gwen.kill", "--begin=now+1hour")
    trap.spring("cancel pending jobs", "remove_user gwen.kill.brics")
    assert state_of(cluster, waits) == "CANCELLED"

    facility.stop()
    told = effects(facility.ledger("slurm"))
    intended = [job for kind, job in told if kind == "Intended"]
    assert len(intended) == len(set(intended)) == len(CHANGES), "no effect was had twice"
    assert [job for kind, job in told if kind == "Observed"] == [], "every one of them was cut off from its event"
    assert all(told.count(("Ended", job)) == 1 for job in intended)
    assert all(told.count(("Started", job)) == 2 for job in intended)
