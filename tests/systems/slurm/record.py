"""Record what a real Slurm says about jobs of every kind, for tests/vectors/slurm.

    .venv/bin/python -m tests.systems.slurm.record            both versions; needs root, takes about a minute each

Each file says which Slurm wrote it. The scenario is the same for all, so what must be true of them is too (`KINDS`).
"""

from __future__ import annotations

import asyncio
import json
import shlex
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import httpx

from openportal.agents.scheduler.slurm.rest import client_of
from openportal.agents.scheduler.slurm.sacct import ENVIRONMENT, LIST_COLUMNS, columns, json_arguments, text_arguments
from openportal.agents.scheduler.slurm.token import sign
from openportal.agents.scheduler.slurm.transport import JobQuery
from openportal.agents.scheduler.slurm.windows import Window
from tests.systems.slurm.cluster import NAME, Cluster
from tests.systems.slurm.roots import SUITES, slurm_root

FOLDER: Final = Path(__file__).parents[2] / "vectors" / "slurm"
ACCOUNT: Final = "recorded"
RESERVATION: Final = "interactive"
APIS: Final = {"24.11": (42, 40), "22.05": (38,)}
KEPT_META: Final = ("slurm", "Slurm", "plugin")
WAIT_SECONDS: Final = 60.0
RUN_SECONDS: Final = 2.0
"""How long what is ended early runs before that; how long Slurm needs for what it does not tell of."""
HOUR: Final = 3600

KINDS: Final = {
    "gpus": "alice --gres=gpu:2 -n 2 : sleep 2",
    "array": "alice --array=1-3 -n 4 : sleep 2",
    "nodes": "bob -N 2 -n 128 : sleep 2",
    "failed": "alice -n 1 : sleep 1; exit 3",
    "never": "bob -n 1 --begin=now+1hour : true",
    "cancelled": "alice -n 1 : sleep 600",
    "requeued": "alice -n 1 --requeue : sleep 5",
    "reserved": f"bob -n 1 --reservation={RESERVATION} : sleep 2",
    "lost": "alice -n 1 --requeue -w n1 : sleep 5",
    "running": "alice -n 1 -w n1 : sleep 600",
    "pending": "bob -n 1 --begin=now+1hour : true",
}
"""What each job is named, who submits it, with which options, and what it does."""


class Recording:
    """The scenario on one cluster."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._numbers: dict[str, int] = {}

    def run(self) -> None:
        shell = self._cluster.shell
        shell(f"sacctmgr -i add account name={ACCOUNT} cluster={NAME} organization=openportal description=recorded")
        for user in ("alice", "bob"):
            shell(f"sacctmgr -i add user name={user} cluster={NAME} account={ACCOUNT}")
        self._submit("gpus", "array", "nodes", "failed", "never", "cancelled", "requeued")
        self._until("cancelled", "RUNNING")
        time.sleep(RUN_SECONDS)
        shell(f"scancel {self._numbers['cancelled']} {self._numbers['never']}")
        self._until("requeued", "RUNNING")
        shell(f"scontrol requeue {self._numbers['requeued']}")
        self._again("requeued")
        shell(f"scontrol create reservation ReservationName={RESERVATION} StartTime=now Duration=9 Nodes=n2 Users=bob")
        self._wait(lambda: RESERVATION in shell("sacctmgr -nP show reservation format=name"))
        time.sleep(RUN_SECONDS)
        self._submit("reserved")
        self._until("reserved", "COMPLETED")
        self._submit("lost")
        self._until("lost", "RUNNING")
        time.sleep(RUN_SECONDS)
        shell("scontrol update nodename=n1 state=down reason=broken")
        self._until("lost", "NODE_FAIL")
        self._cluster.ok("scontrol update nodename=n1 state=resume")
        time.sleep(2 * RUN_SECONDS)
        self._again("lost")
        self._submit("running", "pending")
        self._until("running", "RUNNING")
        time.sleep(RUN_SECONDS)

    def _submit(self, *kinds: str) -> None:
        for kind in kinds:
            who, _, command = KINDS[kind].partition(" : ")
            user, _, options = who.partition(" ")
            words = f"cd /tmp; sbatch --parsable -J {kind} -o /dev/null {options} --wrap '{command}'"
            self._numbers[kind] = int(self._cluster.shell(words, user))

    def _again(self, kind: str) -> None:
        """Let the next attempt of a job begin, and end."""
        self._cluster.start_again(self._numbers[kind])
        self._wait(lambda: not {"PENDING", "RUNNING"} & {*self._states(kind)})

    def _until(self, kind: str, state: str) -> None:
        self._wait(lambda: state in self._states(kind))

    def _states(self, kind: str) -> list[str]:
        """Of every attempt of a job."""
        return self._cluster.shell(f"sacct -nPXD -j {self._numbers[kind]} --format=State").splitlines()

    def _wait(self, done: Callable[[], bool]) -> None:
        until = time.monotonic() + WAIT_SECONDS
        while not done():
            if time.monotonic() > until:
                raise RuntimeError(f"it did not come to be: {self._cluster.shell('squeue; sinfo; sacct -XaD')}")
            time.sleep(0.2)


def record(version: str) -> None:
    """Write the files of one version."""
    with tempfile.TemporaryDirectory() as folder, Cluster(Path(folder), slurm_root(version), version) as cluster:
        Recording(cluster).run()
        now = int(time.time())
        query = JobQuery(Window(now - HOUR, now + HOUR), NAME, (ACCOUNT,))
        answers = {f"v0.0.{api}.json": asyncio.run(from_rest(cluster, api, query)) for api in APIS[version]}
        answers["json"] = cluster.shell(shlex.join(("sacct", *json_arguments(query))))
        answers["txt"] = from_sacct(cluster, query)
        meta = json.loads(answers["json"])["meta"]
        release = (meta.get("slurm") or meta["Slurm"])["release"]
        FOLDER.mkdir(parents=True, exist_ok=True)
        for old in FOLDER.glob(f"{version}.*"):
            old.unlink()
        for form, answer in answers.items():
            (FOLDER / f"{release}.{form}").write_text(tidy(answer) if form.endswith("json") else answer)


def from_sacct(cluster: Cluster, query: JobQuery) -> str:
    wanted = columns(cluster.shell(f"sacct {LIST_COLUMNS}"))
    variables = (f"{name}={value}" for name, value in ENVIRONMENT.items())
    return cluster.shell(shlex.join(("env", *variables, "sacct", *text_arguments(query, wanted))))


async def from_rest(cluster: Cluster, api: int, query: JobQuery) -> str:
    window = query.window
    wanted = {"start_time": f"uts{window.start}", "end_time": f"uts{window.end}", "account": ACCOUNT}
    token = sign(cluster.shell("cat /etc/slurm/jwt.key").encode(), "root", int(time.time()), HOUR)
    async with client_of(f"unix:{cluster.rest_socket}", "root") as client:
        headers = {"X-SLURM-USER-TOKEN": token}
        answer = await client.get(
            f"/slurmdb/v0.0.{api}/jobs", params=wanted, headers=headers, timeout=httpx.Timeout(30)
        )
    return answer.raise_for_status().text


def tidy(answer: str) -> str:
    """On one line a job, without what tells of the machine that it was recorded on."""
    found = json.loads(answer)
    found["meta"] = {key: found["meta"][key] for key in KEPT_META if key in found["meta"]}
    jobs = ",\n".join(json.dumps(job) for job in found.pop("jobs"))
    rest = json.dumps(found)
    return f'{rest[:-1]}, "jobs": [\n{jobs}\n]}}\n'


if __name__ == "__main__":
    for each in sys.argv[1:] or SUITES:
        record(each)
